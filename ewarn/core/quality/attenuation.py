"""Attenuated signal: the values of a window differ less among themselves than they ever do.

As QARTOD and `ioos_qc` define it: standard deviation (of all, not of a sample) or range of the values of the last
`window` below a limit. The window is kept as sums of its 24 parts and judged when a new part begins; what comes in the
same part has the same flag. Where a part has one value, that is exact. Where the channel gives no limit, it is a
quarter of what nineteen in twenty windows exceed, where that is three steps of the instrument or more; it waits
for twenty windows. A window with a gap in it is begun anew.
"""

from __future__ import annotations

import math
from collections import deque

from ewarn.config import ChannelSpec
from ewarn.contracts import Millis, Quality
from ewarn.core.quality.levels import Levels

PARTS = 24
LEAST_VALUES = 10
"""A window that is to have fewer is not judged."""
_NEEDED = 20
_SHARE = 0.05
_QUARTER = 0.25
_MEMORY = 400
_STEPS = 3
_EMPTY = (0.0, 0.0, 0.0)
_EMPTY_RANGE = (math.inf, -math.inf)


class Attenuation:
    """The window of one channel.

    Args:
        spec: of the channel.
        learned: whether the limit is learned where the channel gives none.
    """

    __slots__ = (
        "_anchor", "_columns", "_fail", "_first", "_flag", "_length", "_levels", "_limit", "_next", "_on", "_part",
        "_ranges", "_tellable",
    )  # fmt: skip

    def __init__(self, spec: ChannelSpec, *, learned: bool) -> None:
        self._length = max(1, round(spec.attenuated_window * 1000) // PARTS)
        self._ranges = spec.attenuated_by == "range"
        self._limit, self._fail = spec.attenuated or 0.0, spec.attenuated_fail or 0.0
        self._tellable = _STEPS * spec.resolution
        learned = learned and spec.attenuated is None
        self._levels = Levels(spec.resolution, _MEMORY) if learned else None
        wide = spec.attenuated_window >= LEAST_VALUES * spec.every
        self._on = wide and (learned or self._limit > 0 or self._fail > 0)
        # Of each part: number, sum and sum of squares less the anchor; or the smallest and the largest.
        width = len(_EMPTY_RANGE if self._ranges else _EMPTY)
        self._columns: tuple[deque[float], ...] = tuple(deque(maxlen=PARTS) for _ in range(width))
        self.begin()

    def begin(self) -> None:
        """After a gap."""
        for column in self._columns:
            column.clear()
        self._anchor, self._flag = math.nan, Quality.PASS
        self._part = self._first = self._next = -1

    def take(self, time: Millis, value: float) -> Quality:
        """Take a value; SUSPECT or FAIL where the window that ends with it says too little, else PASS."""
        if not self._on:
            return Quality.PASS
        part = time // self._length
        if part == self._part:
            self._add(value)
        else:
            self._open(part, value)
            self._flag = self._judge(part) if part >= self._first + PARTS - 1 else Quality.PASS
        return self._flag

    def _judge(self, part: int) -> Quality:
        levels = self._levels if part >= self._next else None
        if levels is None and not (self._limit or self._fail):
            return Quality.PASS
        spread = self._spread()
        if levels is not None:
            self._next = part + PARTS
            self._learn(levels, spread)
        if spread < self._fail:
            return Quality.FAIL
        return Quality.SUSPECT if spread < self._limit else Quality.PASS

    def _open(self, part: int, value: float) -> None:
        """A new part; those without any value stay empty, so that the oldest fall out in time."""
        if self._part < 0:
            self._anchor, self._first = value, part
        else:
            for _ in range(min(part - self._part - 1, PARTS)):
                self._append(_EMPTY_RANGE if self._ranges else _EMPTY)
        self._part = part
        x = value - self._anchor
        self._append((value, value) if self._ranges else (1.0, x, x * x))

    def _append(self, part: tuple[float, ...]) -> None:
        for column, number in zip(self._columns, part, strict=True):
            column.append(number)

    def _add(self, value: float) -> None:
        if self._ranges:
            lows, highs = self._columns
            lows[-1], highs[-1] = min(lows[-1], value), max(highs[-1], value)
            return
        counts, sums, squares = self._columns
        x = value - self._anchor
        counts[-1] += 1
        sums[-1] += x
        squares[-1] += x * x

    def _spread(self) -> float:
        if self._ranges:
            lows, highs = self._columns
            return max(highs) - min(lows)
        count, total, square = map(sum, self._columns)
        mean = total / count
        return math.sqrt(max(0.0, square / count - mean * mean))

    def _learn(self, levels: Levels, spread: float) -> None:
        levels.add(spread)
        if levels.total >= _NEEDED:
            least = levels.bottom(_SHARE * levels.total)
            self._limit = _QUARTER * least if least >= self._tellable else 0.0
