"""How detectors are judged: by cases that can be counted by hand."""

import numpy as np
import pytest

from ewarn.lab.judge import Course, byar, episodes, together, wilson

MINUTE = 60.0


def flags(length, *spans):
    out = np.zeros(length, dtype=bool)
    for a, b in spans:
        out[a:b] = True
    return out


def course(length=5000, events=((1000, 1100),), unjudged=()):
    return Course(MINUTE, flags(length, *events), ~flags(length, *unjudged))


def test_an_alert_within_the_event_finds_it_and_one_elsewhere_is_false():
    judged = course().judge(flags(5000, (1010, 1020), (3000, 3005)))
    assert (judged.found, judged.delays, judged.false) == ((True,), (600.0,), 1)
    assert judged.weeks == pytest.approx(5000 / 10080)


def test_an_alert_that_was_up_before_finds_nothing():
    judged = course().judge(flags(5000, (990, 1050)))
    assert (judged.found, judged.false) == ((False,), 1)


def test_half_an_hour_after_its_end_still_counts():
    assert course().judge(flags(5000, (1129, 1131))).found == (True,)
    assert course().judge(flags(5000, (1131, 1133))).found == (False,)


def test_alerts_less_than_an_hour_apart_are_one_episode():
    assert course().judge(flags(5000, (3000, 3005), (3064, 3070))).false == 1
    assert course().judge(flags(5000, (3000, 3005), (3065, 3070))).false == 2


def test_an_alert_that_stays_up_costs_one_a_day():
    assert course().judge(flags(5000, (1500, 1500 + 2 * 1440 + 100))).false == 3


def test_what_was_not_evaluated_is_neither_hit_nor_false():
    judged = course(unjudged=((3000, 4000),)).judge(flags(5000, (3100, 3200)))
    assert (judged.false, judged.weeks) == (0, pytest.approx(4000 / 10080))


def test_a_threshold_keeps_to_the_rate():
    probability = np.zeros(20160)
    probability[1050:1060] = 0.8
    for i, at in enumerate((4000, 8000, 12000, 16000)):
        probability[at] = 0.5 + 0.1 * i
    judge = Course(MINUTE, flags(20160, (1000, 1100)), np.ones(20160, dtype=bool))
    weekly = judge.at_rate(probability, 1.0)
    assert (weekly.rate, weekly.false) == (1.0, 2)  # in two weeks
    assert judge.at_rate(np.full(20160, np.nan), 1.0) is None


def test_f1_and_average_precision():
    judge = Course(MINUTE, np.array([0, 1, 1, 0, 0], dtype=bool), np.ones(5, dtype=bool))
    assert judge.f1(np.array([0, 1, 0, 1, 0], dtype=bool)) == 0.5
    assert judge.average_precision(np.array([0.1, 0.9, 0.8, 0.2, 0.0])) == 1.0
    assert judge.average_precision(np.array([0.9, 0.8, 0.1, 0.2, 0.0])) == pytest.approx(0.5 * 0.5 + 0.5 * 0.5)


def test_episodes_merge():
    assert episodes(flags(20, (1, 2), (4, 5), (10, 12)), 3) == [(1, 5), (10, 12)]


def test_intervals_hold_the_estimate():
    assert wilson(0, 0) == (0.0, 1.0)
    for hits in range(11):
        low, high = wilson(hits, 10)
        assert low <= hits / 10 <= high
    for count in range(20):
        low, high = byar(count)
        assert low <= count < high


def test_records_are_put_together():
    one = course().judge(flags(5000, (1010, 1020)))
    two = course().judge(flags(5000, (3000, 3010)))
    both = together([one, two])
    assert (both.rate, both.false, both.weeks) == (0.5, 1, one.weeks + two.weeks)
