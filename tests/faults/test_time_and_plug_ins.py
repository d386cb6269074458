"""Rows T1, D1, D2, G1, O2, O3: the clock, what detection rests on, plug-ins, the process itself."""

import sqlite3
import time
from pathlib import Path

import msgspec
import pytest
from manager import Manager, plug_in
from matrix import tries
from whole import until

from ewarn.contracts import Reading
from ewarn.edge.journal import Journal

pytestmark = [pytest.mark.faults, pytest.mark.broker]

SHIFTED = """
import os, time
_real = time.time_ns
def shifted():
    try:
        with open(os.environ["SHIFT_FILE"]) as f:
            return _real() + int(float(f.read() or 0) * 1e9)
    except OSError:
        return _real()
time.time_ns = shifted
"""
"""A wall clock that a test sets, for a process of its own: what `SystemClock` reads."""


def test_t1_boot_in_1970_clock_two_weeks_back_and_an_hour_on(make_whole, record, tmp_path):
    site, shift = tmp_path / "site", tmp_path / "shift"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SHIFTED)
    environment = {"PYTHONPATH": str(site), "SHIFT_FILE": str(shift)}
    whole = make_whole(environment=environment)
    whole.clock_option = tuple
    shift.write_text(str(86400 - whole.clock.now() / 1000))
    whole.start(flowing=False)
    goes_on(whole)
    recovery = 0.0
    for seconds in (0, -14 * 86400, 3600, 0, -3600):
        shift.write_text(str(seconds))
        recovery = max(recovery, goes_on(whole))
    assert ordered(whole)
    until(lambda: whole.read("alarm", alarm="health-clock"), "the clock is an alarm")
    early = forgotten(whole)
    struck = "boot in 1970, now, -14 d, +1 h, 0, -1 h"
    record(whole, struck, tries=6, recovery=recovery, clock_is_right=False, before=early)


def forgotten(whole):
    """What is stored of 1970: the station drops what was delivered and is older than it keeps."""
    year = 365 * 86_400_000
    readings = {key for key in whole.stored() if key[1] < year}
    return readings | {p.fields["id"] for p in whole.read("alarm") if p.time < year}


def goes_on(whole):
    """New points of every channel come, whatever their times."""
    began, before = time.monotonic(), counts(whole)
    channels = whole.station.channels
    until(lambda: (now := counts(whole)) and all(now.get(c, 0) > before.get(c, 0) + 2 for c in channels), "all goes on")
    return round(time.monotonic() - began, 1)


def counts(whole):
    found = {}
    for channel, _ in whole.stored():
        found[channel] = found.get(channel, 0) + 1
    return found


def ordered(whole):
    """Whether no series of the station ran backwards."""
    newest = {}
    for (body,) in whole.ask("SELECT body FROM journal WHERE live ORDER BY id"):
        for channel, moment, *_ in msgspec.json.decode(body):
            if moment <= newest.get(channel, 0):
                return False
            newest[channel] = moment
    return True


def test_d1_what_detection_learns_from_is_damaged(make_whole, record):
    whole = make_whole()
    whole.broker.start()
    whole.probes.start()
    whole.write_station()
    past = whole.begin - 3_600_000
    readings = (Reading(c, past + 1000 * i, 1.0 + i) for i in range(1000) for c in whole.station.channels)
    with Journal.open(whole.file, boot="past", now=past) as journal:
        journal.import_history(readings)
    db = sqlite3.connect(whole.file)
    with db:
        db.execute("UPDATE journal SET body = x'00ff' WHERE id % 3 = 0")
    db.close()
    whole.start_edge()
    whole.start_collector()
    recovery = whole.recovered()
    until(lambda: whole.edge.says("of the journal is damaged"), "it says so")
    until(lambda: any(p.fields["readiness"] != "warming" for p in whole.read("verdict")), "it judges")
    record(whole, "a third of the journal is garbage", recovery=recovery)


RAISING = """
class Raising:
    threshold = 1.0
    def learn_one(self, x): raise ValueError("no")
    def score_one(self, x): raise ValueError("no")
"""
SLEEPY = """
import time
class Sleepy:
    threshold = 1.0
    def learn_one(self, x): pass
    def score_one(self, x): time.sleep(5)
"""


