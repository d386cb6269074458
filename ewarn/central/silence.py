"""The alarm that central raises by itself: a station says nothing."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from ewarn import wire
from ewarn.central import files
from ewarn.central.stations import StationView
from ewarn.contracts import AlarmState, Alert, Cause, Millis, Priority

SILENT = "station-silent"
"""Id of the alarm."""


class Silence:
    """Raises and clears the alarm of each station.

    The last transition of each is kept in a file, so that a restart neither raises an alarm again nor forgets to clear
    it. The next transition of a station waits until the last one is stored: while the database is away for long, a
    station that comes and goes cannot fill the memory.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, Alert] = {}
        self._unstored: set[str] = set()
        self._since: dict[str, float] = {}

    def load(self) -> list[Alert]:
        """Read the file. Gives the transitions that may not be in the database yet."""
        for station, row in files.load(self._path).items():
            try:
                self._last[station] = wire.alert_of(station, row)
            except (wire.WireError, OverflowError):
                continue
            if not row.get("stored"):
                self._unstored.add(station)
        return [self._last[station] for station in sorted(self._unstored)]

    def active(self) -> list[str]:
        """Stations whose alarm is on."""
        return [station for station, alert in self._last.items() if alert.active]

    def last(self, station: str) -> Alert | None:
        """The last transition of a station, None where there never was one."""
        return self._last.get(station)

    def stored(self, station: str) -> None:
        """The database has the last transition of this station."""
        self._unstored.discard(station)
        self._save()

    def watch(self, view: StationView, now: Millis, monotonic: float, limit: float, deaf: float = 0.0) -> Alert | None:
        """The transition that is due, if one is.

        A station is silent as soon as the broker says that it is lost, and in any other case, a clean stop too, when
        nothing came for `limit` seconds. It is back when it is not lost and something came.

        Args:
            view: of the station.
            now: central's time.
            monotonic: the machine's, seconds.
            limit: seconds.
            deaf: until when, of `monotonic`, nothing could be heard for reasons of central's own.
        """
        if view.id in self._unstored:
            return None
        last = self._last.get(view.id)
        lost = view.status.get("state") == "lost"
        quiet = monotonic - max(view.heard, deaf)
        if last is not None and last.active:
            back = view.heard > self._since.get(view.id, -math.inf) and quiet <= limit and not lost
            return self._change(_cleared(last, now), monotonic) if back else None
        if not lost and quiet <= limit:
            return None
        return self._change(_raised(view.id, last, now, quiet, "lost" if lost else "quiet"), monotonic)

    def _change(self, alert: Alert, monotonic: float) -> Alert:
        self._last[alert.station] = alert
        self._since[alert.station] = monotonic
        self._unstored.add(alert.station)
        self._save()
        return alert

    def _save(self) -> None:
        rows = {s: wire.alert_row(alert) | {"stored": s not in self._unstored} for s, alert in self._last.items()}
        files.save(self._path, rows)


def _raised(station: str, last: Alert | None, now: Millis, quiet: float, reason: str) -> Alert:
    """Occurrences are numbered by the second in which they began; numbers and times grow, whatever the clock does."""
    time = now if last is None else max(now, last.time + 1)
    return Alert(
        station=station, alarm=SILENT, occurrence=max(now // 1000, last.occurrence + 1 if last else 1), number=1,
        time=time, onset=min(time, now - round(quiet * 1000)), state=AlarmState.UNACKNOWLEDGED,
        previous=last.state if last else AlarmState.NORMAL, priority=Priority.HIGH, cause=Cause.COMMUNICATION,
        detail={"reason": reason}, by="central",
    )  # fmt: skip


def _cleared(alert: Alert, now: Millis) -> Alert:
    return dataclasses.replace(
        alert,
        number=alert.number + 1,
        time=max(now, alert.time + 1),
        state=AlarmState.RETURNED_UNACKNOWLEDGED,
        previous=alert.state,
    )
