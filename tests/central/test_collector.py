"""From the broker to the database: acknowledged when it is stored, confirmed exactly, nothing lost, nothing doubled."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
import uuid

import pytest
import tomli_w
from centre import (
    BAD,
    CLOCK,
    JUNK,
    ME,
    ROWS,
    T0,
    Station,
    alert,
    central,
    collecting,
    event_row,
    obs_row,
    parked,
    stored,
    until,
)

from ewarn import mqtt, wire
from ewarn.central import collector as collector_module
from ewarn.central import writer as writer_module
from ewarn.central.stores import open_store
from ewarn.contracts import AlarmState, Point

pytestmark = pytest.mark.broker
NO_DATABASE = {"kind": "influx", "url": "http://127.0.0.1:1", "bucket": "water", "api": "v1"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(mqtt, "MAX_BACKOFF", 0.5)
    monkeypatch.setattr(writer_module, "FIRST_BACK_OFF", 0.05)
    monkeypatch.setattr(writer_module, "MAX_BACK_OFF", 0.2)
    monkeypatch.setattr(writer_module, "GATHER", 0.05)


def influx(url, bucket="water", timeout=10.0):
    return {"kind": "influx", "url": url, "bucket": bucket, "api": "v1", "timeout": f"{timeout:g}s"}


def numbers(settings):
    """Sequence numbers of the rows that are stored, as their times tell."""
    return sorted((p.time - T0) // 1000 for p in stored(settings, channel="ph"))


async def test_what_is_confirmed_is_what_is_stored_and_what_is_parked(broker, tmp_path):
    settings = central(broker, tmp_path)
    async with Station(broker) as station, collecting(settings) as collector:
        for name, payload in JUNK.items():
            await station.raw(payload, leaf="obs")
            await station.raw(payload, leaf="event" if len(name) % 2 else "verdict")
        bad = [row | {"seq": 10 + i} for i, row in enumerate(BAD.values())]
        await station.send([obs_row(1), *ROWS.values(), *bad, obs_row(2)])
        await station.send([event_row(3, alert())], leaf="event")
        sent = [1, 2, 3, *range(10, 10 + len(bad))]
        await until(lambda: station.has(sent))
        assert collector.counters.rows == len(sent)
    assert sorted(station.confirmed["main"]) == [("b1", n) for n in sent]
    assert numbers(settings) == [1, 2]
    assert [p.fields["id"] for p in stored(settings, "alarm")] == [alert().id]
    assert len(parked(settings)) == 2 * len(JUNK) + len(ROWS) + len(BAD)
    reasons = {line["reason"] for line in parked(settings)}
    assert {"version 2 is not 1", "'us-9' speaks as 'mx-1'", "payload is too large", "a row has no boot or seq"} <= reasons
    assert station.states[-1] == "offline"


class Process:
    """`ewarn collect` as a process; the tests kill it."""

    def __init__(self, settings_file, tweak=""):
        start = f"import ewarn.central.collector as c\n{tweak}\nfrom ewarn.cli import main\nmain()"
        self.log = settings_file.with_suffix(".log").open("ab")
        self.process = subprocess.Popen([sys.executable, "-c", start, "collect", str(settings_file)], stderr=self.log)

    def end(self, number):
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.log.close()
        return code


def write(settings, broker, name="central.toml", store=None):
    path = settings.data.parent / name
    path.write_text(tomli_w.dumps({
        "central": {"name": settings.name, "data": settings.data.name},
        "broker": {"host": "127.0.0.1", "port": broker.port, "insecure": True},
        "store": store or {"kind": "sqlite", "path": "central.sqlite"},
    }))  # fmt: skip
    return path


async def test_without_a_database_nothing_is_let_go_and_a_kill_loses_nothing(broker, tmp_path):
    settings = central(broker, tmp_path)
    async with Station(broker) as station:
        first = Process(write(settings, broker, store=NO_DATABASE))
        await until(lambda: "online" in station.states, 30)
        for seq in range(60):
            await station.send([obs_row(seq)])
        await asyncio.sleep(0.5)
        first.end(signal.SIGKILL)
        assert station.confirmed == {}
        second = Process(write(settings, broker))
        await until(lambda: station.has(range(60)), 30)
        assert second.end(signal.SIGTERM) == 0
        assert numbers(settings) == list(range(60))
        assert sorted(n for _, n in station.confirmed["main"]) == list(range(60))
        async with collecting(settings) as third:
            await station.send([obs_row(60)])
            await until(lambda: station.has([60]))
            assert third.counters.messages == 1  # the others were acknowledged


async def test_killed_again_and_again_under_load(broker, tmp_path):
    settings = central(broker, tmp_path)
    file = write(settings, broker)
    sent = 0
    async with Station(broker) as station:
        for round_ in range(3):
            process = Process(file)
            await until(lambda n=round_: station.states.count("online") > n, 30)
            for _ in range(40 + 13 * round_):
                await station.send([obs_row(sent), obs_row(sent + 1)])
                sent += 2
                await asyncio.sleep(0.01)
            process.end(signal.SIGKILL)
        async with collecting(settings):
            await until(lambda: station.has(range(sent)), 30)
    assert numbers(settings) == list(range(sent))


async def test_a_stop_ends_the_process_though_the_database_hangs(broker, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        store = influx(f"http://127.0.0.1:{nobody.getsockname()[1]}", timeout=60.0)
        file = write(central(broker, tmp_path), broker, store=store)
        async with Station(broker) as station:
            process = Process(file, tweak="c.FINISH = 0.3")
            await until(lambda: "online" in station.states, 30)
            await station.send([obs_row(1)])
            begin = time.monotonic()
            assert await asyncio.to_thread(process.end, signal.SIGTERM) == 0
            assert time.monotonic() - begin < 20
            await until(lambda: station.states[-1] == "offline")


FAULTS = [(401, {}, b""), (404, {}, b""), (500, {}, b""), (503, {"Retry-After": "1"}, b""), "hang", "reset",
          (400, {}, b"you speak HTTP to a TLS port"), (400, {}, b"again")]  # fmt: skip


async def test_whatever_the_database_answers_data_waits_and_then_flows(broker, tmp_path, fake_server):
    settings = central(broker, tmp_path, store=influx(fake_server.url, timeout=0.5))
    async with Station(broker) as station, collecting(settings) as collector:
        await until(lambda: fake_server.requests)
        fake_server.answers += FAULTS
        await station.send([obs_row(seq) for seq in range(5)])
        await until(lambda: collector.problem)
        assert station.confirmed == {}
        for seq in range(5, 15):
            await station.send([obs_row(seq)])
        await until(lambda: station.has(range(15)), 30)
        assert collector.problem == ""
        assert collector.counters.parked == 0
    fake_server.hanging.set()
    assert sorted(n for _, n in station.confirmed["main"]) == list(range(15))
    assert len(fake_server.requests) >= len(FAULTS) + 2


@pytest.mark.influx
async def test_one_bad_point_costs_one_point_of_a_real_influxdb(broker, tmp_path, influxd):
    bucket = uuid.uuid4().hex
    influxd.create(bucket)
    settings = central(broker, tmp_path, store=influx(influxd.url, bucket))
    store = open_store(settings.store)
    store.write([Point("wq", {"station": "old"}, {"why": 3.5}, T0)])
    store.close()
    async with Station(broker) as station, collecting(settings) as collector:
        rows = [obs_row(n, **({"why": {"ph": "spike"}} if n in (3, 17) else {})) for n in range(1, 30)]
        await station.send(rows)
        await until(lambda: station.has(range(1, 30)))
        assert (collector.counters.points, collector.counters.parked) == (27, 2)
    assert [line["content"]["fields"]["why"] for line in parked(settings)] == ["spike", "spike"]
    assert all("conflict" in line["reason"] for line in parked(settings))
    values = dict(zip(numbers(settings), (p.fields["value"] for p in stored(settings, channel="ph")), strict=True))
    assert values == {n: obs_row(n)["ph"] for n in range(1, 30) if n not in (3, 17)}


@pytest.mark.influx
async def test_whole_numbers_and_fractions_are_of_one_type_in_influxdb(broker, tmp_path, influxd):
    bucket = uuid.uuid4().hex
    influxd.create(bucket)
    settings = central(broker, tmp_path, store=influx(influxd.url, bucket))
    async with Station(broker) as station, collecting(settings) as collector:
        for seq, p in enumerate((1, 0.5, 0)):
            await station.send([obs_row(seq, ph=p)])
            row = {"boot": "b1", "seq": 10 + seq, "t": obs_row(seq)["t"], "readiness": "ready", "probability": p}
            await station.send([row | {"scores": {"residual": p}}], leaf="verdict")
            await station.send([event_row(20 + seq, alert(seq + 1)) | {"probability": p}], leaf="event")
        await until(lambda: station.has([0, 1, 2, 10, 11, 12, 20, 21, 22]))
        assert collector.counters.parked == 0
    assert [p.fields["probability"] for p in stored(settings, "verdict")] == [1.0, 0.5, 0.0]
    assert [p.fields["probability"] for p in stored(settings, "alarm")] == [1.0, 0.5, 0.0]


async def test_two_centrals_each_get_every_row(broker, tmp_path):
    mx, us = central(broker, tmp_path, "mx"), central(broker, tmp_path, "us")
    async with Station(broker) as station, collecting(mx), collecting(us):
        for seq in range(40):
            await station.send([obs_row(seq)])
        await until(lambda: station.has(range(40), "mx") and station.has(range(40), "us"))
    assert numbers(mx) == numbers(us) == list(range(40))


async def test_two_collectors_of_one_central_share_the_rows(broker, tmp_path):
    one = central(broker, tmp_path / "one")
    two = central(broker, tmp_path / "two")
    async with Station(broker) as station, collecting(one):
        second = collector_module.Collector(two, open_store(two.store), CLOCK)
        second._link.client_id = "collector-main-2"
        stop = asyncio.Event()
        task = asyncio.create_task(second.run(stop))
        await asyncio.wait_for(second._link.wait_connected(), 10)
        for seq in range(40):
            await station.send([obs_row(seq)])
        await until(lambda: station.has(range(40)))
        stop.set()
        await task
    assert sorted(numbers(one) + numbers(two)) == list(range(40))
    assert numbers(one)
    assert numbers(two)


async def test_two_collectors_of_one_name_take_turns_lose_nothing_and_are_named(broker, tmp_path, caplog):
    one, two = central(broker, tmp_path / "one"), central(broker, tmp_path / "two")
    async with Station(broker) as station, collecting(one) as first, collecting(two) as second:
        seq = 0
        while not any("does another client call itself" in c._link.problem for c in (first, second)):
            await station.send([obs_row(seq)])
            seq += 1
            assert seq < 1000
            await asyncio.sleep(0.02)
        await until(lambda: station.has(range(seq)), 30)
    assert set(numbers(one) + numbers(two)) == set(range(seq))
    assert "'collector-main'" in caplog.text


async def test_while_the_database_is_away_the_broker_holds_what_comes(broker, tmp_path, fake_server):
    fake_server.answers += [(503, {}, b"")] * 10_000
    settings = central(broker, tmp_path, store=influx(fake_server.url))
    async with Station(broker) as station, collecting(settings, silence=0.5) as collector:
        for seq in range(600):
            await station.send([obs_row(seq, pad={"x": seq})] if seq % 7 == 0 else [obs_row(seq)])
            if seq % 10 == 0:
                await station.say("health", {"seq": seq})
        assert collector._writer._queue.qsize() < 300
        await asyncio.sleep(1)
        assert collector._silence.active() == []  # that nothing comes now is not the station's silence
        fake_server.answers.clear()
        await until(lambda: station.has(range(600)), 30)
        await until(lambda: collector.stations[ME].health.get("seq") == 590)
        assert collector.counters.let_go == 0
        assert collector._writer.waiting == 0


async def test_what_there_is_no_room_for_is_asked_for_again_and_alerts_have_always_room(broker, tmp_path, fake_server):
    fake_server.answers += [(503, {}, b"")] * 10_000
    settings = central(broker, tmp_path, store=influx(fake_server.url))
    async with Station(broker) as station, collecting(settings, room=5000, silence=4) as collector:
        await until(lambda: station.states)
        for seq in range(15):
            await station.send([obs_row(seq)])
        await station.send([event_row(100, alert())], leaf="event")
        await until(lambda: collector.counters.messages + collector.counters.let_go == 16)
        assert collector.counters.let_go > 0
        assert collector._writer.waiting < 6500
        fake_server.answers.clear()
        before = len(station.states)
        await until(lambda: station.has([0, 100]))
        await until(lambda: station.states[before:] == ["online"])
        await until(lambda: sum(not station.has([seq]) for seq in range(15)) == collector.counters.let_go)
        await station.send([obs_row(seq) for seq in range(15) if not station.has([seq])])
        await until(lambda: station.has(range(15)))


async def test_the_status_of_central(broker, tmp_path):
    settings = central(broker, tmp_path)
    async with Station(broker) as station:
        async with collecting(settings) as collector:
            await until(lambda: station.states == ["online"])
            collector._link.will_delay = 0
            broker.restart()
            await until(lambda: station.states[1:] == ["online"] and collector._link.connected)
            collector._link._connection._client.socket().shutdown(2)
            await until(lambda: station.states[2:] == ["lost", "online"])
        await until(lambda: station.states[-1] == "offline")


async def test_a_broker_that_forgets_everything(broker, tmp_path):
    settings = central(broker, tmp_path)
    async with Station(broker) as station, collecting(settings) as collector:
        await station.say("meta", {"name": "Intake", "channels": {"raw": {"parameter": "ph"}}})
        await station.send([obs_row(1)])
        await until(lambda: station.has([1]))
        for seq in (2, 3):
            broker.restart()
            await until(lambda n=seq: collector._link.connected and collector._link.counters.connections == n)
            await asyncio.wait_for(station.link.wait_connected(), 10)
            await station.send([obs_row(seq)])
            await until(lambda n=seq: station.has([n]))
        assert collector.stations[ME].meta["name"] == "Intake"
    assert numbers(settings) == [1, 2, 3]


async def test_a_clean_stop_stores_what_is_here_and_says_goodbye(broker, tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "GATHER", 1.0)
    settings = central(broker, tmp_path)
    async with Station(broker) as station:
        async with collecting(settings) as collector:
            await station.send([obs_row(seq) for seq in range(50)])
            await until(lambda: collector.counters.messages)
            assert collector.counters.rows == 0
        await until(lambda: station.states[-1] == "offline" and station.has(range(50)))
    assert numbers(settings) == list(range(50))


async def test_a_stop_without_a_database_says_goodbye_and_keeps_everything(broker, tmp_path, fake_server, monkeypatch):
    monkeypatch.setattr(collector_module, "FINISH", 0.2)
    fake_server.answers += ["hang"]
    away = central(broker, tmp_path, store=influx(fake_server.url))
    async with Station(broker) as station:
        async with collecting(away) as collector:
            await station.send([obs_row(1)])
            await until(lambda: collector.counters.messages)
            begin = time.monotonic()
        assert time.monotonic() - begin < 10
        await until(lambda: station.states[-1] == "offline")
        fake_server.hanging.set()
        async with collecting(central(broker, tmp_path)):
            await until(lambda: station.has([1]))


async def test_a_part_that_fails_ends_the_collector(broker, tmp_path):
    settings = central(broker, tmp_path)
    collector = collector_module.Collector(settings, open_store(settings.store), CLOCK)
    collector._confirmations.add = lambda _: 1 / 0
    async with Station(broker) as station:
        task = asyncio.create_task(collector.run(asyncio.Event()))
        await asyncio.wait_for(collector._link.wait_connected(), 10)
        await station.send([obs_row(1)])
        with pytest.raises(ExceptionGroup, match="unhandled"):
            await asyncio.wait_for(task, 10)


async def test_documents_that_are_wrong_are_parked_and_removed_alarms_go(broker, tmp_path):
    settings = central(broker, tmp_path)
    async with Station(broker) as station, collecting(settings) as collector:
        for leaf in ("status", "meta", "health", "alarm/contamination"):
            await station.raw(b"[" * 5000, leaf)
            await station.say(leaf, {"state": "online"}, sender="us-9")
        await station.say("alarm/contamination", wire.alert_row(alert()))
        await station.say("alarm/sensor", wire.alert_row(alert(alarm="sensor")))
        await station.say("alarm/sensor")
        await station.send([obs_row(1)])
        await until(lambda: station.has([1]))
        view = collector.stations[ME]
        assert (dict(view.status), dict(view.meta), dict(view.health)) == ({}, {}, {})
        assert view.alarms == {"contamination": alert()}
        assert view.readings["ph"].value == 7.001
    assert len(parked(settings)) == 8


class TestSilence:
    LIMIT = 1.0

    async def test_silence_is_an_alarm_that_retained_documents_do_not_touch(self, broker, tmp_path):
        settings = central(broker, tmp_path)
        async with Station(broker) as station:
            await station.say("meta", {"name": "Toma Norte", "time_zone": "Mars/Base"})
            await station.say("status", {"state": "online"})
            async with collecting(settings, silence=self.LIMIT) as collector:
                await until(lambda: collector._silence.active() == [ME])
                await until(lambda: collector.counters.points == 1)
                connections = collector._link.counters.connections
                collector._link._connection._client.socket().shutdown(2)  # the documents come again
                await until(lambda: collector._link.counters.connections > connections and collector._link.connected)
                await asyncio.sleep(self.LIMIT)
                assert collector._silence.active() == [ME]
            async with collecting(settings, silence=self.LIMIT) as collector:
                await asyncio.sleep(self.LIMIT)
                assert collector._silence.active() == [ME]
                await station.send([obs_row(1)])
                await until(lambda: collector._silence.active() == [])
                await until(lambda: collector.counters.points == 2)
        raised, cleared = stored(settings, "alarm", alarm="station-silent")
        assert [p.fields["state"] for p in (raised, cleared)] == ["UNACK", "RTNUN"]
        assert cleared.fields["occurrence"] == raised.fields["occurrence"]
        assert raised.tags["prio"] == "2"
        assert "Toma Norte" in raised.fields["text_en"]
        assert raised.fields["text_es"].startswith("No se sabe nada de la estación Toma Norte")
        assert "UTC" in raised.fields["text_es"]

    async def test_a_named_station_that_never_speaks_is_silent(self, broker, tmp_path):
        settings = central(broker, tmp_path, stations=["mx-1", "mx-2"])
        async with Station(broker, "mx-2") as other, collecting(settings, silence=self.LIMIT) as collector:
            while collector._silence.active() != [ME]:
                await other.send([obs_row(1)])
                await asyncio.sleep(0.1)
            await until(lambda: stored(settings, "alarm"))

    async def test_lost_is_an_alarm_at_once(self, broker, tmp_path):
        settings = central(broker, tmp_path)
        async with Station(broker) as station, collecting(settings, silence=3) as collector:
            for state, active in (("online", []), ("lost", [ME]), ("online", [])):
                await station.say("status", {"state": state})
                await until(lambda a=active: collector._silence.active() == a and not collector._silence._unstored)
        assert [p.fields["detail"] for p in stored(settings, "alarm")] == ['{"reason":"lost"}'] * 2


class TestTexts:
    async def test_an_alert_has_the_name_and_the_time_of_its_station_also_after_a_restart(self, broker, tmp_path):
        settings = central(broker, tmp_path)
        rows = [event_row(1, alert(by="Ana\nRíos", state=AlarmState.ACKNOWLEDGED)), obs_row(2) | {"raw": 3.0}]
        meta = {"name": "Toma Norte", "time_zone": "America/Matamoros", "channels": {"raw": {"parameter": "turbidity"}}}
        async with Station(broker) as station:
            async with collecting(settings) as collector:
                await station.say("meta", meta, retain=False)
                await until(lambda: ME in collector.stations)
                await station.send(rows[:1], leaf="event")
                await station.send(rows[1:])
                await until(lambda: station.has([1, 2]))
            once = stored(settings, "alarm"), stored(settings)
            async with collecting(settings):
                station.confirmed.clear()
                await station.send(rows[:1], leaf="event")
                await station.send(rows[1:])
                await until(lambda: station.has([1, 2]))
        assert (stored(settings, "alarm"), stored(settings)) == once
        ((point,), _) = once
        assert point.fields["text_en"].startswith("Alert acknowledged by Ana | Ríos: possible contamination at Toma Norte")
        assert "Alerta reconocida" in point.fields["text_es"]
        assert "CDT" in point.fields["text_es"]
        assert {p.tags["param"] for p in once[1]} == {"ph", "turbidity"}

    async def test_an_alert_that_no_text_can_be_made_of_is_stored_without(self, broker, tmp_path):
        settings = central(broker, tmp_path)
        async with Station(broker) as station, collecting(settings):
            await station.say("meta", {"name": "x", "time_zone": "Asia/Tokyo"})
            await station.send([event_row(1, alert()) | {"onset": "9999-12-31T23:59:59Z"}], leaf="event")
            await until(lambda: station.has([1]))
        (point,) = stored(settings, "alarm")
        assert (point.fields["id"], point.fields["text_en"]) == (alert().id, "")


async def test_times_from_far_away_are_parked_or_stored_and_nothing_stops(broker, tmp_path):
    settings = central(broker, tmp_path)
    far = ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1700-01-01T00:00:00Z", "2200-01-01T00:00:00Z",
           "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59"]  # fmt: skip
    async with Station(broker) as station, collecting(settings) as collector:
        await station.send([obs_row(i, t=t) for i, t in enumerate(far)])
        await station.send([event_row(50 + i, alert(i + 1)) | {"t": t} for i, t in enumerate(far)], leaf="event")
        await station.send([obs_row(99)])
        await until(lambda: station.has([*range(6), *range(50, 56), 99]))
        assert collector.counters.points + collector.counters.parked == 13
        assert collector.counters.parked == 8
        assert collector.stations[ME].readings["ph"].time == T0 + 99_000


async def test_without_a_broker_it_waits_and_ends(broker, tmp_path):
    broker.kill()
    settings = central(broker, tmp_path)
    collector = collector_module.Collector(settings, open_store(settings.store), CLOCK)
    stop = asyncio.Event()
    task = asyncio.create_task(collector.run(stop))
    await until(lambda: "refused" in collector._link.problem)
    stop.set()
    await asyncio.wait_for(task, 10)
