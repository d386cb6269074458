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


def find_rtu(data: bytes, request: Request) -> bytes | None:
    """The first frame in `data` that has unit, function, length and check sum of an answer to `request`."""
    return next((frame for frame in _rtu_frames(data) if _answers(frame[:-2], request)), None)


def find_mbap(data: bytes, request: Request, transaction: int) -> bytes | None:
    """The first frame in `data` with this transaction id that has unit, function and length of an answer."""
    for number, frame in _mbap_frames(data):
        if number == transaction and _answers(frame[6:], request):
            return frame
    return None


def after_echo(data: bytes, sent: bytes) -> bytes:
    """What came after the echo of `sent`; nothing where the echo has not been heard whole."""
    _, echo, rest = data.partition(sent)
    return rest if echo else b""


def explain(data: bytes, request: Request, *, rtu: bool) -> str:
    """Why bytes that came are no answer to `request`, for people."""
    bodies = [frame[:-2] for frame in _rtu_frames(data)] if rtu else [frame[6:] for _, frame in _mbap_frames(data)]
    if not bodies:
        return f"{len(data)} bytes that are no whole frame ({data[:16].hex(' ')})"
    unit, function, size = bodies[0][:3]
    if unit != request.unit:
        return f"unit {unit} answered instead of {request.unit}"
    if function & 0x7F != request.function:
        return f"function {function} answered instead of {request.function}"
    if size != 2 * request.count:
        return f"{size} bytes came instead of {2 * request.count}"
    return "a reply to another request came"


def _answers(body: bytes, request: Request) -> bool:
    unit, function = body[0], body[1]
    if unit != request.unit:
        return False
    if function == request.function:
        return body[2] == 2 * request.count and len(body) == 3 + 2 * request.count
    return function == request.function | 0x80 and len(body) == 3


def _rtu_frames(data: bytes) -> Iterator[bytes]:
    """Whole frames with a valid check sum: exceptions and replies of register reads."""
    for start in range(len(data) - 4):
        function, size = data[start + 1], data[start + 2]
        length = 5 if function & 0x80 else 5 + size
        frame = data[start : start + length]
        if len(frame) == length and crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little"):
            yield frame


def _mbap_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Transaction id and bytes of whole frames; ends where the bytes can be no MBAP."""
    at = 0
    while len(data) - at >= 9:
        transaction, protocol, length = struct.unpack_from(">HHH", data, at)
        frame = data[at : at + 6 + length]
        if protocol != 0 or not 3 <= length <= _MAX_MBAP_LENGTH or len(frame) < 6 + length:
            return
        yield transaction, frame
        at += 6 + length
