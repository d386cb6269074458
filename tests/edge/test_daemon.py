"""The station as a whole, with real drivers, a real file and a real broker: it goes on, whatever fails."""

import asyncio
import contextlib
import itertools
import logging
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import tomli_w
from gateway import PROFILE
from house import STEP_MS, House, Level, Raising, accepted, document, state, until
from mosquitto import Mosquitto
from servers import free_port
from steps import T0, commit, full_step

from ewarn.contracts import AlarmState, Label, Quality, Readiness, Reading
from ewarn.core.pipeline import Step
from ewarn.edge import daemon
from ewarn.edge.daemon import FILE, Edge
from ewarn.edge.journal import Journal
from ewarn.edge.recorder import Recorder
from ewarn.errors import StoreUnavailable
from ewarn.registry import make_drivers

UNACK, RTNUN, NORM = AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED_UNACKNOWLEDGED, AlarmState.NORMAL


pytestmark = pytest.mark.usefixtures("quick")


# At the start


async def test_it_starts_without_broker_and_probes_says_so_once_and_recovers(tmp_path, broker, caplog):
    caplog.set_level(logging.INFO)
    broker.kill()
    house = House(tmp_path, broker.port)
    async with house.run() as edge:
        await until(lambda: edge._acquisition.states["sonde"].failures > 5)
        await until(lambda: edge.health()["link"])
        await asyncio.sleep(0.2)
        assert edge.health()["probes"]["sonde"]["reason"] == "line_lost"
        assert edge.readings["spcond"].quality is Quality.MISSING
        assert sum("probe sonde:" in r.message for r in caplog.records) == 1
        assert sum(r.name == "ewarn.mqtt" for r in caplog.records) == 1
        async with house.gateway:
            await until(lambda: edge.readings["spcond"].value == 900)
            broker.start()
            await until(lambda: edge.uplink.status.connected)
            await until(lambda: edge.health()["probes"]["sonde"]["reason"] == "")


async def test_each_run_has_a_boot_of_its_own(house):
    boots = set()
    for _ in range(3):
        async with house.run() as edge:
            boots.add(edge.journal.boot)
            before = accepted(edge)
            await until(lambda e=edge, n=before: accepted(e) > n)
    assert len(boots) == 3
    with house.look() as journal:
        assert {row.boot for row in journal.outbox_batch(["obs"], 1000, 10**9)} == boots


async def test_a_damaged_file_is_set_aside_and_health_says_so(house):
    house.give_past(500)
    house.file.write_bytes(b"\0" * house.file.stat().st_size)
    async with house.run() as edge:
        await until(lambda: accepted(edge) > 4 and not edge.warming)
        assert edge.health()["quarantined"].startswith("station.sqlite.corrupt-")


async def test_a_file_that_cannot_be_opened_is_one_clear_error(house):
    house.file.mkdir(parents=True)
    edge = Edge(house.station, house.clock, [], house.make)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await edge.run(asyncio.Event())


async def test_a_clock_that_was_ahead_in_the_last_run_does_not_silence_this_one(house):
    ahead = [Reading(c, T0 + 10**11, 900.0) for c in ("spcond", "orp")]
    with Journal.open(house.file, boot="wrong", now=T0) as journal:
        journal.commit(T0 + 10**11, ahead, Step(ahead))
    async with house.run() as edge:
        await until(lambda: accepted(edge) >= 6)
        await until(lambda: edge.verdict is not None and edge.verdict.readiness is Readiness.READY)
        assert edge.verdict.time < T0 + 10**10


# Knowing the water


async def test_data_flow_at_once_and_detection_says_warming_until_it_knows_the_water(house):
    house.give_past(50)
    go = threading.Event()

    class Slow(Level):
        def learn_one(self, x):
            if threading.current_thread() is not threading.main_thread():
                assert go.wait(20)
            super().learn_one(x)

    try:
        async with house.run(Slow) as edge:
            await until(lambda: accepted(edge) >= 10)
            assert edge.warming
            assert edge.verdict.readiness is Readiness.WARMING
            assert edge.health()["warming"]
            house.gateway.registers[7] = 901
            await until(lambda: edge.readings["spcond"].value == 901)
            go.set()
            await until(lambda: not edge.warming)
            await until(lambda: edge.verdict.readiness is Readiness.READY)
            assert not edge.health()["warming"]
            values = [x["spcond"] for detector in house.detectors[-1] for x in detector.learned if x]
            live = values[49:]
            assert len(values) > 55
            assert set(values[:45]) == {900.0}
            assert live == sorted(live), "what came meanwhile was learned too, in its order"
            assert live[-1] == 901
    finally:
        go.set()


