"""Holt-Winters, the sequential test and the change of regime: what each is for, and what all of them promise."""

import math
import pickle
import random

import pytest

from detectors.canary_lpcf import LpcfDetector
from detectors.canary_mvnn import MvnnDetector
from detectors.holt_winters import HoltWintersDetector
from detectors.regime import RegimeDetector
from detectors.sequential import SequentialDetector
from ewarn.testing import CHANNELS, detector_checks, synthetic_sample

RESOLUTION = {"ph": 0.01, "spcond": 0.1, "do": 0.01, "turbidity": 0.01, "orp": 0.1}
SHORT = {"window": 40, "outlier": 3.0, "bed_window": 4, "threshold": 0.9, "timeout": 30}
KINDS = {
    "holt_winters": (HoltWintersDetector, {}),
    "holt_winters with a season": (HoltWintersDetector, {"season": 0.1, "step_s": 3600}),
    "sequential": (SequentialDetector, {}),
    "regime": (RegimeDetector, {}),
    "canary_lpcf": (LpcfDetector, SHORT),
    "canary_mvnn": (MvnnDetector, SHORT),
}
QUIET = {name: mean for name, (mean, _) in CHANNELS.items()}


def new(name, **settings):
    kind, usual = KINDS[name]
    return kind(**{"step_s": 60, "resolution": RESOLUTION, **usual, **settings})


