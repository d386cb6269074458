"""Flat line: a value that stands still for longer than it usually does.

Repeated values are normal for many instruments, and zeros for days for some. So the limit is learned: twice the
longest standstill that came three times, one hour and ten values at least. It waits for twenty standstills. A
standstill that goes on through a gap begins anew after it.
"""

from __future__ import annotations

import math

from ewarn.config import ChannelSpec
from ewarn.contracts import Millis, Quality
from ewarn.core.quality.levels import Levels

_NEEDED = 20
_TIMES = 3
_FACTOR = 2.0
_LEAST_S = 3600.0
_LEAST_VALUES = 10
_MEMORY = 5000


class Standstill:
    """Since when a channel stands still.

    Args:
        spec: of the channel.
        learned: whether the limit is learned where the channel gives none.
    """

    __slots__ = ("_every", "_fail", "_lengths", "_limit", "_since", "_step", "_telling", "_time", "_value", "_whole")

    def __init__(self, spec: ChannelSpec, *, learned: bool) -> None:
        self._step, self._every = spec.resolution / 2, spec.every
        self._fail = spec.flat_fail * 1000 if spec.flat_fail else math.inf
        self._limit = spec.flat_after * 1000 if spec.flat_after else math.inf
        self._lengths = Levels(spec.every, _MEMORY) if learned and spec.flat_after is None else None
        self._value = math.nan
        self._since = self._time = 0
        self._whole, self._telling = False, 0.0

    def begin(self) -> None:
        """After a gap."""
        self._value, self._whole = math.nan, False

    def take(self, time: Millis, value: float) -> Quality:
        """Take a value; SUSPECT or FAIL where it has stood still for too long, else PASS."""
        last, self._time = self._time, time
        if abs(value - self._value) <= self._step:
            return self._judge(time - self._since)
        if self._lengths is not None and self._whole:
            self._learn(self._lengths, (last - self._since) / 1000)
        self._whole = not math.isnan(self._value)
        self._value, self._since = value, time
        return Quality.PASS

    def _judge(self, still: Millis) -> Quality:
        if still >= self._fail:
            return Quality.FAIL
        return Quality.SUSPECT if still >= self._limit else Quality.PASS

    def _learn(self, lengths: Levels, length: float) -> None:
        """A standstill whose begin and end were seen."""
        before = lengths.total
        lengths.add(length)
        # One value alone is no standstill; it counts, so that an instrument that never stands still is known soon.
        # It moves no limit, nor does any that is far below it, unless the old ones lose their weight.
        if lengths.total >= _NEEDED and (length >= self._telling or lengths.total < before):
            longest = lengths.top(_TIMES)
            limit = max(_FACTOR * longest, _LEAST_S, _LEAST_VALUES * self._every)
            self._limit, self._telling = 1000 * limit, limit / (2 * _FACTOR)
