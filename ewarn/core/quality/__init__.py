"""The streaming QARTOD tests: gap, gross range, climatology, spike, rate of change, flat line, attenuated signal, neighbour.

Flags and tests follow the QARTOD manuals (US IOOS), as `ioos_qc` implements them; one module a test, each says where
streaming differs. Limits stand in the station file or are learned from the channel's own history: bounded, robust,
causal, and rebuilt from the journal like all state.

The spike test judges the middle of three values, the neighbour test two channels that do not speak at once. So a flag
is provisional first: it goes on at once, and detection uses it. When the next value of the channel comes, the flag is
final; where it is another, the reading is given out again, of the same channel, time and value.

The gap test is for what does not come at all: the acquisition says why a reading is missing; where even that is
overdue by one and a half intervals, a missing reading stands in the gap, at the time when the next was due.

A test says SUSPECT: an event looks suspect, too. FAIL comes from the gross range, from the probe, from a clock that ran
backwards, or from a limit for failing that the station file gives; such values are stored, and not used by detection.
What is out of its bounds is no part of any other test: they go on as if it had not come.
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Mapping

from ewarn.config import ChannelSpec
from ewarn.contracts import Millis, Quality, Reading
from ewarn.core.quality.channel import Channel
from ewarn.core.quality.neighbours import Pair, pairs

__all__ = ["QualityControl", "worst"]

_RANK = {Quality.MISSING: 0, Quality.NOT_EVALUATED: 1, Quality.PASS: 2, Quality.SUSPECT: 3, Quality.FAIL: 4}
_OVERDUE = 2.5


def worst(*flags: Quality) -> Quality:
    """The flag that stands for all: 9 < 2 < 1 < 3 < 4.

    >>> worst(Quality.PASS, Quality.NOT_EVALUATED).name
    'PASS'
    """
    return max(flags, key=_RANK.__getitem__)


class QualityControl:
    """Flags readings, channel by channel. Keeps a few kB a channel.

    Args:
        channels: of the station; readings of others are returned as they are.
    """

    def __init__(self, channels: Mapping[str, ChannelSpec]) -> None:
        self._channels = {name: Channel(spec) for name, spec in channels.items()}
        self._pairs: dict[str, list[Pair]] = {}
        for pair in pairs(channels.values()):
            for channel in pair.channels:
                self._pairs.setdefault(channel, []).append(pair)

    def check(self, reading: Reading) -> tuple[Reading, Reading | None]:
        """The reading with its flag, as far as it is known now, and the first reason found.

        Beside it, the channel's value before this one, where its flag is another now that this one is there.
        """
        channel = self._channels.get(reading.channel)
        if channel is None:
            return reading, None
        time, value = reading.time, reading.value
        channel.gap = False
        if channel.heard is None or time > channel.heard:
            channel.heard = time
        if value is None:
            return reading, None
        if not math.isfinite(value):
            return Reading(reading.channel, time, None, Quality.MISSING, "not_finite"), None
        if channel.newest is not None and time <= channel.newest.time:
            return Reading(reading.channel, time, value, Quality.FAIL, "time_backwards"), None
        if reading.quality is Quality.FAIL:
            return reading, None
        span = channel.spec.fail_span
        if span is not None and not span[0] <= value <= span[1]:
            return Reading(reading.channel, time, value, Quality.FAIL, "gross_range"), None
        before = channel.settle(time, value)
        if reading.channel not in self._pairs:
            return channel.take(reading, value), before
        disagrees = self._compare(reading.channel, time, value)
        checked = channel.take(reading, value, disagrees.spec.id if disagrees is not None else "")
        if disagrees is not None and not channel.suspect:
            disagrees.neighbour = reading.channel
        return checked, before

    def overdue(self, now: Millis) -> list[Reading]:
        """A missing reading for each channel of a probe whose next one should have come long ago, once a gap."""
        found = []
        for name, channel in self._channels.items():
            every = round(channel.spec.every * 1000)
            heard = channel.heard
            if not channel.spec.probe or heard is None or channel.gap or now - heard <= _OVERDUE * every:
                continue
            channel.gap = True
            found.append(Reading(name, heard + every, None, Quality.MISSING, "gap"))
        return found

    def _compare(self, name: str, time: Millis, value: float) -> Channel | None:
        """The first channel that this value should agree with and does not; one that is suspect by itself aside."""
        found = None
        for pair in self._pairs[name]:
            other = self._channels[pair.other(name)]
            newest = other.newest
            if newest is None or newest.value is None or abs(time - newest.time) > pair.apart:
                continue
            first, second = (value, newest.value) if name == pair.channels[0] else (newest.value, value)
            if pair.disagree(first, second) and not other.suspect:
                found = found or other
        return found
