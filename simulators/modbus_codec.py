"""Modbus frames from the server's side: requests taken apart, replies put together. Pure.

"Modbus application protocol" V1.1b3 (functions 3, 4, 6, 16), "Modbus over serial line" V1.02 (RTU), "Modbus messaging
on TCP/IP" V1.0b (MBAP). Shares nothing with the drivers.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Literal

from ewarn.profiles import REGISTERS, NumberType, WordOrder

READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY = 3, 4, 6, 16
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
_MOST_READ, _MOST_WRITTEN = 125, 123
_LONGEST = 256
_EIGHT_BYTES = (1, 2, READ_HOLDING, READ_INPUT, 5, WRITE_ONE)
_WITH_BYTES = (15, WRITE_MANY)
_FORMATS = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q",
            "float32": ">f", "float64": ">d"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """A request: a read of `count` registers, or a write of `values`; `raw` is the frame that it came in."""

    unit: int
    function: int
    address: int
    count: int = 0
    values: tuple[int, ...] = ()
    transaction: int = 0
    raw: bytes = b""


def crc(data: bytes) -> bytes:
    """Check sum of an RTU frame, as it stands at its end.

    >>> crc(bytes.fromhex("010300800020")).hex()
    '45fa'
    """
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            carry = register & 1
            register >>= 1
            if carry:
                register ^= 0xA001
    return struct.pack("<H", register)


def take_rtu(buffer: bytearray) -> Request | None:
    """Take the first whole request of a known length out of the buffer, and what stands before it."""
    for start in range(len(buffer) - 7):
        function = buffer[start + 1]
        size = 8 if function in _EIGHT_BYTES else 9 + buffer[start + 6] if function in _WITH_BYTES else _LONGEST + 1
        request = whole_rtu(buffer[start : start + size]) if start + size <= len(buffer) else None
        if request is not None:
            del buffer[: start + size]
            return request
    del buffer[:-_LONGEST]
    return None


def whole_rtu(data: bytes | bytearray) -> Request | None:
    """The request that these bytes are, of whatever length; None where they are none."""
    frame = bytes(data)
    if not 4 <= len(frame) <= _LONGEST or crc(frame[:-2]) != frame[-2:]:
        return None
    return parse(frame[0], frame[1:-2], raw=frame)


def take_mbap(buffer: bytearray) -> Request | None:
    """Take the first whole request out of the buffer. Raises ValueError where the stream is no MBAP."""
    if len(buffer) < 8:
        return None
    transaction, protocol, length, unit = struct.unpack_from(">HHHB", buffer)
    if protocol != 0 or not 2 <= length <= 254:
        raise ValueError("not MBAP")
    if len(buffer) < 6 + length:
        return None
    raw = bytes(buffer[: 6 + length])
    del buffer[: 6 + length]
    return parse(unit, raw[7:], transaction, raw)


def parse(unit: int, pdu: bytes, transaction: int = 0, raw: bytes = b"") -> Request:
    """A request from its PDU; one that is malformed, or that this module does not know, has count 0 and no values."""
    function, address, count = pdu[0], 0, 0
    values: tuple[int, ...] = ()
    if len(pdu) >= 5:
        address, count = struct.unpack_from(">HH", pdu, 1)
    if function == WRITE_ONE and len(pdu) == 5:
        values = (count,)
    elif function == WRITE_MANY and len(pdu) >= 6 and len(pdu) - 6 == pdu[5] == 2 * count <= 2 * _MOST_WRITTEN:
        values = struct.unpack_from(f">{count}H", pdu, 6)
    read = function in (READ_HOLDING, READ_INPUT) and len(pdu) == 5
    return Request(unit, function, address, count if read else 0, values, transaction, raw)


def valid_count(request: Request) -> bool:
    """Whether a read asks for a lawful number of registers."""
    return 1 <= request.count <= _MOST_READ


def read_pdu(function: int, registers: list[int]) -> bytes:
    """Answer to a read."""
    return struct.pack(f">BB{len(registers)}H", function, 2 * len(registers), *registers)


def write_pdu(request: Request) -> bytes:
    """Answer to a write."""
    last = request.values[0] if request.function == WRITE_ONE else len(request.values)
    return struct.pack(">BHH", request.function, request.address, last)


def exception_pdu(function: int, code: int) -> bytes:
    """Answer that refuses."""
    return bytes((function | 0x80, code))


def frame(framing: Literal["rtu", "mbap"], unit: int, pdu: bytes, transaction: int) -> bytes:
    """A reply as it goes onto the line."""
    if framing == "mbap":
        return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu
    body = bytes((unit,)) + pdu
    return body + crc(body)


def encode(value: float, kind: NumberType, order: WordOrder) -> list[int]:
    """A number as registers. Letters of the order name the bytes of the big-endian value, A the most significant.

    An integer that does not fit is the nearest that does, as instruments do it; what is not a number is 0x8000 or
    0xFFFF (signed, unsigned; wider ones alike).

    >>> [f"{r:04X}" for r in encode(17.625, "float32", "DCBA")]
    ['0000', '8D41']
    """
    number = value if kind.startswith("float") else _integer(value, kind)
    raw = struct.pack(_FORMATS[kind], number)
    words = [raw[i : i + 2] for i in range(0, 2 * REGISTERS[kind], 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    swap = order in ("BADC", "DCBA")
    return [int.from_bytes(word, "little" if swap else "big") for word in words]


def bounds(kind: NumberType) -> tuple[int, int]:
    """Least and greatest number of an integer type."""
    bits = 16 * REGISTERS[kind]
    return (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _integer(value: float, kind: NumberType) -> int:
    low, high = bounds(kind)
    if math.isnan(value):
        return high if low == 0 else low
    return low if value <= low else high if value >= high else round(value)
