"""Water that was alarmed and not explained does not become normal unasked.

From an alert on, the water is measured against what was expected before it. While it has not come back, detectors hold
what they keep for days (`hold_one`); what they keep for minutes goes on, so that an alarm can end. Water has come back
when every channel that moved has, for an hour, gone back at least half of its way. It is accepted as normal when an
operator explains the alert, or, as a stated rule, `accept_after` its begin: learning never waits for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ewarn.contracts import Evidence, Millis

RETURNED, EXPLAINED, BY_RULE = "returned", "explained", "accepted_by_rule"
_BACK = 0.5
_LONG: Millis = 3_600_000
_AWAY: Millis = 3 * _LONG


@dataclass(slots=True)
class _Departure:
    """How far a channel went from what was expected."""

    expected: float
    farthest: float
    since_back: Millis | None = None

    def take(self, time: Millis, value: float) -> None:
        off = value - self.expected
        if abs(off) > abs(self.farthest):
            self.farthest = off
        if abs(off) > _BACK * abs(self.farthest):
            self.since_back = None
        elif self.since_back is None:
            self.since_back = time


@dataclass(slots=True)
class Baseline:
    """Follows the water from an alert until it is normal again.

    Args:
        accept_after: milliseconds from the alert after which changed water counts as normal.

    Attributes:
        began: when the present departure began, None where the water is normal.
        ended: why the last one is over: one of RETURNED, EXPLAINED, BY_RULE.
    """

    accept_after: Millis
    began: Millis | None = None
    ended: str = ""
    _calm: Millis | None = field(init=False, default=None)
    _now: Millis = field(init=False, default=0)
    _channels: dict[str, _Departure] = field(init=False, default_factory=dict)

    @property
    def departed(self) -> bool:
        """Whether there is water that was alarmed, has not come back, and was not explained."""
        return self.began is not None

    @property
    def stays_away(self) -> bool:
        """Whether it has not come back although its alert ended three hours ago."""
        return self.departed and self._calm is not None and self._now - self._calm >= _AWAY

    def begin(self, time: Millis, evidence: Iterable[Evidence]) -> None:
        """An alert was raised; one during a departure belongs to it."""
        told = list(evidence)
        if not told:
            return
        if self.began is None:
            self.began, self.ended, self._channels, self._calm = time, "", {}, None
        for e in told:
            self._channels.setdefault(e.channel, _Departure(e.expected, e.value - e.expected))

    def take(self, time: Millis, x: Mapping[str, float], *, alarmed: bool) -> None:
        """Take a sample; `alarmed` while the alert stands."""
        if self.began is None:
            return
        self._now = time
        self._calm = None if alarmed else self._calm or time
        for name, departure in self._channels.items():
            if name in x:
                departure.take(time, x[name])
        if time - self.began >= self.accept_after:
            self._end(BY_RULE)
        elif all(d.since_back is not None and time - d.since_back >= _LONG for d in self._channels.values()):
            self._end(RETURNED)

    def explain(self) -> None:
        """An operator has explained the alert."""
        if self.began is not None:
            self._end(EXPLAINED)

    def _end(self, why: str) -> None:
        self.began, self.ended = None, why
