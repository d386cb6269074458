"""How much a probe usually delivers, and whether it delivers less. Pure.

After Fledge's monitor of ingest rates: mean and spread of the last periods are the measure, and only two odd periods
one after the other count. A period in which nothing came tells nothing here: silence has an alarm of its own.
"""

from __future__ import annotations

from collections import deque
from math import floor, sqrt
from statistics import fmean, pstdev

from ewarn.contracts import Millis

_PERIODS = 10
_ODD = 2
_SPREADS = 4.0
_CYCLES = 20
"""Reads in a period."""


class Rate:
    """Values of one probe by period.

    Args:
        every: seconds between its reads.

    Attributes:
        sparse: whether it delivers less than it usually does.
        since: when the first of the odd periods began.
    """

    def __init__(self, every: float) -> None:
        self._period: Millis = round(_CYCLES * every * 1000)
        self._usual: deque[int] = deque(maxlen=_PERIODS)
        self._number: int | None = None
        self._count = 0
        self._odd = 0
        self.sparse = False
        self.since: Millis = 0

    def count(self, now: Millis) -> None:
        """A value came. `now` never runs backwards."""
        self.tick(now)
        self._count += 1

    def tick(self, now: Millis) -> None:
        """Time passes."""
        number = floor(now / self._period)
        if self._number is not None and number > self._number:
            self._judge(self._number * self._period)
        if number != self._number:
            self._number, self._count = number, 0

    def _judge(self, began: Millis) -> None:
        if not self._count:
            self._odd = 0
        elif len(self._usual) < _PERIODS or self._count >= self._least():
            self._usual.append(self._count)
            self._odd, self.sparse = 0, False
        else:
            self.since = self.since if self._odd or self.sparse else began
            self._odd += 1
            self.sparse = self.sparse or self._odd >= _ODD

    def _least(self) -> float:
        """Four spreads below the mean; the spread at least that of a count."""
        mean = fmean(self._usual)
        return mean - _SPREADS * max(pstdev(self._usual), sqrt(mean) / 2, 1.0)
