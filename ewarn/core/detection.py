"""From samples to verdicts: runs the detectors, fuses their scores, names channels and the class of the cause.

Fusion. A detector's score over its own threshold is its ratio. Detectors that can say which channels moved
(`explain_one`) decide: the largest of their ratios counts. The others corroborate: they can lower it by at most a
fifth. Where no detector can explain itself, the largest ratio of all counts. probability = r⁶ / (1 + r⁶): one half at
the threshold, strictly increasing.

What an instrument computes from a sensor that is there already (salinity from conductance) is not shown to detectors:
one sensor that fails must not look like two that agree.

Learning is held back while an event is suspected, for `hold` at most: a change that stays becomes the new normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ewarn.config import ChannelSpec, Station
from ewarn.contracts import Cause, Detector, Evidence, Millis, Readiness, Sample, Verdict
from ewarn.parameters import parameter_of

_MOVED = 4.0
_LOUD = 12.0
_STEEPNESS = 6
_DOUBT = 0.2
_FAILURES = 10
_DRY_US_CM = 20.0
_DRY_SHARE = 0.1
_LEAST = 1e-50
_ONE_SENSOR = (
    ("spcond", "conductivity", "tds", "salinity"), ("do", "do_sat"), ("turbidity", "turbidity_ntu"),
)  # fmt: skip
"""Parameters that one sensor gives, the one that is nearest to it first."""

_T = TypeVar("_T")
Explain = Callable[[dict[str, float]], Mapping[str, tuple[float, float]]]


@dataclass(slots=True)
class _Member:
    """One detector and how it fares."""

    name: str
    detector: Detector
    threshold: float
    explain: Explain | None
    doubt: Callable[[dict[str, float]], Mapping[str, str]] | None = None
    failures: dict[str, int] = field(default_factory=dict)
    fault: str = ""

    @classmethod
    def of(cls, name: str, detector: Any) -> _Member:
        threshold = float(getattr(detector, "threshold", 1.0))
        return cls(
            name, detector, threshold, getattr(detector, "explain_one", None), getattr(detector, "doubt_one", None)
        )

    def score(self, x: Mapping[str, float]) -> float | None:
        """Its score, None where it gives none."""
        score = self._guarded("score", self.detector.score_one, x, _finite)
        return None if score is None else float(score)

    def accounts(self, x: Mapping[str, float]) -> Mapping[str, tuple[float, float]]:
        """What it says of each channel: score in nats and expected value."""
        if self.explain is None:
            return {}

        def checked(told: Any) -> dict[str, tuple[float, float]]:
            pairs = ((str(c), (_finite(nats), _finite(expected))) for c, (nats, expected) in told.items())
            return {c: pair for c, pair in pairs if c in x}

        return self._guarded("account", self.explain, x, checked) or {}

    def doubts(self, x: Mapping[str, float]) -> Mapping[str, str]:
        """The sensors that it doubts, and why."""
        if self.doubt is None:
            return {}

        def checked(told: Any) -> dict[str, str]:
            return {str(c): str(r) for c, r in told.items() if c in x}

        return self._guarded("doubt", self.doubt, x, checked) or {}

    def learn(self, x: Mapping[str, float]) -> None:
        """Have it learn."""
        self._guarded("learn", self.detector.learn_one, x, lambda _nothing: None)

    def _guarded(
        self, what: str, work: Callable[[dict[str, float]], Any], x: Mapping[str, float], check: Callable[[Any], _T]
    ) -> _T | None:
        """What the detector gives, None where it raises or gives nonsense; often in a row, and it is out."""
        if self.fault:
            return None
        try:
            result = check(work(dict(x)))
        except Exception as error:  # noqa: BLE001  (a detector may raise anything; it must not stop the others)
            self.failures[what] = self.failures.get(what, 0) + 1
            if self.failures[what] >= _FAILURES:
                self.fault = f"switched off after {_FAILURES} failures in a row: {what}: {error!r}"
            return None
        self.failures[what] = 0
        return result


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number


@dataclass(slots=True)
class Detection:
    """Turns samples into verdicts.

    Args:
        station: for steps, warm-up, hold and the roles of channels.
        detectors: by name.
    """

    station: Station
    detectors: Mapping[str, Detector]
    _members: list[_Member] = field(init=False)
    _quality: frozenset[str] = field(init=False)
    _derived: frozenset[str] = field(init=False)
    _since: dict[str, Millis] = field(init=False, default_factory=dict)
    _seen: int = field(init=False, default=0)
    _held: int = field(init=False, default=0)
    _dry: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._members = [_Member.of(name, d) for name, d in self.detectors.items()]
        self._quality = frozenset(c.id for c in self.station.channels.values() if c.role == "quality")
        self._derived = derived(self.station.channels)

    @property
    def faults(self) -> dict[str, str]:
        """Detectors that were switched off, and why."""
        return {m.name: m.fault for m in self._members if m.fault}

    def judge(self, sample: Sample) -> Verdict:
        """The verdict on a sample; learns from it unless an event is suspected."""
        x = {name: value for name, value in sample.values.items() if name not in self._derived}
        if not self._quality & x.keys():
            self._learn(x)
            return Verdict(sample.time, None, Readiness.NO_DATA, cause=Cause.COMMUNICATION)
        scores = self._scores(x)
        ratio = self._fuse(scores)
        evidence = self._evidence(sample.time, x, scores)
        doubts = self._doubts(x)
        suspected = ratio is not None and ratio >= 1
        self._learn_unless(suspected, x)
        if self._seen * self.station.detection.step < self.station.detection.warmup or ratio is None:
            return Verdict(sample.time, None, Readiness.WARMING, scores=scores)
        cause = self._cause(suspected, evidence, doubts, x)
        probability = 1 / (1 + min(max(ratio, _LEAST), 1 / _LEAST) ** -_STEEPNESS)
        return Verdict(sample.time, probability, Readiness.READY, suspected, cause, evidence, doubts, scores)

    def _scores(self, x: dict[str, float]) -> dict[str, float]:
        scores = {m.name: m.score(x) for m in self._members}
        return {name: score for name, score in scores.items() if score is not None}

    def _fuse(self, scores: Mapping[str, float]) -> float | None:
        """The ratio to the threshold, None where no detector gave a score."""
        ratios = {m.name: max(0.0, scores[m.name]) / m.threshold for m in self._members if m.name in scores}
        if not ratios:
            return None
        deciding = [ratios[m.name] for m in self._members if m.explain and m.name in ratios]
        others = [ratios[m.name] for m in self._members if not m.explain and m.name in ratios]
        if not deciding:
            return max(others)
        return max(deciding) * (1 - _DOUBT * (1 - min(1.0, max(others, default=1.0))))

    def _learn_unless(self, suspected: bool, x: dict[str, float]) -> None:
        limit = self.station.detection.hold / self.station.detection.step
        if suspected and self._held < limit:
            self._held += 1
            return
        if not suspected:
            self._held = max(0, self._held - 1)
        self._learn(x)

    def _learn(self, x: dict[str, float]) -> None:
        self._seen += bool(x)
        for member in self._members:
            member.learn(x)

    def _evidence(self, time: Millis, x: dict[str, float], scores: Mapping[str, float]) -> tuple[Evidence, ...]:
        """Channels that moved, strongest first; `since` lasts as long as a channel stays out."""
        if not self._since and max(scores.values(), default=0.0) < _MOVED:
            return ()
        accounts: dict[str, tuple[float, float]] = {}
        for member in self._members:
            for channel, account in member.accounts(x).items():
                accounts[channel] = max(accounts.get(channel, account), account)
        moved = {c for c, (score, _) in accounts.items() if score >= _MOVED}
        self._since = {c: t for c, t in self._since.items() if c in moved or c not in accounts}
        for channel in moved:
            self._since.setdefault(channel, time)
        found = [Evidence(c, x[c], accounts[c][1], accounts[c][0], self._since[c]) for c in moved]
        return tuple(sorted(found, key=lambda e: (-e.score, e.channel)))

    def _doubts(self, x: dict[str, float]) -> dict[str, str]:
        """What seems wrong with a sensor, by channel; the first detector that says so counts."""
        doubts: dict[str, str] = {}
        for member in self._members:
            doubts = {**member.doubts(x), **doubts}
        return doubts

    def _cause(
        self, suspected: bool, evidence: tuple[Evidence, ...], doubts: Mapping[str, str], x: Mapping[str, float]
    ) -> Cause:
        if suspected and not evidence:
            return Cause.UNKNOWN
        self._dry = _out_of_water(evidence, x, before=self._dry)
        if suspected and self._dry:
            return Cause.SENSOR
        # A detector that doubts sensors has left those out that it doubts; else one channel is no event.
        telling = any(m.doubt and not m.fault for m in self._members)
        if suspected:
            second = evidence[1].score if len(evidence) >= 2 else 0.0
            witnessed = telling or len(x) == 1 or second >= self.station.detection.corroboration
            return Cause.CONTAMINATION if witnessed else Cause.SENSOR
        alone = not telling and len(evidence) == 1 and evidence[0].score >= _LOUD
        return Cause.SENSOR if alone or doubts else Cause.NONE


def derived(channels: Mapping[str, ChannelSpec]) -> frozenset[str]:
    """Channels that an instrument computes from a sensor which another channel shows: they are no second witness.

    Without probes, as in records, channels of the same prefix and number are of one instrument.
    """
    first: dict[tuple[str, int], int] = {}
    places: dict[str, tuple[tuple[str, int], int]] = {}
    for spec in channels.values():
        for group, parameters in enumerate(_ONE_SENSOR):
            if spec.parameter in parameters:
                owner = spec.probe or spec.id.replace(parameter_of(spec.id) or spec.id, "")
                key, rank = (owner, group), parameters.index(spec.parameter)
                places[spec.id] = key, rank
                first[key] = min(first.get(key, rank), rank)
    return frozenset(id_ for id_, (key, rank) in places.items() if rank > first[key])


def _out_of_water(evidence: tuple[Evidence, ...], x: Mapping[str, float], *, before: bool) -> bool:
    """Conductance near nothing: the probe hangs in air, or the sample pump stands.

    It holds on while no conductance is read.
    """
    moved = {e.channel: e for e in evidence}
    read = [c for c in x if parameter_of(c) in ("spcond", "conductivity")]
    if not read:
        return before
    return any(c in moved and x[c] < min(_DRY_US_CM, _DRY_SHARE * moved[c].expected) for c in read)
