"""Reading the probes: no line waits for another, nothing that a driver does stops the rest, all recovers by itself."""

import asyncio
import contextlib
import itertools
import logging
import math
import time

import pytest
from gateway import PROFILE, Gateway
from servers import free_port

from drivers.modbus import ModbusDriver, ModbusOptions
from ewarn.config.station import ProbeSpec
from ewarn.contracts import LineSettings, ProbeSettings, Quality, Reading
from ewarn.edge import acquisition
from ewarn.edge.acquisition import Acquisition
from ewarn.errors import LineLost, NoReply, ProbeBusy, ProbeRefused, ProfileMismatch, WrongReply
from ewarn.registry import BoundProbe
from ewarn.times import SystemClock

CLOCK = SystemClock()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(acquisition, "REST_S", 0.15)
    monkeypatch.setattr(acquisition, "BACKOFF_FIRST_S", 0.02)
    monkeypatch.setattr(acquisition, "BACKOFF_MOST_S", 0.2)


class ScriptedLine:
    def __init__(self):
        self.opened, self.closed = 0, 0

    async def open(self):
        self.opened += 1

    async def close(self):
        self.closed += 1


class Scripted:
    """A third party's driver: what `work(n)` gives or raises at the nth read; `asked` is when."""

    def __init__(self, work, clock=CLOCK, line=None):
        self.work, self.clock, self.line = work, clock, line or ScriptedLine()
        self.asked = []
        self.channel = ""

    def make_line(self):
        return self.line

    async def read(self, line):
        self.asked.append(self.clock.monotonic())
        result = self.work(len(self.asked))
        if asyncio.iscoroutine(result):
            result = await result
        if isinstance(result, BaseException):
            raise result
        return result if isinstance(result, list | None) else [Reading(self.channel, self.clock.now(), float(result))]


def probe(name, work, *, line="a", every=0.02, timeout=1.0, **more):
    driver = work if isinstance(work, Scripted) else Scripted(work, **more)
    driver.channel = name
    settings = LineSettings(line, "tcp", host="127.0.0.1", port=1)
    return BoundProbe(ProbeSpec(name, "x", settings, {name: name}, every, timeout, {}, ""), driver)


class Heard:
    """What the acquisition of these probes gave so far."""

    def __init__(self, *probes, clock=CLOCK):
        self.batches = []
        self.acquisition = Acquisition(probes, clock, self._take)

    async def _take(self, batch):
        self.batches.append(batch)

    def of(self, name):
        return [r for b in self.batches if b.probe == name for r in b.readings]

    def values(self, name):
        return [r.value for r in self.of(name) if r.value is not None]

    def reasons(self, name):
        return [r.reason for r in self.of(name) if r.value is None]

    async def __aenter__(self):
        self.task = asyncio.create_task(self.acquisition.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def until(self, condition, limit=15.0):
        async with asyncio.timeout(limit):
            while not condition():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.005)


def after(failures, error):
    """Fails so often, then gives values."""
    return lambda n: error if n <= failures else n


def messages(caplog, name):
    return [r.message for r in caplog.records if f"probe {name}:" in r.message]


def modbus(tmp_path, port, unit, *, every=0.05, timeout=0.05):
    path = tmp_path / "fake.toml"
    path.write_text(PROFILE)
    name = f"u{unit}"
    line = LineSettings("gateway", "tcp", host="127.0.0.1", port=port)
    options = ModbusOptions(str(path), unit=unit, settle=timeout)
    driver = ModbusDriver(ProbeSettings(name, line, {name: "spcond"}, timeout, options), CLOCK)
    return BoundProbe(ProbeSpec(name, "modbus", line, {name: "spcond"}, every, timeout, {}, ""), driver)


# Lines and neighbours


async def test_one_line_does_not_wait_for_another():
    forever = probe("stuck", lambda _n: asyncio.sleep(3600))
    async with Heard(forever, probe("well", lambda n: n, line="b")) as heard:
        await heard.until(lambda: len(heard.values("well")) >= 20)
        assert heard.of("stuck") == []


