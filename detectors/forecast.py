"""Forecasts with the day's course in them: for rivers, at steps of some minutes to half an hour.

A channel's forecast is its own mean some time ago plus the change that this time of day has brought on the last days
(`detectors._course`). What the value adds to that is its deviation; how rare it is tells the channel's own histogram
(`detectors._tails`).
Two kinds of change are looked for:

- *sudden*, over half an hour: the two strongest channels count, the second less as the two go together by nature
  (`detectors._corroboration`); none counts for more than `_SUDDEN_CAP`, so that no channel is an event.
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
from math import copysign, isnan, nan
from typing import Any, NamedTuple

from river import base

from detectors._channels import finest, judged
from detectors._corroboration import Corroboration
from detectors._course import Course, Day, gradualness, mean
from detectors._tails import Tail
from detectors._trust import Sensor, faults_of, learn_all
from ewarn.parameters import parameter_of

_DAY = 86_400.0
_HORIZONS_S = 1800.0, 3600.0
"""How far back a forecast's mean lies, for sudden and for gradual changes; it is over `_BASE_S`."""
_BASE_S = 1800.0
_SUDDEN_WEIGHT, _SUDDEN_CAP, _GRADUAL_CAP = 0.9, 6.0, 30.0
_TAIL = 0.03
_FORGET_DAYS, _TOGETHER_DAYS = 30.0, 14.0
_LOUD = 12.0
_NATURAL = frozenset({"turbidity", "turbidity_ntu", "chl_a", "phycocyanin"})
_MURKY = 0.7
_RAIN, _RAIN_SHARE = 2.0, 0.3


class _View(NamedTuple):
    """One channel of a sample as the detector sees it; pairs hold the sudden change and the gradual one.

    Attributes:
        deviations: from the forecasts, NaN where unknown.
        sizes: what the histograms count of them.
        evidence: signed, in nats.
        believed: whether the sensor is, if there is evidence.
    """

    deviations: tuple[float, float]
    sizes: tuple[float, float]
    evidence: tuple[float, float]
    believed: bool


class _Look(NamedTuple):
    """A sample as the detector sees it, one place a channel; evidence with what is known of sensors and rain."""

    values: list[float]
    faults: list[tuple[str, ...]]
    views: list[_View]
    sudden: list[float]
    gradual: list[float]
    score: float


