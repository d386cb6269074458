"""Forecasts with the day's course in them: for rivers, at steps of some minutes to half an hour.

A channel's forecast is its own mean some time ago plus the change that this time of day has brought on the last days.
What the value adds to that is its deviation; how rare it is tells the channel's own histogram (`detectors._tails`).
Two kinds of change are looked for:

- *sudden*, over half an hour: the two strongest channels count, the second less as the two go together by nature
  (the correlation of their past evidence); none counts for more than `_SUDDEN_CAP`, so that no channel is an event.
- *gradual*, over an hour: one channel suffices, if it rises or falls as water does, step by step in one direction. A
  jump, a spike or jitter is what sensors do. Turbidity and algae alone are nature's, and count only beside others.

Rain, which muddies and thins a river, is recognised by turbidity rising as conductance falls; both count less then.
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
from detectors._trust import REASONS, Trust
from ewarn.parameters import parameter_of

_DAY = 86_400.0
_SUDDEN_S, _GRADUAL_S, _BASE_S = 1800.0, 3600.0, 1800.0
_SUDDEN_WEIGHT, _SUDDEN_CAP, _GRADUAL_CAP = 0.9, 6.0, 30.0
_TAIL = 0.03
_FORGET_DAYS, _COURSE_DAYS, _TOGETHER_DAYS = 30.0, 4.0, 14.0
_BINS_A_DAY = 96
_CLIP = 4.0
_LOUD = 12.0
_NATURAL = frozenset({"turbidity", "turbidity_ntu", "chl_a", "phycocyanin"})
_MURKY = 0.7
_RAIN, _RAIN_SHARE = 2.0, 0.3


@dataclass(frozen=True, slots=True)
class _Look:
    """A sample as the detector sees it. Arrays have one place a channel; evidence is signed, in nats.

    `sizes` are the deviations as the histograms count them, of sudden changes and then of gradual ones.
    """

    values: Floats
    bend: Floats
    deviations: tuple[Floats, Floats]
    sizes: Floats
    sudden: Floats
    gradual: Floats
    faults: Bools
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
        self._tails.learn(look.sizes, ~np.isnan(np.concatenate(look.deviations)))
        for course, deviation in zip(self._courses, look.deviations, strict=True):
            course.learn(deviation, self._step)
        if look.score < _LOUD:
            self._learn_together(look.sudden, there)
        self._trust.learn(look.values, look.bend, look.faults, self._past[-1])
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

    def doubt_one(self, x: dict[Any, Any]) -> dict[str, str]:
        """Channels whose sensor seems to fail since lately, and how: see `detectors._trust`."""
        if not self._names:
            return {}
        news = self._trust.news(self._look(x).faults)
        return {n: REASONS[int(np.argmax(news[:, i]))] for i, n in enumerate(self._names) if news[:, i].any()}

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
        self._tails = Tails(2 * count, forget, _TAIL)
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
        faults = self._trust.faults(values, self._past)
        trusted = self._trust.smooth() & ~faults[:2].any(axis=0) & ~self._trust.held(self._past)
        sudden_by, gradual_by = (c.deviation(self._past, values, self._step) for c in self._courses)
        signed = np.concatenate((sudden_by / self._resolution, gradual_by / self._resolution))
        signed = np.where(np.isnan(signed), 0.0, signed)
        signed[len(values) :] *= self._gradualness(values) * trusted
        sizes = np.abs(signed)
        nats = self._tails.surprise(sizes) * np.sign(signed)
        sudden = np.clip(nats[: len(values)], -_SUDDEN_CAP, _SUDDEN_CAP)
        gradual = np.clip(nats[len(values) :], -_GRADUAL_CAP, _GRADUAL_CAP)
        rain = self._rain(sudden, gradual)
        sudden, gradual = sudden * trusted * rain * np.where(self._murky, _MURKY, 1.0), gradual * rain
        score = max(float(np.max(np.abs(gradual) * self._alone)), _SUDDEN_WEIGHT * self._corroborated(sudden))
        bend = self._trust.bend(values, self._past[-1], self._past[-2])
        return _Look(values, bend, (sudden_by, gradual_by), sizes, sudden, gradual, faults, score)

    def _gradualness(self, values: Floats) -> Floats:
        """1 for a change step by step in one direction, 0 for a single jump or for jitter."""
        track = np.vstack((self._past[len(self._past) - self._window :], values))
        there = ~np.isnan(track)
        steps = np.abs(np.diff(_filled(track, there), axis=0))
        steps = np.where(np.isnan(steps), 0.0, steps)
        path = steps.sum(axis=0)
        known = there[-1] & (path > self._resolution) & (2 * there.sum(axis=0) > len(track))
        path = np.where(known, path, 1.0)
        straight = np.where(known, np.abs(values - _first(track, there)), 0.0) / path
        even = 1 - steps.max(axis=0) / path
        return np.asarray(known * _ramp(straight, 0.4, 0.8) * _ramp(even, 0.35, 0.6))

    def _rain(self, sudden: Floats, gradual: Floats) -> Floats:
        """Weights: turbidity up, however far, and conductance down is rain, whose channels count less."""
        up = self._murky & (np.maximum(sudden, gradual) > _RAIN)
        down = self._salty & (np.minimum(sudden, gradual) < -_RAIN)
        return np.where((up | down) & up.any() & down.any(), _RAIN_SHARE, 1.0)

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


def _ramp(x: Floats, low: float, high: float) -> Floats:
    """0 up to `low`, 1 from `high` on, straight between."""
    return np.asarray(np.minimum(np.maximum((x - low) / (high - low), 0.0), 1.0))


def _filled(track: Floats, there: Bools) -> Floats:
    """Each gap filled with the value before it; NaN before the first value."""
    if there.all():
        return track
    place = np.where(there, np.arange(len(track))[:, None], 0)
    np.maximum.accumulate(place, axis=0, out=place)
    return np.asarray(np.take_along_axis(track, place, axis=0))


def _first(track: Floats, there: Bools) -> Floats:
    """The first value of each column; NaN where there is none."""
    place = np.argmax(there, axis=0)
    return np.asarray(track[place, np.arange(track.shape[1])])
