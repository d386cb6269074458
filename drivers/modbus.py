"""Instruments that speak Modbus, described by a profile: over a serial line, TCP, or RTU frames in TCP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec

from drivers._frames import Request
from drivers._modbus_link import Block, ModbusLine, Terms
from drivers.judgement import Image, ends, judge, judge_slot, missing, needs
from drivers.planner import challenges, plan
from ewarn.contracts import Clock, Line, Millis, ProbeSettings, Reading
from ewarn.errors import ConfigError, EwarnError, NoReply, ProbeBusy, ProbeRefused, TransientError, WrongReply
from ewarn.profiles import Bind, Channel, Profile, load_profile
from ewarn.toml import Seconds

_LEAST_SETTLE_S = 0.5
_HIGHEST_UNIT = {True: 247, False: 255}
_REASONS: dict[type[EwarnError], str] = {
    NoReply: "no_reply", WrongReply: "wrong_reply", ProbeBusy: "busy", ProbeRefused: "refused",
}  # fmt: skip


class ModbusOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The probe's own keys in the station file.

    Attributes:
        profile: id of a device profile, or path of one.
        unit: address of the probe on its line; the profile's where absent.
        echo: the adapter gives every request back before the reply.
        settle: silence after a failure before the probe is asked again; the time-out, at least 0.5 s, where absent.
    """

    profile: str
    unit: int | None = None
    echo: bool = False
    settle: Seconds | None = None


@dataclass(slots=True)
class _Gathered:
    """What the requests of one read gave."""

    image: dict[tuple[str, int], int] = field(default_factory=dict)
    times: dict[tuple[str, int], Millis] = field(default_factory=dict)
    errors: dict[tuple[str, int], EwarnError] = field(default_factory=dict)

    def add(self, request: Request, outcome: Block | EwarnError) -> None:
        keys = [(request.register, request.address + i) for i in range(request.count)]
        if isinstance(outcome, EwarnError):
            self.errors |= dict.fromkeys(keys, outcome)
        else:
            self.image |= zip(keys, outcome.registers, strict=True)
            self.times |= dict.fromkeys(keys, outcome.time)


