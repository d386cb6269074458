"""What is wrong with the station itself reaches people and the service manager, and holds up nothing else."""

import asyncio
import itertools
import threading
import time

import pytest
from house import SPEED, STEP_MS, House, Level, Raising, accepted, state, until
from manager import Manager
from steps import T0

from ewarn.contracts import AlarmState, Quality
from ewarn.core.health_alarms import PREFIX
from ewarn.edge import acquisition, daemon, timed, uplink
from ewarn.edge.daemon import Edge
from ewarn.edge.notify import Notifier
from ewarn.registry import make_drivers
from ewarn.times import ScaledClock, SteadyClock

UNACK, RTNUN, NORM = AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED_UNACKNOWLEDGED, AlarmState.NORMAL


@pytest.fixture(autouse=True)
def quicker(quick, monkeypatch):
    monkeypatch.setattr(daemon, "_WATCH_S", 0.05)
    monkeypatch.setattr(uplink, "REFUSED_PAUSE_MOST", 0.1)


def ill(edge, kind):
    """State and reason of an alarm of the station itself, as it was raised last."""
    alert = edge.alerts.get(PREFIX + kind)
    return (alert.state, alert.detail.get("reason", "")) if alert else (NORM, "")


async def test_a_disk_that_takes_nothing_is_an_alarm_that_goes_with_it_and_can_be_acknowledged(house):
    async with house.run() as edge:
        await until(lambda: accepted(edge) > 2)
        with edge.journal._lock:
            (pages,) = edge.journal._db.execute("PRAGMA page_count").fetchone()
            edge.journal._db.execute(f"PRAGMA max_page_count = {pages}")
        await until(lambda: ill(edge, "disk") == (UNACK, "disk_refuses"))
        assert edge.uplink._documents["alarm/health-disk"]["state"] == "UNACK"
        with edge.journal._lock:
            edge.journal._db.execute("PRAGMA max_page_count = 1000000")
        await until(lambda: ill(edge, "disk")[0] is RTNUN)
        await edge.acknowledge("health-disk", "Ana")
        assert ill(edge, "disk")[0] is NORM
        assert edge.journal.alarms()["health-disk"].state is NORM


async def test_a_file_that_was_set_aside_is_an_alarm_of_that_run(house):
    house.give_past(500)
    house.file.write_bytes(b"\0" * house.file.stat().st_size)
    async with house.run() as edge:
        await until(lambda: ill(edge, "file") == (UNACK, "file_set_aside"))
        await until(lambda: "health-file" in edge.journal.alarms())
    async with house.run() as edge:
        await until(lambda: ill(edge, "file")[0] is RTNUN)


async def test_a_broker_that_refuses_us_is_an_alarm(tmp_path, broker):
    house = House(tmp_path, broker.port)
    acl = tmp_path / "acl"
    acl.write_text("topic read #\n")
    acl.chmod(0o644)
    broker.configure(f"acl_file {acl}\n")
    broker.restart()
    async with house.gateway, house.run() as edge:
        await until(lambda: ill(edge, "link") == (UNACK, "broker_refuses"))
        broker.configure("")
        broker.restart()
        await until(lambda: ill(edge, "link")[0] is RTNUN)


async def test_a_broker_that_is_only_away_is_none(house):
    async with house.run() as edge:
        await until(lambda: "refused" in edge.health()["link"])
        await asyncio.sleep(0.3)
        assert ill(edge, "link") == (NORM, "")


async def test_a_detector_that_is_switched_off_is_an_alarm_that_names_it(house):
    house.give_past(20)
    async with house.run(Raising, Level) as edge:
        await until(lambda: ill(edge, "detection") == (UNACK, "detector_off:Raising"))


async def test_a_driver_that_fails_again_and_again_is_an_alarm_that_names_its_probe(house, monkeypatch):
    async with house.run() as edge:
        await until(lambda: accepted(edge) > 2)
        driver = edge._acquisition._wires["gateway"].turns[0].bound.driver

        async def broken(_line):
            raise KeyError("oops")

        monkeypatch.setattr(driver, "read", broken)
        await until(lambda: ill(edge, "lines") == (UNACK, "driver_fails:sonde"))


class Slow(Level):
    """Takes longer than a detector may."""

    def score_one(self, x):
        time.sleep(0.06)
        return super().score_one(x)


async def test_a_slow_detector_is_switched_off_by_name_and_the_others_go_on(house, monkeypatch):
    monkeypatch.setattr(timed, "TOO_LONG_S", 0.05)
    house.give_past(20)
    async with house.run(Slow, Level) as edge:
        await until(lambda: ill(edge, "detection") == (UNACK, "detector_off:Slow"))
        assert "TooSlow" in edge.health()["detectors_off"]["Slow"]
        await until(lambda: not edge.warming)
        house.gateway.registers[7] = 3000
        await until(lambda: state(edge) is UNACK)


@pytest.mark.parametrize("warming", [True, False])
async def test_a_detector_that_never_comes_back_holds_up_neither_lines_nor_storing(warming, house, monkeypatch):
    monkeypatch.setattr(daemon, "_STUCK_DETECTION_S", 0.3)
    monkeypatch.setattr(daemon, "_BACKLOG", 5)
    stuck, free = threading.Event(), threading.Event()

    class Stuck(Level):
        def score_one(self, x):
            assert not stuck.is_set() or free.wait(30)
            return super().score_one(x)

    house.give_past(1)
    if warming:
        stuck.set()
    try:
        async with house.run(Stuck) as edge:
            await until(lambda: edge.warming is warming)
            stuck.set()
            await until(lambda: ill(edge, "detection") == (UNACK, "detection_stuck:Stuck"))
            await until(lambda: edge.unjudged > 5 or warming)
            before = accepted(edge)
            await until(lambda: accepted(edge) > before + 10)
            house.gateway.registers[7] = 901
            await until(lambda: edge.readings["spcond"].value == 901)
            free.set()
            await until(lambda: ill(edge, "detection")[0] is RTNUN)
            unjudged = edge.unjudged
            await until(lambda: not edge._inbox)
            assert edge.unjudged == unjudged
    finally:
        free.set()


