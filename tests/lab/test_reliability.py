"""Whether a probability means what it says."""

import numpy as np
import pytest

from ewarn.lab.reliability import calibration_error, reliability

RNG = np.random.default_rng(3)
PROBABILITY = RNG.uniform(0, 1, 200_000)
EVENT = RNG.uniform(0, 1, 200_000) < PROBABILITY


def error(probability, event, prior, **binning):
    return calibration_error(reliability(probability, event, prior, **binning))


@pytest.mark.parametrize("binning", ["width", "count"])
def test_what_comes_true_as_often_as_it_says_has_no_error(binning):
    assert error(PROBABILITY, EVENT, EVENT.mean(), binning=binning) < 0.005
    assert error(PROBABILITY**2, EVENT, EVENT.mean(), binning=binning) == pytest.approx(1 / 6, abs=0.01)


def test_steps_are_weighted_to_the_prior():
    """By Bayes, odds of p at even prior are odds of p/99 at one in a hundred."""
    odds = PROBABILITY / (1 - PROBABILITY) / 99
    assert error(odds / (1 + odds), EVENT, 0.01) < 0.002
    assert error(PROBABILITY, EVENT, 0.01) > 0.2
    bins = reliability(PROBABILITY, EVENT, 0.01)
    assert sum(b.weight for b in bins) == pytest.approx(1)
    assert sum(b.weight * b.observed for b in bins) == pytest.approx(0.01)


def test_bins_of_equal_count_hold_alike_many_steps():
    low = PROBABILITY**8
    counts = [b.steps for b in reliability(low, EVENT, 0.5, bins=5, binning="count")]
    assert max(counts) - min(counts) <= 1
    assert len(reliability(low, EVENT, 0.5, bins=5)) == 5
    assert len(reliability(np.zeros(100), np.arange(100) < 3, 0.5, binning="count")) == 1


def test_bins_rise_and_empty_ones_are_left_out():
    bins = reliability(np.array([0.05, 0.95, 0.06, 1.0]), np.array([False, True, False, True]), 0.5)
    assert [(b.steps, b.observed) for b in bins] == [(2, 0.0), (2, 1.0)]
    assert bins[0].predicted == pytest.approx(0.055)


def test_without_events_nothing_can_be_said():
    assert reliability(PROBABILITY, np.zeros_like(EVENT), 0.01) == ()
    assert calibration_error(()) is None
