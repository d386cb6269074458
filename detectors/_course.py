"""A channel's forecasts: its mean some time ago plus what this time of day has added on the last days. Causal."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from math import isnan, nan
from operator import sub

_DAY = 86_400.0
_COURSE_DAYS, _SPREAD_DAYS = 4.0, 3.0
_BINS_A_DAY = 96
_CLIP = 4.0
_CROOKED = 0.4


class Day:
    """The steps of a day, and the bins that they fall into.

    Args:
        step_s: seconds between samples.
    """

    def __init__(self, step_s: float) -> None:
        self._steps = max(1, round(_DAY / step_s))
        self.bins = min(_BINS_A_DAY, self._steps)
        self.rate = 1 - math.exp(-self.bins / self._steps / _COURSE_DAYS)
        self.spread_rate = 1 - math.exp(-step_s / (_SPREAD_DAYS * _DAY))

    def bin(self, step: int) -> int:
        """Which bin a step is in, counted from the start."""
        return step % self._steps * self.bins // self._steps


class Course:
    """What each time of day adds to one channel over one horizon, learned with outliers clipped.

    Args:
        day: its bins.
        resolution: of the channel.
    """

    __slots__ = ("_count", "_day", "_floor", "_seen", "_spread", "added")

    def __init__(self, day: Day, resolution: float) -> None:
        self._day, self._floor = day, resolution / 2
        self.added, self._seen = array("d", [0.0]) * day.bins, array("I", [0]) * day.bins
        self._spread, self._count = 2 * resolution, 0

    def learn(self, deviation: float, place: int) -> None:
        """Take a deviation from the forecast, at a time of day, into the course and the spread."""
        self._seen[place] += 1
        self._count += 1
        size, bound = abs(deviation), _CLIP * self._spread
        clipped = deviation if size <= bound else math.copysign(bound, deviation)
        self.added[place] += max(self._day.rate, 1 / self._seen[place]) * clipped
        rate = max(self._day.spread_rate, 0.5 / self._count)
        spread = self._spread * math.exp(rate if size > self._spread else -rate)
        self._spread = max(self._floor, spread)


def mean(values: Sequence[float]) -> float:
    """Without what is missing (NaN); NaN where less than half is there."""
    total = sum(values)
    if values and not isnan(total):
        return total / len(values)
    kept = present(values)
    return sum(kept) / len(kept) if kept and 2 * len(kept) >= len(values) else nan


def present(values: Sequence[float]) -> Sequence[float]:
    """Without what is missing (NaN), which as a rule is nothing: then not even their sum is NaN."""
    return [value for value in values if not isnan(value)] if isnan(sum(values)) else values


def gradualness(track: Sequence[float], resolution: float) -> float:
    """1 for a change step by step in one direction, 0 for a single jump or for jitter.

    Args:
        track: values up to now, NaN where missing; half of them may be.
        resolution: of the channel; what moved less did not change.
    """
    kept = present(track)
    if 2 * len(kept) <= len(track):
        return 0.0
    moves = list(map(abs, map(sub, kept[1:], kept)))
    path, way = sum(moves), abs(kept[-1] - kept[0])
    if path <= resolution or way <= _CROOKED * path:
        return 0.0
    return _ramp(way / path, _CROOKED, 0.8) * _ramp(1 - max(moves) / path, 0.35, 0.6)


def _ramp(x: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, straight between."""
    return min(max((x - low) / (high - low), 0.0), 1.0)
