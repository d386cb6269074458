"""The main job on embedded defaults: simulated probes, a broker, a station and a central on this machine.

The station knows a week of simulated history. After a stretch of normal water a contamination starts. Everything
between the probes' bytes and the database is what runs in the field; only time runs faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from simulators.truth import Truth

from ewarn.central.collector import Collector
from ewarn.config import Station
from ewarn.contracts import Millis, Reading, Store
from ewarn.edge.daemon import Edge
from ewarn.times import ScaledClock

STATION = "mx-nld-intake1"
NAME = "Nuevo Laredo, intake 1"
ZONE = "America/Matamoros"
DAY_MS: Millis = 86_400_000
PROBES: dict[str, tuple[str, str, str, dict[str, str]]] = {
    # id: profile, transport, driver, channel id -> value of the device
    "sonde": ("ysi_exo_modbus", "tcp", "modbus", {c: c for c in ("water_temp", "ph", "spcond", "do", "turbidity")}),
    "aquatroll": (
        "insitu_aquatroll_500_600", "rtu", "modbus",
        {"ph_2": "ph", "orp": "orp", "nitrate_n": "nitrate_n", "water_temp_2": "water_temp"},
    ),
    "cabinet": (
        "ascii_uv254_chlorine", "ascii", "ascii_line", {c: c for c in ("uv254", "cl2_free", "ammonium_n")},
    ),
}  # fmt: skip
SENSOR_FAULTS: tuple[dict[str, Any], ...] = (
    {"probe": "sonde", "channel": "spcond", "kind": "offset", "size": 120.0},
    {"probe": "sonde", "channel": "turbidity", "kind": "spike", "size": 400.0},
    {"probe": "aquatroll", "channel": "orp", "kind": "drift", "size": -150.0},
    {"probe": "sonde", "channel": "do", "kind": "stuck", "size": 0.0},
    {"probe": "cabinet", "channel": "uv254", "kind": "noise", "size": 0.1},
)
"""What `--sensor-fault` breaks, by seed modulo their number."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demonstration is asked for.

    Attributes:
        seed: of everything random.
        contamination: whether there is one.
        sensor_fault: whether one sensor fails instead.
        speed: simulated seconds in one real second.
        every: seconds between reads of a probe.
        normal_min, event_min: simulated minutes before the onset and after it.
    """

    seed: int = 1
    contamination: bool = True
    sensor_fault: bool = False
    speed: float = 150.0
    every: float = 30.0
    normal_min: float = 40.0
    event_min: float = 30.0


@dataclass(slots=True)
class DemoResult:
    """What came of it; `--json` prints exactly this."""

    readings_accepted: int = 0
    points_stored: int = 0
    lost: int = 0
    duplicates: int = 0
    wrong_values: int = 0
    alert_raised: bool = False
    alert_stored: bool = False
    alert_delay_s: float | None = None
    alert_en: str = ""
    alert_es: str = ""
    wall_s: float = 0.0
    other_alarms: tuple[str, ...] = ()

    def good(self, *, contamination: bool) -> bool:
        """Whether everything is as it must be."""
        whole = self.lost == 0 and self.duplicates == 0 and self.wrong_values == 0 and self.readings_accepted > 0
        return whole and self.alert_raised is contamination and self.alert_stored is contamination

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(slots=True)
class Demo:
    """A running demonstration, for a view to look at."""

    clock: ScaledClock
    onset: Millis | None
    edge: Edge
    collector: Collector
    store: Store
    ends: Millis


def scenario_of(options: DemoOptions) -> dict[str, Any]:
    """The scenario as plain data, as a scenario file would have it."""
    after, duration = f"{options.normal_min}m", f"{options.event_min * 4}m"
    document: dict[str, Any] = {
        "scenario": {"seed": options.seed, "water": "river"},
        "probes": [
            {"id": name, "profile": profile, "transport": transport, "channels": sorted(set(channels.values()))}
            for name, (profile, transport, _, channels) in PROBES.items()
        ],
    }
    if options.contamination:
        document["contaminations"] = [{"kind": "fertiliser", "after": after, "duration": duration, "strength": 1.0}]
    if options.sensor_fault:
        fault = SENSOR_FAULTS[options.seed % len(SENSOR_FAULTS)]
        document["sensor_faults"] = [{**fault, "after": after, "duration": duration}]
    return document


def station_document(options: DemoOptions, endpoints: dict[str, dict[str, Any]], port: int) -> dict[str, Any]:
    """The station that reads the simulated probes, as a station file would have it."""
    lines, probes = {}, []
    for name, (profile, _, driver, channels) in PROBES.items():
        end = endpoints[name]
        lines[name] = {"kind": "tcp" if "host" in end else "serial", **end}
        probes.append(
            {
                "id": name,
                "driver": driver,
                "line": name,
                "profile": profile,
                "channels": channels,
                "every": f"{options.every}s",
            }
        )
    return {
        "station": {"id": STATION, "name": NAME, "time_zone": ZONE, "water": "river", "data": "station"},
        "broker": {"host": "127.0.0.1", "port": port, "insecure": True},
        "lines": lines,
        "probes": probes,
    }


def central_document(port: int) -> dict[str, Any]:
    """The central that collects from it, as a central file would have it."""
    return {"central": {"name": "main"}, "broker": {"host": "127.0.0.1", "port": port, "insecure": True}}


def past(station: Station, truth: Truth, end: Millis, days: float = 7.0) -> Iterator[Reading]:
    """What the station would have read before `end`, one value a step and channel, in order of time."""
    step = round(station.detection.step * 1000)
    columns = {
        channel: truth.history(probe.id, name, end - round(days * DAY_MS), end, step)
        for probe in station.probes
        for channel, name in probe.channels.items()
    }
    times = next(iter(columns.values()))[0]
    for i, moment in enumerate(times):
        for channel, (_, values) in columns.items():
            if math.isfinite(values[i]):
                yield Reading(channel, int(moment), float(values[i]))
