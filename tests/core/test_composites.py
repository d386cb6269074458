"""Composites, from measured samples to readings, evidence and alarms."""

import random
from pathlib import Path

import pytest
from synthetic import MINUTE, T0

from ewarn.config import station_from
from ewarn.contracts import AlarmState, Evidence, Quality, Reading, Sample
from ewarn.core.composites import Composites, sources, witnesses
from ewarn.core.pipeline import CONTAMINATION, Pipeline
from ewarn.registry import load_detectors

CHANNELS = {"cl2_free": {}, "cl2_total": {}, "flow": {}}
DEMAND = {"formula": "cl2_total - cl2_free", "parameter": "cl2_total"}


def station(step="60s", warmup="2h", **composites):
    return station_from(
        {
            "station": {"id": "s", "water": "treated"},
            "channels": {**CHANNELS, **composites},
            "detection": {"step": step, "warmup": warmup},
        },
        Path("s.toml"),
    )


def composites(**tables):
    made = station(**tables)
    return Composites(made.channels, made.detection.step)


def sample(minute, suspect=(), **values):
    return Sample(T0 + minute * MINUTE, values, frozenset(suspect), dict.fromkeys(suspect, "spike"))


def test_a_composite_joins_the_sample_and_goes_out_as_a_reading_of_its_time():
    whole, (reading,) = composites(demand=DEMAND).extend(sample(1, cl2_total=0.9, cl2_free=0.6))
    assert whole.values == {"cl2_total": 0.9, "cl2_free": 0.6, "demand": pytest.approx(0.3)}
    assert reading == Reading("demand", T0 + MINUTE, whole.values["demand"], Quality.PASS)


def test_what_is_suspect_makes_suspect_what_is_computed_from_it():
    c = composites(demand=DEMAND, index={"formula": "demand * 2"})
    whole, readings = c.extend(sample(1, suspect=["cl2_free"], cl2_total=0.9, cl2_free=0.6, flow=5.0))
    assert [(r.channel, r.quality, r.reason) for r in readings] == [
        ("demand", Quality.SUSPECT, "suspect_input"), ("index", Quality.SUSPECT, "suspect_input")
    ]  # fmt: skip
    assert whole.suspect == {"cl2_free", "demand", "index"}
    assert whole.reasons["cl2_free"] == "spike"


def test_without_an_input_there_is_no_value_and_the_reason_is_said_once_a_gap():
    c = composites(demand=DEMAND)
    said = [c.extend(sample(i, cl2_total=0.9)) for i in range(3)]
    assert all("demand" not in whole.values and whole.reasons["demand"] == "no_input" for whole, _ in said)
    assert [[(r.value, r.quality, r.reason) for r in readings] for _, readings in said] == [
        [(None, Quality.MISSING, "no_input")], [], []
    ]  # fmt: skip
    assert [r.value for r in c.extend(sample(3, cl2_total=0.9, cl2_free=0.9))[1]] == [0.0]
    assert [r.reason for r in c.extend(sample(4))[1]] == ["no_input"]


def test_a_division_by_zero_is_no_value_and_no_zero():
    whole, (reading,) = composites(index={"formula": "cl2_free / flow"}).extend(sample(1, cl2_free=1.0, flow=0.0))
    assert (reading.value, reading.reason) == (None, "division_by_zero")
    assert "index" not in whole.values


def test_limits_of_a_composite_flag_it():
    limits = {"fail_span": [0, 2], "suspect_span": [0, 1]}
    c = composites(demand={**DEMAND, **limits})
    found = [c.extend(sample(i, cl2_total=total, cl2_free=0.0)) for i, total in enumerate([0.5, 1.5, 2.5])]
    assert [r.quality for _, (r,) in found] == [Quality.PASS, Quality.SUSPECT, Quality.FAIL]
    assert ["demand" in whole.values for whole, _ in found] == [True, True, False]


def test_composites_of_composites_are_computed_in_their_order_wherever_they_stand():
    c = composites(index={"formula": "demand * 2"}, demand=DEMAND)
    assert c.extend(sample(1, cl2_total=0.9, cl2_free=0.6))[0].values["index"] == pytest.approx(0.6)


def test_the_past_is_that_of_the_samples_whole_steps_ago():
    c = composites(index={"formula": 'before(flow, "150s")'}, index_2={"formula": 'rate(flow, "2m")'})
    seen = [c.extend(sample(i, flow=10.0 * i**2))[0] for i in range(6)]
    assert [s.values.get("index") for s in seen] == [None, None, None, 0.0, 10.0, 40.0]
    assert [s.values.get("index_2") for s in seen] == [None, None, 20.0, 40.0, 60.0, 80.0]
    assert seen[0].reasons == {"index": "no_past", "index_2": "no_past"}