class ModbusDriver:
    """One Modbus instrument. See `ewarn.contracts.Driver`."""

    api: ClassVar[int] = 1
    Options: ClassVar[type] = ModbusOptions

    def __init__(self, settings: ProbeSettings, clock: Clock) -> None:
        options: ModbusOptions = settings.options
        self._settings, self._clock = settings, clock
        self._profile = load_profile(options.profile)
        if self._profile.protocol != "modbus":
            raise ConfigError("", "profile", f"{options.profile!r} is not a Modbus device", "use its own driver")
        self._channels = {id_: _channel(self._profile, id_, name) for id_, name in settings.channels.items()}
        self._unit = self._profile.link.unit if options.unit is None else options.unit
        line = settings.line
        highest = _HIGHEST_UNIT[line.kind == "serial" or line.framing == "rtu"]
        if not 1 <= self._unit <= highest:
            raise ConfigError("", "unit", f"{self._unit} is no address of a probe", f"1 to {highest}")
        if line.kind == "serial" and line.framing == "mbap":
            raise ConfigError("", "line", f'framing "mbap" on serial line {line.id!r}', 'use "rtu" or "auto"')
        bind = self._profile.bind
        self._slots = bind if bind is not None and bind.mode == "slots" else None
        self._requests = () if self._slots else self._plan()
        self._terms = self._make_terms(options)
        self._codes: tuple[int, ...] | None = None

    def channel_units(self) -> Mapping[str, tuple[str, str]]:
        """Parameter id and UCUM unit by channel id."""
        return {id_: (channel.parameter, channel.unit) for id_, channel in self._channels.items()}

    def make_line(self) -> ModbusLine:
        """The line that this probe hangs on, unopened."""
        return ModbusLine(self._settings.line, self._clock)

    async def read(self, line: Line) -> Sequence[Reading]:
        """Read all channels once; those whose own request failed are MISSING with the reason.

        Raises:
            LineLost: the line is gone.
            NoReply, WrongReply, ProbeBusy, ProbeRefused: no request was answered.
        """
        assert isinstance(line, ModbusLine)
        await line.open()
        if self._slots is not None:
            return await self._read_slots(line, self._slots)
        gathered = await self._gather(line)
        readings = [self._reading(id_, channel, gathered) for id_, channel in self._channels.items()]
        if any(reading.reason == "profile_mismatch" for reading in readings):
            line.distrust(self._unit)
        return readings

    def _plan(self) -> tuple[Request, ...]:
        spans = [span for channel in self._channels.values() for span in needs(self._profile, channel)]
        return plan(self._unit, spans, self._profile.limits)

    def _make_terms(self, options: ModbusOptions) -> Terms:
        profile, timeout = self._profile, self._settings.timeout
        return Terms(
            timeout=timeout,
            settle=max(timeout, _LEAST_SETTLE_S) if options.settle is None else float(options.settle),
            challenges=self._challenges(),
            pause=profile.limits.pause_ms / 1000,
            wake_retries=profile.wake.retries,
            wake_idle=profile.wake.idle_ms / 1000 if profile.wake.retries else float("inf"),
            echo=options.echo,
        )

    def _challenges(self) -> tuple[Request, ...]:
        if self._slots is not None:
            codes = self._profile.wire(self._slots.codes)
            return Request(self._unit, "holding", codes, 1), Request(self._unit, "input", codes, 1)
        value_ends = {end for channel in self._channels.values() for end in ends(self._profile, channel)}
        return challenges(self._requests, value_ends)

    async def _gather(self, line: ModbusLine) -> _Gathered:
        """All requests, each on its own; after a second silence the rest is left to the next read.

        Raises the first error where nothing was answered.
        """
        gathered, silences = _Gathered(), 0
        silence: EwarnError | None = None
        for request in self._requests:
            try:
                outcome: Block | EwarnError = silence or await line.read(request, self._terms)
            except (ProbeBusy, ProbeRefused) as error:
                outcome = error
            except (NoReply, WrongReply) as error:
                if not gathered.image and not gathered.errors:
                    raise
                outcome, silences = error, silences + 1
                silence = error if silences > 1 else None
            gathered.add(request, outcome)
        if not gathered.image:
            errors = list(gathered.errors.values())
            raise next((e for e in errors if isinstance(e, TransientError)), errors[0])
        return gathered

    def _reading(self, id_: str, channel: Channel, gathered: _Gathered) -> Reading:
        spans = needs(self._profile, channel)
        keys = [(span.register, address) for span in spans for address in range(span.address, span.end)]
        for key in keys:
            if key in gathered.errors:
                return missing(_REASONS[type(gathered.errors[key])]).reading(id_, self._clock.now())
        image: Image = {key: gathered.image[key] for key in keys}
        return judge(self._profile, channel, image).reading(id_, gathered.times[keys[0]])

    async def _read_slots(self, line: ModbusLine, bind: Bind) -> Sequence[Reading]:
        """Status, values and then the list of codes, which has to be what it was before: they belong together."""
        codes = self._codes or await self._read_codes(line, bind)
        for _ in range(2):
            readings = await self._read_listed(line, bind, codes)
            before, codes = codes, await self._read_codes(line, bind)
            if codes == before:
                return readings
        self._codes = None
        raise WrongReply(f"unit {self._unit}: the list of parameters changes while it is read")

    async def _read_codes(self, line: ModbusLine, bind: Bind) -> tuple[int, ...]:
        self._codes = None
        request = Request(self._unit, "holding", self._profile.wire(bind.codes), bind.slots)
        registers = (await line.read(request, self._terms)).registers
        self._codes = registers[: registers.index(0)] if 0 in registers else registers
        return self._codes

    async def _read_listed(self, line: ModbusLine, bind: Bind, codes: tuple[int, ...]) -> list[Reading]:
        slots = {id_: codes.index(c.code) for id_, c in self._channels.items() if c.code in codes}
        if not slots:
            return [missing("not_configured").reading(id_, self._clock.now()) for id_ in self._channels]
        # At least two, so that no request for values looks like a challenge. All slots fit into one request: see
        # ewarn.profile_checks.
        used = max(2, max(slots.values()) + 1)
        wire = self._profile.wire
        status = await line.read(Request(self._unit, "holding", wire(bind.status), used), self._terms)
        values = await line.read(Request(self._unit, "holding", wire(bind.values), 2 * used), self._terms)
        readings = []
        for id_, channel in self._channels.items():
            slot = slots.get(id_)
            if slot is None:
                judged = missing("not_configured")
            else:
                pair = values.registers[2 * slot : 2 * slot + 2]
                judged = judge_slot(self._profile, channel, pair, status.registers[slot])
            readings.append(judged.reading(id_, values.time))
        return readings


def _channel(profile: Profile, id_: str, name: str) -> Channel:
    try:
        return profile.channel(name)
    except KeyError:
        known = "one of: " + ", ".join(c.id for c in profile.channels)
        raise ConfigError("", f"channels.{id_}", f"{profile.id!r} has no channel {name!r}", known) from None
