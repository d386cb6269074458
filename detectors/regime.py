"""Change of regime: how many channels have left their level, and how lately.

Each channel's robust residuals, within ±6, go through river's Page-Hinkley test (`river.drift.PageHinkley`; Page,
Biometrika 41, 1954), which says when their mean has moved. A change counts 1 and fades by the factor e in an hour; the
score is the sum over the channels, so that the threshold asks for two channels within half an hour. On residuals of an
hour's level Page-Hinkley found nearly twice as many events as ADWIN at as many false alarms; KSWIN found hardly any in
two channels, at twenty times the cost. On residuals of a day's level all of them tell of the sun.

river's drift detectors cannot be asked without being taught: what a sample proves, the score says with the next. They
are told of every sample, of those of an event too.

>>> detector = RegimeDetector(step_s=60, resolution={"ph": 0.01, "spcond": 1.0})
>>> for i in range(600):
...     detector.learn_one({"ph": 8 + 0.01 * (i % 3), "spcond": 900 + i % 5})
>>> detector.score_one({"ph": 8.01, "spcond": 902})
0.0
>>> for i in range(5):
...     detector.learn_one({"ph": 7.5, "spcond": 930})
>>> detector.score_one({"ph": 7.5, "spcond": 930}) > detector.threshold
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from river import base, drift

from detectors._residuals import Residuals

_WIDEST = 6.0
_MOST_NATS = 20.0


class RegimeDetector(base.AnomalyDetector):
    """Number of channels that changed regime lately, each fading.

    Args:
        step_s: seconds between samples.
        resolution: smallest step of each channel's instrument; channels not named get 1e-3 of their first value.
        roles: channels named "operation" are passed over.
        level_s: memory of a channel's level, seconds; eight steps at least.
        delta: shift that is borne with, spreads.
        change: sum of what is beyond it at which a change is told, spreads.
        fade_s: time in which a change fades by the factor e, seconds.
        threshold: score from which a sample is abnormal; more than 1, so that no channel can reach it alone.
    """

    gates_itself: ClassVar[bool] = True

    def __init__(
        self,
        *,
        step_s: float = 60.0,
        resolution: Mapping[str, float] | None = None,
        roles: Mapping[str, str] | None = None,
        level_s: float = 3600.0,
        delta: float = 2.0,
        change: float = 10.0,
        fade_s: float = 3600.0,
        threshold: float = 1.6,
    ) -> None:
        if not (delta > 0 and change > 0 and fade_s > 0):
            raise ValueError("delta, change and fade_s have to be more than 0")
        if threshold <= 1:
            raise ValueError(f"threshold {threshold} can be reached by one channel; it has to be more than 1")
        self.step_s, self.resolution, self.roles, self.level_s = step_s, resolution, roles, level_s
        self.delta, self.change, self.fade_s, self.threshold = delta, change, fade_s, threshold
        self._residuals = Residuals(step_s, resolution, roles, level_s)
        self._tests: dict[str, Any] = {}
        self._fresh: dict[str, float] = {}

    def learn_one(self, x: dict[Any, Any]) -> None:
        """Take the sample into the tests, then into every channel's level and spread."""
        faded = math.exp(-self.step_s / self.fade_s)
        self._fresh = {name: fresh * faded for name, fresh in self._fresh.items()}
        for name, z, _ in self._residuals.of(x):
            if name not in self._tests:
                self._tests[name] = drift.PageHinkley(delta=self.delta, threshold=self.change)
            self._tests[name].update(min(_WIDEST, max(-_WIDEST, z)))
            if self._tests[name].drift_detected:
                self._fresh[name] = 1.0
        self._residuals.learn(x)

    def score_one(self, x: dict[Any, Any]) -> float:
        """Sum of what is left of the changes of the channels that are there."""
        return sum((self._fresh[name] for name in sorted(self._fresh) if name in x), 0.0)

    def explain_one(self, x: dict[Any, Any]) -> dict[str, tuple[float, float]]:
        """Log-likelihood ratio of the change (2 delta change) in nats, faded, 20 at most, and expected value."""
        nats = min(_MOST_NATS, 2 * self.delta * self.change)
        return {name: (nats * self._fresh.get(name, 0.0), level) for name, _, level in self._residuals.of(x)}
