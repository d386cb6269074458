"""Journal, alarm state and outbox: tables of one SQLite file; what one step of the pipeline gives is committed whole.

WAL with synchronous=FULL: a commit that was reported survives a power cut. The file always opens: a damaged one is set
aside under a name that says so, and a new one is begun. A body that is damaged is passed over; the others are used.

A row leaves the outbox when every central has said that its database has it: `owed` is a bit for each that has not.
The file knows whose bit is which, so that the station file may name other centrals, or the same in another order.
`boot` and `seq` name a row for ever; seq counts on over restarts, and a new file begins with a new boot.
"""

from __future__ import annotations

import contextlib
import logging
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
from ewarn.edge.journal_file import open_file, read_only
from ewarn.errors import StoreUnavailable
from ewarn.times import from_text
from ewarn.wire import alert_row, obs_rows, verdict_row

log = logging.getLogger(__name__)

KEEP_MS: Millis = 60 * 86_400_000
_PRUNE_ROWS = 2000
_LARGEST = 2**63 - 1
_AHEAD_MS: Millis = 60_000
_DAMAGED = (msgspec.MsgspecError, ValueError, TypeError)
_encode = msgspec.json.Encoder().encode
_Body = list[tuple[str, Millis, float | None, int, str]]
_decode = msgspec.json.Decoder(_Body).decode
_decode_row = msgspec.json.Decoder(dict[str, Any]).decode


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

    def __init__(self, path: Path, db: sqlite3.Connection, boot: str, quarantined: Path | None = None) -> None:
        self.path, self.boot, self.quarantined = path, boot, quarantined
        self._db = db
        self._lock = threading.Lock()
        self._bits: dict[str, int] = {}

    @classmethod
    def open(cls, path: Path, *, boot: str, now: Millis, centrals: Sequence[str] | None = None) -> Self:
        """Open or begin the file; a damaged one is set aside, see `quarantined`.

        Args:
            path: of the file.
            boot: name of this run, never used before.
            now: for the name of a damaged file.
            centrals: who has to have every row; those that the file knows where absent, in a new one "main".

        Raises:
            StoreUnavailable: the file can neither be opened nor be set aside.
        """
        db, quarantined = open_file(path, now)
        journal = cls(path, db, boot, quarantined)
        try:
            with journal._db:
                journal._address(centrals)
        except sqlite3.Error as error:
            db.close()
            raise StoreUnavailable(f"{path} cannot be written: {error}") from error
        return journal

    @property
    def centrals(self) -> tuple[str, ...]:
        """Who has to have every row."""
        return tuple(self._bits)

    def _address(self, centrals: Sequence[str] | None) -> None:
        """Rows are owed to these centrals from now on: those that wait too, and to no other."""
        known = dict(self._db.execute("SELECT name, bit FROM centrals ORDER BY bit"))
        wanted = tuple(centrals if centrals is not None else known or ("main",))
        free = (bit for bit in range(63) if bit not in known.values())
        self._bits = {name: known[name] if name in known else next(free) for name in wanted}
        if self._bits == known:
            return
        gone = sum(1 << bit for name, bit in known.items() if name not in self._bits)
        new = sum(1 << bit for name, bit in self._bits.items() if name not in known)
        self._db.execute("DELETE FROM centrals")
        self._db.executemany("INSERT INTO centrals VALUES (?, ?)", self._bits.items())
        self._db.execute("UPDATE outbox SET owed = owed & ~? | ?", (gone, new))
        self._db.execute("DELETE FROM outbox WHERE owed = 0")

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
            said = {alert.alarm: alert_row(alert) for alert in step.alerts}
            self._db.executemany(
                "INSERT OR REPLACE INTO alarms VALUES (?, ?, ?)",
                [(a, _encode(r), _encode(said.get(a, {}))) for a, r in step.alarms.items()],
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

    def history(
        self, since: Millis, *, until: Millis = _LARGEST, last: int = _LARGEST, chunk: int = 2000
    ) -> Iterator[list[JournalRow]]:
        """Journal rows of `since` to `until` with ids up to `last`, in order of time.

        Reads by a connection of its own, so that it may run beside the writer in another thread.
        """
        with contextlib.closing(read_only(self.path)) as db:
            mark = (since, 0)
            while True:
                # The plus keeps SQLite to the index by time.
                rows = db.execute(
                    "SELECT id, time, body FROM journal WHERE (time, id) > (?, ?) AND time <= ? AND +id <= ? "
                    "ORDER BY time, id LIMIT ?",
                    (*mark, until, last, chunk),
                ).fetchall()
                if not rows:
                    return
                mark = (rows[-1][1], rows[-1][0])
                yield [JournalRow(id_, time, _readings(id_, body)) for id_, time, body in rows]

    def last_id(self) -> int:
        """Of the newest journal row, 0 where there is none."""
        with self._lock:
            return int(self._db.execute("SELECT COALESCE(MAX(id), 0) FROM journal").fetchone()[0])

    def forget_future(self, now: Millis) -> int:
        """Take readings again although the file has some of later than a minute from now: a clock was wrong.

        Returns the number of channels.
        """
        with self._lock, self._db:
            return self._db.execute("DELETE FROM newest WHERE time > ?", (now + _AHEAD_MS,)).rowcount

    def alarms(self) -> dict[str, AlarmRecord]:
        """Where each alarm stood."""
        with self._lock:
            rows = self._db.execute("SELECT alarm, body FROM alarms").fetchall()
        found = {}
        for alarm, body in rows:
            try:
                found[alarm] = msgspec.json.decode(body, type=AlarmRecord)
            except _DAMAGED as error:
                log.error("the state of alarm %s is damaged: %s", alarm, error)  # noqa: TRY400
        return found

    def said(self) -> dict[str, dict[str, Any]]:
        """The newest transition of each alarm, as it was sent."""
        with self._lock:
            rows = self._db.execute("SELECT alarm, said FROM alarms").fetchall()
        found = {}
        for alarm, body in rows:
            with contextlib.suppress(*_DAMAGED):
                found[alarm] = _decode_row(body)
        return {alarm: row for alarm, row in found.items() if row}

    def outbox_batch(
        self, kinds: Sequence[str], limit: int, max_bytes: int, skip: Collection[int] = ()
    ) -> list[OutboxRow]:
        """The oldest rows of these kinds that are neither parked nor in `skip`, at least one where there is any."""
        marks = ",".join("?" * len(kinds))
        query = f"SELECT seq, boot, kind, time, body FROM outbox WHERE kind IN ({marks}) AND NOT parked ORDER BY seq"  # noqa: S608  (marks are question marks)
        found: list[OutboxRow] = []
        damaged: list[int] = []
        size = 0
        with self._lock:
            for seq, boot, kind, time, body in self._db.execute(query, tuple(kinds)):
                if seq in skip:
                    continue
                size += len(body) + 60
                if found and (len(found) >= limit or size > max_bytes):
                    break
                try:
                    found.append(OutboxRow(seq, boot, kind, time, _decode_row(body)))
                except _DAMAGED:
                    damaged.append(seq)
        if damaged:
            log.error("rows %s of the outbox are damaged and parked", damaged)
            self.park(damaged)
        return found

    def unsent(self) -> bool:
        """Whether there is a row that is not parked."""
        with self._lock:
            return self._db.execute("SELECT 1 FROM outbox WHERE NOT parked LIMIT 1").fetchone() is not None

    def stored(self, central: str, boot: str, ranges: Iterable[tuple[int, int]]) -> int:
        """A central's database has these rows. Returns how many are now everywhere, and forgotten."""
        if central not in self._bits:
            return 0
        bit = 1 << self._bits[central]
        gone = 0
        with self._lock, self._db:
            for first, last in ranges:
                # What comes over the network may be no number of SQLite's.
                span = max(first, 0), min(last, _LARGEST)
                if span[0] > span[1]:
                    continue
                self._db.execute(
                    "UPDATE outbox SET owed = owed & ~? WHERE boot = ? AND seq BETWEEN ? AND ?", (bit, boot, *span)
                )
                gone += self._db.execute("DELETE FROM outbox WHERE seq BETWEEN ? AND ? AND owed = 0", span).rowcount
        return gone

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
        with contextlib.closing(read_only(self.path)) as db:
            for id_, body in db.execute("SELECT id, body FROM journal WHERE live ORDER BY id"):
                for reading in _readings(id_, body):
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
        owed = sum(1 << bit for bit in self._bits.values())
        self._db.executemany(
            "INSERT INTO outbox(boot, kind, time, owed, body) VALUES (?, ?, ?, ?, ?)",
            [(self.boot, kind, from_text(body["t"]), owed, _encode(body)) for body in bodies],
        )

    def _count(self, name: str, more: int) -> None:
        self._db.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
            (name, more),
        )


def _readings(id_: int, body: bytes) -> list[Reading]:
    """None where the body is damaged."""
    try:
        return [Reading(c, t, v, Quality(q), why) for c, t, v, q, why in _decode(body)]
    except _DAMAGED as error:
        log.error("row %d of the journal is damaged: %s", id_, error)  # noqa: TRY400
        return []
