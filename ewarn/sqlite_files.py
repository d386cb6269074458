"""Files of SQLite: whether they are whole, and what becomes of damaged ones: their names, and how many of them stay."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from itertools import count
from pathlib import Path

from ewarn.contracts import Millis
from ewarn.times import to_text

log = logging.getLogger(__name__)

BESIDE = ("", "-wal", "-shm")
"""What SQLite keeps beside a file, by the end of its name."""
CHECK_S = 10.0
"""Seconds that the check at the opening may take; what it did not come to shows itself when it is read."""
STEPS = 10_000
"""Of SQLite's machine, after which the time is looked at."""
_KEPT = 2


def checked(db: sqlite3.Connection, seconds: float) -> str:
    """What is wrong with the file, "ok" where nothing, as far as there is time to look."""
    end = time.monotonic() + seconds
    db.set_progress_handler(lambda: time.monotonic() > end, STEPS)
    try:
        return str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_INTERRUPT":
            raise
        log.info("the file is too large to be looked through within %.0f s", seconds)
        return "ok"
    finally:
        db.set_progress_handler(None, 0)


def set_aside(path: Path, now: Millis) -> Path:
    """Rename the damaged file, and what SQLite keeps beside it; never over another one."""
    stamp = to_text(now).replace(":", "").replace(".", "")
    names = (f"{path.name}.corrupt-{stamp}" + (f"-{n}" if n else "") for n in count())
    target = next(t for t in map(path.with_name, names) if not any(beside(t, s).exists() for s in BESIDE))
    # The file last: were we killed before, it would be found damaged again.
    for suffix in reversed(BESIDE):
        if beside(path, suffix).exists():
            beside(path, suffix).rename(beside(target, suffix))
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return target


def remove_asides(path: Path, *, keep: int = 0, room: int = 0, but: Path | None = None) -> int:
    """Remove what was set aside of a file, oldest first.

    Args:
        path: of the file that is in use.
        keep: how many stay at most.
        room: bytes that those that stay may take together.
        but: one that stays in any case.

    Returns:
        How many were removed.
    """
    found: dict[Path, list[Path]] = {}
    for part in path.parent.glob(f"{path.name}.corrupt-*"):
        found.setdefault(part.with_name(part.name.removesuffix("-wal").removesuffix("-shm")), []).append(part)
    newest = sorted(found, key=lambda p: max(part.stat().st_mtime_ns for part in found[p]), reverse=True)
    used = removed = 0
    for n, aside in enumerate(newest):
        used += sum(part.stat().st_size for part in found[aside])
        if aside != but and (n >= keep or used > room):
            removed += 1
            for part in found[aside]:
                part.unlink()
    return removed


def keep_newest(path: Path, aside: Path, room: int) -> None:
    """Of damaged files the newest two stay, where they take no more than `room` bytes."""
    remove_asides(path, keep=_KEPT, room=room, but=aside)


def beside(path: Path, suffix: str) -> Path:
    """The file of SQLite's that stands beside another."""
    return path.with_name(path.name + suffix)
