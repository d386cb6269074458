"""How good a detector was on a record with known events. Pure.

Steps with an alert that are less than an hour apart are one episode. An event is found when an episode begins between
its first step and half an hour after its last; an episode that begins elsewhere is false, and each full day that one
stays up elsewhere counts as one more. The customs are those of the US EPA's Event Detection System Challenge
(EPA 817-R-13-002): invalid alerts over time, and the share of events found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from ewarn.lab.intervals import Interval, rate, wilson

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Span = tuple[int, int]

WEEK_S, DAY_S = 604_800.0, 86_400.0
MERGE_S, GRACE_S = 3600.0, 1800.0
_THRESHOLDS = 400


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one threshold.

    Attributes:
        found: for each event, whether it was found.
        delays: seconds from the begin of each found event to its alert.
        strengths: of each event, NaN where the record does not say.
        false_by_week: false episodes in each week of the record.
        weeks_by_week: how much of each week was judged, 0 to 1.
    """

    found: tuple[bool, ...]
    delays: tuple[float, ...]
    strengths: tuple[float, ...]
    false_by_week: tuple[int, ...]
    weeks_by_week: tuple[float, ...]

    @property
    def false(self) -> int:
        """False episodes."""
        return sum(self.false_by_week)

    @property
    def weeks(self) -> float:
        """Weeks that were judged."""
        return math.fsum(self.weeks_by_week)

    @property
    def rate(self) -> float:
        """Share of the events that was found; 0 where there are none."""
        return sum(self.found) / len(self.found) if self.found else 0.0

    @property
    def rate_interval(self) -> Interval:
        """Where the share lies."""
        return wilson(sum(self.found), len(self.found))

    @property
    def false_per_week(self) -> float:
        """False episodes a week."""
        return self.false / self.weeks if self.weeks else math.inf

    @property
    def false_interval(self) -> Interval:
        """Where the false episodes a week lie."""
        return rate(np.array(self.false_by_week, dtype=float), np.array(self.weeks_by_week))

    @property
    def delay(self) -> float | None:
        """Median delay, seconds; None where nothing was found."""
        return float(np.median(self.delays)) if self.delays else None

    def strong(self, least: float) -> tuple[int, int]:
        """How many of the events of this strength and more were found, and of how many."""
        wanted = [found for found, strength in zip(self.found, self.strengths, strict=True) if strength >= least]
        return sum(wanted), len(wanted)

    def delays_by_strength(self) -> dict[float, list[float]]:
        """Delays of the events found, seconds, by strength."""
        levels: dict[float, list[float]] = {}
        found = [s for s, f in zip(self.strengths, self.found, strict=True) if f]
        for strength, delay in zip(found, self.delays, strict=True):
            if not math.isnan(strength):
                levels.setdefault(strength, []).append(delay)
        return dict(sorted(levels.items()))


