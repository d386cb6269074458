"""The main job on embedded defaults: simulated probes, a broker, a station and a central on this machine.

The station knows a week of simulated history. After a stretch of normal water a contamination starts. Everything
between the probes' bytes and the database is what runs in the field; only time runs faster.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from ewarn.central.collector import Collector
from ewarn.central.stores import open_store
from ewarn.config import Central, Station, central_from, station_from
from ewarn.contracts import Millis, Point, Reading
from ewarn.core.detection import CONTAMINATION
from ewarn.edge.daemon import FILE, Edge
from ewarn.edge.journal import Journal
from ewarn.lab.broker import EmbeddedBroker
from ewarn.registry import load_detectors, make_drivers
from ewarn.times import ScaledClock, SystemClock
from simulators.scenario import Scenario
from simulators.simulation import Simulation
from simulators.truth import Truth

STATION = "mx-nld-intake1"
NAME = "Nuevo Laredo, intake 1"
ZONE = "America/Matamoros"
DAY_MS: Millis = 86_400_000
_AFTERWARDS_MS: Millis = 5 * 60_000
_READ_MS = 100
"""Real milliseconds that a read may take on an idle machine; the simulated clock runs on meanwhile."""
_STALLS = 3
"""How often a busy machine may stall one read: the probe, the request, the reply."""
_PULSE_S = 0.01
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

    def summary(self) -> str:
        """A few lines for people."""
        counted = (
            f"{self.readings_accepted} readings accepted, {self.points_stored} stored, {self.lost} lost, "
            f"{self.duplicates} doubled, {self.wrong_values} wrong; {self.wall_s:.0f} s"
        )
        delay = "" if self.alert_delay_s is None else f", {self.alert_delay_s:.0f} s after the onset"
        told = f"alert {'raised' if self.alert_raised else 'not raised'}{delay}"
        texts = (text.replace(" | ", "\n") for text in (self.alert_en, self.alert_es))
        return "\n\n".join(filter(None, (f"{counted}\n{told}", *texts)))

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

    options: DemoOptions
    clock: ScaledClock
    onset: Millis
    edge: Edge
    collector: Collector
    stall_ms: float = 0.0
    """The longest time for which this process did not get on: probes and station share it."""

    @property
    def read_ms(self) -> float:
        """Real milliseconds that a read may have taken."""
        return _READ_MS + _STALLS * self.stall_ms


View = Callable[[Demo], Coroutine[Any, Any, None]]


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


async def run_demo(options: DemoOptions, view: View | None = None) -> DemoResult:
    """Run it in a folder that is removed afterwards.

    Args:
        options: what is to happen.
        view: runs beside it until cancelled.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ewarn-demo-") as name:
        result = await _run_in(options, Path(name), view)
    result.wall_s = round(time.monotonic() - began, 1)
    return result


async def _run_in(options: DemoOptions, folder: Path, view: View | None) -> DemoResult:
    start = SystemClock().now() // 60_000 * 60_000
    scenario = Scenario.from_dict(scenario_of(options), folder / "scenario.toml").with_start(start)
    truth = Truth(scenario)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(EmbeddedBroker(folder))
        clock = ScaledClock(start, speed=options.speed)
        simulation = await stack.enter_async_context(Simulation(scenario, clock))
        station = station_from(station_document(options, simulation.endpoints, broker.port), folder / "station.toml")
        await asyncio.to_thread(_fill_history, station, truth, start)
        central = central_from(central_document(broker.port), folder / "central.toml")
        onset = start + round(options.normal_min * 60_000)
        edge = Edge(station, clock, make_drivers(station, clock), lambda: load_detectors(station))
        demo = Demo(options, clock, onset, edge, Collector(central, open_store(central.store), clock))
        await _perform(demo, view)
        return await asyncio.to_thread(judge, demo, station, central, truth)


def _fill_history(station: Station, truth: Truth, end: Millis) -> None:
    with Journal.open(station.data / FILE, boot="past", now=end) as journal:
        journal.import_history(past(station, truth, end))


