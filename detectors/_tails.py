"""How rare a deviation is, by the channel's own past: a logarithmic histogram that forgets. Causal, fixed memory.

A value's surprise is -ln P(|e| >= value) - 1, in nats, from the channel's own histogram of past deviations. Beyond the
largest `share` of them the tail is extrapolated as a power law, so that what was never seen is rarer the larger it is.
One nat is taken off, so that what is usual counts nothing.
"""

from __future__ import annotations

import math
from array import array

_BINS = 160
_LOW, _HIGH = math.log(0.1), math.log(1e6)
_WIDTH = (_HIGH - _LOW) / _BINS
_SMALLEST = 0.101
_LEAST = 3.0
_KNOWN = 50.0
_HEAVIEST = 1e100


class Tail:
    """Histogram of one channel's deviations in units of the instrument's resolution.

    Instead of making all that was counted lighter with each step, what is counted becomes heavier (forward decay,
    Cormode et al., ICDE 2009): one bin changes, not all.

    Args:
        forget: share that is forgotten with each step.
        share: of the largest deviations, from which on the tail is a power law.
        exponent: of that power law.
    """

    __slots__ = ("_beyond", "_counts", "_edge", "_exponent", "_growth", "_share", "_total", "_unit")

    def __init__(self, forget: float, share: float = 0.01, exponent: float = 3.0) -> None:
        self._growth, self._share, self._exponent = 1 / (1 - forget), share, exponent
        self._counts = array("d", [0.0]) * _BINS
        self._unit, self._total = 1.0, 0.0
        # The last bin with the largest `share` in it or beyond it, -1 without, and the weight beyond it.
        self._edge, self._beyond = -1, 0.0

    def surprise(self, size: float) -> float:
        """Surprise of a deviation (0 or more), in nats; 0 while little is known."""
        if size <= _SMALLEST or self._total <= _KNOWN * self._unit:
            return 0.0
        log = math.log(size)
        place, edge = _bin(log), self._edge
        above = self._beyond + sum(self._counts[min(place, edge) : edge + 1])
        nats = -math.log(above / self._total) - 1
        if place > edge:
            nats += self._exponent * (log - (_LOW + (edge + 0.5) * _WIDTH))
        return max(nats, 0.0)

    def learn(self, size: float) -> None:
        """Count a deviation (0 or more)."""
        self._unit *= self._growth
        place = _bin(math.log(size)) if size > _SMALLEST else 0
        self._counts[place] += self._unit
        self._total += self._unit
        if place > self._edge:
            self._beyond += self._unit
        self._move_edge()
        if self._unit > _HEAVIEST:
            self._lighten()

    def _move_edge(self) -> None:
        least = max(_LEAST * self._unit, self._share * self._total)
        while self._beyond >= least:
            self._edge += 1
            self._beyond -= self._counts[self._edge]
        while self._edge >= 0 and self._beyond + self._counts[self._edge] < least:
            self._beyond += self._counts[self._edge]
            self._edge -= 1

    def _lighten(self) -> None:
        """Count in lighter units from here on; nothing else changes."""
        self._counts = array("d", (count / self._unit for count in self._counts))
        self._total, self._beyond = self._total / self._unit, self._beyond / self._unit
        self._unit = 1.0


def _bin(log: float) -> int:
    place = (log - _LOW) / _WIDTH
    return int(place) if place < _BINS else _BINS - 1
