"""How detectors are judged: by cases that can be counted by hand."""

import numpy as np
import pytest

from ewarn.lab.judge import Course, episodes, together

MINUTE = 60.0


def flags(length, *spans):
    out = np.zeros(length, dtype=bool)
    for a, b in spans:
        out[a:b] = True
    return out


def course(length=5000, events=((1000, 1100),), unjudged=()):
    return Course(MINUTE, flags(length, *events), ~flags(length, *unjudged), flags(length, *unjudged))


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
    judge = course(20160, ((1000, 1100),))
    weekly = judge.at_rate(probability, 1.0)
    assert (weekly.rate, weekly.false) == (1.0, 2)  # in two weeks


def test_where_no_threshold_keeps_to_the_rate_nothing_is_found():
    judge = Course(MINUTE, flags(5000, (1000, 1100)), np.zeros(5000, dtype=bool), np.zeros(5000, dtype=bool))
    assert judge.at_rate(np.full(5000, np.nan), 1.0).found == (False,)
    same = judge.at_rate(np.where(flags(5000, (1010, 1020), (3000, 3001)), 0.9, 0.0), 1.0)
    assert (same.found, same.weeks) == ((False,), 0)
    worse = course().at_rate(np.where(flags(5000, (1010, 1020), (3000, 3001)), 0.9, 0.0), 1.0)
    assert (worse.found, worse.false) == ((False,), 0)


def test_what_is_passed_over_never_begins_an_episode():
    probability = np.where(flags(5000, (980, 1050)), 0.9, np.linspace(0, 0.1, 5000))
    assert course(unjudged=((0, 1000),)).at_rate(probability, 1.0).found == (True,)
    assert course().at_rate(probability, 1e-3).found == (False,)


def test_f1_and_average_precision():
    judge = course(5, ((1, 3),))
    assert judge.f1(np.array([0, 1, 0, 1, 0], dtype=bool)) == [0.5]
    assert judge.average_precision(np.array([0.1, 0.9, 0.8, 0.2, 0.0])) == [1.0]
    assert judge.average_precision(np.array([0.9, 0.8, 0.1, 0.2, 0.0])) == pytest.approx([0.5 * 0.5 + 0.5 * 0.5])


def test_events_that_were_not_evaluated_are_missed():
    judge = Course(MINUTE, flags(5, (1, 3)), ~flags(5, (1, 2)), flags(5))
    assert judge.f1(flags(5, (2, 3))) == pytest.approx([2 / 3])
    assert judge.average_precision(np.array([0.1, np.nan, 0.9, 0.2, 0.3])) == pytest.approx([0.5 + 0.5 * 2 / 5])


def test_a_week_that_is_drawn_twice_counts_twice():
    judge = course(20160, ((1000, 1010), (12000, 12010)))
    alert, probability = flags(20160, (1000, 1010), (12000, 12005), (15000, 15005)), np.linspace(0, 1, 20160)
    drawn = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]])
    assert judge.f1(alert, drawn) == pytest.approx([2 * 15 / (2 * 15 + 10), 1.0, 2 * 10 / (2 * 10 + 20)])
    whole, first, _ = judge.average_precision(probability, drawn)
    assert whole == judge.average_precision(probability)[0]
    assert first == pytest.approx(course(10080, ((1000, 1010),)).average_precision(probability[:10080])[0])


def test_strong_events_and_their_delays_are_told_apart():
    strength = np.where(flags(5000, (1000, 1100)), 0.5, 2.0)
    judge = Course(MINUTE, flags(5000, (1000, 1100), (3000, 3100), (4000, 4050)), flags(5000, (0, 5000)), flags(5000), strength)
    judged = judge.judge(flags(5000, (1010, 1020), (3030, 3040)))
    assert judged.strong(2.0) == (1, 2)
    assert judged.strong(0.5) == (2, 3)
    assert judged.delays_by_strength() == {0.5: [600.0], 2.0: [1800.0]}
    assert course().judge(flags(5000, (1010, 1020))).strong(2.0) == (0, 0)


def test_the_grace_can_be_left_out():
    strict = Course(MINUTE, flags(5000, (1000, 1100)), flags(5000, (0, 5000)), flags(5000), grace_s=0.0)
    assert strict.judge(flags(5000, (1101, 1110))).found == (False,)
    assert strict.judge(flags(5000, (1099, 1110))).found == (True,)


def test_episodes_merge():
    assert episodes(flags(20, (1, 2), (4, 5), (10, 12)), 3) == [(1, 5), (10, 12)]


def test_records_are_put_together():
    one = course().judge(flags(5000, (1010, 1020)))
    two = course().judge(flags(5000, (3000, 3010)))
    both = together([one, two])
    assert (both.rate, both.false, both.weeks) == (0.5, 1, one.weeks + two.weeks)
