"""Spike and rate of change: what a value does against those before and after it.

Both as QARTOD and `ioos_qc` define them. Spike: a value differs from the mean of its two neighbours by more than a
limit. Before the next value comes, the newest one is held against the mean of the two before it; that flag is
provisional. Rate: the difference to the value before, over the time between, is more than a limit.
"""

from __future__ import annotations

import math

from ewarn.config import ChannelSpec
from ewarn.contracts import Millis
from ewarn.core.quality.levels import UsualMost


class Changes:
    """The last two values of a run without gaps, and how far values go.

    Args:
        spec: of the channel; limits that it gives stand for those that are learned.
        learned: whether limits that are not given are learned.
    """

    __slots__ = (
        "_before", "_last", "_middles", "_news", "_rate", "_rates", "_run", "_spike", "_stride", "_time", "_turn"
    )  # fmt: skip

    def __init__(self, spec: ChannelSpec, *, learned: bool) -> None:
        self._spike, self._rate = spec.spike or math.inf, spec.rate or math.inf
        learns_spikes, learns_rates = learned and spec.spike is None, learned and spec.rate is None
        self._news = UsualMost(spec.resolution) if learns_spikes else None
        self._middles = UsualMost(spec.resolution) if learns_spikes else None
        self._rates = UsualMost(60 * spec.resolution / spec.every) if learns_rates else None
        self._last = self._before = math.nan
        self._time: Millis = 0
        self._run = 0
        self._turn = self._stride = 3

    def begin(self) -> None:
        """After a gap: what was before says nothing of what comes."""
        self._run = 0

    def was_spike(self, value: float) -> bool:
        """Whether the value taken last stood out between the one before it and this one, which comes next."""
        if self._run < 2:
            return False
        return self._beyond(abs(self._last - (self._before + value) / 2), self._middles, self._spike)

    def is_spike(self, value: float) -> bool:
        """Whether this one, which is not taken yet, stands out from the two before it."""
        if self._run < 2:
            return False
        return self._beyond(abs(value - (self._last + self._before) / 2), self._news, self._spike)

    def take(self, time: Millis, value: float) -> bool:
        """Take it; tell whether it came too fast."""
        fast, last = False, self._last
        if self._run:
            fast = self._beyond(abs(value - last) * 60_000 / (time - self._time), self._rates, self._rate)
        self._before, self._last, self._time = last, value, time
        self._run += 1
        # Learn from every third or fourth by turns: enough for what is usual, and in step with no wiper.
        if self._turn == 0:
            self._stride = self._turn = 7 - self._stride
        self._turn -= 1
        return fast

    def _beyond(self, size: float, usual: UsualMost | None, given: float) -> bool:
        """Whether it is more than the limit, which is learned from it, by turns, where none is given."""
        if usual is None:
            return size > given
        found = size > usual.limit
        if self._turn == 0:
            usual.learn(size)
        return found
