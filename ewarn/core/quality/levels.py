"""What has been usual: sizes counted in classes of a quarter octave, a few hundred bytes for ever."""

from __future__ import annotations

import math
from array import array

_PER_OCTAVE = 4
_BELOW = 2
"""Octaves below the unit."""
_CLASSES = 72
_OFFSET = _BELOW * _PER_OCTAVE
_log2 = math.log2


class Levels:
    """Counts how often sizes came; old ones count half after every `memory` of them.

    A few wild sizes move no share of the many, so it needs no guard against what it is to find.

    Args:
        unit: classes reach from a quarter of it to 65,000 times it; what is smaller counts as nothing.
        memory: sizes until the old count half.
    """

    __slots__ = ("_counts", "_floor", "_memory", "_unit", "total")

    def __init__(self, unit: float, memory: int) -> None:
        self._unit, self._floor, self._memory = unit, unit / 2**_BELOW, memory
        self._counts = array("f", bytes(4 * _CLASSES))
        self.total = 0.0

    def add(self, size: float) -> None:
        """Count one; 0 or more, finite."""
        index = int(_PER_OCTAVE * _log2(size / self._unit) + _OFFSET) + 1 if size > self._floor else 0
        self._counts[index if index < _CLASSES else -1] += 1
        self.total += 1
        if self.total >= self._memory:
            self._counts = array("f", [count / 2 for count in self._counts])
            self.total = sum(self._counts)

    def top(self, number: float) -> float:
        """Upper edge of the class that the `number` largest ones reach down to, 0 where they are nothing.

        >>> levels = Levels(1.0, 1000)
        >>> for size in [3.0] * 20 + [500.0]:
        ...     levels.add(size)
        >>> levels.top(2)
        3.363585661014858
        """
        for index in range(_CLASSES - 1, 0, -1):
            number -= self._counts[index]
            if number <= 0:
                return self._edge(index)
        return 0.0

    def bottom(self, number: float) -> float:
        """Lower edge of the class that the `number` smallest ones reach up to, 0 where they are nothing."""
        for index in range(_CLASSES):
            number -= self._counts[index]
            if number <= 0:
                return self._edge(index - 1) if index else 0.0
        return 0.0

    def _edge(self, index: int) -> float:
        """Upper edge of a class."""
        return float(self._unit * 2.0 ** ((index - _OFFSET) / _PER_OCTAVE))


class UsualMost:
    """A limit that is learned: some times what all but one in a hundred stay below.

    What is beyond the limit counts as the limit, so that a fault widens it by steps, and a change that stays is usual
    after a while.

    Args:
        unit: the instrument's step; the limit is never below five of them.
        memory: sizes until the old count half.
    """

    __slots__ = ("_due", "_levels", "_unit", "limit")

    FACTOR = 4.0
    SHARE = 0.01
    NEEDED = 100
    _EVERY = 25
    _FLOOR = 5.0

    def __init__(self, unit: float, memory: int = 5000) -> None:
        self._levels, self._unit = Levels(unit, memory), unit
        self._due = self.NEEDED
        self.limit = math.inf

    def learn(self, size: float) -> None:
        """Take a size; there is no limit before 100 of them."""
        self._levels.add(min(self.limit, size))
        self._due -= 1
        if self._due <= 0:
            self._due = self._EVERY
            usual = self._levels.top(self.SHARE * self._levels.total)
            self.limit = max(self.FACTOR * usual, self._FLOOR * self._unit)
