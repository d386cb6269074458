"""The probability rises with the ratio, and follows Bayes' rule in the prior."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ewarn.core.probability import probability

RATIOS = st.floats(1e-6, 1e6)


@given(RATIOS, RATIOS)
def test_it_rises_strictly_with_the_ratio(one, other):
    low, high = sorted((one, other))
    if high > low * (1 + 1e-9):
        assert probability(low, 0.01) <= probability(high, 0.01)
    if high > low * 1.001 and high < 10:
        assert probability(low, 0.01) < probability(high, 0.01)


@given(RATIOS, st.floats(1e-4, 0.5), st.floats(1e-4, 0.5))
def test_another_prior_multiplies_the_odds(ratio, one, other):
    def odds(p):
        return p / (1 - p)

    told = odds(probability(ratio, one)), odds(probability(ratio, other))
    if all(1e-6 < value < 1e6 for value in told):
        assert told[0] / told[1] == pytest.approx(odds(one) / odds(other), rel=1e-6)


@pytest.mark.parametrize("ratio", [0.0, 1e-300, 1e300, math.inf])
def test_any_ratio_gives_one(ratio):
    assert 0 <= probability(ratio, 0.01) <= 1


def test_water_that_shows_nothing_is_rarer_abnormal_than_any_water():
    assert probability(0.05, 0.01) < 0.01 < probability(0.5, 0.01)