@pytest.mark.parametrize("code", [RAISING, SLEEPY], ids=["raises", "sleeps"])
def test_d2_a_detector_that_fails_stops_nothing_else(make_whole, record, tmp_path, code):
    name = "raising" if code is RAISING else "sleepy"
    (tmp_path / "site").mkdir()
    path = plug_in(tmp_path / "site", name, code, detectors=f"{name}:{name.title()}")

    def change(document, whole):
        document["detectors"] = [{"name": name}, {"name": "residual"}]
        document["detection"]["warmup"] = "2s"

    whole = make_whole(change=change, environment={"PYTHONPATH": path}).start()
    if code is RAISING:
        until(lambda: whole.read("alarm", alarm="health-detection"), "its fault is an alarm")
        assert name in whole.read("alarm", alarm="health-detection")[0].fields["text_en"]
    before = whole.count_accepted()
    until(lambda: whole.count_accepted() > before + 100, "the station reads on")
    record(whole, f"a detector that {'raises' if code is RAISING else 'takes 5 s a step'}", recovery=whole.recovered())


def test_g1_plug_ins_that_cannot_be_loaded(make_whole, record, tmp_path):
    (tmp_path / "site").mkdir()
    for name, code, group in (
        ("broken", "raise ImportError('no such library')", {"drivers": "broken:Broken"}),
        ("ancient", "class Ancient: api = 0", {"drivers": "ancient:Ancient"}),
        ("twin", "class Twin: api = 1", {"detectors": "twin:Twin"}),
    ):
        path = plug_in(tmp_path / "site", name, code, **group)
    (tmp_path / "site" / "twin-1.0.dist-info" / "entry_points.txt").write_text("[ewarn.detectors]\nresidual = twin:Twin\n")

    def change(document, whole):
        document["detectors"] = [{"name": "forecast"}]

    whole = make_whole(change=change, environment={"PYTHONPATH": path}).start()
    record(whole, "import error, old interface, a name twice", tries=3, recovery=whole.recovered())


BLOCKING = """
import os, time
from drivers.ascii_line import AsciiLineDriver
class Blocking(AsciiLineDriver):
    async def read(self, line):
        while os.path.exists(os.environ["BLOCK_FILE"]):
            time.sleep(0.2)
        return await super().read(line)
"""


def test_o2_event_loop_blocked_the_watchdog_has_it_started_anew(make_whole, record, tmp_path):
    """The test is the service manager: it kills what does not say that it lives, and starts it again."""
    (tmp_path / "site").mkdir()
    block = tmp_path / "block"
    path = plug_in(tmp_path / "site", "blocking", BLOCKING, drivers="blocking:Blocking")

    def change(document, whole):
        next(p for p in document["probes"] if p["id"] == "cabinet")["driver"] = "blocking"

    with Manager(tmp_path) as manager:
        environment = {"PYTHONPATH": path, "BLOCK_FILE": str(block), **manager.environment(watchdog=5.0)}
        whole = make_whole(change=change, environment=environment).start()
        until(lambda: len(manager.times("WATCHDOG=1")) > 2, "it says that it lives")
        block.touch()
        silent = SilentFor(manager, 5.0)
        until(silent, "it falls silent")
        whole.edge.kill()
        block.unlink()
        whole.start_edge()
        record(whole, "event loop blocked", recovery=whole.recovered())


class SilentFor:
    """Whether the watchdog was not fed for so long."""

    def __init__(self, manager, seconds):
        self._manager, self._seconds = manager, seconds

    def __call__(self):
        return time.monotonic() - self._manager.times("WATCHDOG=1")[-1] > self._seconds


def test_o3_soak_memory_descriptors_and_threads_do_not_grow(make_whole, record):
    """Sixty times as fast; a day is 24 minutes (`FAULT_TRIES` 30 and more)."""
    whole = make_whole(speed=60.0, every=20.0, tolerance=60_000).start()
    whole.recovered()
    samples, wanted = [], tries(8, 240)
    for _ in range(wanted):
        before = whole.count_accepted()
        until(lambda n=before: whole.count_accepted() > n + 180, "five minutes go by")
        samples.append([figure for part in (whole.edge, whole.collector) for figure in figures(part.process.pid)])
    half = [list(map(max, zip(*part, strict=True))) for part in (samples[: wanted // 2], samples[wanted // 2 :])]
    for early, late, slack in zip(*half, (20_000, 3, 2) * 2, strict=True):
        assert late <= early + slack, samples
    record(whole, f"{wanted * 5} simulated minutes", recovery=None)


def figures(pid):
    """Resident kB, descriptors, threads."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]), len([*Path(f"/proc/{pid}/fd").iterdir()]), int(status["Threads"])
