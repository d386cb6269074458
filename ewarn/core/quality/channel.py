"""One channel under quality control: its tests, and its newest value, whose flag is not final yet."""

from __future__ import annotations

from ewarn.config import ChannelSpec
from ewarn.contracts import Millis, Quality, Reading
from ewarn.core.quality.attenuation import Attenuation
from ewarn.core.quality.changes import Changes
from ewarn.core.quality.climatology import Climatology
from ewarn.core.quality.standstill import Standstill
from ewarn.parameters import PARAMETERS

_GAP = 2.5
_Found = tuple[Quality, str]
_NOTHING: _Found = Quality.PASS, ""
_FIRST: _Found = Quality.NOT_EVALUATED, ""


class Channel:
    """What quality control knows of one channel.

    Args:
        spec: its settings.

    Attributes:
        spec: its settings.
        heard: of what time the newest reading is, missing ones too; None before the first.
        gap: whether a missing reading stands in the gap that goes on.
        newest: the newest value that is not out of its bounds, with the flag that it went out with; None before it.
        suspect: whether another test than that of neighbours suspects it.
        neighbour: a channel that it disagrees with, "" where there is none.
    """

    __slots__ = (
        "_attenuation", "_changes", "_climatology", "_every", "_found", "_least_patience", "_patience", "_span",
        "_standstill", "gap", "heard", "neighbour", "newest", "spec", "suspect",
    )  # fmt: skip

    def __init__(self, spec: ChannelSpec) -> None:
        # Pumps and gates are switched by people: their past sets no limits.
        learned = not PARAMETERS[spec.parameter].operation
        self.spec = spec
        self._changes = Changes(spec, learned=learned)
        self._standstill = Standstill(spec, learned=learned)
        self._attenuation = Attenuation(spec, learned=learned)
        self._climatology = Climatology(spec, learned=learned)
        self._every, self._span = spec.every * 1000, spec.suspect_span
        self._patience = self._least_patience = _GAP * self._every
        self.heard: Millis | None = None
        self.gap = False
        self.newest: Reading | None = None
        self._found: _Found | None = None
        self.suspect = False
        self.neighbour = ""

    def settle(self, time: Millis, value: float) -> Reading | None:
        """A value comes: the one before it with its final flag, where that is another than it went out with.

        A gap leaves that flag as it is, and the tests begin anew after it. It is what takes more than two and a half
        times as long as it should and as the last value took.
        """
        newest = self.newest
        if newest is None:
            return None
        interval = time - newest.time
        gap = interval > self._patience
        self._patience = _GAP * interval if interval > self._every else self._least_patience
        if gap:
            self._changes.begin()
            self._standstill.begin()
            self._attenuation.begin()
            return None
        spike = self._changes.was_spike(value)
        if self._found is None or not (spike or self.neighbour or self.suspect):
            return None
        flag, reason = _whole(self._found, spike=spike, neighbour=self.neighbour)
        if flag is newest.quality:
            return None
        return Reading(newest.channel, newest.time, newest.value, flag, reason or "revised")

    def take(self, reading: Reading, value: float, disagrees: str = "") -> Reading:
        """Take a value, after the one before it was settled; it comes back with its flag as far as it is known now.

        Args:
            reading: of the value.
            value: that it has.
            disagrees: a channel that it differs too much from, "" where there is none.
        """
        spike = self._changes.is_spike(value)
        found = self._judge(reading.time, value)
        told = reading.quality is Quality.SUSPECT
        self.suspect = suspect = spike or told or not (found is _NOTHING or found is _FIRST)
        self.neighbour = "" if suspect else disagrees
        self._found = None if told else found
        if not told:
            if suspect or disagrees:
                found = _whole(found, spike=spike, neighbour=self.neighbour)
            reading = Reading(reading.channel, reading.time, value, *found)
        self.newest = reading
        return reading

    def _judge(self, time: Millis, value: float) -> _Found:
        """By every test but those of the spike and of neighbours; each takes the value, whatever the others say."""
        fast = self._changes.take(time, value)
        flat = self._standstill.take(time, value)
        attenuated = self._attenuation.take(time, value)
        strange = self._climatology.take(time, value)
        span = self._span
        beyond = span is not None and not span[0] <= value <= span[1]
        if not (fast or strange or beyond) and flat is attenuated is Quality.PASS:
            return _FIRST if self.newest is None else _NOTHING
        if flat is Quality.FAIL:
            return flat, "flat_line"
        if attenuated is Quality.FAIL:
            return attenuated, "attenuated"
        if beyond:
            return Quality.SUSPECT, "gross_range"
        if fast:
            return Quality.SUSPECT, "rate_of_change"
        if flat is Quality.SUSPECT:
            return flat, "flat_line"
        if attenuated is Quality.SUSPECT:
            return attenuated, "attenuated"
        return Quality.SUSPECT, "climatology"


def _whole(found: _Found, *, spike: bool, neighbour: str) -> _Found:
    """The flag of all tests, and the first reason: bounds, spike, what else it is by itself, neighbours."""
    flag, reason = found
    if flag is Quality.FAIL or reason == "gross_range":
        return found
    if spike:
        return Quality.SUSPECT, "spike"
    if neighbour and flag is not Quality.SUSPECT:
        return Quality.SUSPECT, f"neighbour:{neighbour}"
    return flag, reason
