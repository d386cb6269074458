"""Journal, alarm state and outbox: tables of one SQLite file; what one step of the pipeline gives is committed whole.

WAL with synchronous=FULL: a commit that was reported survives a power cut. The file always opens: a damaged one is set
aside under a name that says so, and a new one is begun.

A row leaves the outbox when every central has said that its database has it: `owed` is a bit for each that has not.
`boot` and `seq` name a row for ever; seq counts on over restarts, and a new file begins with a new boot.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from ewarn.contracts import Alert, Millis, Quality, Reading, Verdict
from ewarn.core.alarms import AlarmRecord
from ewarn.times import from_text, to_text
from ewarn.wire import alert_row, obs_rows, verdict_row

KEEP_MS: Millis = 60 * 86_400_000
_PRUNE_ROWS = 2000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal(
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, live INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS journal_time ON journal(time);
CREATE TABLE IF NOT EXISTS newest(channel TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarms(alarm TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, kind TEXT NOT NULL, time INTEGER NOT NULL,
    owed INTEGER NOT NULL, parked INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_kind ON outbox(kind, parked, seq);
CREATE TABLE IF NOT EXISTS counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
_encode = msgspec.json.Encoder().encode
_Body = list[tuple[str, Millis, float | None, int, str]]
_decode = msgspec.json.Decoder(_Body).decode


class Result(Protocol):
    """What the pipeline gives for one input; see `ewarn.core.pipeline.Step`."""

    readings: list[Reading]
    verdicts: list[Verdict]
    alerts: list[Alert]
    alarms: dict[str, AlarmRecord]


@dataclass(frozen=True, slots=True)
class JournalRow:
    """Readings that came together, as the drivers gave them."""

    id: int
    time: Millis
    readings: list[Reading]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """Something that at least one central does not have yet."""

    seq: int
    boot: str
    kind: str
    time: Millis
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class JournalCounts:
    """How much there is. Bytes are those of the bodies."""

    accepted: int
    repeats: int
    outbox_rows: int
    outbox_bytes: int
    parked: int


class Journal:
    """The station's memory. Every method may be called from any thread; one works at a time.

    Use `Journal.open`. Methods raise sqlite3.Error where the disk does not take it; nothing is half done then.
    """

    def __init__(self, path: Path, boot: str, centrals: Sequence[str]) -> None:
        self.path, self.boot, self.centrals = path, boot, tuple(centrals)
        self.quarantined: Path | None = None
        self._lock = threading.Lock()
        self._db = _connect(path)

    @classmethod
    def open(cls, path: Path, *, boot: str, now: Millis, centrals: Sequence[str] = ("main",)) -> Self:
        """Open or begin the file; a damaged one is set aside, see `quarantined`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        quarantined = None
        if not _sound(path):
            quarantined = _set_aside(path, now)
        journal = cls(path, boot, centrals)
        journal.quarantined = quarantined
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def commit(self, now: Millis, inputs: Sequence[Reading], step: Result) -> int:
        """Write what one step took and gave, whole or not at all.

        A reading whose channel already has one of the same or a later time is a repeat: counted, and neither
        journalled nor sent again.

        Returns:
            The number of readings that are new.
        """
        del now
        with self._lock, self._db:
            newest = self._newest()
            fresh = [r for r in inputs if r.time > newest.get(r.channel, -1)]
            identities = {(r.channel, r.time) for r in fresh}
            self._journal(fresh, live=True)
            self._send("obs", obs_rows(r for r in step.readings if (r.channel, r.time) in identities))
            self._send("verdict", map(verdict_row, step.verdicts))
            self._send("event", map(alert_row, step.alerts))
            self._db.executemany(
                "INSERT OR REPLACE INTO alarms VALUES (?, ?)", [(a, _encode(r)) for a, r in step.alarms.items()]
            )
            self._count("accepted", len(identities))
            self._count("repeats", len(inputs) - len(identities))
            return len(identities)

    def import_history(self, readings: Iterable[Reading]) -> int:
        """Take a station's own past, in order of time: it is learned from, and not sent. Returns their number."""
        count = 0
        with self._lock, self._db:
            for _, group in groupby(readings, key=lambda r: r.time):
                batch = list(group)
                self._journal(batch, live=False)
                count += len(batch)
        return count

    def history(self, since: Millis, *, after: int = 0, chunk: int = 2000) -> Iterator[list[JournalRow]]:
        """Journal rows from `since` on, with id more than `after`, in the order of their coming.

        Reads by a connection of its own, so that it may run beside the writer in another thread.
        """
        with contextlib.closing(_connect(self.path)) as db:
            while True:
                rows = db.execute(
                    "SELECT id, time, body FROM journal WHERE id > ? AND time >= ? ORDER BY id LIMIT ?",
                    (after, since, chunk),
                ).fetchall()
                if not rows:
                    return
                after = rows[-1][0]
                yield [JournalRow(id_, time, _readings(body)) for id_, time, body in rows]

    def alarms(self) -> dict[str, AlarmRecord]:
        """Where each alarm stood."""
        with self._lock:
            rows = self._db.execute("SELECT alarm, body FROM alarms").fetchall()
        return {alarm: msgspec.json.decode(body, type=AlarmRecord) for alarm, body in rows}

    def outbox_batch(
        self, kinds: Sequence[str], limit: int, max_bytes: int, skip: Collection[int] = ()
    ) -> list[OutboxRow]:
        """The oldest rows of these kinds that are neither parked nor in `skip`, at least one where there is any."""
        marks = ",".join("?" * len(kinds))
        query = f"SELECT seq, boot, kind, time, body FROM outbox WHERE kind IN ({marks}) AND NOT parked ORDER BY seq"  # noqa: S608  (marks are question marks)
        found: list[OutboxRow] = []
        size = 0
        with self._lock:
            for seq, boot, kind, time, body in self._db.execute(query, tuple(kinds)):
                if seq in skip:
                    continue
                size += len(body) + 60
                if found and (len(found) >= limit or size > max_bytes):
                    break
                found.append(OutboxRow(seq, boot, kind, time, msgspec.json.decode(body)))
        return found

    def stored(self, central: str, boot: str, ranges: Iterable[tuple[int, int]]) -> int:
        """A central's database has these rows. Returns how many are now everywhere, and forgotten."""
        if central not in self.centrals:
            return 0
        bit = 1 << self.centrals.index(central)
        with self._lock, self._db:
            for first, last in ranges:
                self._db.execute(
                    "UPDATE outbox SET owed = owed & ~? WHERE boot = ? AND seq BETWEEN ? AND ?",
                    (bit, boot, first, last),
                )
            return self._db.execute("DELETE FROM outbox WHERE owed = 0").rowcount

    def park(self, seqs: Iterable[int]) -> None:
        """Put rows aside that the broker refuses: kept and counted, sent no more until the next start."""
        with self._lock, self._db:
            self._db.executemany("UPDATE outbox SET parked = 1 WHERE seq = ?", [(seq,) for seq in seqs])

    def unpark(self) -> int:
        """Give parked rows another try. Returns how many."""
        with self._lock, self._db:
            return self._db.execute("UPDATE outbox SET parked = 0 WHERE parked").rowcount

    def prune(self, now: Millis) -> int:
        """Drop some journal rows older than 60 days. Returns how many; call again until none."""
        with self._lock, self._db:
            return self._db.execute(
                "DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE time < ? ORDER BY time LIMIT ?)",
                (now - KEEP_MS, _PRUNE_ROWS),
            ).rowcount

    def counts(self) -> JournalCounts:
        """How much there is."""
        with self._lock:
            counters = dict(self._db.execute("SELECT name, value FROM counters"))
            rows, size, parked = self._db.execute(
                "SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0), COALESCE(SUM(parked), 0) FROM outbox"
            ).fetchone()
        return JournalCounts(counters.get("accepted", 0), counters.get("repeats", 0), rows, size, parked)

    def accepted(self) -> Iterator[tuple[str, Millis, float | None]]:
        """Every reading that was accepted live: channel, time and value."""
        with contextlib.closing(_connect(self.path)) as db:
            for (body,) in db.execute("SELECT body FROM journal WHERE live ORDER BY id"):
                for reading in _readings(body):
                    yield reading.channel, reading.time, reading.value

    def _newest(self) -> dict[str, Millis]:
        return dict(self._db.execute("SELECT channel, time FROM newest"))

    def _journal(self, readings: Sequence[Reading], *, live: bool) -> None:
        if not readings:
            return
        body: _Body = [(r.channel, r.time, r.value, int(r.quality), r.reason) for r in readings]
        time = max(r.time for r in readings)
        self._db.execute("INSERT INTO journal(time, live, body) VALUES (?, ?, ?)", (time, live, _encode(body)))
        self._db.executemany(
            "INSERT INTO newest VALUES (?, ?) ON CONFLICT(channel) DO UPDATE SET time = MAX(time, excluded.time)",
            [(r.channel, r.time) for r in readings],
        )

    def _send(self, kind: str, bodies: Iterable[Mapping[str, Any]]) -> None:
        owed = (1 << len(self.centrals)) - 1
        self._db.executemany(
            "INSERT INTO outbox(boot, kind, time, owed, body) VALUES (?, ?, ?, ?, ?)",
            [(self.boot, kind, from_text(body["t"]), owed, _encode(body)) for body in bodies],
        )

    def _count(self, name: str, more: int) -> None:
        self._db.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
            (name, more),
        )


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, timeout=10.0)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(_SCHEMA)
    return db


def _sound(path: Path) -> bool:
    """Whether the file is absent or whole."""
    if not path.exists():
        return True
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10.0)) as db:
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
            db.executescript(_SCHEMA)
            db.execute("SELECT COUNT(*) FROM alarms").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
            raise
        return False
    return bool(verdict == "ok")


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """Damage to the content, as against a disk that is full, locked or not ours."""
    return getattr(error, "sqlite_errorname", "") in {
        "SQLITE_ERROR",
        "SQLITE_CORRUPT",
        "SQLITE_NOTADB",
        "SQLITE_MISMATCH",
    }


def _set_aside(path: Path, now: Millis) -> Path:
    """Rename the damaged file, and what SQLite keeps beside it."""
    stamp = to_text(now).replace(":", "").replace(".", "")
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    path.rename(target)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(target.with_name(target.name + suffix))
    return target


def _readings(body: bytes) -> list[Reading]:
    return [Reading(c, t, v, Quality(q), why) for c, t, v, q, why in _decode(body)]
