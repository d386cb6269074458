"""Instruments that print lines of ASCII on a serial port, described by a profile.

P1 on a line without addresses: a line counts only if it is whole, has its prefix, its check sum where the device sends
one, and the form that the profile says. A device without a check sum can still lose a digit unnoticed: prefer one with.
Nothing but the prefix tells two devices on one line apart; the registry refuses two whose prefixes do not.

stream: the newest good line, at the time when its terminator arrived, once. A line older than three intervals is stale.

poll: a reply says nothing of its request, so only time can tell a late one. After a request that failed, and after the
port was opened, nothing is asked for `settle` seconds (10, or three time-outs, where the station file does not say):
meanwhile the probe is missing, and what comes is dropped. What comes before a request is dropped as well, and the
request waits until the line has been silent for a moment, so that no line is cut in two by it. Hence a value is the
answer to its request if every reply comes once, within its time-out or within `settle` after it. One that is later
still is taken for the answer to the request that it follows: the device's own value, but as old as the request before.
That cannot be seen here; where an adapter may hold lines back for longer, set `settle` to match.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from drivers._lines import Fields, LineAssembler, judge_field, parse_line
from drivers._serial_port import SerialPort
from ewarn.contracts import Clock, Line, LineSettings, Millis, ProbeSettings, Reading
from ewarn.errors import ConfigError, EwarnError, LineLost, NoReply, WrongReply
from ewarn.profiles import Channel, Profile, load_profile
from ewarn.toml import Seconds

_KEPT_LINES = 64
_STALE_INTERVALS = 3
_LEAST_SETTLE_S = 10.0
_LULL_S = 0.1
_LULL_PATIENCE = 10


class AsciiLineOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The probe's own keys in the station file.

    Attributes:
        profile: id of a device profile, or path of one.
        settle: how long after a failed request a late reply may still come, in mode poll; 10 s, at least three
            time-outs, where absent.
    """

    profile: str
    settle: Seconds | None = None


@dataclass(frozen=True, slots=True)
class _Heard:
    """A whole line: its number, bytes, instant for the reading, and real time in seconds of the event loop."""

    number: int
    line: bytes
    time: Millis
    at: float


