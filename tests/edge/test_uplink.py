"""From the outbox to the centrals, over a real broker: nothing lost, nothing stuck, alerts first."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mosquitto import Mosquitto

from ewarn import mqtt, wire
from ewarn.config import station_from
from ewarn.contracts import AlarmState, Alert, Priority, Quality, Readiness, Reading, Verdict
from ewarn.core.pipeline import Step
from ewarn.edge import uplink as uplink_module
from ewarn.edge.journal import Journal
from ewarn.edge.uplink import Uplink
from ewarn.mqtt import Link
from ewarn.times import SystemClock

pytestmark = pytest.mark.broker
CLOCK = SystemClock()
ME = "mx-1"


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch):
    monkeypatch.setattr(mqtt, "MAX_BACKOFF", 0.5)


def station(broker, *centrals):
    data = {
        "station": {"id": ME, "name": "Intake", "centrals": list(centrals) or ["main"]},
        "broker": {"host": "127.0.0.1", "port": broker.port, "insecure": True},
        "channels": {"ph": {}, "turbidity_2": {}},
    }
    return station_from(data, Path("station.toml"))


def step(readings=(), verdicts=(), alerts=()):
    return Step(list(readings), list(verdicts), list(alerts))


def alert(number, **more):
    fields = {
        "station": ME, "alarm": "contamination", "occurrence": 1, "number": number, "time": CLOCK.now(),
        "onset": CLOCK.now(), "state": AlarmState.UNACKNOWLEDGED, "previous": AlarmState.NORMAL,
        "priority": Priority.CRITICAL,
    }  # fmt: skip
    return Alert(**fields | more)


@dataclass
class Edge:
    """A journal and its uplink, with what was committed."""

    journal: Journal
    uplink: Uplink
    link: Link
    committed: set = field(default_factory=set)

    def commit(self, *times, value=7.0):
        readings = [Reading("ph", t, value, Quality.PASS) for t in times]
        self.journal.commit(CLOCK.now(), readings, step(readings))
        self.committed |= {(r.channel, r.time, r.value) for r in readings}
        self.uplink.wake()

    def alarm(self, number, **more):
        self.journal.commit(CLOCK.now(), (), step(alerts=[alert(number, **more)]))
        self.uplink.wake()

    @property
    def left(self):
        return self.journal.counts().outbox_rows


@contextlib.asynccontextmanager
async def edge(broker, tmp_path, *centrals, journal=None, **options):
    own = station(broker, *centrals)
    journal = journal or Journal.open(tmp_path / "s.sqlite", boot="b1", now=0, centrals=own.centrals)
    link = Link(own.broker, own.id)
    uplink = Uplink(own, journal, link, CLOCK, **options)
    task = asyncio.create_task(uplink.run())
    try:
        yield Edge(journal, uplink, link)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        journal.close()


class Central:
    """What a collector does, in a dozen lines."""

    def __init__(self, broker, name="main", confirms=True):
        self.name, self.confirms = name, confirms
        self.messages, self.rows, self.documents = [], [], {}
        self._stored = asyncio.Queue()
        filters = [f"$share/{name}/{wire.topic('+', s)}" for s in wire.STREAMS]
        filters += [wire.topic("+", d) for d in (*wire.DOCUMENTS, "alarm/+")]
        self.link = Link(broker.settings(), f"collector-{name}", subscriptions=filters, on_message=self._take)

    def _take(self, message):
        _, leaf, rest = wire.split_topic(message.topic)
        if leaf not in wire.STREAMS:
            self.documents[f"{leaf}/{rest}" if rest else leaf] = wire.unpack(message.payload)
            return
        batch = wire.open_envelope(message.payload)
        self.messages.append((leaf, batch))
        self.rows += [(leaf, row) for row in batch.rows]
        if self.confirms:
            self.confirm(batch.rows)

    def confirm(self, rows):
        for boot in {r["boot"] for r in rows}:
            self._stored.put_nowait(wire.stored_payload(boot, [r["seq"] for r in rows if r["boot"] == boot]))

    async def say(self, payload):
        await self.link.publish(wire.topic(ME, "stored", self.name), payload)

    async def _work(self):
        while True:
            payload = await self._stored.get()
            with contextlib.suppress(mqtt.LinkDown):
                await self.say(payload)

    def readings(self):
        rows = [row for leaf, row in self.rows if leaf == "obs"]
        return {(r.channel, r.time, r.value) for row in rows for r in wire.readings_of(row)}

    def sendings(self, seq):
        return sum(row["seq"] == seq for _, row in self.rows)

    async def __aenter__(self):
        self._tasks = [asyncio.create_task(self.link.run()), asyncio.create_task(self._work())]
        await asyncio.wait_for(self.link.wait_connected(), 10)
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def until(condition, limit=15.0):
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.01)


async def test_rows_leave_when_they_are_stored(broker, tmp_path):
    now = CLOCK.now()
    async with Central(broker) as central, edge(broker, tmp_path, tq=lambda: "ntp") as e:
        e.commit(now, now + 1000)
        verdict = Verdict(now, 0.25, Readiness.READY)
        e.journal.commit(now, (), step(verdicts=[verdict], alerts=[alert(1)]))
        e.uplink.wake()
        await until(lambda: e.left == 0)
        await until(lambda: e.uplink.status.unconfirmed == 0)
    assert central.readings() == e.committed
    assert [wire.verdict_of(row) for leaf, row in central.rows if leaf == "verdict"] == [verdict]
    assert [row["id"] for leaf, row in central.rows if leaf == "event"] == [f"{ME}/contamination/1/1"]
    assert {row["boot"] for _, row in central.rows} == {"b1"}
    assert {(b.station, b.tq) for _, b in central.messages} == {(ME, "ntp")}
    assert e.uplink.status.sent == 4
    assert "main" in e.uplink.status.confirmed


async def test_broker_killed_and_restarted_again_and_again(broker, tmp_path):
    now = CLOCK.now()
    async with Central(broker) as central, edge(broker, tmp_path) as e:
        for i in range(300):
            e.commit(now + i * 1000)
            if i in (50, 150):
                broker.kill()
            if i in (100, 200):
                broker.start()
            await asyncio.sleep(0.01)
        await until(lambda: e.left == 0, 25)
    assert central.readings() == e.committed
    assert len(e.committed) == 300


async def test_both_centrals_have_to_confirm(broker, tmp_path):
    async with Central(broker, "us") as us, edge(broker, tmp_path, "mx", "us") as e:
        e.commit(CLOCK.now())
        await until(lambda: "us" in e.uplink.status.confirmed)
        await asyncio.sleep(0.3)
        assert (e.left, us.sendings(1)) == (1, 1)
        async with Central(broker, "mx") as mx:
            # It was not there when the row was sent; it says so when it comes.
            online = wire.document("_collector", CLOCK.now(), "", {"state": "online"})
            await mx.link.publish("ewarn/v1/_collector/mx/status", online, retain=True)
            await until(lambda: e.left == 0, 5)
        assert mx.readings() == us.readings() == e.committed


async def test_while_nobody_is_subscribed_the_backlog_stays_here(broker, tmp_path):
    now = CLOCK.now()
    async with edge(broker, tmp_path) as e:
        e.commit(*(now + i for i in range(1000)))
        await until(lambda: e.uplink.status.unheard >= 3)
        await asyncio.sleep(1)
        assert e.uplink.status.unheard == 3  # status, meta, and one message of the thousand rows
        assert (e.uplink.status.unconfirmed, e.left) == (0, 1000)
        assert e.uplink.problem == "obs: no central is subscribed"
        async with Central(broker) as central:
            online = wire.document("_collector", CLOCK.now(), "", {"state": "online"})
            await central.link.publish("ewarn/v1/_collector/main/status", online, retain=True)
            await until(lambda: e.left == 0, 5)
        assert central.readings() == e.committed
        assert e.uplink.problem == ""


async def test_unconfirmed_rows_are_sent_again_less_and_less_often(broker, tmp_path):
    async with Central(broker, confirms=False) as central, edge(broker, tmp_path, resend=0.25) as e:
        e.commit(CLOCK.now())
        await asyncio.sleep(2.5)
        assert central.sendings(1) == 4  # at 0, 0.25, 0.75 and 1.75 s
        assert e.uplink.status.repeated == 3
        assert e.left == 1
        central.confirm([row for _, row in central.rows])
        await until(lambda: e.left == 0)


async def test_a_central_that_takes_rows_and_never_confirms_is_sent_a_window_and_alerts_all_the_same(broker, tmp_path):
    now = CLOCK.now()
    async with Central(broker, confirms=False) as central, edge(broker, tmp_path, window=300) as e:
        e.commit(*range(now - 2_000_000, now, 1000))
        await until(lambda: len(central.rows) == 300)
        e.alarm(1)
        await until(lambda: any(leaf == "event" for leaf, _ in central.rows))
        await asyncio.sleep(0.3)
        assert (e.uplink.status.unconfirmed, len(central.rows)) == (301, 301)
        central.confirms = True
        central.confirm([row for _, row in central.rows])
        await until(lambda: e.left == 0)
        assert len(central.rows) == 2001
    assert central.readings() == e.committed


async def test_a_central_that_never_confirms_holds_up_no_other(broker, tmp_path):
    now = CLOCK.now()
    mx = Central(broker, "mx", confirms=False)
    async with mx, Central(broker, "us") as us, edge(broker, tmp_path, "mx", "us", window=300) as e:
        e.commit(*range(now - 2_000_000, now, 1000))
        await until(lambda: us.readings() == e.committed)
        assert e.left == 2000
        assert e.uplink.status.unconfirmed <= 600


async def test_a_central_that_asks_is_given_again_what_it_had_and_new_readings_go_on(broker, tmp_path, monkeypatch):
    monkeypatch.setattr(uplink_module, "BACKFILL_ROWS", 100)
    monkeypatch.setattr(uplink_module, "BACKFILL_PAUSE", 0.05)
    begin = CLOCK.now() - 2_000_000
    async with Central(broker) as central:
        async with edge(broker, tmp_path) as e:
            e.commit(*range(begin, begin + 1_000_000, 1000))
            e.alarm(1)
            await until(lambda: e.left == 0)
            central.rows.clear()
            ask = wire.ask_payload(CLOCK.now(), begin + 500_000)
            await central.link.publish(wire.topic(ME, "ask", "main"), ask, retain=True)
            await until(lambda: central.rows)
            assert central.rows[0][0] == "event"
            e.commit(CLOCK.now())
            await until(lambda: len(central.readings()) == 501)
            await until(lambda: e.left == 0 and not e.journal.counts().asking)
        assert central.readings() == {r for r in e.committed if r[1] >= begin + 500_000}
        old = [row for leaf, row in central.rows if leaf == "obs" and row["seq"] <= 1000]
        assert all(row["backfill"] for row in old)
        assert [row["t"] for row in old] == sorted(row["t"] for row in old)
        central.rows.clear()
        # What is retained says the same ask again after each connection.
        journal = Journal.open(tmp_path / "s.sqlite", boot="b2", now=0)
        async with edge(broker, tmp_path, journal=journal) as again:
            await again.link.wait_connected()
            await asyncio.sleep(0.5)
            assert (central.rows, again.left) == ([], 0)


async def test_a_station_that_is_killed_goes_on_with_what_a_central_asked_for(broker, tmp_path, monkeypatch):
    monkeypatch.setattr(uplink_module, "BACKFILL_ROWS", 50)
    monkeypatch.setattr(uplink_module, "BACKFILL_PAUSE", 0.05)
    begin = CLOCK.now() - 2_000_000
    async with Central(broker) as central:
        async with edge(broker, tmp_path) as first:
            first.commit(*range(begin, begin + 1_000_000, 1000))
            await until(lambda: first.left == 0)
            central.rows.clear()
            await central.link.publish(wire.topic(ME, "ask", "main"), wire.ask_payload(CLOCK.now(), 0))
            await until(lambda: len(central.rows) >= 200)
        assert len(central.readings()) < 1000
        for n in (2, 3):
            journal = Journal.open(tmp_path / "s.sqlite", boot=f"b{n}", now=0)
            async with edge(broker, tmp_path, journal=journal) as e:
                if n == 2:
                    await until(lambda: len(central.rows) >= 500)
                else:
                    await until(lambda c=e: not c.journal.counts().asking and c.left == 0)
        assert central.readings() == first.committed
        assert len(central.rows) < 1300


async def test_a_gap_is_told(broker, tmp_path):
    now = CLOCK.now()
    journal = Journal.open(tmp_path / "s.sqlite", boot="b1", now=0, room=60_000)
    async with Central(broker, confirms=False) as central, edge(broker, tmp_path, journal=journal) as e:
        for at in range(now - 2_000_000, now, 10_000):
            e.commit(*range(at, at + 10_000, 1000))
        await until(lambda: any(leaf == "gap" for leaf, _ in central.rows))
    gap = next(wire.gap_of(row) for leaf, row in central.rows if leaf == "gap")
    assert (gap.stream, gap.channels) == ("obs", {"ph": gap.rows})


async def test_a_new_process_sends_what_the_last_one_left(broker, tmp_path):
    now = CLOCK.now()
    async with edge(broker, tmp_path) as first:
        first.commit(now)
        await until(lambda: first.uplink.status.unheard >= 3)  # status, meta and the row: nobody is there
    journal = Journal.open(tmp_path / "s.sqlite", boot="b2", now=0)
    async with Central(broker) as central, edge(broker, tmp_path, journal=journal) as second:
        second.commit(now + 1000)
        await until(lambda: second.left == 0)
    assert {(row["boot"], row["seq"]) for _, row in central.rows} >= {("b1", 1), ("b2", 2)}
    assert central.readings() == first.committed | second.committed


async def test_refused_stream_is_parked_and_named_and_the_others_flow(tmp_path, monkeypatch):
    monkeypatch.setattr(uplink_module, "REFUSED_PAUSE_MOST", 0.2)
    broker = Mosquitto(tmp_path, f"acl_file {tmp_path / 'acl'}\n")
    allowed = "".join(f"topic readwrite ewarn/v1/+/{leaf}\n" for leaf in ("event", "stored/+", "status", "meta"))
    (tmp_path / "acl").write_text(allowed)
    broker.start()
    try:
        async with Central(broker) as central, edge(broker, tmp_path, retry_parked=0.5) as e:
            e.commit(CLOCK.now())
            await until(lambda: "Not authorized" in e.uplink.problem)
            e.alarm(1)
            await until(lambda: e.left == 1)
            assert [leaf for leaf, _ in central.rows] == ["event"]
            assert e.uplink.problem.startswith("obs: ")
            (tmp_path / "acl").write_text("topic readwrite #\n")
            broker.signal(signal.SIGHUP)
            await until(lambda: e.left == 0)
            assert e.uplink.problem == ""
            assert e.link.counters.connections == 1
        assert central.readings() == e.committed
    finally:
        broker.kill()


async def test_a_row_that_is_too_large_is_parked_and_the_rest_flows(broker, tmp_path):
    async with Central(broker) as central, edge(broker, tmp_path) as e:
        e.alarm(1, detail={"poison": os.urandom(300_000).hex()})
        e.alarm(2)
        await until(lambda: e.left == 1)
        assert e.journal.counts().parked == 1
        assert e.uplink.status.refused == 1
    assert [row["number"] for _, row in central.rows] == [2]


async def test_an_alert_overtakes_the_backlog(broker, tmp_path):
    now = CLOCK.now()
    async with Central(broker) as central, edge(broker, tmp_path) as e:
        e.commit(*range(now - 8_000_000, now, 1000))
        await until(lambda: central.rows)
        e.alarm(1)
        await until(lambda: any(leaf == "event" for leaf, _ in central.rows))
        assert len(central.rows) < 4000
        await until(lambda: e.left == 0, 30)
    assert central.readings() == e.committed
    times = [row["t"] for leaf, row in central.rows if leaf == "obs"]
    assert times == sorted(times)
    assert max(len(wire.envelope(ME, 0, "", b.rows)) for _, b in central.messages) < 20_000


async def test_old_rows_are_called_backfill(broker, tmp_path):
    now = CLOCK.now()
    async with Central(broker) as central, edge(broker, tmp_path) as e:
        e.commit(now - 200_000, now)
        await until(lambda: e.left == 0)
    assert [row.get("backfill") for _, row in central.rows] == [True, None]


async def test_documents_are_kept_and_said_again_after_each_connection(broker, tmp_path):
    async with edge(broker, tmp_path) as e:
        e.uplink.publish_alarm(alert(1))
        e.uplink.publish_alarm(alert(2, state=AlarmState.ACKNOWLEDGED))
        e.uplink.publish_health({"disk": ""})
        await e.link.wait_connected()
        await until(lambda: not e.uplink._unsaid)
        for _ in range(2):
            async with Central(broker) as central:
                await until(lambda c=central: len(c.documents) == 4)
            assert central.documents["status"]["state"] == "online"
            assert central.documents["status"]["boot"] == "b1"
            assert central.documents["health"]["disk"] == ""
            assert central.documents["meta"]["channels"]["turbidity_2"]["parameter"] == "turbidity"
            assert wire.alert_of(ME, central.documents["alarm/contamination"]).number == 2
            broker.restart()  # it forgets what it kept
            await until(lambda: e.link.counters.connections >= 2)
            await until(lambda: e.link.connected and not e.uplink._unsaid)


async def test_offline_is_said_on_a_clean_end_and_lost_on_any_other(broker, tmp_path):
    async with Central(broker) as central:
        async with edge(broker, tmp_path):
            await until(lambda: central.documents.get("status", {}).get("state") == "online")
        await until(lambda: central.documents["status"]["state"] == "offline")
        async with edge(broker, tmp_path) as e:
            e.link.will_delay = 0
            await until(lambda: central.documents["status"]["state"] == "online")
            e.link._connection._client.socket().shutdown(2)
            await until(lambda: central.documents["status"]["state"] == "lost")
            await until(lambda: central.documents["status"]["state"] == "online")


async def test_nonsense_on_stored_changes_nothing(broker, tmp_path):
    async with Central(broker, confirms=False) as central, edge(broker, tmp_path) as e:
        e.commit(CLOCK.now())
        await until(lambda: central.rows)
        for payload in (b"", b"\xff", b"[]", b'{"v":1,"boot":"b1","ranges":[["a"]]}',
                        wire.stored_payload("other", [1]), wire.stored_payload("b1", [5, 9, 10**15])):  # fmt: skip
            await central.say(payload)
        await asyncio.sleep(0.3)
        assert (e.left, e.uplink.status.unconfirmed) == (1, 1)
        await central.say(b'{"v":1,"boot":"b1","ranges":[[0,1000000000000]]}')
        await until(lambda: (e.left, e.uplink.status.unconfirmed) == (0, 0))


async def test_a_disk_that_fails_for_a_while(broker, tmp_path, monkeypatch):
    monkeypatch.setattr(uplink_module, "_DISK_PAUSE", 0.1)

    class Failing(Journal):
        ill = True

        def outbox_batch(self, *arguments, **more):
            if self.ill:
                raise sqlite3.OperationalError("disk I/O error")
            return super().outbox_batch(*arguments, **more)

    journal = Failing.open(tmp_path / "s.sqlite", boot="b1", now=0)
    async with Central(broker), edge(broker, tmp_path, journal=journal) as e:
        e.commit(CLOCK.now())
        await until(lambda: "disk I/O error" in e.uplink.problem)
        journal.ill = False
        await until(lambda: e.left == 0)
        await until(lambda: e.uplink.problem == "")


async def test_a_journal_that_is_begun_anew_is_sent_from_its_first_row_on(broker, tmp_path):
    now = CLOCK.now()
    async with Central(broker, confirms=False) as central, edge(broker, tmp_path) as e:
        e.commit(*range(now, now + 100))
        await until(lambda: len(central.rows) == 100)
        e.journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (tmp_path / "s.sqlite").write_bytes(b"damaged")
        e.journal.renew(now)
        e.committed.clear()
        central.rows.clear()
        e.commit(*range(now + 1000, now + 1010))
        await until(lambda: central.readings() == e.committed)
        assert {row["boot"] for _, row in central.rows} == {e.journal.boot}
        await until(lambda: central.documents["status"]["boot"] == e.journal.boot != "b1")
        central.confirm([row for _, row in central.rows])
        await until(lambda: e.left == 0)


async def test_without_a_broker_it_waits_and_ends_quickly(broker, tmp_path):
    broker.kill()
    async with edge(broker, tmp_path) as e:
        e.commit(CLOCK.now())
        await until(lambda: "refused" in e.uplink.problem)
        assert not e.uplink.status.connected
        start = time.monotonic()
    assert time.monotonic() - start < 2