@pytest.mark.parametrize("check", detector_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
@pytest.mark.parametrize("name", KINDS)
def test_conformance(name, declared, check):
    check(lambda: new(name) if declared else new(name, resolution=None))


def changed(x, z, channels):
    """The sample with these channels moved by z times their noise."""
    return {name: value + z * CHANNELS[name][1] * (name in channels) for name, value in x.items()}


def trained(detector, steps=1200, seed=1):
    rng = random.Random(seed)
    for _ in range(steps):
        detector.learn_one(synthetic_sample(rng))
    return detector, rng


def delay(detector, rng, change, most=60):
    """Samples until the threshold is reached, None where it is not within `most`."""
    for i in range(most):
        x = change(i, synthetic_sample(rng))
        if detector.score_one(x) >= detector.threshold:
            return i
        detector.learn_one(x)
    return None


@pytest.mark.parametrize("name", KINDS)
def test_a_step_in_two_channels_is_found_and_quiet_water_is_not(name):
    detector, rng = trained(new(name))
    assert delay(detector, rng, lambda _i, x: x) is None
    assert delay(detector, rng, lambda _i, x: changed(x, 12, {"ph", "spcond"})) <= 5


@pytest.mark.parametrize("name", ["sequential", "regime"])  # the baselines learn it as it comes
def test_a_ramp_in_two_channels_is_found(name):
    detector, rng = trained(new(name))
    assert delay(detector, rng, lambda i, x: changed(x, 0.4 * i, {"ph", "do"})) is not None


@pytest.mark.parametrize("name", ["sequential", "regime"])
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("z", [6, 100, 1e9])
def test_one_channel_alone_never_reaches_the_threshold(name, channel, z):
    detector, _ = trained(new(name), 400)
    highest = 0.0
    for _ in range(40):
        highest = max(highest, detector.score_one(changed(QUIET, z, {channel})))
        detector.learn_one(changed(QUIET, z, {channel}))
    assert detector.threshold * 0.5 < highest < detector.threshold


@pytest.mark.parametrize("name", ["canary_lpcf", "canary_mvnn", "holt_winters"])
def test_one_channel_alone_is_an_event_to_a_baseline(name):
    detector, rng = trained(new(name), 400)
    assert delay(detector, rng, lambda i, x: changed(x, 100 + 30 * (i % 2), {"orp"})) is not None


@pytest.mark.parametrize("name", KINDS)
def test_what_is_missing_is_no_evidence(name):
    detector, rng = trained(new(name))
    for i in range(200):
        x = {channel: v for channel, v in synthetic_sample(rng).items() if rng.random() < 0.6 and channel != "ph"}
        score = detector.score_one(x)
        assert math.isfinite(score)
        assert score < detector.threshold, f"after {i} samples with gaps"
        detector.learn_one(x)


@pytest.mark.parametrize("days", [0.5, 3])
@pytest.mark.parametrize("name", ["holt_winters", "sequential", "regime"])
def test_other_water_after_days_without_any_is_learned_before_it_counts(name, days):
    detector, rng = trained(new(name))
    for _ in range(int(days * 1440)):
        detector.learn_one({})
    assert delay(detector, rng, lambda _i, x: changed(x, 30, set(CHANNELS))) is None


@pytest.mark.parametrize("name", KINDS)
def test_causal(name):
    """What comes later changes no score: a detector that was copied on the way says the same."""
    rng = random.Random(4)
    rows = [changed(synthetic_sample(rng), 9 * (i % 100 > 90), {"ph", "do"}) for i in range(400)]
    long, short = [], []
    for scores, count in ((long, 400), (short, 250)):
        detector = new(name)
        for x in rows[:count]:
            scores.append(detector.score_one(x))
            detector.learn_one(x)
    assert long[:250] == short


MOST_BYTES = {
    "holt_winters": 4_000, "holt_winters with a season": 8_000, "sequential": 2_000, "regime": 4_000,
    "canary_lpcf": 8_000, "canary_mvnn": 8_000,
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_its_state_is_small(name):
    detector, _ = trained(new(name), 3000)
    assert len(pickle.dumps(detector)) < MOST_BYTES[name]


@pytest.mark.parametrize("name", ["holt_winters", "sequential", "regime"])
def test_explanation_names_the_channel_and_what_was_expected(name):
    detector, _ = trained(new(name))
    moved = changed(QUIET, 40, {"do"})
    for _ in range(3 if name == "regime" else 0):
        detector.learn_one(moved)
    told = detector.explain_one(moved)
    assert max(told, key=lambda c: told[c][0]) == "do"
    assert told["do"][1] == pytest.approx(8.0, abs=0.2)
    assert told["do"][0] >= 12


@pytest.mark.parametrize("name", KINDS)
def test_operation_is_passed_over(name):
    detector = new(name, resolution=RESOLUTION | {"flow": 1.0}, roles={"flow": "operation"})
    rng = random.Random(2)
    for _ in range(500):
        detector.learn_one(synthetic_sample(rng) | {"flow": rng.gauss(1000, 1)})
    for _ in range(20):
        x = synthetic_sample(rng)
        assert detector.score_one(x | {"flow": 5000.0}) == detector.score_one(x | {"flow": 1000.0})
        detector.learn_one(x | {"flow": 5000.0})


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("holt_winters", {"level": 0}, "level"),
        ("holt_winters", {"season": 0.1}, "five minutes"),
        ("holt_winters", {"season": 0.1, "trend": 0, "step_s": 3600}, "trend"),
        ("sequential", {"threshold": 28}, "one channel"),
        ("sequential", {"drift": 30.0}, "drift"),
        ("sequential", {"level_s": 0}, "level_s"),
        ("regime", {"threshold": 1.0}, "one channel"),
        ("regime", {"fade_s": 0}, "fade_s"),
        ("canary_lpcf", {"window": 1}, "window"),
        ("canary_mvnn", {"bed_chance": 1.0}, "bed_chance"),
        ("canary_mvnn", {"threshold": 0.4}, "threshold"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, settings, problem):
    with pytest.raises(ValueError, match=problem):
        new(name, **settings)


# Holt-Winters


def test_a_trend_is_followed_and_its_end_is_not():
    detector = new("holt_winters", trend=0.3)
    for i in range(400):
        detector.learn_one({"spcond": 900 + 2.0 * i})
    assert detector.explain_one({"spcond": 1700.0})["spcond"][1] == pytest.approx(1700, abs=2)
    assert detector.score_one({"spcond": 1700.0}) < 1 < detector.score_one({"spcond": 1650.0})


def daily(i, shift=0.0):
    return {"do": 8 + 2 * math.sin(2 * math.pi * (i % 24) / 24) + shift}


def test_a_season_knows_the_time_of_day():
    detector = new("holt_winters with a season", resolution={"do": 0.01}, season=0.3)
    plain = new("holt_winters", step_s=3600, resolution={"do": 0.01})
    for i in range(725):
        detector.learn_one(daily(i))
        plain.learn_one(daily(i))
    missed = [abs(d.explain_one(daily(725))["do"][1] - daily(725)["do"]) for d in (detector, plain)]
    assert missed[0] < 0.5 * missed[1]


# sequential


def test_large_events_at_once_small_ones_after_some_samples():
    waits = [delay(*trained(new("sequential")), lambda _i, x, z=z: changed(x, z, {"ph", "do"})) for z in (9, 5, 3.8)]
    assert waits[0] == 0
    assert waits[0] < waits[1] < waits[2] < 20


def test_a_stronger_event_scores_higher_however_strong():
    detector, _ = trained(new("sequential"))
    scores = [detector.score_one(changed(QUIET, z, {"ph", "do"})) for z in (4, 6, 8, 10, 30, 100, 1e3, 1e4)]
    assert scores == sorted(set(scores))


def test_sums_are_down_soon_after_an_event():
    detector, rng = trained(new("sequential"))
    for _ in range(10):
        detector.learn_one(changed(synthetic_sample(rng), 20, {"ph", "do"}))
    assert detector.score_one(QUIET) > detector.threshold
    rested, rng = trained(detector, 8, seed=9)
    assert rested.score_one(QUIET) < 1


# regime


def test_a_change_fades_within_hours_and_two_channels_count_twice():
    detector, rng = trained(new("regime"))
    for _ in range(10):
        detector.learn_one(changed(synthetic_sample(rng), 12, {"ph", "do"}))
    fresh = detector.score_one(QUIET)
    assert 1.5 < fresh <= 2
    assert detector.score_one({"ph": 8.0}) == pytest.approx(fresh / 2, rel=0.2)
    for _ in range(180):
        detector.learn_one({})
    assert detector.score_one(QUIET) == pytest.approx(fresh * math.exp(-3))