class AsciiLine:
    """One serial port and the last lines heard on it. One task uses it at a time.

    Args:
        settings: of the line.
        terminator: end of a line.
        clock: gives the time stamps.
    """

    def __init__(self, settings: LineSettings, terminator: bytes, clock: Clock) -> None:
        self.settings = settings
        self.opened = 0.0
        self.heard: deque[_Heard] = deque(maxlen=_KEPT_LINES)
        self.count = 0
        self._terminator, self._clock = terminator, clock
        self._port = SerialPort(settings, self._on_bytes)
        self._assembler = LineAssembler(terminator)
        self._news = asyncio.Event()
        self._last_byte = 0.0

    async def open(self) -> None:
        """Open the port; does nothing when it is open. Raises LineLost."""
        if self._port.is_open:
            return
        self.heard.clear()
        self._assembler = LineAssembler(self._terminator)
        self._port.open()
        self._last_byte = self.opened = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Close it; never raises."""
        self._port.close()

    async def write(self, data: bytes, timeout: float) -> None:  # noqa: ASYNC109  (of the port, not of the caller)
        """Forget what was heard, then send. Raises LineLost."""
        self.heard.clear()
        self._assembler = LineAssembler(self._terminator, begin_whole=True)
        await self._port.write(data, timeout)

    async def wait(self, deadline: float) -> None:
        """Until something new came. Raises LineLost, and TimeoutError at `deadline` of the event loop's time."""
        self._check()
        self._news.clear()
        async with asyncio.timeout_at(deadline):
            await self._news.wait()
        self._check()

    async def lull(self) -> None:
        """Wait until nothing has come for a moment, so that no line is under way. Raises WrongReply, LineLost."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _LULL_PATIENCE * _LULL_S
        while (rest := self._last_byte + _LULL_S - loop.time()) > 0:
            if loop.time() > give_up:
                raise WrongReply(f"{self.settings.device} does not fall silent; nothing is asked")
            await asyncio.sleep(rest)
        self._check()

    def _check(self) -> None:
        if not self._port.is_open:
            raise LineLost(f"{self.settings.device} is gone")

    def _on_bytes(self, data: bytes) -> None:
        self._last_byte = at = asyncio.get_running_loop().time()
        for line in self._assembler.feed(data):
            self.count += 1
            self.heard.append(_Heard(self.count, line, self._clock.now(), at))
        self._news.set()


class AsciiLineDriver:
    """One instrument that prints lines. See `ewarn.contracts.Driver`.

    Attributes:
        form: of its lines; the registry compares it with that of others on the line.
    """

    api: ClassVar[int] = 1
    Options: ClassVar[type] = AsciiLineOptions

    def __init__(self, settings: ProbeSettings, clock: Clock) -> None:
        options: AsciiLineOptions = settings.options
        self._settings, self._clock = settings, clock
        profile = load_profile(options.profile)
        if profile.protocol != "ascii" or profile.ascii is None:
            raise ConfigError("", "profile", f"{options.profile!r} prints no lines", "use the driver of its protocol")
        if settings.line.kind != "serial":
            raise ConfigError("", "line", f"{settings.line.id!r} is a {settings.line.kind} line", "a serial line")
        self.form = profile.ascii
        self._channels = {id_: _channel(profile, id_, name) for id_, name in settings.channels.items()}
        usual = max(_LEAST_SETTLE_S, 3 * settings.timeout)
        self._settle = usual if options.settle is None else float(options.settle)
        self._seen = 0
        self._unanswered = -math.inf

    def channel_units(self) -> Mapping[str, tuple[str, str]]:
        """Parameter id and UCUM unit by channel id."""
        return {id_: (channel.parameter, channel.unit) for id_, channel in self._channels.items()}

    def make_line(self) -> AsciiLine:
        """The line that this probe hangs on, unopened."""
        return AsciiLine(self._settings.line, self.form.terminator.encode(), self._clock)

    async def read(self, line: Line) -> Sequence[Reading]:
        """Channels of one line that was not delivered before.

        Raises:
            LineLost: the port is gone.
            NoReply: no new line came within the time-out, or a late one may still come.
            WrongReply: lines came, none of the right form.
        """
        assert isinstance(line, AsciiLine)
        await line.open()
        if self.form.mode == "poll":
            return await self._poll(line)
        heard, fields = await self._next(line, _STALE_INTERVALS * self.form.interval_s)
        return self._readings(fields, heard.time)

    async def _poll(self, line: AsciiLine) -> Sequence[Reading]:
        loop = asyncio.get_running_loop()
        rest = max(self._unanswered, line.opened) + self._settle - loop.time()
        if rest > 0:
            raise NoReply(f"not asked yet: a late reply may still come for {rest:.1f} s")
        await line.lull()
        begin = self._clock.now()
        try:
            await line.write(self.form.request.encode(), self._settings.timeout)
            heard, fields = await self._next(line, self._settings.timeout)
        except BaseException:  # a cancelled request is answered late as well
            self._unanswered = loop.time()
            raise
        return self._readings(fields, (begin + heard.time) // 2)

    async def _next(self, line: AsciiLine, stale: float) -> tuple[_Heard, Fields]:
        """The newest good line not seen yet and not older than `stale` seconds; waits for one."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.timeout
        wrong: EwarnError | None = None
        while True:
            fresh = [h for h in line.heard if h.number > self._seen and loop.time() - h.at <= stale]
            self._seen = line.count
            for heard in reversed(fresh):
                try:
                    fields = parse_line(heard.line, self.form)
                except WrongReply as error:
                    wrong = wrong or error
                else:
                    if fields is not None:
                        return heard, fields
            try:
                await line.wait(deadline)
            except TimeoutError:
                raise wrong or NoReply(f"no line within {self._settings.timeout:g} s") from None

    def _readings(self, fields: Fields, time: Millis) -> list[Reading]:
        return [judge_field(fields, c, self.form).reading(id_, time) for id_, c in self._channels.items()]


def _channel(profile: Profile, id_: str, name: str) -> Channel:
    try:
        return profile.channel(name)
    except KeyError:
        known = "one of: " + ", ".join(c.id for c in profile.channels)
        raise ConfigError("", f"channels.{id_}", f"{profile.id!r} has no channel {name!r}", known) from None
