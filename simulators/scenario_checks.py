"""What a scenario may not say: each refusal names file, key, value and remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ewarn.errors import ConfigError
from simulators.contamination import SUBSTANCES
from simulators.tables import LineFaultTable, ProbeTable, ScenarioFile, SensorFaultTable, SimulatedProbe

_ONLY_FOR = {"port": "tcp", "line": "rtu"}
_MODBUS_ONLY = ("wrong_unit", "wrong_function", "wrong_count", "exception")
_SIZED = ("spike", "drift", "offset", "noise")
_MOST = 1e6


def check_lines(tables: Sequence[ProbeTable], probes: Sequence[SimulatedProbe], file: str) -> None:
    """Ids and ends of lines, each probe by itself and against the others. Raises ConfigError."""
    seen: dict[tuple[object, ...], int] = {}
    links: dict[str, str] = {}
    for i, (table, probe) in enumerate(zip(tables, probes, strict=True)):
        _check_ends(table, probe, f"probes[{i}]", file)
        for key, what in _own(probe):
            if seen.setdefault(what, i) != i:
                problem = f"{getattr(probe, key)!r} is also that of probes[{seen[what]}]"
                raise ConfigError(file, f"probes[{i}].{key}", problem, "give each its own")
        if probe.link and links.setdefault(line_of(probe), probe.link) != probe.link:
            problem = f"{probe.link!r}: line {probe.line!r} has another link already"
            raise ConfigError(file, f"probes[{i}].link", problem, "give a line one link")
        if probe.link and [*links.values()].count(probe.link) > 1:
            problem = f"{probe.link!r} is also that of another line"
            raise ConfigError(file, f"probes[{i}].link", problem, "give each its own")


def line_of(probe: SimulatedProbe) -> str:
    """Name of the serial line that a probe is on; one that it has to itself begins with a slash."""
    return probe.line or f"/{probe.id}"


def _own(probe: SimulatedProbe) -> Iterator[tuple[str, tuple[object, ...]]]:
    """What no other probe may have, by key."""
    yield "id", ("id", probe.id)
    if probe.port:
        yield "port", ("port", probe.port)
    if probe.transport == "rtu":
        yield "unit", ("unit", line_of(probe), probe.unit)


def _check_ends(table: ProbeTable, probe: SimulatedProbe, key: str, file: str) -> None:
    if not table.id:
        raise ConfigError(file, f"{key}.id", "is empty", "give it a name")
    for name, transport in _ONLY_FOR.items():
        if getattr(table, name) and table.transport != transport:
            problem = f"{getattr(table, name)!r} does not suit transport {table.transport!r}"
            raise ConfigError(file, f"{key}.{name}", problem, f"it is for {transport!r}")
    if table.link and table.transport == "tcp":
        raise ConfigError(
            file, f"{key}.link", f"{table.link!r} does not suit transport 'tcp'", "it is for serial lines"
        )
    if not 0 <= table.port <= 65535:
        raise ConfigError(file, f"{key}.port", f"{table.port} is no port", "1 to 65535, or 0 for any free one")
    if not 1 <= probe.unit <= 247:
        raise ConfigError(file, f"{key}.unit", f"{probe.unit} is no Modbus address", "1 to 247")


def check_events(raw: ScenarioFile, probes: Mapping[str, SimulatedProbe], file: str) -> None:
    """What happens to water, sensors and lines. Raises ConfigError."""
    for i, event in enumerate(raw.contaminations):
        key = f"contaminations[{i}]"
        if event.kind not in SUBSTANCES:
            problem = f"unknown substance {event.kind!r}"
            raise ConfigError(file, f"{key}.kind", problem, f"one of: {', '.join(SUBSTANCES)}")
        _check_duration(event.duration, key, file)
        _check_number(event.strength, 0, f"{key}.strength", file)
    for i, fault in enumerate(raw.sensor_faults):
        _check_sensor_fault(fault, f"sensor_faults[{i}]", probes, file)
    for i, line_fault in enumerate(raw.line_faults):
        _check_line_fault(line_fault, f"line_faults[{i}]", probes, file)


def _check_duration(seconds: float, key: str, file: str) -> None:
    if seconds <= 0:
        raise ConfigError(file, f"{key}.duration", f"{seconds:g} s is not more than 0", 'as "2h"')


def _check_number(value: float, least: float, key: str, file: str) -> None:
    if not (math.isfinite(value) and least <= value <= _MOST):
        raise ConfigError(file, key, f"{value} is out of bounds", f"{least:g} to {_MOST:g}")


def _check_probe(name: str, key: str, probes: Mapping[str, SimulatedProbe], file: str) -> None:
    if name not in probes:
        raise ConfigError(file, f"{key}.probe", f"no probe {name!r}", f"one of: {', '.join(probes)}")


def _check_sensor_fault(fault: SensorFaultTable, key: str, probes: Mapping[str, SimulatedProbe], file: str) -> None:
    _check_probe(fault.probe, key, probes, file)
    _check_duration(fault.duration, key, file)
    _check_number(fault.size, -_MOST, f"{key}.size", file)
    fitted = probes[fault.probe].channels
    if fault.channel and fault.channel not in fitted:
        problem = f"{fault.probe!r} has no channel {fault.channel!r}"
        raise ConfigError(file, f"{key}.channel", problem, f"one of: {', '.join(fitted)}")
    if not fault.channel and fault.kind != "out_of_water":
        raise ConfigError(file, f"{key}.channel", "missing", f"{fault.kind} is a fault of one sensor")
    if fault.kind in _SIZED and fault.size == 0:
        raise ConfigError(file, f"{key}.size", f"{fault.kind} of 0 is none", "give it in the channel's unit")


def _check_line_fault(fault: LineFaultTable, key: str, probes: Mapping[str, SimulatedProbe], file: str) -> None:
    _check_probe(fault.probe, key, probes, file)
    _check_duration(fault.duration, key, file)
    if not 0 <= fault.probability <= 1:
        raise ConfigError(file, f"{key}.probability", f"{fault.probability} is no probability", "0 to 1")
    if fault.kind == "exception" and not (float(fault.size).is_integer() and 0 <= fault.size <= 255):
        raise ConfigError(file, f"{key}.size", f"{fault.size} is no exception code", "1 to 255, or absent for 6")
    _check_number(fault.size, 0, f"{key}.size", file)
    reason = _unsuitable(fault.kind, probes[fault.probe])
    if reason:
        problem = f"{fault.kind!r} cannot strike {fault.probe!r}"
        raise ConfigError(file, f"{key}.kind", problem, reason)


def _unsuitable(kind: str, probe: SimulatedProbe) -> str:
    """Why this kind has no place on the probe's line, "" where it has."""
    lines = probe.device.ascii
    if lines is not None and kind in _MODBUS_ONLY:
        return "it is for Modbus"
    if lines is not None and lines.mode == "stream" and kind == "echo":
        return "nothing is asked, so there is nothing to echo"
    if kind == "crc" and (probe.transport == "tcp" or (lines is not None and lines.checksum == "none")):
        return "without a check sum nobody could notice it"
    return ""
