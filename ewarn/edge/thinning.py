"""What goes when the outbox is full: of telemetry that waits, every second row of the oldest stretch; never an alert.

A stretch that was thinned is left alone until all others were thinned as often: a long outage costs resolution
everywhere rather than a part of the record (after the `reduce` of Fledge's purge, there for aggregates). Rows are
thinned among their like: those of the same channels, so that no probe goes missing for another. A gap row says what
was dropped.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ewarn.contracts import Millis
from ewarn.parameters import RESERVED_CHANNELS
from ewarn.wire import Gap, WireError, gap_of, gap_row

STRETCH = 200
"""Rows that are looked at together."""
_CHUNK = 250
"""Delivered rows of a kind that go at once."""
_JOURNAL_LEAST_MS: Millis = 7 * 86_400_000
"""What of the journal stays however full the disk is: detection is rebuilt from it."""
DAMAGED = (msgspec.MsgspecError, ValueError, TypeError)
decode_row = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class Thinned:
    """What one pass did.

    Attributes:
        done: whether there was a stretch.
        rows: gap rows that are to be sent.
    """

    done: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Row:
    seq: int
    kind: str
    time: Millis
    channels: tuple[str, ...]


def thin(db: sqlite3.Connection) -> Thinned:
    """Thin the oldest stretch of those that were thinned least."""
    level, stretch = _oldest_stretch(db)
    if not stretch:
        return Thinned()
    dropped = [row for like in _alike(stretch) for row in like[1::2]]
    gone = {row.seq for row in dropped}
    db.executemany("DELETE FROM outbox WHERE seq = ?", [(seq,) for seq in gone])
    kept = [(level + 1, row.seq) for row in stretch if row.seq not in gone]
    db.executemany("UPDATE outbox SET thinned = ? WHERE seq = ?", kept)
    rows = []
    for kind in ("obs", "verdict"):
        lost = [row for row in dropped if row.kind == kind]
        if lost:
            gap = _gap(kind, lost)
            rows.append(gap_row(_joined(gap, _earlier(db, stretch, kind)) if level else gap))
    return Thinned(True, rows)


def drop_delivered(db: sqlite3.Connection, *, alerts: bool) -> int:
    """Drop the oldest rows that every central has; of alerts only where asked to. Returns how many."""
    gone = 0
    for kind in ("event",) if alerts else ("gap", "obs", "verdict"):
        gone += db.execute(
            "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox INDEXED BY outbox_delivered "
            "WHERE kind = ? AND owed = 0 ORDER BY time LIMIT ?)",
            (kind, _CHUNK),
        ).rowcount
    return gone


def drop_journal(db: sqlite3.Connection) -> int:
    """Drop the oldest readings of the journal but those of its last week. Returns the number of its rows."""
    return db.execute(
        "DELETE FROM journal WHERE id IN (SELECT id FROM journal "
        "WHERE time < (SELECT MAX(time) FROM journal) - ? ORDER BY time LIMIT ?)",
        (_JOURNAL_LEAST_MS, _CHUNK),
    ).rowcount


def _oldest_stretch(db: sqlite3.Connection) -> tuple[int, list[_Row]]:
    """The lowest level that has a whole stretch, and its oldest; none where no level has one."""
    waiting = "outbox INDEXED BY outbox_thinned WHERE owed > 0 AND kind IN ('obs', 'verdict')"
    highest = db.execute(f"SELECT thinned FROM {waiting} ORDER BY thinned DESC LIMIT 1").fetchone()  # noqa: S608
    for level in range(highest[0] + 1 if highest else 0):
        rows = db.execute(
            f"SELECT seq, kind, time, body FROM {waiting} AND thinned = ? ORDER BY seq LIMIT ?",  # noqa: S608
            (level, STRETCH),
        ).fetchall()
        if len(rows) == STRETCH:
            return level, [_Row(seq, kind, time, _channels(kind, body)) for seq, kind, time, body in rows]
    return 0, []


def _channels(kind: str, body: bytes) -> tuple[str, ...]:
    """Of a row of readings, in order; a damaged body has none."""
    if kind != "obs":
        return ()
    try:
        row = decode_row(body)
        return tuple(sorted({*row, *row.get("q", ())} - RESERVED_CHANNELS))
    except DAMAGED:
        return ()


def _alike(rows: Iterable[_Row]) -> list[list[_Row]]:
    groups: dict[tuple[str, tuple[str, ...]], list[_Row]] = defaultdict(list)
    for row in rows:
        groups[row.kind, row.channels].append(row)
    return list(groups.values())


def _gap(kind: str, lost: list[_Row]) -> Gap:
    times = [row.time for row in lost]
    channels = Counter(channel for row in lost for channel in row.channels)
    return Gap(min(times), max(times), kind, len(lost), dict(channels))


def _earlier(db: sqlite3.Connection, stretch: list[_Row], kind: str) -> list[Gap]:
    """Gaps of this stretch that still wait; they leave the outbox, since a new one is to tell of them too."""
    found: list[Gap] = []
    rows = db.execute(
        "SELECT seq, body FROM outbox WHERE kind = 'gap' AND time BETWEEN ? AND ? AND owed > 0",
        (min(row.time for row in stretch), max(row.time for row in stretch)),
    ).fetchall()
    for seq, body in rows:
        try:
            earlier = gap_of(decode_row(body))
        except (*DAMAGED, WireError):
            continue
        if earlier.stream == kind:
            db.execute("DELETE FROM outbox WHERE seq = ?", (seq,))
            found.append(earlier)
    return found


def _joined(gap: Gap, others: list[Gap]) -> Gap:
    every = [gap, *others]
    channels = Counter[str]()
    for one in every:
        channels.update(one.channels)
    start, end = min(g.start for g in every), max(g.end for g in every)
    return Gap(start, end, gap.stream, sum(g.rows for g in every), dict(channels))
