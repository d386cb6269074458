"""The whole of what decides, on synthetic water."""

import math
from pathlib import Path

import msgspec
import pytest
from synthetic import MINUTE, T0, WATER, Water

from ewarn.config import station_from
from ewarn.contracts import AlarmState, Cause, Quality, Readiness, Reading
from ewarn.core.alarms import AlarmRecord
from ewarn.core.pipeline import CONTAMINATION, SENSOR, Pipeline

HOURS = 60


@pytest.fixture
def pipeline(station, detectors):
    return Pipeline(station, detectors())


def alerts(steps):
    return [a for step in steps for a in step.alerts]


def verdicts(steps):
    return [v for step in steps for v in step.verdicts]


def test_it_warms_up_and_then_judges(pipeline, water):
    seen = verdicts(water.feed(pipeline, 6 * HOURS))
    assert [v.readiness for v in seen[:239]] == [Readiness.WARMING] * 239
    assert all(v.readiness is Readiness.READY and 0 < v.probability < 0.5 for v in seen[241:])
    assert len(seen) == 360


def test_quiet_water_raises_nothing(pipeline, water):
    assert alerts(water.feed(pipeline, 3 * 24 * HOURS)) == []


def test_two_channels_moving_are_a_contamination_within_few_samples(pipeline, water):
    water.feed(pipeline, 12 * HOURS)
    water.change = {"spcond": 60.0, "uv254": 0.05}
    onset = water.minute + 1
    steps = water.feed(pipeline, 5)
    (alert,) = alerts(steps)
    assert (alert.alarm, alert.state, alert.cause) == (CONTAMINATION, AlarmState.UNACKNOWLEDGED, Cause.CONTAMINATION)
    assert alert.probability > 0.3
    assert max(alert.causes, key=alert.causes.get) is Cause.CONTAMINATION
    assert "several_sensors" in alert.findings
    assert {e.channel for e in alert.evidence} == {"spcond", "uv254"}
    moved = {e.channel: e for e in alert.evidence}
    assert moved["spcond"].expected == pytest.approx(950, abs=3)
    assert moved["spcond"].value == pytest.approx(1010, abs=10)
    assert alert.onset == T0 + onset * MINUTE
    assert alert.time <= T0 + (onset + 2) * MINUTE


def test_the_alert_ends_and_a_new_one_is_a_new_occurrence(pipeline, water):
    water.feed(pipeline, 12 * HOURS)
    for _ in range(2):
        water.change = {"spcond": 60.0, "uv254": 0.05}
        water.feed(pipeline, 20)
        pipeline.acknowledge(0, CONTAMINATION, "Ana")
        water.change = {}
        water.feed(pipeline, 6 * HOURS)
    assert pipeline.alarms[CONTAMINATION].occurrence == 2
    assert pipeline.alarms[CONTAMINATION].state is AlarmState.NORMAL


@pytest.mark.parametrize("channel", ["ph", "spcond", "do", "orp", "uv254"])
@pytest.mark.parametrize("size", [5, 50, 5000])
def test_one_channel_alone_is_a_sensor_never_a_contamination(station, detectors, water, channel, size):
    pipeline = Pipeline(station, detectors())
    water.feed(pipeline, 10 * HOURS)
    water.change = {channel: WATER[channel][1] * size}
    found = alerts(water.feed(pipeline, 2 * HOURS))
    assert [a for a in found if a.alarm == CONTAMINATION] == []
    if size == 50:  # larger ones are out of range, and flagged as that
        alert = found[0]
        assert (alert.alarm, alert.cause, alert.detail["channel"]) == (SENSOR, Cause.SENSOR, channel)


def test_a_dead_probe_is_its_own_alarm_and_so_is_its_return(pipeline, water):
    water.feed(pipeline, 10 * HOURS)
    water.dead = {"sonde"}
    dead = alerts(water.feed(pipeline, 3 * HOURS))
    assert [(a.alarm, a.state, a.cause) for a in dead] == [
        ("probe-sonde", AlarmState.UNACKNOWLEDGED, Cause.COMMUNICATION)
    ]
    assert dead[0].detail == {"probe": "sonde", "reason": "no_reply"}
    water.dead, water.change = set(), {"ph": 0.5, "spcond": 80.0, "do": -1.0}  # the river went on meanwhile
    back = alerts(water.feed(pipeline, 6 * HOURS))
    assert [(a.alarm, a.state) for a in back] == [("probe-sonde", AlarmState.RETURNED_UNACKNOWLEDGED)]


def test_all_probes_dead_is_no_data_and_no_contamination(pipeline, water):
    water.feed(pipeline, 10 * HOURS)
    water.dead = {"sonde", "redox", "cabinet"}
    steps = water.feed(pipeline, 60)
    assert {v.readiness for v in verdicts(steps)} == {Readiness.NO_DATA}
    assert {a.alarm for a in alerts(steps)} == {"probe-sonde", "probe-redox", "probe-cabinet"}


def test_silence_without_any_reading_is_noticed_by_the_ticks(pipeline, water):
    water.feed(pipeline, 10)
    now = T0 + 11 * MINUTE
    found = [a for i in range(12) for a in pipeline.tick(now + i * MINUTE).alerts]
    assert {a.alarm for a in found} == {"probe-sonde", "probe-redox", "probe-cabinet"}


def test_a_probe_out_of_the_water_is_a_sensor(pipeline, water):
    water.feed(pipeline, 10 * HOURS)
    water.change = {"spcond": -948.0, "do": 1.5, "ph": -1.0}
    found = alerts(water.feed(pipeline, 60))
    assert {a.alarm for a in found} == {SENSOR}


