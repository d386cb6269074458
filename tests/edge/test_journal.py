"""The station's memory: whole steps or none, whatever happens to the process, the disk and the file."""

import contextlib
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import killed
import pytest
from steps import T0, commit, full_step, readings, steps_in

from ewarn import sqlite_files
from ewarn.contracts import Label, Quality, Reading
from ewarn.core.pipeline import Step
from ewarn.edge import journal_file
from ewarn.edge.journal import KEEP_MS, Journal
from ewarn.errors import StoreUnavailable

KINDS = ("obs", "verdict", "event")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.sqlite"


def opened(path, boot="b1", centrals=None, **more):
    return Journal.open(path, boot=boot, now=T0, centrals=centrals, **more)


def filled(path, steps=300):
    """A closed file of many pages."""
    with opened(path) as journal:
        for i in range(1, steps + 1):
            commit(journal, i)
    return path


def rows(journal, kinds=KINDS):
    return journal.outbox_batch(kinds, 10_000, 10**9)


def run_sql(path, *statements):
    db = sqlite3.connect(path)
    with db:
        for statement in statements:
            db.execute(*statement)
    db.close()


# What is committed


def test_a_step_is_written_whole(path):
    with opened(path) as journal:
        assert commit(journal, 1) == 2
        obs, verdict, event = rows(journal)
        assert steps_in(journal) == 1
        assert [row.seq for row in (obs, verdict, event)] == [1, 2, 3]
        assert (obs.kind, obs.boot, obs.time) == ("obs", "b1", T0 + 1000)
        assert obs.body["ph"] == 7.001
        assert obs.body["why"] == {"orp": "busy"}
        assert event.body["id"] == "s/contamination/1/1"
        assert list(journal.accepted()) == [("ph", T0 + 1000, 7.001), ("orp", T0 + 1000, None)]


def test_what_is_computed_is_sent_and_not_journalled(path):
    with opened(path) as journal:
        step = full_step(1)
        step.computed = [Reading("index", T0 + 1000, 0.5, Quality.PASS)]
        journal.commit(T0 + 1000, readings(1), step)
        (row,) = rows(journal, ["obs"])
        assert row.body["index"] == 0.5
        (kept,) = [row for chunk in journal.history(0) for row in chunk]
        assert {r.channel for r in kept.readings} == {"ph", "orp"}


def test_repeats_are_counted_and_neither_journalled_nor_sent(path):
    with opened(path) as journal:
        commit(journal, 5)
        commit(journal, 5)
        old = Reading("ph", T0, 1.0)
        new = Reading("ph", T0 + 6000, 2.0, Quality.PASS)
        assert journal.commit(T0, [old, new, new], Step([old, new, new])) == 1
        assert [row.body.get("ph") for row in rows(journal, ["obs"])] == [7.005, 2.0]
        assert (journal.counts().accepted, journal.counts().repeats) == (3, 4)
    with opened(path, "b2") as journal:
        assert journal.commit(T0, [new], Step([new])) == 0
        assert journal.counts().repeats == 5