async def test_a_restart_raises_no_alert_of_its_own_making(house, caplog):
    house.give_past(100, 2000.0)
    house.give_past(20)
    for _ in range(2):
        async with house.run() as edge:
            await until(lambda e=edge: e.verdict is not None and e.verdict.readiness is Readiness.READY)
            first = accepted(edge)
            await until(lambda e=edge, n=first: accepted(e) >= n + 6)
            assert edge.alerts == {}
    assert house.alerts() == []


async def test_an_alarm_goes_on_over_restarts_as_the_same_occurrence(house):
    house.give_past(20)
    async with house.run() as edge:
        await until(lambda: not edge.warming and accepted(edge) > 2)
        house.gateway.registers[7] = 3000
        await until(lambda: state(edge) is UNACK)
    async with house.run() as edge:
        await until(lambda: not edge.warming)
        before = accepted(edge)
        await until(lambda: accepted(edge) >= before + 10)
        assert state(edge) is UNACK
        assert edge.alerts == {}
        assert edge.uplink._documents["alarm/contamination"]["state"] == "UNACK"  # said again, with its evidence
        assert edge.uplink._documents["alarm/contamination"]["evidence"]
        house.gateway.registers[7] = 900
        await until(lambda: state(edge) is RTNUN)
    async with house.run() as edge:
        await edge.acknowledge("contamination", "operator")
        assert state(edge) is NORM
        assert house.alerts()[-1] == (1, 3, "NORM")
        with pytest.raises(KeyError):
            await edge.acknowledge("nothing", "operator")
        await until(lambda: not edge.warming)
        house.gateway.registers[7] = 3000
        await until(lambda: state(edge) is UNACK)
    assert house.alerts() == [(1, 1, "UNACK"), (1, 2, "RTNUN"), (1, 3, "NORM"), (2, 1, "UNACK")]


async def test_a_persons_word_on_an_alert_is_learned_and_learned_again_after_a_restart(house):
    house.give_past(20)
    async with house.run() as edge:
        await until(lambda: not edge.warming and accepted(edge) > 2)
        house.gateway.registers[7] = 3000
        await until(lambda: state(edge) is UNACK)
        with pytest.raises(KeyError):
            await edge.classify("contamination", 99, Label.NATURAL, "Ana")
        await edge.classify("contamination", 1, Label.NATURAL, "Ana")
        assert list(edge._pipeline._detection.budget._alerts.values()) == [True]
    async with house.run() as edge:
        await until(lambda: not edge.warming)
        assert list(edge._pipeline._detection.budget._alerts.values()) == [True]


async def test_a_journal_that_cannot_be_read_back_costs_the_past_and_nothing_else(house, monkeypatch, caplog):
    house.give_past(20)

    def broken(*_, **__):
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Journal, "history", broken)
    async with house.run() as edge:
        await until(lambda: edge.verdict is not None and edge.verdict.readiness is Readiness.READY)
    assert "the journal cannot be read" in caplog.text


async def test_a_raising_detector_stops_no_other(house):
    house.give_past(20)
    async with house.run(Raising, Level) as edge:
        await until(lambda: not edge.warming and accepted(edge) > 2)
        house.gateway.registers[7] = 3000
        await until(lambda: state(edge) is UNACK)
        assert list(edge.health()["detectors_off"]) == ["Raising"]


# A disk that fails


def fill_disk(journal):
    with journal._lock:
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count = {pages}")


def free_disk(journal):
    with journal._lock:
        journal._db.execute("PRAGMA max_page_count = 1000000")


