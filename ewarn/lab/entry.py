"""One line of the challenge's table: what a set of detectors did on one record, with all its variants.

The variants of a record (one a seed) share its water. Shares are therefore of the events of all variants, F1 and
average precision are means over the variants, and a bootstrap draws the same weeks in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ewarn.config.tables import DetectionTable
from ewarn.lab.gallery import Scene
from ewarn.lab.intervals import Interval, resampled, spread
from ewarn.lab.judge import Bools, Course, Floats, Judged, together
from ewarn.lab.reliability import Bin, calibration_error, reliability

WEEKLY, MONTHLY = 1.0, 7 / 30.44
"""False episodes a week."""
STRONG = 2.0
"""Strength from which an event has to be found."""


@dataclass(frozen=True, slots=True)
class SensorCount:
    """What was called a sensor's fault.

    Attributes:
        faults: stretches of sensor faults.
        alarmed: how many of them had an alert of contamination.
        named: how many of them were called a sensor's fault at some step.
        others: rows that count, far from events and faults.
        others_named: how many of these were called so too.
        events: contaminations.
        events_named: how many of them were called so at some step.
    """

    faults: int
    alarmed: int
    named: int
    others: int
    others_named: int
    events: int
    events_named: int

    def __add__(self, other: SensorCount) -> SensorCount:
        return SensorCount(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    def document(self) -> dict[str, Any]:
        """As plain data."""
        share = self.others_named / self.others if self.others else 0.0
        kept = {name: value for name, value in asdict(self).items() if not name.startswith("others")}
        return {**kept, "share_of_others": round(share, 4)}


@dataclass(frozen=True, slots=True)
class Run:
    """What a set of detectors did on one variant of a record.

    Attributes:
        course: how the variant is judged.
        probability: of each row, NaN where nothing was evaluated.
        alert: the station's own, row by row.
        sensor: what was called a sensor's fault.
        evaluated: share of the rows with a value that have a probability.
        us_per_row: processor time of the whole pipeline, microseconds.
        scenes: a few stretches, for pictures.
    """

    course: Course
    probability: Floats
    alert: Bools
    sensor: SensorCount
    evaluated: float
    us_per_row: float
    scenes: tuple[Scene, ...] = ()

    def later(self) -> Judged:
        """The station's own alert on the second half of the water."""
        half = np.arange(len(self.alert)) < len(self.alert) // 2
        course = replace(self.course, judged=self.course.judged & ~half, passed=self.course.passed | half)
        return course.judge(self.alert)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table.

    Attributes:
        record: name of the file.
        what: how its events came to be known: "labelled", "laid over", "sensor faults", or "as it was" without any.
        seeds: of what was laid over.
        detectors: names, as they were given.
        own: of the station's own alert.
        weekly, monthly: of a threshold on the probability that keeps to that rate; where none does, nothing is found.
        later: of the own alert on the second half of the water.
        budget: false alarms a week that the station allows itself.
        prior: share of steps within events that reliability is weighted to.
        f1, average_precision: point by point, each with its interval; None where there is no event.
        reliability: what was predicted against what was, in bins of equal width.
        sensor: what was called a sensor's fault.
        evaluated: share of the rows with a value that have a probability.
        us_per_row: processor time of the whole pipeline, microseconds.
        runs: what all that comes from.
    """

    record: str
    what: str
    seeds: tuple[int, ...]
    detectors: str
    own: Judged
    weekly: Judged
    monthly: Judged
    later: Judged
    budget: float
    prior: float
    f1: tuple[float, Interval] | None
    average_precision: tuple[float, Interval] | None
    reliability: tuple[Bin, ...]
    sensor: SensorCount
    evaluated: float
    us_per_row: float
    runs: tuple[Run, ...]

    @classmethod
    def of(
        cls, record: str, what: str, detectors: str, runs: tuple[Run, ...], *, seeds: tuple[int, ...],
        detection: DetectionTable,
    ) -> Entry:  # fmt: skip
        """Sum up the runs on one record; `detection` says the budget, and the prior of the reliability."""
        any_event = any(run.course.event.any() for run in runs)
        return cls(
            record, what, seeds, detectors,
            own=together([run.course.judge(run.alert) for run in runs]),
            weekly=together([run.course.at_rate(run.probability, WEEKLY) for run in runs]),
            monthly=together([run.course.at_rate(run.probability, MONTHLY) for run in runs]),
            later=together([run.later() for run in runs]),
            budget=detection.false_alarms_a_week,
            f1=_mean(runs, lambda run, weights: run.course.f1(run.alert, weights)) if any_event else None,
            average_precision=_mean(runs, _average_precision) if any_event else None,
            prior=detection.prior,
            reliability=pooled_reliability(runs, detection.prior),
            sensor=sum((run.sensor for run in runs[1:]), runs[0].sensor),
            evaluated=math.fsum(run.evaluated for run in runs) / len(runs),
            us_per_row=math.fsum(run.us_per_row for run in runs) / len(runs),
            runs=runs,
        )  # fmt: skip

    def document(self) -> dict[str, Any]:
        """As plain data; all but `us_per_row` is the same whenever it is computed."""
        error = calibration_error(self.reliability)
        return {
            "record": self.record, "what": self.what, "seeds": list(self.seeds), "detectors": self.detectors,
            "events": len(self.own.found), "weeks": round(self.own.weeks, 2),
            **_with_interval("f1", self.f1), **_with_interval("average_precision", self.average_precision),
            "own": _numbers(self.own), "at_1_per_week": _numbers(self.weekly), "at_1_per_month": _numbers(self.monthly),
            "calibration_error": None if error is None else round(error, 5),
            "reliability": [{k: round(v, 6) for k, v in asdict(b).items()} for b in self.reliability],
            "budget": {
                "allowed_per_week": self.budget, "later_per_week": _finite(self.later.false_per_week),
                "later_interval": [_finite(x) for x in self.later.false_interval],
            },
            "sensor": self.sensor.document(), "evaluated": round(self.evaluated, 4),
            "us_per_row": round(self.us_per_row, 1),
        }  # fmt: skip


def pooled_reliability(runs: Sequence[Run], prior: float) -> tuple[Bin, ...]:
    """Reliability over the judged rows of several runs."""
    probability = np.concatenate([run.probability[run.course.judged] for run in runs])
    event = np.concatenate([run.course.event[run.course.judged] for run in runs])
    return reliability(probability, event, prior)


def _average_precision(run: Run, weights: Floats | None) -> Floats:
    return run.course.average_precision(run.probability, weights)


def _mean(runs: Sequence[Run], figure: Callable[[Run, Floats | None], Floats]) -> tuple[float, Interval]:
    """Mean over the runs, and where it lies."""
    weights = resampled(int(runs[0].course.weeks()[-1]) + 1)
    drawn = np.mean([figure(run, weights) for run in runs], axis=0)
    return float(np.mean([figure(run, None)[0] for run in runs])), spread(drawn)


def _with_interval(name: str, figure: tuple[float, Interval] | None) -> dict[str, Any]:
    if figure is None:
        return {name: None, f"{name}_interval": None}
    return {name: round(figure[0], 4), f"{name}_interval": [round(x, 4) for x in figure[1]]}


def _numbers(judged: Judged) -> dict[str, Any]:
    found, strong = judged.strong(STRONG)
    return {
        "found": sum(judged.found), "events": len(judged.found), "rate": round(judged.rate, 4),
        "rate_interval": [round(x, 4) for x in judged.rate_interval], "strong_found": found, "strong_events": strong,
        "false_per_week": _finite(judged.false_per_week),
        "false_interval": [_finite(x) for x in judged.false_interval], "delay_s": judged.delay,
    }  # fmt: skip


def _finite(number: float) -> float | None:
    """Rounded; None for what has no end, since JSON has no word for it."""
    return round(number, 3) if math.isfinite(number) else None
