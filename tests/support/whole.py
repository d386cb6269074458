"""The whole system with real parts, each of which may be killed alone, and the exact oracle over it.

Simulated probes, mosquitto, the station and a collector as processes, a database. What the station accepted has to be
what the database has, no value may differ from what the probe showed, and every transition of an alarm has to be there
once. A limit in the middle of a channel's noise makes alarms come and go all the time.
"""

import contextlib
import shutil
import statistics
import time
from collections import defaultdict

import msgspec
import tomli_w
from command import Command
from matrix import Outcome
from mosquitto import Mosquitto
from paho.mqtt import subscribe
from probes import SAMPLE_MS, SimulatedProbes, scenario_document

from ewarn import wire
from ewarn.central.silence import SILENT
from ewarn.central.stores import open_store
from ewarn.config import central_from, station_from
from ewarn.edge.daemon import FILE
from ewarn.edge.journal import Journal
from ewarn.edge.journal_file import read_only
from ewarn.lab.demo import DAY_MS, STATION, DemoOptions, central_document, station_document
from ewarn.times import ScaledClock, SystemClock, to_text

PATIENCE_S = 90.0
"""Seconds that a condition is waited for: three times what is promised, for a busy machine."""
RESTLESS = "orp"
"""The channel whose limit lies in its noise."""


