"""A flag that becomes final later: from the pipeline through the journal and the wire into the store."""

import asyncio
import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ewarn import wire
from ewarn.central import points
from ewarn.central.intake import Reader
from ewarn.central.stores import open_store
from ewarn.config import station_from
from ewarn.config.tables import SqliteTable
from ewarn.contracts import Quality, Reading
from ewarn.core.pipeline import Pipeline, Step
from ewarn.edge.journal import Journal
from ewarn.edge.recorder import Recorder

T0 = 1_780_000_020_000 - 1_780_000_020_000 % 60_000
MINUTE = 60_000
STEP = [8.0, 8.0, 9.0, 9.0, 9.0]
"""With limit 0.4: the first 9 is a spike at first and at last, as the 8 before it is at last; the second only at first."""
FINAL = [2, 3, 3, 1, 1]


@pytest.fixture
def station(tmp_path):
    return station_from(
        {"station": {"id": "s"}, "channels": {"ph": {"spike": 0.4}, "do": {}}}, tmp_path / "s.toml"
    )


@pytest.fixture
def journal(tmp_path):
    with Journal.open(tmp_path / "s.sqlite", boot="b1", now=T0) as journal:
        yield journal


@pytest.fixture
def store(tmp_path):
    store = open_store(SqliteTable(path=str(tmp_path / "central.sqlite")))
    store.open()
    yield store
    store.close()


def feed(pipeline, journal, values, first=0):
    for i, value in enumerate(values, first):
        readings = [Reading("ph", T0 + i * MINUTE, value), Reading("do", T0 + i * MINUTE, 7.0 + i / 100)]
        journal.commit(T0 + i * MINUTE, readings, pipeline.accept(T0 + i * MINUTE, readings))


def outbox(journal):
    return journal.outbox_batch(("obs",), 10_000, 10**9)


def deliver(rows, store):
    """As the uplink and the collector do it."""
    payload = wire.envelope("s", T0, "ntp", [{"boot": row.boot, "seq": row.seq, **row.body} for row in rows])
    parcel = Reader(lambda _: {}, lambda alert, language: "").read(wire.topic("s", "obs"), payload)
    assert not parcel.parked
    store.write(parcel.points)


def stored(store, channel="ph"):
    found = store.read("wq", {"station": "s", "channel": channel}, T0, T0 + 10**9)
    return [(p.fields["value"], p.fields["qc"], p.fields.get("why", "")) for p in found]


def final(values=STEP, flags=FINAL):
    reasons = {3: "spike", 2: ""}
    return [(v, q, reasons.get(q, "revised" if i == 3 else "")) for i, (v, q) in enumerate(zip(values, flags, strict=True))]


def test_the_store_ends_with_the_final_flag_and_the_value_as_it_was(station, journal, store):
    feed(Pipeline(station, {}), journal, [*STEP, 9.0])
    deliver(outbox(journal), store)
    assert stored(store)[:5] == final()
    assert [q for _, q, _ in stored(store, "do")] == [2, 1, 1, 1, 1, 1]


def test_rows_that_go_out_at_once_are_revised_after_them(station, journal, store):
    pipeline, sent = Pipeline(station, {}), 0
    for i, value in enumerate([*STEP, 9.0]):
        feed(pipeline, journal, [value], first=i)
        rows = [row for row in outbox(journal) if row.seq > sent]
        assert [row.seq for row in rows] == sorted(row.seq for row in rows)
        sent = rows[-1].seq
        deliver(rows, store)
    assert stored(store)[:5] == final()


