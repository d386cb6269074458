"""river's own anomaly detectors, named in a station file, on residuals of the water."""

import math
import pickle
import random
from pathlib import Path

import pytest

from detectors.any_river import AnyRiver
from ewarn.config import station_from
from ewarn.errors import ConfigError
from ewarn.registry import load_detectors
from ewarn.testing import CHANNELS, detector_checks, synthetic_sample

RESOLUTION = {"ph": 0.01, "spcond": 0.1, "do": 0.01, "turbidity": 0.01, "orp": 0.1}
SETTINGS = {
    "HalfSpaceTrees": {"n_trees": 10, "height": 6, "window_size": 100},
    "LODA": {"n_random_cuts": 20},
    "OneClassSVM": {},
    "LocalOutlierFactor": {"n_neighbors": 5},
}
FAST = [name for name in SETTINGS if name != "LocalOutlierFactor"]


def new(name, **ours):
    make = AnyRiver.named(f"river.anomaly.{name}")
    return make(**{"step_s": 60.0, "resolution": RESOLUTION, **SETTINGS[name], **ours})


@pytest.mark.parametrize("check", detector_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("ours", [{}, {"on": "values"}, {"threshold": 0.8}, {"resolution": None}], ids=str)
@pytest.mark.parametrize("name", FAST)
def test_conformance(name, ours, check):
    check(lambda: new(name, **ours))


def fed(detector, steps, seed=1, change=0.0):
    rng, scores = random.Random(seed), []
    for _ in range(steps):
        x = {name: value + change * CHANNELS[name][1] for name, value in synthetic_sample(rng).items()}
        scores.append(detector.score_one(x))
        detector.learn_one(x)
    return scores


@pytest.mark.parametrize("name", ["HalfSpaceTrees"])
def test_the_threshold_is_where_few_of_the_scores_are(name):
    detector = new(name, quantile=0.98)
    assert detector.threshold == 1
    fed(detector, 1000)
    share = sum(score >= 1 for score in fed(detector, 1000, seed=2)) / 1000
    assert share < 0.06
    assert sum(score >= 1 for score in fed(detector, 10, seed=3, change=12.0)) >= 5


def test_the_quantile_does_not_sink_by_what_it_holds_back():
    """Were the scores of events left out, each would make the next more likely."""
    detector = new("HalfSpaceTrees", quantile=0.95)
    fed(detector, 1000)
    early, late = (sum(s >= 1 for s in fed(detector, 2000, seed)) for seed in (2, 3))
    assert late < 2 * early + 40


def test_a_threshold_of_ones_own_is_in_the_scale_of_the_class():
    detector = new("HalfSpaceTrees", threshold=0.85)
    fed(detector, 400)
    x = {name: mean + 9 * noise for name, (mean, noise) in CHANNELS.items()}
    assert detector.threshold == 0.85
    assert detector.score_one(x) == detector._model.score_one(detector._seen(x))
    assert 0.85 < detector.score_one(x) <= 1


def test_an_event_is_not_learned_at_once_and_not_held_for_ever():
    detector = new("HalfSpaceTrees", quantile=0.95)
    fed(detector, 1000)
    learned = []
    detector._model.learn_one = learned.append
    far = {name: mean + 50 * noise for name, (mean, noise) in CHANNELS.items()}
    for _ in range(30):
        assert detector.score_one(far) >= 1
        detector.learn_one(far)
    assert not learned
    for _ in range(10):
        detector.learn_one(far)
    assert len(learned) == 10


@pytest.mark.parametrize("on", ["residuals", "values"])
@pytest.mark.parametrize("name", SETTINGS)
def test_what_a_class_is_shown_is_whole_and_finite_whatever_is_missing(name, on):
    detector, rng = new(name, on=on), random.Random(1)
    shown = []
    learn = detector._model.learn_one
    detector._model.learn_one = lambda x: (shown.append(x), learn(x))
    for _ in range(60):
        x = {k: v for k, v in synthetic_sample(rng).items() if rng.random() < 0.5} | {"uv254": 0.1}
        assert math.isfinite(detector.score_one(x))
        detector.learn_one(x)
    assert shown
    assert all(list(x) == sorted(RESOLUTION) for x in shown)
    assert all(math.isfinite(v) for x in shown for v in x.values())


def test_a_score_is_of_now_even_where_nothing_was_learned_in_between():
    detector = new("LODA")
    fed(detector, 600)
    far = {name: mean + 5 * noise for name, (mean, noise) in CHANNELS.items()}
    before = detector.score_one(far)
    for _ in range(60):
        detector.learn_one({})
    assert detector._seen(far) == dict.fromkeys(sorted(far), 0.0), "gone for an hour, a channel is not known"
    assert detector.score_one(far) != before


def test_its_state_is_small():
    detector = new("HalfSpaceTrees", n_trees=25, height=8)
    fed(detector, 500)
    early = len(pickle.dumps(detector))
    fed(detector, 1500)
    assert len(pickle.dumps(detector)) < 1.05 * early < 3_000_000


def loaded(**table):
    document = {"station": {"id": "s"}, "channels": {"ph": {}, "spcond": {}}, "detectors": [table]}
    return load_detectors(station_from(document, Path("s.toml")))


@pytest.mark.parametrize("name", SETTINGS)
def test_any_of_rivers_is_named_in_a_station_file(name):
    (detector,) = loaded(name=f"river.anomaly.{name}", **SETTINGS[name]).values()
    assert type(detector._model).__name__ == name
    for setting, value in SETTINGS[name].items():
        assert getattr(detector._model, setting) == value
    assert detector.resolution.keys() == {"ph", "spcond"}


def test_it_repeats_without_being_told_a_seed():
    one, two = (next(iter(loaded(name="river.anomaly.HalfSpaceTrees", window_size=50).values())) for _ in range(2))
    assert fed(one, 400) == fed(two, 400)
    assert any(fed(one, 100))


@pytest.mark.parametrize(
    ("table", "key", "problem"),
    [
        ({"name": "river"}, "name", "'river' stands for many detectors; say which, as river.package.Class"),
        ({"name": "river.anomaly.HalfSpaceTree"}, "name", "river has no 'river.anomaly.HalfSpaceTree'; it has: river"),
        ({"name": "river.nowhere.LODA"}, "name", "river has no 'river.nowhere.LODA'; it has: "),
        ({"name": "river.anomaly.GaussianScorer"}, "name", "'river.anomaly.GaussianScorer' is supervised: .*; it has"),
        ({"name": "river.anomaly.QuantileFilter"}, "name", "is a filter around a detector; name the detector itself"),
        ({"name": "river.stats.Mean"}, "name", "'river.stats.Mean' is no anomaly detector; it has: .*LODA"),
        ({"name": "residual.anomaly.X"}, "name", "unknown name 'residual.anomaly.X': 'residual' is one detector"),
        ({"name": "os.path.join"}, "name", "unknown detector 'os.path.join'; known: .*river"),
        ({"name": "river.anomaly.LODA", "n_tree": 3}, "n_tree", "unknown key; .*n_bins, n_random_cuts, seed"),
        ({"name": "river.anomaly.LODA", "n_bins": "ten"}, "n_bins", "'ten' is of type str; expected int"),
        ({"name": "river.anomaly.LODA", "on": "water"}, None, 'on = \'water\' cannot be; "residuals" or "values"'),
        ({"name": "river.anomaly.LODA", "quantile": 1.5}, None, "quantile 1.5 has to be 0 or between 0 and 1"),
        ({"name": "river.anomaly.LODA", "quantile": 0.9, "threshold": 2.0}, None, "exclude each other; leave one out"),
        ({"name": "river.anomaly.HalfSpaceTrees", "height": 30}, None, "n_trees times 2.height 102400 at most"),
        ({"name": "river.anomaly.HalfSpaceTrees", "height": 0}, None, "height and n_trees have to be more than 0"),
    ],
)
def test_what_cannot_be_is_refused_by_file_key_and_remedy(table, key, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        loaded(**table)
    assert caught.value.file == "s.toml"
    assert caught.value.key == ("detectors[0]" if key is None else f"detectors[0].{key}")
