"""What is stored of what stations say."""

import json

import pytest
from centre import ME, T0, alert

from ewarn import messages
from ewarn.central import points
from ewarn.central.stores.rules import normal
from ewarn.contracts import AlarmState, Evidence, Quality, Readiness, Reading, Verdict
from ewarn.wire import Gap


def text(which, language):
    return messages.render(which, language)


def test_a_reading_names_its_parameter_as_the_station_told_it_or_else_by_its_channel():
    readings = [Reading(c, T0, 1.0, Quality.PASS) for c in ("ph", "upstream_do_2", "wind", "raw_2")]
    found = points.of_readings(ME, readings, {"raw_2": "turbidity"})
    assert [p.tags.get("param") for p in found] == ["ph", "do", None, "turbidity"]
    assert {tuple(sorted(p.fields)) for p in found} == {("qc", "value")}


def test_a_missing_reading_is_a_point_too():
    (point,) = points.of_readings(ME, [Reading("ph", T0, None, Quality.MISSING, "no_reply")], {})
    assert point.fields == {"qc": 9, "why": "no_reply"}


def test_a_gap_is_a_point_for_each_channel_that_lost_readings():
    found = points.of_gap(ME, Gap(T0, T0 + 60_000, "obs", 5, {"ph": 3, "do": 2}))
    assert {p.tags["channel"]: p.fields["dropped"] for p in found} == {"ph": 3, "do": 2}
    assert {(p.time, p.fields["until"], p.tags["stream"]) for p in found} == {(T0, "2026-05-28T20:27:40.000Z", "obs")}
    (point,) = points.of_gap(ME, Gap(T0, T0, "verdict", 4, {}))
    assert (point.tags, point.fields["dropped"]) == ({"station": ME, "stream": "verdict"}, 4)
    assert all(normal(p) == p for p in [*found, point])


def test_a_verdict_that_cannot_judge_has_no_probability():
    point = points.of_verdict(ME, Verdict(T0, None, Readiness.WARMING))
    assert point.fields == {"abnormal": False, "cause": "", "readiness": "warming"}


def test_a_verdict_with_evidence():
    verdict = Verdict(T0, 0.9, Readiness.READY, True, evidence=alert().evidence, scores={"residual": 4.5})
    point = points.of_verdict(ME, verdict)
    assert point.fields["score_residual"] == 4.5
    assert json.loads(point.fields["evidence"]) == [
        {"channel": "ph", "value": 5.1, "expected": 8.0, "score": 30.0, "since": "2026-05-28T20:26:40.000Z"}
    ]


def test_an_alert_speaks_both_languages_on_one_line_each():
    point = points.of_alert(alert(), text)
    assert point.tags == {"station": ME, "alarm": "contamination", "prio": "1", "n": "1"}
    assert point.fields["text_en"].startswith(f"ALERT: possible contamination at {ME} | Priority critical.")
    assert point.fields["text_es"].startswith(f"ALERTA: posible contaminación en {ME} | Prioridad crítica.")
    assert "pH" in point.fields["text_en"]
    assert (point.fields["active"], point.fields["acked"], point.fields["id"]) == (True, False, alert().id)
    assert normal(point) == point


@pytest.mark.parametrize("wild", ["Ana\nRíos\r\n", "a\x00b", "x" * 3000, '"; DROP', "{station}", "%s"])
def test_a_wild_name_makes_no_second_line_and_is_stored(wild):
    which = alert(2, state=AlarmState.ACKNOWLEDGED, by=wild, detail={"reason": wild, "probe": wild})
    point = normal(points.of_alert(which, text))
    for field in ("text_en", "text_es", "by", "detail"):
        assert not any(ord(c) < 32 for c in point.fields[field])


def test_transitions_of_one_millisecond_are_points_of_their_own():
    found = [points.of_alert(alert(n, time=T0), text) for n in range(1, 11)]
    assert len({(tuple(sorted(p.tags.items())), p.time) for p in found}) == 10


@pytest.mark.parametrize("time", [T0 - 10**13, 253_370_764_800_000])
def test_evidence_from_the_end_of_time_is_no_error(time):
    evidence = (Evidence("ph", 1.0, 2.0, 3.0, time),)
    assert json.loads(points.of_alert(alert(evidence=evidence), lambda *_: "").fields["evidence"])
