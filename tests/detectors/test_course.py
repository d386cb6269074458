"""What of a change is gradual, and what a mean needs."""

from math import isnan, nan

import pytest

from detectors._course import Course, Day, gradualness, mean


@pytest.mark.parametrize(
    ("track", "gradual"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 1),
        ([7, 6, nan, 4, 3, nan, nan, 1], 1),
        ([nan, nan, nan, nan, 4, 5, 6, 7], 0),  # too little is known
        ([nan, nan, nan, 3, 4, 5, 6, 7], 1),
        ([0, 0, 0, 0, 0, 7, 7, 7], 0),  # a jump
        ([0, 5, 0, 5, 0, 5, 0, 5], 0),  # jitter
        ([0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07], 0),  # less than the instrument resolves
        ([3.0] * 8, 0),
    ],
)
def test_gradual_is_what_moves_step_by_step_one_way(track, gradual):
    assert gradualness(track, 0.1) == gradual


def test_a_mean_needs_half_of_the_values():
    assert mean([1.0, nan, 3.0, nan]) == 2.0
    assert isnan(mean([1.0, nan, nan]))
    assert isnan(mean([nan, nan]))


def test_a_day_has_as_many_bins_as_steps_and_at_most_a_quarter_of_an_hour_each():
    assert [Day(step_s).bins for step_s in (60, 900, 1800, 86_400, 200_000)] == [96, 96, 48, 1, 1]
    fine = Day(300)
    assert [fine.bin(step) for step in (0, 2, 3, 287, 288)] == [0, 0, 1, 95, 0]


def test_a_time_of_day_adds_what_it_brought_lately_and_no_outlier_moves_it_far():
    course = Course(Day(900), resolution=0.1)
    for _ in range(30):
        course.learn(2.0, place=5)
    assert course.added[4] == 0
    before = course.added[5]
    course.learn(1e9, place=5)
    assert course.added[5] - before < 10
