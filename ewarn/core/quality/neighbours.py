"""Neighbour: channels of one parameter have to agree.

Two channels are compared where they were read within half of the shorter of their intervals. Given a limit, they may
differ by it. Else what is usual between them is learned: the difference of their calibrations, over some days, and how
far it is exceeded. A pair that disagrees says nothing of which of the two is wrong: the test names the pair, and both
are suspect, unless one of them fails another test at that time: then that one alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from ewarn.config import ChannelSpec
from ewarn.core.quality.levels import UsualMost
from ewarn.parameters import PARAMETERS, PREFIXES

_SLOWEST = 10_000
"""Comparisons over which the usual difference is learned: a week of minutes."""


class Pair:
    """Two channels of one parameter at one place.

    Args:
        first, second: the two.

    Attributes:
        channels: their ids.
        apart: milliseconds that their readings may be apart.
    """

    __slots__ = ("_centre", "_count", "_given", "_usual", "apart", "channels")

    def __init__(self, first: ChannelSpec, second: ChannelSpec) -> None:
        self.channels = (first.id, second.id)
        self.apart = 500 * min(first.every, second.every)
        self._given = min((s.neighbour for s in (first, second) if s.neighbour is not None), default=None)
        self._usual = UsualMost(max(first.resolution, second.resolution))
        self._centre, self._count = 0.0, 0

    def other(self, channel: str) -> str:
        """The one beside this one."""
        first, second = self.channels
        return second if channel == first else first

    def disagree(self, first: float, second: float) -> bool:
        """Whether the two, in the order of `channels`, differ by too much. Learns from them."""
        difference = first - second
        if self._given is not None:
            return abs(difference) > self._given
        off, limit = difference - self._centre, self._usual.limit
        found = abs(off) > limit
        self._count += 1
        self._centre += max(-limit, min(limit, off)) / min(self._count, _SLOWEST)
        if self._count > 1:
            self._usual.learn(abs(off))
        return found


def pairs(channels: Iterable[ChannelSpec]) -> list[Pair]:
    """Every two channels that measure the same in the same water."""
    return [
        Pair(first, second)
        for first, second in itertools.combinations(channels, 2)
        if _place(first) == _place(second) and _comparable(first, second) and first.formula is None is second.formula
    ]


def _comparable(first: ChannelSpec, second: ChannelSpec) -> bool:
    """Two pumps need not agree, unless the station file says so."""
    given = first.neighbour is not None or second.neighbour is not None
    return given or not PARAMETERS[first.parameter].operation


def _place(spec: ChannelSpec) -> tuple[str, str, str]:
    return spec.parameter, spec.unit, next((prefix for prefix in PREFIXES if spec.id.startswith(prefix)), "")
