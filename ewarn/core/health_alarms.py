"""Alarms of the station itself: what is wrong with disk, link, clock, lines or detection reaches people as water does.

They stand beside the pipeline, so that they speak also where it does not come back from a detector. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from ewarn.contracts import Alert, Millis, Priority
from ewarn.core.alarms import AlarmMachine, AlarmRecord, Context
from ewarn.core.pipeline import Step

PREFIX = "health-"
KINDS: dict[str, Priority] = {
    "disk": Priority.HIGH, "file": Priority.MEDIUM, "link": Priority.HIGH, "clock": Priority.MEDIUM,
    "detection": Priority.HIGH, "lines": Priority.HIGH,
}  # fmt: skip
"""What of a station may be ill, and how urgent that is; its alarm is `health-` and this."""

_DELAYS_S = {"disk_refuses": 10.0, "broker_refuses": 10.0, "clock_unsync": 900.0}


class HealthAlarms:
    """The alarms `health-…` of one station.

    Args:
        station: its id.
        records: where they stood before.
    """

    def __init__(self, station: str, records: Mapping[str, AlarmRecord]) -> None:
        self._machines = {
            kind: AlarmMachine(station, priority, records.get(PREFIX + kind, AlarmRecord(PREFIX + kind)))
            for kind, priority in KINDS.items()
        }
        self._since: dict[str, tuple[str, Millis]] = {}
        self._now: Millis = 0

    @property
    def alarms(self) -> dict[str, AlarmRecord]:
        """Where each of them stands."""
        return {PREFIX + kind: machine.record for kind, machine in self._machines.items()}

    def update(self, now: Millis, ills: Mapping[str, str]) -> Step:
        """Take what is wrong now.

        Args:
            now: time; an earlier one than before counts as the latest known.
            ills: by kind, the code of the reason; `code:name` where it is about a part that has a name.
        """
        self._now = max(self._now, now)
        step = Step()
        for kind, machine in self._machines.items():
            reason = ills.get(kind, "")
            onset = self._lasts_since(kind, reason)
            context = Context(detail={"reason": reason} if reason else {})
            if not reason or self._now - onset >= 1000 * _DELAYS_S.get(reason.partition(":")[0], 0.0):
                self._note(step, machine, machine.update(self._now, bool(reason), onset, context))
        return step

    def acknowledge(self, now: Millis, alarm: str, by: str) -> Step:
        """A person has seen one of them. Raises KeyError where there is no such alarm."""
        self._now = max(self._now, now)
        step, machine = Step(), self._machines[alarm.removeprefix(PREFIX)]
        self._note(step, machine, machine.acknowledge(self._now, by))
        return step

    def _lasts_since(self, kind: str, reason: str) -> Millis:
        before, since = self._since.get(kind, ("", 0))
        if reason != before:
            since = self._now
        self._since[kind] = reason, since
        return since

    @staticmethod
    def _note(step: Step, machine: AlarmMachine, alert: Alert | None) -> None:
        if alert is not None:
            step.alerts.append(alert)
            step.alarms[alert.alarm] = machine.record
