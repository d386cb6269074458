"""What crosses MQTT: topics and payloads, encode and decode, versioned. Codes and numbers, no prose.

`obs`, `verdict`, `event` and `gap` are streams of rows. Each row has `boot` and `seq`, by which a central confirms it
on `stored`; all share one envelope:

    {"v": 1, "station": …, "sent": …, "tq": …, "rows": [{"boot": …, "seq": …, "t": …, …}, …]}

`status`, `meta`, `alarm/{alarm}` and `health` are retained documents. What `health` says that a central has stored, a
central that was wiped or restored has not, and says so on `ask`, retained too. A payload is UTF-8 JSON, or zlib of it
where that is smaller; which one is told by its first byte. Numbers are finite.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ewarn.contracts import (
    AlarmState,
    Alert,
    Cause,
    Evidence,
    Millis,
    Priority,
    Quality,
    Readiness,
    Reading,
    Verdict,
)
from ewarn.errors import PermanentError
from ewarn.parameters import RESERVED_CHANNELS
from ewarn.times import from_text, to_text

VERSION = 1
ROOT = "ewarn/v1"
COLLECTOR = "_collector"
"""Takes the place of a station in a collector's own topics; no station can be called so."""
STREAMS = ("event", "gap", "obs", "verdict")
"""The most urgent first."""
DOCUMENTS = ("status", "meta", "health")
MAX_PAYLOAD = 200_000
"""Bytes before compression that a batch is kept under; brokers are set to take 262,144."""

_MOST = 2**53
_THINNED = {"obs": "obs", "verdict": "verdict"}

_TOO_MANY = 2**63

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()

Row = dict[str, Any]


class WireError(PermanentError):
    """A payload or topic is not of this protocol."""


def topic(station: str, *leaf: str) -> str:
    """Topic of a station.

    >>> topic("mx-nld-intake1", "alarm", "contamination")
    'ewarn/v1/mx-nld-intake1/alarm/contamination'
    """
    return "/".join((ROOT, station, *leaf))


def split_topic(text: str) -> tuple[str, str, str]:
    """Station, class and the rest ("" where there is none) of a topic. Raises WireError.

    >>> split_topic("ewarn/v1/a/stored/main")
    ('a', 'stored', 'main')
    """
    parts = text.split("/", 4)
    if len(parts) < 4 or "/".join(parts[:2]) != ROOT:
        raise WireError(f"not a topic of {ROOT}: {text!r}")
    return parts[2], parts[3], parts[4] if len(parts) > 4 else ""


def pack(document: Mapping[str, Any]) -> bytes:
    """JSON, or zlib of it where that is smaller."""
    raw = _encoder.encode(document)
    small = zlib.compress(raw, 6) if len(raw) > 200 else raw
    return small if len(small) < len(raw) else raw


def unpack(payload: bytes) -> dict[str, Any]:
    """The document of a payload. Raises WireError."""
    try:
        if payload[:1] == b"\x78":
            inflate = zlib.decompressobj()
            payload = inflate.decompress(payload, 20 * MAX_PAYLOAD)
            if inflate.unconsumed_tail:
                raise WireError("payload is too large")
        document = _decoder.decode(payload)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"payload is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise WireError("payload is not an object")
    if document.get("v") != VERSION:
        raise WireError(f"version {document.get('v')!r} is not {VERSION}")
    return document


def envelope(station: str, sent: Millis, tq: str, rows: Sequence[Row]) -> bytes:
    """A batch of rows of one stream."""
    return pack({"v": VERSION, "station": station, "sent": to_text(sent), "tq": tq, "rows": rows})


@dataclass(frozen=True, slots=True)
class Batch:
    """A decoded envelope; rows are decoded one by one, so that a bad one costs only itself."""

    station: str
    sent: Millis
    tq: str
    rows: tuple[Row, ...]


def open_envelope(payload: bytes) -> Batch:
    """Decode an envelope. Raises WireError."""
    document = unpack(payload)
    try:
        rows = document["rows"]
        if not all(isinstance(row, dict) for row in rows):
            raise WireError("a row is not an object")
        return Batch(str(document["station"]), from_text(document["sent"]), str(document["tq"]), tuple(rows))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WireError(f"not an envelope: {error!r}") from error


def row_identity(row: Row) -> tuple[str, int]:
    """`boot` and `seq` of a row. Raises WireError."""
    boot = row.get("boot")
    try:
        if isinstance(boot, str):
            return boot, _whole(row.get("seq"))
    except TypeError:
        pass
    raise WireError("a row has no boot or seq")