async def test_what_detection_has_not_come_to_is_stored_at_the_end(house, monkeypatch):
    monkeypatch.setattr(daemon, "_JUDGE_S", 0.1)
    stick, free = threading.Event(), threading.Event()

    class Stuck(Level):
        def score_one(self, x):
            assert not stick.is_set() or free.wait(30)
            return super().score_one(x)

    try:
        async with house.run(Stuck) as edge:
            await until(lambda: not edge.warming)
            stick.set()
            await until(lambda: len(edge._inbox) > 3)
            waiting = {(r.channel, r.time) for _, readings in edge._inbox for r in readings}
    finally:
        free.set()
    with house.look() as journal:
        assert waiting <= {(c, t) for c, t, _ in journal.accepted()}


# The service manager


@pytest.fixture
def manager(tmp_path):
    with Manager(tmp_path) as heard:
        yield heard


async def run_for(house, manager, work):
    edge = Edge(
        house.station, house.clock, make_drivers(house.station, house.clock), house.make,
        Notifier(manager.environment()),
    )  # fmt: skip
    stop = asyncio.Event()
    task = asyncio.create_task(edge.run(stop))
    try:
        await until(lambda: len(manager.times("WATCHDOG=1")) > 2)
        await work(edge)
    finally:
        stop.set()
        await asyncio.wait_for(task, 15)


async def test_a_blocked_event_loop_is_not_alive(house, manager):
    async def block(_edge):
        begin = time.monotonic()
        time.sleep(1)
        end = time.monotonic()
        assert not [t for t in manager.times("WATCHDOG=1") if begin + 0.2 < t < end]
        await until(lambda: manager.times("WATCHDOG=1")[-1] > end)

    await run_for(house, manager, block)


async def silent(manager):
    """Until the manager hears how it fares, but not that it is alive."""
    async with asyncio.timeout(20):
        while "WATCHDOG=1" in manager.heard[-1][1]:
            await asyncio.sleep(0.02)


async def test_a_wedged_line_is_not_alive(house, manager, monkeypatch):
    monkeypatch.setattr(acquisition, "_GRACE_S", 0.1)

    async def wedge(edge):
        async def never(_batch):
            await asyncio.sleep(3600)

        edge._acquisition._on_batch = never
        monkeypatch.setattr(acquisition, "_GRACE_S", -60.0)
        await silent(manager)
        await until(lambda: ill(edge, "lines") == (UNACK, "line_stalled:gateway"))

    await run_for(house, manager, wedge)


async def test_a_wedged_link_is_not_alive(house, manager, monkeypatch):
    async def wedge(edge):
        monkeypatch.setattr(uplink, "STALLED", -1.0)
        await silent(manager)

    await run_for(house, manager, wedge)


# Time


class Set(ScaledClock):
    """A clock that people and NTP set."""

    by = 0

    def now(self):
        return super().now() + self.by


DAY = 86_400_000
JUMPS = {
    "a boot in 1970, then NTP": [-T0, 0],
    "two weeks back": [0, -14 * DAY],
    "an hour forward and back": [0, 3_600_000, 0],
    "an hour back, as where somebody sets local time": [0, -3_600_000],
}


@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS)
async def test_however_the_clock_jumps_no_series_runs_backwards_and_no_timer_stalls(jumps, house):
    inner = Set(T0, speed=SPEED)
    inner.by = jumps[0]
    house.clock = SteadyClock(inner)
    async with house.run() as edge:
        for by in jumps:
            inner.by = by
            before = accepted(edge)
            await until(lambda n=before: accepted(edge) > n + 12)
            asked = len(house.gateway.asked)
            await until(lambda n=asked: len(house.gateway.asked) > n + 3)
            if by != jumps[0]:
                await until(lambda: ill(edge, "clock")[0] in (UNACK, RTNUN))
        assert edge.readings["spcond"].quality is not Quality.MISSING
        assert edge.readings["spcond"].value == 900
    with house.look() as journal:
        order = [t for row in itertools.chain(*journal.history(0)) for t in (r.time for r in row.readings if r.channel == "orp")]
    assert order == sorted(set(order))
    assert len(order) > 12


async def test_the_zone_of_the_host_and_its_summer_time_change_nothing(house, monkeypatch):
    """30 s a step: two hours pass in the half second around the hour that comes twice in Matamoros."""
    monkeypatch.setenv("TZ", "America/Matamoros")
    time.tzset()
    try:
        twice = 1_793_516_400_000 - 3_600_000  # 2026-11-01T06:00Z, an hour before the clocks go back
        house.clock = ScaledClock(twice, speed=10 * SPEED)
        async with house.run() as edge:
            await until(lambda: house.clock.now() > twice + 3 * 3_600_000)
            assert edge.readings["orp"].time > twice
        with house.look() as journal:
            times = [t for c, t, _ in journal.accepted() if c == "orp"]
        assert times == sorted(set(times))
        assert max(b - a for a, b in itertools.pairwise(times)) < 60 * STEP_MS
    finally:
        monkeypatch.undo()
        time.tzset()