async def test_a_dead_unit_is_asked_rarely_and_its_neighbour_hardly_notices(tmp_path):
    port = free_port()
    async with Gateway(port) as gateway, Heard(modbus(tmp_path, port, 1), modbus(tmp_path, port, 2)) as heard:
        gateway.dead.add(2)
        await heard.until(lambda: heard.acquisition.states["u2"].failures >= 3)
        begin, asked, given = time.monotonic(), len(gateway.asked), len(heard.batches)
        await heard.until(lambda: heard.acquisition.states["u2"].failures >= 6)
        seconds = time.monotonic() - begin
        assert gateway.asked[asked:].count(2) <= seconds / acquisition.REST_S + 1
        assert seconds >= 3 * acquisition.REST_S
        later = heard.batches[given:]
        assert {r.value for b in later if b.probe == "u1" for r in b.readings} == {900.0}
        assert {r.reason for b in later if b.probe == "u2" for r in b.readings} == {"no_reply"}
        cycles = [sum(b.probe == name for b in later) for name in ("u1", "u2")]
        assert min(cycles) > 5
        assert abs(cycles[0] - cycles[1]) <= 2
        gateway.dead.clear()
        await heard.until(lambda: heard.values("u2"))


async def test_a_probe_that_takes_long_to_fail_takes_at_most_a_tenth_of_a_shared_line():
    spent = []

    async def slow(_n):
        began = time.monotonic()
        await asyncio.sleep(0.05)
        spent.append(time.monotonic() - began)
        return NoReply("nothing")

    async with Heard(probe("slow", slow), probe("well", lambda n: n)) as heard:
        await heard.until(lambda: len(spent) == 3)
        begin = time.monotonic()
        await heard.until(lambda: len(spent) == 5)
        assert sum(spent[3:]) < 0.12 * (time.monotonic() - begin)
        assert len(heard.values("well")) > 20


async def test_a_probe_alone_on_its_line_is_asked_as_soon_as_may_be():
    async def slow(_n):
        await asyncio.sleep(0.1)
        return NoReply("nothing")

    alone = probe("slow", slow)
    async with Heard(alone) as heard:
        await heard.until(lambda: len(alone.driver.asked) == 6)
    gaps = [b - a for a, b in itertools.pairwise(alone.driver.asked)]
    assert min(gaps[3:]) < 9 * 0.1


async def test_a_probe_that_breaks_the_line_of_others_rests(caplog):
    sick, well = probe("sick", lambda _n: LineLost("reset")), probe("well", lambda n: n)
    async with Heard(sick, well) as heard:
        await heard.until(lambda: len(sick.driver.asked) >= 3 and len(well.driver.asked) >= 3)
        await heard.until(lambda: len(sick.driver.asked) >= 6)
        asked = sick.driver.asked[-3:]
        assert asked[-1] - asked[0] >= 2 * acquisition.REST_S
        values = heard.values("well")
        await heard.until(lambda: len(heard.values("well")) > len(values) + 5)
    assert len(messages(caplog, "sick")) == 1


# What fails, and how often it is asked


@pytest.mark.parametrize(("error", "reason"), [
    (ProbeRefused("illegal data address"), "refused"), (ProfileMismatch("another device"), "profile_mismatch"),
])  # fmt: skip
async def test_a_permanent_error_is_named_once_and_asked_now_and_then(error, reason, caplog):
    one = probe("p", after(3, error), every=0.01)
    async with Heard(one) as heard:
        await heard.until(lambda: heard.values("p"))
    gaps = [b - a for a, b in itertools.pairwise(one.driver.asked[:4])]
    assert min(gaps) >= acquisition.REST_S
    assert set(heard.reasons("p")) == {reason}
    assert len(heard.reasons("p")) > 10, "every cycle gives a reading"
    assert messages(caplog, "p") == [f"probe p: {error}"]


@pytest.mark.parametrize(("error", "reason"), [
    (NoReply("nothing"), "no_reply"), (WrongReply("noise"), "wrong_reply"), (ProbeBusy("later"), "busy"),
    (TimeoutError(), "no_reply"),
])  # fmt: skip
async def test_a_transient_error_is_tried_three_times_and_then_now_and_then(error, reason, caplog):
    caplog.set_level(logging.INFO)
    one = probe("p", after(5, error), every=0.01)
    async with Heard(one) as heard:
        await heard.until(lambda: heard.values("p"))
        state = heard.acquisition.states["p"]
        assert (state.failures, state.reason) == (0, "")
        assert state.last_good is not None
    gaps = [b - a for a, b in itertools.pairwise(one.driver.asked[:6])]
    assert min(gaps[2:]) >= acquisition.REST_S
    assert max(gaps[:2]) < acquisition.REST_S
    assert set(heard.reasons("p")) == {reason}
    assert len(messages(caplog, "p")) == 2
    assert messages(caplog, "p")[1] == "probe p: delivers again after 5 failures"


