"""What waits for centrals: bounded, thinned by halves with word of it, alerts whole; and given again to who asks."""

import contextlib
import random
import sqlite3
from collections import Counter
from typing import NamedTuple

import pytest
from steps import T0, commit, full_step, readings

from ewarn.contracts import AlarmState, Alert, Label, Priority, Quality, Readiness, Reading, Verdict
from ewarn.core.pipeline import Step
from ewarn.edge import journal_file
from ewarn.edge import outbox as outbox_module
from ewarn.edge.journal import KEEP_MS, Journal
from ewarn.edge.thinning import STRETCH
from ewarn.wire import Gap, gap_of

MINUTE = 60_000
EVERYTHING = 10**9


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.sqlite"


def opened(path, boot="b1", **more):
    return Journal.open(path, boot=boot, now=T0, **more)


def rows(journal, *kinds, central=""):
    return journal.outbox_batch(kinds, EVERYTHING, EVERYTHING, central=central)


def alert(number, time):
    return Alert("s", "contamination", 1, number, time, time, AlarmState.UNACKNOWLEDGED, AlarmState.NORMAL, Priority.HIGH)


def outage(journal, minutes, first=0, alert_every=0):
    """Two probes, read in turn within each minute, and a verdict; alerts now and then. Returns what was accepted."""
    accepted, alerts = {}, 0
    for begin in range(first, first + minutes, 10):
        step = Step()
        for minute in range(begin, min(begin + 10, first + minutes)):
            time = T0 + minute * MINUTE
            step.readings += [Reading(c, time, 7 + minute % 97 / 100, Quality.PASS) for c in ("ph", "do", "orp")]
            step.readings.append(Reading("uv254", time + 20_000, 0.1, Quality.PASS))
            step.verdicts.append(Verdict(time, 0.25, Readiness.READY))
            step.alerts += [alert(minute, time)] if alert_every and minute % alert_every == 0 else []
        journal.commit(time, step.readings, step)
        accepted |= {(r.channel, r.time): r.value for r in step.readings}
        alerts += len(step.alerts)
    return accepted, alerts


def values(journal):
    """Readings that wait, by identity, in the order in which they would be sent."""
    names = ("ph", "do", "orp", "uv254")
    return {(c, row.time): row.body[c] for row in rows(journal, "obs") for c in names if c in row.body}


def gaps(journal):
    return [gap_of(row.body) for row in rows(journal, "gap")]


def bytes_on_disk(path):
    return sum(f.stat().st_size for f in path.parent.glob(f"{path.name}*"))


# Room


def test_a_long_outage_costs_half_of_the_readings_and_no_alert_and_says_so(path):
    with opened(path, room=400_000) as journal:
        accepted, alerts = outage(journal, 1200, alert_every=100)
        left, said = values(journal), gaps(journal)
        assert len(rows(journal, "event")) == alerts == 12
        assert left.items() <= accepted.items()
        dropped = accepted.keys() - left.keys()
        assert 0 < len(dropped) < 0.55 * len(accepted)
        of_readings = [gap for gap in said if gap.stream == "obs"]
        for channel, time in dropped:
            assert any(channel in gap.channels and gap.start <= time <= gap.end for gap in of_readings)
        told = Counter()
        for gap in of_readings:
            told.update(gap.channels)
        assert told == Counter(channel for channel, _ in dropped)
        verdicts = 1200 - sum(gap.rows for gap in said if gap.stream == "verdict")
        assert len(rows(journal, "verdict")) == verdicts < 1200


def test_order_is_kept_and_no_probe_goes_missing_for_another(path):
    with opened(path, room=400_000) as journal:
        accepted, _ = outage(journal, 1200)
        left = list(values(journal))
    for channel in ("ph", "do", "orp", "uv254"):
        times = [time for c, time in left if c == channel]
        assert times == sorted(times)
        assert len(times) > 0.45 * len(accepted) / 4


def test_no_stretch_is_thinned_twice_before_all_others_were_thinned_once(path):
    seen = []
    with opened(path, room=600_000) as journal:
        for first in range(0, 4500, 50):
            outage(journal, 50, first)
            query = "SELECT thinned FROM outbox WHERE kind IN ('obs', 'verdict')"
            levels = [level for (level,) in journal._db.execute(query)]
            # Of each lower level less than a stretch was left, and fifty minutes have come since.
            highest = max(levels)
            assert sum(level < highest - 1 for level in levels) < highest * STRETCH + 3 * 50
            seen.append(highest)
        assert len(levels) > 2 * highest * STRETCH
    assert seen == sorted(seen)
    assert max(seen) >= 2