async def test_a_full_disk_stops_neither_detection_nor_alerts_and_nothing_is_lost(house, caplog):
    house.give_past(20)
    async with house.run() as edge:
        await until(lambda: not edge.warming and accepted(edge) > 2)
        fill_disk(edge.journal)
        await until(lambda: edge.health()["disk"])
        assert "full" in edge.health()["disk"]
        house.gateway.registers[7] = 3000
        await until(lambda: state(edge) is UNACK)
        assert "alarm/contamination" in edge.uplink._documents
        await until(lambda: edge.health()["unsaved"] > 8)
        taken = accepted(edge)
        free_disk(edge.journal)
        await until(lambda: not edge.health()["disk"] and not edge.health()["unsaved"])
        assert accepted(edge) >= taken + 8
        assert edge.health()["dropped"] == 0
    assert sum("the disk does not take it" in r.message for r in caplog.records) == 1
    assert house.alerts() == [(1, 1, "UNACK")]
    with house.look() as journal:
        times = [t for c, t, _ in journal.accepted() if c == "spcond"]
        obs = [row.time for row in journal.outbox_batch(["obs"], 10_000, 10**9)]
    assert sorted(obs) == sorted(times)
    assert max(b - a for a, b in itertools.pairwise(times)) < 20 * STEP_MS, "no gap"


async def test_a_disk_that_cannot_even_be_read_does_not_end_the_daemon(house, monkeypatch):
    ill = False
    asked = set()

    def sick(name):
        well = getattr(Journal, name)

        def work(self, *args, **kwargs):
            if ill:
                asked.add(name)
                raise sqlite3.OperationalError("disk I/O error")
            return well(self, *args, **kwargs)

        monkeypatch.setattr(Journal, name, work)

    for name in ("commit", "counts", "prune", "outbox_batch", "unsent"):
        sick(name)
    monkeypatch.setattr(daemon, "_PRUNE_S", 0.05)
    async with house.run() as edge:
        await until(lambda: not edge.warming and accepted(edge) > 2)
        ill = True
        await until(lambda: asked >= {"commit", "counts", "prune"})
        waiting = edge.recorder.unsaved
        await until(lambda: edge.recorder.unsaved > waiting + 5)
        assert edge.health()["disk"] == "disk I/O error"
        ill = False
        await until(lambda: not edge.recorder.unsaved and not edge.recorder.problem)


@pytest.fixture
def record(tmp_path):
    """A recorder with little room, and its journal."""
    with ThreadPoolExecutor(1) as writer, Journal.open(tmp_path / "s.sqlite", boot="b1", now=T0) as journal:
        yield Recorder(journal, writer, room=10), journal


def quiet(i):
    """A step without alarms."""
    step = full_step(i)
    return T0 + i * 1000, step.readings, Step(step.readings, step.verdicts)


async def test_when_memory_is_full_the_oldest_readings_go_and_no_alert_does(record):
    recorder, journal = record
    fill_disk(journal)
    with contextlib.suppress(sqlite3.OperationalError):
        for i in range(1, 1000):
            commit(journal, i)
    begin = journal.counts().accepted // 2 + 1
    for i in range(begin, begin + 100):
        step = full_step(i)
        recorder.take(*(quiet(i) if i % 10 else (T0 + i * 1000, step.readings, step)))
        if i % 7 == 0:
            assert not await recorder.save()
    assert recorder.unsaved <= 10 + 10
    assert recorder.dropped >= 80
    free_disk(journal)
    assert await recorder.save()
    assert recorder.unsaved == 0
    tens = [i for i in range(begin, begin + 100) if i % 10 == 0]
    events = journal.outbox_batch(["event"], 10_000, 10**9)
    assert [row.body["number"] for row in events[-10:]] == tens
    assert journal.alarms()["contamination"].number == tens[-1]
    assert journal.counts().accepted // 2 == begin - 1 + 100 - recorder.dropped


