"""Detectors against each other: the same records, with contaminations laid over them, through the same pipeline.

A record that has labels (`event`) is judged by these as well, as it is; what is laid over it is not judged within six
hours of them. Nothing that judges is shown to a detector.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ewarn.config import DetectorSpec, Station
from ewarn.errors import RecordError
from ewarn.lab.judge import Course, Judged
from ewarn.lab.record import Record, station_for
from ewarn.lab.replay import replay
from ewarn.lab.superimpose import BURN_S, superimpose
from ewarn.registry import load_detectors
from ewarn.times import to_text

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WEEKLY, MONTHLY = 1.0, 7 / 30.44
"""False episodes a week."""
_REACH_S = 6 * 3600.0
AS_CONFIGURED = "as configured"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table.

    Attributes:
        record: name of the file.
        what: "superimposed SEED" or "labelled".
        detectors: names, as they were given.
        own: of the station's own alert.
        weekly, monthly: of a threshold on the probability, None where none keeps to that rate.
        f1, average_precision: point by point.
        evaluated: share of the rows with a probability.
        us_per_row: processor time of the whole pipeline, microseconds.
    """

    record: str
    what: str
    detectors: str
    own: Judged
    weekly: Judged | None
    monthly: Judged | None
    f1: float
    average_precision: float
    evaluated: float
    us_per_row: float

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "record": self.record, "what": self.what, "detectors": self.detectors, "events": len(self.own.found),
            "weeks": round(self.own.weeks, 2), "f1": round(self.f1, 4),
            "average_precision": round(self.average_precision, 4), "own": _numbers(self.own),
            "at_1_per_week": _numbers(self.weekly), "at_1_per_month": _numbers(self.monthly),
            "evaluated": round(self.evaluated, 4), "us_per_row": round(self.us_per_row, 1),
        }  # fmt: skip


def _numbers(judged: Judged | None) -> dict[str, Any] | None:
    if judged is None:
        return None
    return {
        "rate": round(judged.rate, 4), "rate_interval": [round(x, 3) for x in judged.rate_interval],
        "false_per_week": round(judged.false_per_week, 3),
        "false_interval": [round(x, 3) for x in judged.false_interval], "delay_s": judged.delay,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Variant:
    """A file to be judged: what it is, which of its rows are within an event, and which are not judged."""

    record: str
    what: str
    file: Path
    event: Bools
    passed: Bools


@dataclass(frozen=True, slots=True)
class _Table:
    """A record in memory: rows that could be used."""

    times: list[str]
    seconds: Floats
    columns: dict[str, Floats]
    labels: Bools | None


def challenge(
    station_file: Path,
    records: Sequence[Path],
    detectors: Sequence[str],
    seeds: Sequence[int],
    *,
    every_days: float = 2.0,
    on_progress: Callable[[str], Any] = lambda _text: None,
) -> Iterator[Entry]:
    """Run every detector on every record.

    Args:
        station_file: configuration for the kind of station.
        records: CSV or CSV.gz.
        detectors: each a name, several joined by "+", or `AS_CONFIGURED`.
        seeds: of the contaminations, one variant each.
        every_days: mean days from one contamination to the next.
        on_progress: told what is done next.

    Raises:
        ConfigError: of the station file.
        RecordError: of a record.
    """
    for path in records:
        station, _ = station_for(station_file, path)
        with tempfile.TemporaryDirectory(prefix="ewarn-challenge-") as name:
            folder = Path(name)
            for variant in _variants(path, station, seeds, every_days, folder):
                for detector in detectors:
                    on_progress(f"{path.name}, {variant.what}: {detector}")
                    yield _run(variant, _with(station, detector), detector, folder)


def _variants(
    path: Path, station: Station, seeds: Sequence[int], every_days: float, folder: Path
) -> Iterator[_Variant]:
    table = _read(path, station)
    labels = np.zeros(len(table.times), dtype=bool) if table.labels is None else table.labels
    if labels.any():
        yield _Variant(path.name, "labelled", path, labels, np.zeros_like(labels))
    near = _near(labels, round(_REACH_S / station.detection.step))
    for seed in seeds:
        laid = superimpose(station, table.seconds, table.columns, seed, every_days=every_days)
        file = folder / f"{seed}.csv"
        with file.open("w", encoding="utf-8", newline="") as stream:
            out = csv.writer(stream)
            out.writerow(["time", *laid.columns])
            cells = [["" if np.isnan(v) else f"{v:.10g}" for v in column] for column in laid.columns.values()]
            out.writerows(zip(table.times, *cells, strict=True))
        passed = near | (np.arange(len(near)) < BURN_S / station.detection.step)
        yield _Variant(path.name, f"superimposed {seed}", file, laid.event & ~near, passed)


def _near(flags: Bools, reach: int) -> Bools:
    """True from `reach` rows before a true one to as many after it."""
    return np.convolve(flags, np.ones(2 * reach + 1), "same") > 0 if flags.any() else flags


def _with(station: Station, name: str) -> Station:
    if name == AS_CONFIGURED:
        return station
    specs = tuple(DetectorSpec(part, {}, "--detectors") for part in name.split("+"))
    return replace(station, detectors=specs)


def _run(variant: _Variant, station: Station, detectors: str, folder: Path) -> Entry:
    scores = folder / "scores.csv"
    made, began = load_detectors(station), time.process_time()
    report = replay(station, variant.file, scores, made)
    cost = (time.process_time() - began) / max(1, report.rows) * 1e6
    probability, alert = _scores(scores)
    if len(probability) != len(variant.event):
        raise RecordError(f"{variant.record}: {len(probability)} rows were replayed, {len(variant.event)} are labelled")
    course = Course(float(station.detection.step), variant.event, ~np.isnan(probability) & ~variant.passed)
    return Entry(
        record=variant.record, what=variant.what, detectors=detectors, own=course.judge(alert),
        weekly=course.at_rate(probability, WEEKLY), monthly=course.at_rate(probability, MONTHLY),
        f1=course.f1(alert), average_precision=course.average_precision(probability),
        evaluated=report.evaluated / max(1, report.rows), us_per_row=cost,
    )  # fmt: skip


def _scores(path: Path) -> tuple[Floats, Bools]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    probability = np.array([float(r["probability"] or "nan") for r in rows])
    return probability, np.array([r["alert"] == "1" for r in rows])


def _read(path: Path, station: Station) -> _Table:
    """Raises RecordError."""
    rows = [row for row in Record.open(path, station).rows() if row.readings is not None]
    if not rows:
        raise RecordError(f"{path}: no row can be used")
    values: dict[str, list[float]] = {name: [] for name in station.channels}
    for row in rows:
        for reading in row.readings or ():
            values[reading.channel].append(np.nan if reading.value is None else reading.value)
    return _Table(
        [to_text(row.time) for row in rows], np.array([row.time / 1000 for row in rows]),
        {name: np.array(column) for name, column in values.items()}, _labels(path),
    )  # fmt: skip


def _labels(path: Path) -> Bools | None:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        if "event" not in (rows.fieldnames or ()):
            return None
        return np.array([row["event"] in ("1", "1.0", "true") for row in rows])
