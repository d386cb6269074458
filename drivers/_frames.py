"""Modbus frames: which bytes answer which request. Pure.

Frames as in "Modbus over serial line" V1.02, 2.5.1 (RTU), and "Modbus messaging on TCP/IP" V1.0b, 3.1.3 (MBAP).
Of RTU, bytes before and after a frame are passed over: its check sum tells it from noise. MBAP has no check sum; a
bit that flips on its way through a gateway cannot be seen here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ewarn.profiles import RegisterKind

_FUNCTIONS = {"holding": 3, "input": 4}
_MAX_MBAP_LENGTH = 254


@dataclass(frozen=True, slots=True)
class Request:
    """A read of registers.

    Attributes:
        unit: address of the probe on its line.
        register: which table.
        address: of the first register, as in the frame (from 0).
        count: how many, 1 to 125.
    """

    unit: int
    register: RegisterKind
    address: int
    count: int

    @property
    def function(self) -> int:
        """Modbus function code."""
        return _FUNCTIONS[self.register]

    @property
    def shape(self) -> tuple[int, int]:
        """Function code and count: all that an RTU reply says about the request that it answers."""
        return self.function, self.count


@dataclass(frozen=True, slots=True)
class Body:
    """A whole reply.

    Attributes:
        frame: its bytes on the line.
        unit: address of the probe.
        function: of the request.
        count: registers in it; None for an exception.
    """

    frame: bytes
    unit: int
    function: int
    count: int | None


def _crc_table() -> tuple[int, ...]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1  # noqa: PLW2901
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS; it stands in a frame with its low byte first.

    >>> crc16(bytes.fromhex("010300800020")).to_bytes(2, "little").hex()
    '45fa'
    """
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def after_echo(data: bytes, sent: bytes) -> bytes:
    """What came after the echo of `sent`; nothing where the echo has not been heard whole."""
    _, echo, rest = data.partition(sent)
    return rest if echo else b""


def explain(data: bytes, request: Request, *, rtu: bool) -> str:
    """Why bytes that came are no answer to `request`, for people."""
    bodies = list(rtu_bodies(data)) if rtu else [body for _, body in mbap_bodies(data)]
    if not bodies:
        return f"{len(data)} bytes that are no whole frame ({data[:16].hex(' ')})"
    body = bodies[0]
    if body.unit != request.unit:
        return f"unit {body.unit} answered instead of {request.unit}"
    if body.function != request.function:
        return f"function {body.function} answered instead of {request.function}"
    if body.count is not None and body.count != request.count:
        return f"{body.count} registers came instead of {request.count}"
    return "a reply to another request came"


def rtu_bodies(data: bytes) -> Iterator[Body]:
    """Whole replies with a valid check sum, whatever lies between them."""
    start = 0
    while start <= len(data) - 5:
        length = 5 if data[start + 1] & 0x80 else 5 + data[start + 2]
        frame = data[start : start + length]
        body = _body(frame[:-2], frame) if len(frame) == length else None
        if body is not None and crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little"):
            yield body
            start += length
        else:
            start += 1


def mbap_bodies(data: bytes) -> Iterator[tuple[int, Body]]:
    """Transaction ids and replies; ends where the bytes can be no MBAP."""
    at = 0
    while len(data) - at >= 9:
        transaction, protocol, length = struct.unpack_from(">HHH", data, at)
        frame = data[at : at + 6 + length]
        if protocol != 0 or not 3 <= length <= _MAX_MBAP_LENGTH or len(frame) < 6 + length:
            return
        body = _body(frame[6:], frame)
        if body is not None:
            yield transaction, body
        at += 6 + length


def _body(content: bytes, frame: bytes) -> Body | None:
    """Unit, function and registers or exception; None for what answers no read of registers."""
    unit, function, size = content[:3]
    if function & 0x7F not in _FUNCTIONS.values():
        return None
    if function & 0x80:
        return Body(frame, unit, function & 0x7F, None) if len(content) == 3 else None
    whole = size > 0 and size % 2 == 0 and len(content) == 3 + size
    return Body(frame, unit, function, size // 2) if whole else None
