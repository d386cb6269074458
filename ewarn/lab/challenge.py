"""Detectors against each other: the same records, with contaminations laid over them, through the same pipeline.

Every record is judged as it is, by its own labels; unless these say all (`ewarn.lab.truth`), it is judged once more
with contaminations laid over it, six hours and more from its labelled events. Nothing that judges is shown to a
detector.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ewarn.config import DetectorSpec, Station
from ewarn.core.pipeline import Pipeline
from ewarn.lab.entry import Entry, Run, SensorCount
from ewarn.lab.gallery import Shot, quality, scenes_of
from ewarn.lab.judge import Bools, Course, Floats, Span
from ewarn.lab.record import station_for
from ewarn.lab.replay import ReplayReport, follow
from ewarn.lab.superimpose import BURN_S, superimpose
from ewarn.lab.truth import LabelledRecord, rows_of
from ewarn.registry import load_detectors

_REACH_S = 6 * 3600.0
_DAY_S = 86_400.0
AS_CONFIGURED = "as configured"


@dataclass(frozen=True, slots=True)
class Terms:
    """How is judged.

    Attributes:
        every_days: mean days from one contamination laid over a record to the next.
        grace_s: how long after its end an event of the record's own labels can still be found, seconds.
        skip_days: at the begin of a record with labels that are left out of the judgement.
    """

    every_days: float = 2.0
    grace_s: float = 1800.0
    skip_days: float = 0.0


@dataclass(frozen=True, slots=True)
class _Variant:
    """Water to be judged: what it is, and what is true in each of its rows."""

    what: str
    seed: int | None
    times: NDArray[np.int64]
    columns: Mapping[str, Floats]
    event: Bools
    strength: Floats | None
    passed: Bools
    marked: Bools
    faults: tuple[Span, ...]
    grace_s: float


def challenge(
    station_file: Path,
    records: Sequence[Path],
    detectors: Sequence[str],
    seeds: Sequence[int],
    *,
    terms: Terms | None = None,
    on_progress: Callable[[str], Any] = lambda _text: None,
) -> Iterator[Entry]:
    """Run every set of detectors on every record.

    Args:
        station_file: configuration for the kind of station.
        records: CSV or CSV.gz.
        detectors: each a name, several joined by ",", or `AS_CONFIGURED`. What the file sets for one holds.
        seeds: of the contaminations laid over a record, one variant each.
        terms: how is judged, usual ones where absent.
        on_progress: told what is done next.

    Raises:
        ConfigError: of the station file.
        RecordError: of a record.
    """
    for path, title in zip(records, _titles(records), strict=True):
        station, _ = station_for(station_file, path)
        record, used = LabelledRecord.read(path, station), terms or Terms()
        kinds = [[_as_it_is(record, station, used)]]
        if seeds and not record.complete:
            kinds.append([_laid_over(record, station, used, seed) for seed in seeds])
        for variants in kinds:
            for names in detectors:
                on_progress(f"{title}, {variants[0].what}: {names}")
                runs = tuple(_run(variant, with_detectors(station, names)) for variant in variants)
                numbers = tuple(v.seed for v in variants if v.seed is not None)
                yield Entry.of(title, variants[0].what, names, runs, seeds=numbers, detection=station.detection)


def _titles(records: Sequence[Path]) -> list[str]:
    """Names of the files; where several have the same, with their folders'."""
    names = [path.name.removesuffix(".gz").removesuffix(".csv") for path in records]
    return [f"{p.resolve().parent.name}/{n}" if names.count(n) > 1 else n for p, n in zip(records, names, strict=True)]


def _as_it_is(record: LabelledRecord, station: Station, terms: Terms) -> _Variant:
    early = np.arange(len(record.times)) < terms.skip_days * _DAY_S / station.detection.step
    return _Variant(
        record.what, None, record.times, record.columns, record.event & ~early, record.strength,
        record.ignore | early | (record.marked & record.of_faults), record.marked,
        tuple(span for span in record.faults if not early[span[0]]), terms.grace_s,
    )  # fmt: skip


def _laid_over(record: LabelledRecord, station: Station, terms: Terms, seed: int) -> _Variant:
    laid = superimpose(station, record.times / 1000, record.columns, seed, every_days=terms.every_days)
    near = _near(record.event, round(_REACH_S / station.detection.step))
    early = np.arange(len(near)) < BURN_S / station.detection.step
    return _Variant(
        "laid over", seed, record.times, laid.columns, laid.event & ~near, laid.strength, near | early, record.marked,
        (), Terms().grace_s,
    )  # fmt: skip


def _near(flags: Bools, reach: int) -> Bools:
    """True from `reach` rows before a true one to as many after it."""
    return np.convolve(flags, np.ones(2 * reach + 1), "same") > 0 if flags.any() else flags


def with_detectors(station: Station, names: str) -> Station:
    """The station with other detectors: names joined by ",", or `AS_CONFIGURED`. What its file sets for one holds."""
    if names == AS_CONFIGURED:
        return station
    configured = {spec.name: spec for spec in station.detectors}
    specs = tuple(configured.get(name, DetectorSpec(name, {}, "--detectors")) for name in names.split(","))
    return replace(station, detectors=specs)


def _run(variant: _Variant, station: Station) -> Run:
    pipeline, report = Pipeline(station, load_detectors(station)), ReplayReport()
    began = time.process_time()
    shown = [
        (np.nan if s.probability is None else s.probability, s.alert, s.cause == "sensor")
        for s in follow(pipeline, rows_of(variant.times, variant.columns), report)
    ]
    cost = (time.process_time() - began) / max(1, report.rows) * 1e6
    probability, alert, blamed = (np.array(column) for column in zip(*shown, strict=True))
    course = Course(
        float(station.detection.step), variant.event, ~np.isnan(probability) & ~variant.passed, variant.passed,
        variant.strength, variant.grace_s,
    )  # fmt: skip
    scenes = scenes_of(Shot(course, quality(station, variant.columns), probability, alert))
    evaluated = _evaluated(variant, station, probability)
    return Run(course, probability, alert, _sensor(variant, course, alert, blamed), evaluated, cost, scenes)


def _evaluated(variant: _Variant, station: Station, probability: Floats) -> float:
    """Share of the rows that count and hold a value of the water's quality which have a probability."""
    values = quality(station, variant.columns).values()
    there = ~variant.passed & ~np.logical_and.reduce([np.isnan(v) for v in values])
    return float((~np.isnan(probability[there])).mean()) if there.any() else 0.0


def _sensor(variant: _Variant, course: Course, alert: Bools, blamed: Bools) -> SensorCount:
    others = course.outside() & ~variant.marked
    return SensorCount(
        faults=len(variant.faults),
        alarmed=sum(bool(alert[a:b].any()) for a, b in variant.faults),
        named=sum(bool(blamed[a:b].any()) for a, b in variant.faults),
        others=int(others.sum()),
        others_named=int((blamed & others).sum()),
        events=len(course.spans()),
        events_named=sum(bool(blamed[a:b].any()) for a, b in course.open_spans()),
    )
