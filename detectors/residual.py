"""Robust residuals, corroborated: the transparent detector.

Each channel is compared with its own level and spread (`detectors._robust`). Its evidence is u = z²/2, the exponent
of a normal density, bent over softly at `cap`; the score is the sum of the two largest. One channel alone stays below
the threshold whatever it does: what a single sensor says is not an event of the water. The bend is strictly monotone,
so stronger events score higher for ever.

Corroboration is the idea of the US EPA's CANARY (binomial event discriminator over channels, EPA/600/R-10/036); the
clipped update is Huber's (Ann. Math. Stat. 35, 1964).

>>> detector = ResidualDetector(step_s=60, resolution={"ph": 0.01, "spcond": 1.0})
>>> for i in range(600):
...     detector.learn_one({"ph": 8 + 0.01 * (i % 3), "spcond": 900 + i % 5})
>>> quiet, one, two = {"ph": 8.01, "spcond": 902}, {"ph": 6.0, "spcond": 902}, {"ph": 6.0, "spcond": 1500}
>>> detector.score_one(quiet) < 1
True
>>> detector.score_one(one) < detector.threshold < detector.score_one(two)
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from detectors._robust import Track

_SPREAD_S = 3 * 86400.0
_KNOWN_S = 30 * 60.0


class ResidualDetector:
    """Sum of the two strongest channels' evidence, in nats.

    Args:
        step_s: seconds between samples.
        resolution: smallest step of each channel's instrument; channels not named get 1e-3 of their first value.
        roles: channels named "operation" are passed over.
        level_s: memory of a channel's level, seconds; eight steps at least.
        cap: where a channel's evidence bends over, nats.
        threshold: score from which a sample is abnormal; more than `cap` + 2, so that no channel can reach it alone.
    """

    def __init__(
        self,
        *,
        step_s: float = 60.0,
        resolution: Mapping[str, float] | None = None,
        roles: Mapping[str, str] | None = None,
        level_s: float = 3600.0,
        cap: float = 20.0,
        threshold: float = 22.4,
    ) -> None:
        if not (cap > 0 and level_s > 0):
            raise ValueError("cap and level_s have to be more than 0")
        if threshold <= cap + 2:
            raise ValueError(f"threshold {threshold} can be reached by one channel; it has to be more than cap + 2")
        self.threshold, self._cap, self._step = threshold, cap, step_s
        self._resolution, self._roles = dict(resolution or {}), dict(roles or {})
        self._level_s = max(level_s, 8 * step_s)
        self._tracks: dict[str, Track] = {}

    def learn_one(self, x: dict[str, float]) -> None:
        """Take the sample into every channel's level and spread."""
        for name, value in x.items():
            track = self._tracks.get(name)
            if track is None:
                if self._roles.get(name) == "operation":
                    continue
                track = self._tracks[name] = self._new(name, value)
            track.learn(value)
        if len(x) < len(self._tracks):
            for name, track in self._tracks.items():
                if name not in x:
                    track.miss()

    def score_one(self, x: dict[str, float]) -> float:
        """Sum of the two largest evidences, nats."""
        first = second = 0.0
        for name, track in self._tracks.items():
            value = x.get(name)
            if value is None or track.seen_s < _KNOWN_S:
                continue
            u = self._bend(track.residual(value))
            if u > first:
                first, second = u, first
            elif u > second:
                second = u
        return first + second

    def explain_one(self, x: dict[str, float]) -> dict[str, tuple[float, float]]:
        """Evidence in nats and expected value, by channel."""
        return {
            name: (self._bend(track.residual(x[name])), track.level)
            for name, track in self._tracks.items()
            if name in x and track.seen_s >= _KNOWN_S
        }

    def _new(self, name: str, value: float) -> Track:
        floor = self._resolution.get(name) or max(abs(value) * 1e-3, 1e-9)
        return Track(self._step, self._level_s, _SPREAD_S, floor)

    def _bend(self, z: float) -> float:
        """z²/2 up to the cap, then towards cap + 2 without ever reaching it."""
        u = z * z / 2
        if u <= self._cap:
            return u
        return self._cap + 2 - 2 / (1 + math.log1p((u - self._cap) / self._cap))
