"""Water that was alarmed is not normal until it came back, was explained, or stayed for as long as the rule says."""

from ewarn.contracts import Evidence
from ewarn.core.baseline import BY_RULE, EXPLAINED, RETURNED, Baseline

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def departed():
    baseline = Baseline(DAY)
    baseline.begin(0, [Evidence("spcond", 1000.0, 900.0, 20.0, 0), Evidence("ph", 7.0, 8.0, 20.0, 0)])
    return baseline


def feed(baseline, start, minutes, *, alarmed=False, **values):
    for i in range(minutes):
        baseline.take(start + i * MINUTE, values, alarmed=alarmed)
    return start + minutes * MINUTE


def test_an_hour_back_is_back():
    baseline = departed()
    time = feed(baseline, 0, 60, alarmed=True, spcond=1010.0, ph=6.9)
    time = feed(baseline, time, 60, spcond=902.0, ph=7.95)
    assert baseline.departed
    feed(baseline, time, 2, spcond=902.0, ph=7.95)
    assert (baseline.departed, baseline.ended) == (False, RETURNED)


def test_one_channel_that_stays_away_is_enough():
    baseline = departed()
    feed(baseline, 0, 600, spcond=900.0, ph=7.0)
    assert baseline.departed


def test_it_counts_half_of_the_farthest_way():
    baseline = departed()
    time = feed(baseline, 0, 30, alarmed=True, spcond=2000.0, ph=8.0)
    feed(baseline, time, 120, spcond=1400.0, ph=8.0)
    assert not baseline.departed


def test_it_stays_away_three_hours_after_its_alert_ended():
    baseline = departed()
    time = feed(baseline, 0, 300, alarmed=True, spcond=1000.0, ph=7.0)
    assert not baseline.stays_away
    time = feed(baseline, time, 180, spcond=1000.0, ph=7.0)
    assert not baseline.stays_away
    time = feed(baseline, time, 2, spcond=1000.0, ph=7.0)
    assert baseline.stays_away
    feed(baseline, time, 1, alarmed=True, spcond=1000.0, ph=7.0)
    assert not baseline.stays_away


def test_what_stays_is_accepted_by_the_rule_so_that_learning_never_waits_for_ever():
    baseline = departed()
    feed(baseline, 0, 24 * 60, spcond=1000.0, ph=7.0)
    assert baseline.departed
    feed(baseline, DAY, 1, alarmed=True, spcond=1000.0, ph=7.0)
    assert (baseline.departed, baseline.ended) == (False, BY_RULE)


def test_an_operators_word_ends_it_at_once():
    baseline = departed()
    baseline.explain()
    assert (baseline.departed, baseline.ended) == (False, EXPLAINED)


def test_an_alert_during_a_departure_belongs_to_it_and_keeps_its_begin():
    baseline = departed()
    feed(baseline, 0, 120, spcond=1000.0, ph=7.0)
    baseline.begin(2 * HOUR, [Evidence("do", 3.0, 8.0, 20.0, 0), Evidence("ph", 6.0, 7.0, 20.0, 0)])
    assert baseline.began == 0
    feed(baseline, 2 * HOUR, 90, spcond=900.0, ph=8.0, do=3.0)
    assert baseline.departed
    feed(baseline, 4 * HOUR, 90, spcond=900.0, ph=8.0, do=8.0)
    assert not baseline.departed


def test_a_channel_that_is_gone_does_not_count_as_back():
    baseline = departed()
    feed(baseline, 0, 300, ph=8.0)
    assert baseline.departed
