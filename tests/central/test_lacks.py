"""A central that was wiped or restored asks for what it lacks, and has everything afterwards: real parts all along."""

import asyncio
import contextlib
import shutil
import uuid

import pytest
from centre import CLOCK, ME, Station, central, collecting, obs_row, stored, until

from ewarn import mqtt, wire
from ewarn.central import lacks as lacks_module
from ewarn.central import writer as writer_module
from ewarn.central.lacks import DAY, Lacks
from ewarn.config import station_from
from ewarn.contracts import AlarmState, Alert, Point, Priority, Quality, Readiness, Reading, Verdict
from ewarn.core.pipeline import Step
from ewarn.edge import uplink as uplink_module
from ewarn.edge.journal import Journal
from ewarn.edge.uplink import Uplink
from ewarn.errors import StoreUnavailable
from ewarn.mqtt import Link
from ewarn.times import to_text

MINUTE = 60_000


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(mqtt, "MAX_BACKOFF", 0.5)
    monkeypatch.setattr(writer_module, "GATHER", 0.05)
    monkeypatch.setattr(uplink_module, "BACKFILL_PAUSE", 0.05)
    monkeypatch.setattr(lacks_module, "_AGAIN", 0.05)


class Edge:
    """A journal and its uplink, and the part of a daemon that says how they are."""

    def __init__(self, broker, path):
        document = {"station": {"id": ME}, "channels": {"ph": {}, "orp": {}},
                    "broker": {"host": "127.0.0.1", "port": broker.port, "insecure": True}}  # fmt: skip
        self.station = station_from(document, path)
        self.journal = Journal.open(path, boot=uuid.uuid4().hex[:8], now=0)
        self.uplink = Uplink(self.station, self.journal, Link(self.station.broker, ME), CLOCK)
        self.alerts = 0

    def commit(self, begin, minutes):
        step = Step()
        for time in range(begin, begin + minutes * MINUTE, MINUTE):
            step.readings += [Reading(c, time, 7.0 + time % 13, Quality.PASS) for c in ("ph", "orp")]
            step.verdicts.append(Verdict(time, 0.25, Readiness.READY))
        self.alerts += 1
        step.alerts.append(Alert(ME, "contamination", 1, self.alerts, begin, begin, AlarmState.UNACKNOWLEDGED,
                                 AlarmState.NORMAL, Priority.HIGH))  # fmt: skip
        self.journal.commit(begin, step.readings, step)
        self.uplink.wake()

    async def _report(self):
        while True:
            counts = self.journal.counts()
            stored = {central: to_text(time) for central, time in counts.stored.items()}
            self.uplink.publish_health({"stored": stored})
            await asyncio.sleep(0.2)

    def done(self):
        counts = self.journal.counts()
        return counts.outbox_rows == 0 and not counts.asking

    @contextlib.asynccontextmanager
    async def running(self):
        tasks = [asyncio.create_task(self.uplink.run()), asyncio.create_task(self._report())]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.journal.close()

    def accepted(self):
        return {(channel, time): value for channel, time, value in self.journal.accepted()}


def points(settings):
    readings = {(p.tags["channel"], p.time): p.fields.get("value") for p in stored(settings, station=ME)}
    return readings, {p.time for p in stored(settings, "verdict")}, {p.fields["id"] for p in stored(settings, "alarm")}


async def fill(edge, begin, minutes, parts=4):
    for part in range(parts):
        edge.commit(begin + part * minutes * MINUTE, minutes)
    await until(edge.done, 30)
    marks = edge.journal.counts().stored
    await until(lambda: edge.uplink._documents["health"]["stored"] == {"main": to_text(marks["main"])})
    await until(lambda: not edge.uplink._unsaid)


async def lose_and_regain(broker, tmp_path, settings, lose):
    """Fill a database, lose it while no collector runs, and see that it has everything again."""
    begin = CLOCK.now() - 20 * DAY
    async with Edge(broker, tmp_path / "s.sqlite").running() as edge:
        async with collecting(settings):
            await fill(edge, begin, 500)
        before = points(settings)
        lose()
        async with collecting(settings):
            edge.commit(CLOCK.now(), 1)
            await until(lambda: edge.journal.counts().asking, 30)
            await until(edge.done, 30)
        accepted = edge.accepted()
    readings, verdicts, alerts = points(settings)
    assert readings == accepted
    assert len(accepted) == 2 * 2001
    assert before[0].items() < readings.items()
    assert verdicts == {time for _, time in accepted}
    assert alerts == {f"{ME}/contamination/1/{n}" for n in range(1, 6)}


@pytest.mark.broker
async def test_a_central_whose_folder_was_deleted_has_everything_again(broker, tmp_path):
    settings = central(broker, tmp_path)
    await lose_and_regain(broker, tmp_path, settings, lambda: shutil.rmtree(settings.data))