def obs_rows(readings: Iterable[Reading]) -> list[Row]:
    """Wide rows, one an instant, without `boot` and `seq`.

    A missing value is an absent key with flag 9; flags of 1 are not written.
    """
    rows: dict[Millis, Row] = {}
    for r in readings:
        row = rows.setdefault(r.time, {"t": to_text(r.time)})
        if r.value is not None:
            row[r.channel] = r.value
        if r.quality is not Quality.PASS:
            row.setdefault("q", {})[r.channel] = int(r.quality)
        if r.reason:
            row.setdefault("why", {})[r.channel] = r.reason
    return [rows[t] for t in sorted(rows)]


def revise(row: Row, reading: Reading) -> Row:
    """An obs row with a reading's final flag, where the row has the reading; its value stays.

    >>> spike = {"t": "…", "ph": 9.1, "q": {"ph": 3}, "why": {"ph": "spike"}}
    >>> revise(spike, Reading("ph", 0, 9.1, Quality.PASS, "revised"))
    {'t': '…', 'ph': 9.1, 'q': {}, 'why': {'ph': 'revised'}}
    """
    if reading.channel not in row:
        return row
    flags = {c: flag for c, flag in row.get("q", {}).items() if c != reading.channel}
    if reading.quality is not Quality.PASS:
        flags[reading.channel] = int(reading.quality)
    return {**row, "q": flags, "why": {**row.get("why", {}), reading.channel: reading.reason}}


