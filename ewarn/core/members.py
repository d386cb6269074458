"""One detector of a station and how it fares: what it gives is checked; one that raises is left out, and named."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ewarn.contracts import Detector

_FAILURES = 10
_T = TypeVar("_T")
Account = tuple[float, float]
"""Evidence in nats, and expected value."""


@dataclass(slots=True)
class Member:
    """A detector as `ewarn.core.detection` uses it.

    Attributes:
        name: in the station file.
        threshold: score at which it calls a sample abnormal.
        gates_itself: whether it is taught every sample.
        fault: why it was switched off, "" while it runs.
    """

    name: str
    detector: Detector
    threshold: float
    explain: Callable[[dict[str, float]], Mapping[str, Account]] | None
    doubt: Callable[[dict[str, float]], Mapping[str, str]] | None
    hold: Callable[[dict[str, float]], None] | None
    gates_itself: bool = False
    fault: str = ""
    _failures: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, detector: Any) -> Member:
        """The member of a detector, with the optional methods that it has."""
        explain, doubt, hold = (getattr(detector, method, None) for method in ("explain_one", "doubt_one", "hold_one"))
        gates_itself = bool(getattr(detector, "gates_itself", False))
        threshold = float(getattr(detector, "threshold", 1.0))
        return cls(name, detector, threshold, explain, doubt, hold, gates_itself)

    def score(self, x: Mapping[str, float]) -> float | None:
        """Its score, None where it gives none."""
        score = self._guarded("score", self.detector.score_one, x, _finite)
        return None if score is None else float(score)

    def accounts(self, x: Mapping[str, float]) -> Mapping[str, Account]:
        """What it says of each channel."""
        if self.explain is None:
            return {}

        def checked(told: Any) -> dict[str, Account]:
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

    def learn(self, x: Mapping[str, float], *, held: bool) -> None:
        """Have it learn; of water that is not to become normal only what it forgets within hours."""
        work = self.hold if held and self.hold is not None else self.detector.learn_one
        self._guarded("learn", work, x, lambda _nothing: None)

    def _guarded(
        self, what: str, work: Callable[[dict[str, float]], Any], x: Mapping[str, float], check: Callable[[Any], _T]
    ) -> _T | None:
        """What the detector gives, None where it raises or gives nonsense; often in a row, and it is out."""
        if self.fault:
            return None
        try:
            result = check(work(dict(x)))
        except Exception as error:  # noqa: BLE001  (a detector may raise anything; it must not stop the others)
            self._failures[what] = self._failures.get(what, 0) + 1
            if self._failures[what] >= _FAILURES:
                self.fault = f"switched off after {_FAILURES} failures in a row: {what}: {error!r}"
            return None
        self._failures[what] = 0
        return result


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number
