"""What a probe's registers say of a channel: value, quality and reason. Pure.

A value that its probe denies stays in the reading as FAIL with reason `probe_status`; one that the probe doubts is
SUSPECT with reason `probe_suspect`; what is no number is MISSING with reason `sentinel`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.planner import Span
from drivers.registers import decode, value_of
from ewarn.contracts import Millis, Quality, Reading
from ewarn.profiles import REGISTERS, Bind, Channel, Profile, RegisterKind, Status

Image = Mapping[tuple[RegisterKind, int], int]
"""Registers by table and address in the frame."""

_BLOCK_UINT = 1
_BLOCK_FLOAT = 2


@dataclass(frozen=True, slots=True)
class Judged:
    """A reading without channel and time."""

    value: float | None
    quality: Quality = Quality.NOT_EVALUATED
    reason: str = ""

    def reading(self, channel: str, time: Millis) -> Reading:
        """As a reading of a channel."""
        return Reading(channel, time, self.value, self.quality, self.reason)


def missing(reason: str) -> Judged:
    """No value, and why."""
    return Judged(None, Quality.MISSING, reason)


def in_range(value: float | None, channel: Channel) -> Judged:
    """A value against the bounds of its channel."""
    if value is None:
        return missing("sentinel")
    if channel.valid is not None and not channel.valid[0] <= value <= channel.valid[1]:
        return Judged(value, Quality.FAIL, "out_of_range")
    return Judged(value)


def needs(profile: Profile, channel: Channel) -> tuple[Span, ...]:
    """Registers that the channel's reading is made from. Not for profiles with bind mode "slots"."""
    assert channel.address is not None
    address = profile.wire(channel.address)
    if profile.bind is not None:
        return (Span(channel.register, address, profile.bind.size),)
    status = _status_of(profile, channel)
    value = Span(channel.register, address, REGISTERS[channel.type])
    return (value,) if status is None else (value, _status_span(profile, status))


def ends(profile: Profile, channel: Channel) -> set[tuple[RegisterKind, int]]:
    """Table and address after each single value in `needs`."""
    bind = profile.bind
    if bind is None:
        return {(span.register, span.end) for span in needs(profile, channel)}
    (block,) = needs(profile, channel)
    floats = {offset + _BLOCK_FLOAT for offset in (bind.value, bind.sentinel)}
    words = {offset + _BLOCK_UINT for offset in (bind.quality, bind.units, bind.parameter)}
    return {(channel.register, block.address + offset) for offset in floats | words}


def judge(profile: Profile, channel: Channel, image: Image) -> Judged:
    """Reading of a channel whose `needs` are all in `image`."""
    if profile.bind is not None:
        return _judge_block(profile, profile.bind, channel, image)
    value_span, *status_span = needs(profile, channel)
    judged = in_range(value_of(_registers(image, value_span), channel, profile.word_order), channel)
    status = _status_of(profile, channel)
    if status is None or judged.value is None:
        return judged
    number = decode(_registers(image, status_span[0]), status.type, profile.word_order)
    return _with_status(judged, _status_quality(status, number))


def judge_slot(profile: Profile, channel: Channel, registers: Sequence[int], status: int) -> Judged:
    """Reading of a channel of a profile with bind mode "slots", from the slot's value and status."""
    assert profile.bind is not None
    judged = in_range(value_of(registers, channel, profile.word_order), channel)
    if judged.value is None or status in profile.bind.status_good:
        return judged
    return _with_status(judged, Quality.FAIL)


def _judge_block(profile: Profile, bind: Bind, channel: Channel, image: Image) -> Judged:
    """In-Situ's rule: the sentinel (0.0 unless changed) means "no value" only where the quality id says so too.

    With quality good a value that equals the sentinel is a true one: 0.0 is a lawful turbidity or temperature.
    """
    (block,) = needs(profile, channel)
    registers = _registers(image, block)
    if registers[bind.parameter] != channel.code:
        return missing("profile_mismatch")
    value_registers = registers[bind.value : bind.value + REGISTERS[channel.type]]
    sentinel = registers[bind.sentinel : bind.sentinel + len(value_registers)]
    judged = in_range(value_of(value_registers, channel, profile.word_order), channel)
    quality = registers[bind.quality]
    good, suspect = quality in bind.quality_good, quality in bind.quality_suspect
    if judged.value is None or (not good and value_registers == sentinel):
        return missing("sentinel")
    if not good and not suspect:
        return _with_status(judged, Quality.FAIL)
    if channel.units_code and registers[bind.units] not in channel.units_code:
        return Judged(judged.value, Quality.FAIL, "unit_unknown")
    return judged if good else _with_status(judged, Quality.SUSPECT)


def _with_status(judged: Judged, quality: Quality) -> Judged:
    """What the probe says of itself, over what was found so far; a value out of range stays FAIL."""
    if quality is Quality.FAIL:
        return Judged(judged.value, quality, "probe_status")
    if quality is Quality.SUSPECT and judged.quality is not Quality.FAIL:
        return Judged(judged.value, quality, "probe_suspect")
    return judged


def _status_quality(status: Status, number: float | None) -> Quality:
    masked = int(number) & status.mask if number is not None else None
    good = status.good if status.good or status.suspect else (0,)
    if masked in good:
        return Quality.NOT_EVALUATED
    return Quality.SUSPECT if masked in status.suspect else Quality.FAIL


def _status_of(profile: Profile, channel: Channel) -> Status | None:
    return next((s for s in profile.status if s.id == channel.status), None)


def _status_span(profile: Profile, status: Status) -> Span:
    return Span(status.register, profile.wire(status.address), REGISTERS[status.type])


def _registers(image: Image, span: Span) -> list[int]:
    return [image[span.register, address] for address in range(span.address, span.end)]
