"""Scenario files: which probes there are, and what happens to water, probes and lines.

Times in a scenario (`after`, `duration`) count from its start.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from ewarn.contracts import Millis
from ewarn.errors import ConfigError
from ewarn.profiles import Profile, load_profile
from ewarn.times import from_text
from ewarn.toml import Seconds, convert, read_toml
from simulators.contamination import SUBSTANCES
from simulators.sensor import FaultKind
from simulators.water import Water

LineFaultKind = Literal[
    "no_reply", "late_reply", "crc", "truncate", "noise_before", "extra_after", "split", "wrong_unit", "wrong_function",
    "wrong_count", "exception", "echo",
]  # fmt: skip


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a scenario file."""


class ScenarioTable(_Table, frozen=True):
    """The whole: `start` is an RFC 3339 instant, the moment of serving where absent."""

    seed: int = 1
    water: Literal["river", "treated"] = "river"
    start: str = ""


class ProbeTable(_Table, frozen=True):
    """One simulated probe.

    Attributes:
        id: its name.
        profile: device profile.
        transport: how it is served.
        port: TCP port, 0 for any free one.
        link: path of a symbolic link to its pty, "" for none.
        line: RTU probes that name the same line share one pty.
        unit: Modbus address; the profile's where absent.
        sample_period: how often it takes a new value.
        channels: profile channels that are fitted; all that the water has where empty.
    """

    id: str
    profile: str
    transport: Literal["tcp", "rtu", "ascii"]
    port: int = 0
    link: str = ""
    line: str = ""
    unit: int | None = None
    sample_period: Seconds = Seconds(1)
    channels: tuple[str, ...] = ()


class ContaminationTable(_Table, frozen=True):
    """A contamination; `strength` 1 is the substance's usual peak."""

    kind: str
    after: Seconds
    duration: Seconds
    strength: float = 1.0


class SensorFaultTable(_Table, frozen=True):
    """A fault of one sensor, or of a whole probe where `channel` is absent (`size` in the channel's unit)."""

    probe: str
    kind: FaultKind
    channel: str = ""
    after: Seconds = Seconds(0)
    duration: Seconds = Seconds(3600)
    size: float = 0.0


class LineFaultTable(_Table, frozen=True):
    """A fault of a line; each reply suffers it with `probability`. `size`: ms of late_reply, code of exception."""

    probe: str
    kind: LineFaultKind
    probability: float = 1.0
    after: Seconds = Seconds(0)
    duration: Seconds = Seconds(1e9)
    size: float = 0.0


class _ScenarioFile(_Table, frozen=True):
    scenario: ScenarioTable = ScenarioTable()
    probes: tuple[ProbeTable, ...] = ()
    contaminations: tuple[ContaminationTable, ...] = ()
    sensor_faults: tuple[SensorFaultTable, ...] = ()
    line_faults: tuple[LineFaultTable, ...] = ()


