"""A recorded file through the very pipeline that runs in the field."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ewarn.config import Station
from ewarn.contracts import AlarmState, Alert, Detector, Verdict
from ewarn.core.detection import CONTAMINATION
from ewarn.core.pipeline import Pipeline
from ewarn.errors import RecordError
from ewarn.lab.record import Record, Row

COLUMNS = ("time", "probability", "alert", "cause")
_PROGRESS_ROWS = 2000


@dataclass(frozen=True, slots=True)
class Shown:
    """What the station shows after a row.

    Attributes:
        row: that came last.
        verdict: on the newest sample that it and earlier rows complete; None where none stands.
        active: whether the alarm of contamination is up.
    """

    row: Row
    verdict: Verdict | None
    active: bool

    @property
    def probability(self) -> float | None:
        """Of an event, None where nothing was evaluated."""
        return self.verdict.probability if self.verdict else None

    @property
    def alert(self) -> bool:
        """Whether an operator would see an alert on what was evaluated."""
        return self.active and self.probability is not None

    @property
    def cause(self) -> str:
        """What the station holds for the cause, "" where nothing stands."""
        return str(self.verdict.cause) if self.verdict else ""


@dataclass(slots=True)
class ReplayReport:
    """What a replay found.

    Attributes:
        rows: of the record.
        evaluated: rows with a probability.
        alerts: every transition of every alarm.
        skipped: rows passed over, by reason.
        no_numbers: cells taken as missing since they hold no number.
        complaints: the first of them, named by row.
        ignored: columns that are neither channel nor label.
        faults: detectors that were switched off.
    """

    rows: int = 0
    evaluated: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    no_numbers: int = 0
    alerts: list[Alert] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    ignored: tuple[str, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """A few lines for people."""
        raised = [a for a in self.alerts if a.alarm == CONTAMINATION and a.state is AlarmState.UNACKNOWLEDGED]
        lines = [
            f"{self.rows} rows, {self.evaluated} evaluated, {sum(self.skipped.values())} passed over",
            f"{len(raised)} contamination alerts, {len(self.alerts)} transitions of all alarms",
        ]
        if self.ignored:
            lines.append(f"columns passed over: {', '.join(self.ignored)}")
        lines += [f"passed over for their {kind}: {count} rows" for kind, count in self.skipped.items()]
        if self.no_numbers:
            lines.append(f"taken as missing since they are no numbers: {self.no_numbers} cells")
        lines += [f"detector {name}: {fault}" for name, fault in self.faults.items()]
        return "\n".join(lines + self.complaints)


def replay(
    station: Station,
    record: Path,
    scores: Path | None,
    detectors: Mapping[str, Detector],
    *,
    on_progress: Callable[[float], Any] = lambda _share: None,
) -> ReplayReport:
    """Run a record through the pipeline.

    Args:
        station: whose channels the record has, as `station_for` gives it.
        record: CSV, or CSV.gz.
        scores: where to write time, probability, alert and cause, one row a row of the record; None for nowhere.
        detectors: fresh detectors by name.
        on_progress: told the share done, 0 to 1.

    Raises:
        RecordError: the record cannot be read, or lacks a channel; or the scores cannot be written.
    """
    source, pipeline, report = Record.open(record, station), Pipeline(station, detectors), ReplayReport()
    report.ignored = source.ignored
    total = _lines(record)
    with ExitStack() as stack:
        out = csv.writer(stack.enter_context(_created(scores, record))) if scores else None
        if out:
            out.writerow(COLUMNS)
        for shown in follow(pipeline, source.rows(), report):
            if out:
                out.writerow(_scores(shown))
            if report.rows % _PROGRESS_ROWS == 0:
                on_progress(min(1.0, report.rows / max(1, total)))
    on_progress(1.0)
    report.skipped, report.no_numbers = source.skipped, source.no_numbers
    report.complaints, report.faults = source.complaints, pipeline.faults
    return report


def follow(pipeline: Pipeline, rows: Iterable[Row], report: ReplayReport) -> Iterator[Shown]:
    """What the station shows after each row, before it knows the next.

    Args:
        pipeline: fresh.
        rows: in their order.
        report: rows, evaluated rows and alerts are noted here.
    """
    last: Verdict | None = None
    for row in rows:
        verdict = last = _feed(pipeline, row, report, last)
        report.rows += 1
        report.evaluated += verdict is not None and verdict.probability is not None
        yield Shown(row, verdict, pipeline.alarms[CONTAMINATION].active)


def _feed(pipeline: Pipeline, row: Row, report: ReplayReport, last: Verdict | None) -> Verdict | None:
    """The newest verdict after this row: that of a sample which it completes, else the last one while it stands."""
    if row.readings is None:
        return None
    step = pipeline.accept(row.time, row.readings)
    report.alerts += step.alerts
    if step.verdicts:
        return step.verdicts[-1]
    stands = last is not None and row.time - last.time <= pipeline.station.detection.step * 1000
    return last if stands else None


def _scores(shown: Shown) -> tuple[str, str, str, str]:
    probability = "" if shown.probability is None else repr(shown.probability)
    return shown.row.text, probability, str(int(shown.alert)), shown.cause


def _created(scores: Path, record: Path) -> TextIO:
    if scores.resolve() == record.resolve():
        raise RecordError(f"{scores}: is the record itself; write the scores to another file")
    try:
        return scores.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise RecordError(f"{scores}: cannot be written: {error.strerror}") from error


def _lines(path: Path) -> int:
    """Rows to expect, for the progress; 0 where the file is damaged: reading it says so."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            return sum(1 for _ in stream) - 1
    except (OSError, EOFError, zlib.error):
        return 0
