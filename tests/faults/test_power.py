"""Rows S1, S2, O1, L1: processes that end at any instant, and the file that they leave behind."""

import random
import resource
import signal
import time

import pytest
from matrix import tries
from whole import until

pytestmark = [pytest.mark.faults, pytest.mark.broker]
PIECE = 50


def test_s1_station_killed_at_random_instants_under_load(make_whole, record):
    fault, rng = "kill -9 of the station", random.Random()
    left = record.left(fault, tries(12, 500))
    while left > 0:
        piece = min(left, PIECE)
        whole = make_whole(every=0.5).start()
        for n in range(piece):
            if n % 3:
                before = whole.count_accepted()
                until(lambda w=whole, b=before: w.count_accepted() > b, "it accepts something")
            time.sleep(rng.uniform(0, 1.0))
            whole.edge.kill()
            whole.start_edge()
        record(whole, fault, tries=piece, recovery=whole.recovered())
        left -= piece


def test_s1_collector_killed_at_random_instants_under_load(make_whole, record):
    fault, rng = "kill -9 of the collector", random.Random()
    left = record.left(fault, tries(4, 100))
    while left > 0:
        piece = min(left, PIECE)
        whole = make_whole(every=0.5).start()
        for n in range(piece):
            if n % 2:
                whole.recovered()
            time.sleep(rng.uniform(0, 1.0))
            whole.collector.kill()
            whole.start_collector()
        record(whole, fault, tries=piece, recovery=whole.recovered())
        left -= piece


def zeroed(path, rng):
    at = rng.randrange(path.stat().st_size)
    with path.open("r+b") as f:
        f.seek(at)
        f.write(bytes(4096))


def cut(path, rng):
    with path.open("r+b") as f:
        f.truncate(rng.randrange(path.stat().st_size))


def emptied(path, rng):
    path.write_bytes(b"")


def nulled(path, rng):
    path.write_bytes(bytes(path.stat().st_size))


def garbled(path, rng):
    path.write_bytes(rng.randbytes(path.stat().st_size))


DAMAGES = (zeroed, cut, emptied, nulled, garbled)


def test_s2_every_image_of_a_power_cut_starts(make_whole, record):
    """One life with many cuts; what had been stored before stays, what the file still has is stored in the end.

    Images are worse than an honest disk leaves them: also what it had confirmed is cut. A transition that is lost so
    may be raised again under the same number.
    """
    fault, rng = "damaged image of the station's file", random.Random()
    left = record.left(fault, tries(10, 200))
    while left > 0:
        piece = min(left, 20)
        whole = make_whole(every=0.5).start()
        before, recovery = set(), 0.0
        for n in range(piece):
            whole.edge.kill()
            before |= whole.look_at_copy()
            parts = [p for p in whole.file.parent.glob(whole.file.name + "*") if "corrupt" not in p.name]
            parts = [p for p in parts if p.suffix != ".sqlite-shm" and p.stat().st_size]
            DAMAGES[n % len(DAMAGES)](rng.choice(parts), rng)
            whole.start_edge()
            recovery = max(recovery, whole.recovered())
        record(whole, fault, tries=piece, recovery=recovery, before=before)
        left -= piece


def test_o1_sigterm_at_any_instant_and_sighup_with_a_bad_file(make_whole, record):
    rng, wanted = random.Random(), tries(4, 40)
    whole = make_whole().start()
    for n in range(wanted):
        whole.edge.end()
        whole.start_edge()
        if n % 2:
            whole.recovered()
        time.sleep(rng.uniform(0, 1.5))
    good = whole.station_file.read_text()
    until(lambda: whole.edge.says("connected"), "it runs")
    whole.station_file.write_text(good.replace("every", "evry"))
    whole.edge.signal(signal.SIGHUP)
    until(lambda: whole.edge.says("the new settings are refused"), "the bad file is refused")
    whole.station_file.write_text(good)
    whole.edge.signal(signal.SIGHUP)
    until(lambda: whole.edge.says("new settings from"), "the good file is taken")
    record(whole, "SIGTERM at any instant; SIGHUP, good and bad", tries=wanted, recovery=whole.recovered())


def test_l1_everything_off_at_once_and_on_in_any_order(make_whole, record):
    rng, wanted, recovery = random.Random(), tries(2, 20), 0.0
    whole = make_whole().start()
    for _ in range(wanted):
        for part in (whole.edge, whole.collector, whole.broker):
            part.kill()
        whole.probes.stop()
        parts = [whole.start_edge, whole.start_collector, whole.broker.start, whole.probes.start]
        for start in rng.sample(parts, len(parts)):
            start()
        recovery = max(recovery, whole.recovered())
    record(whole, "everything off at once, then on", tries=wanted, recovery=recovery)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own, of 16 MB."""
    import subprocess

    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16M", "none", folder], check=False, capture_output=True).returncode:
        pytest.skip("no tmpfs may be mounted here; the other fault of S3 runs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_s3_disk_full_on_a_file_system_of_its_own(make_whole, record, small_disk):
    def change(document, whole):
        document["station"]["data"] = str(small_disk)

    whole = make_whole(change=change).start()
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as f:
        while True:
            try:
                f.write(bytes(4096))
            except OSError:
                break
    until(lambda: whole.edge.says("the disk does not take it"), "it says so")
    kept_on(whole)
    filler.unlink()
    record(whole, "disk full", recovery=whole.recovered())


def test_s3_file_that_may_not_grow(make_whole, record):
    whole = make_whole().start()
    pid = whole.edge.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    until(lambda: whole.edge.says("the disk does not take it"), "it says so")
    kept_on(whole)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    record(whole, "no byte may be written", recovery=whole.recovered())


def kept_on(whole):
    """The probes are asked on while nothing can be written."""
    asked = whole.probes.served("sonde")
    until(lambda: whole.probes.served("sonde") > asked + 20, "it reads on")
    assert whole.edge.running
