"""The journal's file: its schema, whether it is whole, and what becomes of a damaged one."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from itertools import count
from pathlib import Path

from ewarn.contracts import Millis
from ewarn.errors import StoreUnavailable
from ewarn.times import to_text

log = logging.getLogger(__name__)

_BUSY_S = 2.0
"""Seconds to wait for another process that writes; then it counts as a disk that does not take it."""
_BESIDE = ("", "-wal", "-shm")
_VERSION = 3
_SCHEMA = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS journal(
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, live INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS journal_time ON journal(time);
CREATE TABLE IF NOT EXISTS newest(channel TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarms(alarm TEXT PRIMARY KEY, body BLOB NOT NULL, said BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS centrals(name TEXT PRIMARY KEY, bit INTEGER NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, kind TEXT NOT NULL, time INTEGER NOT NULL,
    owed INTEGER NOT NULL, parked INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_kind ON outbox(kind, parked, seq);
CREATE TABLE IF NOT EXISTS counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_PROBES = (
    "SELECT id, time, live, body FROM journal", "SELECT channel, time FROM newest",
    "SELECT alarm, body, said FROM alarms",
    "SELECT name, bit FROM centrals", "SELECT seq, boot, kind, time, owed, parked, body FROM outbox",
    "SELECT name, value FROM counters",
)  # fmt: skip
_DAMAGE = ("SQLITE_ERROR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_MISMATCH", "SQLITE_IOERR_READ",
           "SQLITE_IOERR_CORRUPTFS", "SQLITE_IOERR_DATA")  # fmt: skip


def open_file(path: Path, now: Millis) -> tuple[sqlite3.Connection, Path | None]:
    """A connection to the file, and under which name a damaged one is set aside.

    Raises:
        StoreUnavailable: it can neither be opened nor be set aside: no room, no right, a file that others hold.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        quarantined = None if _sound(path) else _set_aside(path, now)
        return _connect(path), quarantined
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"{path} cannot be opened: {error}") from error


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that only reads, beside the one that writes."""
    db = sqlite3.connect(path, check_same_thread=False, timeout=_BUSY_S)
    db.execute("PRAGMA query_only = 1")
    return db


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, timeout=_BUSY_S)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        # Written once only: an old file opens on a full disk too.
        if db.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
            db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _sound(path: Path) -> bool:
    """Whether the file is absent or whole. An empty one, or a log without its file, has lost what it held."""
    if not path.exists():
        return not _beside(path, "-wal").exists()
    if path.is_file() and path.stat().st_size == 0:
        return False
    try:
        with contextlib.closing(_connect(path)) as db:
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
            for probe in _PROBES:
                db.execute(probe).fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
            raise
        log.error("%s: %s", path, error)  # noqa: TRY400  (what is wrong with the file, not where we are)
        return False
    return bool(verdict == "ok")


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """Damage to the content, as against a disk that is full, locked or not ours. Text that is none has no name."""
    name = getattr(error, "sqlite_errorname", "")
    return not name or name.startswith(_DAMAGE)


def _set_aside(path: Path, now: Millis) -> Path:
    """Rename the damaged file, and what SQLite keeps beside it; never over another one."""
    stamp = to_text(now).replace(":", "").replace(".", "")
    names = (f"{path.name}.corrupt-{stamp}" + (f"-{n}" if n else "") for n in count())
    target = next(t for t in map(path.with_name, names) if not any(_beside(t, s).exists() for s in _BESIDE))
    # The file last: were we killed before, it would be found damaged again.
    for suffix in reversed(_BESIDE):
        if _beside(path, suffix).exists():
            _beside(path, suffix).rename(_beside(target, suffix))
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return target


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
