"""Station and central files: TOML to typed, checked settings, before any I/O.

Every error is a ConfigError that names the file, the key, the value found and what would be right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from ewarn.contracts import LineSettings
from ewarn.errors import ConfigError
from ewarn.parameters import ALTERNATIVE_UNITS, CHANNEL_ID, PARAMETERS, parameter_of
from ewarn.toml import Seconds, convert, read_toml

STATION_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
RESERVED_CHANNELS = frozenset({"t", "seq", "boot", "q", "why", "backfill"})

Span = tuple[float, float]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a configuration file."""


class BrokerTable(_Table, frozen=True):
    """The MQTT broker.

    Attributes:
        host, port: where it listens.
        insecure: true allows a connection without TLS; else `ca`, `cert` and `key` are required.
        ca, cert, key: PEM files of mutual TLS.
        keepalive: seconds after which silence is noticed.
    """

    host: str
    port: int = 8883
    insecure: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    keepalive: Seconds = Seconds(10)


class StationTable(_Table, frozen=True):
    """Who the station is.

    Attributes:
        id: one MQTT topic level; certificate name, client id and user name in the field.
        name: for people.
        water: "river" (no disinfectant) or "treated".
        time_zone: IANA name, for texts.
        data: folder of its journal and outbox; relative to the station file.
        centrals: every central whose database has to have a row before the station forgets it.
        history: how much of the journal detection is rebuilt from after a start.
    """

    id: str
    name: str = ""
    water: Literal["river", "treated"] = "river"
    time_zone: str = "UTC"
    data: str = "data"
    centrals: tuple[str, ...] = ("main",)
    history: Seconds = Seconds(7 * 86400)


class LineTable(_Table, frozen=True):
    """One socket or serial port."""

    kind: Literal["tcp", "serial"]
    host: str = ""
    port: int = 0
    device: str = ""
    baud: int = 9600
    bytesize: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    framing: Literal["auto", "mbap", "rtu"] = "auto"


class ProbeTable(_Table, frozen=True):
    """One instrument. Keys not listed here belong to its driver.

    Attributes:
        every: how often it is read.
        timeout: how long it may take to answer.
        channels: profile channel names, or channel id = profile channel name.
    """

    id: str
    driver: str
    line: str
    channels: list[str] | dict[str, str]
    every: Seconds = Seconds(60)
    timeout: Seconds = Seconds(1)


class ChannelTable(_Table, frozen=True):
    """What differs from the parameter's own defaults for one channel.

    Attributes:
        parameter: where the id does not say it.
        unit: where the values come in another unit than the parameter's; then its bounds do not apply.
        role: "quality" (the water itself) or "operation" (flow, pressure: explains changes, is never an event).
        resolution: smallest step that the instrument reports, in the channel's unit.
        every: how often a new value comes, where no probe says it.
        fail_span, suspect_span: gross range test.
        spike, rate: limits of the spike test (unit) and of the rate-of-change test (unit per minute).
        flat_after: flat-line test: suspect after this long without any change; "0s" switches it off.
    """

    parameter: str | None = None
    unit: str | None = None
    role: Literal["quality", "operation"] | None = None
    resolution: float | None = None
    every: Seconds | None = None
    fail_span: Span | None = None
    suspect_span: Span | None = None
    spike: float | None = None
    rate: float | None = None
    flat_after: Seconds | None = None


class DetectionTable(_Table, frozen=True):
    """How detection runs.

    Attributes:
        step: seconds between samples.
        warmup: how much water detection has to have seen before it judges.
        on_steps, of_steps: the contamination alarm is raised when `on_steps` of the last `of_steps` are abnormal.
        off_delay: how long the water has to be normal before the alarm goes.
        silence: a probe that gives nothing for this long raises its alarm.
    """

    step: Seconds = Seconds(60)
    warmup: Seconds = Seconds(86400)
    on_steps: int = 2
    of_steps: int = 3
    off_delay: Seconds = Seconds(600)
    silence: Seconds = Seconds(300)


