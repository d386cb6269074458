"""The embedded store: one SQLite file, for a central without a database server.

Every measurement is also a view of its own with readable times, one column a tag or field:

    SELECT * FROM wq WHERE station = 'mx-nld-intake1' AND channel = 'ph' ORDER BY time DESC LIMIT 10;
"""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ewarn.central.stores.rules import kind, normal
from ewarn.contracts import Millis, Point
from ewarn.errors import StoreRefused, StoreUnavailable
from ewarn.sqlite_files import CHECK_S, checked, keep_newest, set_aside
from ewarn.times import SystemClock

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS _fields (measurement TEXT, name TEXT, kind TEXT, PRIMARY KEY (measurement, name)) STRICT;
CREATE TABLE IF NOT EXISTS _series (id INTEGER PRIMARY KEY, measurement TEXT, tags TEXT, UNIQUE (measurement, tags))
    STRICT;
CREATE TABLE IF NOT EXISTS _points (series INTEGER, time INTEGER, fields TEXT, PRIMARY KEY (series, time))
    STRICT, WITHOUT ROWID;
"""
_UPSERT = """
INSERT INTO _points VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET fields = json_patch(fields, excluded.fields)
"""
_SELECT = """
SELECT series, time, fields FROM _points
WHERE series IN (SELECT value FROM json_each(?)) AND time >= ? AND time < ? ORDER BY time, series
"""


class SqliteStore:
    """Points in one file: WAL, synchronous=FULL, so that what `write` returned from survives a power cut.

    Fields are JSON, whose numbers keep their type and every bit. It may be used from several threads; a corrupt file
    is set aside as `NAME.corrupt-TIME` and a new one begun.

    Args:
        path: of the file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._doubtful = False
        self._kinds: dict[tuple[str, str], str] = {}
        self._series: dict[tuple[str, str], int] = {}

    def open(self) -> None:
        """Open or create the file. Raises StoreUnavailable."""
        with self._lock:
            self._connection()

    def write(self, points: Sequence[Point]) -> None:
        """Store all of them in one transaction. Raises StoreRefused, StoreUnavailable."""
        rows = [normal(point) for point in points]
        with self._lock, self._errors():
            db = self._connection()
            try:
                db.execute("BEGIN IMMEDIATE")
                self._insert(db, rows)
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                self._forget()
                raise

    def read(self, measurement: str, tags: Mapping[str, str], start: Millis, end: Millis) -> list[Point]:
        """Points whose tags include `tags`, with start <= time < end, by time. Raises StoreUnavailable."""
        with self._lock, self._errors():
            db = self._connection()
            found: dict[int, dict[str, str]] = {}
            for number, text in db.execute("SELECT id, tags FROM _series WHERE measurement = ?", (measurement,)):
                of_series = msgspec.json.decode(text, type=dict[str, str])
                if tags.items() <= of_series.items():
                    found[number] = of_series
            rows = db.execute(_SELECT, (msgspec.json.encode(list(found)).decode(), start, end)).fetchall()
        return [Point(measurement, found[series], msgspec.json.decode(text), at) for series, at, text in rows]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._release()

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = _connect(self._path, math.inf if self._doubtful else CHECK_S)
            self._doubtful = False
            self._forget()
        return self._db

    def _release(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _forget(self) -> None:
        """Drop what was remembered of the file: a transaction that failed may have taken it back."""
        self._kinds.clear()
        self._series.clear()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if not isinstance(error, sqlite3.OperationalError):
                self._release()  # perhaps corrupt: opening it again looks at all of it
                self._doubtful = True
            raise StoreUnavailable(f"{self._path}: {error}") from error

    def _insert(self, db: sqlite3.Connection, points: Sequence[Point]) -> None:
        changed = {p.measurement for p in points if self._learn_kinds(db, p)}
        rows = [(self._series_id(db, p, changed), p.time, msgspec.json.encode(p.fields).decode()) for p in points]
        db.executemany(_UPSERT, rows)
        for measurement in sorted(changed):
            try:
                _make_view(db, measurement)
            except sqlite3.OperationalError as error:  # a name that SQLite keeps to itself, too many columns
                _log.warning("no view for %s: %s", measurement, error)

    def _learn_kinds(self, db: sqlite3.Connection, point: Point) -> bool:
        """Hold each field to its first type; tell whether one is new."""
        new = False
        for name, value in point.fields.items():
            key, is_kind = (point.measurement, name), kind(value)
            if key not in self._kinds:
                added = db.execute("INSERT OR IGNORE INTO _fields VALUES (?, ?, ?)", (*key, is_kind)).rowcount
                new = new or bool(added)
                query = "SELECT kind FROM _fields WHERE measurement = ? AND name = ?"
                self._kinds[key] = db.execute(query, key).fetchone()[0]
            if self._kinds[key] != is_kind:
                raise StoreRefused(f"{'.'.join(key)}: {value!r} is {is_kind}, the field is {self._kinds[key]}")
        return new

    def _series_id(self, db: sqlite3.Connection, point: Point, changed: set[str]) -> int:
        key = (point.measurement, msgspec.json.encode(point.tags).decode())
        if key not in self._series:
            if db.execute("INSERT OR IGNORE INTO _series (measurement, tags) VALUES (?, ?)", key).rowcount:
                changed.add(point.measurement)
            query = "SELECT id FROM _series WHERE measurement = ? AND tags = ?"
            self._series[key] = db.execute(query, key).fetchone()[0]
        return self._series[key]


def _connect(path: Path, check: float) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _open_file(path, check)
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        return _begin_anew(path, error)
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error}") from error


def _begin_anew(path: Path, reason: Exception) -> sqlite3.Connection:
    try:
        _set_aside(path, reason)
        return _open_file(path, CHECK_S)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"{path}: {error}") from error


def _open_file(path: Path, check: float) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        verdict = checked(db, check)
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        db.executescript(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _set_aside(path: Path, reason: Exception) -> None:
    aside = set_aside(path, SystemClock().now())
    _log.error("%s is damaged (%s); it is kept as %s and a new one begun", path, reason, aside.name)
    keep_newest(path, aside, sys.maxsize)


def _make_view(db: sqlite3.Connection, measurement: str) -> None:
    """Show a measurement to people. Names are safe to quote: `rules.normal` lets no quotes through."""
    series = db.execute("SELECT tags FROM _series WHERE measurement = ?", (measurement,))
    tags: list[str] = sorted({name for (text,) in series for name in msgspec.json.decode(text, type=dict[str, Any])})
    known = db.execute("SELECT name FROM _fields WHERE measurement = ? ORDER BY rowid", (measurement,))
    columns = [f"""json_extract(s.tags, '$."{name}"') AS "{name}\"""" for name in tags]
    columns += [f"""json_extract(p.fields, '$."{name}"') AS "{name}\"""" for (name,) in known]
    db.execute(f'DROP VIEW IF EXISTS "{measurement}"')
    db.execute(
        f"""CREATE VIEW "{measurement}" AS
        SELECT strftime('%Y-%m-%dT%H:%M:%fZ', p.time / 1000.0, 'unixepoch') AS time, {', '.join(columns)}
        FROM _points AS p JOIN _series AS s ON s.id = p.series WHERE s.measurement = '{measurement}'"""  # noqa: S608
    )