@dataclass(frozen=True, slots=True)
class SimulatedProbe:
    """A probe with its profile loaded; attributes as in `ProbeTable`."""

    id: str
    device: Profile
    transport: str
    port: int
    link: str
    line: str
    unit: int
    sample_period: float
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A checked scenario."""

    file: str
    seed: int
    water: Literal["river", "treated"]
    start: Millis | None
    probes: tuple[SimulatedProbe, ...]
    contaminations: tuple[ContaminationTable, ...]
    sensor_faults: tuple[SensorFaultTable, ...]
    line_faults: tuple[LineFaultTable, ...]

    @classmethod
    def load(cls, path: Path) -> Scenario:
        """Read and check a scenario file. Raises ConfigError."""
        return cls.from_dict(read_toml(path), path)

    @classmethod
    def from_dict(cls, data: dict[str, Any], path: Path) -> Scenario:
        """Check a scenario given as plain data; `path` is named in errors and anchors paths. Raises ConfigError."""
        file = str(path)
        raw = convert(data, _ScenarioFile, file)
        probes = tuple(_probe(i, table, raw.scenario, path) for i, table in enumerate(raw.probes))
        if not probes:
            raise ConfigError(file, "probes", "there is none", "declare at least one [[probes]]")
        _check_ids(probes, file)
        _check_events(raw, {p.id: p for p in probes}, file)
        return cls(
            file,
            raw.scenario.seed,
            raw.scenario.water,
            _start(raw.scenario, file),
            probes,
            raw.contaminations,
            raw.sensor_faults,
            raw.line_faults,
        )

    def with_start(self, start: Millis) -> Scenario:
        """The same at another time."""
        return dataclasses.replace(self, start=start)


def _start(table: ScenarioTable, file: str) -> Millis | None:
    try:
        return from_text(table.start) if table.start else None
    except ValueError as error:
        raise ConfigError(file, "scenario.start", str(error), 'as "2026-06-01T00:00:00Z"') from error


def _probe(index: int, table: ProbeTable, scenario: ScenarioTable, path: Path) -> SimulatedProbe:
    file, key = str(path), f"probes[{index}]"
    try:
        device = load_profile(table.profile, relative_to=path.parent)
    except ConfigError as error:
        raise ConfigError(file, f"{key}.profile", error.problem, error.remedy) from error
    if (device.protocol == "ascii") != (table.transport == "ascii"):
        raise ConfigError(
            file,
            f"{key}.transport",
            f"{table.transport!r} does not suit {device.id}",
            "'ascii' for devices that print lines, 'tcp' or 'rtu' for Modbus",
        )
    if table.sample_period <= 0:
        raise ConfigError(file, f"{key}.sample_period", "is not more than 0", 'as "1s"')
    known = Water(0, scenario.water).parameters
    names = [c.id for c in device.channels if c.parameter in known]
    for i, name in enumerate(table.channels):
        if name not in names:
            raise ConfigError(
                file,
                f"{key}.channels[{i}]",
                f"{device.id} has no channel {name!r} that can be simulated",
                f"one of: {', '.join(names)}",
            )
    return SimulatedProbe(
        table.id,
        device,
        table.transport,
        table.port,
        table.link,
        table.line,
        device.link.unit if table.unit is None else table.unit,
        float(table.sample_period),
        table.channels or tuple(names),
    )


def _check_ids(probes: tuple[SimulatedProbe, ...], file: str) -> None:
    seen: set[str] = set()
    for i, probe in enumerate(probes):
        if probe.id in seen:
            raise ConfigError(file, f"probes[{i}].id", f"{probe.id!r} appears twice", "give each its own")
        seen.add(probe.id)


def _check_events(raw: _ScenarioFile, probes: dict[str, SimulatedProbe], file: str) -> None:
    for i, event in enumerate(raw.contaminations):
        key = f"contaminations[{i}]"
        if event.kind not in SUBSTANCES:
            raise ConfigError(
                file, f"{key}.kind", f"unknown substance {event.kind!r}", f"one of: {', '.join(SUBSTANCES)}"
            )
        if event.duration <= 0:
            raise ConfigError(file, f"{key}.duration", "is not more than 0", 'as "2h"')
    for i, fault in enumerate(raw.sensor_faults):
        _check_sensor_fault(fault, f"sensor_faults[{i}]", probes, file)
    for i, line_fault in enumerate(raw.line_faults):
        key = f"line_faults[{i}]"
        _check_probe(line_fault.probe, key, probes, file)
        if not 0 <= line_fault.probability <= 1:
            raise ConfigError(file, f"{key}.probability", f"{line_fault.probability} is no probability", "0 to 1")


def _check_probe(name: str, key: str, probes: dict[str, SimulatedProbe], file: str) -> None:
    if name not in probes:
        raise ConfigError(file, f"{key}.probe", f"no probe {name!r}", f"one of: {', '.join(probes)}")


def _check_sensor_fault(fault: SensorFaultTable, key: str, probes: dict[str, SimulatedProbe], file: str) -> None:
    _check_probe(fault.probe, key, probes, file)
    fitted = probes[fault.probe].channels
    if fault.channel and fault.channel not in fitted:
        raise ConfigError(
            file, f"{key}.channel", f"{fault.probe!r} has no channel {fault.channel!r}", f"one of: {', '.join(fitted)}"
        )
    if not fault.channel and fault.kind != "out_of_water":
        raise ConfigError(file, f"{key}.channel", "missing", f"{fault.kind} is a fault of one sensor")