def readings_of(row: Row) -> list[Reading]:
    """The readings of an obs row. Raises WireError."""
    try:
        time = from_text(row["t"])
        flags, why = row.get("q", {}), row.get("why", {})
        readings = [
            Reading(name, time, _number(row[name]), _flag(flags.get(name, 1), present=True), str(why.get(name, "")))
            for name in row
            if name not in RESERVED_CHANNELS
        ]
        readings += [
            Reading(name, time, None, _flag(flag, present=False), str(why.get(name, "")))
            for name, flag in flags.items()
            if name not in row
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WireError(f"not a row of readings: {error!r}") from error
    return readings


def _flag(flag: Any, *, present: bool) -> Quality:
    quality = Quality(flag)
    if present is (quality is Quality.MISSING):
        raise ValueError(f"flag {flag} {'with' if present else 'without'} a value")
    return quality


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _whole(value: Any) -> int:
    """What a database takes as a number of something."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _TOO_MANY:
        raise TypeError(f"{value!r} is not a whole number of up to 63 bits")
    return value


def _evidence_row(e: Evidence) -> Row:
    return {"channel": e.channel, "value": e.value, "expected": e.expected, "score": e.score, "since": to_text(e.since)}


def _evidence(rows: Iterable[Row]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            str(r["channel"]), _number(r["value"]), _number(r["expected"]), _number(r["score"]), from_text(r["since"])
        )
        for r in rows
    )


def _causes_row(causes: Mapping[Cause, float]) -> Row:
    return {str(cause): round(share, 4) for cause, share in causes.items()}


def _causes(row: Row) -> dict[Cause, float]:
    return {Cause(cause): _number(share) for cause, share in row.items()}


def verdict_row(verdict: Verdict) -> Row:
    """A verdict without `boot` and `seq`; what is empty is not written."""
    row: Row = {"t": to_text(verdict.time), "readiness": str(verdict.readiness)}
    if verdict.probability is not None:
        row["probability"] = verdict.probability
    if verdict.abnormal:
        row["abnormal"] = True
    if verdict.cause:
        row["cause"] = str(verdict.cause)
    if verdict.evidence:
        row["evidence"] = [_evidence_row(e) for e in verdict.evidence]
    if verdict.doubts:
        row["doubts"] = dict(verdict.doubts)
    if verdict.scores:
        row["scores"] = dict(verdict.scores)
    if verdict.causes:
        row["causes"] = _causes_row(verdict.causes)
    if verdict.findings:
        row["findings"] = list(verdict.findings)
    return row


def verdict_of(row: Row) -> Verdict:
    """Raises WireError."""
    try:
        probability = row.get("probability")
        return Verdict(
            time=from_text(row["t"]),
            probability=None if probability is None else _number(probability),
            readiness=Readiness(row["readiness"]),
            abnormal=bool(row.get("abnormal", False)),
            cause=Cause(row.get("cause", "")),
            evidence=_evidence(row.get("evidence", ())),
            doubts={str(k): str(v) for k, v in row.get("doubts", {}).items()},
            scores={str(k): _number(v) for k, v in row.get("scores", {}).items()},
            causes=_causes(row.get("causes", {})),
            findings=tuple(map(str, row.get("findings", ()))),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WireError(f"not a verdict: {error!r}") from error


def alert_row(alert: Alert) -> Row:
    """An alert, without `boot` and `seq`: a row of `event`, and the document of `alarm/{alarm}`."""
    return {
        "id": alert.id, "t": to_text(alert.time), "alarm": alert.alarm, "occurrence": alert.occurrence,
        "number": alert.number, "onset": to_text(alert.onset), "state": str(alert.state),
        "previous": str(alert.previous), "priority": int(alert.priority), "cause": str(alert.cause),
        "probability": alert.probability, "evidence": [_evidence_row(e) for e in alert.evidence],
        "detail": dict(alert.detail), "by": alert.by, "causes": _causes_row(alert.causes),
        "findings": list(alert.findings),
    }  # fmt: skip


def alert_of(station: str, row: Row) -> Alert:
    """Raises WireError."""
    try:
        probability = row["probability"]
        return Alert(
            station=station,
            alarm=str(row["alarm"]),
            occurrence=_whole(row["occurrence"]),
            number=_whole(row["number"]),
            time=from_text(row["t"]),
            onset=from_text(row["onset"]),
            state=AlarmState(row["state"]),
            previous=AlarmState(row["previous"]),
            priority=Priority(row["priority"]),
            cause=Cause(row["cause"]),
            probability=None if probability is None else _number(probability),
            evidence=_evidence(row["evidence"]),
            detail={str(k): str(v) for k, v in row["detail"].items()},
            by=str(row["by"]),
            causes=_causes(row.get("causes", {})),
            findings=tuple(map(str, row.get("findings", ()))),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WireError(f"not an alert: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Gap:
    """What a station dropped of a stretch that waited, since its outbox was full; the rest of the stretch is there.

    Attributes:
        start, end: times of the first and the last row that was dropped.
        stream: "obs" or "verdict".
        rows: how many were dropped.
        channels: of obs, by channel, how many readings were dropped.
    """

    start: Millis
    end: Millis
    stream: str
    rows: int
    channels: Mapping[str, int]


def gap_row(gap: Gap) -> Row:
    """A gap without `boot` and `seq`."""
    row: Row = {"t": to_text(gap.start), "until": to_text(gap.end), "stream": gap.stream, "rows": gap.rows}
    return row | {"channels": dict(gap.channels)} if gap.channels else row


def gap_of(row: Row) -> Gap:
    """Raises WireError."""
    try:
        channels = {str(channel): _count(n) for channel, n in row.get("channels", {}).items()}
        return Gap(from_text(row["t"]), from_text(row["until"]), _THINNED[row["stream"]], _count(row["rows"]), channels)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WireError(f"not a gap: {error!r}") from error


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _MOST:
        raise TypeError(f"{value!r} is no number of rows")
    return value


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Inclusive ranges that cover exactly these numbers.

    >>> ranges([3, 1, 2, 7])
    [(1, 3), (7, 7)]
    """
    out: list[tuple[int, int]] = []
    for n in sorted(set(numbers)):
        if out and n == out[-1][1] + 1:
            out[-1] = (out[-1][0], n)
        else:
            out.append((n, n))
    return out


def stored_payload(boot: str, numbers: Iterable[int]) -> bytes:
    """What a central says on `stored/{central}`: the rows of this boot that its database has."""
    return pack({"v": VERSION, "boot": boot, "ranges": ranges(numbers)})


def stored_of(payload: bytes) -> tuple[str, list[tuple[int, int]]]:
    """Boot and inclusive ranges of seq. Raises WireError."""
    document = unpack(payload)
    try:
        spans = [(_whole(a), _whole(b)) for a, b in document["ranges"]]
        boot = str(document["boot"])
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"not a list of stored rows: {error!r}") from error
    if any(first > last for first, last in spans):
        raise WireError("a range of stored rows ends before it begins")
    return boot, spans


def ask_payload(at: Millis, since: Millis) -> bytes:
    """What a central says on `ask/{central}`: it lacks what it had of `since` and later. `at` tells asks apart."""
    return pack({"v": VERSION, "at": to_text(at), "since": to_text(since)})


def ask_of(payload: bytes) -> tuple[Millis, Millis]:
    """When it was asked, and since when something is lacking. Raises WireError."""
    asked = unpack(payload)
    try:
        return from_text(asked["at"]), from_text(asked["since"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WireError(f"not an ask: {error!r}") from error


def document(station: str, sent: Millis, tq: str, content: Mapping[str, Any]) -> bytes:
    """A retained document (`status`, `meta`, `alarm`, `health`)."""
    return pack({"v": VERSION, "station": station, "sent": to_text(sent), "tq": tq, **content})
