"""Whether a sensor behaves as water does, or as sensors do that fail. Causal, fixed memory.

Water at an intake changes gradually or in several channels at once. A single sensor that jumps, jitters, or shows what
was never near its range is not believed until it has been smooth for some hours. Measured by the second difference
of successive values: that of water is small compared with its median, that of a failing sensor is not.

What fails is also named, while it is news: a value that jumped alone and stayed or came back (`jump`), one that stands
still for hours, longer than this channel ever does (`stuck`), a zero where none has been (`zero`), and a value far from
the usual range (`implausible`).
"""

from __future__ import annotations

import math

import numpy as np

from detectors._tails import Bools, Floats, Tails

_HOUR = 3600.0
_NEAR_H, _FAR_H = 1.5, 12.0
_JITTER, _JUMP = 4.0, 30.0
_PRESENT = 0.6
_RANGES = 3.0
_MEDIAN_DAYS, _RANGE_DAYS = 3.0, 14.0
_RARE, _BESIDE, _GOES_ON = 7.0, 3.0, 0.3
_STILL_H, _STILL_TIMES, _STILL_DAYS = 4.0, 3.0, 30.0
_NEWS_H = 2.0
_ZERO = 20.0
_TOGETHER = 3
_TAIL = 0.03
REASONS = ("zero", "implausible", "jump", "stuck")


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
        self._step_s = step_s
        self._still = np.zeros(count)
        self._longest = np.zeros(count)
        self._age = np.zeros((len(REASONS), count))
        self._steps = Tails(count, 1 - math.exp(-step_s / (_STILL_DAYS * 24 * _HOUR)), _TAIL)

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

    def faults(self, values: Floats, past: Floats) -> Bools:
        """Which of `REASONS` (rows) speak against which channels (columns), whether news or not.

        Args:
            values: of the sample.
            past: of those before it, newest last, three at least.
        """
        still = np.where(values == past[-1], self._still + 1, 0.0) * self._step_s
        stuck = (still >= _STILL_H * _HOUR) & (still >= _STILL_TIMES * self._longest * self._step_s)
        zero = (values == 0) & (self._low > _ZERO * self._resolution)
        # A channel that stands far outside from the start on is the usual range, once it is known.
        implausible = ~np.isnan(values) & ~np.isnan(self._low) & ~self.plausible(values)
        return np.vstack((zero, implausible, self._jumped(values, past), stuck))

    def _jumped(self, values: Floats, past: Floats) -> Bools:
        """Channels that made one large step before this sample, alone among the channels and in its direction."""
        before, step, after = past[-2] - past[-3], past[-1] - past[-2], values - past[-1]
        way, bound = np.sign(step), _GOES_ON * np.abs(step)
        single = (before * way <= bound) & (after * way <= bound)
        rare = self._steps.surprise(self._size(step))
        return np.asarray(single & (rare >= _RARE) & ((rare >= _BESIDE).sum() == 1))

    def _size(self, step: Floats) -> Floats:
        return np.asarray(np.where(np.isnan(step), 0.0, np.abs(step)) / self._resolution)

    def held(self, past: Floats) -> Bools:
        """Channels that lately stood still at once with others: the probe was not in the water, or was not read."""
        still = (past[2:] == past[1:-1]) & (past[1:-1] == past[:-2])
        together = still.sum(axis=1) >= _TOGETHER
        return np.asarray((still & together[:, None]).any(axis=0))

    def news(self, faults: Bools) -> Bools:
        """Those of the faults that began lately."""
        return np.asarray(faults & (self._age < _NEWS_H * _HOUR / self._step_s))

    def learn(self, values: Floats, bend: Floats, faults: Bools, before: Floats) -> None:
        """Take a sample, its second difference, its faults and the sample before it."""
        # What has been faulty has to be well for as long before it is news again.
        limit = 2 * _NEWS_H * _HOUR / self._step_s
        self._age = np.clip(self._age + np.where(faults, 1, -1), 0, limit)
        step = values - before
        self._steps.learn(self._size(step), ~np.isnan(step))
        same = step == 0
        forget = 1 - self._step_s / (_STILL_DAYS * 24 * _HOUR)
        self._longest = np.maximum(self._longest * forget, np.where(same, 0.0, self._still))
        self._still = np.where(same, self._still + 1, np.where(np.isnan(values), self._still, 0.0))
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
