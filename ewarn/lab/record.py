"""Recorded water: CSV, plain or gzipped, with a column `time` and one column a channel.

What cannot be used is named by row and counted, and reading goes on: a text in a number, a row that is too short or too
long, a time that is none, repeats the row before, runs backwards, or runs ahead of the row after it.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from ewarn.config import Station, station_from
from ewarn.contracts import Millis, Quality, Reading
from ewarn.core.composites import sources
from ewarn.errors import RecordError
from ewarn.parameters import parameter_of
from ewarn.times import from_text
from ewarn.toml import parse_seconds, read_toml

LABELS = frozenset({"event", "event_id", "strength", "contaminant", "ignore", "fault", "flood"})
"""Columns that judge the water; they are never given to detection. So are all that begin with `fault_`."""
_PROBED_ROWS = 500
_EMPTY = frozenset({"", "nan", "NaN", "NA"})
_NAMED = 20
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_DAMAGE = (csv.Error, EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its `time` as written, and its readings; None where the row was passed over.

    `labels` are the cells that judge the water, for those who judge.
    """

    number: int
    text: str
    time: Millis
    readings: list[Reading] | None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Record:
    """A recorded file, read once from its beginning.

    Attributes:
        path: of the file.
        channels: station channels, by column.
        labels: names of the columns that judge the water, by column.
        ignored: columns that are no channel of the station and no label.
        skipped: rows passed over, by reason.
        no_numbers: cells taken as missing since they hold no number.
        complaints: the first of them, named by row.
    """

    path: Path
    channels: dict[int, str]
    time_column: int
    width: int
    ignored: tuple[str, ...]
    labels: dict[int, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    no_numbers: int = 0
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, station: Station) -> Record:
        """Read the header. Raises RecordError where the file, `time` or a channel of the station is missing."""
        header, _ = _beginning(path, 0)
        measured = [name for name, spec in station.channels.items() if spec.formula is None]
        missing = [name for name in measured if name not in header]
        if missing:
            raise RecordError(f"{path}: no column {', '.join(missing)}; {station.file} has such channels")
        channels = {i: name for i, name in enumerate(header) if name in measured}
        ignored = tuple(name for name in header if name not in {"time", *station.channels} and not _is_label(name))
        labels = {i: name for i, name in enumerate(header) if _is_label(name) and i not in channels}
        return cls(path, channels, header.index("time"), len(header), ignored, labels)

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
                for number, (cells, following) in enumerate(_with_next(table), start=2):
                    row = self._row(number, cells, last, following)
                    if row.readings is not None:
                        last = row.time
                    yield row
            except _DAMAGE as error:
                raise RecordError(f"{self.path}: damaged after line {table.line_num}: {error}") from error

    def readings(self) -> Iterator[Reading]:
        """All usable readings, in order of time."""
        for row in self.rows():
            yield from row.readings or ()

    def _row(self, number: int, cells: list[str], last: Millis | None, following: list[str]) -> Row:
        text = self._time_text(cells)
        if len(cells) != self.width:
            return self._pass_over(number, text, "width", f"{len(cells)} cells instead of {self.width}")
        try:
            time = from_text(text)
        except ValueError:
            return self._pass_over(number, text, "time", f"{text!r} is no instant with its offset")
        if last is not None and time <= last:
            what = "repeats the row before" if time == last else "runs backwards"
            return self._pass_over(number, text, "order", f"time {text} {what}")
        if last is not None and last < self._time_or(following, last) < time:
            return self._pass_over(number, text, "order", f"time {text} runs ahead of the next row")
        readings = [self._reading(number, name, time, cells[i]) for i, name in self.channels.items()]
        return Row(number, text, time, readings, {name: cells[i] for i, name in self.labels.items()})

    def _time_text(self, cells: list[str]) -> str:
        return cells[self.time_column] if len(cells) > self.time_column else ""

    def _time_or(self, cells: list[str], otherwise: Millis) -> Millis:
        try:
            return from_text(self._time_text(cells))
        except ValueError:
            return otherwise

    def _reading(self, number: int, channel: str, time: Millis, cell: str) -> Reading:
        if cell in _EMPTY:
            return Reading(channel, time, None, Quality.MISSING, "empty")
        if _NUMBER.fullmatch(cell) and math.isfinite(value := float(cell)):
            return Reading(channel, time, value)
        self.no_numbers += 1
        self._complain(number, "number", f"{channel} {cell!r} is no number; taken as missing")
        return Reading(channel, time, None, Quality.MISSING, "not_a_number")

    def _pass_over(self, number: int, text: str, kind: str, problem: str) -> Row:
        self._complain(number, kind, problem)
        self.skipped[kind] += 1
        return Row(number, text, 0, None)

    def _complain(self, number: int, kind: str, problem: str) -> None:
        if len(self.complaints) < _NAMED:
            self.complaints.append(f"{self.path}: row {number}: {kind}: {problem}")


