"""Simulated devices that print lines on a serial line, by themselves or when asked."""

from __future__ import annotations

import asyncio
import contextlib

from ewarn.contracts import Clock
from ewarn.errors import ConfigError
from ewarn.profiles import Ascii
from simulators.faults import LineFaults
from simulators.lines import Pty
from simulators.scenario import SimulatedProbe
from simulators.truth import Truth


class AsciiServer:
    """One device that prints CSV lines.

    Args:
        probe: of the scenario. Raises ConfigError where its profile is not of columns.
        truth: what it shows.
        clock: of the scenario; a streaming device prints every `interval_s` of it, or every sample if that is longer.
        faults: of its line.
        pty: its line.
    """

    def __init__(self, probe: SimulatedProbe, truth: Truth, clock: Clock, faults: LineFaults, pty: Pty) -> None:
        if probe.device.ascii is None or probe.device.ascii.split != "csv":
            raise ConfigError("", "profile", f"{probe.device.id} cannot be simulated", "its lines have to be columns")
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
        columns = [""] * max(shape.columns, 1)
        for name in self.probe.channels:
            channel = self.probe.device.channel(name)
            assert isinstance(channel.field, int)
            value = self._truth.value(self.probe.id, name, now)
            raw = None if value is None else (value - channel.offset) / channel.scale
            columns[channel.field] = "" if raw is None else f"{raw:.{channel.decimals or 0}f}"
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
            if request in buffer:
                buffer = buffer.rpartition(request)[2]
                await self._print(request)

    async def _print(self, request: bytes) -> None:
        self.served += 1
        struck = self._faults.draw(self._clock.now())
        for piece in self._faults.damage(self.line(), request, struck):
            await asyncio.sleep(piece.pause)
            with contextlib.suppress(OSError):
                self.pty.write(piece.data)


def _checksum(body: str, shape: Ascii) -> str:
    """NMEA 0183: exclusive or of what stands between $ and *."""
    if shape.checksum != "nmea":
        return ""
    total = 0
    for byte in body.removeprefix("$").encode("ascii"):
        total ^= byte
    return f"*{total:02X}"