async def _perform(demo: Demo, view: View | None) -> None:
    """Station and central, until the story is told; then the station first, so that all it has arrives."""
    edge_stop, central_stop = asyncio.Event(), asyncio.Event()
    collecting = asyncio.create_task(demo.collector.run(central_stop))
    running = asyncio.create_task(demo.edge.run(edge_stop))
    telling = asyncio.create_task(_tell(demo))
    timing = asyncio.create_task(_time_stalls(demo))
    watching = asyncio.create_task(view(demo)) if view else None
    tasks = [task for task in (watching, timing, telling, running, collecting) if task is not None]
    try:
        await asyncio.wait({collecting, running, telling}, return_when=asyncio.FIRST_COMPLETED)
        edge_stop.set()
        await running
        central_stop.set()
        await collecting
        await telling
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _time_stalls(demo: Demo) -> NoReturn:
    while True:
        before = time.monotonic()
        await asyncio.sleep(_PULSE_S)
        demo.stall_ms = max(demo.stall_ms, 1000 * (time.monotonic() - before - _PULSE_S))


async def _tell(demo: Demo) -> None:
    """Return when the event has been seen for a while, or its time is over."""
    end = demo.onset + round(demo.options.event_min * 60_000)
    seen: Millis | None = None
    while demo.clock.now() < end:
        if seen is None and CONTAMINATION in demo.edge.alerts:
            seen = demo.clock.now()
        if seen is not None and demo.clock.now() - seen > _AFTERWARDS_MS:
            return
        await asyncio.sleep(0.05)


def judge(demo: Demo, station: Station, central: Central, truth: Truth) -> DemoResult:
    """Compare what the station accepted with what the database has, and both with the simulator's truth."""
    assert demo.edge.journal is not None
    accepted = {(channel, time): value for channel, time, value in demo.edge.journal.accepted()}
    store = open_store(central.store)
    store.open()
    span = demo.onset - DAY_MS, demo.onset + DAY_MS
    stored = {(p.tags["channel"], p.time): p.fields.get("value") for p in store.read("wq", {"station": STATION}, *span)}
    alarms = store.read("alarm", {"station": STATION}, *span)
    store.close()
    ids = [str(p.fields["id"]) for p in alarms]
    result = DemoResult(
        readings_accepted=len(accepted),
        points_stored=len(stored),
        lost=len(accepted.keys() - stored.keys()),
        duplicates=len(stored.keys() - accepted.keys()) + len(ids) - len(set(ids)),
        wrong_values=sum(value != stored.get(key, value) for key, value in accepted.items())
        + len(wrong_values(station, truth, accepted, demo.options.speed, demo.read_ms)),
        alert_raised=CONTAMINATION in demo.edge.alerts,
    )
    _tell_alert(result, [p for p in alarms if p.tags["alarm"] == CONTAMINATION], demo.onset)
    result.other_alarms = tuple(sorted({p.tags["alarm"] for p in alarms} - {CONTAMINATION}))
    return result


def _tell_alert(result: DemoResult, points: list[Point], onset: Millis) -> None:
    if points:
        first = min(points, key=lambda p: p.time)
        result.alert_stored = True
        result.alert_delay_s = (first.time - onset) / 1000
        result.alert_en, result.alert_es = str(first.fields["text_en"]), str(first.fields["text_es"])


def wrong_values(
    station: Station,
    truth: Truth,
    accepted: Mapping[tuple[str, Millis], float | None],
    speed: float,
    read_ms: float = _READ_MS,
) -> list[tuple[str, Millis, float]]:
    """Accepted values that the probe should not have shown while it was read.

    Args:
        station: whose channels these are.
        truth: what the probes showed.
        accepted: values by channel and time.
        speed: simulated milliseconds in a real one.
        read_ms: real milliseconds that a read may have taken.
    """
    names = {channel: (probe.id, name) for probe in station.probes for channel, name in probe.channels.items()}
    tolerance = round(1000 + speed * read_ms)
    return [
        (channel, moment, value)
        for (channel, moment), value in accepted.items()
        if value is not None and not truth.matches(*names[channel], moment, value, tolerance)
    ]
