"""What central knows of each station: its documents and its newest values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ewarn import wire
from ewarn.contracts import Alert, Millis, Reading, Verdict


@dataclass(slots=True)
class StationView:
    """The newest of everything that a station said.

    Attributes:
        id: of the station.
        heard: when anything came, seconds of the machine's monotonic clock.
        status, meta, health: its retained documents, empty where there is none.
        alarms: by alarm id.
        readings: by channel, the newest by time.
        verdict: the newest by time.
    """

    id: str
    heard: float
    status: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    health: Mapping[str, Any] = field(default_factory=dict)
    alarms: dict[str, Alert] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    verdict: Verdict | None = None

    def take(self, said: Reading | Verdict | Alert, now: Millis) -> None:
        """Keep it where it is newer than what is there; transitions come in the alarm documents.

        What is there and lies in the future came from a clock that was wrong, and gives way to anything.
        """
        if isinstance(said, Reading):
            if _newer(said.time, self.readings.get(said.channel), now):
                self.readings[said.channel] = said
        elif isinstance(said, Verdict) and _newer(said.time, self.verdict, now):
            self.verdict = said

    def take_document(self, leaf: str, name: str, payload: bytes) -> None:
        """Keep a retained document; an empty payload takes it away. Raises WireError."""
        document = wire.unpack(payload) if payload else {}
        if payload and document.get("station") != self.id:
            raise wire.WireError(f"{document.get('station')!r} speaks as {self.id!r}")
        if leaf == "alarm":
            self._take_alarm(name, document)
        elif leaf == "status":
            self.status = document
        elif leaf == "meta":
            self.meta = document
        elif leaf == "health":
            self.health = document

    def _take_alarm(self, name: str, document: Mapping[str, Any]) -> None:
        if not document:
            self.alarms.pop(name, None)
            return
        alert = wire.alert_of(self.id, dict(document))
        if alert.alarm != name:
            raise wire.WireError(f"the alarm {alert.alarm!r} speaks as {name!r}")
        self.alarms[name] = alert


def _newer(time: Millis, known: Reading | Verdict | None, now: Millis) -> bool:
    return known is None or time >= known.time or known.time > now
