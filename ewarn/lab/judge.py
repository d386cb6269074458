"""How good a detector was on a record with known events. Pure.

Steps with an alert that are less than an hour apart are one episode. An event is found when an episode begins between
its first step and half an hour after its last; an episode that begins elsewhere is false, and each full day that one
stays up elsewhere counts as one more. The customs are those of the US EPA's Event Detection System Challenge
(EPA 817-R-13-002): invalid alerts over time, and the share of events found.

Intervals hold 95 %: Wilson's for shares (J. Am. Stat. Assoc. 22, 1927), Byar's for counts (Breslow and Day 1987).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Interval = tuple[float, float]

WEEK_S, DAY_S = 604_800.0, 86_400.0
MERGE_S, GRACE_S = 3600.0, 1800.0
_Z = 1.96
_THRESHOLDS = 300


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one threshold.

    Attributes:
        found: for each event, whether it was found.
        delays: seconds from the begin of each found event to its alert.
        false: false episodes.
        weeks: that were judged.
    """

    found: tuple[bool, ...]
    delays: tuple[float, ...]
    false: int
    weeks: float

    @property
    def rate(self) -> float:
        """Share of the events that was found; 0 where there are none."""
        return sum(self.found) / len(self.found) if self.found else 0.0

    @property
    def false_per_week(self) -> float:
        """False episodes a week."""
        return self.false / self.weeks if self.weeks else math.inf

    @property
    def delay(self) -> float | None:
        """Median delay, seconds; None where nothing was found."""
        return float(np.median(self.delays)) if self.delays else None

    @property
    def rate_interval(self) -> Interval:
        """Where the share lies."""
        return wilson(sum(self.found), len(self.found))

    @property
    def false_interval(self) -> Interval:
        """Where the false episodes a week lie."""
        low, high = byar(self.false)
        return (low / self.weeks, high / self.weeks) if self.weeks else (0.0, math.inf)


@dataclass(frozen=True, slots=True)
class Course:
    """A record as it is judged.

    Attributes:
        step_s: seconds between rows.
        event: rows within an event.
        judged: rows that were evaluated and count.
    """

    step_s: float
    event: Bools
    judged: Bools

    def spans(self) -> list[tuple[int, int]]:
        """First row and the row after the last of each event."""
        return runs(self.event)

    def judge(self, alert: Bools) -> Judged:
        """An alert over the rows."""
        gap, day = max(1, round(MERGE_S / self.step_s)), max(1, round(DAY_S / self.step_s))
        grace = round(GRACE_S / self.step_s)
        spans = [(a, min(len(alert), b + grace)) for a, b in self.spans()]
        guarded = ~self.judged
        for a, b in spans:
            guarded[a:b] = True
        found = episodes(alert, gap)
        begins = [a for a, _ in found]
        first = [next((i for i in begins if a <= i < b), None) for a, b in spans]
        false = sum(not guarded[a] for a in begins) + sum(int((~guarded[a:b]).sum()) // day for a, b in found)
        delays = tuple((i - a) * self.step_s for i, (a, _) in zip(first, spans, strict=True) if i is not None)
        weeks = float(self.judged.sum()) * self.step_s / WEEK_S
        return Judged(tuple(i is not None for i in first), delays, false, weeks)

    def at_rate(self, probability: Floats, per_week: float) -> Judged | None:
        """The best that a threshold on the probability gives with so many false episodes a week at most."""
        known = np.where(self.judged & ~np.isnan(probability), probability, -1.0)
        if not (known >= 0).any():
            return None
        best = None
        quantiles = 1 - np.geomspace(1e-6, 0.2, _THRESHOLDS)
        for threshold in np.unique(np.quantile(known[known >= 0], quantiles))[::-1]:
            judged = self.judge(known >= threshold)
            if judged.false_per_week > per_week:
                break
            best = judged
        return best

    def f1(self, alert: Bools) -> float:
        """Point by point: 2 TP / (2 TP + FP + FN)."""
        hit = int((alert & self.event & self.judged).sum())
        miss = int(((alert != self.event) & self.judged).sum())
        return 2 * hit / (2 * hit + miss) if hit else 0.0

    def average_precision(self, probability: Floats) -> float:
        """Area under precision over recall, point by point, as a sum of steps."""
        known = self.judged & ~np.isnan(probability)
        order = np.argsort(-probability[known], kind="stable")
        truth, value = self.event[known][order], probability[known][order]
        if not truth.any():
            return 0.0
        last = np.append(value[1:] != value[:-1], True)
        hits = np.cumsum(truth)[last]
        precision, recall = hits / (np.flatnonzero(last) + 1), hits / truth.sum()
        return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def runs(flags: Bools) -> list[tuple[int, int]]:
    """First index and the index after the last of each run of true.

    >>> runs(np.array([False, True, True, False, True]))
    [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def episodes(flags: Bools, gap: int) -> list[tuple[int, int]]:
    """Runs, those less than `gap` apart taken as one."""
    merged: list[tuple[int, int]] = []
    for begin, end in runs(flags):
        if merged and begin - merged[-1][1] < gap:
            merged[-1] = merged[-1][0], end
        else:
            merged.append((begin, end))
    return merged


def wilson(hits: int, trials: int) -> Interval:
    """Interval of a share.

    >>> [round(x, 3) for x in wilson(8, 10)]
    [0.49, 0.943]
    """
    if not trials:
        return 0.0, 1.0
    share, z = hits / trials, _Z * _Z / trials
    middle, half = share + z / 2, _Z * math.sqrt(share * (1 - share) / trials + z / (4 * trials))
    return max(0.0, (middle - half) / (1 + z)), min(1.0, (middle + half) / (1 + z))


def byar(count: int) -> Interval:
    """Interval of a count of rare events.

    >>> [round(x, 2) for x in byar(4)]
    [1.08, 10.24]
    """
    low = count * (1 - 1 / (9 * count) - _Z / (3 * math.sqrt(count))) ** 3 if count else 0.0
    more = count + 1
    return low, more * (1 - 1 / (9 * more) + _Z / (3 * math.sqrt(more))) ** 3


def together(parts: Sequence[Judged]) -> Judged:
    """Several records as one."""
    return Judged(
        tuple(f for p in parts for f in p.found), tuple(d for p in parts for d in p.delays),
        sum(p.false for p in parts), sum(p.weeks for p in parts),
    )  # fmt: skip
