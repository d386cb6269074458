"""The threshold follows the noise, never the events, and stays within its bounds."""

import random

import pytest

from ewarn.core.budget import LEAST, MOST, Budget

HOUR = 3_600_000
STEP = HOUR // 4
WEEK = 7 * 24 * HOUR


def noise(rng, share):
    """Peaks as noise makes them: fewer by a factor e with each 0.2 of ratio."""
    return 0.3 + rng.expovariate(1 / 0.2) if rng.random() < share else 0.1


def run(budget, weeks, a_week, *, seed=1, events=0, start=0):
    """Invalid alerts in each week; `a_week` peaks of noise over 0.6 a week, and true events of a ratio of 3."""
    rng, times = random.Random(seed), range(start, start + weeks * WEEK, STEP)
    share = a_week / (WEEK / STEP) / 0.223
    raised, quiet_until = [], 0
    for time in times:
        event = events and rng.random() < events / (WEEK / STEP)
        ratio = 3.0 if event else noise(rng, share) if time >= quiet_until else 0.1
        if ratio > 0.6:
            quiet_until = time + 2 * HOUR
        if ratio >= budget.level and not event:
            raised.append(time)
        budget.take(time, ratio)
    return [sum(start + w * WEEK <= t < start + (w + 1) * WEEK for t in raised) for w in range(weeks)]


@pytest.mark.parametrize("a_week", [2, 4, 8])
def test_later_water_has_as_many_invalid_alerts_as_the_budget_says(a_week):
    rates = []
    for seed in range(8):
        budget = Budget(0.5)
        rates.append(sum(run(budget, 40, a_week, seed=seed)[20:]) / 20)
    assert 0.2 < sum(rates) / len(rates) < 0.75


def test_livelier_water_raises_the_level_and_quiet_water_lowers_it():
    lively, quiet = Budget(0.5), Budget(0.5)
    run(lively, 12, 12)
    run(quiet, 12, 0.5)
    assert quiet.level < 1 < lively.level


def test_a_bigger_budget_asks_for_less():
    levels = []
    for a_week in (0.1, 0.5, 2.0):
        budget = Budget(a_week)
        run(budget, 12, 4)
        levels.append(budget.level)
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > levels[2]


def test_true_events_however_many_do_not_raise_it():
    without, many = Budget(0.5), Budget(0.5)
    run(without, 12, 4)
    run(many, 12, 4, events=20)
    assert many.level <= without.level + 0.05


def test_an_attack_just_below_the_threshold_cannot_raise_it_without_limit():
    budget = Budget(0.5)
    for time in range(0, 20 * WEEK, STEP):
        budget.take(time, 0.99 if time // HOUR % 3 else 0.1)
    assert budget.level == MOST


def test_dead_quiet_water_cannot_lower_it_without_limit():
    budget = Budget(50.0)
    for time in range(0, 20 * WEEK, STEP):
        budget.take(time, 0.1)
    assert budget.level == LEAST


def test_nothing_changes_before_a_week_is_known():
    budget = Budget(0.5)
    run(budget, 1, 50)
    assert budget.level == 1.0


def test_what_operators_call_invalid_raises_it_and_what_they_confirm_does_not():
    levels = {}
    for invalid in (None, True, False):
        budget = Budget(0.5)
        run(budget, 4, 4)
        for i in range(8):
            at = 4 * WEEK + i * 24 * HOUR
            budget.raised(at)
            if invalid is not None:
                budget.classify(at, invalid=invalid)
        run(budget, 1, 4, start=4 * WEEK + 8 * 24 * HOUR)
        levels[invalid] = budget.level
    assert levels[False] <= levels[None] < levels[True]


def test_the_on_delay_counts_single_steps_for_nothing():
    single, delayed = Budget(0.5, 1, 1), Budget(0.5, 2, 3)
    for time in range(0, 12 * WEEK, STEP):
        ratio = 0.9 if time // STEP % 12 == 0 else 0.1
        single.take(time, ratio)
        delayed.take(time, ratio)
    assert delayed.level < 1 < single.level


def test_its_memory_is_bounded():
    budget = Budget(0.5)
    for time in range(0, 100 * WEEK, STEP):
        budget.take(time, 0.9 if time // STEP % 8 == 0 else 0.1)
        if time % (24 * HOUR) == 0:
            budget.raised(time)
    assert len(budget._weak) <= 2000
    assert len(budget._alerts) <= 6 * 7 + 1


def test_an_outage_of_weeks_forgets_what_was_before():
    budget = Budget(0.5)
    run(budget, 12, 12)
    lively = budget.level
    run(budget, 12, 0.5, start=30 * WEEK)
    assert budget.level < 1 < lively
