"""Scenario files: which probes there are, and what happens to water, probes and lines."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ewarn.contracts import Millis
from ewarn.errors import ConfigError
from ewarn.profiles import Profile, load_profile
from ewarn.times import from_text
from ewarn.toml import convert, read_toml
from simulators.registers import place
from simulators.scenario_checks import check_events, check_lines
from simulators.tables import (
    ContaminationTable,
    LineFaultTable,
    ProbeTable,
    ScenarioFile,
    ScenarioTable,
    SensorFaultTable,
    SimulatedProbe,
)
from simulators.water import Water


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
        raw = convert(data, ScenarioFile, file)
        probes = tuple(_probe(i, table, raw.scenario, path) for i, table in enumerate(raw.probes))
        if not probes:
            raise ConfigError(file, "probes", "there is none", "declare at least one [[probes]]")
        check_lines(raw.probes, probes, file)
        check_events(raw, {p.id: p for p in probes}, file)
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
    lines = device.ascii
    if lines is not None and (lines.split != "csv" or any(isinstance(c.field, str) for c in device.channels)):
        raise ConfigError(file, f"{key}.profile", f"{device.id} cannot be simulated", "its lines have to be columns")
    if lines is not None and lines.mode == "poll" and not lines.request:
        raise ConfigError(file, f"{key}.profile", f"{device.id} is asked with nothing", "its lines need a request")
    if table.sample_period <= 0:
        raise ConfigError(file, f"{key}.sample_period", "is not more than 0", 'as "1s"')
    return SimulatedProbe(
        table.id,
        device,
        table.transport,
        table.port,
        table.link,
        table.line,
        device.link.unit if table.unit is None else table.unit,
        float(table.sample_period),
        _fitted(table.channels, device, Water(0, scenario.water).parameters, file, f"{key}.channels"),
    )


def _fitted(wanted: tuple[str, ...], device: Profile, known: tuple[str, ...], file: str, key: str) -> tuple[str, ...]:
    """The channels that a device has: those that are wanted, or else all that fit together."""
    names = [c.id for c in device.channels if c.parameter in known]
    fitted: list[str] = []
    taken: dict[tuple[str, object], str] = {}
    for i, name in enumerate(wanted or names):
        if name not in names:
            problem = f"{device.id} has no channel {name!r} that can be simulated"
            raise ConfigError(file, f"{key}[{i}]", problem, f"one of: {', '.join(names)}")
        places = place(device, device.channel(name))
        other = next((taken[p] for p in places if p in taken), None)
        if other is None:
            fitted.append(name)
            taken |= dict.fromkeys(places, name)
        elif wanted:
            raise ConfigError(file, f"{key}[{i}]", f"{name!r} takes the place of {other!r}", "leave one of them out")
    if device.bind is not None and device.bind.mode == "slots" and len(fitted) > device.bind.slots:
        problem = f"{len(fitted)} are more than {device.id} has slots"
        raise ConfigError(file, key, problem, f"name at most {device.bind.slots}")
    return tuple(fitted)
