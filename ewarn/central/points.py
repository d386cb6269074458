"""What is stored of what a station says: pure.

| measurement | tags | fields |
|---|---|---|
| `wq` | `station`, `channel`, `param` | `value` float, `qc` int (QARTOD), `why` string where there is a reason |
| `verdict` | `station` | `probability` float, `abnormal` bool, `cause`, `readiness`, `evidence` and `doubts` (JSON), `score_NAME` float |
| `alarm` | `station`, `alarm`, `prio`, `n` | `state`, `previous`, `active`, `acked`, `cause`, `probability`, `id`, `occurrence`, `number`, `onset`, `by`, `evidence` and `detail` (JSON), `text_en`, `text_es` |
| `gap` | `station`, `stream`, `channel` | `dropped` int, `until`: what a station dropped of that stretch, since its outbox was full |
| `collector` | `central` | `refused` bool: the database refused a point of somebody's just then |

A missing reading is a point with `qc` 9 and no `value`; what does not apply is absent.

Two transitions of one alarm may share a millisecond (an acknowledgement arrives as the water clears), and a database
keeps one point per measurement, tags and time. The tag `n`, the last digit of the transition's number within its
occurrence, keeps them apart: they are numbered in sequence, so equal digits are ten transitions away. It makes at most
ten series of an alarm.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from ewarn.contracts import AlarmState, Alert, Evidence, Millis, Point, Reading, Verdict
from ewarn.parameters import parameter_of
from ewarn.times import to_text
from ewarn.wire import Gap

Field = float | int | str | bool
Render = Callable[[Alert, str], str]
"""The text of an alert in a language, "en" or "es"."""

TEXTS = ("en", "es")


def of_readings(station: str, readings: Iterable[Reading], parameters: Mapping[str, str]) -> list[Point]:
    """One point a reading.

    Args:
        station: id of the station.
        readings: of one instant or of many.
        parameters: parameter ids by channel, as far as the station has told them; else the channel's id speaks.
    """
    return [of_reading(station, r, parameters.get(r.channel) or parameter_of(r.channel) or "") for r in readings]


def of_reading(station: str, reading: Reading, parameter: str) -> Point:
    """The point of a reading; a parameter that nobody knows is no tag."""
    fields: dict[str, Field] = {"qc": int(reading.quality)}
    if reading.value is not None:
        fields["value"] = float(reading.value)
    if reading.reason:
        fields["why"] = reading.reason
    tags = {"station": station, "channel": reading.channel, "param": parameter}
    return Point("wq", {name: value for name, value in tags.items() if value}, fields, reading.time)


def of_verdict(station: str, verdict: Verdict) -> Point:
    """The point of a verdict."""
    fields: dict[str, Field] = {
        "abnormal": verdict.abnormal, "cause": str(verdict.cause), "readiness": str(verdict.readiness)
    }  # fmt: skip
    if verdict.probability is not None:
        fields["probability"] = float(verdict.probability)
    if verdict.evidence:
        fields["evidence"] = _evidence(verdict.evidence)
    if verdict.doubts:
        fields["doubts"] = _json(dict(verdict.doubts))
    fields |= {f"score_{name}": float(score) for name, score in verdict.scores.items()}
    fields |= {f"cause_{cause}": float(share) for cause, share in verdict.causes.items()}
    if verdict.findings:
        fields["findings"] = " ".join(verdict.findings)
    return Point("verdict", {"station": station}, fields, verdict.time)


def of_alert(alert: Alert, render: Render) -> Point:
    """The point of a transition, with its texts in both languages."""
    fields: dict[str, Field] = {
        "id": alert.id, "occurrence": alert.occurrence, "number": alert.number, "onset": to_text(alert.onset),
        "state": str(alert.state), "previous": str(alert.previous), "active": alert.active,
        "acked": alert.state in (AlarmState.ACKNOWLEDGED, AlarmState.NORMAL), "cause": str(alert.cause),
        "by": alert.by, "evidence": _evidence(alert.evidence), "detail": _json(dict(alert.detail)),
    }  # fmt: skip
    if alert.probability is not None:
        fields["probability"] = float(alert.probability)
    fields |= {f"cause_{cause}": float(share) for cause, share in alert.causes.items()}
    if alert.findings:
        fields["findings"] = " ".join(alert.findings)
    fields |= {f"text_{language}": " | ".join(render(alert, language).splitlines()) for language in TEXTS}
    priority, n = str(int(alert.priority)), str(alert.number % 10)
    tags = {"station": alert.station, "alarm": alert.alarm, "prio": priority, "n": n}
    return Point("alarm", tags, fields, alert.time)


def of_gap(station: str, gap: Gap) -> list[Point]:
    """A point for each channel of readings, one for verdicts; its time is that of the first row that was dropped.

    A stretch that was thinned again may be told of twice: counts of gaps that overlap are not to be added.
    """
    until = to_text(gap.end)
    if gap.stream != "obs":
        return [Point("gap", {"station": station, "stream": gap.stream}, _dropped(gap.rows, until), gap.start)]
    return [
        Point("gap", {"station": station, "stream": gap.stream, "channel": channel}, _dropped(n, until), gap.start)
        for channel, n in gap.channels.items()
    ]


def _dropped(count: int, until: str) -> dict[str, Field]:
    return {"dropped": count, "until": until}


def of_refusal(central: str, now: Millis) -> Point:
    """A point that nothing is wrong with: a database that refuses it too is the one that something is wrong with."""
    return Point("collector", {"central": central}, {"refused": True}, now)


def _evidence(evidence: Sequence[Evidence]) -> str:
    return _json([
        {"channel": e.channel, "value": e.value, "expected": e.expected, "score": e.score, "since": to_text(e.since)}
        for e in evidence
    ])  # fmt: skip


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
