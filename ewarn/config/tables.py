"""The tables of station and central files, as they are written. Checks across keys are in `station` and `central`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ewarn.toml import Seconds, Size

Span = tuple[float, float]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a configuration file."""


class BrokerTable(Table, frozen=True):
    """The MQTT broker.

    Attributes:
        host, port: where it listens.
        insecure: true allows a connection without TLS; else `ca`, `cert` and `key` are required.
        ca, cert, key: PEM files of mutual TLS; relative to the file that names them.
        keepalive: after how long silence is noticed; 1 to 65535 s.
    """

    host: str
    port: int = 8883
    insecure: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    keepalive: Seconds = Seconds(10)


class StationTable(Table, frozen=True):
    """Who the station is.

    Attributes:
        id: one MQTT topic level; certificate name, client id and user name in the field.
        name: for people.
        water: "river" (no disinfectant) or "treated".
        time_zone: IANA name, for texts.
        data: folder of its journal and outbox; relative to the station file.
        centrals: every central whose database has to have a row before the station forgets it.
        history: how much of the journal detection is rebuilt from after a start.
        outbox: how much room there is for what waits for a central, and for what one may ask for again; when it is
            full, the oldest telemetry that waits is thinned.
    """

    id: str
    name: str = ""
    water: Literal["river", "treated"] = "river"
    time_zone: str = "UTC"
    data: str = "data"
    centrals: tuple[str, ...] = ("main",)
    history: Seconds = Seconds(28 * 86400)
    outbox: Size = Size(512_000_000)


class LineTable(Table, frozen=True):
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


class ProbeTable(Table, frozen=True):
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


class ClimateTable(Table, frozen=True):
    """The values of a time of the year and the day.

    Both ends of a span count; it may run over the end of the year or the day.

    Attributes:
        months: first and last, 1 to 12.
        hours: first and last hour of the day in UTC, 0 to 23.
        span: lowest and highest value.
    """

    span: Span
    months: tuple[int, int] = (1, 12)
    hours: tuple[int, int] = (0, 23)


class ChannelTable(Table, frozen=True):
    """What differs from the parameter's own defaults for one channel.

    Limits of quality control that are left out are learned from the channel's own history, but for the gross range,
    and but for flow, pressure, level and supply, which people and pumps change.

    Attributes:
        parameter: where the id does not say it.
        unit: where recorded values come in another unit than the parameter's; then its bounds do not apply.
        role: "quality" (the water itself) or "operation" (flow, pressure, upstream_…, plant_…: is never an event).
        resolution: smallest step that the instrument reports, in the channel's unit.
        every: how often a new value comes, where no probe says it.
        fail_span, suspect_span: gross range test.
        alarm_span: hard limits: a value outside raises an alarm of its own, whatever detection says.
        spike, rate: limits of the spike test (unit) and of the rate-of-change test (unit per minute).
        flat_after, flat_fail: flat-line test: suspect, and failed, after this long without any change; "0s" switches
            it off. Nothing fails by default.
        attenuated, attenuated_fail: attenuated-signal test: suspect, and failed, where the values of a window differ
            less than this (unit). Nothing fails by default.
        attenuated_window: how long that window is; "0s" switches the test off.
        attenuated_by: "std" (standard deviation of the window) or "range" (largest less smallest).
        climatology: values by season and hour; of spans that overlap the last counts; an empty list switches it off.
        neighbour: neighbour test: how far this channel and others of the same parameter may differ (unit).
        formula: of a composite: what it is computed from, as "cl2_total - cl2_free"; see `ewarn.config.formula`.
    """

    parameter: str | None = None
    unit: str | None = None
    role: Literal["quality", "operation"] | None = None
    resolution: float | None = None
    every: Seconds | None = None
    fail_span: Span | None = None
    suspect_span: Span | None = None
    alarm_span: Span | None = None
    spike: float | None = None
    rate: float | None = None
    flat_after: Seconds | None = None
    flat_fail: Seconds | None = None
    attenuated: float | None = None
    attenuated_fail: float | None = None
    attenuated_window: Seconds = Seconds(6 * 3600)
    attenuated_by: Literal["std", "range"] = "std"
    climatology: tuple[ClimateTable, ...] | None = None
    neighbour: float | None = None
    formula: str | None = None


class DetectionTable(Table, frozen=True):
    """How detection runs.

    Attributes:
        step: seconds between samples.
        warmup: how much water detection has to have seen before it judges.
        on_steps, of_steps: the contamination alarm is raised when `on_steps` of the last `of_steps` are abnormal.
        off_delay: how long the water has to be normal before the alarm goes.
        hold: how long learning is held back while an event is suspected; as long again has to be normal for a new hold.
        corroboration: nats that a second channel has to show for a contamination, where no detector doubts sensors.
            Of a dozen quiet channels one shows four now and then by chance; a plant with few may ask for less.
        silence: a probe that gives nothing for this long raises its alarm.
        prior: share of all time in which the water is abnormal, as far as known: what probabilities start from.
        false_alarms_a_week: invalid contamination alerts that are bearable; the threshold follows, within bounds.
        accept_after: water that was alarmed, has not come back and was not explained is taken as normal so long after
            the alert.
        patterns_expire: how long a change that an operator called harmless is recognised.
    """

    step: Seconds = Seconds(60)
    warmup: Seconds = Seconds(86400)
    on_steps: int = 2
    of_steps: int = 3
    off_delay: Seconds = Seconds(600)
    hold: Seconds = Seconds(1800)
    corroboration: float = 6.5
    silence: Seconds = Seconds(300)
    prior: float = 0.01
    false_alarms_a_week: float = 0.5
    accept_after: Seconds = Seconds(86400)
    patterns_expire: Seconds = Seconds(90 * 86400)


class StationFile(Table, frozen=True):
    """A station file as a whole."""

    station: StationTable
    broker: BrokerTable | None = None
    lines: dict[str, dict[str, Any]] = {}
    probes: list[dict[str, Any]] = []
    channels: dict[str, dict[str, Any]] = {}
    detection: DetectionTable = DetectionTable()
    detectors: list[dict[str, Any]] = []


class SqliteTable(Table, frozen=True, tag_field="kind", tag="sqlite"):
    """The embedded store: one file, relative to the central file."""

    path: str = "central.sqlite"


class InfluxTable(Table, frozen=True, tag_field="kind", tag="influx"):
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


class CentralTable(Table, frozen=True):
    """Who the collector is.

    Attributes:
        name: as stations list it under `centrals`.
        collector: which of several collectors of this central it is, its name where there is one only.
        data: folder for what it keeps itself; relative to the central file.
        stations: station ids that it collects; "+" means every one.
    """

    name: str = "main"
    collector: str = ""
    data: str = "central"
    stations: tuple[str, ...] = ("+",)


class CentralFile(Table, frozen=True):
    """A central file as a whole."""

    central: CentralTable
    broker: BrokerTable
    store: SqliteTable | InfluxTable = SqliteTable()