def test_learning_is_held_back_but_not_for_ever(pipeline, water):
    water.feed(pipeline, 12 * HOURS)
    water.change = {"spcond": 60.0, "uv254": 0.05}
    held = verdicts(water.feed(pipeline, 30))
    assert all(v.evidence[0].expected == pytest.approx(held[0].evidence[0].expected) for v in held[:25] if v.evidence)
    later = verdicts(water.feed(pipeline, 24 * HOURS))
    assert not later[-1].abnormal


class Raising:
    threshold = 1.0

    def learn_one(self, x):
        raise RuntimeError("boom")

    def score_one(self, x):
        raise RuntimeError("boom")


class Spy:
    def __init__(self):
        self.values = []

    def learn_one(self, x):
        self.values += x.values()

    def score_one(self, x):
        self.values += x.values()
        return 0.0


def test_a_raising_detector_is_switched_off_and_stops_no_other(station, detectors, water):
    pipeline = Pipeline(station, {**detectors(), "bad": Raising()})
    water.feed(pipeline, 12 * HOURS)
    assert "boom" in pipeline.faults["bad"]
    water.change = {"spcond": 60.0, "uv254": 0.05}
    assert alerts(water.feed(pipeline, 5))


def test_detectors_never_see_what_is_no_number(station):
    spy = Spy()
    pipeline = Pipeline(station, {"spy": spy})
    for i, value in enumerate([8.0, math.nan, None, math.inf, 99.0, 8.1]):
        quality = Quality.MISSING if value is None else Quality.NOT_EVALUATED
        pipeline.accept(i * MINUTE, [Reading("ph", i * MINUTE + 1, value, quality, "")])
        pipeline.tick((i + 1) * MINUTE + 20_000)
    assert spy.values
    assert set(spy.values) <= {8.0, 8.1}


def _restarted(station, detectors, water_seed, change_at, restart_at, total):
    """Alerts of a run that is restarted once by replaying its journal."""
    water, journal, found = Water(water_seed), [], []
    pipeline = Pipeline(station, detectors())
    for minute in range(total):
        water.change = {"spcond": 60.0, "uv254": 0.05} if change_at <= minute < change_at + 40 else {}
        if minute == restart_at:
            kept = {
                k: msgspec.json.decode(msgspec.json.encode(r), type=AlarmRecord) for k, r in pipeline.alarms.items()
            }
            pipeline = Pipeline(station, detectors(), kept)
            pipeline.begin_warming()
            shadow = Pipeline(station, detectors(), muted=True)
            for now, readings in journal:
                assert shadow.accept(now, readings).alerts == []
            pipeline.adopt(shadow)
        now, readings = water.batch()
        journal.append((now, readings))
        found += pipeline.accept(now, readings).alerts
    return found


@pytest.mark.parametrize("restart_at", [600, 700, 715, 722, 760])
def test_a_restart_changes_no_alert(station, detectors, restart_at):
    without = _restarted(station, detectors, 3, 720, 10_000, 900)
    assert [a.alarm for a in without] == [CONTAMINATION, CONTAMINATION]
    with_restart = _restarted(station, detectors, 3, 720, restart_at, 900)
    assert [(a.id, a.state) for a in with_restart] == [(a.id, a.state) for a in without]


def test_while_warming_data_flows_and_says_so(station, detectors, water):
    pipeline = Pipeline(station, detectors())
    pipeline.begin_warming()
    water.change = {"spcond": 500.0, "uv254": 1.0}
    steps = water.feed(pipeline, 10)
    assert all(len(step.readings) == 5 for step in steps)
    assert {v.readiness for v in verdicts(steps)} == {Readiness.WARMING}
    assert alerts(steps) == []


def test_the_same_history_gives_the_same_verdicts(station, detectors):
    runs = [verdicts(Water(7).feed(Pipeline(station, detectors()), 8 * HOURS)) for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_slow_probe_is_not_silent_between_two_readings(detectors):
    slow = station_from(
        {
            "station": {"id": "slow"},
            "lines": {"x": {"kind": "tcp", "host": "127.0.0.1", "port": 1}},
            "probes": [{"id": "sonde", "driver": "modbus", "line": "x", "channels": ["ph", "do"], "every": "15m"}],
        },
        Path("slow.toml"),
    )
    pipeline = Pipeline(slow, {})
    steps = []
    for minute in range(120):
        now = T0 + minute * MINUTE
        if minute % 15 == 0:
            steps.append(pipeline.accept(now, [Reading("ph", now, 8.0), Reading("do", now, 8.0)]))
        steps.append(pipeline.tick(now + 30_000))
    assert alerts(steps) == []
    assert not [r for step in steps for r in step.readings if r.reason == "gap"]
    late = [pipeline.tick(T0 + minute * MINUTE) for minute in range(120, 180)]
    assert [(a.alarm, a.detail["reason"]) for a in alerts(late)] == [("probe-sonde", "gap")]
    assert [r.channel for step in late for r in step.readings] == ["ph", "do"]


def test_the_reason_of_a_silence_is_the_newest(pipeline, water):
    water.feed(pipeline, 30)
    water.dead = {"redox"}
    water.feed(pipeline, 2)
    water.dead = set()
    water.feed(pipeline, 2)
    silent = [pipeline.tick(T0 + (water.minute + i) * MINUTE) for i in range(1, 12)]
    assert {a.detail["reason"] for a in alerts(silent)} == {"gap"}
