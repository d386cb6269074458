"""What cannot be stored is kept for a person to look at, with the reason."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ewarn.contracts import Millis
from ewarn.times import to_text

_log = logging.getLogger(__name__)

MAX_BYTES = 10_000_000
MAX_CONTENT = 20_000


@dataclass(frozen=True, slots=True)
class Parked:
    """One thing that was set aside.

    Attributes:
        topic: where it came from.
        reason: why it is not stored.
        content: the payload as text, the row, or the point.
    """

    topic: str
    reason: str
    content: Any


class ParkedFile:
    """`parked.jsonl`, one object a line. A full file becomes `parked.1.jsonl`, and the one before that goes.

    Args:
        folder: where it is.
        limit: bytes of one file.
    """

    def __init__(self, folder: Path, limit: int = MAX_BYTES) -> None:
        self.path = folder / "parked.jsonl"
        self._limit = limit

    def add(self, now: Millis, items: Sequence[Parked]) -> None:
        """Append, durably. A disk that takes nothing is logged: what is parked must not hold up what is good."""
        waiting = [_line(now, item) for item in items]
        try:
            while waiting:
                waiting = self._write(waiting)
        except OSError as error:
            _log.error("cannot park: %s; lost: %s", error, "".join(waiting)[:2000])

    def _write(self, lines: list[str]) -> list[str]:
        """Write what goes into the file; return the rest."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            size, count = stream.tell(), 0
            while count < len(lines) and size <= self._limit:
                size += stream.write(lines[count])
                count += 1
            stream.flush()
            os.fsync(stream.fileno())
        if size > self._limit:
            self.path.replace(self.path.with_suffix(".1.jsonl"))
        return lines[count:]


def _line(now: Millis, item: Parked) -> str:
    try:
        line = json.dumps({"t": to_text(now), **asdict(item)}, default=str)
    except (ValueError, TypeError, RecursionError) as error:  # a row may be anything that JSON allows, and deep
        line = ""
        item = Parked(item.topic, item.reason, f"cannot be shown: {error!r}")
    if not line or len(line) > MAX_CONTENT:
        cut = Parked(item.topic[:1000], item.reason[:1000], line[:MAX_CONTENT] or item.content)
        line = json.dumps({"t": to_text(now), **asdict(cut), "cut": True})
    return line + "\n"
