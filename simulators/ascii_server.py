"""Simulated devices that print lines on a serial line, by themselves or when asked."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np

from ewarn.contracts import Clock
from ewarn.profiles import Ascii, Profile
from simulators.faults import LineFaults
from simulators.lines import Pty
from simulators.tables import SimulatedProbe
from simulators.truth import Truth


class AsciiServer:
    """One device that prints CSV lines.

    Args:
        probe: of the scenario; its profile is of columns.
        truth: what it shows.
        clock: of the scenario; a streaming device prints every `interval_s` of it, or every sample if that is longer.
        faults: of its line.
        pty: its line.
    """

    def __init__(self, probe: SimulatedProbe, truth: Truth, clock: Clock, faults: LineFaults, pty: Pty) -> None:
        assert probe.device.ascii is not None
        self.probe, self.served, self.pty = probe, 0, pty
        self._ascii: Ascii = probe.device.ascii
        self._truth, self._clock, self._faults = truth, clock, faults
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to print, or to listen."""
        self.pty.start()
        work = self._stream() if self._ascii.mode == "stream" else self._poll()
        self._task = asyncio.get_running_loop().create_task(work)

    async def close(self) -> None:
        """Stop, and take the line away."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.pty.close()

    def line(self) -> bytes:
        """The line as of now, with its terminator."""
        now = self._clock.now()
        shape = self._ascii
        columns = _empty(self.probe.device, shape)
        for name in self.probe.channels:
            channel = self.probe.device.channel(name)
            assert isinstance(channel.field, int)
            value = self._truth.value(self.probe.id, name, now)
            assert value is not None
            columns[channel.field] = _text((value - channel.offset) / channel.scale, channel.decimals)
        if shape.prefix:
            columns[0] = shape.prefix.rstrip(shape.delimiter)
        body = (shape.delimiter or " ").join(columns)
        return (body + _checksum(body, shape) + shape.terminator).encode("ascii")

    async def _stream(self) -> None:
        pause = max(self._ascii.interval_s, self.probe.sample_period)
        due = self._clock.monotonic()
        while True:
            await self._print(b"")
            due = max(due + pause, self._clock.monotonic() - pause)
            await self._clock.sleep(due - self._clock.monotonic())

    async def _poll(self) -> None:
        request, buffer = self._ascii.request.encode("ascii"), b""
        while True:
            buffer += await self.pty.read()
            *asked, rest = buffer.split(request)
            for _ in asked:
                await self._print(request)
            buffer = rest[-len(request) :]

    async def _print(self, request: bytes) -> None:
        struck = self._faults.draw(self._clock.now())
        pieces = self._faults.damage(self.line(), request, struck)
        self.served += bool(pieces)
        for piece in pieces:
            await asyncio.sleep(piece.pause)
            with contextlib.suppress(OSError):
                self.pty.write(piece.data)


def _empty(device: Profile, shape: Ascii) -> list[str]:
    """The columns of a device without sensors: a channel that is not fitted shows what the profile calls missing."""
    fields = [channel.field for channel in device.channels if isinstance(channel.field, int)]
    columns = [""] * max(shape.columns, 1 + max(fields, default=0))
    absent = "--" if "--" in shape.missing else next(filter(None, shape.missing), "")
    for field in fields:
        columns[field] = absent
    return columns


def _text(number: float, decimals: int | None) -> str:
    if decimals is None:
        return np.format_float_positional(number, trim="-")
    return f"{number:.{decimals}f}"


def _checksum(body: str, shape: Ascii) -> str:
    """NMEA 0183: exclusive or of what stands between $ and *."""
    if shape.checksum != "nmea":
        return ""
    total = 0
    for byte in body.removeprefix("$").encode("ascii"):
        total ^= byte
    return f"*{total:02X}"
