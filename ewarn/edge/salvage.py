"""What a damaged file still tells of alarms goes into the new one: their states, the alerts, those not delivered.

Were it lost, alarms would be raised again under numbers that they had before, and an alert that waited would be gone.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_MOST_ROWS = 100_000
"""Of one table: a damaged file may lead in circles."""
_WANTED = {
    "alarms": ("alarm, body, said", "1", "INSERT OR IGNORE INTO alarms VALUES (?, ?, ?)"),
    "occurrences": (
        "alarm, occurrence, time, body, label, by, said", "1",
        "INSERT OR IGNORE INTO occurrences VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    "outbox": (
        "boot, kind, time, body", "kind = 'event' AND owed > 0",
        "INSERT INTO outbox(boot, kind, time, owed, body) VALUES (?, ?, ?, {owed}, ?)",
    ),
}  # fmt: skip
"""By table: columns, which rows, and how they are put in."""


def salvage(aside: Path, db: sqlite3.Connection, boot: str, owed: int) -> int:
    """Take what can be read; the damaged file is not written to. Returns the number of rows.

    Args:
        aside: the damaged file.
        db: of the new one.
        boot: of this run: rows of the outbox have new numbers, so they belong to it.
        owed: bits of the centrals that are to have the alerts.
    """
    count = 0
    with db:
        for table, (columns, which, insert) in _WANTED.items():
            for row in _rows(aside, f"SELECT {columns} FROM {table} NOT INDEXED WHERE {which}"):  # noqa: S608  (texts from above)
                values = (boot, *row[1:]) if table == "outbox" else row
                with contextlib.suppress(sqlite3.Error):
                    count += db.execute(insert.format(owed=owed), values).rowcount
    if count:
        log.warning("%d rows of alarms were read from the damaged file", count)
    return count


def _rows(aside: Path, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows as far as they can be read."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{aside.absolute().as_uri()}?mode=ro", uri=True)) as old,
    ):
        yield from old.execute(f"{query} LIMIT {_MOST_ROWS}")
