"""The outbox: rows that centrals do not have yet, and those that they have and may ask for again.

A row is delivered when every central has said that its database has it: `owed` is a bit for each that has not. The
file knows whose bit is which, so that the station file may name other centrals, or the same in another order.
`boot` and `seq` name a row for ever; seq counts on over restarts, and a new file begins with a new boot.

Delivered rows stay for a central that was wiped or restored: it asks, and is owed them again, some at a time. They are
the first to go when the room is used up; then what waits is thinned, see `ewarn.edge.thinning`. The space that they
leave is used again, so the file does not grow.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ewarn.contracts import Millis
from ewarn.edge.thinning import DAMAGED, decode_row, drop_delivered, drop_journal, thin
from ewarn.sqlite_files import remove_asides
from ewarn.times import from_text
from ewarn.wire import STREAMS

log = logging.getLogger(__name__)

KEEP_MS: Millis = 60 * 86_400_000
KEEP_ALERTS_MS: Millis = 400 * 86_400_000
ROOM = 512_000_000
"""Bytes of the outbox where the station file says nothing."""
RESERVE = 64_000_000
"""Bytes of the disk that stay free for others, or a twentieth of it where that is less."""
PRUNE_ROWS = 2000
LARGEST = 2**63 - 1
_ANY_KIND = "kind IN ({})".format(", ".join(f"'{kind}'" for kind in STREAMS))
"""Said so that SQLite uses its index of what waits."""
_SPARE = 500_000
"""Bytes that the file has to have free inside while the disk is full."""
_ROUNDS = 5
"""How often at most one commit makes room; what is more is made by the next."""
encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """Something that at least one central does not have yet."""

    seq: int
    boot: str
    kind: str
    time: Millis
    body: dict[str, Any]
    owed: frozenset[str] = frozenset()


class _Ask(msgspec.Struct):
    """What a central asked for, and how far it was owed that again: up to `time` and `seq` of `kind`."""

    at: Millis
    since: Millis
    until: int
    kind: str
    time: Millis
    seq: int = 0


class Outbox:
    """The outbox's tables. Every method may be called from any thread; one works at a time.

    Methods raise sqlite3.Error where the disk does not take it; nothing is half done then.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, boot: str, room: int) -> None:
        self.path, self.boot = path, boot
        self._db, self._room = db, room
        self._lock = threading.Lock()
        self._bits: dict[str, int] = {}

    @property
    def centrals(self) -> tuple[str, ...]:
        """Who has to have every row."""
        return tuple(self._bits)

    def address(self, centrals: Sequence[str] | None) -> None:
        """Rows are owed to these centrals from now on: those that wait too, and to no other."""
        with self._lock, self._db:
            known: dict[str, int] = dict(self._db.execute("SELECT name, bit FROM centrals ORDER BY bit"))
            wanted = tuple(centrals if centrals is not None else known or ("main",))
            free = (bit for bit in range(63) if bit not in known.values())
            self._bits = {name: known[name] if name in known else next(free) for name in wanted}
            if self._bits == known:
                return
            gone = sum(1 << bit for name, bit in known.items() if name not in self._bits)
            new = sum(1 << bit for name, bit in self._bits.items() if name not in known)
            self._db.executemany("DELETE FROM centrals WHERE name = ?", [(n,) for n in known if n not in self._bits])
            added = [(name, bit) for name, bit in self._bits.items() if name not in known]
            self._db.executemany("INSERT INTO centrals(name, bit) VALUES (?, ?)", added)
            self._db.execute("UPDATE outbox SET owed = owed & ~? | ? WHERE owed > 0", (gone, new))

    def outbox_batch(
        self,
        kinds: Sequence[str],
        limit: int,
        max_bytes: int,
        skip: Collection[int] = (),
        *,
        central: str = "",
        after: int = 0,
    ) -> list[OutboxRow]:
        """The oldest rows that are not parked, at least one where there is any.

        Args:
            kinds: of the rows.
            limit: rows of the batch.
            max_bytes: of their bodies.
            skip: rows that are left out.
            central: that is owed the rows, "" for any.
            after: rows up to this one are left out.
        """
        marks = ",".join("?" * len(kinds))
        query = (
            "SELECT seq, boot, kind, time, owed, body FROM outbox "  # noqa: S608  (marks are question marks)
            f"WHERE kind IN ({marks}) AND parked = 0 AND owed > 0 AND owed & ? AND seq > ? ORDER BY seq"
        )
        found: list[OutboxRow] = []
        damaged: list[int] = []
        size = 0
        with self._lock:
            bits = 1 << self._bits[central] if central else LARGEST
            for seq, boot, kind, time, owed, body in self._db.execute(query, (*kinds, bits, after)):
                if seq in skip:
                    continue
                size += len(body) + 60
                if found and (len(found) >= limit or size > max_bytes):
                    break
                try:
                    found.append(OutboxRow(seq, boot, kind, time, decode_row(body), self._names(owed)))
                except DAMAGED:
                    damaged.append(seq)
        if damaged:
            log.error("rows %s of the outbox are damaged and parked", damaged)
            self.park(damaged)
        return found

    def unsent(self) -> bool:
        """Whether there is a row that is not parked."""
        query = f"SELECT 1 FROM outbox WHERE {_ANY_KIND} AND parked = 0 AND owed > 0 LIMIT 1"  # noqa: S608
        with self._lock:
            return self._db.execute(query).fetchone() is not None

    def stored(self, central: str, boot: str, ranges: Iterable[tuple[int, int]]) -> int:
        """A central's database has these rows. Returns how many are now everywhere."""
        if central not in self._bits:
            return 0
        bit, everywhere = 1 << self._bits[central], 0
        with self._lock, self._db:
            for first, last in ranges:
                # What comes over the network may be no number of SQLite's.
                span = max(first, 0), min(last, LARGEST)
                if span[0] <= span[1]:
                    everywhere += self._stored(central, bit, boot, span)
        return everywhere

    def _stored(self, central: str, bit: int, boot: str, span: tuple[int, int]) -> int:
        which, values = "boot = ? AND seq BETWEEN ? AND ? AND owed & ?", (boot, *span, bit)
        everywhere, newest = 0, None
        rows = self._db.execute(f"SELECT seq, kind, time, owed FROM outbox WHERE {which} ORDER BY seq", values)  # noqa: S608
        for seq, kind, time, owed in rows:
            everywhere += owed == bit
            if kind == "obs":
                newest = time, seq
        if newest is not None:
            query = "UPDATE centrals SET mark = ?, mark_seq = ? WHERE name = ? AND mark_seq <= ?"
            self._db.execute(query, (*newest, central, newest[1]))
        self._db.execute(f"UPDATE outbox SET owed = owed & ~? WHERE {which}", (bit, *values))  # noqa: S608
        return everywhere

    def park(self, seqs: Iterable[int]) -> None:
        """Put rows aside that the broker refuses: kept and counted, sent no more until the next start."""
        with self._lock, self._db:
            self._db.executemany("UPDATE outbox SET parked = 1 WHERE seq = ?", [(seq,) for seq in seqs])

    def unpark(self) -> int:
        """Give parked rows another try. Returns how many."""
        with self._lock, self._db:
            return self._db.execute(
                f"UPDATE outbox SET parked = 0 WHERE {_ANY_KIND} AND parked = 1 AND owed > 0"  # noqa: S608
            ).rowcount

    def ask(self, central: str, at: Millis, since: Millis) -> bool:
        """A central lacks what it had of `since` and later; an ask of the same time `at` is the same ask.

        Returns whether it is a new one.
        """
        if central not in self._bits or not -LARGEST <= min(at, since) <= max(at, since) <= LARGEST:
            return False
        with self._lock, self._db:
            known = self._ask(central)
            if known is not None and known.at == at:
                return False
            (until,) = self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM outbox").fetchone()
            self._keep_ask(central, _Ask(at, since, until, STREAMS[0], since))
        return True

    def owe_again(self, central: str, limit: int) -> int | None:
        """Owe a central the next rows that it asked for, alerts first, where fewer than `limit` of them wait for it.

        How far it came is kept, so that a restart goes on from there.

        Returns:
            How many; None where nothing is asked for, or not any more.
        """
        with self._lock, self._db:
            ask = self._ask(central)
            if ask is None or not ask.kind:
                return None
            bit = 1 << self._bits[central]
            if self._waiting(bit, ask.until, limit) >= limit:
                return 0
            rows = self._db.execute(
                "SELECT time, seq FROM outbox WHERE kind = ? AND (time, seq) > (?, ?) AND seq <= ? "
                "ORDER BY time, seq LIMIT ?",
                (ask.kind, ask.time, ask.seq, ask.until, limit),
            ).fetchall()
            query = "UPDATE outbox SET owed = owed | ?, parked = 0, thinned = 0 WHERE seq = ?"
            self._db.executemany(query, [(bit, seq) for _, seq in rows])
            if rows:
                ask.time, ask.seq = rows[-1]
            else:
                left = STREAMS[STREAMS.index(ask.kind) + 1 :]
                ask.kind, ask.time, ask.seq = left[0] if left else "", ask.since, 0
            self._keep_ask(central, ask)
            return len(rows) if ask.kind else None

    def _names(self, owed: int) -> frozenset[str]:
        return frozenset(name for name, bit in self._bits.items() if owed >> bit & 1)

    def _ask(self, central: str) -> _Ask | None:
        (body,) = self._db.execute("SELECT ask FROM centrals WHERE name = ?", (central,)).fetchone()
        try:
            return msgspec.json.decode(body, type=_Ask) if body else None
        except DAMAGED:
            return None

    def _keep_ask(self, central: str, ask: _Ask) -> None:
        self._db.execute("UPDATE centrals SET ask = ? WHERE name = ?", (encode(ask), central))

    def _waiting(self, bit: int, until: int, limit: int) -> int:
        """Rows up to `until` that wait for a central, counted up to `limit`."""
        (count,) = self._db.execute(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE {_ANY_KIND} "  # noqa: S608
            "AND parked = 0 AND owed > 0 AND owed & ? AND seq <= ? LIMIT ?)",
            (bit, until, limit),
        ).fetchone()
        return int(count)

    def _send(self, kind: str, bodies: Iterable[Mapping[str, Any]]) -> None:
        owed = sum(1 << bit for bit in self._bits.values())
        self._db.executemany(
            "INSERT INTO outbox(boot, kind, time, owed, body) VALUES (?, ?, ?, ?, ?)",
            [(self.boot, kind, from_text(body["t"]), owed, encode(body)) for body in bodies],
        )

    def _outbox_counts(self) -> tuple[int, int, int, dict[str, Millis], tuple[str, ...]]:
        """Rows and bytes that wait, rows that are parked, by central its newest readings, who asked."""
        rows, size = self._db.execute("SELECT waiting, waiting_bytes FROM tally").fetchone()
        (parked,) = self._db.execute(
            f"SELECT COUNT(*) FROM outbox WHERE {_ANY_KIND} AND parked = 1 AND owed > 0"  # noqa: S608
        ).fetchone()
        marks = dict(self._db.execute("SELECT name, mark FROM centrals WHERE mark_seq > 0"))
        asks = {name: self._ask(name) for name in self._bits}
        return rows, size, parked, marks, tuple(name for name, ask in asks.items() if ask and ask.kind)

    def _make_room(self) -> None:
        """Keep to the bytes that the outbox may take, and off the disk's reserve."""
        for _ in range(_ROUNDS):
            (used,) = self._db.execute("SELECT bytes FROM tally").fetchone()
            full = self._disk_is_full()
            if used <= self._room and not full:
                return
            if full and remove_asides(self.path):
                continue
            if drop_delivered(self._db, alerts=False):
                continue
            gaps = thin(self._db)
            self._send("gap", gaps.rows)
            if not gaps.done and not drop_delivered(self._db, alerts=True) and not (full and drop_journal(self._db)):
                return

    def _disk_is_full(self) -> bool:
        """Whether the reserve is touched and the file has no room inside either."""
        disk = os.statvfs(self.path.parent)
        if disk.f_bavail * disk.f_frsize >= min(RESERVE, disk.f_blocks * disk.f_frsize // 20):
            return False
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._db.execute("PRAGMA page_size").fetchone()
        return bool(free * size < _SPARE)

    def _prune_delivered(self, now: Millis) -> int:
        """Drop some delivered rows that nobody may ask for any more. Returns how many."""
        gone = 0
        for kind in STREAMS:
            keep = KEEP_ALERTS_MS if kind == "event" else KEEP_MS
            gone += self._db.execute(
                "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox INDEXED BY outbox_delivered "
                "WHERE kind = ? AND time < ? AND owed = 0 ORDER BY time LIMIT ?)",
                (kind, now - keep, PRUNE_ROWS),
            ).rowcount
        return gone
