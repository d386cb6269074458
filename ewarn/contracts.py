"""The words that every part of ewarn speaks.

Times are whole milliseconds since 1970-01-01T00:00:00 UTC (`Millis`); intervals are seconds (`float`).
A missing value is `None`, never NaN.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

Millis: TypeAlias = int
"""An instant: milliseconds since 1970-01-01T00:00:00 UTC."""


class Quality(enum.IntEnum):
    """QARTOD flags. Not ordered by severity: see `ewarn.core.quality.worst`."""

    PASS = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


USABLE = frozenset({Quality.PASS, Quality.NOT_EVALUATED, Quality.SUSPECT})
"""Flags whose values detection uses: an event is often "suspect", so 3 counts; 4 and 9 do not."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one channel.

    Attributes:
        channel: id of the channel, unique in its station.
        time: when the value was read at the probe (middle of the request).
        value: in the channel's unit; None exactly when quality is MISSING.
        quality: QARTOD flag. A driver says NOT_EVALUATED, SUSPECT or FAIL (as the probe doubts or denies it) or
            MISSING.
        reason: why it is not PASS, a short code as `no_reply`, `gross_range`, `neighbour:ph_2`; "" where there is
            nothing to say. `revised` is a PASS that was another flag at first.
    """

    channel: str
    time: Millis
    value: float | None
    quality: Quality = Quality.NOT_EVALUATED
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """All channels at one detection step.

    Attributes:
        time: of the newest reading in it.
        values: usable values by channel, all finite; a channel without one is absent.
        suspect: channels whose value carries flag 3.
        reasons: per absent channel why it is absent, and per suspect channel why it is suspect.
        held: channels slower than the step whose value is an earlier sample's: it tells nothing new.
    """

    time: Millis
    values: Mapping[str, float]
    suspect: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict)
    held: frozenset[str] = frozenset()


class Cause(enum.StrEnum):
    """What detection holds for the reason of a change."""

    NONE = ""
    CONTAMINATION = "contamination"
    SENSOR = "sensor"
    NATURAL = "natural"
    OPERATION = "operation"
    COMMUNICATION = "communication"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one channel has to say for a verdict.

    Attributes:
        channel: id of the channel.
        value: its value now, in its unit.
        expected: what its own past led one to expect, same unit.
        score: how unlikely the difference is, in nats (0 = nothing unusual).
        since: when it left the expected band.
    """

    channel: str
    value: float
    expected: float
    score: float
    since: Millis


