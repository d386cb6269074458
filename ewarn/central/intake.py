"""Messages of the streams as what is to be stored: pure. A bad row costs that row only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ewarn import wire
from ewarn.central import points
from ewarn.central.parked import Parked
from ewarn.contracts import Alert, Point, Reading, Verdict


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


def _rows(station: str, payload: bytes) -> tuple[wire.Row, ...]:
    batch = wire.open_envelope(payload)
    if batch.station != station:
        raise wire.WireError(f"{batch.station!r} speaks as {station!r}")
    return batch.rows


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads messages.

    Args:
        parameters: gives what is known of a station's channels: parameter ids by channel.
        render: gives the text of an alert in a language.
    """

    parameters: Callable[[str], Mapping[str, str]]
    render: points.Render

    def read(self, topic: str, payload: bytes) -> Parcel:
        """Everything that a message of a stream holds; what cannot be understood is in `parked`."""
        parcel = Parcel(topic)
        try:
            station, stream, _ = wire.split_topic(topic)
            rows = _rows(station, payload)
        except wire.WireError as error:
            parcel.parked.append(Parked(topic, str(error), payload.decode(errors="backslashreplace")))
            return parcel
        for row in rows:
            self._row(parcel, station, stream, row)
        return parcel

    def _row(self, parcel: Parcel, station: str, stream: str, row: wire.Row) -> None:
        try:
            boot, seq = wire.row_identity(row)
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
            readings = wire.readings_of(row)
            found = points.of_readings(station, readings, self.parameters(station))
            return Entry(station, boot, seq, tuple(readings), tuple(found))
        if stream == "verdict":
            verdict = wire.verdict_of(row)
            return Entry(station, boot, seq, (verdict,), (points.of_verdict(station, verdict),))
        alert = wire.alert_of(station, row)
        return Entry(station, boot, seq, (alert,), (points.of_alert(alert, self.render),))
