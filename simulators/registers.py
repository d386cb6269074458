"""What a profile's registers hold: the map of a simulated device, computed when it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import takewhile

from ewarn.profiles import REGISTERS, Bind, Channel, Profile
from simulators.modbus_codec import encode

Value = Callable[[str], float | None]
"""What a channel of the profile shows now; None for one that is missing."""
Bank = dict[tuple[str, int], int]
"""Register by table ("holding" or "input") and address as in the frame."""

_SENTINEL = 0.0
_QUALITY_ERROR = 3


def listed(profile: Profile, fitted: Sequence[str]) -> list[int]:
    """The list of parameter codes as a self-describing device leaves the factory; empty for any other device."""
    if profile.bind is None or profile.bind.mode != "slots":
        return []
    codes = [profile.channel(name).code or 0 for name in fitted]
    return codes + [0] * (profile.bind.slots - len(codes))


def place(profile: Profile, channel: Channel) -> frozenset[tuple[str, object]]:
    """What no other fitted channel may share: column, parameter code, or registers."""
    if profile.protocol == "ascii":
        return frozenset({("column", channel.field)})
    if profile.bind is not None and profile.bind.mode == "slots":
        return frozenset({("code", channel.code)})
    assert channel.address is not None
    size = REGISTERS[channel.type] if profile.bind is None else profile.bind.size
    return frozenset((channel.register, channel.address + i) for i in range(size))


def bank(profile: Profile, fitted: Sequence[str], value: Value, codes: Sequence[int] = ()) -> Bank:
    """All registers of a device that has these channels.

    Args:
        profile: of the device.
        fitted: channels that it has.
        value: what each shows, in the parameter's unit.
        codes: list of parameter codes of a self-describing device; the factory's where empty.
    """
    channels = [profile.channel(name) for name in fitted]
    bind = profile.bind
    if bind is not None and bind.mode == "slots":
        return _slots(profile, bind, channels, value, codes or listed(profile, fitted))
    registers: Bank = {}
    for channel in channels:
        if bind is not None:
            _put_block(registers, profile, bind, channel, value(channel.id))
        else:
            _put_plain(registers, profile, channel, value(channel.id))
    for status in profile.status:
        good = status.good[0] if status.good else 0
        _put(registers, status.register, profile.wire(status.address), encode(good, status.type, profile.word_order))
    return registers


def _raw(channel: Channel, value: float | None) -> float:
    """The number before scaling; what is missing is what the profile calls so, else not a number."""
    if value is None:
        return channel.missing[0] if channel.missing else math.nan
    return (value - channel.offset) / channel.scale


def _put(registers: Bank, table: str, address: int, words: Sequence[int]) -> None:
    registers.update({(table, address + i): word for i, word in enumerate(words)})


def _put_plain(registers: Bank, profile: Profile, channel: Channel, value: float | None) -> None:
    assert channel.address is not None
    words = encode(_raw(channel, value), channel.type, channel.word_order or profile.word_order)
    _put(registers, channel.register, profile.wire(channel.address), words)


def _put_block(registers: Bank, profile: Profile, bind: Bind, channel: Channel, value: float | None) -> None:
    assert channel.address is not None
    order = channel.word_order or profile.word_order
    words = [0] * bind.size
    shown = _SENTINEL if value is None else _raw(channel, value)
    words[bind.value : bind.value + 2] = encode(shown, "float32", order)
    words[bind.sentinel : bind.sentinel + 2] = encode(_SENTINEL, "float32", order)
    words[bind.quality] = _QUALITY_ERROR if value is None else bind.quality_good[0]
    words[bind.units] = channel.units_code[0] if channel.units_code else 0
    words[bind.parameter] = channel.code or 0
    _put(registers, channel.register, profile.wire(channel.address), words)


def _slots(profile: Profile, bind: Bind, channels: Sequence[Channel], value: Value, codes: Sequence[int]) -> Bank:
    registers: Bank = {}
    known = {channel.code: channel for channel in channels}
    not_set, not_available = [n for n in range(1, 9) if n not in bind.status_good][:2]
    status, values = profile.wire(bind.status), profile.wire(bind.values)
    _put(registers, "holding", profile.wire(bind.codes), codes)
    _put(registers, "holding", status, [not_set] * bind.slots)
    _put(registers, "holding", values, [0] * 2 * bind.slots)
    for slot, code in enumerate(takewhile(bool, codes)):
        channel = known.get(code)
        now = value(channel.id) if channel is not None else None
        _put(registers, "holding", status + slot, [not_available if now is None else bind.status_good[0]])
        if channel is not None:
            words = encode(_raw(channel, now), "float32", channel.word_order or profile.word_order)
            _put(registers, "holding", values + 2 * slot, words)
    return registers
