"""Recorded water: CSV, plain or gzipped, with a column `time` and one column a channel.

What cannot be used is named by row and counted, and reading goes on: a text in a number, a row that is too short or too
long, a time that is none, repeats the row before or runs backwards.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from ewarn.config import Station
from ewarn.contracts import Millis, Quality, Reading
from ewarn.errors import RecordError
from ewarn.times import from_text

LABELS = frozenset({"event", "event_id", "strength", "contaminant", "ignore"})
"""Columns that judge the water; they are never given to detection. So are all that begin with `fault_`."""
_EMPTY = frozenset({"", "nan", "NaN", "NA"})
_NAMED = 20
_DAMAGE = (csv.Error, EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its `time` as written, and its readings; None where the row was passed over."""

    number: int
    text: str
    time: Millis
    readings: list[Reading] | None


@dataclass(slots=True)
class Record:
    """A recorded file, read once from its beginning.

    Attributes:
        path: of the file.
        channels: station channels, by column.
        ignored: columns that are no channel of the station and no label.
        skipped: rows passed over, by reason.
        complaints: the first of them, named by row.
    """

    path: Path
    channels: dict[int, str]
    time_column: int
    width: int
    ignored: tuple[str, ...]
    skipped: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, station: Station) -> Record:
        """Read the header. Raises RecordError where the file, `time` or a channel of the station is missing."""
        try:
            with _text(path) as stream:
                header = next(csv.reader(stream), None)
        except _DAMAGE as error:
            raise RecordError(f"{path}: cannot be read: {error}") from error
        if header is None:
            raise RecordError(f"{path}: is empty; it needs a header with `time` and the channels")
        if "time" not in header:
            raise RecordError(f"{path}: no column `time`; columns are: {', '.join(header)}")
        missing = [name for name in station.channels if name not in header]
        if missing:
            raise RecordError(f"{path}: no column {', '.join(missing)}; {station.file} has such channels")
        channels = {i: name for i, name in enumerate(header) if name in station.channels}
        known = {"time", *station.channels, *LABELS}
        ignored = tuple(name for name in header if name not in known and not name.startswith("fault_"))
        return cls(path, channels, header.index("time"), len(header), ignored)

    def skipped_total(self) -> int:
        """Rows passed over."""
        return sum(self.skipped.values())

    def rows(self) -> Iterator[Row]:
        """Every row of the file, in its order."""
        last: Millis | None = None
        with _text(self.path) as stream:
            table = csv.reader(stream)
            next(table)
            try:
                for number, cells in enumerate(table, start=2):
                    row = self._row(number, cells, last)
                    if row.readings is not None:
                        last = row.time
                    yield row
            except _DAMAGE as error:
                raise RecordError(f"{self.path}: damaged after line {table.line_num}: {error}") from error

    def readings(self) -> Iterator[Reading]:
        """All usable readings, in order of time."""
        for row in self.rows():
            yield from row.readings or ()

    def _row(self, number: int, cells: list[str], last: Millis | None) -> Row:
        text = cells[self.time_column] if len(cells) > self.time_column else ""
        if len(cells) != self.width:
            return self._pass_over(number, text, "width", f"{len(cells)} cells instead of {self.width}")
        try:
            time = from_text(text)
        except ValueError:
            return self._pass_over(number, text, "time", f"{text!r} is no instant with its offset")
        if last is not None and time <= last:
            what = "repeats the row before" if time == last else "runs backwards"
            return self._pass_over(number, text, "order", f"time {text} {what}")
        return Row(
            number, text, time, [self._reading(number, name, time, cells[i]) for i, name in self.channels.items()]
        )

    def _reading(self, number: int, channel: str, time: Millis, cell: str) -> Reading:
        if cell in _EMPTY:
            return Reading(channel, time, None, Quality.MISSING, "empty")
        try:
            return Reading(channel, time, float(cell))
        except ValueError:
            self._complain(number, "number", f"{channel} {cell!r} is no number; taken as missing")
            return Reading(channel, time, None, Quality.MISSING, "not_a_number")

    def _pass_over(self, number: int, text: str, kind: str, problem: str) -> Row:
        self._complain(number, kind, problem)
        self.skipped[kind] += 1
        return Row(number, text, 0, None)

    def _complain(self, number: int, kind: str, problem: str) -> None:
        if len(self.complaints) < _NAMED:
            self.complaints.append(f"{self.path}: row {number}: {kind}: {problem}")


def _text(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8", newline="")
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
