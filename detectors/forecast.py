"""Forecasts with the day's course in them: for rivers, at steps of some minutes to half an hour.

A channel's forecast is its own mean some time ago plus the change that this time of day has brought on the last days.
What the value adds to that is its deviation; how rare it is tells the channel's own histogram (`detectors._tails`).
Two kinds of change are looked for:

- *sudden*, over half an hour: the two strongest channels count, the second less as the two go together by nature
  (the correlation of their past evidence); none counts for more than `_SUDDEN_CAP`, so that no channel is an event.
- *gradual*, over an hour: one channel suffices, if it rises or falls as water does, step by step in one direction. A
  jump, a spike or jitter is what sensors do. Turbidity and algae alone are nature's, and count only beside others.

Channels that were not smooth lately, or show what is far from their usual range, are not heard (`detectors._trust`).
The score is the larger of both, and has to last two steps.

The clipped updates are Huber's (Ann. Math. Stat. 35, 1964), corroboration is the idea of EPA's CANARY
(EPA/600/R-10/036), the daily course by exponential smoothing of each time of day is Winters' (Manag. Sci. 6, 1960).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from river import base

from detectors._tails import Bools, Floats, Tails
from detectors._trust import Trust
from ewarn.parameters import parameter_of

_DAY = 86_400.0
_SUDDEN_S, _GRADUAL_S, _BASE_S = 1800.0, 3600.0, 1800.0
_SUDDEN_WEIGHT, _SUDDEN_CAP, _GRADUAL_CAP = 0.85, 8.0, 30.0
_TAIL = 0.03
_FORGET_DAYS, _COURSE_DAYS, _TOGETHER_DAYS = 30.0, 4.0, 14.0
_BINS_A_DAY = 96
_CLIP = 4.0
_LOUD = 12.0
_NATURAL = frozenset({"turbidity", "turbidity_ntu", "chl_a", "phycocyanin"})
_MURKY = 0.7
_STORM, _STORM_SHARE = 2.0, 0.3


@dataclass(frozen=True, slots=True)
class _Look:
    """A sample as the detector sees it. Arrays have one place a channel; evidence is signed, in nats."""

    values: Floats
    bend: Floats
    deviations: tuple[Floats, Floats]
    sizes: tuple[Floats, Floats]
    sudden: Floats
    gradual: Floats
    score: float


class _Course:
    """Deviations from a forecast over one horizon, and what the time of day adds to it.

    Args:
        step_s: seconds between samples.
        horizon_s: how far back the forecast's base lies, seconds.
        resolution: of each channel.
    """

    def __init__(self, step_s: float, horizon_s: float, resolution: Floats) -> None:
        self.lag, self.width = max(1, round(horizon_s / step_s)), max(1, round(_BASE_S / step_s))
        self._resolution = resolution
        self._bins = max(1, min(_BINS_A_DAY, round(_DAY / step_s)))
        self._steps_a_day = max(1, round(_DAY / step_s))
        self._added = np.zeros((self._bins, len(resolution)))
        self._seen = np.zeros((self._bins, len(resolution)))
        self._rate = 1 - math.exp(-self._bins / self._steps_a_day / _COURSE_DAYS)
        self._spread_rate = 1 - math.exp(-step_s / (3 * _DAY))
        self._spread, self._count = 2 * resolution, np.zeros(len(resolution))

    def deviation(self, past: Floats, values: Floats, step: int) -> Floats:
        """Of each channel, from what `past` (newest last) and the time of day make expect; NaN where unknown."""
        base = past[len(past) - self.lag - self.width + 1 : len(past) - self.lag + 1]
        there = ~np.isnan(base)
        count = there.sum(axis=0)
        mean = np.where(there, base, 0.0).sum(axis=0) / np.maximum(count, 1)
        expected = mean + self._added[self._bin(step)]
        return np.asarray(np.where(2 * count >= self.width, values - expected, np.nan))

    def learn(self, deviation: Floats, step: int) -> None:
        """Take a sample's deviations into the day's course and the spread, clipped."""
        there, place = ~np.isnan(deviation), self._bin(step)
        bound = _CLIP * self._spread
        clipped = np.where(there, np.clip(deviation, -bound, bound), 0.0)
        self._seen[place] += there
        self._added[place] += np.maximum(self._rate, 1 / np.maximum(self._seen[place], 1)) * clipped
        self._count += there
        rate = np.maximum(self._spread_rate, 0.5 / np.maximum(self._count, 1))
        factor = np.exp(np.where(np.abs(deviation) > self._spread, rate, -rate))
        self._spread = np.where(there, np.maximum(self._spread * factor, self._resolution / 2), self._spread)

    def _bin(self, step: int) -> int:
        return step % self._steps_a_day * self._bins // self._steps_a_day


class ForecastDetector(base.AnomalyDetector):
    """Sudden changes in several channels, gradual ones in one, of water with a daily course.

    Args:
        step_s: seconds between samples.
        resolution: smallest step of each channel's instrument; without it, channels are those of the first sample.
        roles: channels named "operation" are passed over.
        threshold: score from which a sample is abnormal, nats.
    """

    def __init__(
        self,
        *,
        step_s: float = 900.0,
        resolution: Mapping[str, float] | None = None,
        roles: Mapping[str, str] | None = None,
        threshold: float = 7.0,
    ) -> None:
        self.step_s, self.resolution, self.roles, self.threshold = step_s, resolution, roles, threshold
        self._names: list[str] = []
        self._step = 0
        self._before = 0.0
        self._cache: tuple[dict[str, float], _Look] | None = None
        if resolution:
            self._begin({name: res for name, res in resolution.items() if self._judges(name)})

    def learn_one(self, x: dict[Any, Any]) -> None:
        """Take the sample into the forecasts, histograms and ranges."""
        if not self._names:
            self._begin({name: max(abs(v) * 1e-3, 1e-9) for name, v in x.items() if self._judges(name)})
        if not self._names:
            return
        look = self._look(x)
        there = ~np.isnan(look.values)
        for course, tails, deviation, size in zip(self._courses, self._tails, look.deviations, look.sizes, strict=True):
            tails.learn(size, ~np.isnan(deviation))
            course.learn(deviation, self._step)
        if look.score < _LOUD:
            self._learn_together(look.sudden, there)
        self._trust.learn(look.values, look.bend)
        self._past[:-1] = self._past[1:]
        self._past[-1] = look.values
        self._before, self._cache = look.score, None
        self._step += 1

    def score_one(self, x: dict[Any, Any]) -> float:
        """Evidence that the water is abnormal, in this sample and the one before, nats."""
        return min(self._look(x).score, self._before) if self._names else 0.0

    def explain_one(self, x: dict[str, float]) -> dict[str, tuple[float, float]]:
        """Evidence in nats and expected value, by channel."""
        if not self._names:
            return {}
        look = self._look(x)
        nats = np.maximum(np.abs(look.sudden), np.abs(look.gradual))
        expected = look.values - look.deviations[1]
        known = ~np.isnan(expected)
        return {n: (float(nats[i]), float(expected[i])) for i, n in enumerate(self._names) if known[i]}

    def _judges(self, name: str) -> bool:
        return (self.roles or {}).get(name) != "operation"

    def _begin(self, resolution: Mapping[str, float]) -> None:
        self._names = sorted(resolution)
        steps = np.array([resolution[name] for name in self._names])
        count = len(self._names)
        parameters = [parameter_of(name) or name for name in self._names]
        self._alone = np.array([parameter not in _NATURAL for parameter in parameters])
        self._murky = np.array([parameter.startswith("turbidity") for parameter in parameters])
        self._salty = np.array([parameter in ("spcond", "conductivity") for parameter in parameters])
        self._resolution = steps
        self._courses = (_Course(self.step_s, _SUDDEN_S, steps), _Course(self.step_s, _GRADUAL_S, steps))
        forget = 1 - math.exp(-self.step_s / (_FORGET_DAYS * _DAY))
        self._tails = (Tails(count, forget, _TAIL), Tails(count, forget, _TAIL))
        self._trust = Trust(self.step_s, steps)
        self._window = max(3, self._courses[1].lag + self._courses[1].width)
        self._past = np.full((self._window + 1, count), np.nan)
        self._together, self._power = np.zeros((count, count)), np.full(count, 1e-3)
        self._together_rate = 1 - math.exp(-self.step_s / (_TOGETHER_DAYS * _DAY))

    def _look(self, x: dict[str, float]) -> _Look:
        if self._cache is None or self._cache[0] != x:
            self._cache = dict(x), self._judge(x)
        return self._cache[1]

    def _judge(self, x: dict[str, float]) -> _Look:
        values = np.array([x.get(name, np.nan) for name in self._names])
        trusted = self._trust.smooth() & self._trust.plausible(values)
        deviations = tuple(c.deviation(self._past, values, self._step) for c in self._courses)
        sizes = [np.nan_to_num(np.abs(d)) / self._resolution for d in deviations]
        sizes[1] = sizes[1] * self._gradualness(values) * trusted
        sudden = np.minimum(self._tails[0].surprise(sizes[0]), _SUDDEN_CAP) * np.sign(np.nan_to_num(deviations[0]))
        gradual = np.minimum(self._tails[1].surprise(sizes[1]), _GRADUAL_CAP) * np.sign(np.nan_to_num(deviations[1]))
        sudden = self._storm(sudden * trusted * np.where(self._murky, _MURKY, 1.0))
        score = max(float(np.max(np.abs(gradual) * self._alone)), _SUDDEN_WEIGHT * self._corroborated(sudden))
        bend = self._trust.bend(values, self._past[-1], self._past[-2])
        return _Look(values, bend, (deviations[0], deviations[1]), (sizes[0], sizes[1]), sudden, gradual, score)

    def _gradualness(self, values: Floats) -> Floats:
        """1 for a change step by step in one direction, 0 for a single jump or for jitter."""
        track = np.vstack((self._past[len(self._past) - self._window :], values))
        there = ~np.isnan(track)
        steps = np.abs(np.diff(_filled(track), axis=0))
        path, largest = np.nansum(steps, axis=0), np.nanmax(np.nan_to_num(steps), axis=0)
        known = (path > self._resolution) & (there.sum(axis=0) > len(track) // 2)
        path = np.where(known, path, 1.0)
        first = _first(track)
        straight = np.abs(np.nan_to_num(values - first)) / path
        even = 1 - largest / path
        return np.where(known, np.clip((straight - 0.4) / 0.4, 0, 1) * np.clip((even - 0.35) / 0.25, 0, 1), 0.0)

    def _storm(self, sudden: Floats) -> Floats:
        """Turbidity up and conductance down is rain: both count less."""
        up, down = self._murky & (sudden > _STORM), self._salty & (sudden < -_STORM)
        return np.where(up | down, _STORM_SHARE, 1.0) * sudden if up.any() and down.any() else sudden

    def _corroborated(self, sudden: Floats) -> float:
        """The strongest channel and the second, less as far as they go together anyway."""
        size = np.abs(sudden)
        if len(size) == 1:
            return float(size[0])
        second, first = np.argsort(size, kind="stable")[-2:]
        alike = self._together[first, second] / math.sqrt(self._power[first] * self._power[second])
        alike *= np.sign(sudden[first] * sudden[second])
        return float(size[first] + size[second] * (1 - min(max(alike, 0.0), 1.0)))

    def _learn_together(self, sudden: Floats, there: Bools) -> None:
        evidence = np.sign(sudden) * np.minimum(np.sqrt(2 * np.abs(sudden)), 3.5)
        rate = self._together_rate
        self._power = np.where(there, self._power + rate * (evidence**2 - self._power), self._power)
        both = np.outer(there, there)
        self._together += np.where(both, rate * (np.outer(evidence, evidence) - self._together), 0.0)


def _filled(track: Floats) -> Floats:
    """Each gap filled with the value before it; NaN before the first value."""
    place = np.where(np.isnan(track), 0, np.arange(len(track))[:, None])
    np.maximum.accumulate(place, axis=0, out=place)
    return np.asarray(np.take_along_axis(track, place, axis=0))


def _first(track: Floats) -> Floats:
    """The first value of each column; NaN where there is none."""
    place = np.argmax(~np.isnan(track), axis=0)
    return np.asarray(track[place, np.arange(track.shape[1])])
