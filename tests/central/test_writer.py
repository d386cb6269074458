"""Batches, refusals and databases that are away. The stores are real or third parties' that fail."""

import asyncio
import contextlib
import json
import math
import threading
import time

import pytest
from centre import CLOCK, T0, until

from ewarn.central import writer as writer_module
from ewarn.central.confirmations import Confirmations
from ewarn.central.intake import Entry, Parcel
from ewarn.central.parked import Parked, ParkedFile
from ewarn.central.stores import open_store
from ewarn.central.writer import Job, Writer
from ewarn.central.writing import write_all
from ewarn.config import SqliteTable
from ewarn.contracts import Point
from ewarn.errors import LinkDown, PublishRefused, StoreRefused, StoreUnavailable
from ewarn.mqtt import Message
from ewarn.wire import stored_of

FAULTLESS = Point("collector", {"central": "main"}, {"refused": True}, T0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(writer_module, "FIRST_BACK_OFF", 0.02)
    monkeypatch.setattr(writer_module, "MAX_BACK_OFF", 0.05)
    monkeypatch.setattr(writer_module, "GATHER", 0.02)
    monkeypatch.setattr(writer_module, "CLOSE", 0.2)


def wq(n, value=7.0, **fields):
    return Point("wq", {"station": "a", "channel": "ph"}, {"value": value, **fields}, T0 + n)


class Broken:
    """A store of somebody else's: does what `how` says, then what a store should."""

    def __init__(self, *how):
        self.how, self.points, self.calls = list(how), {}, 0
        self.threads, self.free, self.closed = set(), threading.Event(), threading.Event()

    def open(self):
        self.threads.add(threading.current_thread().name)

    def write(self, points):
        self.calls += 1
        self.threads.add(threading.current_thread().name)
        how = self.how.pop(0) if self.how else None
        if how == "hang":
            self.free.wait(20)
        elif how is not None:
            raise how
        for point in points:
            if point.fields.get("value") == "bad":
                raise StoreRefused("a bad one")
        self.points |= {p.time: p for p in points if p.measurement == "wq"}

    def read(self, *_):
        return list(self.points.values())

    def close(self):
        self.threads.add(threading.current_thread().name)
        self.closed.set()


class TestWriteAll:
    @pytest.fixture
    def store(self, tmp_path):
        store = open_store(SqliteTable(path=str(tmp_path / "central.sqlite")))
        store.open()
        yield store
        store.close()

    @pytest.mark.parametrize("bad", [[], [0], [99], [0, 1, 50, 98, 99], range(100)], ids=str)
    def test_bad_points_cost_themselves(self, store, bad):
        points = [wq(i, math.nan if i in bad else float(i)) for i in range(100)]
        refused = write_all(store, points, FAULTLESS)
        assert [p.time - T0 for p, _ in refused] == list(bad)
        assert all("not a number" in reason for _, reason in refused)
        assert len(store.read("wq", {}, T0, T0 + 1000)) == 100 - len(bad)

    def test_one_bad_among_many_takes_few_attempts(self):
        store = Broken()
        write_all(store, [wq(i, "bad" if i == 700 else 1.0) for i in range(1024)], FAULTLESS)
        assert len(store.points) == 1023
        assert store.calls <= 2 * 10 + 2

    def test_a_store_that_refuses_everything_is_not_believed(self):
        store = Broken(*[StoreRefused("400 you speak HTTP to a TLS port")] * 2)
        with pytest.raises(StoreUnavailable, match="refuses everything: 400"):
            write_all(store, [wq(i) for i in range(1000)], FAULTLESS)
        assert store.calls == 2
        assert write_all(store, [wq(i) for i in range(1000)], FAULTLESS) == []

    def test_nothing_is_no_request(self):
        store = Broken()
        assert (write_all(store, [], FAULTLESS), store.calls) == ([], 0)


class Bench:
    """A writer, with what it settled."""

    def __init__(self, store, folder):
        self.batches, self.numbers = [], []
        self.parked = ParkedFile(folder)
        self.writer = Writer("main", store, self.parked, CLOCK, read=self.read, settled=self.settled, back=self.back)
        self.reads = self.backs = 0

    def read(self, message):
        self.reads += 1
        n = int(message.payload)
        return Parcel("t", [Entry("a", "b", n, (), (wq(n),))])

    def back(self):
        self.backs += 1

    def settled(self, batch, stored, parked):
        self.batches.append(len(batch.jobs))
        self.numbers.append((stored, parked))

    def put(self, *numbers):
        for n in numbers:
            self.writer.put(Job(Message("t", str(n).encode())))


@contextlib.asynccontextmanager
async def writing(store, folder):
    bench = Bench(store, folder)
    task = asyncio.create_task(bench.writer.run())
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.writer.close()


async def test_messages_are_gathered_and_written_on_one_thread(tmp_path):
    store = Broken()
    async with writing(store, tmp_path) as bench:
        bench.put(*range(50))
        assert bench.writer.waiting > 0
        await asyncio.wait_for(bench.writer.done(), 10)
        assert (bench.batches, bench.numbers, bench.writer.waiting) == ([50], [(50, 0)], 0)
    assert store.threads == {"store"}
    assert store.closed.is_set()


async def test_messages_wait_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "MAX_POINTS", 10)
    store = Broken("hang")
    async with writing(store, tmp_path) as bench:
        bench.put(*range(100))
        await until(lambda: store.calls)
        await asyncio.sleep(0.1)
        assert bench.reads == 10
        store.free.set()
        await asyncio.wait_for(bench.writer.done(), 10)
    assert len(store.points) == 100
    assert max(bench.batches) == 10


