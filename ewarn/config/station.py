"""Station files: TOML to a checked `Station`, before any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ewarn.config.common import STATION_ID, check_broker, unique
from ewarn.config.tables import (
    BrokerTable,
    ChannelTable,
    DetectionTable,
    LineTable,
    ProbeTable,
    Span,
    StationFile,
    StationTable,
)
from ewarn.contracts import LineSettings
from ewarn.errors import ConfigError
from ewarn.parameters import ALTERNATIVE_UNITS, CHANNEL_ID, PARAMETERS, PREFIXES, parameter_of
from ewarn.toml import convert, read_toml

RESERVED_CHANNELS = frozenset({"t", "seq", "boot", "q", "why", "backfill"})


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel with every default filled in; times in seconds, spans and limits in `unit`."""

    id: str
    parameter: str
    unit: str
    role: str
    resolution: float
    probe: str
    every: float
    fail_span: Span | None
    suspect_span: Span | None
    spike: float | None
    rate: float | None
    flat_after: float


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A probe before its driver is found."""

    id: str
    driver: str
    line: LineSettings
    channels: dict[str, str]
    every: float
    timeout: float
    options: dict[str, Any]
    key: str


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A detector by name, with its settings."""

    name: str
    options: dict[str, Any]
    key: str


@dataclass(frozen=True, slots=True)
class Station:
    """A checked station file."""

    file: str
    id: str
    name: str
    water: str
    time_zone: str
    data: Path
    centrals: tuple[str, ...]
    history: float
    broker: BrokerTable | None
    probes: tuple[ProbeSpec, ...]
    channels: dict[str, ChannelSpec]
    detection: DetectionTable
    detectors: tuple[DetectorSpec, ...]


USUAL_DETECTORS = ("residual", "residual_trees")
"""Used where the file names none, but for a river at steps of `SLOW_S` and more: there RIVER_DETECTORS."""
RIVER_DETECTORS = ("forecast",)
SLOW_S = 300.0


def load_station(path: Path) -> Station:
    """Read and check a station file. Raises ConfigError."""
    return station_from(read_toml(path), path)


def station_from(data: dict[str, Any], path: Path) -> Station:
    """Check a station given as plain data; `path` is named in errors and anchors relative paths. Raises ConfigError."""
    file = str(path)
    raw = convert(data, StationFile, file)
    _check_station(raw.station, file)
    if raw.broker is not None:
        check_broker(raw.broker, file)
    lines = {
        name: _line(name, convert(table, LineTable, file, f"lines.{name}"), file) for name, table in raw.lines.items()
    }
    probes = tuple(_probe(i, table, lines, file) for i, table in enumerate(raw.probes))
    unique([p.id for p in probes], file, "probes", "id")
    channels = _channels(raw, probes, file)
    _check_detection(raw.detection, file)
    return Station(
        file=file, id=raw.station.id, name=raw.station.name or raw.station.id, water=raw.station.water,
        time_zone=raw.station.time_zone, data=path.parent / raw.station.data, centrals=raw.station.centrals,
        history=raw.station.history, broker=raw.broker, probes=probes, channels=channels,
        detection=raw.detection, detectors=_detectors(raw, file),
    )  # fmt: skip


