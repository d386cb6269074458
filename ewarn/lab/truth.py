"""A record in memory, with what its label columns say was true: for those who judge, never for detection.

`event` marks contamination and `strength` its size; where `fault` is beside it, it marks sensor faults instead. Each
`fault_*` marks the faults of one sensor. Where `ignore` is 1, nothing is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ewarn.config import Station
from ewarn.contracts import Quality, Reading
from ewarn.errors import RecordError
from ewarn.lab.judge import Bools, Floats, Span, runs
from ewarn.lab.record import Record, Row

_TRUE = frozenset({"1", "1.0", "true"})


@dataclass(frozen=True, slots=True)
class LabelledRecord:
    """Rows that could be used, as arrays of one place a row.

    Attributes:
        times: milliseconds since 1970 UTC.
        columns: values by channel, NaN where missing.
        event: within a contamination.
        strength: of that contamination, NaN where it is not known; None where the record has no such column.
        ignore: nothing is judged.
        marked: some sensor is faulty.
        faults: first row and the row after the last of each sensor fault.
        of_faults: whether it was made to judge what becomes of sensor faults.
    """

    times: NDArray[np.int64]
    columns: Mapping[str, Floats]
    event: Bools
    strength: Floats | None
    ignore: Bools
    marked: Bools
    faults: tuple[Span, ...]
    of_faults: bool

    @classmethod
    def read(cls, path: Path, station: Station) -> LabelledRecord:
        """Raises RecordError where the file cannot be read, or has no row of use."""
        rows = [row for row in Record.open(path, station).rows() if row.readings is not None]
        if not rows:
            raise RecordError(f"{path}: no row can be used")
        names = list(rows[0].labels)
        of_faults = "fault" in names and "event" in names
        event = _flags(rows, "event")
        sensors = [_flags(rows, name) for name in names if name.startswith("fault_")] + [event] * of_faults
        return cls(
            times=np.array([row.time for row in rows]),
            columns=_columns(rows),
            event=np.zeros_like(event) if of_faults else event,
            strength=_numbers(row.labels["strength"] for row in rows) if "strength" in names else None,
            ignore=_flags(rows, "ignore"),
            marked=np.logical_or.reduce(sensors) if sensors else np.zeros_like(event),
            faults=tuple(span for flags in sensors for span in runs(flags)),
            of_faults=of_faults,
        )

    @property
    def what(self) -> str:
        """How a table calls it."""
        if self.of_faults:
            return "sensor faults"
        return "labelled" if self.event.any() else "as it was"

    @property
    def complete(self) -> bool:
        """Whether it was made to be judged as it is: nothing is laid over it."""
        return self.of_faults or self.strength is not None


def rows_of(times: NDArray[np.int64], columns: Mapping[str, Floats]) -> Iterator[Row]:
    """Arrays as rows of a record."""
    names = list(columns)
    for number, (time, *values) in enumerate(zip(times.tolist(), *(columns[n].tolist() for n in names), strict=True)):
        yield Row(number, "", time, [_reading(n, time, v) for n, v in zip(names, values, strict=True)])


def _reading(channel: str, time: int, value: float) -> Reading:
    if np.isnan(value):
        return Reading(channel, time, None, Quality.MISSING, "empty")
    return Reading(channel, time, value)


def _columns(rows: list[Row]) -> dict[str, Floats]:
    columns = zip(*(row.readings or () for row in rows), strict=True)
    return {column[0].channel: _numbers(reading.value for reading in column) for column in columns}


def _flags(rows: list[Row], name: str) -> Bools:
    return np.array([row.labels.get(name, "") in _TRUE for row in rows])


def _numbers(cells: Iterable[str | float | None]) -> Floats:
    return np.array([np.nan if cell in ("", None) else float(cell) for cell in cells])