FAULTS = {
    "away": StoreUnavailable("down"),
    "asks to wait for ever": StoreUnavailable("busy", retry_after=1e12),
    "asks for no number": StoreUnavailable("busy", retry_after=math.nan),
    "asks for less than nothing": StoreUnavailable("busy", retry_after=-5.0),
    "fails": ZeroDivisionError("oops"),
    "exits": SystemError("C"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_a_store_does_data_waits_and_is_written_then(tmp_path, fault, monkeypatch, caplog):
    monkeypatch.setattr(writer_module, "MAX_RETRY_AFTER", 0.1)
    store = Broken(*[FAULTS[fault]] * 3)
    async with writing(store, tmp_path) as bench:
        bench.put(1, 2)
        await until(lambda: bench.writer.problem)
        assert bench.batches == []
        await asyncio.wait_for(bench.writer.done(), 10)
        assert bench.writer.problem == ""
        assert bench.backs == 1, "what comes back may be another database"
    assert (bench.batches, len(store.points)) == ([2], 2)
    assert caplog.text.count("is not available") == 1


async def test_an_alert_waits_for_no_more_than_the_batch_that_is_being_written(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "MAX_POINTS", 5)
    store = Broken("hang")
    async with writing(store, tmp_path) as bench:
        bench.put(*range(50))
        await until(lambda: store.calls)
        bench.writer.put(Job(Message("ewarn/v1/a/event", b"100")))
        store.free.set()
        await asyncio.wait_for(bench.writer.done(), 10)
    numbers = [p.time - T0 for p in store.points.values()]
    assert numbers.index(100) == 5
    assert [n for n in numbers if n < 100] == list(range(50))


async def test_what_is_parked_and_refused_is_said(tmp_path):
    async with writing(Broken(), tmp_path) as bench:
        parcel = Parcel("t", [Entry("a", "b", 1, (), (wq(1), wq(2, "bad")))], [Parked("t", "no JSON", "x")])
        bench.writer.put(Job(parcel=parcel))
        await asyncio.wait_for(bench.writer.done(), 10)
    assert bench.numbers == [(1, 2)]
    reasons = [json.loads(line)["reason"] for line in bench.parked.path.read_text().splitlines()]
    assert reasons == ["no JSON", "a bad one"]


async def test_closing_does_not_wait_for_a_store_that_hangs(tmp_path, caplog):
    store = Broken("hang")
    async with writing(store, tmp_path) as bench:
        bench.put(1)
        await until(lambda: store.calls)
        begin = time.monotonic()
    assert time.monotonic() - begin < 5
    assert "the database hangs" in caplog.text
    store.free.set()
    assert await asyncio.to_thread(store.closed.wait, 10)


async def test_a_mistake_after_writing_ends_the_writer_instead_of_leaving_it_dead(tmp_path):
    async with writing(Broken(), tmp_path) as bench:
        bench.writer._settled = lambda *_: 1 / 0
        bench.put(1)
        task = next(t for t in asyncio.all_tasks() if "Writer.run" in str(t.get_coro()))
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(asyncio.shield(task), 10)


class Said:
    """Stands for the link: keeps what is published, one at a time."""

    def __init__(self):
        self.messages, self.error, self.gate = [], None, asyncio.Event()
        self.gate.set()

    async def __call__(self, topic, payload, *, expiry=None):
        await self.gate.wait()
        if self.error:
            raise self.error
        self.messages.append((topic, *stored_of(payload)))

    def rows(self):
        return [(t, b, n) for t, b, ranges in self.messages for first, last in ranges for n in range(first, last + 1)]


class TestConfirmations:
    async def test_one_message_for_each_station_and_boot(self):
        said = Said()
        confirmations = Confirmations("main", said)
        confirmations.add(Entry(s, b, n) for n in (3, 1, 2, 9) for s in ("a", "z") for b in ("x", "y"))
        assert await confirmations.flush()
        assert len(said.messages) == 4
        assert said.messages[0] == ("ewarn/v1/a/stored/main", "x", [(1, 3), (9, 9)])

    async def test_what_could_not_be_said_waits(self):
        said = Said()
        confirmations = Confirmations("main", said)
        said.error = LinkDown("gone")
        confirmations.add([Entry("a", "x", 1)])
        assert not await confirmations.flush()
        said.error = None
        confirmations.add([Entry("a", "x", 2)])
        assert await confirmations.flush()
        assert said.messages == [("ewarn/v1/a/stored/main", "x", [(1, 2)])]

    async def test_what_is_refused_is_dropped_and_said_once(self, caplog):
        said = Said()
        confirmations = Confirmations("main", said)
        said.error = PublishRefused("Not authorized")
        for n in range(5):
            confirmations.add([Entry("a", "x", n)])
            assert await confirmations.flush()
        assert caplog.text.count("cannot confirm rows of a") == 1
        assert confirmations._waiting == {}

    async def test_two_that_flush_at_once_say_everything_once(self):
        said = Said()
        said.gate.clear()
        confirmations = Confirmations("main", said)
        confirmations.add(Entry(s, "x", 1) for s in "abc")
        both = [asyncio.create_task(confirmations.flush()) for _ in range(2)]
        await asyncio.sleep(0)
        said.gate.set()
        assert await asyncio.gather(*both) == [True, True]
        assert len(said.messages) == 3

    async def test_many_rows_far_apart_are_said_in_messages_that_brokers_take(self):
        said = Said()
        confirmations = Confirmations("main", said)
        numbers = range(2**62, 2**62 + 40_000, 3)
        confirmations.add(Entry("a", "x", n) for n in numbers)
        assert await confirmations.flush()
        assert [n for _, _, n in said.rows()] == list(numbers)
        assert max(len(ranges) for _, _, ranges in said.messages) <= 5000

    async def test_repetitions_are_counted_and_the_memory_of_them_is_bounded(self):
        confirmations = Confirmations("main", Said())
        for boot in range(300):
            confirmations.add(Entry("a", f"b{boot}", n) for n in range(100))
        confirmations.add(Entry("a", "b299", n) for n in range(100))
        assert confirmations.repeated == 100
        assert len(confirmations._seen) == 20_000
        await confirmations.flush()
        assert confirmations._waiting == {}
