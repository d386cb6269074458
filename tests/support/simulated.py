"""Simulated probes for tests, and clients that share no code with them."""

import asyncio
import contextlib
import os
import struct
import time
import tty
from pathlib import Path

from ewarn.times import from_text
from simulators.scenario import Scenario

START_TEXT = "2026-06-01T12:00:00Z"
START = from_text(START_TEXT)
SONDE = {"id": "sonde", "profile": "ysi_exo_modbus", "transport": "tcp"}
TROLL = {"id": "troll", "profile": "insitu_aquatroll_500_600", "transport": "rtu"}
CABINET = {"id": "cabinet", "profile": "ascii_uv254_chlorine", "transport": "ascii"}


class StillClock:
    """A wall clock that a test moves; waiting is real."""

    def __init__(self, instant=START):
        self.instant = instant

    def now(self):
        return self.instant

    def monotonic(self):
        return time.monotonic()

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


def scenario(*probes, path="scenario.toml", seed=1, water="river", start=START_TEXT, **tables):
    head = {"seed": seed, "water": water, "start": start}
    return Scenario.from_dict({"scenario": head, "probes": list(probes), **tables}, Path(path))


class Terminal:
    """A client at the other end of a pty."""

    def __init__(self, device):
        self.file = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self.file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.file)

    def write(self, data):
        assert os.write(self.file, data) == len(data)

    async def read(self, size, seconds=10.0):
        """At least `size` bytes, or what came in the time."""
        data, end = b"", time.monotonic() + seconds
        while len(data) < size and time.monotonic() < end:
            try:
                data += os.read(self.file, 4096)
            except BlockingIOError:
                await asyncio.sleep(0.002)
        return data

    async def ask(self, request, size, seconds=10.0):
        self.write(request)
        return await self.read(size, seconds)


def bitwise_crc(data):
    """CRC-16/MODBUS by polynomial division of the reflected bits."""
    value = 0xFFFF
    for bit in (byte >> i & 1 for byte in data for i in range(8)):
        value = (value >> 1) ^ (0xA001 if (value ^ bit) & 1 else 0)
    return struct.pack("<H", value)


def rtu(unit, pdu):
    frame = bytes((unit,)) + pdu
    return frame + bitwise_crc(frame)


def mbap(unit, pdu, transaction=1):
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def read_pdu(address, count, function=3):
    return struct.pack(">BHH", function, address, count)


async def ask_tcp(port, *frames):
    """Send each frame; the reply to each, read by its MBAP length."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        replies = []
        for frame in frames:
            writer.write(frame)
            replies.append(await one_reply(reader))
        return replies
    finally:
        writer.close()
        await writer.wait_closed()


async def one_reply(reader):
    async with asyncio.timeout(10):
        head = await reader.readexactly(6)
        return head + await reader.readexactly(int.from_bytes(head[4:], "big"))


def words(reply_pdu):
    """Registers of a reply to a read."""
    assert reply_pdu[0] in (3, 4), reply_pdu.hex(" ")
    assert reply_pdu[1] == len(reply_pdu) - 2
    return struct.unpack(f">{reply_pdu[1] // 2}H", reply_pdu[2:])


async def until(condition, what, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} within {seconds} s"
        await asyncio.sleep(0.01)


def terminals_and_sockets():
    """What this process has open of them, without the handles that vanish while one looks."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(handle.readlink()))
    return sorted(name for name in found if name.startswith(("/dev/pt", "socket:")))
