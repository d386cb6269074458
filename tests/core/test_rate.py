"""A probe that delivers less than it usually does."""

import random

from synthetic import MINUTE, T0

from ewarn.contracts import AlarmState
from ewarn.core.pipeline import Pipeline
from ewarn.core.rate import Rate


def feed(rate, periods, values, start=0):
    """So many periods of 20 reads a minute apart, each with so many values spread over it."""
    seen = []
    for period in range(start, start + periods):
        chosen = set(random.Random(period).sample(range(20), values))
        for minute in range(20):
            now = T0 // (20 * MINUTE) * 20 * MINUTE + (20 * period + minute) * MINUTE
            rate.tick(now)
            if minute in chosen:
                for _ in range(5):
                    rate.count(now)
        seen.append(rate.sparse)
    return seen


def test_it_takes_two_periods_after_it_knows_ten():
    rate = Rate(60.0)
    assert not any(feed(rate, 11, 20))
    assert feed(rate, 4, 8, start=11) == [False, False, True, True]
    assert feed(rate, 3, 20, start=15) == [True, False, False]


def test_one_odd_period_is_nothing():
    rate = Rate(60.0)
    feed(rate, 12, 20)
    for start in range(12, 30, 3):
        assert not any(feed(rate, 1, 5, start=start))
        assert not any(feed(rate, 2, 20, start=start + 1))


def test_what_was_always_so_is_usual():
    assert not any(feed(Rate(60.0), 40, 8))


def test_a_usual_scatter_is_not_sparse():
    rate, rng = Rate(60.0), random.Random(1)
    assert not any(any(feed(rate, 1, rng.randrange(13, 21), start=n)) for n in range(500))


def test_silence_is_not_its_matter():
    rate = Rate(60.0)
    feed(rate, 12, 20)
    assert not any(feed(rate, 5, 0, start=12))


def test_a_probe_that_loses_most_reads_has_an_alarm_of_its_own_that_goes(station, detectors, water):
    pipeline = Pipeline(station, detectors())
    water.feed(pipeline, 6 * 60)
    found = []
    for minute in range(240):
        water.dead = {"sonde"} if minute % 4 and minute < 120 else set()
        found += [a for step in water.feed(pipeline, 1) for a in step.alerts if a.alarm == "rate-sonde"]
    assert [a.state for a in found] == [AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED_UNACKNOWLEDGED]
    assert found[0].detail == {"probe": "sonde", "reason": "sparse"}