async def test_a_slow_cadence_does_not_make_recovery_slow():
    one = probe("p", after(2, NoReply("nothing")), every=3600)
    async with Heard(one) as heard:
        await heard.until(lambda: heard.values("p"))
        assert [r.value for r in heard.of("p")] == [None, 3.0], "between two cycles only values are given"


async def test_a_line_that_is_lost_is_opened_again_with_a_pause_that_grows_to_its_limit():
    one = probe("p", lambda _n: LineLost("gone"), every=0.01)
    async with Heard(one) as heard:
        await heard.until(lambda: len(one.driver.asked) >= 8)
    gaps = [b - a for a, b in itertools.pairwise(one.driver.asked)]
    for gap, pause in zip(gaps, (0.02, 0.04, 0.08, 0.16, 0.2, 0.2, 0.2), strict=False):
        assert gap >= pause / 2
    assert one.driver.line.closed >= 7
    assert set(heard.reasons("p")) == {"line_lost"}
    assert len(heard.of("p")) > len(one.driver.asked), "every cycle gives a reading"


async def test_while_a_line_is_lost_no_probe_on_it_is_asked():
    lost = True
    first, second = (probe(p, lambda n: LineLost("gone") if lost else n, every=0.01) for p in "pq")
    async with Heard(first, second) as heard:
        await heard.until(lambda: len(heard.reasons("p")) > 30)
        attempts = len(first.driver.asked) + len(second.driver.asked)
        assert attempts < 20
        assert len(heard.reasons("q")) > 20
        assert heard.acquisition.states["q"].reason == "line_lost"
        lost = False
        await heard.until(lambda: heard.values("p") and heard.values("q"))


async def test_a_probe_that_is_absent_at_the_start_is_named_once_and_recovers_by_itself(tmp_path, caplog):
    port = free_port()
    async with Heard(modbus(tmp_path, port, 1, every=3600)) as heard:
        await heard.until(lambda: heard.acquisition.states["u1"].failures >= 4)
        assert len(messages(caplog, "u1")) == 1
        assert "cannot be opened" in messages(caplog, "u1")[0]
        async with Gateway(port):
            await heard.until(lambda: heard.values("u1") == [900.0])


async def test_a_gateway_that_goes_and_comes_back(tmp_path):
    port = free_port()
    async with Heard(modbus(tmp_path, port, 1), modbus(tmp_path, port, 2)) as heard:
        for _ in range(3):
            async with Gateway(port):
                count = len(heard.batches)
                await heard.until(lambda c=count: {b.probe for b in heard.batches[c:] if b.readings[0].value} == {"u1", "u2"})
            await heard.until(lambda: heard.of("u1")[-1].reason == heard.of("u2")[-1].reason == "line_lost")


# What drivers do that they should not


def reading(value=1.0, channel="p", quality=Quality.NOT_EVALUATED, ahead=0):
    return Reading(channel, CLOCK.now() + ahead, value, quality)


