"""A Modbus line that hands over a reply only if it provably answers its request. The one module that touches pymodbus.

pymodbus moves the bytes; which of them are the reply is decided here, in its packet hook, by `drivers._frames`. Why:
pymodbus takes any frame of the right unit for the answer. An RTU reply names neither the address that was asked nor the
request; one reply that comes after its time-out then answers the next request, the next reply the one after, for ever.

Rules, per unit; `drivers._ledger` has the argument:

1. A request for values is sent only when the ledger is clear for its shape (function code and count): no earlier reply
   of that shape can still come. The reply that is then booked on it is its own.
2. Else a *challenge* goes first: a read whose shape no request for values has. Its answer shows that all earlier ones
   are past. So a challenge comes first of all, after a failure, and between two requests of the same shape.
3. Late replies are booked whenever they come, also while nothing is asked.

The quiet time (`settle`) before a challenge only spares it from meeting late replies; the proof does not rest on it.
A device that is always later than its time-out therefore delivers nothing, rather than something else. Not covered: a
gateway that reorders; replies later than `FORGET_S`; and a line that repeats a reply and in the same breath falls
behind by more than a time-out, where the device answers but one challenge.

With MBAP the transaction id must be the request's own (pymodbus lets 0 pass), and any failure drops the connection. The
rules hold there as well, since cheap gateways put the new transaction id on a late serial reply; only repetitions need
not be feared. That a bit flips without a check sum on the way cannot be seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import termios
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException
from pymodbus.pdu import ModbusPDU

from drivers._frames import Body, Request, after_echo, explain, mbap_bodies, rtu_bodies
from drivers._ledger import Ledger, Shape
from ewarn.contracts import Clock, LineSettings, Millis
from ewarn.errors import LineLost, NoReply, ProbeBusy, ProbeRefused, WrongReply

_CONNECT_S = 3.0
_FAILURES_TO_REOPEN = 3
_NEVER = 3600.0
_REFUSED = {1: "function not supported", 2: "no such register", 3: "value not allowed",
            0x81: "write only", 0x82: "read only", 0x83: "access level too low"}  # fmt: skip

# pymodbus logs every time-out with a hex dump; what matters of it is raised as an error of ours.
if logging.getLogger("pymodbus").level == logging.NOTSET:
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Terms:
    """How one probe wants to be asked; times in real seconds.

    Attributes:
        timeout: from the request's last byte until the reply begins, transmission not counted on serial lines.
        settle: silence before a challenge after a failure.
        challenges: reads whose answers cannot be taken for values, the likeliest to be answered first.
        pause: least time between two requests on the line.
        wake_retries: how many first requests a sleeping probe may lose.
        wake_idle: it sleeps after this time without a request.
        echo: every request comes back before its reply; what came before the echo's end is no reply.
    """

    timeout: float
    settle: float
    challenges: tuple[Request, ...]
    pause: float = 0.0
    wake_retries: int = 0
    wake_idle: float = math.inf
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Registers as read. `time` is the middle of the request."""

    request: Request
    registers: tuple[int, ...]
    time: Millis


@dataclass(slots=True)
class _Unit:
    ledger: Ledger
    shapes: set[Shape] = field(default_factory=set)
    proven: set[Shape] = field(default_factory=set)
    failed: float = -math.inf
    answered: float = -math.inf


