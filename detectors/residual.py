"""Robust residuals, corroborated: the transparent detector for treated water.

Each channel is compared with its own level and spread (`detectors._robust`). Its evidence is a, how many spreads it is
off, bent over softly at `cap`; the score is the square of the mean of the two largest, which for two alike is the sum
of their nats, a²/2 each. Two that agree so count more than one that is far off and one that hardly moved: the tails of
water's residuals are nearer to exponential than to normal.

One channel alone stays below the threshold whatever it does: what a single sensor says is not an event of the water.
Another one has to show more than chance gives, and the more there are the more. While an event lasts its weaker
channel may fade. With `alone` there is one exception: a channel that leaves its level straight on for a quarter of an
hour or an hour (`detectors._trend`) counts by how far it goes, and needs no other. That is for treated water, where one
dosing line moves one channel; it takes a sensor that drifts within the hour for an event.

While a sample is above the threshold, levels and spreads are held, for half an hour at most: a change that stays
becomes normal, by three spreads an hour.

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
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from river import base

from detectors._channels import finest, judged
from detectors._robust import Track
from detectors._trend import Trend

_SPREAD_S = 2 * 86400.0
_KNOWN_S = 30 * 60.0
_LEAST_STEPS = 3
_HOLD_S = 1800.0
_TREND_S = (60.0, 240.0)
"""From point to point of the two lines, seconds."""
_BEND = 0.5
_AWAY, _WEIGHT, _TREND_CAP, _TREND_BEND, _ENOUGH = 5.0, 1.2, 10.0, 2.0, 9.0
_CHANCE = 0.1
_LASTS, _OF_LAST = 2, 4
_ALONE = 0.78
"""Share of the threshold that what no second channel bears out stays below."""
_LOUD = 5.0


@dataclass(slots=True)
class _Channel:
    """What is known of one channel."""

    track: Track
    trends: list[Trend]

    def learn(self, value: float | None, *, held: bool) -> None:
        for trend in self.trends:
            trend.miss() if value is None else trend.learn(value)
        if held:
            return
        if value is None:
            self.track.miss()
        else:
            self.track.learn(value)

    def going(self, value: float, z: float) -> float:
        """Evidence of a straight way off its level, spreads; 0 near the level and on the way back to it."""
        if abs(z) <= _AWAY:
            return 0.0
        ways = [math.copysign(way, way * z) for way in (trend.towards(value) for trend in self.trends)]
        return _bend(_WEIGHT * max(0.0, *ways), _TREND_CAP, _TREND_BEND) if ways else 0.0


@dataclass(frozen=True, slots=True)
class _Look:
    """A sample as the detector sees it: evidence and expected value by channel, and the score."""

    evidence: dict[str, tuple[float, float]]
    score: float
    alone: str = ""


class ResidualDetector(base.AnomalyDetector):
    """Square of the mean of the two strongest channels' evidence.

    Args:
        step_s: seconds between samples.
        resolution: smallest step of each channel's instrument; channels not named get 1e-3 of their first value.
        roles: channels named "operation" are passed over.
        level_s: memory of a channel's level, seconds; three steps at least.
        cap: where a channel's evidence bends over, spreads.
        threshold: score from which a sample is abnormal; one channel alone must not come near.
        alone: whether a channel that goes straight on needs no other.
    """

    gates_itself: ClassVar[bool] = True

    def __init__(
        self,
        *,
        step_s: float = 60.0,
        resolution: Mapping[str, float] | None = None,
        roles: Mapping[str, str] | None = None,
        level_s: float = 3600.0,
        cap: float = 8.0,
        threshold: float = 27.5,
        alone: bool = False,
    ) -> None:
        if not (cap > 0 and level_s > 0):
            raise ValueError("cap and level_s have to be more than 0")
        if not _ALONE * threshold > ((cap + _BEND) / 2) ** 2:
            least = ((cap + _BEND) / 2) ** 2 / _ALONE
            raise ValueError(f"threshold {threshold} can be reached by one channel; it has to be more than {least:.1f}")
        self.step_s, self.resolution, self.roles, self.level_s = step_s, resolution, roles, level_s
        self.cap, self.threshold, self.alone = cap, threshold, alone
        self._channels: dict[str, _Channel] = {}
        self._held = 0
        self._recent: deque[bool] = deque(maxlen=_OF_LAST)
        self._cache: tuple[dict[str, float], _Look] | None = None

    def learn_one(self, x: dict[Any, Any]) -> None:
        """Take the sample into every channel's course, and, unless it is abnormal, into level and spread."""
        suspected = self._look(x).score >= self.threshold
        held = suspected and self._held < _HOLD_S / self.step_s
        self._held = self._held + held if suspected else max(0, self._held - 1)
        self._recent.append(suspected)
        for name, value in x.items():
            if name not in self._channels and judged(name, self.roles):
                self._channels[name] = self._new(name, value)
        for name, channel in self._channels.items():
            channel.learn(x.get(name), held=held)
        self._cache = None

    def score_one(self, x: dict[Any, Any]) -> float:
        """How far the two strongest channels are off, in nats where both are alike."""
        return self._look(x).score

    def explain_one(self, x: dict[str, float]) -> dict[str, tuple[float, float]]:
        """Evidence in nats and expected value, by channel."""
        return {name: (a * a / 2, expected) for name, (a, expected) in self._look(x).evidence.items()}

    def doubt_one(self, x: dict[Any, Any]) -> dict[str, str]:
        """A channel that is far off, did not go there as water does, and is borne out by no other."""
        alone = self._look(x).alone
        return {alone: "jump"} if alone else {}

    def _new(self, name: str, value: float) -> _Channel:
        floor = finest(name, value, self.resolution)
        track = Track(self.step_s, max(self.level_s, _LEAST_STEPS * self.step_s), _SPREAD_S, floor)
        every = sorted({max(1, round(seconds / self.step_s)) for seconds in _TREND_S}) if self.alone else []
        return _Channel(track, [Trend(self.step_s, n, _SPREAD_S, floor) for n in every])

    def _look(self, x: dict[str, float]) -> _Look:
        if self._cache is None or self._cache[0] != x:
            self._cache = dict(x), self._judge(x)
        return self._cache[1]

    def _judge(self, x: dict[str, float]) -> _Look:
        evidence: dict[str, tuple[float, float]] = {}
        first, second, strongest, straight = 0.0, 0.0, "", False
        for name, channel in self._channels.items():
            track, value = channel.track, x.get(name)
            if value is None or track.seen_s < _KNOWN_S:
                continue
            z = track.residual(value)
            way = channel.going(value, z)
            a = max(_bend(abs(z), self.cap, _BEND), way)
            evidence[name] = a, track.level
            straight = straight or way >= _ENOUGH
            if a > first:
                first, second, strongest = a, first, name
            elif a > second:
                second = a
        score = ((first + second) / 2) ** 2
        wanted = self._wanted(len(evidence))
        if second >= wanted or straight or sum(self._recent) >= _LASTS:
            return _Look(evidence, score)
        most = ((self.cap + _BEND + wanted) / 2) ** 2
        share = min(1.0, _ALONE * self.threshold / most)
        return _Look(evidence, score * share, strongest if first >= _LOUD else "")

    @staticmethod
    def _wanted(channels: int) -> float:
        """Spreads that by chance one of the others shows once in ten samples, if tails are exponential (Laplace's)."""
        return math.log(max(channels - 1, 1) / _CHANCE) / math.sqrt(2)


def _bend(a: float, cap: float, more: float) -> float:
    """The value up to the cap, then towards cap + more without ever reaching it."""
    return a if a <= cap else cap + more - more / (1 + math.log1p((a - cap) / cap))