MISDEEDS = {
    "raises": lambda _n: KeyError("oops"),
    "is cancelled": lambda _n: asyncio.CancelledError(),
    "gives nothing": lambda _n: None,
    "gives no readings": lambda _n: [],
    "gives something else": lambda _n: ["text"],
    "gives another channel": lambda _n: [reading(channel="q")],
    "gives a channel twice": lambda _n: [reading(), reading()],
    "gives NaN": lambda _n: [reading(math.nan)],
    "gives infinity": lambda _n: [reading(math.inf)],
    "gives no number": lambda _n: [reading("7.0")],
    "gives a value that is missing": lambda _n: [reading(quality=Quality.MISSING)],
    "gives no value that is not missing": lambda _n: [reading(None)],
    "gives a reading of tomorrow": lambda _n: [reading(ahead=86_400_000)],
    "gives a reading of long ago": lambda _n: [Reading("p", -1, 1.0)],
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
async def test_what_a_driver_does_wrong_is_its_own_matter(misdeed, caplog):
    bad = probe("p", lambda n: MISDEEDS[misdeed](n) if n < 3 else n)
    async with Heard(bad, probe("same", lambda n: n), probe("other", lambda n: n, line="b")) as heard:
        await heard.until(lambda: heard.values("p"))
        await heard.until(lambda: len(heard.values("same")) > 10 and len(heard.values("other")) > 10)
    assert set(heard.reasons("p")) == {"driver_error"}
    assert heard.values("p")[0] == 3.0
    assert (heard.reasons("same"), heard.reasons("other")) == ([], [])
    assert sum("its driver failed" in m for m in messages(caplog, "p")) == 1


async def test_a_driver_that_hangs_is_given_up_and_its_line_opened_anew(monkeypatch):
    monkeypatch.setattr(acquisition, "_PATIENCE", 2.0)
    bad = probe("p", lambda n: asyncio.sleep(3600) if n < 3 else n, timeout=0.05)
    async with Heard(bad, probe("same", lambda n: n)) as heard:
        await heard.until(lambda: heard.values("p"))
    assert set(heard.reasons("p")) == {"no_reply"}
    assert bad.driver.line.closed == 2 + 1
    assert heard.reasons("same") == []


async def test_a_line_that_cannot_be_made_is_its_probes_matter():
    class Unmade(Scripted):
        tries = 0

        def make_line(self):
            self.tries += 1
            if self.tries < 4:
                raise OSError("no such thing")
            return self.line

    async with Heard(probe("p", Unmade(lambda n: n)), probe("well", lambda n: n, line="b")) as heard:
        await heard.until(lambda: heard.values("p") and len(heard.values("well")) > 10)
        assert set(heard.reasons("p")) == {"driver_error"}


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_line_that_does_not_close_is_replaced(how, monkeypatch):
    monkeypatch.setattr(acquisition, "_CLOSE_S", 0.05)

    class Stuck(ScriptedLine):
        async def close(self):
            await super().close()
            if how == "raises":
                raise OSError("busy")
            await asyncio.sleep(3600)

    made = []

    class Remade(Scripted):
        def make_line(self):
            made.append(Stuck())
            return made[-1]

    async with Heard(probe("p", Remade(after(2, LineLost("gone"))))) as heard:
        await heard.until(lambda: heard.values("p"))
    assert [line.opened > 0 for line in made] == [True] * 3


@pytest.mark.parametrize("mistake", [RuntimeError("a mistake of ours"), asyncio.CancelledError()])
async def test_a_line_whose_task_fails_is_named_and_begun_anew(mistake, caplog, monkeypatch):
    monkeypatch.setattr(acquisition, "_RESTART_S", 0.05)
    heard = Heard(probe("p", lambda n: n), probe("other", lambda n: n, line="b"))
    take = heard.acquisition._on_batch
    broken = True

    async def failing(batch):
        if broken and batch.probe == "p":
            raise mistake
        await take(batch)

    heard.acquisition._on_batch = failing
    async with heard:
        await heard.until(lambda: len(heard.values("other")) > 20)
        assert heard.acquisition.faults == {"a": repr(mistake)}
        broken = False
        await heard.until(lambda: heard.values("p"))
        assert heard.acquisition.faults == {}
    assert sum("line a: its task failed" in r.message for r in caplog.records) == 1


@pytest.fixture
def deaf():
    """A read that hangs whatever is done to it, until the test is over or sets `deaf.free`."""

    async def hang(n):
        while not hang.free:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)
        return n

    hang.free = False
    return hang


async def test_a_driver_that_does_not_let_go_is_left_behind_and_its_line_made_anew(monkeypatch, caplog, deaf):
    monkeypatch.setattr(acquisition, "_PATIENCE", 2.0)
    monkeypatch.setattr(acquisition, "_LET_GO_S", 0.05)
    made = []

    class Remade(Scripted):
        def make_line(self):
            made.append(ScriptedLine())
            return made[-1]

    bad = probe("p", Remade(lambda n: deaf(n) if n < 4 else n), timeout=0.05)
    try:
        async with Heard(bad, probe("same", Remade(lambda n: n)), probe("other", lambda n: n, line="b")) as heard:
            await heard.until(lambda: heard.values("p"))
    finally:
        deaf.free = True
    assert heard.values("p")[0] == 4.0
    assert len(made) == 4
    assert all(line.closed for line in made[:3])
    assert set(heard.reasons("p")) == {"no_reply"}
    assert heard.reasons("same") == heard.reasons("other") == []
    assert sum("does not let go" in r.message for r in caplog.records) == 3