class _Channel:
    """One channel's past, forecasts and histograms.

    Args:
        name: of the channel.
        resolution: of its instrument.
        step_s: seconds between samples.
        day: its bins.
    """

    def __init__(self, name: str, resolution: float, step_s: float, day: Day) -> None:
        parameter = parameter_of(name) or name
        self.alone, self.murky = parameter not in _NATURAL, parameter.startswith("turbidity")
        self.salty = parameter in ("spcond", "conductivity")
        self._resolution = resolution
        self._lags = [max(1, round(horizon_s / step_s)) for horizon_s in _HORIZONS_S]
        self._width = max(1, round(_BASE_S / step_s))
        window = max(3, max(self._lags) + self._width)
        self.past, self._means = [nan] * (window + 1), [nan] * max(self._lags)
        self.sensor = Sensor(step_s, resolution, window - 1)
        forget = 1 - math.exp(-step_s / (_FORGET_DAYS * _DAY))
        self._courses = Course(day, resolution), Course(day, resolution)
        self._tails = Tail(forget, _TAIL), Tail(forget, _TAIL)

    def view(self, value: float, faults: tuple[str, ...], place: int) -> _View:
        """What a value says at a time of day; a gradual change, if the sensor is believed."""
        (sudden_lag, gradual_lag), (sudden_course, gradual_course) = self._lags, self._courses
        sudden_by = value - (self._means[-sudden_lag] + sudden_course.added[place])
        gradual_by = value - (self._means[-gradual_lag] + gradual_course.added[place])
        size, slow = self._size(sudden_by), self._size(gradual_by)
        if slow:
            slow *= gradualness([*self.past[1:], value], self._resolution)
        sudden = min(self._tails[0].surprise(size), _SUDDEN_CAP)
        believed = (sudden > 0 or slow > 0) and self.sensor.believed(faults)
        slow = slow if believed else 0.0
        gradual = min(self._tails[1].surprise(slow), _GRADUAL_CAP)
        evidence = copysign(sudden, sudden_by), copysign(gradual, gradual_by)
        return _View((sudden_by, gradual_by), (size, slow), evidence, believed)

    def learn(self, value: float, view: _View, place: int, *, held: bool) -> None:
        """Take a value and what was seen of it; held, only as what the next forecasts start from."""
        learners = zip(view.deviations, view.sizes, self._courses, self._tails, strict=True)
        for deviation, size, course, tail in () if held else learners:
            if not isnan(deviation):
                course.learn(deviation, place)
                tail.learn(size)
        self.past.append(value)
        self._means.append(mean(self.past[-self._width :]))
        del self.past[0], self._means[0]

    def _size(self, deviation: float) -> float:
        return 0.0 if isnan(deviation) else abs(deviation) / self._resolution


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
        self._channels: dict[str, _Channel] = {}
        self._step = 0
        self._before = 0.0
        self._cache: tuple[dict[str, float], _Look] | None = None
        if resolution:
            self._begin({name: res for name, res in resolution.items() if judged(name, self.roles)})

    def learn_one(self, x: dict[Any, Any]) -> None:
        """Take the sample into the forecasts, histograms and ranges."""
        self._take(x, held=False)

    def hold_one(self, x: dict[Any, Any]) -> None:
        """Forecast from the sample, and keep nothing of it for days."""
        self._take(x, held=True)

    def _take(self, x: dict[Any, Any], *, held: bool) -> None:
        if not self._channels:
            self._begin({name: finest(name, v, None) for name, v in x.items() if judged(name, self.roles)})
        if not self._channels:
            return
        look, channels = self._look(x), self._channels.values()
        learn_all([c.sensor for c in channels], look.values, look.faults, [c.past for c in channels], held=held)
        place = self._day.bin(self._step)
        for channel, value, view in zip(channels, look.values, look.views, strict=True):
            channel.learn(value, view, place, held=held)
        if look.score < _LOUD and not held:
            self._corroboration.learn(look.sudden, [not isnan(value) for value in look.values])
        self._before, self._cache = look.score, None
        self._step += 1

    def score_one(self, x: dict[Any, Any]) -> float:
        """Evidence that the water is abnormal, in this sample and the one before, nats."""
        return min(self._look(x).score, self._before) if self._channels else 0.0

    def explain_one(self, x: dict[str, float]) -> dict[str, tuple[float, float]]:
        """Evidence in nats and expected value, by channel."""
        if not self._channels:
            return {}
        look = self._look(x)
        nats = [max(abs(sudden), abs(gradual)) for sudden, gradual in zip(look.sudden, look.gradual, strict=True)]
        expected = [value - view.deviations[1] for value, view in zip(look.values, look.views, strict=True)]
        told = zip(self._channels, nats, expected, strict=True)
        return {name: (strength, usual) for name, strength, usual in told if not isnan(usual)}

    def doubt_one(self, x: dict[Any, Any]) -> dict[str, str]:
        """Channels whose sensor seems to fail since lately, and how: see `detectors._trust`."""
        if not self._channels:
            return {}
        doubts = {}
        for (name, channel), faults in zip(self._channels.items(), self._look(x).faults, strict=True):
            if faults and (news := channel.sensor.news(faults)):
                doubts[name] = news[0]
        return doubts

    def _begin(self, resolution: Mapping[str, float]) -> None:
        self._day = Day(self.step_s)
        self._channels = {n: _Channel(n, resolution[n], self.step_s, self._day) for n in sorted(resolution)}
        rate = 1 - math.exp(-self.step_s / (_TOGETHER_DAYS * _DAY))
        self._corroboration = Corroboration(len(resolution), rate)

    def _look(self, x: dict[str, float]) -> _Look:
        if self._cache is None or self._cache[0] != x:
            self._cache = dict(x), self._judge(x)
        return self._cache[1]

    def _judge(self, x: dict[str, float]) -> _Look:
        channels, place = list(self._channels.values()), self._day.bin(self._step)
        values = [x.get(name, nan) for name in self._channels]
        faults = faults_of([c.sensor for c in channels], values, [c.past for c in channels])
        views = [c.view(value, told, place) for c, value, told in zip(channels, values, faults, strict=True)]
        sudden, gradual = self._weighed(channels, views)
        alone = max(abs(nats) * channel.alone for channel, nats in zip(channels, gradual, strict=True))
        score = max(alone, _SUDDEN_WEIGHT * self._corroboration.of(sudden))
        return _Look(values, faults, views, sudden, gradual, score)

    def _weighed(self, channels: list[_Channel], views: list[_View]) -> tuple[list[float], list[float]]:
        """The evidence as far as it counts: sensors have to be believed, and turbidity counts less, as does rain.

        Turbidity up, however far, and conductance down is rain.
        """
        up = [c.murky and max(v.evidence) > _RAIN for c, v in zip(channels, views, strict=True)]
        down = [c.salty and min(v.evidence) < -_RAIN for c, v in zip(channels, views, strict=True)]
        rains = any(up) and any(down)
        rain = [_RAIN_SHARE if rains and (rises or falls) else 1.0 for rises, falls in zip(up, down, strict=True)]
        murk = [_MURKY if channel.murky else 1.0 for channel in channels]
        sudden = [v.evidence[0] * v.believed * r * m for v, r, m in zip(views, rain, murk, strict=True)]
        return sudden, [v.evidence[1] * r for v, r in zip(views, rain, strict=True)]
