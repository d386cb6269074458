"""Whether a channel goes somewhere, straight on, as water does and sensors seldom do. Causal, fixed memory.

A straight line is laid through the last values by least squares. What it rises over the window, in the spread of such
rises, is how far the channel goes; the coefficient of determination is how straight. A jump, a spike or jitter is not
straight, nor is a channel that stands still.
"""

from __future__ import annotations

import math
from operator import mul

_POINTS = 15
_CLIP = 4.0
_CONSISTENCY = 1.15
_CARRIED = 3
_SELDOM = 5
"""Samples between two rises that are learned: windows that overlap tell nearly the same."""
_FARTHEST = 1e9
_CROOKED, _STRAIGHT = 0.85, 0.95
_PLACES = [k - (_POINTS - 1) / 2 for k in range(_POINTS)]
_POWER = sum(map(mul, _PLACES, _PLACES))


class Trend:
    """The course of one channel over one window of 15 points, each the mean of as many samples as lie between two.

    Args:
        step_s: seconds between samples.
        every: samples from one point to the next.
        spread_s: memory of how much the channel usually rises or falls over the window, seconds.
        floor: least spread, the instrument's resolution in the channel's unit.
    """

    __slots__ = ("_absent", "_beta", "_count", "_every", "_floor", "_means", "_origin", "_since", "_square", "_values")

    def __init__(self, step_s: float, every: int, spread_s: float, floor: float) -> None:
        self._every, self._floor = every, floor
        self._beta = 1 - math.exp(-_SELDOM * step_s / spread_s)
        self._square, self._count, self._absent, self._since = 4.0, 0, 0, 0
        self._origin = 0.0
        self._values: list[float] = []
        self._means: list[float] = []

    def towards(self, value: float) -> float:
        """How far the channel goes with this value, in spreads, signed; 0 where its way is not straight."""
        rise, straightness = self._line(self._scaled(value))
        weight = min(1.0, max(0.0, (straightness - _CROOKED) / (_STRAIGHT - _CROOKED)))
        return rise / max(math.sqrt(self._square), 1.0) * weight

    def learn(self, value: float) -> None:
        """Take a value, and how much it rose, outliers clipped."""
        if not self._values:
            self._origin = value
        scaled = self._scaled(value)
        self._since += 1
        if self._since >= _SELDOM and len(self._means) == (_POINTS - 1) * self._every:
            self._learn_rise(abs(self._line(scaled)[0]))
        self._absent = 0
        self._append(scaled)

    def miss(self) -> None:
        """A sample had no value of this channel; for a few, the last one stands in."""
        self._absent += 1
        if self._absent > _CARRIED:
            self._values.clear()
            self._means.clear()
        elif self._values:
            self._append(self._values[-1])

    def _learn_rise(self, rise: float) -> None:
        self._count, self._since = self._count + 1, 0
        rise = min(rise, _CLIP * max(math.sqrt(self._square), 1.0))
        self._square += max(self._beta, 1 / self._count) * (_CONSISTENCY * rise * rise - self._square)

    def _scaled(self, value: float) -> float:
        """In resolutions from the first value, which keeps the sums of squares small."""
        return min(_FARTHEST, max(-_FARTHEST, (value - self._origin) / self._floor))

    def _append(self, scaled: float) -> None:
        self._means.append(self._mean(scaled))
        self._values.append(scaled)
        del self._values[: -self._every]
        del self._means[: -(_POINTS - 1) * self._every]

    def _mean(self, scaled: float) -> float:
        before = self._values[1:] if len(self._values) == self._every else self._values
        return (sum(before) + scaled) / (len(before) + 1)

    def _line(self, scaled: float) -> tuple[float, float]:
        """Rise over the window, in resolutions, and coefficient of determination; 0 and 0 while it is not full."""
        if len(self._means) < (_POINTS - 1) * self._every:
            return 0.0, 0.0
        points = [*self._means[:: self._every], self._mean(scaled)]
        mean = sum(points) / _POINTS
        points = [p - mean for p in points]
        moment, scatter = sum(map(mul, _PLACES, points)), sum(map(mul, points, points))
        if scatter <= 0:
            return 0.0, 0.0
        return moment / _POWER * _POINTS, moment * moment / (_POWER * scatter)
