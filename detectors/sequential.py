"""A sequential test: large events at once, small ones by accumulation.

Page's cumulative sum (Biometrika 41, 1954), two-sided, of each channel's robust residual z. What a sample adds is its
log-likelihood ratio against normal water under the shift that fits it best, z²/2 nats, as in the generalised test of
Lorden (Ann. Math. Stat. 42, 1971), with the sign of z; what every sample takes away is `drift` nats. A sum at 0 has
forgotten the past (Wald's test begun anew, Ann. Math. Stat. 16, 1945). So the delay varies with the size: a shift of
z = 7 in two channels is past the threshold at once, one of z = 4 after some samples, and what stays below
z = √(2 drift) never sums up.

Beyond `cap` and `ceiling` what is added and what is summed up grow by their logarithm only, and the two largest sums
are added: one channel stays below the threshold for ever, stronger events still score higher, and after an event the
sums are down again within ceiling / drift samples. They have to be told of every sample, of those of an event too.

>>> detector = SequentialDetector(step_s=60, resolution={"ph": 0.01, "spcond": 1.0})
>>> for i in range(600):
...     detector.learn_one({"ph": 8 + 0.01 * (i % 3), "spcond": 900 + i % 5})
>>> quiet, one, two = {"ph": 8.01, "spcond": 902}, {"ph": 6.0, "spcond": 902}, {"ph": 6.0, "spcond": 1500}
>>> detector.score_one(quiet)
0.0
>>> detector.score_one(one) < detector.threshold <= detector.score_one(two)
True
>>> small, steps = {"ph": 8.05, "spcond": 908}, []
>>> for _ in range(20):
...     steps.append(detector.score_one(small) >= detector.threshold)
...     detector.learn_one(small)
>>> 2 < steps.index(True) < 12
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from river import base

from detectors._residuals import Residuals

_BEYOND = 5.0
"""A sum of more than `ceiling` + 4.2 cannot be: residuals are within a million spreads."""


class SequentialDetector(base.AnomalyDetector):
    """Sum of the two channels with the largest cumulative sums, nats.

    Args:
        step_s: seconds between samples.
        resolution: smallest step of each channel's instrument; channels not named get 1e-3 of their first value.
        roles: channels named "operation" are passed over.
        level_s: memory of a channel's level, seconds; eight steps at least.
        cap: where what one sample adds to a sum bends over, nats.
        drift: what every sample takes from a sum, nats.
        ceiling: where a sum bends over, nats.
        threshold: score from which a sample is abnormal; `ceiling` + 5 at least, so that no channel can reach it alone.
    """

    gates_itself: ClassVar[bool] = True

    def __init__(
        self,
        *,
        step_s: float = 60.0,
        resolution: Mapping[str, float] | None = None,
        roles: Mapping[str, str] | None = None,
        level_s: float = 3600.0,
        cap: float = 30.0,
        drift: float = 4.0,
        ceiling: float = 24.0,
        threshold: float = 30.0,
    ) -> None:
        if not 0 < drift < cap:
            raise ValueError(f"drift {drift} has to be more than 0 and less than cap {cap}")
        if not 0 < ceiling + _BEYOND <= threshold < 2 * ceiling:
            raise ValueError(
                f"threshold {threshold} has to be ceiling + {_BEYOND:g} = {ceiling + _BEYOND:g} at least, else one "
                f"channel reaches it, and less than {2 * ceiling:g}"
            )
        self.step_s, self.resolution, self.roles, self.level_s = step_s, resolution, roles, level_s
        self.cap, self.drift, self.ceiling, self.threshold = cap, drift, ceiling, threshold
        self._residuals = Residuals(step_s, resolution, roles, level_s)
        self._sums: dict[str, tuple[float, float]] = {}

    def learn_one(self, x: dict[Any, Any]) -> None:
        """Take the sample into the sums, then into every channel's level and spread."""
        sums = {name: self._added(name, z) for name, z, _ in self._residuals.of(x)}
        # A channel that says nothing loses what it had summed up, as if it were quiet.
        missing = {name: self._added(name, 0.0) for name in self._sums if name not in sums}
        self._sums = sums | missing
        self._residuals.learn(x)

    def score_one(self, x: dict[Any, Any]) -> float:
        """Sum of the two largest cumulative sums with this sample in them, nats."""
        sums = sorted(max(self._added(name, z)) for name, z, _ in self._residuals.of(x))
        return sum(sums[-2:], 0.0)

    def explain_one(self, x: dict[Any, Any]) -> dict[str, tuple[float, float]]:
        """Cumulative sum in nats and expected value, by channel."""
        return {name: (max(self._added(name, z)), expected) for name, z, expected in self._residuals.of(x)}

    def _added(self, name: str, z: float) -> tuple[float, float]:
        """The channel's sums of rises and of falls after a residual."""
        up, down = self._sums.get(name, (0.0, 0.0))
        nats = math.copysign(_bent(z * z / 2, self.cap), z)
        return self._summed(up + nats), self._summed(down - nats)

    def _summed(self, value: float) -> float:
        return _bent(max(0.0, value - self.drift), self.ceiling)


def _bent(value: float, limit: float) -> float:
    """The value, beyond the limit its logarithm only."""
    return value if value <= limit else limit + math.log1p(value - limit)