class _StationFile(_Table, frozen=True):
    station: StationTable
    broker: BrokerTable | None = None
    lines: dict[str, LineTable] = {}
    probes: list[dict[str, Any]] = []
    channels: dict[str, ChannelTable] = {}
    detection: DetectionTable = DetectionTable()
    detectors: list[dict[str, Any]] = []


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


DEFAULT_DETECTORS = ("residual", "residual_trees")


def load_station(path: Path) -> Station:
    """Read and check a station file. Raises ConfigError."""
    return station_from(read_toml(path), path)


def station_from(data: dict[str, Any], path: Path) -> Station:
    """Check a station given as plain data; `path` is named in errors and anchors relative paths. Raises ConfigError."""
    file = str(path)
    raw = convert(data, _StationFile, file)
    _check_station(raw.station, file)
    if raw.broker is not None:
        check_broker(raw.broker, file)
    lines = {name: _line(name, table, file) for name, table in raw.lines.items()}
    probes = tuple(_probe(i, table, lines, file) for i, table in enumerate(raw.probes))
    _unique([p.id for p in probes], file, "probes", "id")
    channels = _channels(raw, probes, file)
    _check_detection(raw.detection, file)
    return Station(
        file=file, id=raw.station.id, name=raw.station.name or raw.station.id, water=raw.station.water,
        time_zone=raw.station.time_zone, data=path.parent / raw.station.data, centrals=raw.station.centrals,
        history=raw.station.history, broker=raw.broker, probes=probes, channels=channels,
        detection=raw.detection, detectors=_detectors(raw.detectors, file),
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
    _unique(list(table.centrals), file, "station.centrals", "")
    for i, name in enumerate(table.centrals):
        if not STATION_ID.fullmatch(name):
            raise ConfigError(file, f"station.centrals[{i}]", f"{name!r} cannot be a topic level", "use a-z, 0-9 and -")


def check_broker(table: BrokerTable, file: str) -> None:
    """Refuse a broker that is neither secured nor openly insecure. Raises ConfigError."""
    if not 0 < table.port < 65536:
        raise ConfigError(file, "broker.port", f"{table.port} is not a port", "1 to 65535; usual are 8883 and 1883")
    if table.insecure:
        return
    for key in ("ca", "cert", "key"):
        if not getattr(table, key):
            raise ConfigError(
                file,
                f"broker.{key}",
                "missing",
                "name the PEM files of mutual TLS, or say insecure = true on a line that you trust",
            )


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


def _channels(raw: _StationFile, probes: tuple[ProbeSpec, ...], file: str) -> dict[str, ChannelSpec]:
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


def _channel(name: str, raw: _StationFile, probe: ProbeSpec | None, file: str) -> ChannelSpec:
    table = raw.channels.get(name, ChannelTable())
    key = f"channels.{name}"
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
    role = table.role or ("operation" if known.operation else "quality")
    return ChannelSpec(
        id=name, parameter=parameter, unit=unit, role=role, resolution=resolution, probe=probe.id if probe else "",
        every=float(every), fail_span=fail_span, suspect_span=table.suspect_span, spike=table.spike, rate=table.rate,
        flat_after=float(table.flat_after) if table.flat_after is not None else (0.0 if role == "operation" else 6 * 3600.0),
    )  # fmt: skip


def _check_detection(table: DetectionTable, file: str) -> None:
    if not table.step >= 1:
        raise ConfigError(file, "detection.step", f"{float(table.step)} s is too short", 'at least "1s"')
    if not 1 <= table.on_steps <= table.of_steps:
        raise ConfigError(
            file, "detection.on_steps", f"{table.on_steps} of {table.of_steps} cannot be", "1 <= on_steps <= of_steps"
        )


def _detectors(tables: list[dict[str, Any]], file: str) -> tuple[DetectorSpec, ...]:
    specs = []
    for i, table in enumerate(tables):
        name = table.get("name")
        if not isinstance(name, str):
            raise ConfigError(
                file,
                f"detectors[{i}].name",
                "missing" if name is None else f"{name!r} is not a text",
                "`ewarn plugins` lists the detectors",
            )
        specs.append(DetectorSpec(name, {k: v for k, v in table.items() if k != "name"}, f"detectors[{i}]"))
    _unique([s.name for s in specs], file, "detectors", "name")
    return tuple(specs) or tuple(DetectorSpec(name, {}, "detectors") for name in DEFAULT_DETECTORS)


def _unique(names: list[str], file: str, key: str, leaf: str) -> None:
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            where = f"{key}[{i}].{leaf}" if leaf else f"{key}[{i}]"
            raise ConfigError(file, where, f"{name!r} appears twice", "give each its own")
        seen.add(name)


class SqliteTable(_Table, frozen=True, tag_field="kind", tag="sqlite"):
    """The embedded store: one file, relative to the central file."""

    path: str = "central.sqlite"


class InfluxTable(_Table, frozen=True, tag_field="kind", tag="influx"):
    """An InfluxDB.

    Attributes:
        url: as http://127.0.0.1:8086.
        api: "v2" writes /api/v2/write (1.8, 2.x, 3.x), "v1" writes /write (1.x).
        org, bucket: of v2; `bucket` is the database of v1.
        token_file: file with the token (v2) or `user:password` (v1); "" where the server asks for none.
        timeout: for one request.
    """

    url: str
    bucket: str
    api: Literal["v2", "v1"] = "v2"
    org: str = ""
    token_file: str = ""
    timeout: Seconds = Seconds(10)


class CentralTable(_Table, frozen=True):
    """Who the collector is.

    Attributes:
        name: as stations list it under `centrals`.
        data: folder for what it keeps itself; relative to the central file.
        stations: station ids that it collects; "+" means every one.
    """

    name: str = "main"
    data: str = "central"
    stations: tuple[str, ...] = ("+",)


class _CentralFile(_Table, frozen=True):
    central: CentralTable
    broker: BrokerTable
    store: SqliteTable | InfluxTable = SqliteTable()


@dataclass(frozen=True, slots=True)
class Central:
    """A checked central file."""

    file: str
    name: str
    data: Path
    stations: tuple[str, ...]
    broker: BrokerTable
    store: SqliteTable | InfluxTable


def load_central(path: Path) -> Central:
    """Read and check a central file. Raises ConfigError."""
    return central_from(read_toml(path), path)


def central_from(data: dict[str, Any], path: Path) -> Central:
    """Check a central given as plain data. Raises ConfigError."""
    file = str(path)
    raw = convert(data, _CentralFile, file)
    check_broker(raw.broker, file)
    if not STATION_ID.fullmatch(raw.central.name):
        raise ConfigError(file, "central.name", f"{raw.central.name!r} cannot be a topic level", "use a-z, 0-9 and -")
    _check_stations(raw.central.stations, file)
    store = raw.store
    if isinstance(store, InfluxTable):
        if not re.fullmatch(r"https?://[^/\s]+(/.*)?", store.url):
            raise ConfigError(file, "store.url", f"{store.url!r} is not an http address", "as http://127.0.0.1:8086")
        if store.token_file:
            store = msgspec.structs.replace(store, token_file=str(path.parent / store.token_file))
    else:
        store = msgspec.structs.replace(store, path=str(path.parent / raw.central.data / store.path))
    return Central(
        file=file,
        name=raw.central.name,
        data=path.parent / raw.central.data,
        stations=raw.central.stations,
        broker=raw.broker,
        store=store,
    )


def _check_stations(stations: tuple[str, ...], file: str) -> None:
    if not stations:
        raise ConfigError(file, "central.stations", "is empty", 'name stations, or "+" for all')
    _unique(list(stations), file, "central.stations", "")
    if "+" in stations and len(stations) > 1:
        raise ConfigError(
            file,
            "central.stations",
            '"+" overlaps every other topic: messages would come twice',
            'give either "+" alone or the stations one by one',
        )
    for i, name in enumerate(stations):
        if name != "+" and not STATION_ID.fullmatch(name):
            raise ConfigError(
                file, f"central.stations[{i}]", f"{name!r} is not a station id", 'use a-z, 0-9 and -, or "+"'
            )
