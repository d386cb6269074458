"""Which alarm speaks: contamination, a quieter one for nature and operation, hard limits, water that stays changed."""

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import MINUTE, T0, WATER, Water

from ewarn.config import station_from
from ewarn.contracts import AlarmState, Cause, Classification, Label, Priority, Quality, Reading
from ewarn.core.pipeline import Pipeline
from ewarn.registry import load_detectors

HOURS = 60
SPILL = {"spcond": 60.0, "uv254": 0.05}


def made(*, channels=None, detectors=None, **detection):
    document = {
        "station": {"id": "kinds"}, "channels": {name: {} for name in WATER} | (channels or {}),
        "detection": {"warmup": "4h", **detection},
    }  # fmt: skip
    station = station_from(document, Path("kinds.toml"))
    return Pipeline(station, load_detectors(station) if detectors is None else detectors)


def raised(steps):
    return [a for step in steps for a in step.alerts if a.state is AlarmState.UNACKNOWLEDGED]


class Told:
    """A detector that says what its test wants."""

    threshold = 10.0

    def __init__(self):
        self.score, self.account, self.held, self.learned = 0.0, {}, 0, 0

    def learn_one(self, x):
        self.learned += 1

    def hold_one(self, x):
        self.held += 1

    def score_one(self, x):
        return self.score

    def explain_one(self, x):
        return self.account

    def doubt_one(self, x):
        return {}


def told_apart(account, score=12.0, **detection):
    detector = Told()
    pipeline, water = made(detectors={"told": detector}, **detection), Water()
    water.feed(pipeline, 5 * HOURS)
    detector.score, detector.account = score, account
    return pipeline, water, detector


DAYLIGHT = {"do": (9.0, 9.0), "ph": (9.0, 8.5)}


def test_what_is_most_likely_nature_has_a_quieter_alarm():
    pipeline, water, _ = told_apart(DAYLIGHT)
    (alert,) = raised(water.feed(pipeline, 5))
    assert (alert.alarm, alert.priority, alert.cause) == ("change", Priority.MEDIUM, Cause.NATURAL)


def test_but_never_if_it_is_far_above_what_an_alert_takes():
    pipeline, water, _ = told_apart(DAYLIGHT, score=40.0)
    (alert,) = raised(water.feed(pipeline, 5))
    assert (alert.alarm, alert.priority) == ("contamination", Priority.CRITICAL)


@pytest.fixture
def limited():
    return made(channels={"ph": {"alarm_span": [6.5, 9.0]}})


@pytest.mark.parametrize("value", [6.4, 9.1])
def test_a_hard_limit_alarms_from_the_first_samples_on_though_detection_is_warming(limited, value):
    water = Water()
    water.change = {"ph": value - 8.0}
    (alert,) = raised(water.feed(limited, 3))
    assert (alert.alarm, alert.priority, alert.detail["channel"]) == ("limit-ph", Priority.HIGH, "ph")
    assert alert.detail["limits"] == "6.5 to 9"


def test_within_the_limits_nothing_alarms_and_back_within_it_ends(limited):
    water = Water()
    assert raised(water.feed(limited, 30)) == []
    water.change = {"ph": 1.5}
    water.feed(limited, 5)
    assert limited.alarms["limit-ph"].active
    water.change = {}
    water.feed(limited, 15)
    assert not limited.alarms["limit-ph"].active


def test_a_value_that_the_instrument_cannot_have_measured_is_no_limit(limited):
    steps = [
        limited.accept(T0 + i * MINUTE, [Reading("ph", T0 + i * MINUTE, 99.0, Quality.NOT_EVALUATED)]) for i in range(10)
    ]
    assert raised(steps) == []


def spilled(**detection):
    """A pipeline with a spill that stays for ever, one hour after its begin."""
    pipeline, water = made(**detection), Water()
    water.feed(pipeline, 12 * HOURS)
    water.change = SPILL
    alerts = raised(water.feed(pipeline, HOURS))
    return pipeline, water, alerts[0]


def test_water_that_stays_changed_leaves_a_quieter_alarm_when_its_alert_ends():
    pipeline, water, alert = spilled()
    assert alert.alarm == "contamination"
    later = raised(water.feed(pipeline, 12 * HOURS))
    assert [a.alarm for a in later if a.alarm != "contamination"] == ["baseline"]
    assert not pipeline.alarms["contamination"].active


def test_it_ends_by_the_stated_rule_and_says_so():
    pipeline, water, _ = spilled(accept_after="10h")
    steps = water.feed(pipeline, 12 * HOURS)
    ends = [a for s in steps for a in s.alerts if a.alarm == "baseline" and not a.active]
    assert [a.detail["reason"] for a in ends] == ["accepted_by_rule"]


def test_an_operators_word_ends_it_at_once_in_his_name():
    pipeline, water, alert = spilled()
    water.feed(pipeline, 12 * HOURS)
    now = T0 + water.minute * MINUTE
    step = pipeline.classify(now, Classification(alert, Label.OPERATION, "Ana", now))
    assert [(a.alarm, a.active, a.by, a.detail["reason"]) for a in step.alerts] == [("baseline", False, "Ana", "explained")]
    assert raised(water.feed(pipeline, 3 * HOURS)) == []