def test_a_gap_in_the_past_is_never_bridged():
    c = composites(index={"formula": 'flow - before(flow, "2m")'})
    c.extend(sample(0, flow=1.0))
    c.extend(sample(1))
    assert c.extend(sample(2, flow=4.0))[0].values["index"] == 3.0
    assert "index" not in c.extend(sample(3, flow=4.0))[0].values
    later = [c.extend(sample(i, flow=9.0))[0].values.get("index") for i in range(1000, 1004)]
    assert later == [None, None, 0.0, 0.0]


def test_the_past_of_a_composite_can_be_asked_for():
    c = composites(demand=DEMAND, index={"formula": 'demand - before(demand, "1m")'})
    c.extend(sample(0, cl2_total=1.0, cl2_free=0.5))
    assert c.extend(sample(1, cl2_total=1.5, cl2_free=0.5))[0].values["index"] == pytest.approx(0.5)


def test_what_is_kept_of_the_past_is_bounded():
    c = composites(index={"formula": 'rate(flow, "1h")'})
    for i in range(1000):
        c.extend(sample(i, flow=1.0, cl2_free=1.0))
    assert {name: len(values) for name, values in c._past.items()} == {"flow": 60}


def evidence(*names):
    return [Evidence(name, 1.0, 0.0, 20.0 - i, T0) for i, name in enumerate(names)]


@pytest.mark.parametrize(
    ("moved", "heard"),
    [
        (["demand", "cl2_total"], ["cl2_total"]),
        (["demand", "cl2_total", "cl2_free"], ["cl2_total", "cl2_free"]),
        (["demand", "flow"], ["demand", "flow"]),
        (["index", "demand"], ["index"]),
        (["index", "cl2_free"], ["cl2_free"]),
        (["flow"], ["flow"]),
    ],
)
def test_a_composite_and_its_inputs_are_one_witness(moved, heard):
    made = station(demand=DEMAND, index={"formula": "demand * 2"})
    rests_on = sources(made.channels)
    assert rests_on == {"demand": {"cl2_total", "cl2_free"}, "index": {"cl2_total", "cl2_free"}}
    assert [e.channel for e in witnesses(evidence(*moved), rests_on)] == heard


def feed(pipeline, minutes, rng, start, change=None):
    """Steps of quiet water, in which `change` adds to channels."""
    steps = []
    for minute in range(start, start + minutes):
        time = T0 + minute * MINUTE
        values = {"cl2_free": 0.6 + rng.gauss(0, 0.01), "cl2_total": 0.9 + rng.gauss(0, 0.01), "flow": 100.0}
        readings = [Reading(name, time, value + (change or {}).get(name, 0.0)) for name, value in values.items()]
        steps.append(pipeline.accept(time, readings))
    return steps


def test_the_pipeline_computes_says_and_judges_it():
    made = station(demand=DEMAND, index={"formula": "1 if flow > 5 else 0", "role": "operation"})
    pipeline, rng = Pipeline(made, load_detectors(made)), random.Random(1)
    quiet = feed(pipeline, 600, rng, 1)
    assert all([r.channel for r in step.computed] == ["demand", "index"] for step in quiet)
    assert all(r.time == step.verdicts[0].time for step in quiet for r in step.computed)
    assert not any(r.channel in ("demand", "index") for step in quiet for r in step.readings)
    assert [a for step in quiet for a in step.alerts] == []
    (alert,) = [a for s in feed(pipeline, 6, rng, 601, {"cl2_free": -0.4, "cl2_total": -0.2}) for a in s.alerts]
    assert (alert.alarm, alert.state) == (CONTAMINATION, AlarmState.UNACKNOWLEDGED)
    moved = {e.channel: e for e in alert.evidence}
    assert moved["demand"].value == pytest.approx(0.5, abs=0.06)
    assert moved["demand"].expected == pytest.approx(0.3, abs=0.02)


def test_a_replayed_journal_computes_the_same():
    made = station(demand={"formula": 'cl2_total - before(cl2_free, "5m")', "parameter": "cl2_total"})
    first, second = Pipeline(made, {}), Pipeline(made, {}, muted=True)
    feed(first, 30, random.Random(1), 1)
    feed(second, 30, random.Random(1), 1)
    live = Pipeline(made, {})
    live.begin_warming()
    live.adopt(second)
    one, other = (feed(p, 5, random.Random(2), 31) for p in (first, live))
    assert [s.computed for s in one] == [s.computed for s in other]
    assert all(r.value is not None for s in other for r in s.computed)
