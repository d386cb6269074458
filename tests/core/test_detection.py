"""Detectors of any kind in the pipeline: what they give is used, or they are switched off; nobody else suffers."""

import math
from pathlib import Path

import pytest
from synthetic import MINUTE, T0, WATER

from ewarn.config import station_from
from ewarn.contracts import Cause, Readiness, Sample
from ewarn.core.detection import Detection, derived
from ewarn.registry import load_detectors


def station(*channels, probes=False, **detection):
    document = {"station": {"id": "d"}, "detection": {"warmup": "5m", "hold": "0s", **detection}}
    if probes:
        names = {"a": list(channels)}
        document |= {
            "lines": {"x": {"kind": "tcp", "host": "127.0.0.1", "port": 1}},
            "probes": [{"id": p, "driver": "modbus", "line": "x", "channels": c} for p, c in names.items()],
        }
    else:
        document["channels"] = {name: {} for name in channels or WATER}
    return station_from(document, Path("d.toml"))


class Lawful:
    """Scores what it is told to."""

    def __init__(self, score=0.1, threshold=1.0, **more):
        self.score, self.threshold = score, threshold
        for name, value in more.items():
            setattr(self, name, value)

    def learn_one(self, x):
        pass

    def score_one(self, x):
        return self.score


def judge(detectors, steps=20, **sample):
    detection = Detection(station(), detectors)
    values = {name: mean for name, (mean, _) in WATER.items()} | sample
    verdicts = [detection.judge(Sample(T0 + i * MINUTE, values)) for i in range(steps)]
    return detection, verdicts[-1]


@pytest.mark.parametrize("score", ["much", None, math.nan, math.inf, [1.0], {}])
def test_a_score_that_is_no_number_switches_its_detector_off_alone(score):
    detection, verdict = judge({"odd": Lawful(score), "good": Lawful(0.5)})
    assert list(detection.faults) == ["odd"]
    assert verdict.readiness is Readiness.READY
    assert set(verdict.scores) == {"good"}


@pytest.mark.parametrize(
    "told",
    [None, 7, {"ph": 3.0}, {"ph": ("much", 1.0)}, {"ph": (9.0, math.inf)}, {"ph": (math.nan, 8.0)}, {"ph": (1, 2, 3)}],
)
def test_an_account_that_is_none_costs_its_detector_and_nobody_else(told):
    detection, verdict = judge({"odd": Lawful(9.0, explain_one=lambda _x: told)})
    assert verdict.abnormal is False or verdict.cause is Cause.UNKNOWN
    assert list(detection.faults) == ["odd"]


def test_an_account_of_a_channel_that_is_not_there_is_passed_over():
    account = {"nowhere": (20.0, 1.0), "ph": (20.0, 8.0), "spcond": (19.0, 900.0)}
    detection, verdict = judge({"odd": Lawful(9.0, explain_one=lambda _x: account)})
    assert [e.channel for e in verdict.evidence] == ["ph", "spcond"]
    assert detection.faults == {}


@pytest.mark.parametrize(("score", "low", "high"), [(0.0, 0.0, 1e-6), (1.0, 0.1, 0.25), (1e60, 0.999, 1.0), (1e308, 0.999, 1.0)])
def test_any_lawful_score_gives_a_probability(score, low, high):
    _, verdict = judge({"one": Lawful(score)})
    assert low <= verdict.probability <= high


def test_doubts_of_a_detector_make_a_sensor_of_the_cause():
    _, verdict = judge({"one": Lawful(0.1, doubt_one=lambda _x: {"ph": "stuck", "nowhere": "jump"})})
    assert (verdict.cause, verdict.doubts, verdict.abnormal) == (Cause.SENSOR, {"ph": "stuck"}, False)


def test_one_channel_is_an_event_only_of_a_detector_that_doubts_sensors():
    def account(x):
        return {"ph": (20.0, 8.0)}

    _, doubting = judge({"one": Lawful(9.0, explain_one=account, doubt_one=lambda _x: {})})
    _, simple = judge({"one": Lawful(9.0, explain_one=account)})
    assert (doubting.cause, simple.cause) == (Cause.CONTAMINATION, Cause.SENSOR)


@pytest.mark.parametrize(
    ("channels", "dropped"),
    [
        (("spcond", "tds", "salinity", "ph"), {"tds", "salinity"}),
        (("do", "do_sat"), {"do_sat"}),
        (("do_sat", "ph"), set()),
        (("conductivity", "spcond_2"), set()),
        (("spcond_2", "tds_2", "tds"), {"tds_2"}),
    ],
)
def test_what_is_computed_from_one_sensor_is_no_second_witness(channels, dropped):
    assert derived(station(*channels).channels) == dropped


def test_a_conductivity_cell_that_fails_is_a_sensors_fault_though_it_moves_two_channels():
    made = station("spcond", "tds", "ph", "turbidity")
    detection = Detection(made, load_detectors(made))
    water = {"spcond": 950.0, "tds": 608.0, "ph": 8.0, "turbidity": 20.0}
    for i in range(200):
        detection.judge(Sample(T0 + i * MINUTE, {n: v * (1 + 0.001 * ((i * 7) % 5 - 2)) for n, v in water.items()}))
    failed = water | {"spcond": 950 * 1.3, "tds": 608 * 1.3}
    verdicts = [detection.judge(Sample(T0 + (200 + i) * MINUTE, failed)) for i in range(10)]
    assert not any(v.abnormal for v in verdicts)
    assert verdicts[-1].cause is Cause.SENSOR


@pytest.mark.parametrize(("second", "cause"), [(6.0, Cause.SENSOR), (7.0, Cause.CONTAMINATION)])
def test_what_a_second_channel_shows_by_chance_is_no_witness(second, cause):
    account = {"ph": (20.0, 8.0), "spcond": (second, 900.0), "orp": (4.5, 300.0)}
    _, verdict = judge({"one": Lawful(9.0, explain_one=lambda _x: account)})
    assert verdict.cause is cause
