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
_UNSUSPICIOUS = (Quality.PASS, Quality.NOT_EVALUATED)
_Found = tuple[Quality, str]


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
        "_attenuation", "_changes", "_climatology", "_found", "_patience", "_standstill", "gap", "heard", "neighbour",
        "newest", "spec", "suspect",
    )  # fmt: skip

    def __init__(self, spec: ChannelSpec) -> None:
        # Pumps and gates are switched by people: their past sets no limits.
        learned = not PARAMETERS[spec.parameter].operation
        self.spec = spec
        self._changes = Changes(spec, learned=learned)
        self._standstill = Standstill(spec, learned=learned)
        self._attenuation = Attenuation(spec, learned=learned)
        self._climatology = Climatology(spec, learned=learned)
        self._patience = _GAP * spec.every * 1000
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
        self._patience = _GAP * max(interval, self.spec.every * 1000)
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

    def take(self, reading: Reading, value: float, disagrees: str) -> Reading:
        """Take a value, after the one before it was settled; it comes back with its flag as far as it is known now.

        Args:
            reading: of the value.
            value: that it has.
            disagrees: a channel that it differs too much from, "" where there is none.
        """
        spike = self._changes.is_spike(value)
        found = self._judge(reading.time, value)
        self.suspect = spike or found[0] not in _UNSUSPICIOUS or reading.quality is Quality.SUSPECT
        self.neighbour = "" if self.suspect else disagrees
        self._found = None if reading.quality is Quality.SUSPECT else found
        if self._found is not None:
            flag, reason = _whole(found, spike=spike, neighbour=self.neighbour)
            reading = Reading(reading.channel, reading.time, value, flag, reason)
        self.newest = reading
        return reading

    def _judge(self, time: Millis, value: float) -> _Found:
        """By every test but those of the spike and of neighbours; each takes the value, whatever the others say."""
        fast = self._changes.take(time, value)
        flat = self._standstill.take(time, value)
        attenuated = self._attenuation.take(time, value)
        strange = self._climatology.take(time, value)
        span = self.spec.suspect_span
        if flat is Quality.FAIL:
            return flat, "flat_line"
        if attenuated is Quality.FAIL:
            return attenuated, "attenuated"
        if span is not None and not span[0] <= value <= span[1]:
            return Quality.SUSPECT, "gross_range"
        if fast:
            return Quality.SUSPECT, "rate_of_change"
        if flat is Quality.SUSPECT:
            return flat, "flat_line"
        if attenuated is Quality.SUSPECT:
            return attenuated, "attenuated"
        if strange:
            return Quality.SUSPECT, "climatology"
        return (Quality.NOT_EVALUATED if self.newest is None else Quality.PASS), ""


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