@pytest.mark.broker
@pytest.mark.influx
async def test_an_influxdb_that_was_dropped_has_everything_again(broker, tmp_path, influxd):
    bucket = uuid.uuid4().hex
    influxd.create(bucket)
    store = {"kind": "influx", "url": influxd.url, "bucket": bucket, "api": "v1"}
    settings = central(broker, tmp_path, store=store)

    def drop():
        influxd.drop(bucket)
        influxd.create(bucket)

    await lose_and_regain(broker, tmp_path, settings, drop)


@pytest.mark.broker
async def test_a_central_restored_from_a_backup_asks_for_what_came_after_it(broker, tmp_path):
    settings = central(broker, tmp_path)
    begin = CLOCK.now() - 20 * DAY
    async with Edge(broker, tmp_path / "s.sqlite").running() as edge:
        async with collecting(settings):
            await fill(edge, begin, 500, parts=1)
            await fill(edge, begin + 3 * DAY, 100, parts=1)
        shutil.copytree(settings.data, tmp_path / "backup")
        async with collecting(settings):
            await fill(edge, begin + 5 * DAY, 500, parts=3)
        shutil.rmtree(settings.data)
        shutil.move(tmp_path / "backup", settings.data)
        async with collecting(settings) as collector:
            edge.commit(CLOCK.now(), 1)
            await until(lambda: edge.journal.counts().asking, 30)
            await until(edge.done, 30)
            again = 100 + 3 * 500 + 1
            assert 3 * again <= collector.counters.points < 3 * (again + 100)  # and nothing of the first days
        accepted = edge.accepted()
    readings, _, alerts = points(settings)
    assert readings == accepted
    assert len(alerts) == 6


@pytest.mark.broker
async def test_a_central_killed_while_it_is_given_everything_again_has_it_in_the_end(broker, tmp_path, monkeypatch):
    monkeypatch.setattr(uplink_module, "BACKFILL_ROWS", 100)
    settings = central(broker, tmp_path)
    async with Edge(broker, tmp_path / "s.sqlite").running() as edge:
        async with collecting(settings):
            await fill(edge, CLOCK.now() - 20 * DAY, 500)
        shutil.rmtree(settings.data)
        for _ in range(3):
            async with collecting(settings) as collector:
                await until(lambda c=collector: c.counters.rows > 200, 30)
        async with collecting(settings):
            await until(edge.done, 30)
        accepted = edge.accepted()
    assert points(settings)[0] == accepted


@pytest.mark.broker
async def test_a_central_that_has_everything_asks_for_nothing(broker, tmp_path):
    settings, heard = central(broker, tmp_path), []
    watcher = Link(broker.settings(), "watcher", subscriptions=["ewarn/v1/+/ask/+"], on_message=heard.append)
    watching = asyncio.create_task(watcher.run())
    async with Edge(broker, tmp_path / "s.sqlite").running() as edge:
        for _ in range(2):
            async with collecting(settings) as collector:
                await fill(edge, CLOCK.now() - DAY, 20)
                await until(lambda c=collector: not c._lacks._unchecked)
    assert heard == []
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.broker
async def test_health_that_says_nonsense_of_what_is_stored_costs_nothing(broker, tmp_path):
    settings = central(broker, tmp_path)
    async with Station(broker) as station, collecting(settings) as collector:
        for wrong in (3, [], {"main": 3}, {"main": "yesterday"}, {"other": to_text(5)}):
            await station.say("health", {"stored": wrong})
        await station.send([obs_row(1)])
        await until(lambda: station.has([1]))
        assert collector._lacks._marks == {}
        assert collector.counters.parked == 0


# Since when


class Database:
    """Says what a test gave it; away at first, as often as it is told."""

    def __init__(self, *times, away=0):
        self.times, self.away, self.asked = times, away, []

    async def read(self, measurement, tags, start, end):
        assert (measurement, tags) == ("wq", {"station": "a"})
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        return [Point("wq", dict(tags), {"qc": 1}, t) for t in sorted(self.times) if start <= t < end]

    async def publish(self, topic, payload, *, retain=False):
        assert (topic, retain) == ("ewarn/v1/a/ask/main", True)
        self.asked.append(wire.ask_of(payload)[1])


async def looked(database, mark, *later):
    lacks = Lacks("main", database.read, database.publish, CLOCK)
    for time in (mark, *later):
        lacks.hear("a", {"stored": {"main": to_text(time)}})
    task = asyncio.create_task(lacks.run())
    await until(lambda: not lacks._unchecked)
    task.cancel()
    return database.asked


NOW = 1_780_000_000_000


@pytest.mark.parametrize(("times", "since"), [
    ([], [0]), ([NOW], []), ([NOW - 1], [NOW - 1 - DAY]), ([NOW - 9 * DAY, NOW - 30 * DAY], [NOW - 10 * DAY]),
    ([NOW - 70 * DAY], [0]), ([NOW + 1], [0]),
])  # fmt: skip
async def test_what_is_asked_for_begins_a_day_before_the_newest_that_is_there(times, since):
    assert await looked(Database(*times), NOW) == since


async def test_while_the_database_is_away_the_first_mark_is_remembered():
    assert await looked(Database(NOW + 500, away=3), NOW, NOW + 500) == [0]