def test_the_file_stays_within_its_room_whatever_the_length_of_the_outage(path, monkeypatch):
    monkeypatch.setattr(outbox_module, "KEEP_MS", 0)
    with opened(path, room=300_000) as journal:
        outage(journal, 600)
        sizes = []
        for round_ in range(1, 7):
            outage(journal, 600, round_ * 600)
            journal.prune(T0 + round_ * 600 * MINUTE + KEEP_MS)  # the readings themselves have a bound of their own
            journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            sizes.append(bytes_on_disk(path))
            assert journal._db.execute("SELECT bytes FROM tally").fetchone()[0] <= 300_000
        assert len(gaps(journal)) < 40
        assert max(sizes[2:]) < 1.2 * sizes[1] < 1_500_000


def test_the_log_that_grows_beside_a_reader_who_dawdles_is_cut_down_after_it(path, monkeypatch):
    monkeypatch.setattr(journal_file, "_LOG_BYTES", 100_000)
    log = path.with_name("s.sqlite-wal")
    with opened(path, room=300_000) as journal:
        outage(journal, 10)
        with contextlib.closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT COUNT(*) FROM outbox").fetchone()
            outage(journal, 600, 10)
            assert log.stat().st_size > 4_200_000
        outage(journal, 30, 610)
        assert log.stat().st_size < 1_000_000


def test_what_was_delivered_goes_before_what_waits_is_thinned(path):
    with opened(path, room=400_000) as journal:
        outage(journal, 400)
        journal.stored("main", "b1", [(0, EVERYTHING)])
        accepted, _ = outage(journal, 400, 400)
        assert values(journal) == accepted
        assert gaps(journal) == []
        kept = journal._db.execute("SELECT COUNT(*) FROM outbox WHERE owed = 0").fetchone()[0]
        assert 0 < kept < 1200


def test_alerts_that_were_delivered_go_last_and_alerts_that_wait_never(path):
    with opened(path, room=100_000) as journal:
        for n in range(1, 400):
            journal.commit(T0 + n, (), Step([], [], [alert(n, T0 + n)]))
        assert len(rows(journal, "event")) == 399
        journal.stored("main", "b1", [(1, 300)])
        journal.commit(T0 + 400, (), Step([], [], [alert(400, T0 + 400)]))
        assert len(rows(journal, "event")) == 100
        assert journal._db.execute("SELECT bytes FROM tally").fetchone()[0] <= 100_000


class Disk(NamedTuple):
    """Of os.statvfs."""

    f_bavail: int
    f_frsize: int
    f_blocks: int


def test_a_disk_that_others_filled_thins_the_outbox_too(path, monkeypatch):
    with opened(path) as journal:
        accepted, alerts = outage(journal, 1500, alert_every=50)
        before = bytes_on_disk(path)
        monkeypatch.setattr(outbox_module.os, "statvfs", lambda _: Disk(1000, 4096, 1_000_000))
        more, more_alerts = outage(journal, 1500, 1500, alert_every=50)
        assert bytes_on_disk(path) < before + 5_000_000  # SQLite's log of four megabytes
        assert len(rows(journal, "event")) == alerts + more_alerts
        dropped = (accepted | more).keys() - values(journal).keys()
        assert dropped
        assert all(any(c in g.channels and g.start <= t <= g.end for g in gaps(journal)) for c, t in dropped)
        monkeypatch.undo()
        left = values(journal)
        later, _ = outage(journal, 50, 3000)
        assert values(journal) == left | later


def test_on_a_full_disk_files_that_were_set_aside_go_first(path, monkeypatch):
    with opened(path) as journal:
        aside = path.with_name("s.sqlite.corrupt-2026")
        aside.write_bytes(b"x" * 1000)
        aside.with_name(aside.name + "-wal").write_bytes(b"x")
        outage(journal, 10)
        assert aside.exists()
        monkeypatch.setattr(outbox_module.os, "statvfs", lambda _: Disk(1000, 4096, 1_000_000))
        outage(journal, 1, 10)
        assert list(path.parent.glob("*.corrupt-*")) == []


