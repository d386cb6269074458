"""Journal, alarm state and outbox: tables of one SQLite file; what one step of the pipeline gives is committed whole.

WAL with synchronous=FULL: a commit that was reported survives a power cut. The file always opens: a damaged one is set
aside under a name that says so, and a new one is begun. A body that is damaged is passed over; the others are used.

Here are the readings and the alarms; the outbox is in `ewarn.edge.outbox`.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from ewarn.contracts import USABLE, Alert, Classification, Label, Millis, Quality, Reading, Verdict
from ewarn.core.alarms import AlarmRecord
from ewarn.edge.journal_file import open_file, read_only
from ewarn.edge.outbox import KEEP_ALERTS_MS, KEEP_MS, LARGEST, PRUNE_ROWS, ROOM, Outbox, encode
from ewarn.edge.salvage import salvage
from ewarn.edge.thinning import DAMAGED, decode_row
from ewarn.errors import StoreUnavailable
from ewarn.sqlite_files import keep_newest
from ewarn.wire import WireError, alert_of, alert_row, obs_rows, revise, verdict_row

log = logging.getLogger(__name__)

_AHEAD_MS: Millis = 60_000
_Body = list[tuple[str, Millis, float | None, int, str]]
_decode = msgspec.json.Decoder(_Body).decode


class Result(Protocol):
    """What the pipeline gives for one input; see `ewarn.core.pipeline.Step`."""

    readings: list[Reading]
    computed: list[Reading]
    revisions: list[Reading]
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
class JournalCounts:
    """How much there is.

    Attributes:
        accepted: readings that came live, in the whole life of the file.
        repeats: readings that had come before.
        outbox_rows, outbox_bytes: that wait for a central, and the bytes of their bodies.
        parked: of these, rows that the broker refused.
        stored: by central, the time of the newest readings that it said to have.
        asking: centrals that are being given again what they asked for.
    """

    accepted: int
    repeats: int
    outbox_rows: int
    outbox_bytes: int
    parked: int
    stored: Mapping[str, Millis] = field(default_factory=dict)
    asking: tuple[str, ...] = ()


class Journal(Outbox):
    """The station's memory. Every method may be called from any thread; one works at a time.

    Use `Journal.open`. Methods raise sqlite3.Error where the disk does not take it; nothing is half done then.

    Attributes:
        quarantined: under which name a damaged file was set aside at the opening.
    """

    def __init__(
        self, path: Path, db: sqlite3.Connection, boot: str, room: int = ROOM, quarantined: Path | None = None
    ) -> None:
        super().__init__(path, db, boot, room)
        self.quarantined = quarantined
        self._begun = True
        self._sent: dict[str, Millis] = {}

    @classmethod
    def open(
        cls, path: Path, *, boot: str, now: Millis, centrals: Sequence[str] | None = None, room: int = ROOM
    ) -> Self:
        """Open or begin the file; a damaged one is set aside, see `quarantined`, and its alarms are taken over.

        Args:
            path: of the file.
            boot: name of this run, never used before.
            now: for the name of a damaged file, and the numbers of alarms in a new one.
            centrals: who has to have every row; those that the file knows where absent, in a new one "main".
            room: bytes that the outbox may take.

        Raises:
            StoreUnavailable: the file can neither be opened nor be set aside.
        """
        db, quarantined = open_file(path, now)
        journal = cls(path, db, boot, room, quarantined)
        try:
            journal.address(centrals)
            journal._begin(now)
        except (sqlite3.Error, OSError) as error:
            db.close()
            raise StoreUnavailable(f"{path} cannot be written: {error}") from error
        return journal

    def _begin(self, now: Millis) -> None:
        if self.quarantined is not None:
            with self._db:
                self._db.execute("INSERT OR REPLACE INTO counters VALUES ('first', ?)", (max(0, now // 1000),))
            salvage(self.quarantined, self._db, self.boot, sum(1 << bit for bit in self._bits.values()))
            keep_newest(self.path, self.quarantined, self._room)

    def renew(self, now: Millis) -> None:
        """Open the file again after a sign of damage: if it is damaged it is set aside and a new one begun.

        Rows of a new file are of a new `boot`.

        Raises:
            StoreUnavailable: there is no file for the time being.
        """
        with self._lock:
            self._db.close()
            self._db, quarantined = open_file(self.path, now, doubtful=True)
            if quarantined is not None:
                self.quarantined, self.boot, self._begun = quarantined, f"{self.boot}.{now:x}", False
                self._sent.clear()
            if self._begun:
                return
        try:
            self.address(self.centrals)
            self._begin(now)
            self._begun = True
        except (sqlite3.Error, OSError) as error:
            self._db.close()  # the next commit fails, and renews again
            raise StoreUnavailable(f"{self.path} cannot be written: {error}") from error

    def _first(self) -> int:
        """Up to which number alarms of a file before this one may have counted."""
        row = self._db.execute("SELECT value FROM counters WHERE name = 'first'").fetchone()
        return int(row[0]) if row else 0

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
        journalled nor sent again. A revision is sent after what it is of, and is no reading of its own.

        Returns:
            The number of readings that are new.
        """
        del now
        with self._lock, self._db:
            newest = self._newest()
            fresh = [r for r in inputs if r.time > newest.get(r.channel, -1)]
            identities = {(r.channel, r.time) for r in fresh}
            self._journal(fresh, live=True)
            kept = [r for r in step.readings if (r.channel, r.time) in identities]
            self._send("obs", obs_rows(kept + step.computed))
            self._revise([r for r in step.revisions if (r.channel, r.time) in identities or self._has_sent(r)])
            self._send("verdict", map(verdict_row, step.verdicts))
            self._send("event", map(alert_row, step.alerts))
            said = {alert.alarm: alert_row(alert) for alert in step.alerts}
            self._db.executemany(
                "INSERT OR REPLACE INTO alarms VALUES (?, ?, ?)",
                [(a, encode(r), encode(said.get(a, {}))) for a, r in step.alarms.items()],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO occurrences(alarm, occurrence, time, body) VALUES (?, ?, ?, ?)",
                [(a.alarm, a.occurrence, a.time, encode(alert_row(a))) for a in step.alerts if a.number == 1],
            )
            self._count("accepted", len(identities))
            self._count("repeats", len(inputs) - len(identities))
            self._make_room()
        self._sent.update((r.channel, r.time) for r in kept if r.quality in USABLE)
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
        self, since: Millis, *, until: Millis = LARGEST, last: int = LARGEST, chunk: int = 2000
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

    def alarms(self, expected: Iterable[str] = ()) -> dict[str, AlarmRecord]:
        """Where each alarm stood.

        In a file that took the place of a damaged one, an alarm that is expected and that it knows nothing of begins
        to count with the second in which it was begun: the numbers that there were before are lower.
        """
        with self._lock:
            rows = self._db.execute("SELECT alarm, body FROM alarms").fetchall()
            first = self._first()
        found = {alarm: AlarmRecord(alarm, occurrence=first) for alarm in expected}
        for alarm, body in rows:
            try:
                found[alarm] = msgspec.json.decode(body, type=AlarmRecord)
            except DAMAGED as error:
                log.error("the state of alarm %s is damaged: %s", alarm, error)  # noqa: TRY400
        return found

    def said(self) -> dict[str, dict[str, Any]]:
        """The newest transition of each alarm, as it was sent."""
        with self._lock:
            rows = self._db.execute("SELECT alarm, said FROM alarms").fetchall()
        found = {}
        for alarm, body in rows:
            with contextlib.suppress(*DAMAGED):
                found[alarm] = decode_row(body)
        return {alarm: row for alarm, row in found.items() if row}

    def classify(self, now: Millis, alarm: str, occurrence: int, label: Label, by: str) -> Classification:
        """Write down what an operator says of an alert; the last word counts.

        Raises:
            KeyError: there is no such alert, or it was forgotten.
        """
        with self._lock, self._db:
            changed = self._db.execute(
                "UPDATE occurrences SET label = ?, by = ?, said = ? WHERE alarm = ? AND occurrence = ?",
                (str(label), by, now, alarm, occurrence),
            ).rowcount
            if not changed:
                raise KeyError(f"{alarm}/{occurrence}")
            (body,) = self._db.execute(
                "SELECT body FROM occurrences WHERE alarm = ? AND occurrence = ?", (alarm, occurrence)
            ).fetchone()
        return Classification(alert_of("", decode_row(body)), label, by, now)

    def words(self) -> list[Classification]:
        """What operators said of alerts, in order of time."""
        with self._lock:
            rows = self._db.execute("SELECT body, label, by, said FROM occurrences WHERE said ORDER BY said").fetchall()
        found = []
        for body, label, by, said in rows:
            try:
                found.append(Classification(alert_of("", decode_row(body)), Label(label), by, said))
            except (*DAMAGED, WireError) as error:
                log.error("an operator's word on an alert is damaged: %s", error)  # noqa: TRY400
        return found

    def prune(self, now: Millis) -> int:
        """Drop some readings and delivered rows older than 60 days, and alerts of a year ago.

        Returns how many rows; call again until none.
        """
        with self._lock, self._db:
            self._db.execute("DELETE FROM occurrences WHERE time < ?", (now - KEEP_ALERTS_MS,))
            readings = self._db.execute(
                "DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE time < ? ORDER BY time LIMIT ?)",
                (now - KEEP_MS, PRUNE_ROWS),
            ).rowcount
            return readings + self._prune_delivered(now)

    def counts(self) -> JournalCounts:
        """How much there is."""
        with self._lock:
            counters = dict(self._db.execute("SELECT name, value FROM counters"))
            return JournalCounts(counters.get("accepted", 0), counters.get("repeats", 0), *self._outbox_counts())

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
        self._db.execute("INSERT INTO journal(time, live, body) VALUES (?, ?, ?)", (time, live, encode(body)))
        self._db.executemany(
            "INSERT INTO newest VALUES (?, ?) ON CONFLICT(channel) DO UPDATE SET time = MAX(time, excluded.time)",
            [(r.channel, r.time) for r in readings],
        )

    def _has_sent(self, reading: Reading) -> bool:
        """Whether it is the newest usable one of its channel that this run sent."""
        return self._sent.get(reading.channel) == reading.time

    def _revise(self, revisions: Sequence[Reading]) -> None:
        """Send final flags. What waits is revised too: sent again later, it would bring the old flag back."""
        for reading in revisions:
            waiting = self._db.execute("SELECT seq, body FROM outbox WHERE kind = 'obs' AND time = ?", (reading.time,))
            for seq, body in waiting.fetchall():
                with contextlib.suppress(*DAMAGED):
                    row = encode(revise(decode_row(body), reading))
                    self._db.execute("UPDATE outbox SET body = ? WHERE seq = ?", (row, seq))
        self._send("obs", obs_rows(revisions))

    def _count(self, name: str, more: int) -> None:
        self._db.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
            (name, more),
        )


def _readings(id_: int, body: bytes) -> list[Reading]:
    """None where the body is damaged."""
    try:
        return [Reading(c, t, v, Quality(q), why) for c, t, v, q, why in _decode(body)]
    except DAMAGED as error:
        log.error("row %d of the journal is damaged: %s", id_, error)  # noqa: TRY400
        return []
