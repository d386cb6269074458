"""What central knows of each station: its documents, its newest values, and whether it is silent."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ewarn import wire
from ewarn.contracts import AlarmState, Alert, Cause, Millis, Priority, Reading, Verdict
from ewarn.parameters import PARAMETERS

_log = logging.getLogger(__name__)

SILENT = "station-silent"
"""Id of the alarm that central raises when a station says nothing."""


@dataclass(slots=True)
class StationView:
    """The newest of everything that a station said.

    Attributes:
        id: of the station.
        heard: when anything came, seconds of the machine's monotonic clock.
        status, meta, health: its retained documents.
        alarms: by alarm id.
        readings: by channel, the newest by time.
        verdict: the newest by time.
        silent: central's own alarm about the station, None while it never was silent.
    """

    id: str
    heard: float
    status: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    health: Mapping[str, Any] = field(default_factory=dict)
    alarms: dict[str, Alert] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    verdict: Verdict | None = None
    silent: Alert | None = None

    def take(self, said: Reading | Verdict | Alert) -> None:
        """Keep it where it is newer than what is there; transitions come in the alarm documents."""
        if isinstance(said, Reading):
            known = self.readings.get(said.channel)
            if known is None or said.time >= known.time:
                self.readings[said.channel] = said
        elif isinstance(said, Verdict) and (self.verdict is None or said.time >= self.verdict.time):
            self.verdict = said

    def take_document(self, leaf: str, name: str, payload: bytes) -> None:
        """Keep a retained document; an empty payload takes an alarm away. Raises WireError."""
        if leaf == "alarm" and not payload:
            self.alarms.pop(name, None)
            return
        document = wire.unpack(payload)
        if document.get("station") != self.id:
            raise wire.WireError(f"{document.get('station')!r} speaks as {self.id!r}")
        if leaf == "alarm":
            self.alarms[name] = wire.alert_of(self.id, document)
        elif leaf == "status":
            self.status = document
        elif leaf == "meta":
            self.meta = document
        elif leaf == "health":
            self.health = document

    def watch(self, now: Millis, monotonic: float, limit: float) -> Alert | None:
        """The transition of the silence alarm that is due, if one is.

        A station is silent as soon as the broker says that it is lost, and in any other case, a clean stop too, when
        nothing came for `limit` seconds. The number of an occurrence is the second in which it began, so central need
        not remember how many there were.
        """
        quiet = monotonic - self.heard
        reason = "lost" if self.status.get("state") == "lost" else "quiet"
        active = self.silent is not None and self.silent.active
        if active is (reason == "lost" or quiet > limit):
            return None
        if active:
            assert self.silent is not None
            alert = _transition(self.silent, now, AlarmState.RETURNED_UNACKNOWLEDGED)
        else:
            before = self.silent.state if self.silent else AlarmState.NORMAL
            onset = now - round(quiet * 1000)
            alert = Alert(
                station=self.id, alarm=SILENT, occurrence=now // 1000, number=1, time=now, onset=min(onset, now),
                state=AlarmState.UNACKNOWLEDGED, previous=before, priority=Priority.HIGH, cause=Cause.COMMUNICATION,
                detail={"reason": reason}, by="central",
            )  # fmt: skip
        self.silent = alert
        return alert


def _transition(alert: Alert, now: Millis, state: AlarmState) -> Alert:
    return Alert(
        station=alert.station, alarm=alert.alarm, occurrence=alert.occurrence, number=alert.number + 1, time=now,
        onset=alert.onset, state=state, previous=alert.state, priority=alert.priority, cause=alert.cause,
        detail=alert.detail, by=alert.by,
    )  # fmt: skip


class Parameters:
    """Which parameter each channel measures, as stations told it in `meta`; kept in a file.

    The parameter is a tag, hence part of a point's identity: after a restart of central the rows that a station sends
    again have to get the same tag, although its `meta` may come after them.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, str]] = {}

    def load(self) -> None:
        """Read the file; what cannot be read is learned anew."""
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
            self._known = {str(s): _checked(channels) for s, channels in known.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError) as error:
            _log.warning("%s cannot be read and is begun anew: %s", self._path, error)

    def of(self, station: str) -> Mapping[str, str]:
        """Parameter ids by channel."""
        return self._known.get(station, {})

    def learn(self, station: str, meta: Mapping[str, Any]) -> None:
        """Take them from a `meta` document."""
        channels = meta.get("channels")
        if not isinstance(channels, dict):
            return
        told = {str(name): spec.get("parameter") for name, spec in channels.items() if isinstance(spec, dict)}
        known = _checked(told)
        if known != self._known.get(station):
            self._known[station] = known
            self._save()

    def _save(self) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
            fresh.replace(self._path)
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._path, error)


def _checked(channels: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(name): parameter
        for name, parameter in channels.items()
        if isinstance(parameter, str) and parameter in PARAMETERS
    }