def test_on_a_full_disk_the_oldest_readings_of_the_journal_go_at_last_and_a_week_stays(path, monkeypatch):
    monkeypatch.setattr(outbox_module.os, "statvfs", lambda _: Disk(0, 4096, 1_000_000))
    past = [Reading("ph", T0 - 20 * 86_400_000 + i * 3_600_000, 7.0) for i in range(20 * 24)]
    with opened(path) as journal:
        journal.import_history(past)
        for i in range(1, 5):
            commit(journal, i)
        times = [row.time for chunk in journal.history(0) for row in chunk]
    assert T0 - 8 * 86_400_000 < times[0] < T0 - 6 * 86_400_000
    assert times[-1] == T0 + 4000


def test_the_tally_is_what_the_table_holds(path):
    rng = random.Random(4)
    with opened(path, centrals=["mx", "us"], room=150_000) as journal:
        for i in range(1, 400):
            commit(journal, i)
            if i % 7 == 0:
                first = rng.randrange(3 * i)
                journal.stored(rng.choice(["mx", "us"]), "b1", [(first, first + rng.randrange(60))])
            if i % 50 == 0:
                journal.ask("mx", i, 0)
                journal.owe_again("mx", 30)
                journal.prune(T0 + KEEP_MS + i * 100)
        counted = journal._db.execute(
            "SELECT SUM(owed > 0), SUM((owed > 0) * LENGTH(body)), SUM(LENGTH(body) + 120) FROM outbox").fetchone()
        assert journal._db.execute("SELECT waiting, waiting_bytes, bytes FROM tally").fetchone() == counted
        assert (journal.counts().outbox_rows, journal.counts().outbox_bytes) == counted[:2]


def test_a_gap_row_says_what_it_is_of(path):
    with opened(path, room=60_000) as journal:
        outage(journal, 300)
        first = gaps(journal)[0]
    assert isinstance(first, Gap)
    assert (first.stream, set(first.channels)) == ("obs", {"ph", "do", "orp", "uv254"})
    assert first.start == T0 + MINUTE


# Asked for again


def delivered(journal, steps, boot="b1"):
    for i in steps:
        commit(journal, i)
    journal.stored("main", boot, [(0, EVERYTHING)])


def owed_again(journal, central="main", limit=10):
    """All portions, each delivered before the next is owed."""
    portions = []
    while (count := journal.owe_again(central, limit)) is not None:
        found = rows(journal, "event", "gap", "obs", "verdict", central=central)
        assert len(found) == count <= limit
        for row in found:
            journal.stored(central, row.boot, [(row.seq, row.seq)])
        portions.append(found)
    return [row for portion in portions for row in portion]


def test_a_central_is_given_again_what_it_asks_for_alerts_first_and_each_kind_in_order(path):
    with opened(path) as journal:
        delivered(journal, range(1, 41))
        assert rows(journal, "obs", "verdict", "event") == []
        assert journal.ask("main", T0, T0 + 11_000)
        again = owed_again(journal)
        assert [row.kind for row in again] == ["event"] * 30 + ["obs"] * 30 + ["verdict"] * 30
        for kind in ("event", "obs", "verdict"):
            times = [row.time for row in again if row.kind == kind]
            assert times == [T0 + i * 1000 for i in range(11, 41)]
        assert {row.boot for row in again} == {"b1"}
        assert journal.owe_again("main", 10) is None


def test_a_portion_waits_for_the_one_before_it(path):
    with opened(path) as journal:
        delivered(journal, range(1, 41))
        journal.ask("main", T0, 0)
        assert journal.owe_again("main", 10) == 10
        assert journal.owe_again("main", 10) == 0
        assert len(rows(journal, "event", "obs", "verdict")) == 10
        for row in rows(journal, "event")[:3]:
            journal.stored("main", "b1", [(row.seq, row.seq)])
        assert journal.owe_again("main", 10) == 10


def test_a_restart_goes_on_where_the_last_run_was(path):
    found = []
    with opened(path) as journal:
        delivered(journal, range(1, 31))
        journal.ask("main", T0, 0)
    for n in range(2, 40):
        with opened(path, f"b{n}") as journal:
            if journal.owe_again("main", 7) is None:
                break
            found += [(row.kind, row.seq) for row in rows(journal, "event", "gap", "obs", "verdict")]
            journal.stored("main", "b1", [(0, EVERYTHING)])
    assert len(found) == len(set(found)) == 90


