"""Residuals of river's Holt-Winters forecasts: the baseline that a streaming library offers out of the box.

Each channel is forecast one step ahead by exponential smoothing of its level, its trend and, if wanted, its course over
the day (Holt 1957, reprinted in Int. J. Forecasting 20, 2004; Winters, Manag. Sci. 6, 1960; river's
`time_series.HoltWinters`). The residual z is in units of its own spread, an exponential mean square of residuals
clipped at three spreads (Huber, Ann. Math. Stat. 35, 1964). The score is the sum of z² over the channels: there is no
corroboration, one sensor that jumps reaches the threshold.

A channel that was gone for half an hour begins anew, its spread excepted.

>>> detector = HoltWintersDetector(step_s=60, resolution={"ph": 0.01, "spcond": 1.0})
>>> for i in range(600):
...     detector.learn_one({"ph": 8 + 0.01 * (i % 3), "spcond": 900 + i % 5})
>>> detector.score_one({"ph": 8.01, "spcond": 902}) < 5
True
>>> detector.score_one({"ph": 7.0, "spcond": 902}) > detector.threshold
True
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from river import base, time_series

from detectors._channels import finest, judged

_DAY_S = 86_400.0
_SPREAD_S = 3 * _DAY_S
_GAP_S = 30 * 60.0
_CLIP, _CONSISTENCY = 3.0, 1.15
_KNOWN = 30
_FARTHEST = 1e6
_MOST_A_DAY = 288
_MODEL: Any = time_series.HoltWinters


class _Channel:
    """Forecasts of one channel and the spread of what they miss by."""

    __slots__ = ("_absent", "_floor", "_model", "_seen", "_settings", "_square", "residuals")

    def __init__(self, settings: dict[str, Any], floor: float) -> None:
        self._settings, self._floor = settings, floor
        self._square, self.residuals = (2 * floor) ** 2, 0
        self._begin()

    def _begin(self) -> None:
        self._model: Any = _MODEL(**self._settings)
        self._seen, self._absent = 0, 0

    def forecast(self) -> float | None:
        """The next value; None while the model has not seen enough."""
        if self._seen < max(2, self._settings["seasonality"]):
            return None
        return float(self._model.forecast(1)[0])

    def residual(self, value: float, forecast: float) -> float:
        """In spreads."""
        z = (value - forecast) / max(math.sqrt(self._square), self._floor)
        return min(_FARTHEST, max(-_FARTHEST, z))

    def learn(self, value: float, rate: float) -> None:
        """Take a value; `rate` is what a sample weighs in the spread."""
        forecast = self.forecast()
        if forecast is not None:
            self.residuals += 1
            bound = _CLIP * max(math.sqrt(self._square), self._floor)
            missed = min(bound, max(-bound, value - forecast))
            self._square += max(rate, 1 / self.residuals) * (_CONSISTENCY * missed * missed - self._square)
        self._model.learn_one(value)
        self._seen, self._absent = self._seen + 1, 0

    def miss(self, most: float) -> None:
        """A sample had no value; after `most` such samples in a row the model begins anew."""
        self._absent += 1
        if self._absent > most:
            self._begin()
        elif self._settings["seasonality"] and (forecast := self.forecast()) is not None:
            # The season goes by samples: what is missing keeps its place in the day.
            self._model.learn_one(forecast)


class HoltWintersDetector(base.AnomalyDetector):
    """Sum of the squared residuals of all channels, in spreads squared.

    Args:
        step_s: seconds between samples.
        resolution: smallest step of each channel's instrument; channels not named get 1e-3 of their first value.
        roles: channels named "operation" are passed over.
        level: weight of a value in the level, more than 0, at most 1.
        trend: weight of a change of the level in the trend, 0 for none.
        season: weight of a value in its time of day's part, 0 for none; wants a trend, and steps of five minutes at
            least that divide the day. A channel is then judged from its second day on.
        threshold: score from which a sample is abnormal.
    """

    def __init__(
        self,
        *,
        step_s: float = 60.0,
        resolution: Mapping[str, float] | None = None,
        roles: Mapping[str, str] | None = None,
        level: float = 0.3,
        trend: float = 0.1,
        season: float = 0.0,
        threshold: float = 100.0,
    ) -> None:
        if not (0 < level <= 1 and 0 <= trend <= 1 and 0 <= season <= 1):
            raise ValueError("level, trend and season are weights, 0 to 1, level more than 0")
        if season and not (trend and _DAY_S % step_s == 0 and _DAY_S / step_s <= _MOST_A_DAY):
            raise ValueError("season wants a trend, and steps of five minutes at least that divide the day")
        self.step_s, self.resolution, self.roles = step_s, resolution, roles
        self.level, self.trend, self.season, self.threshold = level, trend, season, threshold
        self._settings = {
            "alpha": level, "beta": trend or None, "gamma": season or None,
            "seasonality": round(_DAY_S / step_s) if season else 0,
        }  # fmt: skip
        self._rate = 1 - math.exp(-step_s / _SPREAD_S)
        self._channels: dict[str, _Channel] = {}

    def learn_one(self, x: dict[Any, Any]) -> None:
        """Take the sample into every channel's forecasts and spread."""
        for name, value in x.items():
            if name not in self._channels:
                if not judged(name, self.roles):
                    continue
                self._channels[name] = _Channel(self._settings, finest(name, value, self.resolution))
            self._channels[name].learn(value, self._rate)
        for name, channel in self._channels.items():
            if name not in x:
                channel.miss(_GAP_S / self.step_s)

    def score_one(self, x: dict[Any, Any]) -> float:
        """Sum of squared residuals."""
        return sum((z * z for _, z, _ in self._look(x)), 0.0)

    def explain_one(self, x: dict[Any, Any]) -> dict[str, tuple[float, float]]:
        """z²/2, in nats if residuals were normal, and the forecast, by channel."""
        return {name: (z * z / 2, forecast) for name, z, forecast in self._look(x)}

    def _look(self, x: dict[Any, Any]) -> Iterator[tuple[str, float, float]]:
        for name in sorted(x):
            channel = self._channels.get(name)
            if channel is not None and channel.residuals >= _KNOWN and (forecast := channel.forecast()) is not None:
                yield name, channel.residual(x[name], forecast), forecast
