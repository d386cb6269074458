"""The journal's file: its schema, whether it is whole, and what becomes of a damaged one."""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
from pathlib import Path

from ewarn.contracts import Millis
from ewarn.errors import StoreUnavailable
from ewarn.sqlite_files import CHECK_S, beside, checked, set_aside

log = logging.getLogger(__name__)

_BUSY_S = 2.0
"""Seconds to wait for another process that writes; then it counts as a disk that does not take it."""
_LOG_BYTES = 8_000_000
"""What SQLite's log beside the file is cut down to when it is done with it."""
ROW_BYTES = 120
"""What a row of the outbox takes beside its body, in the table and in its indexes."""
_VERSION = 5
_FROM_4 = """
ALTER TABLE outbox ADD COLUMN thinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE centrals ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
ALTER TABLE centrals ADD COLUMN mark_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE centrals ADD COLUMN ask BLOB NOT NULL DEFAULT '';
DROP INDEX IF EXISTS outbox_kind;
"""
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS journal(
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, live INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS journal_time ON journal(time);
CREATE TABLE IF NOT EXISTS newest(channel TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarms(alarm TEXT PRIMARY KEY, body BLOB NOT NULL, said BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS occurrences(
    alarm TEXT NOT NULL, occurrence INTEGER NOT NULL, time INTEGER NOT NULL, body BLOB NOT NULL,
    label TEXT NOT NULL DEFAULT '', by TEXT NOT NULL DEFAULT '', said INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(alarm, occurrence)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS centrals(
    name TEXT PRIMARY KEY, bit INTEGER NOT NULL UNIQUE, mark INTEGER NOT NULL DEFAULT 0,
    mark_seq INTEGER NOT NULL DEFAULT 0, ask BLOB NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, kind TEXT NOT NULL, time INTEGER NOT NULL,
    owed INTEGER NOT NULL, parked INTEGER NOT NULL DEFAULT 0, thinned INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_owed ON outbox(kind, parked, seq) WHERE owed > 0;
CREATE INDEX IF NOT EXISTS outbox_thinned ON outbox(thinned, seq) WHERE owed > 0 AND kind IN ('obs', 'verdict');
CREATE INDEX IF NOT EXISTS outbox_delivered ON outbox(kind, time) WHERE owed = 0;
CREATE INDEX IF NOT EXISTS outbox_time ON outbox(kind, time);
CREATE TABLE IF NOT EXISTS tally(
    id INTEGER PRIMARY KEY CHECK (id = 1), waiting INTEGER NOT NULL, waiting_bytes INTEGER NOT NULL,
    bytes INTEGER NOT NULL);
INSERT OR IGNORE INTO tally SELECT 1, COUNT(*), COALESCE(SUM(LENGTH(body)), 0),
    COALESCE(SUM(LENGTH(body) + {ROW_BYTES}), 0) FROM outbox;
CREATE TRIGGER IF NOT EXISTS outbox_added AFTER INSERT ON outbox BEGIN
    UPDATE tally SET waiting = waiting + (new.owed > 0),
        waiting_bytes = waiting_bytes + (new.owed > 0) * LENGTH(new.body),
        bytes = bytes + LENGTH(new.body) + {ROW_BYTES};
END;
CREATE TRIGGER IF NOT EXISTS outbox_gone AFTER DELETE ON outbox BEGIN
    UPDATE tally SET waiting = waiting - (old.owed > 0),
        waiting_bytes = waiting_bytes - (old.owed > 0) * LENGTH(old.body),
        bytes = bytes - LENGTH(old.body) - {ROW_BYTES};
END;
CREATE TRIGGER IF NOT EXISTS outbox_changed AFTER UPDATE OF owed, body ON outbox BEGIN
    UPDATE tally SET waiting = waiting + (new.owed > 0) - (old.owed > 0),
        waiting_bytes = waiting_bytes + (new.owed > 0) * LENGTH(new.body) - (old.owed > 0) * LENGTH(old.body),
        bytes = bytes + LENGTH(new.body) - LENGTH(old.body);
END;
CREATE TABLE IF NOT EXISTS counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""  # noqa: S608  (numbers from above)
_PROBES = (
    "SELECT id, time, live, body FROM journal", "SELECT channel, time FROM newest",
    "SELECT alarm, body, said FROM alarms", "SELECT alarm, occurrence, time, body, label, by, said FROM occurrences",
    "SELECT name, bit, mark, mark_seq, ask FROM centrals",
    "SELECT seq, boot, kind, time, owed, parked, thinned, body FROM outbox",
    "SELECT name, value FROM counters", "SELECT waiting, waiting_bytes, bytes FROM tally WHERE id = 1",
)  # fmt: skip
_DAMAGE = ("SQLITE_ERROR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_MISMATCH", "SQLITE_IOERR_READ",
           "SQLITE_IOERR_CORRUPTFS", "SQLITE_IOERR_DATA")  # fmt: skip


def open_file(path: Path, now: Millis, *, doubtful: bool = False) -> tuple[sqlite3.Connection, Path | None]:
    """A connection to the file, and under which name a damaged one is set aside.

    Args:
        path: of the file.
        now: for that name.
        doubtful: there was a sign of damage, so all of it is looked through, whatever time that takes.

    Raises:
        StoreUnavailable: it can neither be opened nor be set aside: no room, no right, a file that others hold.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        quarantined = None if _sound(path, math.inf if doubtful else CHECK_S) else set_aside(path, now)
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
        db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        # Written once only: an old file opens on a full disk too.
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version < _VERSION:
            db.executescript(f"BEGIN; {_FROM_4 if version else ''} {_SCHEMA} COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


def _sound(path: Path, seconds: float) -> bool:
    """Whether the file is absent or whole. An empty one, or a log without its file, has lost what it held."""
    if not path.exists():
        return not beside(path, "-wal").exists()
    if path.is_file() and path.stat().st_size == 0:
        return False
    try:
        with contextlib.closing(_connect(path)) as db:
            verdict = checked(db, seconds)
            for probe in _PROBES:
                db.execute(probe).fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
            raise
        log.error("%s: %s", path, error)  # noqa: TRY400  (what is wrong with the file, not where we are)
        return False
    return verdict == "ok"


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """Damage to the content, as against a disk that is full, locked or not ours. Text that is none has no name."""
    name = getattr(error, "sqlite_errorname", "")
    return not name or name.startswith(_DAMAGE)