async def test_reads_that_hang_for_good_do_not_heap_up(monkeypatch, deaf):
    monkeypatch.setattr(acquisition, "_PATIENCE", 2.0)
    monkeypatch.setattr(acquisition, "_LET_GO_S", 0.02)
    monkeypatch.setattr(acquisition, "_MOST_LEFT", 2)
    bad = probe("p", lambda n: deaf(n) if n < 3 else n, timeout=0.01)
    try:
        async with Heard(bad) as heard:
            await heard.until(lambda: "driver_error" in heard.reasons("p"))
            assert "2 reads of its driver hang" in heard.acquisition.states["p"].detail
            count = len(heard.of("p"))
            await heard.until(lambda: len(heard.of("p")) > count + 30)
            assert len(bad.driver.asked) == 2
            deaf.free = True
            await heard.until(lambda: heard.values("p"))
    finally:
        deaf.free = True


async def test_a_line_that_does_not_come_back_counts_as_stalled(monkeypatch):
    monkeypatch.setattr(acquisition, "_GRACE_S", 0.2)
    monkeypatch.setattr(acquisition, "_PATIENCE", 0.1)
    monkeypatch.setattr(acquisition, "_CLOSE_S", 0.1)
    heard = Heard(probe("p", lambda n: n), probe("other", lambda n: n, line="b"))
    take = heard.acquisition._on_batch

    async def stuck(batch):
        await (asyncio.sleep(3600) if batch.probe == "p" else take(batch))

    heard.acquisition._on_batch = stuck
    async with heard:
        assert heard.acquisition.stalled == ()
        await heard.until(lambda: heard.acquisition.stalled == ("a",))


async def test_a_probe_of_a_slow_cadence_is_not_stalled(monkeypatch):
    monkeypatch.setattr(acquisition, "_GRACE_S", 0.05)
    async with Heard(probe("p", lambda n: n, every=3600), probe("q", lambda n: n, line="b")) as heard:
        await heard.until(lambda: len(heard.values("q")) > 20)
        assert heard.acquisition.stalled == ()


async def test_a_driver_that_swallows_the_cancellation_does_not_keep_the_line_going():
    async def deaf(n):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return n

    bad = probe("p", deaf)
    heard = Heard(bad)
    async with asyncio.timeout(10):
        async with heard:
            await heard.until(lambda: bad.driver.asked)
    assert len(bad.driver.asked) == 1


# Time


class Hands:
    """A clock that is moved by hand and by sleeping."""

    def __init__(self):
        self.seconds, self.wall = 1000.0, 1_780_000_000_000

    def now(self):
        return self.wall + round(self.seconds * 1000)

    def monotonic(self):
        return self.seconds

    async def sleep(self, seconds):
        self.seconds += max(0.0, seconds)
        await asyncio.sleep(0)


def taking(clock, seconds):
    """Reads that take so long: a list, or always the same."""

    def work(n):
        clock.seconds += seconds[n - 1] if isinstance(seconds, list) and n <= len(seconds) else 0.5
        return n

    return work


async def test_cadence_is_steady_and_does_not_drift():
    clock = Hands()
    one = probe("p", taking(clock, 0.5), every=10, clock=clock)
    async with Heard(one, clock=clock) as heard:
        await heard.until(lambda: len(one.driver.asked) >= 1000)
    assert one.driver.asked[:1000] == [1000.0 + 10 * n for n in range(1000)]


async def test_what_was_missed_is_not_made_up_for():
    clock = Hands()
    one = probe("p", taking(clock, [1, 35, 1, 10, 1]), every=10, clock=clock)
    async with Heard(one, clock=clock) as heard:
        await heard.until(lambda: len(one.driver.asked) >= 6)
    assert [t - 1000 for t in one.driver.asked[:6]] == [0, 10, 50, 60, 80, 90]


async def test_a_jump_of_the_clock_moves_stamps_and_not_the_cadence():
    clock = Hands()

    def work(n):
        if n in (10, 20):
            clock.wall += 86_400_000 if n == 10 else -2 * 86_400_000
        return n

    one = probe("p", work, every=10, clock=clock)
    async with Heard(one, clock=clock) as heard:
        await heard.until(lambda: len(heard.of("p")) >= 30)
    assert one.driver.asked[:30] == [1000.0 + 10 * n for n in range(30)]
    stamps = [r.time for r in heard.of("p")[:30]]
    days = [round((b - a) / 86_400_000, 2) for a, b in itertools.pairwise(stamps)]
    assert days == [0.0] * 8 + [1.0] + [0.0] * 9 + [-2.0] + [0.0] * 10
