"""Damaged files that were set aside: their names, and how many of them stay."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from ewarn.contracts import Millis
from ewarn.times import to_text

BESIDE = ("", "-wal", "-shm")
"""What SQLite keeps beside a file, by the end of its name."""
_KEPT = 2


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
