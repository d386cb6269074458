"""Streaming QARTOD tests: gap, gross range, spike, rate of change, flat line; what is missing passes through as such.

Flags and tests follow the QARTOD manuals (US IOOS), as `ioos_qc` implements them, with one difference that streaming
asks for: the spike test judges the newest value against the two before it, not the middle one of three, since a value
is sent on before the next one comes. Where a channel gives no spike limit, it follows the channel's own noise: ten
times the mean absolute difference of successive values, each difference counted at most three times that mean.

The gap test is for what does not come at all: the acquisition says why a reading is missing; where even that is
overdue by one and a half intervals, a missing reading stands in the gap, at the time when the next was due.

A test says SUSPECT: an event looks suspect, too. FAIL comes from the gross range, from the probe, or from a clock that
ran backwards; such values are stored, and not used by detection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ewarn.config import ChannelSpec
from ewarn.contracts import Millis, Quality, Reading

_RANK = {Quality.MISSING: 0, Quality.NOT_EVALUATED: 1, Quality.PASS: 2, Quality.SUSPECT: 3, Quality.FAIL: 4}
_SPIKE_FACTOR = 10.0
_CLIP = 3.0
_MEMORY = 0.02
_LEARN = 10
_OVERDUE = 2.5


def worst(*flags: Quality) -> Quality:
    """The flag that stands for all: 9 < 2 < 1 < 3 < 4.

    >>> worst(Quality.PASS, Quality.NOT_EVALUATED).name
    'PASS'
    """
    return max(flags, key=_RANK.__getitem__)


class _Track:
    """What the tests need to know of one channel's past."""

    __slots__ = ("before", "changed", "count", "gap", "heard", "last", "noise", "spec", "still", "time")

    def __init__(self, spec: ChannelSpec) -> None:
        self.spec = spec
        self.time: int | None = None
        self.last = self.before = self.still = math.nan
        self.changed = 0
        self.heard: int | None = None
        self.gap = False
        self.noise = spec.resolution
        self.count = 0

    def remember(self, time: int, value: float) -> None:
        difference = abs(value - self.last)
        if difference <= self.spec.resolution / 2:
            difference = 0.0
        if not abs(value - self.still) <= self.spec.resolution / 2:
            self.changed, self.still = time, value
        if self.count:
            self.noise += _MEMORY * (min(difference, _CLIP * self.noise) - self.noise)
            self.noise = max(self.noise, self.spec.resolution)
        self.before, self.last, self.time = self.last, value, time
        self.count += 1


class QualityControl:
    """Flags readings, channel by channel. Keeps a few numbers a channel.

    Args:
        channels: of the station; readings of others are returned as they are.
    """

    def __init__(self, channels: Mapping[str, ChannelSpec]) -> None:
        self._tracks = {name: _Track(spec) for name, spec in channels.items()}

    def check(self, reading: Reading) -> Reading:
        """The reading with its final flag and the first reason found."""
        track = self._tracks.get(reading.channel)
        if track is None:
            return reading
        track.heard, track.gap = max(reading.time, track.heard or reading.time), False
        if reading.value is None:
            return reading
        if not math.isfinite(reading.value):
            return Reading(reading.channel, reading.time, None, Quality.MISSING, "not_finite")
        if track.time is not None and reading.time <= track.time:
            return Reading(reading.channel, reading.time, reading.value, Quality.FAIL, "time_backwards")
        if reading.quality is Quality.FAIL:
            return reading
        flag, reason = _judge(track, reading.time, reading.value)
        if flag is Quality.FAIL:
            return Reading(reading.channel, reading.time, reading.value, flag, reason)
        track.remember(reading.time, reading.value)
        if reading.quality is Quality.SUSPECT:
            return reading
        return Reading(reading.channel, reading.time, reading.value, flag, reason)


    def overdue(self, now: Millis) -> list[Reading]:
        """A missing reading for each channel of a probe whose next one should have come long ago, once a gap."""
        found = []
        for name, track in self._tracks.items():
            every = round(track.spec.every * 1000)
            if not track.spec.probe or track.heard is None or track.gap or now - track.heard <= _OVERDUE * every:
                continue
            track.gap = True
            found.append(Reading(name, track.heard + every, None, Quality.MISSING, "gap"))
        return found


def _judge(track: _Track, time: int, value: float) -> tuple[Quality, str]:
    spec = track.spec
    if spec.fail_span is not None and not spec.fail_span[0] <= value <= spec.fail_span[1]:
        return Quality.FAIL, "gross_range"
    if spec.suspect_span is not None and not spec.suspect_span[0] <= value <= spec.suspect_span[1]:
        return Quality.SUSPECT, "gross_range"
    if track.time is None:
        return Quality.NOT_EVALUATED, ""
    if spec.rate is not None and abs(value - track.last) > spec.rate * (time - track.time) / 60_000:
        return Quality.SUSPECT, "rate_of_change"
    if track.count >= 2 and _is_spike(track, value):
        return Quality.SUSPECT, "spike"
    still = abs(value - track.still) <= spec.resolution / 2
    if still and spec.flat_after and track.changed and time - track.changed >= spec.flat_after * 1000:
        return Quality.SUSPECT, "flat_line"
    return Quality.PASS, ""


def _is_spike(track: _Track, value: float) -> bool:
    limit = track.spec.spike
    if limit is None:
        if track.count < _LEARN:
            return False
        limit = _SPIKE_FACTOR * track.noise
    return abs(value - (track.last + track.before) / 2) > limit
