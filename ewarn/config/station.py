"""Station files: TOML to a checked `Station`, before any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ewarn.config.channels import ChannelSpec, channel_spec, check_formulas
from ewarn.config.common import STATION_ID, checked_broker, unique
from ewarn.config.tables import (
    BrokerTable,
    DetectionTable,
    LineTable,
    ProbeTable,
    StationFile,
    StationTable,
)
from ewarn.contracts import LineSettings
from ewarn.errors import ConfigError
from ewarn.toml import convert, read_toml


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
    outbox: int
    broker: BrokerTable | None
    probes: tuple[ProbeSpec, ...]
    channels: dict[str, ChannelSpec]
    detection: DetectionTable
    detectors: tuple[DetectorSpec, ...]


USUAL_DETECTORS = ("residual",)
"""Used where the file names none, but for a river at steps of `SLOW_S` and more: there RIVER_DETECTORS."""
RIVER_DETECTORS = ("forecast",)
SLOW_S = 300.0
_MOST_NATS = 20.0
_MOST_STEPS = 1000
_MOST_ALARMS = 100.0
_LEAST_OUTBOX = 1_000_000


def load_station(path: Path) -> Station:
    """Read and check a station file. Raises ConfigError."""
    return station_from(read_toml(path), path)


def station_from(data: dict[str, Any], path: Path) -> Station:
    """Check a station given as plain data; `path` is named in errors and anchors relative paths. Raises ConfigError."""
    file = str(path)
    raw = convert(data, StationFile, file)
    _check_station(raw.station, file)
    broker = None if raw.broker is None else checked_broker(raw.broker, path)
    lines = {
        name: _line(name, convert(table, LineTable, file, f"lines.{name}"), file) for name, table in raw.lines.items()
    }
    _check_ends(lines, file)
    probes = tuple(_probe(i, table, lines, file) for i, table in enumerate(raw.probes))
    unique([p.id for p in probes], file, "probes", "id")
    channels = _channels(raw, probes, file)
    _check_detection(raw.detection, file)
    return Station(
        file=file, id=raw.station.id, name=raw.station.name or raw.station.id, water=raw.station.water,
        time_zone=raw.station.time_zone, data=path.parent / raw.station.data, centrals=raw.station.centrals,
        history=raw.station.history, outbox=raw.station.outbox, broker=broker, probes=probes, channels=channels,
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
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            file,
            "station.time_zone",
            f"unknown time zone {table.time_zone[:80]!r}",
            "use an IANA name, as America/Matamoros",
        ) from error
    if table.outbox < _LEAST_OUTBOX:
        raise ConfigError(file, "station.outbox", f"{table.outbox} bytes are too few", 'at least "1MB"')
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
    if table.baud <= 0:
        raise ConfigError(file, f"{key}.baud", f"{table.baud} is not more than 0", "as 9600 or 19200; see the probe")
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


def _check_ends(lines: dict[str, LineSettings], file: str) -> None:
    """Two lines may not lead to one place: each would take what the other is sent. Raises ConfigError."""
    seen: dict[tuple[str, int], str] = {}
    for name, line in lines.items():
        tcp = line.kind == "tcp"
        end = (line.host.lower(), line.port) if tcp else (str(Path(line.device)), -1)
        if end in seen:
            key = f"lines.{name}.{'host' if tcp else 'device'}"
            place = f"{line.host}:{line.port}" if tcp else line.device
            remedy = f"put all probes of it on lines.{seen[end]}"
            raise ConfigError(file, key, f"{place} is also the end of lines.{seen[end]}", remedy)
        seen[end] = name


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
    if isinstance(table.channels, list):
        unique(table.channels, file, f"{key}.channels", "")
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
        for name, table in raw.channels.items():
            if name not in owners and "formula" not in table:
                raise ConfigError(
                    file, f"channels.{name}", "no probe has this channel", f"channels are: {', '.join(sorted(owners))}"
                )
    names = list(owners | raw.channels)
    if not names:
        raise ConfigError(file, "channels", "there is none", "declare [[probes]], or [channels.ID] for recorded data")
    channels = {name: _channel(name, raw, owners.get(name), file) for name in names}
    check_formulas(channels, raw.detection.step, file)
    return channels


def _channel(name: str, raw: StationFile, probe: ProbeSpec | None, file: str) -> ChannelSpec:
    table = raw.channels.get(name, {})
    if probe is None:
        return channel_spec(name, table, raw.detection.step, file)
    return channel_spec(name, table, probe.every, file, probe=probe.id)


def _check_detection(table: DetectionTable, file: str) -> None:
    if not table.step >= 1:
        raise ConfigError(file, "detection.step", f"{float(table.step)} s is too short", 'at least "1s"')
    if not 1 <= table.on_steps <= table.of_steps:
        raise ConfigError(
            file, "detection.on_steps", f"{table.on_steps} of {table.of_steps} cannot be", "1 <= on_steps <= of_steps"
        )
    if table.of_steps > _MOST_STEPS:
        raise ConfigError(file, "detection.of_steps", f"{table.of_steps} are too many", f"at most {_MOST_STEPS}")
    if not table.silence > 0:
        raise ConfigError(file, "detection.silence", "is not more than 0", 'write a duration, as "5m"')
    if not 0 < table.prior < 1:
        raise ConfigError(file, "detection.prior", f"{table.prior:g} is no share", "more than 0 and less than 1")
    if not 0 < table.false_alarms_a_week <= _MOST_ALARMS:
        problem = f"{table.false_alarms_a_week:g} a week cannot be kept"
        raise ConfigError(file, "detection.false_alarms_a_week", problem, f"more than 0, at most {_MOST_ALARMS:g}")
    for name, duration in (("accept_after", table.accept_after), ("patterns_expire", table.patterns_expire)):
        if not duration > 0:
            raise ConfigError(file, f"detection.{name}", "is not more than 0", 'write a duration, as "24h"')
    if not 0 < table.corroboration < _MOST_NATS:
        raise ConfigError(file, "detection.corroboration", f"{table.corroboration} nats", f"0 to {_MOST_NATS:g}")


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
    # In treated water one dosing line moves one channel.
    options = {"alone": True} if raw.station.water == "treated" else {}
    return tuple(specs) or tuple(DetectorSpec(name, dict(options), "detectors") for name in usual)
