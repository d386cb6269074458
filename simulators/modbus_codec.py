"""Modbus frames from the server's side: requests taken apart, replies put together. Pure.

"Modbus application protocol" V1.1b3 (functions 3, 4, 6, 16), "Modbus over serial line" V1.02 (RTU), "Modbus messaging
on TCP/IP" V1.0b (MBAP). Shares nothing with the drivers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from ewarn.profiles import REGISTERS, NumberType, WordOrder

READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY = 3, 4, 6, 16
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
_MOST = 125
_FORMATS = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q",
            "float32": ">f", "float64": ">d"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """A request: a read of `count` registers, or a write of `values`."""

    unit: int
    function: int
    address: int
    count: int = 0
    values: tuple[int, ...] = ()
    transaction: int = 0


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
    """Take the first whole request out of the buffer; bytes of none are dropped, an unfinished end stays."""
    while len(buffer) >= 8:
        size = 8 if buffer[1] != WRITE_MANY else 9 + buffer[6]
        if len(buffer) < size <= 256:
            return None
        frame = bytes(buffer[:size])
        if len(frame) == size and crc(frame[:-2]) == frame[-2:]:
            del buffer[:size]
            return parse(frame[0], frame[1:-2])
        del buffer[0]
    return None


def take_mbap(buffer: bytearray) -> Request | None:
    """Take the first whole request out of the buffer. Raises ValueError where the stream is no MBAP."""
    if len(buffer) < 8:
        return None
    transaction, protocol, length, unit = struct.unpack_from(">HHHB", buffer)
    if protocol != 0 or not 2 <= length <= 254:
        raise ValueError("not MBAP")
    if len(buffer) < 6 + length:
        return None
    pdu = bytes(buffer[7 : 6 + length])
    del buffer[: 6 + length]
    return parse(unit, pdu, transaction)


def parse(unit: int, pdu: bytes, transaction: int = 0) -> Request:
    """A request from its PDU; one that is too short or unknown has count 0 and no values."""
    function = pdu[0]
    if len(pdu) < 5:
        return Request(unit, function, 0, transaction=transaction)
    address, number = struct.unpack_from(">HH", pdu, 1)
    if function == WRITE_ONE:
        return Request(unit, function, address, values=(number,), transaction=transaction)
    if function == WRITE_MANY:
        values = struct.unpack(f">{(len(pdu) - 6) // 2}H", pdu[6 : 6 + (len(pdu) - 6) // 2 * 2])
        return Request(unit, function, address, values=values, transaction=transaction)
    return Request(unit, function, address, number, transaction=transaction)


def valid_count(request: Request) -> bool:
    """Whether a read asks for a lawful number of registers."""
    return 1 <= request.count <= _MOST


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

    >>> [f"{r:04X}" for r in encode(17.625, "float32", "DCBA")]
    ['0000', '8D41']
    """
    number = value if kind.startswith("float") else round(value)
    raw = struct.pack(_FORMATS[kind], number)
    words = [raw[i : i + 2] for i in range(0, 2 * REGISTERS[kind], 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    swap = order in ("BADC", "DCBA")
    return [int.from_bytes(word, "little" if swap else "big") for word in words]
