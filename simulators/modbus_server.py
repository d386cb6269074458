"""Simulated Modbus devices, and the lines that they answer on: a TCP port (MBAP) or a pty (RTU)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal

from ewarn.contracts import Clock
from simulators import modbus_codec as codec
from simulators.faults import LineFaults, Piece, Reply
from simulators.lines import Pty
from simulators.registers import Bank, bank, listed
from simulators.tables import SimulatedProbe
from simulators.truth import Truth

_TARGET_SILENT = 11
_BROADCAST = 0
_SILENCE_S = 0.1
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
        self._sample: int | None = None
        self._codes = listed(probe.device, probe.channels)

    def answer(self, request: codec.Request, framing: Framing) -> list[Piece]:
        """What goes onto the line for a request."""
        struck = self._faults.draw(self._clock.now())
        reply = self._faults.garble(Reply(request.unit, self._pdu(request)), struck)
        frame = codec.frame(framing, reply.unit, reply.pdu, request.transaction)
        pieces = self._faults.damage(frame, request.raw, struck)
        self.served += bool(pieces)
        return pieces

    def _pdu(self, request: codec.Request) -> bytes:
        match request.function:
            case codec.READ_HOLDING | codec.READ_INPUT:
                return self._read(request)
            case codec.WRITE_ONE | codec.WRITE_MANY:
                return self._write(request)
            case _:
                return codec.exception_pdu(request.function, codec.ILLEGAL_FUNCTION)

    def _read(self, request: codec.Request) -> bytes:
        if not codec.valid_count(request) or request.count > self.probe.device.limits.max_registers:
            return codec.exception_pdu(request.function, codec.ILLEGAL_VALUE)
        table = "holding" if request.function == codec.READ_HOLDING else "input"
        registers = self._registers()
        if not any(key[0] == table for key in registers):
            return codec.exception_pdu(request.function, codec.ILLEGAL_FUNCTION)
        keys = [(table, request.address + i) for i in range(request.count)]
        if not all(key in registers for key in keys):
            return codec.exception_pdu(request.function, codec.ILLEGAL_ADDRESS)
        return codec.read_pdu(request.function, [registers[key] for key in keys])

    def _write(self, request: codec.Request) -> bytes:
        """Only the list of parameter codes of a device that has one can be written."""
        bind, at = self.probe.device.bind, request.address
        if not request.values:
            return codec.exception_pdu(request.function, codec.ILLEGAL_VALUE)
        first = at - self.probe.device.wire(bind.codes) if bind is not None and self._codes else -1
        if not 0 <= first <= len(self._codes) - len(request.values):
            return codec.exception_pdu(request.function, codec.ILLEGAL_ADDRESS)
        self._codes[first : first + len(request.values)] = request.values
        self._sample = None
        return codec.write_pdu(request)

    def _registers(self) -> Bank:
        """The map as of the newest sample."""
        now = self._clock.now()
        sample = self._truth.sample(self.probe.id, now)
        if sample != self._sample:
            value: Callable[[str], float | None] = lambda name: self._truth.value(self.probe.id, name, now)  # noqa: E731
            self._bank = bank(self.probe.device, self.probe.channels, value, self._codes)
            self._sample = sample
        return self._bank


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
        await asyncio.sleep(0)  # aborted transports close their sockets in the next round

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()  # a client that never reads would hold a plain close for ever
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        while data := await reader.read(4096):
            buffer += data
            while (request := codec.take_mbap(buffer)) is not None:
                for piece in self._answer(request):
                    await asyncio.sleep(piece.pause)
                    writer.write(piece.data)
                    await writer.drain()

    def _answer(self, request: codec.Request) -> list[Piece]:
        """As a gateway answers, for the device behind it."""
        if request.unit == _BROADCAST:
            return []
        if request.unit in (self._device.probe.unit, 0xFF):
            return self._device.answer(request, "mbap")
        refusal = codec.exception_pdu(request.function, _TARGET_SILENT)
        return [Piece(codec.frame("mbap", request.unit, refusal, request.transaction))]


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
            try:
                async with asyncio.timeout(_SILENCE_S if buffer else None):
                    buffer += await self.pty.read()
            except TimeoutError:  # silence ends a frame, whatever it is
                await self._answer(codec.whole_rtu(buffer))
                buffer.clear()
            while (request := codec.take_rtu(buffer)) is not None:
                await self._answer(request)

    async def _answer(self, request: codec.Request | None) -> None:
        device = self._devices.get(request.unit) if request is not None else None
        if device is None or request is None:
            return  # nobody of that number, or a broadcast: silence
        for piece in device.answer(request, "rtu"):
            await asyncio.sleep(piece.pause)
            self.pty.write(piece.data)
