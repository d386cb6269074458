"""Instruments that print lines of ASCII on a serial port, described by a profile.

P1 on a line without addresses: a line counts only if it is whole, has its prefix, its check sum where the device sends
one, and the form that the profile says. A device without a check sum can still lose a digit unnoticed: prefer one with.

stream: the newest good line, at the time when its terminator arrived, once. A line older than three intervals is
stale. poll: a reply says nothing of its request, so what arrived before the request is dropped, and after the port was
opened or a request failed the line has to be quiet for one time-out before the next.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from drivers._lines import Fields, LineAssembler, judge_field, parse_line
from drivers._serial_port import SerialPort
from ewarn.contracts import Clock, Line, LineSettings, Millis, ProbeSettings, Reading
from ewarn.errors import ConfigError, EwarnError, LineLost, NoReply, WrongReply
from ewarn.profiles import Ascii, Channel, Profile, load_profile

_KEPT_LINES = 64
_STALE_INTERVALS = 3


class AsciiLineOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The probe's own keys in the station file.

    Attributes:
        profile: id of a device profile, or path of one.
    """

    profile: str


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
        self.unsettled = True
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
        self._assembler, self.unsettled = LineAssembler(self._terminator), True
        self._port.open()
        self._last_byte = asyncio.get_running_loop().time()

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

    async def quiet(self, seconds: float) -> None:
        """Wait until nothing has come for `seconds`; at most three times as long."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + 3 * seconds
        while loop.time() < give_up:
            rest = self._last_byte + seconds - loop.time()
            if rest <= 0:
                return
            await asyncio.sleep(rest)

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
    """One instrument that prints lines. See `ewarn.contracts.Driver`."""

    api: ClassVar[int] = 1
    Options: ClassVar[type] = AsciiLineOptions

    def __init__(self, settings: ProbeSettings, clock: Clock) -> None:
        options: AsciiLineOptions = settings.options
        self._settings, self._clock = settings, clock
        profile = load_profile(options.profile)
        if profile.ascii is None:
            raise ConfigError("", "profile", f"{options.profile!r} prints no lines", "use the driver of its protocol")
        if settings.line.kind != "serial":
            raise ConfigError("", "line", f"{settings.line.id!r} is a {settings.line.kind} line", "a serial line")
        self._form = _checked_form(profile.ascii)
        self._channels = {id_: _channel(profile, self._form, id_, name) for id_, name in settings.channels.items()}
        self._seen = 0

    def channel_units(self) -> Mapping[str, tuple[str, str]]:
        """Parameter id and UCUM unit by channel id."""
        return {id_: (channel.parameter, channel.unit) for id_, channel in self._channels.items()}

    def make_line(self) -> AsciiLine:
        """The line that this probe hangs on, unopened."""
        return AsciiLine(self._settings.line, self._form.terminator.encode(), self._clock)

    async def read(self, line: Line) -> Sequence[Reading]:
        """Channels of one line that was not delivered before.

        Raises:
            LineLost: the port is gone.
            NoReply: no new line came within the time-out.
            WrongReply: lines came, none of the right form.
        """
        assert isinstance(line, AsciiLine)
        await line.open()
        if self._form.mode == "poll":
            return await self._poll(line)
        heard, fields = await self._next(line, _STALE_INTERVALS * self._form.interval_s)
        return self._readings(fields, heard.time)

    async def _poll(self, line: AsciiLine) -> Sequence[Reading]:
        if line.unsettled:
            await line.quiet(self._settings.timeout)
        line.unsettled = True
        begin = self._clock.now()
        await line.write(self._form.request.encode(), self._settings.timeout)
        heard, fields = await self._next(line, self._settings.timeout)
        line.unsettled = False
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
                    fields = parse_line(heard.line, self._form)
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
        return [judge_field(fields, c, self._form).reading(id_, time) for id_, c in self._channels.items()]


def _checked_form(form: Ascii) -> Ascii:
    """Raises ConfigError."""
    try:
        re.compile(form.pattern)
    except re.error as error:
        raise ConfigError("", "profile", f"pattern {form.pattern!r}: {error}", "a regular expression") from error
    if not form.terminator:
        raise ConfigError("", "profile", "the terminator is empty", 'give the end of a line, as "\\r\\n"')
    if form.mode == "poll" and not form.request:
        raise ConfigError("", "profile", "mode is poll, but there is no request", "give what asks for a line")
    return form


def _channel(profile: Profile, form: Ascii, id_: str, name: str) -> Channel:
    """The profile's channel, with a field that its lines have. Raises ConfigError."""
    try:
        channel = profile.channel(name)
    except KeyError:
        known = "one of: " + ", ".join(c.id for c in profile.channels)
        raise ConfigError("", f"channels.{id_}", f"{profile.id!r} has no channel {name!r}", known) from None
    if form.split == "regex":
        known_fields = set(re.compile(form.pattern).groupindex)
        fits = channel.field in known_fields
    else:
        fits = isinstance(channel.field, int) and 0 <= channel.field < (form.columns or 1000)
    if not fits:
        raise ConfigError("", "profile", f"{name!r} has field {channel.field!r}, which no line has", "see the profile")
    return channel