def station_for(file: Path, record: Path) -> tuple[Station, list[str]]:
    """The station of a file, with the channels that a record has, at the record's own pace where that is slower.

    A column is a channel if the file declares it under [channels], or if its name says its parameter. Composites stay
    where the record has all that they rest on, and are computed anew. Probes, lines and broker have no part in it.

    Returns:
        The station, and the channels of the file that the record does not give.

    Raises:
        ConfigError: the file is wrong.
        RecordError: the record cannot be read, or has no channel.
    """
    document = read_toml(file)
    whole = station_from(document, file)
    header, rows = _beginning(record, _PROBED_ROWS)
    declared: dict[str, Any] = document.get("channels", {})
    columns = [name for name in header if name != "time" and not _is_label(name)]
    composites = sources(whole.channels)
    known = [name for name in columns if (name in declared or parameter_of(name)) and name not in composites]
    channels = {name: declared.get(name, {}) for name in known}
    if not channels:
        raise RecordError(f"{record}: no column is a channel; columns are: {', '.join(header)}")
    channels |= {name: declared[name] for name, measured in composites.items() if measured <= set(known)}
    detection = dict(document.get("detection", {}))
    interval = _interval(rows, header.index("time"))
    if interval > parse_seconds(detection.get("step", "60s")):
        detection["step"] = f"{interval:g}s"
    kept = {name: table for name, table in document.items() if name in ("station", "detectors")}
    station = station_from({**kept, "channels": channels, "detection": detection}, file)
    return station, [name for name in whole.channels if name not in channels]


def _is_label(name: str) -> bool:
    return name in LABELS or name.startswith("fault_")


def _beginning(path: Path, rows: int) -> tuple[list[str], list[list[str]]]:
    """Header and first rows. Raises RecordError where the file or the column `time` is missing."""
    try:
        with _text(path) as stream:
            table = csv.reader(stream)
            header, first = next(table, None), list(islice(table, rows))
    except _DAMAGE as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    if header is None:
        raise RecordError(f"{path}: is empty; it needs a header with `time` and the channels")
    if "time" not in header:
        raise RecordError(f"{path}: no column `time`; columns are: {', '.join(header)}")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise RecordError(f"{path}: column {', '.join(twice)} is there twice; which one counts?")
    return header, first


def _with_next(rows: Iterable[list[str]]) -> Iterator[tuple[list[str], list[str]]]:
    """Each row with the one after it; the last with an empty one."""
    row: list[str] | None = None
    for following in rows:
        if row is not None:
            yield row, following
        row = following
    if row is not None:
        yield row, []


def _interval(rows: Sequence[Sequence[str]], column: int) -> float:
    """Usual seconds between rows; 0 where there are none."""
    times = []
    for row in rows:
        with contextlib.suppress(ValueError, IndexError):
            times.append(from_text(row[column]))
    steps = [(later - earlier) / 1000 for earlier, later in pairwise(times) if later > earlier]
    return median(steps) if steps else 0.0


def _text(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
