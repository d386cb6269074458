"""From samples to verdicts: runs the detectors, fuses their scores, names channels and the class of the cause.

Fusion. A detector's score over its own threshold is its ratio. Detectors that can say which channels moved
(`explain_one`) decide: the largest of their ratios counts. The others corroborate: they can lower it by at most a
fifth. Where no detector can explain itself, the largest ratio of all counts. What operations usually bring here
(`operations`) and what operators called harmless before (`patterns`) lower it by two fifths at most. The sample is
abnormal where the ratio reaches the level that the false-alarm budget asks for (`budget`); `probability` says what
the ratio means.

What an instrument computes from a sensor that is there already (salinity from conductance) is not shown to detectors:
one sensor that fails must not look like two that agree.

Learning is held back while an event is suspected, for `hold` at most: a change that stays becomes the new normal.
Water that was alarmed is protected longer, see `baseline`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ewarn.config import ChannelSpec, Station
from ewarn.contracts import (
    Cause,
    Classification,
    Detector,
    Evidence,
    Label,
    Millis,
    Readiness,
    Sample,
    Verdict,
)
from ewarn.core.budget import LEAST, Budget
from ewarn.core.causes import Circumstances, findings, posterior
from ewarn.core.composites import sources, witnesses
from ewarn.core.members import Account, Member
from ewarn.core.operations import Operations
from ewarn.core.patterns import Patterns
from ewarn.core.probability import probability
from ewarn.parameters import parameter_of

_MOVED = 4.0
_LOUD = 12.0
_DOUBT = 0.2
_EXPLAINED, _KNOWN = 0.4, 0.3
_DAMPED = 0.6
_DRY_US_CM = 20.0
_DRY_SHARE = 0.1
CONTAMINATION, SENSOR, CHANGE = "contamination", "sensor", "change"
_LIKELY = 0.6
_FINEST, _COARSEST = 1, 2**14
_STRONG = 1.5
_OF_THE_WATER = (Cause.CONTAMINATION, Cause.NATURAL, Cause.OPERATION, Cause.UNKNOWN)
_ONE_SENSOR = (
    ("spcond", "conductivity", "tds", "salinity"), ("do", "do_sat"), ("turbidity", "turbidity_ntu"),
)  # fmt: skip
"""Parameters that one sensor gives, the one that is nearest to it first."""


@dataclass(slots=True)
class Detection:
    """Turns samples into verdicts.

    Args:
        station: for steps, warm-up, hold and the roles of channels.
        detectors: by name.

    Attributes:
        budget: the false-alarm budget and the level that it asks for.
    """

    station: Station
    detectors: Mapping[str, Detector]
    budget: Budget = field(init=False)
    _members: list[Member] = field(init=False)
    _quality: frozenset[str] = field(init=False)
    _salty: tuple[str, ...] = field(init=False)
    _derived: frozenset[str] = field(init=False)
    _composed: dict[str, frozenset[str]] = field(init=False)
    _operations: Operations = field(init=False)
    _patterns: Patterns = field(init=False)
    _since: dict[str, Millis] = field(init=False, default_factory=dict)
    _seen: int = field(init=False, default=0)
    _held: int = field(init=False, default=0)
    _dry: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        settings, channels = self.station.detection, self.station.channels
        self._members = [Member.of(name, d) for name, d in self.detectors.items()]
        self._quality = frozenset(c.id for c in channels.values() if c.role == "quality")
        self._salty = tuple(c for c in channels if parameter_of(c) in ("spcond", "conductivity"))
        self._derived, self._composed = derived(channels), sources(channels)
        self.budget = Budget(settings.false_alarms_a_week, settings.on_steps, settings.of_steps)
        operations = {c.id: c.resolution for c in channels.values() if c.role == "operation"}
        self._operations = Operations(operations, float(settings.step))
        self._patterns = Patterns(self.station.water, round(settings.patterns_expire * 1000))

    @property
    def faults(self) -> dict[str, str]:
        """Detectors that were switched off, and why."""
        return {m.name: m.fault for m in self._members if m.fault}

    def judge(self, sample: Sample, *, protected: bool = False) -> Verdict:
        """The verdict on a sample; learns from it unless an event is suspected.

        Args:
            sample: of this step.
            protected: whether the water was alarmed and has neither come back nor been explained.
        """
        time, x = sample.time, {n: v for n, v in sample.values.items() if n not in self._derived}
        if self._quality.isdisjoint(x):
            self._learn(x, held=protected)
            return Verdict(time, None, Readiness.NO_DATA, cause=Cause.COMMUNICATION)
        scores = self._scores(x)
        self._operations.take(time, x)
        accounts = self._accounts(time, x, scores)
        evidence = self._evidence(time, x, accounts)
        around = self._around(time, x, evidence)
        ratio = self._damped(self._fuse(scores), around)
        suspected = ratio is not None and ratio >= self.budget.level
        if accounts:
            self._operations.learn(time, {c: nats for c, (nats, _) in accounts.items()})
        # What a slow channel holds is no further value: learned as one, its spread would shrink to nothing.
        fresh = {n: v for n, v in x.items() if n not in sample.held} if sample.held else x
        self._learn_unless(suspected, fresh, protected=protected)
        if self._seen * self.station.detection.step < self.station.detection.warmup or ratio is None:
            return Verdict(time, None, Readiness.WARMING, scores=scores)
        verdict = self._verdict(time, ratio, evidence, around, suspected=suspected, scores=scores)
        self.budget.take(time, 0.0 if alarm_of(verdict) in (SENSOR, CHANGE) else ratio)
        return verdict

    def classify(self, word: Classification) -> None:
        """Learn from an operator's word on an alert."""
        self._patterns.classify(word)
        if word.label is not Label.UNKNOWN:
            self.budget.classify(word.alert.time, invalid=word.label is not Label.EVENT)

    def detectable(self, x: Mapping[str, float]) -> dict[str, float]:
        """The smallest sudden change of each channel, in its unit, that is half of what an alert takes.

        Two channels that change so much at once are found. A channel whose sensor is not believed at present, or whose
        change does not count alone, is not in it.
        """
        deciding = [m for m in self._members if m.explain and not m.fault]
        found = {}
        for channel in sorted(self._quality & x.keys() - self._derived):
            sizes = [s for m in deciding if (s := self._least(m, channel, x)) is not None]
            if sizes:
                found[channel] = min(sizes)
        return found

    def _least(self, member: Member, channel: str, x: Mapping[str, float]) -> float | None:
        """By bisection over multiples of the resolution; the worse of a rise and a fall."""
        wanted = member.threshold * self.budget.level / 2
        resolution = self.station.channels[channel].resolution

        def told(times: float) -> bool:
            moved = ({**x, channel: x[channel] + sign * times * resolution} for sign in (-1, 1))
            return all(member.accounts(m).get(channel, (0.0, 0.0))[0] >= wanted for m in moved)

        low, high = _FINEST, _COARSEST
        if not told(high):
            return None
        while high - low > max(1, low // 16):
            middle = (low + high) // 2
            low, high = (low, middle) if told(middle) else (middle, high)
        return high * resolution

    def _scores(self, x: dict[str, float]) -> dict[str, float]:
        scores = {m.name: m.score(x) for m in self._members}
        return {name: score for name, score in scores.items() if score is not None}

    def _fuse(self, scores: Mapping[str, float]) -> float | None:
        """The ratio to the threshold, None where no detector gave a score."""
        deciding: list[float] = []
        others: list[float] = []
        for member in self._members:
            if member.name in scores:
                ratio = max(0.0, scores[member.name]) / member.threshold
                (deciding if member.explain else others).append(ratio)
        if not deciding:
            return max(others, default=None)
        return max(deciding) * (1 - _DOUBT * (1 - min(1.0, max(others, default=1.0))))

    def _damped(self, ratio: float | None, around: Circumstances) -> float | None:
        """The ratio, less what operations and known patterns explain."""
        if ratio is None:
            return None
        kept = (1 - _EXPLAINED * around.explained) * (1 - _KNOWN * bool(around.known))
        return ratio * max(kept, _DAMPED)

    def _learn_unless(self, suspected: bool, x: dict[str, float], *, protected: bool) -> None:
        limit = self.station.detection.hold / self.station.detection.step
        withheld = suspected and self._held < limit
        if not suspected:
            self._held = max(0, self._held - 1)
        self._held += withheld
        self._learn(x, held=protected, withheld=withheld)

    def _learn(self, x: dict[str, float], *, held: bool, withheld: bool = False) -> None:
        self._seen += bool(x) and not withheld
        for member in self._members:
            if member.gates_itself or not withheld:
                member.learn(x, held=held)

    def _accounts(self, time: Millis, x: dict[str, float], scores: Mapping[str, float]) -> dict[str, Account]:
        """What the detectors say of each channel, where it matters: the strongest account counts."""
        quiet = not self._since and max(scores.values(), default=0.0) < _MOVED * LEAST
        if quiet and not self._operations.moved(time):
            return {}
        accounts: dict[str, Account] = {}
        for member in self._members:
            for channel, account in member.accounts(x).items():
                accounts[channel] = max(accounts.get(channel, account), account)
        return accounts

    def _evidence(self, time: Millis, x: dict[str, float], accounts: Mapping[str, Account]) -> tuple[Evidence, ...]:
        """Channels that moved, strongest first; `since` lasts as long as a channel stays out."""
        if not accounts:
            return ()
        least = _MOVED * min(1.0, self.budget.level)
        moved = {c for c, (score, _) in accounts.items() if score >= least}
        self._since = {c: t for c, t in self._since.items() if c in moved or c not in accounts}
        for channel in moved:
            self._since.setdefault(channel, time)
        found = [Evidence(c, x[c], accounts[c][1], accounts[c][0], self._since[c]) for c in moved]
        return tuple(sorted(found, key=lambda e: (-e.score, e.channel)))

    def _around(self, time: Millis, x: Mapping[str, float], evidence: tuple[Evidence, ...]) -> Circumstances:
        doubts: dict[str, str] = {}
        for member in self._members:
            doubts = {**member.doubts(x), **doubts}
        self._dry = _out_of_water(evidence, x, [c for c in self._salty if c in x], before=self._dry)
        known = self._patterns.recognise(time, evidence) if len(self._patterns) and evidence else None
        return Circumstances(
            self.station.water, frozenset(x), doubts, dry=self._dry, moved=self._operations.moved(time),
            explained=self._operations.explained(time, evidence), known=str(known or ""),
        )  # fmt: skip

    def _verdict(
        self, time: Millis, ratio: float, evidence: tuple[Evidence, ...], around: Circumstances, *,
        suspected: bool, scores: Mapping[str, float],
    ) -> Verdict:  # fmt: skip
        # In a plant a cell that runs dry is a reason to look, not one to be silent: all its sensors move at once.
        alone = (around.dry and self.station.water == "river") or not self._witnessed(evidence, around)
        cause = Cause.UNKNOWN if suspected else Cause.NONE
        if not suspected and (around.doubts or (alone and evidence[0].score >= _LOUD)):
            cause = Cause.SENSOR
        found: tuple[str, ...] = ()
        causes: dict[Cause, float] = {}
        if cause is not Cause.NONE:
            found = findings(evidence, around, alone=alone, strong=ratio >= _STRONG * self.budget.level)
            causes = posterior(found)
        if suspected and evidence:
            cause = Cause.SENSOR if alone else max(_OF_THE_WATER, key=causes.__getitem__)
        chance = probability(ratio, self.station.detection.prior)
        return Verdict(
            time, chance, Readiness.READY, suspected, cause, evidence, around.doubts, scores, causes, found
        )  # fmt: skip

    def _witnessed(self, evidence: tuple[Evidence, ...], around: Circumstances) -> bool:
        """Whether more than one sensor says so, or one that is known to move as water does."""
        if not evidence or len(around.measured) == 1:
            return True
        heard = witnesses(evidence, self._composed)
        telling = [m for m in self._members if m.doubt and not m.fault]
        if telling and len(heard) == 1 < len(evidence):
            # A composite and its source are one witness; it has to reach the level alone.
            return any(heard[0].score >= m.threshold * self.budget.level for m in telling)
        # A detector that doubts sensors has left those out that it doubts.
        if telling:
            return True
        return len(heard) >= 2 and heard[1].score >= self.station.detection.corroboration


def alarm_of(verdict: Verdict) -> str:
    """Which alarm a verdict speaks for, "" where for none.

    What is most likely nature or operation, and not far above what an alert takes, has an alarm of its own, a quieter
    one: it is damped, not silenced.
    """
    if verdict.cause is Cause.SENSOR:
        return SENSOR
    if not verdict.abnormal:
        return ""
    likely = verdict.causes.get(verdict.cause, 0.0) >= _LIKELY and "strong" not in verdict.findings
    return CHANGE if likely and verdict.cause in (Cause.NATURAL, Cause.OPERATION) else CONTAMINATION


def derived(channels: Mapping[str, ChannelSpec]) -> frozenset[str]:
    """Channels that an instrument computes from a sensor which another channel shows: they are no second witness.

    Without probes, as in records, channels of the same prefix and number are of one instrument.
    """
    first: dict[tuple[str, int], int] = {}
    places: dict[str, tuple[tuple[str, int], int]] = {}
    for spec in channels.values():
        for group, parameters in enumerate(_ONE_SENSOR):
            if spec.parameter in parameters and spec.formula is None:
                owner = spec.probe or spec.id.replace(parameter_of(spec.id) or spec.id, "")
                key, rank = (owner, group), parameters.index(spec.parameter)
                places[spec.id] = key, rank
                first[key] = min(first.get(key, rank), rank)
    return frozenset(id_ for id_, (key, rank) in places.items() if rank > first[key])


def _out_of_water(evidence: tuple[Evidence, ...], x: Mapping[str, float], read: Sequence[str], *, before: bool) -> bool:
    """Conductance near nothing: the probe hangs in air, or the sample pump stands.

    It holds on while no conductance is `read`.
    """
    if not read:
        return before
    moved = {e.channel: e for e in evidence}
    return any(c in moved and x[c] < min(_DRY_US_CM, _DRY_SHARE * moved[c].expected) for c in read)
