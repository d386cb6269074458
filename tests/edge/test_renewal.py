"""A journal that is damaged while the daemon runs: what was not committed goes into a new one."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from steps import T0, commit, full_step, readings

from ewarn.edge.journal import Journal
from ewarn.edge.recorder import Recorder
from ewarn.errors import StoreUnavailable


def damage(journal):
    """Every page but the first."""
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = journal.path.stat().st_size
    with journal.path.open("r+b") as f:
        f.seek(4096)
        f.write(b"\xff" * (size - 4096))
    journal._db.execute("PRAGMA cache_size = 0")  # else SQLite does not look into the file


async def test_steps_that_a_damaged_file_does_not_take_go_into_a_new_one(tmp_path, caplog):
    journal = Journal.open(tmp_path / "s.sqlite", boot="b1", now=T0)
    for i in range(1, 101):
        commit(journal, i)
    damage(journal)
    with ThreadPoolExecutor(1) as writer:
        recorder = Recorder(journal, writer)
        for i in range(101, 104):
            recorder.take(T0 + i * 1000, readings(i), full_step(i))
        for _ in range(3):
            if await recorder.save():
                break
        assert (recorder.unsaved, recorder.problem) == (0, "")
        assert journal.quarantined.name.startswith("s.sqlite.corrupt-")
        events = journal.outbox_batch(["event"], 1000, 10**9)
        assert [row.body["number"] for row in events][-3:] == [101, 102, 103]
        assert journal.counts().accepted == 6
    assert "the journal fails" in caplog.text
    journal.close()


def test_a_new_file_that_could_not_be_begun_whole_is_begun_again(tmp_path, monkeypatch):
    journal = Journal.open(tmp_path / "s.sqlite", boot="b1", now=T0, centrals=["main"])
    for i in range(1, 101):
        commit(journal, i)
    damage(journal)
    address, full = Journal.address, iter([True])

    def once(self, centrals):
        if next(full, False):
            raise sqlite3.OperationalError("database or disk is full")
        return address(self, centrals)

    monkeypatch.setattr(Journal, "address", once)
    with pytest.raises(StoreUnavailable):
        journal.renew(T0 + 200_000)
    with pytest.raises(sqlite3.ProgrammingError):
        commit(journal, 101)
    journal.renew(T0 + 201_000)
    commit(journal, 102)
    assert journal.centrals == ("main",)
    assert journal.alarms()["contamination"].number == 102
    assert journal._first() == (T0 + 201_000) // 1000
    journal.close()
