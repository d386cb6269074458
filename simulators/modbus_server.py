"""Simulated Modbus devices, and the lines that they answer on: a TCP port (MBAP) or a pty (RTU)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Literal

from ewarn.contracts import Clock
from simulators import modbus_codec as codec
from simulators.faults import LineFaults, Piece, Reply
from simulators.lines import Pty
from simulators.registers import Bank, bank
from simulators.scenario import SimulatedProbe
from simulators.truth import Truth

_TARGET_SILENT = 11
Framing = Literal["rtu", "mbap"]


class Device:
    """One probe as it speaks Modbus.

    Args:
        probe: of the scenario.
        truth: what it shows.
        clock: of the scenario.
        faults: of its line.
    """

    def __init__(self, probe: SimulatedProbe, truth: Truth, clock: Clock, faults: LineFaults) -> None:
        self.probe, self.served = probe, 0
        self._truth, self._clock, self._faults = truth, clock, faults
        self._bank: Bank = {}
        self._sample = -1
        self._written: Bank = {}

    def answer(self, request: codec.Request, raw: bytes, framing: Framing) -> list[Piece]:
        """What goes onto the line for a request."""
        struck = self._faults.draw(self._clock.now())
        reply = self._faults.garble(Reply(request.unit, self._pdu(request)), struck)
        frame = codec.frame(framing, reply.unit, reply.pdu, request.transaction)
        self.served += 1
        return self._faults.damage(frame, raw, struck)

    def _pdu(self, request: codec.Request) -> bytes:
        match request.function:
            case codec.READ_HOLDING | codec.READ_INPUT:
                return self._read(request)
            case codec.WRITE_ONE | codec.WRITE_MANY if request.values:
                self._written |= {("holding", request.address + i): v for i, v in enumerate(request.values)}
                return codec.write_pdu(request)
            case _:
                return codec.exception_pdu(request.function, codec.ILLEGAL_FUNCTION)

    def _read(self, request: codec.Request) -> bytes:
        if not codec.valid_count(request) or request.count > self.probe.device.limits.max_registers:
            return codec.exception_pdu(request.function, codec.ILLEGAL_VALUE)
        table = "holding" if request.function == codec.READ_HOLDING else "input"
        registers = self._registers()
        keys = [(table, request.address + i) for i in range(request.count)]
        if not all(key in registers for key in keys):
            return codec.exception_pdu(request.function, codec.ILLEGAL_ADDRESS)
        return codec.read_pdu(request.function, [registers[key] for key in keys])

    def _registers(self) -> Bank:
        """The map as of the newest sample."""
        now = self._clock.now()
        sample = int(now // (1000 * self.probe.sample_period))
        if sample != self._sample:
            value: Callable[[str], float | None] = lambda name: self._truth.value(self.probe.id, name, now)  # noqa: E731
            self._bank, self._sample = bank(self.probe.device, self.probe.channels, value), sample
        return self._bank | self._written


class TcpServer:
    """One device behind a TCP port of this machine."""

    def __init__(self, device: Device, port: int) -> None:
        self._device, self._port = device, port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen on 127.0.0.1; returns the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening and drop every client."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        while data := await reader.read(4096):
            buffer += data
            while (request := codec.take_mbap(buffer)) is not None:
                if request.unit not in (self._device.probe.unit, 0xFF):
                    refusal = codec.exception_pdu(request.function, _TARGET_SILENT)
                    writer.write(codec.frame("mbap", request.unit, refusal, request.transaction))
                    continue
                for piece in self._device.answer(request, data, "mbap"):
                    await asyncio.sleep(piece.pause)
                    writer.write(piece.data)
                    await writer.drain()


class RtuServer:
    """Devices on one serial line; each answers to its own unit, in the order of the requests."""

    def __init__(self, devices: Mapping[int, Device], pty: Pty) -> None:
        self._devices, self.pty = devices, pty
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer."""
        self.pty.start()
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def close(self) -> None:
        """Stop, and take the line away."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.pty.close()

    async def _serve(self) -> None:
        buffer = bytearray()
        while True:
            data = await self.pty.read()
            buffer += data
            while (request := codec.take_rtu(buffer)) is not None:
                device = self._devices.get(request.unit)
                if device is None:
                    continue  # nobody of that number: silence
                for piece in device.answer(request, data, "rtu"):
                    await asyncio.sleep(piece.pause)
                    self.pty.write(piece.data)
