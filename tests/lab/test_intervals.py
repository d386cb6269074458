"""Intervals hold the estimate, say more where there is more, and are the same each time."""

import numpy as np

from ewarn.lab.intervals import byar, rate, resampled, spread, wilson


def test_intervals_hold_the_estimate():
    assert wilson(0, 0) == (0.0, 1.0)
    for hits in range(11):
        low, high = wilson(hits, 10)
        assert low <= hits / 10 <= high
    for count in range(20):
        low, high = byar(count)
        assert low <= count < high


def test_weeks_are_drawn_with_replacement_and_the_same_each_time():
    drawn = resampled(10)
    assert np.array_equal(drawn, resampled(10))
    assert (drawn.sum(axis=1) == 10).all()
    assert (drawn == 0).any()
    assert (drawn > 1).any()


def test_a_spread_leaves_out_what_is_rare():
    low, high = spread(np.arange(1001.0))
    assert (low, high) == (25.0, 975.0)


def test_alarms_in_swarms_say_less_than_alarms_one_by_one():
    weeks = np.ones(20)
    single, swarm = rate(np.ones(20), weeks), rate(np.where(np.arange(20) == 7, 20.0, 0.0), weeks)
    assert single[0] < 1 < single[1] < swarm[1]
    assert swarm[0] == 0


def test_what_was_never_judged_could_be_anything():
    assert rate(np.zeros(3), np.zeros(3)) == (0.0, float("inf"))
    low, high = rate(np.array([0.0, 2.0]), np.array([0.0, 1.0]))
    assert low < 2 < high < float("inf")
