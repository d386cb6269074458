"""Our detectors, and river's own, pass the conformance kit; ours do what their docstrings say."""

import doctest
import math
import random

import pytest
from river import anomaly

from detectors import residual
from detectors.forecast import ForecastDetector
from detectors.residual import ResidualDetector
from detectors.residual_trees import ResidualTrees
from ewarn.testing import CHANNELS, detector_checks, synthetic_sample

RESOLUTION = {"ph": 0.01, "spcond": 0.1, "do": 0.01, "turbidity": 0.01, "orp": 0.1}
MAKERS = {
    "residual": lambda: ResidualDetector(step_s=60, resolution=RESOLUTION),
    "residual alone": lambda: ResidualDetector(step_s=60, resolution=RESOLUTION, alone=True),
    "residual without resolution": lambda: ResidualDetector(step_s=900),
    "forecast": lambda: ForecastDetector(step_s=900, resolution=RESOLUTION),
    "forecast without resolution": lambda: ForecastDetector(step_s=900),
    "residual_trees": lambda: ResidualTrees(step_s=60, resolution=RESOLUTION),
    "residual_trees without resolution": lambda: ResidualTrees(step_s=60),
    "river HalfSpaceTrees": lambda: anomaly.HalfSpaceTrees(seed=1, n_trees=5, height=4, window_size=50),
}
RIVERS_OWN_LIMITS = {("river HalfSpaceTrees", "check_empty_sample")}  # an empty first sample divides nothing


