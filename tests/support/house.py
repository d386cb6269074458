"""A station with a real driver, a real file and a probe that tests hold in their hands."""

import asyncio
import contextlib

from gateway import PROFILE, Gateway
from servers import free_port
from steps import T0

from ewarn.config import station_from
from ewarn.contracts import Reading
from ewarn.edge.daemon import FILE, Edge
from ewarn.edge.journal import Journal
from ewarn.registry import make_drivers
from ewarn.times import ScaledClock

SPEED = 300.0
STEP_MS = 30_000


class Level:
    """A detector that anybody can follow: salty water is abnormal."""

    threshold = 1.0

    def __init__(self):
        self.learned = []

    def learn_one(self, x):
        self.learned.append(x)

    def score_one(self, x):
        return 10.0 if x.get("spcond", 0) > 1500 else 0.0

    def explain_one(self, x):
        return dict.fromkeys(x, (self.score_one(x), 900.0))


class Raising:
    def learn_one(self, x):
        raise ValueError("no")

    def score_one(self, x):
        raise ValueError("no")


def document(folder, broker_port, port):
    (folder / "fake.toml").write_text(PROFILE)
    return {
        "station": {"id": "mx-1", "data": "data"},
        "broker": {"host": "127.0.0.1", "port": broker_port, "insecure": True},
        "lines": {"gateway": {"kind": "tcp", "host": "127.0.0.1", "port": port}},
        "probes": [
            {"id": "sonde", "driver": "modbus", "line": "gateway", "profile": "fake.toml", "unit": 1, "every": "30s",
             "timeout": "0.2s", "channels": ["spcond", "orp"]},
        ],
        "detection": {"step": "30s", "warmup": "1m", "on_steps": 1, "of_steps": 1, "off_delay": "1m"},
    }  # fmt: skip


class House:
    """What outlives the runs of a station: its folder, its probes, time."""

    def __init__(self, folder, broker_port=1):
        self.folder, self.port = folder, free_port()
        self.clock = ScaledClock(T0, speed=SPEED)
        self.station = station_from(document(folder, broker_port, self.port), folder / "station.toml")
        self.file = self.station.data / FILE
        self.gateway = Gateway(self.port)
        self.detectors = []

    def make(self, *kinds):
        self.detectors.append([kind() for kind in kinds or (Level,)])
        return {type(d).__name__: d for d in self.detectors[-1]}

    @contextlib.asynccontextmanager
    async def run(self, *kinds):
        """A run of the daemon; ends it as a signal would."""
        edge = Edge(self.station, self.clock, make_drivers(self.station, self.clock), lambda: self.make(*kinds))
        stop = asyncio.Event()
        task = asyncio.create_task(edge.run(stop))
        try:
            await until(lambda: edge.recorder is not None or task.done())
            yield edge
            assert not task.done(), task
        finally:
            stop.set()
            await asyncio.wait_for(task, 15)

    def give_past(self, steps, value=900.0):
        begin = self.clock.now() - (steps + 1) * STEP_MS
        past = [Reading(c, begin + i * STEP_MS, v) for i in range(steps) for c, v in (("spcond", value), ("orp", 300.0))]
        with Journal.open(self.file, boot="past", now=begin) as journal:
            journal.import_history(past)

    def look(self):
        return Journal.open(self.file, boot="look", now=T0)

    def alerts(self):
        """Every transition that is in the outbox: occurrence, number, state."""
        with self.look() as journal:
            rows = [row.body for row in journal.outbox_batch(["event"], 1000, 10**9)]
        return [(r["occurrence"], r["number"], r["state"]) for r in rows if r["alarm"] == "contamination"]


async def until(condition, limit=20.0):
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.005)


def accepted(edge):
    return edge.journal.counts().accepted


def state(edge):
    return edge._pipeline.alarms["contamination"].state