def test_killed_at_random_instants_nothing_reported_is_lost_and_no_step_is_there_by_half(path):
    result = subprocess.run(
        [sys.executable, killed.__file__, path, "30", "7"], check=False, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 30


def test_seq_counts_on_over_restarts_and_a_new_file_has_a_new_boot(path):
    for n, boot in enumerate(("b1", "b2", "b3"), 1):
        with opened(path, boot) as journal:
            commit(journal, n)
            journal.stored("main", boot, [(0, 10**6)])
    with opened(path, "b4") as journal:
        commit(journal, 4)
        assert [(row.boot, row.seq) for row in rows(journal)] == [("b4", 10), ("b4", 11), ("b4", 12)]
    path.write_bytes(b"damaged")
    with opened(path, "b5") as journal:
        commit(journal, 5)
        assert [(row.boot, row.seq) for row in rows(journal)] == [("b5", 1), ("b5", 2), ("b5", 3)]


# Damage


def overwrite(path, at, data):
    with path.open("r+b") as f:
        f.seek(at)
        f.write(data)


DAMAGE = {
    "garbage": lambda p: p.write_bytes(random.Random(1).randbytes(p.stat().st_size)),
    "text": lambda p: p.write_text("this is no database\n"),
    "zeroed": lambda p: p.write_bytes(bytes(p.stat().st_size)),
    "first page zeroed": lambda p: overwrite(p, 0, bytes(4096)),
    "a page zeroed": lambda p: overwrite(p, 4096 * (p.stat().st_size // 8192), bytes(4096)),
    "a page of garbage": lambda p: overwrite(p, 4096 * (p.stat().st_size // 8192), random.Random(2).randbytes(4096)),
    "half of it": lambda p: os.truncate(p, p.stat().st_size // 2),
    "some bytes of it": lambda p: os.truncate(p, 50),
    "empty": lambda p: os.truncate(p, 0),
    "a table lost": lambda p: run_sql(p, ("DROP TABLE outbox",)),
    "a column lost": lambda p: run_sql(p, ("ALTER TABLE outbox RENAME owed TO x",)),
    "only its log left": lambda p: p.rename(p.with_name("s.sqlite-wal")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_set_aside_and_a_new_one_is_begun(path, damage):
    DAMAGE[damage](filled(path))
    before = path.read_bytes() if path.exists() else None
    with opened(path, "b2") as journal:
        assert journal.quarantined.name.startswith("s.sqlite.corrupt-2026")
        kept = journal.quarantined if before is not None else journal.quarantined.with_name(journal.quarantined.name + "-wal")
        assert kept.exists()
        if before is not None and "lost" not in damage:
            assert kept.read_bytes() == before
        assert journal.counts().accepted == 0
        assert list(journal.accepted()) == rows(journal, ["obs", "verdict"]) == []
        commit(journal, 1)
    with opened(path, "b3") as journal:
        assert journal.quarantined is None
        assert journal.counts().accepted == 2


def test_files_set_aside_at_the_same_instant_do_not_replace_each_other_and_the_newest_two_stay(path):
    for text in ("one", "two", "three"):
        path.write_text(text)
        opened(path).close()
    assert sorted(p.read_text() for p in path.parent.glob("*.corrupt-*")) == ["three", "two"]


def test_files_that_were_set_aside_take_no_more_room_than_the_outbox_may(path):
    for text in ("a" * 600, "b" * 600):
        path.write_text(text)
        opened(path, room=1000).close()
    assert [p.read_text() for p in path.parent.glob("*.corrupt-*")] == ["b" * 600]


def test_what_a_damaged_file_tells_of_alarms_goes_into_the_new_one(path):
    with opened(path, centrals=["mx"]) as journal:
        for i in range(1, 301):
            commit(journal, i)
        journal.stored("mx", "b1", [(1, 600)])
        journal.classify(T0, "contamination", 1, Label.EVENT, "Ana")
    run_sql(path, ("DROP TABLE newest",))
    with opened(path, "b2", centrals=["mx", "us"]) as journal:
        assert journal.quarantined is not None
        assert journal.alarms() == {"contamination": full_step(300).alarms["contamination"]}
        assert journal.said()["contamination"]["number"] == 300
        assert [word.by for word in journal.words()] == ["Ana"]
        waiting = rows(journal, ["event"])
        assert [row.body["number"] for row in waiting] == list(range(201, 301))
        assert {(row.boot, row.owed) for row in waiting} == {("b2", frozenset({"mx", "us"}))}


def test_alarms_of_a_file_that_tells_nothing_have_numbers_that_there_never_were(path):
    with opened(path) as journal:
        assert journal.alarms(["contamination"])["contamination"].occurrence == 0
    path.write_bytes(b"damaged")
    with Journal.open(path, boot="b2", now=T0 + 60_000) as journal:
        assert journal.alarms(["contamination", "sensor"])["sensor"].occurrence == T0 // 1000 + 60
    with Journal.open(path, boot="b3", now=T0 + 10**9) as journal:
        assert journal.alarms(["sensor"])["sensor"].occurrence == T0 // 1000 + 60


def test_a_file_that_is_too_large_to_be_looked_through_opens_all_the_same(path, monkeypatch):
    filled(path)
    monkeypatch.setattr(journal_file, "CHECK_S", -1.0)
    monkeypatch.setattr(sqlite_files, "STEPS", 1)
    with opened(path, "b2") as journal:
        assert journal.quarantined is None
        assert steps_in(journal) == 300


def test_a_damaged_log_costs_the_steps_in_it_and_no_more(path, tmp_path):
    source = opened(path)
    for i in range(1, 31):
        commit(source, i)
    wal = Path(f"{path}-wal")
    size, rng, found = wal.stat().st_size, random.Random(3), []
    for n in range(16):
        copy = tmp_path / f"{n}" / "s.sqlite"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        log = Path(shutil.copy(wal, f"{copy}-wal"))
        at = rng.randrange(size)
        if n % 2:
            os.truncate(log, at)
        else:
            overwrite(log, at, rng.randbytes(min(64, size - at)))
        with opened(copy, "b2") as journal:
            assert journal.quarantined is None
            found.append(steps_in(journal))
            commit(journal, found[-1] + 1)
    source.close()
    assert max(found) > 10


def test_a_file_that_turns_out_damaged_while_it_is_used_is_set_aside_and_the_alarms_go_on(path):
    filled(path)
    with opened(path, "b2") as journal:
        overwrite(path, 4096 * (path.stat().st_size // 8192), b"\xff" * 4096)
        journal.renew(T0)
        assert journal.quarantined is not None
        assert journal.boot != "b2"
        assert len(journal.alarms()) <= 1
        commit(journal, 301)
        assert {row.boot for row in rows(journal)} == {journal.boot}
        assert journal.counts().accepted == 2


def test_a_sound_file_that_seemed_damaged_goes_on_as_it_was(path):
    filled(path, 5)
    with opened(path, "b2") as journal:
        journal.renew(T0)
        assert (journal.quarantined, journal.boot) == (None, "b2")
        commit(journal, 6)
        assert steps_in(journal) == 6


def test_a_directory_in_its_place_is_a_clear_error(path):
    path.mkdir()
    with pytest.raises(StoreUnavailable, match=r"s\.sqlite cannot be opened"):
        opened(path)


def test_a_file_where_its_folder_should_be_is_a_clear_error(path):
    path.write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        opened(path / "below.sqlite")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_file_that_is_not_ours_is_a_clear_error_and_stays(path, mode):
    filled(path, 3).chmod(mode)
    with pytest.raises(StoreUnavailable, match="cannot be"):
        opened(path, centrals=["another"])
    assert path.exists()


@pytest.mark.parametrize(("name", "damage"), [
    ("SQLITE_CORRUPT_INDEX", True), ("SQLITE_NOTADB", True), ("SQLITE_IOERR_READ", True), ("", True),
    ("SQLITE_FULL", False), ("SQLITE_BUSY", False), ("SQLITE_READONLY", False), ("SQLITE_CANTOPEN_ISDIR", False),
    ("SQLITE_IOERR_WRITE", False),
])  # fmt: skip
def test_only_damage_to_the_content_sets_a_file_aside(name, damage):
    error = sqlite3.OperationalError("ill")
    error.sqlite_errorname = name
    assert journal_file._is_damage(error) is damage


def test_damaged_bodies_are_passed_over_and_the_others_are_used(path, caplog):
    filled(path, 3)
    run_sql(
        path,
        ("UPDATE journal SET body = ? WHERE id = 2", (b"\xff\x00",)),
        ("UPDATE outbox SET body = ? WHERE seq = 3", (b"[1]",)),
        ("UPDATE outbox SET body = '{' WHERE seq = 6",),
        ("INSERT INTO alarms VALUES ('sensor', '{', '{')",),
    )
    with opened(path, "b2") as journal, caplog.at_level(logging.ERROR):
        assert [row.seq for row in rows(journal, ["event"])] == [9]
        assert journal.counts().parked == 2
        assert [len(row.readings) for chunk in journal.history(0) for row in chunk] == [2, 0, 2]
        assert len(list(journal.accepted())) == 4
        assert list(journal.alarms()) == ["contamination"]
    assert "row 2 of the journal is damaged" in caplog.text
    assert "rows [3, 6] of the outbox are damaged" in caplog.text


def test_opening_an_old_file_writes_nothing_so_it_opens_on_a_full_disk(path):
    before = filled(path, 5).read_bytes()
    opened(path, "b2").close()
    assert path.read_bytes() == before


# A disk that does not take it


def fill_disk(journal, pages=3):
    (used,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {used + pages}")


def free_disk(journal):
    journal._db.execute("PRAGMA max_page_count = 1000000")


def test_a_full_disk_takes_no_half_step_and_goes_on_when_there_is_room(path):
    with opened(path) as journal:
        commit(journal, 1)
        fill_disk(journal)
        i = 2
        with contextlib.suppress(sqlite3.OperationalError):
            while i < 1000:
                commit(journal, i)
                i += 1
        for _ in range(3):
            with pytest.raises(sqlite3.OperationalError, match="full"):
                commit(journal, i)
        assert steps_in(journal) == i - 1
        assert len(rows(journal)) == 3 * (i - 1)
        free_disk(journal)
        commit(journal, i)
        assert steps_in(journal) == i


def test_another_process_that_writes_for_long_is_an_error_that_passes(path, monkeypatch):
    monkeypatch.setattr(journal_file, "_BUSY_S", 0.05)
    with opened(path) as journal:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            commit(journal, 1)
        assert journal.counts().accepted == 0
        other.execute("ROLLBACK")
        other.close()
        commit(journal, 1)
        assert steps_in(journal) == 1


# Who has it


def test_a_row_leaves_when_every_central_has_it(path):
    with opened(path, centrals=["mx", "us", "ca"]) as journal:
        commit(journal, 1)
        assert journal.stored("us", "b1", [(1, 3)]) == 0
        assert journal.stored("us", "b1", [(1, 3)]) == 0
        assert journal.stored("mx", "b1", [(1, 1), (3, 3)]) == 0
        assert journal.stored("nobody", "b1", [(1, 3)]) == 0
        assert journal.stored("ca", "b0", [(1, 3)]) == 0
        assert journal.stored("ca", "b1", [(1, 3)]) == 2
        assert [row.seq for row in rows(journal)] == [2]


def test_numbers_that_no_row_can_have_change_nothing(path):
    with opened(path) as journal:
        commit(journal, 1)
        assert journal.stored("main", "b1", [(10**30, 10**31), (-(10**30), -1), (3, 1), (2**63, 2**63)]) == 0
        assert journal.stored("main", "b1", [(-(10**30), 10**30)]) == 3


def test_centrals_in_another_order_keep_what_each_is_owed(path):
    with opened(path, centrals=["mx", "us"]) as journal:
        commit(journal, 1)
        journal.stored("mx", "b1", [(1, 3)])
    with opened(path, "b2", centrals=["us", "mx"]) as journal:
        assert journal.centrals == ("us", "mx")
        assert journal.stored("mx", "b1", [(1, 3)]) == 0
        assert journal.stored("us", "b1", [(1, 3)]) == 3


def test_a_central_that_is_no_more_named_is_owed_nothing(path):
    with opened(path, centrals=["mx", "us"]) as journal:
        commit(journal, 1)
        journal.stored("us", "b1", [(1, 2)])
    with opened(path, "b2", centrals=["us"]) as journal:
        assert [row.seq for row in rows(journal)] == [3]
        assert journal.stored("us", "b1", [(3, 3)]) == 1


def test_a_central_that_is_added_is_owed_what_waits(path):
    with opened(path, centrals=["mx"]) as journal:
        commit(journal, 1)
    with opened(path, "b2", centrals=["us", "mx"]) as journal:
        commit(journal, 2)
        assert journal.stored("mx", "b1", [(1, 3)]) == 0
        assert journal.stored("mx", "b2", [(4, 6)]) == 0
        assert journal.stored("us", "b1", [(1, 3)]) == 3
        assert journal.stored("us", "b2", [(4, 6)]) == 3


def test_who_opens_it_without_naming_centrals_changes_nothing(path):
    with opened(path, centrals=["mx", "us"]) as journal:
        commit(journal, 1)
    with opened(path, "look") as journal:
        assert set(journal.centrals) == {"mx", "us"}
        assert journal.stored("mx", "b1", [(1, 3)]) == 0


def test_parked_rows_are_kept_counted_and_come_back(path):
    with opened(path) as journal:
        commit(journal, 1)
        assert journal.unsent()
        journal.park([1, 2, 3])
        assert (rows(journal), journal.unsent(), journal.counts().parked) == ([], False, 3)
    with opened(path, "b2") as journal:
        assert journal.counts().parked == 3
        assert journal.unpark() == 3
        assert [row.seq for row in rows(journal)] == [1, 2, 3]
        assert journal.unsent()


def test_a_batch_is_the_oldest_rows_of_its_kinds_within_its_limits(path):
    with opened(path) as journal:
        for i in range(1, 11):
            commit(journal, i)
        assert [row.seq for row in journal.outbox_batch(["event"], 3, 10**9)] == [3, 6, 9]
        assert [row.seq for row in journal.outbox_batch(["obs", "event"], 3, 10**9, skip={1, 3})] == [4, 6, 7]
        assert [row.seq for row in journal.outbox_batch(["event"], 3, 1)] == [3]
        assert journal.outbox_batch(["nothing"], 3, 10**9) == []


# The past


def past(n, start=T0 - 10**9):
    return [Reading("ph", start + i * 60_000, 7.0) for i in range(n)]


def times(journal, since=0, **bounds):
    return [row.time for chunk in journal.history(since, **bounds) for row in chunk]


def test_an_imported_past_is_history_is_not_sent_and_live_goes_on_after_it(path):
    with opened(path) as journal:
        assert journal.import_history(past(100)) == 100
        assert (journal.counts().outbox_rows, journal.counts().accepted) == (0, 0)
        commit(journal, 1)
        assert times(journal) == [r.time for r in past(100)] + [T0 + 1000]
        assert len(list(journal.accepted())) == 2
        assert journal.commit(T0, past(1), Step(past(1))) == 0, "a repeat of the past"


def test_a_past_that_is_imported_late_comes_in_its_place(path):
    with opened(path) as journal:
        commit(journal, 1)
        journal.import_history(past(5))
        commit(journal, 2)
        assert times(journal) == [r.time for r in past(5)] + [T0 + 1000, T0 + 2000]


def test_history_keeps_to_its_bounds_whatever_its_chunks(path):
    with opened(path) as journal:
        twins = [r for r in past(30) for _ in (1, 2)]
        for reading in twins:
            journal.import_history([reading])
        expected = [r.time for r in twins]
        for chunk in (1, 2, 7, 60, 1000):
            assert times(journal, chunk=chunk) == expected
            assert times(journal, expected[10], until=expected[21], chunk=chunk) == expected[10:22]
            assert times(journal, last=14, chunk=chunk) == expected[:14]
        assert journal.last_id() == 60
        assert times(journal, expected[-1] + 1) == []


def test_history_is_read_beside_a_writer(path):
    with opened(path) as journal:
        commit(journal, 1)
        done, failures = threading.Event(), []

        def write():
            try:
                for i in range(2, 300):
                    commit(journal, i)
            except sqlite3.Error as error:
                failures.append(error)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = []
        while not done.is_set():
            seen.append(len(times(journal, chunk=10)))
        writer.join()
        assert failures == []
        assert len(seen) > 3
        assert seen == sorted(seen)
        assert steps_in(journal) == 299


def test_sixty_days_are_kept(path):
    with opened(path) as journal:
        journal.import_history(past(3000, T0 - KEEP_MS - 2500 * 60_000))
        commit(journal, 1)
        before = journal.counts()
        assert [journal.prune(T0) for _ in range(3)] == [2000, 500, 0]
        assert times(journal)[0] == T0 - KEEP_MS
        assert len(times(journal)) == 501
        assert journal.counts() == before


def test_readings_of_a_clock_that_was_ahead_do_not_make_repeats_of_all_that_come(path):
    ahead = Reading("ph", T0 + 10**12, 7.0, Quality.PASS)
    with opened(path) as journal:
        journal.commit(T0, [ahead], Step([ahead]))
        assert journal.commit(T0, readings(1), full_step(1)) == 1
        assert journal.forget_future(T0) == 1
        assert journal.commit(T0, readings(2), full_step(2)) == 2
        assert journal.forget_future(T0) == 0
        assert times(journal, until=T0 + 10_000) == [T0 + 1000, T0 + 2000]
