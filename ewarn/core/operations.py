"""What operational channels bring with them: pumps, flows, doses and levels explain changes, as far as they usually do.

For every operational channel and every other one it learns how much evidence the other shows within half an hour after
the first moved, in four parts of that time. A change that stays within what is usual here is explained; what goes
beyond is not. Nothing is explained before an operation was seen some times, and explanation damps, it never silences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ewarn.contracts import Evidence, Millis

_LAG_S = 1800.0
_BINS = 4
_LEVEL_S = 3600.0
_NOISE_S = 3 * 86_400.0
_FAR = 6.0
_CLIP = 3.0
_TIMES = 4
_MEMORY = 20
_MOST_NATS = 12.0


@dataclass(slots=True)
class _Signal:
    """Level and usual departure of one operational channel, and when it last moved."""

    floor: float
    level: float | None = None
    departure: float = 0.0
    moved: Millis | None = None
    count: int = 0

    def moves(self, value: float) -> bool:
        """Whether the value is far from the level."""
        known = self.level is not None and self.count > _MEMORY
        return known and abs(value - (self.level or 0.0)) > _FAR * max(self.departure, self.floor)

    def learn(self, value: float, step_s: float) -> None:
        if self.level is None:
            self.level = value
        usual = max(self.departure, self.floor)
        off = value - self.level
        self.level += min(1.0, step_s / _LEVEL_S) * off
        self.departure += min(1.0, step_s / _NOISE_S + 1 / (self.count + 2)) * (min(abs(off), _CLIP * usual) - usual)
        self.count += 1


@dataclass(slots=True)
class _Usual:
    """What one channel shows in one part of the time after one operation moved."""

    nats: float = 0.0
    moves: int = 0
    _count: int = 0
    _last: Millis | None = None

    def learn(self, nats: float, began: Millis | None) -> None:
        self._count += 1
        self.nats += (nats - self.nats) / min(self._count, _MEMORY)
        self.moves += began != self._last
        self._last = began


@dataclass(slots=True)
class Operations:
    """Learns and says what the station's operational channels explain.

    Args:
        resolution: of each operational channel.
        step_s: seconds between samples.
    """

    resolution: Mapping[str, float]
    step_s: float
    _signals: dict[str, _Signal] = field(init=False)
    _usual: dict[tuple[str, int], dict[str, _Usual]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._signals = {name: _Signal(2 * step) for name, step in self.resolution.items()}

    def moved(self, time: Millis) -> frozenset[str]:
        """Operational channels that moved within the last half hour, or two steps."""
        return frozenset(name for name, s in self._signals.items() if self._bin(s, time) is not None)

    def explained(self, time: Millis, evidence: Iterable[Evidence]) -> float:
        """Share of the evidence that is usual after what moved, 0 to 1."""
        told = {e.channel: e.score for e in evidence if e.channel not in self._signals}
        if not told:
            return 0.0
        total = sum(told.values())
        usual = dict.fromkeys(told, 0.0)
        for name in self.moved(time):
            for channel, known in self._response(name, time).items():
                if channel in usual and known.moves >= _TIMES:
                    usual[channel] = max(usual[channel], known.nats)
        return sum(min(told[c], usual[c]) for c in told) / total if total > 0 else 0.0

    def take(self, time: Millis, x: Mapping[str, float]) -> None:
        """Take a sample's operational values."""
        for name, signal in self._signals.items():
            if name not in x:
                continue
            if signal.moves(x[name]):
                # Where it is now is its level from here on: the lag counts from the begin of a move.
                signal.moved, signal.level = time, x[name]
            signal.learn(x[name], self.step_s)

    def learn(self, time: Millis, accounts: Mapping[str, float]) -> None:
        """Learn what the other channels showed, in nats, after what moved lately."""
        for name in self.moved(time):
            response, began = self._response(name, time), self._signals[name].moved
            for channel, nats in accounts.items():
                if channel not in self._signals:
                    response.setdefault(channel, _Usual()).learn(min(nats, _MOST_NATS), began)

    def _response(self, name: str, time: Millis) -> dict[str, _Usual]:
        place = self._bin(self._signals[name], time)
        assert place is not None
        return self._usual.setdefault((name, place), {})

    def _bin(self, signal: _Signal, time: Millis) -> int | None:
        if signal.moved is None:
            return None
        lag = max(_LAG_S, 2 * self.step_s)
        place = int((time - signal.moved) / 1000 / lag * _BINS)
        return place if place < _BINS else None