class Readiness(enum.StrEnum):
    """Whether a verdict means anything."""

    READY = "ready"
    WARMING = "warming"
    NO_DATA = "no_data"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What detection says of one sample.

    Attributes:
        time: of the sample.
        probability: that the water is abnormal, in (0, 1); None while not ready.
        readiness: whether detection could judge at all.
        abnormal: the decision at this step (before the alarm's delays).
        cause: class of the cause while something is abnormal, else NONE.
        causes: probability of each class of cause, given that something is abnormal; empty while nothing is.
        findings: codes of what speaks for or against causes; see `ewarn.core.causes`.
        evidence: channels that moved, strongest first.
        doubts: channels whose sensor seems to fail, and how.
        scores: raw score by detector name.
    """

    time: Millis
    probability: float | None
    readiness: Readiness
    abnormal: bool = False
    cause: Cause = Cause.NONE
    evidence: tuple[Evidence, ...] = ()
    doubts: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    causes: Mapping[Cause, float] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


class AlarmState(enum.StrEnum):
    """States of ISA-18.2 that an alarm without suppression and latching can be in."""

    NORMAL = "NORM"
    UNACKNOWLEDGED = "UNACK"
    ACKNOWLEDGED = "ACKED"
    RETURNED_UNACKNOWLEDGED = "RTNUN"


class Priority(enum.IntEnum):
    """Alarm priority; 1 is the most urgent."""

    CRITICAL = 1
    HIGH = 2
    MEDIUM = 3
    LOW = 4


@dataclass(frozen=True, slots=True)
class Alert:
    """One transition of one alarm, with what led to it: what is sent, stored and shown.

    Attributes:
        station: id of the station.
        alarm: id of the alarm, unique in the station, as `contamination` or `probe-sonde`.
        occurrence: counts the times that this alarm left NORMAL, from 1.
        number: counts the transitions within an occurrence, from 1.
        time: of the transition.
        onset: when the condition began (before the on-delay).
        state, previous: states after and before.
        priority: of the alarm.
        cause: class of the cause.
        probability: of the verdict behind it, None where there is none.
        evidence: channels that moved, strongest first.
        detail: codes that a message can be made from, as {"probe": "sonde", "reason": "no_reply"}.
        by: person or part that caused the transition, "" for the condition itself.
        causes, findings: of the verdict behind it.
    """

    station: str
    alarm: str
    occurrence: int
    number: int
    time: Millis
    onset: Millis
    state: AlarmState
    previous: AlarmState
    priority: Priority
    cause: Cause = Cause.NONE
    probability: float | None = None
    evidence: tuple[Evidence, ...] = ()
    detail: Mapping[str, str] = field(default_factory=dict)
    by: str = ""
    causes: Mapping[Cause, float] = field(default_factory=dict)
    findings: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Deterministic identity: the same history gives the same ids, so nothing is doubled by a restart."""
        return f"{self.station}/{self.alarm}/{self.occurrence}/{self.number}"

    @property
    def active(self) -> bool:
        """Whether the condition holds."""
        return self.state in (AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED)


class Label(enum.StrEnum):
    """What an operator says that an alert was."""

    EVENT = "event"
    NATURAL = "natural"
    OPERATION = "operation"
    SENSOR = "sensor"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Classification:
    """An operator's word on an alert.

    Attributes:
        alert: the transition that raised it.
        label: what it was.
        by: who says so.
        time: when it was said.
    """

    alert: Alert
    label: Label
    by: str
    time: Millis


class Clock(Protocol):
    """Time, for everything outside the pure core."""

    def now(self) -> Millis:
        """Wall clock, UTC."""

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock."""


@dataclass(frozen=True, slots=True)
class LineSettings:
    """A physical line: one socket or one serial port, with everything that hangs on it.

    Attributes:
        id: name of the line in the station file.
        kind: "tcp" or "serial".
        host, port: of a TCP line.
        device: stable path of a serial port, as /dev/serial/by-id/….
        baud, bytesize, parity, stopbits: of a serial port.
        framing: "auto" (Modbus: MBAP on TCP, RTU on serial), "mbap" or "rtu".
    """

    id: str
    kind: str
    host: str = ""
    port: int = 0
    device: str = ""
    baud: int = 9600
    bytesize: int = 8
    parity: str = "N"
    stopbits: int = 1
    framing: str = "auto"


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """One instrument, as a driver gets it.

    Attributes:
        id: of the probe, unique in the station.
        line: the line that it hangs on.
        channels: channel id -> name of the value in the device's profile (or in the driver's own table).
        timeout: seconds that the probe may take to answer.
        options: the driver's own settings, an instance of its `Options`.
    """

    id: str
    line: LineSettings
    channels: Mapping[str, str]
    timeout: float
    options: Any


class Line(Protocol):
    """An open or reopenable line. One task uses it at a time."""

    async def open(self) -> None:
        """Open the port or socket; does nothing when it is open. Raises LineLost."""

    async def close(self) -> None:
        """Close it; never raises."""


@runtime_checkable
class Driver(Protocol):
    """Reads one probe. Registered under the entry point `ewarn.drivers`.

    The constructor takes `(settings: ProbeSettings, clock: Clock)`, checks everything that can be checked without
    I/O and raises ConfigError.

    Attributes:
        api: version of this contract, 1.
        Options: a msgspec.Struct with the probe's own keys in the station file.
    """

    api: ClassVar[int]
    Options: ClassVar[type]

    def channel_units(self) -> Mapping[str, tuple[str, str]]:
        """Parameter id and UCUM unit of each channel id that this probe delivers."""

    def make_line(self) -> Line:
        """A new, unopened line; probes with the same line settings share what the first of them makes."""

    async def read(self, line: Line) -> Sequence[Reading]:
        """Read all channels once.

        Each channel appears exactly once. A value is given only if its reply provably answers its request and the
        probe itself does not deny it; else the reading is MISSING (or FAIL) with the reason.

        Raises:
            TransientError: nothing could be read now.
            PermanentError: nothing can be read before a person changes something.
        """


@runtime_checkable
class Detector(Protocol):
    """river's two methods. Registered under the entry point `ewarn.detectors`.

    The constructor takes keyword settings only; of `step_s` (seconds between samples), `resolution`
    (channel -> smallest step of the instrument) and `roles` (channel -> "quality" or "operation") it is given those
    that it names. Values are finite; an absent channel means no evidence. Samples come once a step, empty ones too.

    It may also have `explain_one(x) -> Mapping[str, tuple[float, float]]`, channel -> (score in nats, expected value),
    for the sample scored last; `doubt_one(x) -> Mapping[str, str]`, channel -> code of what seems wrong with its sensor
    since lately, where it does not count such channels in its score; and `threshold`, the score at which it calls a
    sample abnormal. Learning is held back while an event is suspected, but for a detector whose class says
    `gates_itself = True`: its `learn_one` is called for every sample, and it bounds itself what an event teaches.
    `hold_one(x)`, where there is one, is called instead of `learn_one` with water that was alarmed and may not become
    normal unasked: what is forgotten within hours may follow it, what is kept for days may not.

    One entry point may stand for many detectors: its `named(name)` makes the constructor for a dotted name that begins
    with its own, and raises PluginError where there is none.
    """

    def learn_one(self, x: dict[str, float]) -> None:
        """Take the sample into what is known of normal water."""

    def score_one(self, x: dict[str, float]) -> float:
        """How abnormal the sample is: finite, 0 or more, larger is more abnormal. Learns nothing."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a time-series database. Its identity is (measurement, tags, time)."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, float | int | str | bool]
    time: Millis


class Store(Protocol):
    """Where the collector puts points. Writing a point again changes nothing."""

    def open(self) -> None:
        """Connect or create. Raises StoreUnavailable."""

    def write(self, points: Sequence[Point]) -> None:
        """Store all of them, durably.

        Raises:
            StoreUnavailable: nothing is certain; the same call may be made again.
            StoreRefused: at least one of the points will never be taken; the others may or may not be stored.
        """

    def read(self, measurement: str, tags: Mapping[str, str], start: Millis, end: Millis) -> list[Point]:
        """Points of one measurement whose tags include `tags`, with start <= time < end, by time."""

    def close(self) -> None:
        """Release everything."""
