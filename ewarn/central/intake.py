"""Messages of the streams as what is to be stored: pure. A bad row costs that row only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ewarn import wire
from ewarn.central import points
from ewarn.central.known import Names
from ewarn.central.parked import Parked
from ewarn.contracts import Alert, Point, Reading, Verdict
from ewarn.parameters import CHANNEL_ID

MAX_ROWS = 5000
"""Rows of one message; stations send 200."""
MAX_SEQ = 2**63

_BOOT = re.compile(r"[!-~]{1,64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One row.

    Attributes:
        station, boot, seq: its identity.
        said: what the row says.
        points: what is stored of it; empty for a row that was parked, which counts as dealt with all the same.
    """

    station: str
    boot: str
    seq: int
    said: tuple[Reading | Verdict | Alert, ...] = ()
    points: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Parcel:
    """What came out of one message."""

    topic: str
    entries: list[Entry] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)

    @property
    def points(self) -> list[Point]:
        """All that is to be stored."""
        return [p for entry in self.entries for p in entry.points]


def parked_whole(topic: str, payload: bytes, error: Exception) -> Parcel:
    """A message that gives nothing to store."""
    reason = str(error) or repr(error)
    return Parcel(topic, parked=[Parked(topic, reason, payload.decode(errors="backslashreplace"))])


def _rows(station: str, payload: bytes) -> tuple[wire.Row, ...]:
    batch = wire.open_envelope(payload)
    if batch.station != station:
        raise wire.WireError(f"{batch.station!r} speaks as {station!r}")
    if len(batch.rows) > MAX_ROWS:
        raise wire.WireError(f"{len(batch.rows)} rows are more than {MAX_ROWS}")
    return batch.rows


def _identity(row: wire.Row) -> tuple[str, int]:
    boot, seq = wire.row_identity(row)
    if not _BOOT.fullmatch(boot) or not 0 <= seq < MAX_SEQ:
        raise wire.WireError("boot or seq cannot be those of a row")
    return boot, seq


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads messages.

    Args:
        parameters: gives what is known of a station's channels: parameter ids by channel.
        render: gives the text of an alert in a language.
        names: counts what stations name.
    """

    parameters: Callable[[str], Mapping[str, str]]
    render: points.Render
    names: Names = field(default_factory=Names)

    def read(self, topic: str, payload: bytes) -> Parcel:
        """Everything that a message of a stream holds; what cannot be understood is in `parked`."""
        parcel = Parcel(topic)
        try:
            station, stream, _ = wire.split_topic(topic)
            rows = _rows(station, payload)
        except Exception as error:  # noqa: BLE001  (JSON too deep for the decoder, and what else there may be)
            return parked_whole(topic, payload, error)
        for row in rows:
            self._row(parcel, station, stream, row)
        return parcel

    def _row(self, parcel: Parcel, station: str, stream: str, row: wire.Row) -> None:
        try:
            boot, seq = _identity(row)
        except wire.WireError as error:
            parcel.parked.append(Parked(parcel.topic, str(error), row))
            return
        try:
            entry = self._entry(station, stream, boot, seq, row)
        except Exception as error:  # noqa: BLE001  (whatever a row contains, the others are not to suffer)
            parcel.parked.append(Parked(parcel.topic, str(error) or repr(error), row))
            entry = Entry(station, boot, seq)
        parcel.entries.append(entry)

    def _entry(self, station: str, stream: str, boot: str, seq: int, row: wire.Row) -> Entry:
        if stream == "obs":
            readings = self._readings(station, row)
            found = points.of_readings(station, readings, self.parameters(station))
            return Entry(station, boot, seq, tuple(readings), tuple(found))
        if stream == "verdict":
            verdict = wire.verdict_of(row)
            self.names.admit(station, "detectors", verdict.scores)
            return Entry(station, boot, seq, (verdict,), (points.of_verdict(station, verdict),))
        if stream == "gap":
            gap = wire.gap_of(row)
            self._admit_channels(station, gap.channels)
            return Entry(station, boot, seq, (), tuple(points.of_gap(station, gap)))
        alert = wire.alert_of(station, row)
        self.names.admit(station, "alarms", (alert.alarm,))
        return Entry(station, boot, seq, (alert,), (points.of_alert(alert, self.render),))

    def _readings(self, station: str, row: wire.Row) -> list[Reading]:
        readings = wire.readings_of(row)
        self._admit_channels(station, [reading.channel for reading in readings])
        return readings

    def _admit_channels(self, station: str, channels: Iterable[str]) -> None:
        for channel in channels:
            if not CHANNEL_ID.fullmatch(channel):
                raise wire.WireError(f"{channel[:100]!r} is not the id of a channel")
        self.names.admit(station, "channels", channels)