def _check_station(table: StationTable, file: str) -> None:
    if not STATION_ID.fullmatch(table.id):
        raise ConfigError(
            file,
            "station.id",
            f"{table.id!r} cannot be a topic level",
            "use up to 63 of a-z, 0-9 and -, beginning with a letter or digit",
        )
    try:
        ZoneInfo(table.time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(
            file,
            "station.time_zone",
            f"unknown time zone {table.time_zone!r}",
            "use an IANA name, as America/Matamoros",
        ) from error
    if not table.centrals:
        raise ConfigError(file, "station.centrals", "is empty", "name at least one central")
    unique(list(table.centrals), file, "station.centrals", "")
    for i, name in enumerate(table.centrals):
        if not STATION_ID.fullmatch(name):
            raise ConfigError(file, f"station.centrals[{i}]", f"{name!r} cannot be a topic level", "use a-z, 0-9 and -")


def _line(name: str, table: LineTable, file: str) -> LineSettings:
    key = f"lines.{name}"
    if table.kind == "tcp" and not table.host:
        raise ConfigError(file, f"{key}.host", "missing", "a tcp line needs host and port")
    if table.kind == "tcp" and not 0 < table.port < 65536:
        raise ConfigError(file, f"{key}.port", f"{table.port} is not a port", "1 to 65535; Modbus uses 502")
    if table.kind == "serial" and not table.device:
        raise ConfigError(file, f"{key}.device", "missing", "a serial line needs a device, as /dev/serial/by-id/…")
    return LineSettings(
        id=name,
        kind=table.kind,
        host=table.host,
        port=table.port,
        device=table.device,
        baud=table.baud,
        bytesize=table.bytesize,
        parity=table.parity,
        stopbits=table.stopbits,
        framing=table.framing,
    )


def _probe(index: int, data: dict[str, Any], lines: dict[str, LineSettings], file: str) -> ProbeSpec:
    key = f"probes[{index}]"
    common = {name: data[name] for name in data if name in ProbeTable.__struct_fields__}
    table = convert(common, ProbeTable, file, key)
    if not STATION_ID.fullmatch(table.id):
        raise ConfigError(file, f"{key}.id", f"{table.id!r} is not an id", "use a-z, 0-9 and -")
    if table.line not in lines:
        raise ConfigError(file, f"{key}.line", f"no line {table.line!r}", f"declare it as [lines.{table.line}]")
    if not table.channels:
        raise ConfigError(file, f"{key}.channels", "is empty", "name at least one value of the device")
    if table.every <= 0 or table.timeout <= 0:
        name = "every" if table.every <= 0 else "timeout"
        raise ConfigError(file, f"{key}.{name}", "is not more than 0", 'write a duration, as "60s"')
    channels = table.channels if isinstance(table.channels, dict) else {name: name for name in table.channels}
    return ProbeSpec(
        id=table.id,
        driver=table.driver,
        line=lines[table.line],
        channels=channels,
        every=table.every,
        timeout=table.timeout,
        options={k: v for k, v in data.items() if k not in common},
        key=key,
    )


def _channels(raw: StationFile, probes: tuple[ProbeSpec, ...], file: str) -> dict[str, ChannelSpec]:
    owners: dict[str, ProbeSpec] = {}
    for probe in probes:
        for channel in probe.channels:
            if channel in owners:
                raise ConfigError(
                    file,
                    f"{probe.key}.channels",
                    f"channel {channel!r} is also of probe {owners[channel].id!r}",
                    f"give one another id, as {channel}_2 = {channel!r}",
                )
            owners[channel] = probe
    if probes:
        for name in raw.channels:
            if name not in owners:
                raise ConfigError(
                    file, f"channels.{name}", "no probe has this channel", f"channels are: {', '.join(sorted(owners))}"
                )
    names = list(owners) or list(raw.channels)
    if not names:
        raise ConfigError(file, "channels", "there is none", "declare [[probes]], or [channels.ID] for recorded data")
    return {name: _channel(name, raw, owners.get(name), file) for name in names}


def _channel(name: str, raw: StationFile, probe: ProbeSpec | None, file: str) -> ChannelSpec:
    key = f"channels.{name}"
    table = convert(raw.channels.get(name, {}), ChannelTable, file, key)
    if not CHANNEL_ID.fullmatch(name) or name in RESERVED_CHANNELS:
        raise ConfigError(file, key, f"{name!r} cannot be a channel id", "use a-z, 0-9 and _, beginning with a letter")
    parameter = table.parameter or parameter_of(name)
    if parameter is None or parameter not in PARAMETERS:
        raise ConfigError(
            file,
            f"{key}.parameter",
            f"unknown parameter {table.parameter or name!r}",
            f"one of: {', '.join(PARAMETERS)}; further probes add _2, _3, elsewhere add upstream_, plant_",
        )
    known = PARAMETERS[parameter]
    unit = table.unit or known.unit
    allowed = (known.unit, *ALTERNATIVE_UNITS.get(parameter, ()))
    if unit not in allowed:
        raise ConfigError(
            file, f"{key}.unit", f"{unit!r} is not a unit of {parameter}", f"one of: {', '.join(map(repr, allowed))}"
        )
    own = unit == known.unit
    fail_span = table.fail_span or ((known.low, known.high) if own else None)
    for span_key, span in (("fail_span", fail_span), ("suspect_span", table.suspect_span)):
        if span is not None and not span[0] < span[1]:
            raise ConfigError(file, f"{key}.{span_key}", f"{list(span)} is empty", "write [low, high]")
    resolution = table.resolution if table.resolution is not None else known.resolution
    if not resolution > 0:
        raise ConfigError(
            file, f"{key}.resolution", f"{resolution} is not more than 0", "the instrument's smallest step"
        )
    every = table.every or (probe.every if probe else raw.detection.step)
    role = table.role or ("operation" if known.operation or name.startswith(PREFIXES) else "quality")
    return ChannelSpec(
        id=name, parameter=parameter, unit=unit, role=role, resolution=resolution, probe=probe.id if probe else "",
        every=float(every), fail_span=fail_span, suspect_span=table.suspect_span, spike=table.spike, rate=table.rate,
        flat_after=_flat_after(table, role),
    )  # fmt: skip


def _check_detection(table: DetectionTable, file: str) -> None:
    if not table.step >= 1:
        raise ConfigError(file, "detection.step", f"{float(table.step)} s is too short", 'at least "1s"')
    if not 1 <= table.on_steps <= table.of_steps:
        raise ConfigError(
            file, "detection.on_steps", f"{table.on_steps} of {table.of_steps} cannot be", "1 <= on_steps <= of_steps"
        )


def _detectors(raw: StationFile, file: str) -> tuple[DetectorSpec, ...]:
    specs = []
    for i, table in enumerate(raw.detectors):
        name = table.get("name")
        if not isinstance(name, str):
            raise ConfigError(
                file,
                f"detectors[{i}].name",
                "missing" if name is None else f"{name!r} is not a text",
                "`ewarn plugins` lists the detectors",
            )
        specs.append(DetectorSpec(name, {k: v for k, v in table.items() if k != "name"}, f"detectors[{i}]"))
    unique([s.name for s in specs], file, "detectors", "name")
    slow_river = raw.station.water == "river" and raw.detection.step >= SLOW_S
    usual = RIVER_DETECTORS if slow_river else USUAL_DETECTORS
    return tuple(specs) or tuple(DetectorSpec(name, {}, "detectors") for name in usual)


def _flat_after(table: ChannelTable, role: str) -> float:
    if table.flat_after is not None:
        return float(table.flat_after)
    return 0.0 if role == "operation" else 6 * 3600.0