async def test_a_step_that_cannot_be_written_down_gives_its_alert_and_stops_none_behind_it(record, caplog):
    recorder, journal = record
    bad = full_step(1)
    inputs = [Reading("ph", T0, None, Quality.MISSING, "\ud800")]
    recorder.take(T0, inputs, Step(inputs, [], bad.alerts, bad.alarms))
    recorder.take(*quiet(2))
    assert await recorder.save()
    assert "cannot be written down" in caplog.text
    assert [row.kind for row in journal.outbox_batch(["event", "obs"], 10, 10**9)] == ["event", "obs"]
    assert recorder.dropped == 1


async def test_saving_that_is_cancelled_leaves_every_step_whole_and_once(record):
    recorder, journal = record
    rng = random.Random(4)
    for i in range(1, 201):
        recorder.take(T0, *(full_step(i).readings, full_step(i)))
        if i % 5 == 0:
            task = asyncio.create_task(recorder.save())
            await asyncio.sleep(rng.uniform(0, 0.003))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert await recorder.save()
    assert recorder.dropped == 0
    assert journal.counts().repeats == 0
    assert journal.counts().accepted == 400


# The end


async def test_a_part_that_fails_for_good_ends_the_daemon_with_all_that_it_had_written(house, monkeypatch):
    edge = Edge(house.station, house.clock, make_drivers(house.station, house.clock), house.make)
    task = asyncio.create_task(edge.run(asyncio.Event()))
    await until(lambda: edge.recorder is not None and accepted(edge) > 4)
    taken = set(edge.readings.values())

    def mistake(*_):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(edge._pipeline, "tick", mistake)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        await asyncio.wait_for(task, 15)
    with house.look() as journal:
        assert {(r.channel, r.time) for r in taken} <= {(c, t) for c, t, _ in journal.accepted()}


def begin(folder, document):
    """`ewarn run` as a process, after its first words."""
    folder.mkdir(exist_ok=True)
    file = folder / "station.toml"
    (folder / "fake.toml").write_text(PROFILE)
    file.write_text(tomli_w.dumps(document))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "ewarn", "run", str(file)], stderr=log, stdout=log)
    return process, folder / "log"


async def test_sigterm_ends_it_well_within_ten_seconds_whatever_the_broker_does(tmp_path, broker):
    (tmp_path / "second").mkdir()
    frozen = Mosquitto(tmp_path / "second").start()
    rng = random.Random(5)
    running = {}
    for name, port in (("no-broker", free_port()), ("no-central", broker.port), ("frozen", frozen.port)):
        folder = tmp_path / name
        folder.mkdir()
        data = document(folder, port, free_port())
        data["station"]["id"] = name
        data["probes"][0]["every"] = "1s"
        with Journal.open(folder / "data" / FILE, boot="old", now=T0) as journal:
            for i in range(1, 50):
                commit(journal, i)
        running[name] = begin(folder, data)
    try:
        for _, log in running.values():
            await until(lambda log=log: "sonde" in log.read_text(), 40)
        await asyncio.sleep(rng.uniform(0, 0.3))
        frozen.signal(signal.SIGSTOP)
        for process, _ in running.values():
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            codes = [await asyncio.to_thread(process.wait, 20) for process, _ in running.values()]
        for code, (_, log) in zip(codes, running.values(), strict=True):
            assert code == 0, log.read_text()
            assert "Traceback" not in log.read_text()
    finally:
        frozen.kill()
        for process, _ in running.values():
            process.kill()
            process.wait()
    for name in running:
        with Journal.open(tmp_path / name / "data" / FILE, boot="look", now=T0) as journal:
            assert journal.quarantined is None
            assert journal.counts().accepted > 2 * 49


async def test_killed_and_started_again_and_again_it_continues(house):
    """Stopped at random instants, steps stay whole and no occurrence is doubled."""
    house.give_past(20)
    rng = random.Random(6)
    for n in range(6):
        async with house.run():
            house.gateway.registers[7] = 3000 if n % 2 else 900
            await asyncio.sleep(rng.uniform(0, 0.4))
    alerts = house.alerts()
    assert len(alerts) == len(set(alerts))
    assert [a[:2] for a in alerts] == sorted(a[:2] for a in alerts)
    with house.look() as journal:
        assert journal.quarantined is None
        times = [t for c, t, _ in journal.accepted() if c == "orp"]
    assert times == sorted(set(times))