@dataclass(frozen=True, slots=True)
class Course:
    """A record as it is judged.

    Attributes:
        step_s: seconds between rows.
        event: rows within an event.
        judged: rows that were evaluated and count.
        passed: rows in which nothing is judged; what begins there is neither hit nor false.
        strength: of the event in each row, NaN where it is not known; None where it never is.
        grace_s: how long after its end an event can still be found, seconds.
    """

    step_s: float
    event: Bools
    judged: Bools
    passed: Bools
    strength: Floats | None = None
    grace_s: float = GRACE_S

    def spans(self) -> list[Span]:
        """First row and the row after the last of each event."""
        return runs(self.event)

    def open_spans(self) -> list[Span]:
        """The same, each with its grace."""
        grace = round(self.grace_s / self.step_s)
        return [(a, min(len(self.event), b + grace)) for a, b in self.spans()]

    def outside(self) -> Bools:
        """Rows that count and are far from every event."""
        out = ~self.passed
        for a, b in self.open_spans():
            out[a:b] = False
        return out

    def judge(self, alert: Bools) -> Judged:
        """An alert over the rows."""
        found, spans = episodes(alert, self.rows(MERGE_S)), self.open_spans()
        begins = np.array([a for a, _ in found], dtype=np.int64)
        first = [int(i) if i < len(begins) else -1 for i in np.searchsorted(begins, [a for a, _ in spans])]
        hits = [int(begins[i]) if i >= 0 and begins[i] < b else None for i, (_, b) in zip(first, spans, strict=True)]
        return Judged(
            found=tuple(hit is not None for hit in hits),
            delays=tuple((i - a) * self.step_s for i, (a, _) in zip(hits, spans, strict=True) if i is not None),
            strengths=tuple(math.nan if self.strength is None else float(self.strength[a]) for a, _ in spans),
            false_by_week=self._false(found),
            weeks_by_week=tuple(
                (self.by_week(self.judged) * self.step_s / WEEK_S).tolist()
            ),
        )  # fmt: skip

    def at_rate(self, probability: Floats, per_week: float) -> Judged:
        """The best that a threshold on the probability gives with so many false episodes a week at most."""
        known = self.ranked(probability)
        best = self.judge(np.zeros(len(known), dtype=bool))
        for threshold in thresholds(known[self.judged], _THRESHOLDS)[::-1]:
            judged = self.judge(known >= threshold)
            if judged.false_per_week > per_week:
                break
            best = judged
        return best

    def ranked(self, probability: Floats) -> Floats:
        """The probability, -1 where nothing is judged."""
        return np.where(self.judged, probability, -1.0)

    def rows(self, seconds: float) -> int:
        """So many rows, one at least."""
        return max(1, round(seconds / self.step_s))

    def weeks(self) -> NDArray[np.int64]:
        """The week of the record in which each row lies, from 0."""
        return (np.arange(len(self.event)) * self.step_s // WEEK_S).astype(np.int64)

    def by_week(self, flags: Bools) -> Floats:
        """How many rows are flagged, week by week."""
        weeks = self.weeks()
        return np.bincount(weeks[flags], minlength=int(weeks[-1]) + 1).astype(np.float64)

    def f1(self, alert: Bools, weights: Floats | None = None) -> Floats:
        """Point by point, 2 TP / (2 TP + FP + FN), once for each draw of weeks; where absent, once for all."""
        drawn = self._drawn(weights)
        hit = drawn @ self.by_week(alert & self.event & ~self.passed)
        miss = drawn @ self.by_week((alert != self.event) & ~self.passed)
        return np.asarray(2 * hit / np.maximum(1, 2 * hit + miss))

    def average_precision(self, probability: Floats, weights: Floats | None = None) -> Floats:
        """Area under precision over recall, point by point, as a sum of steps; once for each draw of weeks."""
        used = ~self.passed
        value = self.ranked(probability)[used]
        order = np.argsort(-value, kind="stable")
        truth, week = self.event[used][order], self.weeks()[used][order]
        last = np.append(np.diff(value[order]) != 0, True)[: len(order)]
        return np.array([_area(truth, draw[week], last) for draw in self._drawn(weights)])

    def _drawn(self, weights: Floats | None) -> Floats:
        return np.ones((1, int(self.weeks()[-1]) + 1)) if weights is None else weights

    def _false(self, found: Sequence[Span]) -> tuple[int, ...]:
        """False episodes week by week, and one more for each full day that one stays up."""
        outside, weeks, day = self.outside(), self.weeks(), self.rows(DAY_S)
        counts = np.zeros(int(weeks[-1]) + 1, dtype=np.int64)
        for a, b in found:
            counts[weeks[a]] += int(outside[a]) + int(outside[a:b].sum()) // day
        return tuple(counts.tolist())


def thresholds(known: Floats, count: int) -> Floats:
    """Thresholds that the most probable fifth of the rows reaches, rising; none where nothing is known."""
    if not len(known):
        return np.array([])
    return np.unique(np.quantile(known, 1 - np.geomspace(1e-6, 0.2, count)))


def runs(flags: Bools) -> list[Span]:
    """First index and the index after the last of each run of true.

    >>> runs(np.array([False, True, True, False, True]))
    [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def episodes(flags: Bools, gap: int) -> list[Span]:
    """Runs, those less than `gap` apart taken as one."""
    merged: list[Span] = []
    for begin, end in runs(flags):
        if merged and begin - merged[-1][1] < gap:
            merged[-1] = merged[-1][0], end
        else:
            merged.append((begin, end))
    return merged


def together(parts: Sequence[Judged]) -> Judged:
    """Several as one; their weeks are taken for the same weeks."""
    return Judged(
        tuple(f for p in parts for f in p.found), tuple(d for p in parts for d in p.delays),
        tuple(s for p in parts for s in p.strengths),
        tuple(map(sum, zip_longest(*(p.false_by_week for p in parts), fillvalue=0))),
        tuple(map(sum, zip_longest(*(p.weeks_by_week for p in parts), fillvalue=0.0))),
    )  # fmt: skip


def _area(truth: Bools, weights: Floats, last: Bools) -> float:
    """Average precision of rows in their order, the most probable first; `last` ends each group of ties."""
    hits, seen = np.cumsum(weights * truth)[last], np.cumsum(weights)[last]
    if not len(hits) or not hits[-1]:
        return 0.0
    precision = hits / np.maximum(seen, 1e-12)
    return float(np.sum(np.diff(hits / hits[-1], prepend=0.0) * precision))