@pytest.mark.parametrize("label", [Label.EVENT, Label.UNKNOWN])
def test_water_of_a_confirmed_event_does_not_become_normal(label):
    pipeline, water, alert = spilled()
    water.feed(pipeline, 12 * HOURS)
    now = T0 + water.minute * MINUTE
    assert pipeline.classify(now, Classification(alert, label, "Ana", now)).alerts == []
    assert pipeline.alarms["baseline"].active


def test_a_word_on_an_older_alert_explains_nothing_new():
    pipeline, water, alert = spilled()
    water.feed(pipeline, 12 * HOURS)
    now = T0 + water.minute * MINUTE
    older = replace(alert, time=alert.time - 24 * HOURS * MINUTE)
    assert pipeline.classify(now, Classification(older, Label.NATURAL, "Ana", now)).alerts == []
    assert pipeline.alarms["baseline"].active


def test_water_that_came_back_leaves_none():
    pipeline, water, _ = spilled()
    water.change = {}
    assert "baseline" not in {a.alarm for a in raised(water.feed(pipeline, 24 * HOURS))}


def test_alarmed_water_is_held_not_learned_until_the_rule_or_a_word_says_so():
    pipeline, water, detector = told_apart({"do": (30.0, 2.0), "ammonium_n": (30.0, 0.1), "spcond": (30.0, 800.0)}, accept_after="6h")
    alert = raised(water.feed(pipeline, 5))[0]
    before = detector.learned
    water.feed(pipeline, 5 * HOURS)
    assert detector.learned == before
    assert detector.held > 4 * HOURS
    now = T0 + water.minute * MINUTE
    pipeline.classify(now, Classification(alert, Label.NATURAL, "Ana", now))
    detector.score = 0.0
    water.feed(pipeline, HOURS)
    assert detector.learned >= before + HOURS - 1


def test_learning_goes_on_by_the_rule_though_the_alarm_stands():
    pipeline, water, detector = told_apart({"do": (30.0, 2.0), "spcond": (30.0, 800.0)}, accept_after="6h", hold="0s")
    water.feed(pipeline, 7 * HOURS)
    assert pipeline.alarms["contamination"].active
    assert detector.learned > 5 * HOURS + 30


def test_what_operators_called_harmless_counts_less_from_then_on():
    account = {"do": (9.0, 9.0), "turbidity": (9.0, 1.0), "spcond": (9.0, 990.0)}
    pipeline, water, detector = told_apart(account, score=10.5)
    alert = raised(water.feed(pipeline, 5))[0]
    detector.score = 0.0
    water.feed(pipeline, 2 * HOURS)
    now = T0 + water.minute * MINUTE
    pipeline.classify(now, Classification(alert, Label.OPERATION, "Ana", now))
    detector.score = 10.5
    assert raised(water.feed(pipeline, 30)) == []
    detector.score = 16.0
    assert raised(water.feed(pipeline, 5)) != []


def test_the_least_that_is_found_is_told_in_the_channels_units():
    pipeline, water = made(), Water()
    water.feed(pipeline, 26 * HOURS)
    sizes = pipeline.detectable
    assert set(sizes) == set(WATER)
    for channel, (_, noise) in WATER.items():
        assert 2 * noise < sizes[channel] < 12 * noise, channel
    water.change = {"spcond": 2 * sizes["spcond"], "uv254": 2 * sizes["uv254"]}
    assert raised(water.feed(pipeline, 5)) != []


@pytest.mark.parametrize(("water_kind", "alarm"), [("river", "sensor"), ("treated", "contamination")])
def test_a_cell_that_runs_dry_silences_a_river_and_not_a_plant(water_kind, alarm):
    detector = Told()
    document = {
        "station": {"id": "dry", "water": water_kind}, "channels": {name: {} for name in WATER}, "detection": {"warmup": "4h"},
    }  # fmt: skip
    pipeline, water = Pipeline(station_from(document, Path("dry.toml")), {"told": detector}), Water()
    water.feed(pipeline, 5 * HOURS)
    detector.score, detector.account = 12.0, {"spcond": (30.0, 950.0), "ph": (30.0, 6.0), "do": (30.0, 3.0)}
    water.change = {"spcond": -945.0}
    assert [a.alarm for a in raised(water.feed(pipeline, 10))] == [alarm]


@pytest.mark.parametrize(("nats", "alarm"), [(9.0, "sensor"), (12.0, "contamination")])
def test_a_composite_and_its_source_are_one_witness_that_has_to_reach_the_level_alone(nats, alarm):
    detector = Told()
    pipeline = made(channels={"index": {"formula": "2 * ph"}}, detectors={"told": detector})
    water = Water()
    water.feed(pipeline, 5 * HOURS)
    detector.score, detector.account = 12.0, {"ph": (nats, 7.0), "index": (nats, 14.0)}
    assert [a.alarm for a in raised(water.feed(pipeline, 10))] == [alarm]