def until(condition, what, seconds=PATIENCE_S):
    """Wait until the condition holds; gives what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} within {seconds} s"
        time.sleep(0.1)
    return found


class Whole:
    """One system.

    Args:
        folder: for everything.
        every: seconds between two reads of a probe.
        change: called with the station's document and this system, before it is written.
        scenario: called with the scenario's document and the folder, before it is served.
        store: the central's store table.
        broker: further lines of mosquitto's configuration.
        environment: further variables of the station's process.
        speed: of the clock.
        tolerance: ms by which the instant of a value may be off: half a read, and what a busy machine adds.
    """

    def __init__(
        self, folder, *, every=1.0, change=None, scenario=None, store=None, broker="", tolerance=1500, environment=None,
        speed=1.0,
    ):  # fmt: skip
        self.folder, self.tolerance, self.every = folder, tolerance + SAMPLE_MS, every
        self.begin = SystemClock().now() // 1000 * 1000
        self.clock = ScaledClock(self.begin, speed=speed)
        self.broker = Mosquitto(folder, broker)
        document = scenario_document(folder, to_text(self.begin))
        if scenario:
            scenario(document, folder)
        self.probes = SimulatedProbes(document, folder / "scenario.toml", self.clock)
        self._change, self._environment = change, environment
        self.station = self.edge = self.collector = None
        self.edge_port = self.broker.port
        central = central_document(self.broker.port) | ({"store": store} if store else {})
        self.central_file = folder / "central.toml"
        self.central_file.write_text(tomli_w.dumps(central))
        self.central = central_from(central, self.central_file)
        self._store = None

    # Its parts

    def start(self, *, flowing=True):
        """All parts; returns when data flow."""
        self.broker.start()
        self.probes.start()
        self.write_station()
        self.start_collector()
        self.start_edge()
        if flowing:
            self.recovered()
        return self

    def write_station(self):
        document = station_document(DemoOptions(every=self.every), self.probes.endpoints, self.edge_port)
        _, past = self.probes.truth.history("aquatroll", RESTLESS, self.begin - 60_000, self.begin, 1000)
        middle = statistics.median(past)
        document["channels"] = {RESTLESS: {"alarm_span": [middle - 500, middle]}}
        document["detection"] = {
            "step": "1s", "warmup": "1h", "on_steps": 1, "of_steps": 1, "off_delay": "1s", "silence": "6s"
        }  # fmt: skip
        if self._change:
            self._change(document, self)
        self.station_file = self.folder / "station.toml"
        self.station_file.write_text(tomli_w.dumps(document))
        self.document = document
        self.station = station_from(document, self.station_file)
        self.file = self.station.data / FILE

    def start_edge(self):
        clock = self.clock_option()
        self.edge = Command(self.folder, "run", self.station_file, *clock, environment=self._environment)

    def start_collector(self):
        self.collector = Command(self.folder, "collect", self.central_file, "--clock", self.clock)

    def clock_option(self):
        return ("--clock", self.clock)

    def close(self):
        for part in (self.edge, self.collector):
            if part is not None:
                part.kill()
        self.forget_store()
        self.broker.kill()
        self.probes.stop()

    def forget_store(self):
        """Let go of the database."""
        if self._store is not None:
            self._store.close()
            self._store = None

    # What is where

    def read(self, measurement, since=0, **tags):
        """Points of the database that is there now."""
        if self._store is None:
            self._store = open_store(self.central.store)
        return self._store.read(measurement, {"station": STATION, **tags}, since, self.begin + 100 * DAY_MS)

    def look_at_copy(self):
        """What a file holds that nobody has open: channel and time of what was accepted, ids of transitions."""
        whole, copy = self.file, self.folder / "copy" / self.file.name
        shutil.rmtree(copy.parent, ignore_errors=True)
        shutil.copytree(whole.parent, copy.parent)
        self.file = copy
        try:
            return set(self.accepted()) | set(self.raised())
        finally:
            self.file = whole

    def health(self):
        """The station's health as the broker keeps it."""
        topic = wire.topic(STATION, "health")
        return wire.unpack(subscribe.simple(topic, hostname="127.0.0.1", port=self.broker.port).payload)

    def accepted(self):
        """Value by channel and time, of everything that the station accepted."""
        with Journal.open(self.file, boot="look", now=self.begin) as journal:
            return {(channel, moment): value for channel, moment, value in journal.accepted()}

    def stored(self):
        return {(p.tags["channel"], p.time): p.fields.get("value") for p in self.read("wq")}

    def raised(self):
        """Ids of all transitions that the station wrote down."""
        return [msgspec.json.decode(body)["id"] for (body,) in self.ask("SELECT body FROM outbox WHERE kind = 'event'")]

    def told(self):
        """Ids of all transitions of the station in the database; what central says itself is not among them."""
        return [p.fields["id"] for p in self.read("alarm") if p.tags["alarm"] != SILENT]

    def waiting(self):
        """Rows that wait at the station."""
        return sum(n for (n,) in self.ask("SELECT COUNT(*) FROM outbox WHERE owed > 0"))

    def count_accepted(self):
        return sum(n for (n,) in self.ask("SELECT value FROM counters WHERE name = 'accepted'"))

    def ask(self, query):
        """Of the station's file; nothing while there is none."""
        if not self.file.exists():
            return []
        with contextlib.closing(read_only(self.file)) as db:
            begun = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'tally'").fetchone()
            return db.execute(query).fetchall() if begun else []

    # The oracle

    def recovered(self, channels=None):
        """Wait until a value of each channel that was read from now on is stored. Returns seconds."""
        began, since = time.monotonic(), self.clock.now()
        wanted = set(channels or self.station.channels)
        until(lambda: wanted <= self._flowing(since), f"every channel of {sorted(wanted)} flows")
        return round(time.monotonic() - began, 1)

    def _flowing(self, since):
        return {p.tags["channel"] for p in self.read("wq", since) if p.fields.get("value") is not None}

    def hand_on(self):
        """End the station as a person would; if not all of it went out in time, give it another run."""
        for _ in range(4):
            if self.edge.running:
                self.edge.stop()
            with contextlib.suppress(AssertionError):
                until(lambda: not self.waiting(), "everything is confirmed", 5)
                return
            self.start_edge()
            until(lambda: self.waiting() < 30, "the backlog is gone")

    def judge(self, row, fault, *, tries=1, recovery=None, before=(), dropped=(), clock_is_right=True):
        """Compare station, database and truth.

        Args:
            row, fault: for the table.
            tries: how often it struck.
            recovery: seconds.
            before: what `look_at_copy` gave of files that are not there any more; its transitions may come again.
            dropped: what gap rows tell of.
            clock_is_right: whether the station's times can be compared with the truth.

        Returns:
            The outcome, and in words what is not as it must be.
        """
        self.hand_on()
        accepted, stored, raised, told = self.accepted(), self.stored(), self.raised(), self.told()
        names = {c: (probe.id, name) for probe in self.station.probes for c, name in probe.channels.items()}
        wrong = [
            (channel, moment, value) for (channel, moment), value in {**stored, **accepted}.items()
            if clock_is_right and value is not None and not self.probes.truth.matches(*names[channel], moment, value, self.tolerance)
        ]  # fmt: skip
        changed = [key for key in accepted.keys() & stored.keys() if accepted[key] != stored[key]]
        lost = [*(accepted.keys() - stored.keys() - set(dropped)), *(set(raised) - set(told)), *_gaps([*raised, *filter(_is_id, before)])]
        unknown = [*(stored.keys() - accepted.keys() - set(before)), *(set(told) - set(raised) - set(before))]
        twice = [id_ for id_ in _twice(told) if id_ not in before]
        doubled = [*twice, *unknown]
        outcome = Outcome(
            row, fault, tries, readings=len({*accepted, *stored}), alerts=len({*raised, *told}), lost=len(lost),
            wrong=len(wrong) + len(changed), doubled=len(doubled), recovery=recovery,
        )  # fmt: skip
        return outcome, {"lost": lost[:5], "wrong": wrong[:5], "changed": changed[:5], "twice": twice[:5], "unknown": unknown[:5]}


def _is_id(thing):
    return isinstance(thing, str)


def _gaps(ids):
    """Transitions that must have been before those that are there."""
    numbers = defaultdict(set)
    for id_ in ids:
        alarm, _, number = id_.rpartition("/")
        numbers[alarm].add(int(number))
    return [f"{alarm}/{n}" for alarm, found in numbers.items() for n in set(range(1, max(found))) - found]


def _twice(ids):
    return sorted({i for i in ids if ids.count(i) > 1})
