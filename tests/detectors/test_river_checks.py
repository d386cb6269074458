"""Our detectors are river estimators: they pass the checks that river runs on its own."""

import inspect
import random

import pytest
from river import base, checks

from detectors.any_river import AnyRiver
from detectors.canary_lpcf import LpcfDetector
from detectors.canary_mvnn import MvnnDetector
from detectors.forecast import ForecastDetector
from detectors.holt_winters import HoltWintersDetector
from detectors.regime import RegimeDetector
from detectors.residual import ResidualDetector
from detectors.residual_trees import ResidualTrees
from detectors.sequential import SequentialDetector
from ewarn.testing import CHANNELS, synthetic_sample

SHORT = {"window": 24, "bed_window": 4, "threshold": 0.9, "timeout": 6}
MAKERS = {
    "residual": ResidualDetector,
    "residual_trees": lambda: ResidualTrees(n_trees=5, height=4, window_size=50),
    "forecast": ForecastDetector,
    "holt_winters": HoltWintersDetector,
    "sequential": SequentialDetector,
    "regime": RegimeDetector,
    "canary_lpcf": lambda: LpcfDetector(**SHORT),
    "canary_mvnn": lambda: MvnnDetector(**SHORT),
    "river HalfSpaceTrees": lambda: AnyRiver(n_trees=5, height=4, window_size=50, seed=1),
    "river LODA": lambda: AnyRiver(kind="river.anomaly.LODA", n_random_cuts=50, seed=1),
}
NOT_OURS = {
    "check_roc_auc": "it wants scikit-learn; test_events_score_higher_than_quiet_water says the same of our water",
}
LENGTH = 600


def water(scale=1):
    """Samples of quiet water with events in it, as pairs of sample and label; river's own data sets are downloads."""
    rng = random.Random(5)
    rows = []
    for i in range(LENGTH * scale):
        event = i > 300 and i % 150 < 10
        x = synthetic_sample(rng)
        x = {name: value + 12 * event * CHANNELS[name][1] for name, value in x.items()}
        rows.append((x, event))
    return rows


class Rows:
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


@pytest.fixture(autouse=True)
def our_water(monkeypatch):
    monkeypatch.setattr(checks, "_yield_datasets", lambda _model, scale=1: [Rows(water(min(scale, 2)))])


def names_of_checks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_yield_datasets", lambda _model, scale=1: [Rows([])])
        return [check.__name__ for check in checks.yield_checks(ResidualDetector())]


@pytest.mark.parametrize("name", MAKERS)
def test_it_passes_rivers_checks(name):
    made = MAKERS[name]()
    assert isinstance(made, base.AnomalyDetector)
    ran = []
    for check in checks.yield_checks(made):
        if check.__name__ in NOT_OURS:
            continue
        random.seed(1)  # (river shuffles by the global generator)
        check(made.clone())
        ran.append(check.__name__)
    assert len(ran) >= 20
    assert {"check_learn_one", "check_emerging_features", "check_bounded_memory_growth"} <= set(ran)


def test_what_is_left_out_is_still_a_check_of_rivers():
    assert set(NOT_OURS) <= set(names_of_checks())


@pytest.mark.parametrize("name", MAKERS)
def test_settings_survive_a_clone(name):
    made = MAKERS[name]()
    for parameter in inspect.signature(type(made)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert getattr(made.clone(), parameter.name) == getattr(made, parameter.name)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "forecast"])  # it wants days, not samples
def test_events_score_higher_than_quiet_water(name):
    detector, quiet, loud = MAKERS[name](), [], []
    for i, (x, event) in enumerate(water(2)):
        score = detector.score_one(x)
        if i > 300:
            (loud if event else quiet).append(score)
        detector.learn_one(x)
    above = sum((a > b) + 0.5 * (a == b) for a in loud for b in quiet)
    assert above / (len(loud) * len(quiet)) > 0.6
