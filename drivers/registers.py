"""Registers of 16 bits to numbers. Pure.

Byte orders are named by the bytes of the big-endian value, A the most significant: 123.456 as float32 is `42F6E979` in
ABCD, `E97942F6` in CDAB, `F642 79E9` in BADC and `79E9 F642` in DCBA. Values of 64 bits follow the same two rules:
CDAB and DCBA reverse the registers, BADC and DCBA swap the bytes in each. A value of 16 bits has one register, so only
the second rule touches it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from ewarn.profiles import REGISTERS, Channel, NumberType, WordOrder

_FORMATS: dict[str, str] = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q",
    "float32": ">f", "float64": ">d",
}  # fmt: skip


def to_bytes(registers: Sequence[int], order: WordOrder) -> bytes:
    """The value's bytes, most significant first.

    >>> to_bytes([0xE979, 0x42F6], "CDAB").hex()
    '42f6e979'
    """
    words = reversed(registers) if order in ("CDAB", "DCBA") else registers
    swapped = order in ("BADC", "DCBA")
    return b"".join(word.to_bytes(2, "little" if swapped else "big") for word in words)


def decode(registers: Sequence[int], kind: NumberType, order: WordOrder = "ABCD") -> float | None:
    """The number that the registers hold; None where it is not a number or infinite.

    Args:
        registers: as many as the type takes, each 0 to 65535.
        kind: how the number is stored.
        order: of the bytes.

    Raises:
        ValueError: the type takes another number of registers.
    """
    if len(registers) != REGISTERS[kind]:
        raise ValueError(f"{kind} takes {REGISTERS[kind]} registers, not {len(registers)}")
    (number,) = struct.unpack(_FORMATS[kind], to_bytes(registers, order))
    return number if math.isfinite(number) else None


def value_of(registers: Sequence[int], channel: Channel, order: WordOrder) -> float | None:
    """The channel's value in its unit; None where the registers hold no number or one that means "no value".

    Args:
        registers: of the channel.
        channel: type, scale, offset and missing numbers.
        order: used where the channel names none.
    """
    raw = decode(registers, channel.type, channel.word_order or order)
    if raw is None or any(raw == _as_stored(number, channel.type) for number in channel.missing):
        return None
    return scaled(raw, channel)


def scaled(raw: float, channel: Channel) -> float | None:
    """Raw number to the channel's unit; None where the result is not finite."""
    value = raw * channel.scale + channel.offset
    return float(value) if math.isfinite(value) else None


def _as_stored(number: float, kind: NumberType) -> float:
    """A number as an instrument with less precision would hold it: -9999.9 has no exact float32."""
    if kind != "float32" or not math.isfinite(number):
        return number
    (stored,) = struct.unpack(">f", struct.pack(">f", number))
    return float(stored)