def test_the_same_ask_is_heeded_once_and_a_new_one_begins_anew(path):
    with opened(path) as journal:
        delivered(journal, range(1, 11))
        assert journal.ask("main", T0, 0)
        assert journal.counts().asking == ("main",)
        assert len(owed_again(journal)) == 30
        assert not journal.ask("main", T0, 0)
        assert journal.counts().asking == ()
        assert journal.ask("main", T0 + 1, T0 + 5000)
        assert len(owed_again(journal)) == 18
        assert not journal.ask("nobody", T0, 0)
        assert not journal.ask("main", 2**70, 0)


def test_only_the_central_that_asked_is_owed_again(path):
    with opened(path, centrals=["mx", "us"]) as journal:
        for i in range(1, 11):
            commit(journal, i)
        for central in ("mx", "us"):
            journal.stored(central, "b1", [(0, EVERYTHING)])
        journal.ask("us", T0, 0)
        journal.owe_again("us", 100)
        assert rows(journal, "event", central="mx") == []
        assert {row.owed for row in rows(journal, "event")} == {frozenset({"us"})}


def test_what_is_older_than_sixty_days_is_not_kept_and_alerts_are_for_a_year(path):
    with opened(path) as journal:
        delivered(journal, range(1, 11))
        commit(journal, 11)
        while journal.prune(T0 + KEEP_MS + 30_000):
            pass
        assert len(rows(journal, "obs", "verdict", "event")) == 3, "what waits stays"
        journal.stored("main", "b1", [(0, EVERYTHING)])
        journal.ask("main", T0, 0)
        assert Counter(row.kind for row in owed_again(journal, limit=100)) == {"event": 11, "obs": 1, "verdict": 1}


def test_the_newest_reading_that_each_central_said_to_have_is_known(path):
    with opened(path, centrals=["mx", "us"]) as journal:
        for i in range(1, 11):
            commit(journal, i)
        assert journal.counts().stored == {}
        journal.stored("mx", "b1", [(1, 12)])
        journal.stored("us", "b1", [(13, 30)])
        journal.stored("us", "b1", [(1, 12)])
        assert journal.counts().stored == {"mx": T0 + 4000, "us": T0 + 10_000}


def test_a_revision_reaches_what_was_delivered_already(path):
    with opened(path) as journal:
        journal.commit(T0, readings(1), full_step(1))
        journal.stored("main", "b1", [(0, EVERYTHING)])
        late = Step(revisions=[Reading("ph", T0 + 1000, 7.001, Quality.SUSPECT, "spike")])
        journal.commit(T0 + 2000, (), late)
        journal.ask("main", T0, 0)
        while journal.owe_again("main", 100) is not None:
            pass
        assert [row.body["q"]["ph"] for row in rows(journal, "obs")] == [3, 3]


# Files of an earlier version


V4 = """
CREATE TABLE journal(id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, live INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE newest(channel TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE alarms(alarm TEXT PRIMARY KEY, body BLOB NOT NULL, said BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE centrals(name TEXT PRIMARY KEY, bit INTEGER NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TABLE outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, kind TEXT NOT NULL, time INTEGER NOT NULL,
    owed INTEGER NOT NULL, parked INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL);
CREATE INDEX outbox_kind ON outbox(kind, parked, seq);
CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO centrals VALUES ('main', 0);
INSERT INTO outbox(boot, kind, time, owed, body) VALUES ('b0', 'obs', 5, 1, '{"t":"x","ph":7.0}');
INSERT INTO outbox(boot, kind, time, owed, parked, body) VALUES ('b0', 'event', 6, 1, 1, '{"t":"x"}');
PRAGMA user_version = 4;
"""


def test_a_file_of_an_earlier_version_keeps_what_waits_in_it_and_gets_room_for_the_rest(path):
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(V4)
    with opened(path) as journal:
        assert journal.quarantined is None
        assert [(row.seq, row.boot, row.body["ph"]) for row in rows(journal, "obs")] == [(1, "b0", 7.0)]
        assert (journal.counts().outbox_rows, journal.counts().parked) == (2, 1)
        commit(journal, 1)
        journal.classify(T0, "contamination", 1, Label.EVENT, "Ana")
        assert len(journal.words()) == 1
        assert journal.stored("main", "b0", [(1, 2)]) == 2
    with opened(path, "b2") as journal:
        assert journal.counts().outbox_rows == 3