class ModbusLine:
    """One serial port or socket, shared by the probes on it. One task uses it at a time.

    Args:
        settings: of the line; `framing` "auto" means MBAP on TCP and RTU on serial.
        clock: gives the time stamps; time-outs are real time.
    """

    def __init__(self, settings: LineSettings, clock: Clock) -> None:
        self.settings = settings
        self.rtu = settings.kind == "serial" or settings.framing == "rtu"
        self._clock = clock
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None
        self._units: dict[int, _Unit] = {}
        self._failures = 0
        self._heard_idle = -math.inf
        self._last_end = -math.inf
        self._answers: Callable[[_Unit, int], bool] | None = None
        self._asked = 0
        self._echo = False
        self._sent = b""
        self._heard = b""
        self._booked = 0

    async def open(self) -> None:
        """Open the port or socket; does nothing when it is open. Raises LineLost."""
        if self._client is not None and self._client.connected:
            return
        await self.close()
        client = self._client = self._make_client()
        try:
            async with asyncio.timeout(_CONNECT_S):
                connected = await client.connect()
        except (OSError, ValueError, termios.error, TimeoutError, ModbusException) as error:
            await self.close()
            raise LineLost(f"{self._name} cannot be opened: {error!r}") from error
        await asyncio.sleep(0)
        if not connected:
            await self.close()
            raise LineLost(f"{self._name} cannot be opened")

    async def close(self) -> None:
        """Close it; never raises."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()
            await asyncio.sleep(0)

    async def read(self, request: Request, terms: Terms) -> Block:
        """Read registers; opens the line where it is closed.

        Raises:
            LineLost: the port or socket cannot be opened, or broke.
            NoReply, WrongReply: nothing came in time, or nothing that answers.
            ProbeBusy, ProbeRefused: the probe or its gateway said so.
        """
        await self.open()
        unit = self._unit(request.unit)
        unit.shapes.add(request.shape)
        if self._asleep(unit, terms) or not unit.ledger.clear(request.shape, _now()):
            await self._challenge(unit, request.shape, terms)
        return await self._ask(unit, request, terms)

    def distrust(self, unit: int) -> None:
        """Say that a reply of this unit, though of the right shape, was another's by its content."""
        self._unit(unit).ledger.doubt(_now())

    @property
    def _name(self) -> str:
        s = self.settings
        return s.device if s.kind == "serial" else f"{s.host}:{s.port}"

    def _unit(self, address: int) -> _Unit:
        if address not in self._units:
            self._units[address] = _Unit(Ledger(_now(), repeats=self.rtu))
        return self._units[address]

    @staticmethod
    def _asleep(unit: _Unit, terms: Terms) -> bool:
        return _now() - unit.answered > terms.wake_idle

    def _make_client(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        s = self.settings
        if s.kind == "serial":
            return AsyncModbusSerialClient(
                s.device, framer=FramerType.RTU, baudrate=s.baud, bytesize=s.bytesize, parity=s.parity,
                stopbits=s.stopbits, reconnect_delay=0, timeout=_NEVER, retries=0,
                trace_packet=self._on_packet, trace_connect=self._on_connect,
            )  # fmt: skip
        return AsyncModbusTcpClient(
            s.host, port=s.port, framer=FramerType.RTU if self.rtu else FramerType.SOCKET, reconnect_delay=0,
            timeout=_NEVER, retries=0, trace_packet=self._on_packet, trace_connect=self._on_connect,
        )  # fmt: skip

    def _on_packet(self, sending: bool, data: bytes) -> bytes:
        """Hook of pymodbus: sees what goes out, and all that came since; gives pymodbus the answer or nothing."""
        if sending:
            self._sent, self._booked = data, 0
            return data
        self._heard = data
        if self._answers is None:
            self._heard_idle = _now()
        bodies = self._bodies(data)
        for body in bodies[self._booked :]:
            self._booked += 1
            unit = self._unit(body.unit)
            number = unit.ledger.hear(body.function, body.count, _now())
            if number and self._answers and body.unit == self._asked and self._answers(unit, number):
                self._answers, self._booked = None, 0
                return body.frame
        return b""

    def _bodies(self, data: bytes) -> list[Body]:
        if self.rtu:
            return list(rtu_bodies(after_echo(data, self._sent) if self._echo else data))
        own = int.from_bytes(self._sent[:2], "big")
        return [body for transaction, body in mbap_bodies(data) if transaction == own]

    def _on_connect(self, connected: bool) -> None:
        """Hook of pymodbus: a lost connection ends the request at once instead of at its time-out."""
        client = self._client
        if connected or client is None or self._answers is None or client.ctx.response_future.done():
            return
        client.ctx.response_future.set_exception(ConnectionException("lost"))

    async def _challenge(self, unit: _Unit, shape: Shape, terms: Terms) -> None:
        """Make the ledger clear for a request of this shape, and the probe awake. Raises as `read` does."""
        if self.rtu and unit.failed > unit.answered:
            await self._quiet(unit, terms.settle)
        challenge = self._choose(unit, terms)

        def answers(unit: _Unit, number: int) -> bool:
            del number
            return unit.ledger.clear(shape, _now())

        tries = 1 + (terms.wake_retries if self._asleep(unit, terms) else 0)
        for left in reversed(range(tries)):
            try:
                await self._ask(unit, challenge, terms, answers)
            except (NoReply, WrongReply):
                if not left:
                    raise
                await self.open()
            else:
                break
        unit.proven.add(challenge.shape)

    @staticmethod
    def _choose(unit: _Unit, terms: Terms) -> Request:
        """A challenge whose answer can be no late reply, if there is one; one that was answered before, if so.

        While all are open, each has its turn.
        """
        usable = [c for c in terms.challenges if c.shape not in unit.shapes]
        if not usable:
            raise WrongReply("no request is left whose answer could be told from those to requests for values")
        return min(usable, key=lambda c: (unit.ledger.newest(c.shape), c.shape not in unit.proven))

    async def _quiet(self, unit: _Unit, settle: float) -> None:
        """Wait until nothing has come for `settle` seconds since the failure; at most three times as long."""
        give_up = _now() + 3 * settle
        while _now() < give_up:
            rest = max(unit.failed, self._heard_idle) + settle - _now()
            if rest <= 0:
                return
            await asyncio.sleep(rest)

    async def _ask(
        self, unit: _Unit, request: Request, terms: Terms, answers: Callable[[_Unit, int], bool] | None = None
    ) -> Block:
        """One request and its answer, with the book-keeping.

        Args:
            unit: that is asked.
            request: what it is asked.
            terms: of the probe.
            answers: whether a frame that was booked on the request of this number ends the waiting; that of `request`
                itself where absent.
        """
        await asyncio.sleep(max(0.0, self._last_end + terms.pause - _now()))
        late = self._heard_idle > unit.failed > -math.inf
        number = unit.ledger.send(request.shape, _now())
        self._answers = answers or (lambda _unit, booked: booked == number)
        self._asked, self._echo = request.unit, terms.echo
        begin = self._clock.now()
        try:
            reply = await self._exchange(request, terms, late=late)
        except (NoReply, WrongReply, LineLost):
            unit.failed = _now()
            await self._after_failure()
            raise
        finally:
            self._answers, self._last_end = None, _now()
        unit.answered, self._failures = _now(), 0
        if reply.isError() and reply.exception_code not in _REFUSED:
            unit.ledger.doubt(_now())  # a gateway may say so while the probe's reply is still to come
            raise ProbeBusy(f"{_where(request)}: exception {reply.exception_code}")
        registers = _checked(reply, request) if answers is None else ()
        return Block(request, registers, (begin + self._clock.now()) // 2)

    async def _after_failure(self) -> None:
        """A socket is dropped at once; a serial port is opened anew when nobody on it answers any more."""
        self._failures += 1
        if self.settings.kind == "tcp" or self._failures >= _FAILURES_TO_REOPEN:
            self._failures = 0
            await self.close()

    async def _exchange(self, request: Request, terms: Terms, *, late: bool) -> ModbusPDU:
        client = self._client
        if client is None or not client.connected:
            raise LineLost(f"{self._name} is gone")
        self._heard = b""
        try:
            async with asyncio.timeout(terms.timeout + self._transmission(request)):
                return await _send(client, request)
        except TimeoutError:
            if not client.connected:
                raise LineLost(f"{self._name} is gone") from None
            raise self._silence(request, terms, late=late) from None
        except (ModbusException, OSError, termios.error) as error:
            raise LineLost(f"{self._name} broke: {error}") from error

    def _transmission(self, request: Request) -> float:
        """Seconds that request and reply are on a serial wire."""
        s = self.settings
        bits = 1 + s.bytesize + (s.parity != "N") + s.stopbits
        return (8 + 5 + 2 * request.count) * bits / s.baud if s.kind == "serial" else 0.0

    def _silence(self, request: Request, terms: Terms, *, late: bool) -> NoReply | WrongReply:
        if self._heard:
            return WrongReply(f"{_where(request)}: {explain(self._heard, request, rtu=self.rtu)}")
        hint = "; bytes came after the last time-out: a longer timeout may help" if late else ""
        return NoReply(f"{_where(request)}: nothing within {terms.timeout:g} s{hint}")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _send(client: AsyncModbusTcpClient | AsyncModbusSerialClient, request: Request) -> Awaitable[ModbusPDU]:
    read = client.read_holding_registers if request.register == "holding" else client.read_input_registers
    return read(request.address, count=request.count, device_id=request.unit)


def _checked(reply: ModbusPDU, request: Request) -> tuple[int, ...]:
    """Registers of the reply. Raises ProbeRefused, WrongReply."""
    if reply.isError():
        raise ProbeRefused(f"{_where(request)}: exception {reply.exception_code}, {_REFUSED[reply.exception_code]}")
    if reply.function_code != request.function or len(reply.registers) != request.count:
        raise WrongReply(f"{_where(request)}: function {reply.function_code}, {len(reply.registers)} registers")
    return tuple(reply.registers)


def _where(request: Request) -> str:
    return f"unit {request.unit}, {request.count} registers at {request.address}"