def test_only_flags_that_changed_go_out_again_with_that_channel_alone(station, journal):
    feed(Pipeline(station, {}), journal, [*STEP, 9.0])
    again = [row for row in outbox(journal) if "do" not in row.body]
    assert [((row.time - T0) // MINUTE, row.body["ph"]) for row in again] == [(1, 8.0), (3, 9.0)]
    for row in again:
        first = next(r for r in outbox(journal) if r.time == row.time)
        assert first.seq < row.seq


def test_a_row_that_is_sent_again_late_does_not_bring_the_old_flag_back(station, journal, store):
    feed(Pipeline(station, {}), journal, [*STEP, 9.0])
    rows = outbox(journal)
    deliver([row for row in rows if "do" not in row.body], store)
    late = [row for row in rows if "do" in row.body]
    random.Random(1).shuffle(late)
    deliver(late, store)
    assert stored(store)[:5] == final()


def test_a_revision_is_no_reading(station, journal):
    feed(Pipeline(station, {}), journal, [*STEP, 9.0])
    assert journal.counts().accepted == 12
    assert journal.counts().repeats == 0
    history = [r for chunk in journal.history(0) for row in chunk for r in row.readings if r.channel == "ph"]
    assert [(r.value, int(r.quality)) for r in history] == [(v, 2) for v in [*STEP, 9.0]]
    assert [v for c, _, v in journal.accepted() if c == "ph"] == [*STEP, 9.0]


def test_what_was_no_reading_of_this_run_is_not_revised(station, journal):
    """A repeat was not sent; its value may be another than the one that was."""
    feed(Pipeline(station, {}), journal, [8.0, 8.0, 8.8])
    before = len(outbox(journal))
    feed(Pipeline(station, {}), journal, [7.0, 7.0, 7.8, 7.0])
    assert {row.body.get("ph") for row in outbox(journal)[before:]} == {7.0}
    assert len(outbox(journal)) == before + 1


def test_a_replay_of_the_journal_leads_to_the_same_flags(station, journal):
    values = [8 + random.Random(i).gauss(0, 0.05) + (i % 97 == 0) for i in range(1500)]
    live, shadow = Pipeline(station, {}), Pipeline(station, {}, muted=True)
    feed(live, journal, values)
    for chunk in journal.history(0):
        for row in chunk:
            shadow.accept(row.time, row.readings)
    for i, value in enumerate([8.0, 9.0, 8.0, 8.0], len(values)):
        now = T0 + i * MINUTE
        steps = [p.accept(now, [Reading("ph", now, value), Reading("do", now, 7.0)]) for p in (live, shadow)]
        assert steps[0].readings == steps[1].readings
        assert steps[0].revisions == steps[1].revisions


def test_a_disk_that_fails_for_a_while_loses_no_revision(station, journal, store, monkeypatch):
    pipeline, commit, failing = Pipeline(station, {}), journal.commit, [True, False, True, True, False]

    def moody(*args):
        if failing and failing.pop(0):
            raise sqlite3.OperationalError("disk full")
        return commit(*args)

    monkeypatch.setattr(journal, "commit", moody)

    async def run():
        with ThreadPoolExecutor(1) as writer:
            recorder = Recorder(journal, writer)
            for i, value in enumerate([*STEP, 9.0]):
                now = T0 + i * MINUTE
                readings = [Reading("ph", now, value), Reading("do", now, 7.0)]
                recorder.take(now, readings, pipeline.accept(now, readings))
                await recorder.save()
            while not await recorder.save():
                pass

    asyncio.run(run())
    deliver(outbox(journal), store)
    assert stored(store)[:5] == final()


def test_a_commit_that_was_taken_back_is_made_again_with_its_revision(station, journal, monkeypatch):
    pipeline = Pipeline(station, {})
    feed(pipeline, journal, STEP[:3])
    monkeypatch.setattr(journal, "_count", lambda *_: (_ for _ in ()).throw(sqlite3.OperationalError("no")))
    step = pipeline.accept(T0 + 3 * MINUTE, readings := [Reading("ph", T0 + 3 * MINUTE, 8.0)])
    assert [r.time for r in step.revisions] == []
    step.revisions.append(revised := Reading("ph", T0 + 2 * MINUTE, 9.0, Quality.PASS, "revised"))
    before = len(outbox(journal))
    with pytest.raises(sqlite3.OperationalError):
        journal.commit(0, readings, step)
    assert len(outbox(journal)) == before
    monkeypatch.undo()
    journal.commit(0, readings, step)
    assert outbox(journal)[-1].body["why"] == {"ph": "revised"}
    assert outbox(journal)[-1].time == revised.time


def test_readings_of_one_batch_are_revised_in_it(station, journal):
    readings = [Reading("ph", T0 + i * MINUTE, v) for i, v in enumerate([*STEP, 9.0])]
    step = Pipeline(station, {}).accept(T0 + 5 * MINUTE, readings)
    assert len(step.revisions) == 2
    journal.commit(T0, readings, step)
    assert [(row.time - T0) // MINUTE for row in outbox(journal)] == [0, 1, 2, 3, 4, 5, 1, 3]


def test_detection_sees_the_provisional_flag(station):
    pipeline = Pipeline(station, {})
    steps = [pipeline.accept(T0 + i * MINUTE, [Reading("ph", T0 + i * MINUTE, v)]) for i, v in enumerate(STEP)]
    assert [int(step.readings[0].quality) for step in steps] == [2, 1, 3, 3, 1]
    assert isinstance(steps[0], Step)
    assert points.of_reading("s", replace(steps[2].readings[0]), "ph").fields["qc"] == 3