@pytest.mark.parametrize("check", detector_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", MAKERS)
def test_conformance(name, check):
    if (name, check.__name__) in RIVERS_OWN_LIMITS:
        with pytest.raises(IndexError):
            check(MAKERS[name])
        return
    check(MAKERS[name])


def test_example_in_the_docstring():
    result = doctest.testmod(residual)
    assert result.attempted
    assert not result.failed


def trained(detector, steps=2000, seed=1):
    rng = random.Random(seed)
    for _ in range(steps):
        detector.learn_one(synthetic_sample(rng))
    return detector, synthetic_sample(rng)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("factor", [1e1, 1e3, 1e9, 1e200])
def test_no_channel_alone_reaches_the_threshold(channel, factor):
    detector, x = trained(MAKERS["residual"]())
    quiet = {name: mean for name, (mean, _) in CHANNELS.items()}
    loud = {**quiet, channel: quiet[channel] + factor * CHANNELS[channel][1]}
    assert detector.score_one(quiet) < 3
    assert detector.score_one(loud) - detector.score_one(quiet) < detector.threshold - 0.3
    del x


def test_two_channels_do_and_stronger_is_more():
    detector, _ = trained(MAKERS["residual"]())
    scores = [
        detector.score_one({name: mean + z * noise for name, (mean, noise) in CHANNELS.items()})
        for z in (0, 1, 3, 5, 7, 10, 30, 100, 1e4, 1e8)
    ]
    assert scores == sorted(scores)
    assert len(set(scores)) == len(scores), "the score saturates"
    assert scores[4] > detector.threshold > scores[2]


def test_explanation_names_the_channel_and_what_was_expected():
    detector, x = trained(MAKERS["residual"]())
    told = detector.explain_one({**x, "do": 5.0})
    loudest = max(told, key=lambda c: told[c][0])
    assert loudest == "do"
    assert told["do"][1] == pytest.approx(8.0, abs=0.05)


def test_an_outlier_hardly_moves_what_is_known():
    detector, x = trained(MAKERS["residual"]())
    before = detector.explain_one(x)["ph"][1]
    detector.learn_one({**x, "ph": 1e6})
    assert detector.explain_one(x)["ph"][1] == pytest.approx(before, abs=0.01)


def test_operation_is_passed_over():
    detector = ResidualDetector(step_s=60, resolution=RESOLUTION | {"flow": 1.0}, roles={"flow": "operation"})
    rng = random.Random(2)
    for _ in range(500):
        detector.learn_one(synthetic_sample(rng) | {"flow": rng.gauss(1000, 1)})
    quiet = {name: mean for name, (mean, _) in CHANNELS.items()}
    assert detector.score_one(quiet | {"flow": 5000.0}) == detector.score_one(quiet | {"flow": 1000.0})


def test_after_a_long_gap_a_channel_is_learned_anew_before_it_counts():
    detector, _ = trained(MAKERS["residual"]())
    rng = random.Random(3)
    for _ in range(60):
        detector.learn_one({k: v for k, v in synthetic_sample(rng).items() if k != "ph"})
    x = synthetic_sample(rng) | {"ph": 9.0}
    assert "ph" not in detector.explain_one(x)
    for _ in range(40):
        detector.learn_one(synthetic_sample(rng) | {"ph": 9.0 + rng.gauss(0, 0.02)})
    score, expected = detector.explain_one(synthetic_sample(rng) | {"ph": 9.0})["ph"]
    assert expected == pytest.approx(9.0, abs=0.02)
    assert score < 3


def rising(detector, x, steps, of, by=0.02):
    """Scores while one channel rises by so much a step from where it is, and all else stays quiet."""
    scores = []
    for i in range(steps):
        sample = x | {of: x[of] + by * (i + 1)}
        scores.append(detector.score_one(sample))
        detector.learn_one(sample)
    return scores


def test_a_channel_that_goes_straight_on_is_enough_only_where_that_is_asked_for():
    quiet = {name: mean for name, (mean, _) in CHANNELS.items()}
    for name, found in (("residual alone", True), ("residual", False)):
        detector, _ = trained(MAKERS[name](), 4000)
        scores = rising(detector, quiet, 29, "ph")
        assert (max(scores) >= detector.threshold) == found, name


def test_a_jump_alone_is_doubted_and_no_event_even_where_a_straight_way_is():
    detector, _ = trained(MAKERS["residual alone"](), 4000)
    quiet = {name: mean for name, (mean, _) in CHANNELS.items()}
    for _ in range(60):
        jumped = quiet | {"ph": quiet["ph"] + 0.5}
        assert detector.score_one(jumped) < 0.8 * detector.threshold
        assert detector.doubt_one(jumped) == {"ph": "jump"}
        detector.learn_one(jumped)


def test_on_its_way_back_to_its_level_a_channel_is_no_event():
    detector, _ = trained(MAKERS["residual alone"](), 4000)
    quiet = {name: mean for name, (mean, _) in CHANNELS.items()}
    away = quiet | {"ph": quiet["ph"] + 1.0}
    for _ in range(20):
        detector.learn_one(away)
    assert max(rising(detector, away, 45, "ph", by=-0.02)) < detector.threshold


def test_a_second_channel_has_to_show_more_where_there_are_more():
    def scored(channels, second):
        rng = random.Random(5)
        names = [f"c{i}" for i in range(channels)]
        detector = ResidualDetector(resolution=dict.fromkeys(names, 0.001))
        for _ in range(1500):
            detector.learn_one({name: rng.gauss(8, 0.1) for name in names})
        x = dict.fromkeys(names, 8.0) | {"c0": 20.0, "c1": 8 + second * 0.1}
        return detector.score_one(x) >= detector.threshold

    assert scored(3, 3.4)
    assert not scored(30, 3.4)
    assert scored(30, 5.0)


def test_while_an_event_lasts_its_second_channel_may_fade():
    detector, _ = trained(MAKERS["residual"](), 3000)
    quiet = {name: mean for name, (mean, _) in CHANNELS.items()}
    ph, orp = (RESOLUTION | dict(CHANNELS))["ph"], CHANNELS["orp"]
    both = quiet | {"ph": ph[0] + 40 * ph[1], "orp": orp[0] + 8 * orp[1]}
    fading = both | {"orp": orp[0] + 2.4 * orp[1]}
    alone = detector.score_one(fading)
    detector.learn_one(both)
    assert detector.score_one(fading) == alone, "once is no event"
    detector.learn_one(both)
    assert alone < detector.threshold <= detector.score_one(fading)


def test_an_event_is_not_learned_for_half_an_hour_and_then_slowly():
    detector, _ = trained(MAKERS["residual"](), 3000)
    quiet = {name: mean for name, (mean, _) in CHANNELS.items()}
    event = quiet | {name: quiet[name] + 10 * CHANNELS[name][1] for name in ("ph", "orp")}
    before = detector.explain_one(quiet)["ph"][1]
    for _ in range(30):
        detector.learn_one(event)
    assert detector.explain_one(quiet)["ph"][1] == before
    for _ in range(600):
        detector.learn_one(event)
    assert detector.explain_one(quiet)["ph"][1] == pytest.approx(event["ph"], abs=3 * CHANNELS["ph"][1])


def test_threshold_within_reach_of_one_channel_is_refused():
    with pytest.raises(ValueError, match="one channel"):
        ResidualDetector(cap=20, threshold=21)


def test_trees_score_a_strong_change_higher_than_quiet_water():
    detector, _ = trained(MAKERS["residual_trees"](), 1500)
    quiet = detector.score_one({name: mean for name, (mean, _) in CHANNELS.items()})
    loud = detector.score_one({name: mean + 9 * noise for name, (mean, noise) in CHANNELS.items()})
    assert math.isfinite(loud)
    assert loud > quiet + 0.3
