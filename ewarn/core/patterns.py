"""Changes that operators called harmless at this station, recognised when they come again.

A pattern is the signs and sizes of the evidence of a classified alert. A later change is recognised where it points
the same way (cosine), is hardly larger, and points less towards any contamination: those that operators confirmed, and
the signs of the known substances (`ewarn.core.hints`), which stand in for the true events that a station hardly ever
sees. A pattern expires; what an operator confirms as an event takes the patterns away that look like it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ewarn.contracts import Classification, Evidence, Label, Millis
from ewarn.core.hints import contaminants

_ALIKE = 0.9
_LARGER = 1.2
_ROOM = 100
HARMLESS = frozenset({Label.NATURAL, Label.OPERATION, Label.SENSOR})


@dataclass(frozen=True, slots=True)
class _Pattern:
    label: Label
    shape: Mapping[str, float]
    size: float
    time: Millis


@dataclass(slots=True)
class Patterns:
    """The station's library.

    Args:
        water: "river" or "treated".
        expire: milliseconds after which a pattern is forgotten.
    """

    water: str
    expire: Millis
    _known: list[_Pattern] = field(init=False, default_factory=list)

    def classify(self, word: Classification) -> None:
        """Take an operator's word on an alert."""
        shape, size = _shape(word.alert.evidence)
        if len(shape) < 2:
            return  # one sensor's excursion is told apart elsewhere
        self._known = [p for p in self._known if _cosine(p.shape, shape) < _ALIKE]
        if word.label in HARMLESS or word.label is Label.EVENT:
            self._known = [*self._known, _Pattern(word.label, shape, size, word.time)][-_ROOM:]

    def recognise(self, time: Millis, evidence: Iterable[Evidence]) -> Label | None:
        """What operators called such a change, None where nothing like it is known as harmless."""
        shape, size = _shape(evidence)
        near = [
            (_cosine(p.shape, shape), p.label)
            for p in self._known
            if time - p.time <= self.expire and (size <= _LARGER * p.size or p.label is Label.EVENT)
        ]
        best, label = max(near, default=(0.0, Label.EVENT), key=lambda pair: pair[0])
        if best < _ALIKE or label not in HARMLESS:
            return None
        channels = {name for p in self._known for name in p.shape} | shape.keys()
        rival = max((_cosine(signs, shape) for signs in contaminants(channels, self.water)), default=0.0)
        return label if best > rival else None

    def __len__(self) -> int:
        return len(self._known)


def _shape(evidence: Iterable[Evidence]) -> tuple[dict[str, float], float]:
    """Signed amplitude of each channel, of unit length, and that length: a z-score is the root of twice its nats."""
    signed = {e.channel: math.copysign(math.sqrt(2 * e.score), e.value - e.expected) for e in evidence if e.score > 0}
    length = math.sqrt(sum(v * v for v in signed.values()))
    return ({name: v / length for name, v in signed.items()} if length else {}), length


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    lengths = math.sqrt(sum(v * v for v in one.values()) * sum(v * v for v in other.values()))
    return sum(v * other.get(name, 0.0) for name, v in one.items()) / lengths if lengths else 0.0
