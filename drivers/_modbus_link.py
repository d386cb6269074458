"""A Modbus line that hands over a reply only if it provably answers its request. The one module that touches pymodbus.

pymodbus moves the bytes; which of them are the reply is decided here, in its packet hook, by `drivers._frames`. Why:
pymodbus takes any frame of the right unit for the answer. An RTU reply names neither the address that was asked nor the
request; one reply that comes after its time-out then answers the next request, the next reply the one after, for ever.

What an RTU reply does say is its shape: function code and count. The argument, per unit:

1. A device answers in the order in which it was asked (it has one queue), late, repeatedly or not at all. So once the
   reply to a request is here, whatever comes later answers that request (a repetition) or a later one.
2. A unit is *in step* when its last request was answered. Before anything else, after every failure, and when the line
   was opened anew, it is out of step, and is asked nothing but a *challenge*: a read whose shape no request for values
   has. Its answer comes after all earlier replies to requests for values (1.), so none of those can come any more.
   Some devices refuse every challenge; then an exception of the last of them, which asks the other table where that is
   unused, has to do. A gateway's "busy" or "no response" does not; the device has not spoken.
3. Two successive requests to a unit never have the same shape; a challenge goes between where they would. So when a
   request for values is sent, what may still come is a repetition of the reply before it, or a late reply to an earlier
   challenge. Both have another shape. The first frame of the right unit, shape and check sum is the answer.

The quiet time (`settle`) before a challenge only spares it from meeting late replies; the proof does not rest on it.
A device that is always later than its time-out therefore delivers nothing, rather than something else.
Not covered: a gateway that reorders, and one that repeats a reply after later ones.

With MBAP the transaction id must be the request's own (pymodbus lets 0 pass), and any failure drops the connection.
Rule 2 holds there as well: cheap gateways put the new transaction id on a late serial reply. Rule 3 is not needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import termios
from collections.abc import Awaitable
from dataclasses import dataclass, field

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException
from pymodbus.pdu import ModbusPDU

from drivers._frames import Request, after_echo, explain, find_mbap, find_rtu
from ewarn.contracts import Clock, LineSettings, Millis
from ewarn.errors import LineLost, NoReply, ProbeBusy, ProbeRefused, WrongReply

_CONNECT_S = 3.0
_FAILURES_TO_REOPEN = 3
_STICK_TO_PROVEN = 8
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
    in_step: bool = False
    shape: tuple[int, int] | None = None
    shapes: set[tuple[int, int]] = field(default_factory=set)
    failed: float = -math.inf
    answered: float = -math.inf
    proven: Request | None = None
    turn: int = 0


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
        self._pending: Request | None = None
        self._echo = False
        self._sent = b""
        self._heard = b""

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
        """Close it; every unit is out of step then. Never raises."""
        for unit in self._units.values():
            unit.in_step = False
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
        unit = self._unit(request)
        unit.shapes.add(request.shape)
        if not unit.in_step or self._asleep(unit, terms) or (self.rtu and unit.shape == request.shape):
            await self._challenge(unit, terms)
        return await self._ask(unit, request, terms)

    def distrust(self, unit: int) -> None:
        """Say that a reply of this unit, though of the right shape, was another's by its content."""
        self._units.setdefault(unit, _Unit()).in_step = False

    @property
    def _name(self) -> str:
        s = self.settings
        return s.device if s.kind == "serial" else f"{s.host}:{s.port}"

    def _unit(self, request: Request) -> _Unit:
        return self._units.setdefault(request.unit, _Unit())

    @staticmethod
    def _asleep(unit: _Unit, terms: Terms) -> bool:
        return asyncio.get_running_loop().time() - unit.answered > terms.wake_idle

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
            self._sent = data
            return data
        request = self._pending
        if request is None:
            self._heard_idle = asyncio.get_running_loop().time()
            return b""
        self._heard = data
        if self.rtu:
            frame = find_rtu(after_echo(data, self._sent) if self._echo else data, request)
        else:
            frame = find_mbap(data, request, int.from_bytes(self._sent[:2], "big"))
        if frame is None:
            return b""
        self._pending = None
        return frame

    def _on_connect(self, connected: bool) -> None:
        """Hook of pymodbus: a lost connection ends the request at once instead of at its time-out."""
        client = self._client
        if connected or client is None or self._pending is None or client.ctx.response_future.done():
            return
        client.ctx.response_future.set_exception(ConnectionException("lost"))

    async def _challenge(self, unit: _Unit, terms: Terms) -> None:
        """Bring the unit in step, and awake. Raises as `read` does."""
        if self.rtu and not unit.in_step:
            await self._quiet(unit, terms.settle)
        for challenge in self._candidates(unit, terms):
            try:
                await self._awaken(unit, challenge, terms)
            except ProbeRefused:
                unit.proven = challenge
                continue  # registers prove more than an exception: any request of this function may have caused that
            except (NoReply, WrongReply):
                unit.turn += 1
                raise
            unit.proven = challenge
            break
        unit.in_step, unit.turn = True, 0

    @staticmethod
    def _candidates(unit: _Unit, terms: Terms) -> list[Request]:
        """Challenges in the order to try: the one that worked, now and then another in case it no longer does."""
        usable = [c for c in terms.challenges if c.shape not in unit.shapes]
        if not usable:
            raise WrongReply("no request is left whose answer could be told from those to requests for values")
        if unit.proven in usable and unit.turn % _STICK_TO_PROVEN < _STICK_TO_PROVEN - 1:
            return [unit.proven]
        first = unit.turn % len(usable)
        return usable[first:] + usable[:first]

    async def _awaken(self, unit: _Unit, challenge: Request, terms: Terms) -> None:
        """Ask the challenge, again where the probe may have slept."""
        tries = 1 + (terms.wake_retries if self._asleep(unit, terms) else 0)
        for left in reversed(range(tries)):
            try:
                await self._ask(unit, challenge, terms)
            except (NoReply, WrongReply):
                if not left:
                    raise
                await self.open()
            else:
                return

    async def _quiet(self, unit: _Unit, settle: float) -> None:
        """Wait until nothing has come for `settle` seconds since the failure; at most three times as long."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + 3 * settle
        while loop.time() < give_up:
            rest = max(unit.failed, self._heard_idle) + settle - loop.time()
            if rest <= 0:
                return
            await asyncio.sleep(rest)

    async def _ask(self, unit: _Unit, request: Request, terms: Terms) -> Block:
        """One request and its answer, with the book-keeping of steps."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._last_end + terms.pause - loop.time()))
        unit.in_step, unit.shape = False, request.shape
        late = self._heard_idle > unit.failed > -math.inf
        begin = self._clock.now()
        try:
            registers = await self._exchange(request, terms, late=late)
        except (ProbeRefused, ProbeBusy):
            unit.answered = loop.time()
            self._failures = 0
            raise
        except (NoReply, WrongReply, LineLost):
            unit.failed = loop.time()
            await self._after_failure()
            raise
        finally:
            self._last_end = loop.time()
        unit.in_step, unit.answered, self._failures = True, loop.time(), 0
        return Block(request, registers, (begin + self._clock.now()) // 2)

    async def _after_failure(self) -> None:
        """A socket is dropped at once; a serial port is opened anew when nobody on it answers any more."""
        self._failures += 1
        if self.settings.kind == "tcp" or self._failures >= _FAILURES_TO_REOPEN:
            self._failures = 0
            await self.close()

    async def _exchange(self, request: Request, terms: Terms, *, late: bool) -> tuple[int, ...]:
        client = self._client
        if client is None or not client.connected:
            raise LineLost(f"{self._name} is gone")
        self._pending, self._heard, self._echo = request, b"", terms.echo
        try:
            async with asyncio.timeout(terms.timeout + self._transmission(request)):
                reply = await _send(client, request)
        except TimeoutError:
            if not client.connected:
                raise LineLost(f"{self._name} is gone") from None
            raise self._silence(request, terms, late=late) from None
        except (ModbusException, OSError, termios.error) as error:
            raise LineLost(f"{self._name} broke: {error}") from error
        finally:
            self._pending = None
        return _checked(reply, request)

    def _transmission(self, request: Request) -> float:
        """Seconds that request and reply are on a serial wire."""
        s = self.settings
        bits = 1 + s.bytesize + (s.parity != "N") + s.stopbits
        return (8 + 5 + 2 * request.count) * bits / s.baud if s.kind == "serial" else 0.0

    def _silence(self, request: Request, terms: Terms, *, late: bool) -> NoReply | WrongReply:
        where = f"unit {request.unit}, {request.count} registers at {request.address}"
        if self._heard:
            return WrongReply(f"{where}: {explain(self._heard, request, rtu=self.rtu)}")
        hint = "; bytes came after the last time-out: a longer timeout may help" if late else ""
        return NoReply(f"{where}: nothing within {terms.timeout:g} s{hint}")


def _send(client: AsyncModbusTcpClient | AsyncModbusSerialClient, request: Request) -> Awaitable[ModbusPDU]:
    read = client.read_holding_registers if request.register == "holding" else client.read_input_registers
    return read(request.address, count=request.count, device_id=request.unit)


def _checked(reply: ModbusPDU, request: Request) -> tuple[int, ...]:
    """Registers of the reply. Raises ProbeRefused, ProbeBusy, WrongReply."""
    where = f"unit {request.unit}, {request.count} registers at {request.address}"
    if reply.isError():
        code = reply.exception_code
        if code in _REFUSED:
            raise ProbeRefused(f"{where}: exception {code}, {_REFUSED[code]}")
        raise ProbeBusy(f"{where}: exception {code}")
    if reply.function_code != request.function or len(reply.registers) != request.count:
        raise WrongReply(f"{where}: function {reply.function_code}, {len(reply.registers)} registers")
    return tuple(reply.registers)
