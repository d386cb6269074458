"""Alarm states after ISA-18.2, for alarms without suppression and latching. Pure.

    NORM ──condition──► UNACK ──ack──► ACKED
      ▲                  │  ▲            │
      │            gone  ▼  │ condition  │ gone
      └──────ack────── RTNUN             └──► NORM

A return of the condition before the acknowledgement belongs to the same occurrence.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ewarn.contracts import AlarmState, Alert, Cause, Evidence, Millis, Priority

NORMAL, UNACK = AlarmState.NORMAL, AlarmState.UNACKNOWLEDGED
ACKED, RTNUN = AlarmState.ACKNOWLEDGED, AlarmState.RETURNED_UNACKNOWLEDGED

_APPEARS = {NORMAL: UNACK, RTNUN: UNACK}
_GOES = {UNACK: RTNUN, ACKED: NORMAL}
_ACKNOWLEDGED = {UNACK: ACKED, RTNUN: NORMAL}


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """Everything that an alarm has to know to go on after a restart.

    Attributes:
        alarm: id.
        state: now.
        occurrence, number: as in `Alert`; 0 before the first.
        onset: of the present or last occurrence.
        changed: time of the last transition.
    """

    alarm: str
    state: AlarmState = NORMAL
    occurrence: int = 0
    number: int = 0
    onset: Millis = 0
    changed: Millis = 0

    @property
    def active(self) -> bool:
        """Whether the condition holds."""
        return self.state in (UNACK, ACKED)


@dataclass(frozen=True, slots=True)
class Context:
    """What an alert tells beside its state."""

    cause: Cause = Cause.NONE
    probability: float | None = None
    evidence: tuple[Evidence, ...] = ()
    detail: Mapping[str, str] | None = None
    causes: Mapping[Cause, float] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


class AlarmMachine:
    """One alarm.

    Args:
        station: id of the station.
        priority: of the alarm.
        record: where it stands.
    """

    def __init__(self, station: str, priority: Priority, record: AlarmRecord) -> None:
        self.station, self.priority, self.record = station, priority, record

    def update(self, now: Millis, condition: bool, onset: Millis, context: Context, by: str = "") -> Alert | None:
        """Take the condition as it is now, delays already applied; the transition that follows, if any.

        `by` is who changed the condition, "" where it changed by itself.
        """
        state = (_APPEARS if condition else _GOES).get(self.record.state)
        if state is None:
            return None
        if self.record.state is NORMAL:
            self.record = replace(self.record, occurrence=self.record.occurrence + 1, number=0, onset=onset)
        return self._enter(now, state, context, by)

    def acknowledge(self, now: Millis, by: str) -> Alert | None:
        """A person has seen it; None where there is nothing to acknowledge."""
        state = _ACKNOWLEDGED.get(self.record.state)
        return None if state is None else self._enter(now, state, Context(), by)

    def _enter(self, now: Millis, state: AlarmState, context: Context, by: str) -> Alert:
        previous = self.record.state
        self.record = replace(self.record, state=state, number=self.record.number + 1, changed=now)
        record = self.record
        return Alert(
            self.station, record.alarm, record.occurrence, record.number, now, record.onset, state, previous,
            self.priority, context.cause, context.probability, context.evidence, context.detail or {}, by,
            context.causes, context.findings,
        )  # fmt: skip


class Delay:
    """On-delay in steps, off-delay in time.

    The condition appears when `on_steps` of the last `of_steps` are true, and goes when none was for `off_delay`.
    A time without steps proves nothing: after a gap, both delays begin anew.

    Args:
        on_steps, of_steps: of the on-delay.
        off_delay: seconds.
        gap: seconds without a step from which on nothing is known of the time before.
        active: whether the condition held before.
    """

    def __init__(
        self, on_steps: int, of_steps: int, off_delay: float, *, gap: float = math.inf, active: bool = False
    ) -> None:
        self._on, self._off, self._gap = on_steps, round(off_delay * 1000), gap * 1000
        self._recent: deque[tuple[Millis, bool]] = deque(maxlen=of_steps)
        self._last_true: Millis | None = None
        self.active = active
        self.onset: Millis = 0

    def update(self, now: Millis, condition: bool) -> bool:
        """Whether the condition holds, delays applied. `onset` is then its first true step."""
        if self._recent and now - self._recent[-1][0] > self._gap:
            self._recent.clear()
            self._last_true = now
        self._recent.append((now, condition))
        if condition or self._last_true is None:
            self._last_true = now
        if self.active:
            self.active = now - self._last_true < max(self._off, 1) or condition
        elif sum(c for _, c in self._recent) >= self._on:
            self.active = True
            self.onset = next(t for t, c in self._recent if c)
        return self.active
