"""Whether a sensor behaves as water does, or as sensors do that fail. Causal, fixed memory.

Water at an intake changes gradually or in several channels at once. A single sensor that jumps, jitters, or shows what
was never near its range is not believed until it has been smooth for some hours. Measured by the second difference
of successive values: that of water is small compared with its median, that of a failing sensor is not.
"""

from __future__ import annotations

import numpy as np

from detectors._tails import Bools, Floats

_HOUR = 3600.0
_NEAR_H, _FAR_H = 1.5, 12.0
_JITTER, _JUMP = 4.0, 30.0
_PRESENT = 0.6
_RANGES = 3.0
_MEDIAN_DAYS, _RANGE_DAYS = 3.0, 14.0


class Trust:
    """Smoothness and usual range of each channel.

    Args:
        step_s: seconds between samples.
        resolution: of each channel.
    """

    def __init__(self, step_s: float, resolution: Floats) -> None:
        self._resolution = resolution
        self.depth = max(3, round(_FAR_H * _HOUR / step_s))
        self._near = max(1, round(_NEAR_H * _HOUR / step_s))
        self._rates = tuple(1 - np.exp(-step_s / (d * 24 * _HOUR)) for d in (_MEDIAN_DAYS, _RANGE_DAYS))
        count = len(resolution)
        self._bends = np.full((self.depth, count), np.nan)
        self._median = resolution.copy()
        self._seen = np.zeros(count)
        self._low = np.full(count, np.nan)
        self._high = np.full(count, np.nan)

    def smooth(self) -> Bools:
        """Channels that were there and smooth between twelve hours and one and a half hours ago."""
        past = self._bends[: self.depth - self._near]
        there = ~np.isnan(past)
        count = there.sum(axis=0)
        bends = np.where(there, past, 0.0)
        unit = np.maximum(self._median, self._resolution)
        jitter = bends.sum(axis=0) / np.maximum(count, 1)
        enough = count >= _PRESENT * len(past)
        return np.asarray(enough & (jitter <= _JITTER * unit) & (bends.max(axis=0) <= _JUMP * unit))

    def plausible(self, values: Floats) -> Bools:
        """Channels whose value lies within some usual ranges of the middle of the usual one."""
        span = np.maximum(self._high - self._low, 20 * self._resolution)
        return np.asarray(np.abs(values - (self._high + self._low) / 2) <= _RANGES * span)

    def bend(self, values: Floats, before: Floats, earlier: Floats) -> Floats:
        """Second difference of three successive values; NaN where one is missing."""
        return np.asarray(np.abs(values - 2 * before + earlier))

    def learn(self, values: Floats, bend: Floats) -> None:
        """Take a sample and its second difference."""
        self._bends[:-1] = self._bends[1:]
        self._bends[-1] = bend
        there = ~np.isnan(bend)
        self._seen += there
        rate = np.maximum(self._rates[0], 0.5 / np.maximum(self._seen, 1))
        factor = np.exp(np.where(bend > self._median, rate, -rate))
        self._median = np.where(there, np.maximum(self._median * factor, self._resolution / 2), self._median)
        self._learn_range(values)

    def _learn_range(self, values: Floats) -> None:
        """1 % and 99 % quantiles by stochastic approximation (Robbins and Monro 1951)."""
        first = np.isnan(self._low) & ~np.isnan(values)
        self._low, self._high = np.where(first, values, self._low), np.where(first, values, self._high)
        there = ~np.isnan(values) & ~first
        span = self._high - self._low
        least = np.where(span > 0, 0.002, 0.02) * np.abs(values) + 1e-9
        gain = 5 * np.maximum(0.25 * span, least) * np.maximum(self._rates[1], 1 / np.maximum(self._seen, 1))
        down, up = values < self._low, values > self._high
        self._low = np.where(there, self._low + gain * np.where(down, -0.98, 0.02), self._low)
        self._high = np.where(there, self._high + gain * np.where(up, 0.98, -0.02), self._high)
        self._high = np.fmax(self._low, self._high)
