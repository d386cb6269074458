"""What quality control learns of a channel, and that gaps, clocks and outages raise no flag of their own making."""

import itertools
import math
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from ewarn.config import station_from
from ewarn.config.tables import ClimateTable
from ewarn.contracts import Quality, Reading
from ewarn.core.quality import QualityControl
from ewarn.core.quality.levels import Levels, UsualMost

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_780_000_000_000 - 1_780_000_000_000 % DAY


def channels(**tables):
    return station_from({"station": {"id": "q"}, "channels": tables}, Path("q.toml")).channels


def noise(seed=1, mean=8.0, size=0.02):
    rng = random.Random(seed)
    return (round(mean + rng.gauss(0, size), 2) for _ in itertools.count())


class Feed:
    """A control and the channels' values one after another."""

    def __init__(self, every=MINUTE, **tables):
        seconds = f"{every // 1000}s"
        self.control = QualityControl(channels(**{name: {"every": seconds, **t} for name, t in tables.items()}))
        self.every, self.now, self.revisions = every, T0, []

    def __call__(self, **values):
        """The readings of one instant, as (flag, reason) by channel."""
        self.now += self.every
        found = {}
        for channel, value in values.items():
            quality = Quality.MISSING if value is None else Quality.NOT_EVALUATED
            reading, revised = self.control.check(Reading(channel, self.now, value, quality))
            found[channel] = (int(reading.quality), reason := reading.reason)
            assert reason or reading.quality is not Quality.SUSPECT
            if revised is not None:
                self.revisions.append(revised)
        return found

    def ph(self, values):
        return [self(ph=value)["ph"] for value in values]


def warm(feed, days=2, **changes):
    values = noise(**changes)
    return feed.ph(itertools.islice(values, days * DAY // feed.every)), values


# Spike and rate


def test_a_spike_limit_follows_the_channels_own_noise():
    quiet, loud = Feed(ph={}), Feed(ph={})
    warm(quiet)
    warm(loud, size=0.3)
    assert quiet(ph=8.6)["ph"] == (3, "spike")
    assert loud(ph=8.6)["ph"] == (1, "")


def test_a_rate_limit_is_learned_too():
    feed = Feed(ph={"spike": 100.0})
    warm(feed)
    assert feed.ph([8.5, 8.5]) == [(3, "rate_of_change"), (1, "")]


def test_quiet_water_is_hardly_ever_suspect():
    found, _ = warm(Feed(ph={}), days=14)
    assert sum(flag != 1 for flag, _ in found[1:]) <= 5


def test_a_noise_that_stays_becomes_usual():
    feed = Feed(ph={})
    warm(feed)
    before, _ = warm(feed, seed=2, size=0.5)
    after, _ = warm(feed, seed=3, size=0.5, days=1)
    assert sum(reason == "spike" for _, reason in before[:60]) > 10
    assert sum(reason == "spike" for _, reason in after) < 10


def test_single_wild_values_teach_nothing():
    feed = Feed(ph={"fail_span": [-1e9, 1e9]})
    _, values = warm(feed)
    for _ in range(10):
        feed.ph([8.0 + 1000, *itertools.islice(values, 500)])
    assert feed(ph=8.6)["ph"] == (3, "spike")


# Flat line


def test_what_is_flat_is_learned_from_the_usual_standstills():
    rng = random.Random(1)
    lively, still = Feed(ph={}), Feed(ph={})
    warm(lively)
    for _ in range(40):
        still.ph([8.0 + rng.random()] * 300)
    assert [reason for _, reason in lively.ph([8.5] * 61)][-2:] == ["", "flat_line"]
    assert not {reason for _, reason in still.ph([7.0] * 500)} & {"flat_line"}
    assert "flat_line" in {reason for _, reason in still.ph([7.0] * 500)}


def test_standstills_that_come_no_more_are_forgotten():
    feed = Feed(ph={})
    _, values = warm(feed)
    for _ in range(4):
        feed.ph([8.5] * 300)
        feed.ph(itertools.islice(values, 10))
    assert "flat_line" not in {reason for _, reason in feed.ph([8.5] * 300)}
    feed.ph(itertools.islice(values, 10_000))
    assert "flat_line" in {reason for _, reason in feed.ph([8.5] * 300)}


def test_a_sensor_that_was_stuck_twice_is_not_usual():
    feed = Feed(ph={})
    _, values = warm(feed)
    for _ in range(2):
        feed.ph([8.5] * 3000)
        feed.ph(itertools.islice(values, 600))
    assert feed.ph([8.5] * 80)[-1] == (3, "flat_line")


def test_zeros_for_days_are_normal_where_they_always_were():
    feed = Feed(oil_fluor={})
    found = Counter()
    rng = random.Random(1)
    for _ in range(30):
        for value in [0.0] * rng.randint(1500, 2500) + [rng.random() for _ in range(5)]:
            found[feed(oil_fluor=value)["oil_fluor"][1]] += 1
    assert "flat_line" not in found
    assert "attenuated" not in found


def test_a_station_file_may_let_a_flat_line_fail():
    feed = Feed(ph={"flat_after": "2m", "flat_fail": "4m"})
    assert [flag for flag, _ in feed.ph([8.0] * 6)] == [2, 1, 3, 3, 4, 4]


# Attenuated signal


def test_a_signal_that_shrinks_is_attenuated():
    feed = Feed(ph={"resolution": 0.001})
    warm(feed, days=10, size=0.1)
    small = feed.ph(round(8 + 0.002 * (i % 7), 3) for i in range(12 * 60))
    assert {reason for _, reason in small[:300]} <= {"", "spike", "rate_of_change"}
    assert small[-1] == (3, "attenuated")


def test_a_given_limit_waits_for_a_whole_window():
    feed = Feed(ph={"attenuated": 0.1, "attenuated_fail": 0.001, "attenuated_by": "range", "attenuated_window": "24m"})
    found = feed.ph([8.0] * 30)
    assert [flag for flag, _ in found[1:23]] == [1] * 22
    assert found[23] == (4, "attenuated")


def test_a_window_begins_anew_after_a_gap():
    feed = Feed(ph={"attenuated": 0.1, "attenuated_window": "24m"})
    feed.ph([8.0, 8.5] * 10)
    feed.now += 12 * HOUR
    assert {flag for flag, _ in feed.ph([8.0] * 22)} == {1}


def test_a_window_of_few_values_is_not_judged():
    feed = Feed(HOUR, ph={"climatology": [], "flat_after": "0s"})
    assert {flag for flag, _ in feed.ph([8.0, 8.1] * 500 + [8.0] * 50)[1:]} == {1}


# Climatology


def daily(feed, days, swing=1.0, rise=0.0):
    values = noise(3)
    steps = days * DAY // feed.every
    return [
        feed(ph=next(values) + swing * math.sin(2 * math.pi * ((feed.now + feed.every) % DAY) / DAY) + rise)["ph"]
        for _ in range(steps)
    ]


def test_a_value_of_noon_is_strange_at_midnight():
    feed = Feed(10 * MINUTE, ph={"spike": 99.0, "rate": 99.0, "flat_after": "0s", "attenuated_window": "0s"})
    daily(feed, 12)
    # It rises until six in the morning, UTC, and is lowest at six in the evening.
    noon = [feed(ph=9.0)["ph"] for _ in range(18 * 6 + 3)][-1]
    assert noon == (3, "climatology")
    assert daily(Feed(10 * MINUTE, ph={}), 12)[-1] == (1, "")


def test_slow_change_of_the_season_is_followed():
    feed = Feed(10 * MINUTE, ph={})
    found = Counter(reason for day in range(120) for _, reason in daily(feed, 1, rise=0.005 * day))
    assert found["climatology"] < 120 * 144 * 0.005


def test_given_spans_by_month_and_hour_count_instead_of_what_is_learned():
    spans = (ClimateTable(span=(0, 5)), ClimateTable(span=(7, 9), months=(11, 6), hours=(22, 3)))
    feed = Feed(HOUR, ph={"spike": 99.0, "rate": 99.0, "climatology": [
        {"span": [0, 5]}, {"span": [7, 9], "months": [11, 6], "hours": [22, 3]}
    ]})  # fmt: skip
    assert feed.control._channels["ph"].spec.climatology == spans
    feed.now -= HOUR
    found = feed.ph([8.0] * 24)
    assert [reason for _, reason in found] == [""] * 4 + ["climatology"] * 18 + [""] * 2


CLIMATE_ALONE = {
    "spike": 999.0, "rate": 999.0, "flat_after": "0s", "attenuated_window": "0s", "fail_span": [-99, 99]
}  # fmt: skip


def test_a_day_of_event_teaches_little():
    feed = Feed(10 * MINUTE, ph=CLIMATE_ALONE)
    daily(feed, 12)
    assert set(daily(feed, 1, rise=50)) == {(3, "climatology")}
    assert set(daily(feed, 1)) == {(1, "")}
    assert set(daily(feed, 1, rise=50)) == {(3, "climatology")}


def test_climatology_waits_after_an_outage_of_days():
    feed = Feed(10 * MINUTE, ph=CLIMATE_ALONE)
    daily(feed, 12)
    feed.now += 9 * DAY
    assert set(daily(feed, 2, rise=20)[:-1]) == {(1, "")}, "the last is of the third day"
    assert (3, "climatology") in daily(feed, 1, rise=50)


# Neighbours


def pair(feed, count, ph=0.0, ph_2=0.0, seed=1):
    a, b, drift = noise(seed), noise(seed + 1), noise(seed + 2, 0.0, 0.3)
    found = []
    for _ in range(count):
        water = next(drift)
        found.append(feed(ph=next(a) + water + ph, ph_2=next(b) + water + 0.4 + ph_2))
    return found


def test_two_sensors_that_part_are_both_suspect_and_none_is_accused():
    feed = Feed(ph={"spike": 99.0, "rate": 99.0}, ph_2={"spike": 99.0, "rate": 99.0})
    quiet = pair(feed, 3000)
    assert {reason for row in quiet for _, reason in row.values()} == {""}
    feed.revisions.clear()
    parted = pair(feed, 3, ph_2=0.5)
    assert [row["ph_2"] for row in parted] == [(3, "neighbour:ph")] * 3
    assert [row["ph"] for row in parted] == [(1, "")] * 3, "it speaks first: what the other says comes after it"
    assert [(r.channel, int(r.quality), r.reason) for r in feed.revisions] == [("ph", 3, "neighbour:ph_2")] * 2


def test_the_one_that_fails_another_test_is_the_culprit():
    feed = Feed(ph={"spike": 99.0, "rate": 99.0}, ph_2={"spike": 0.9, "rate": 99.0})
    pair(feed, 3000)
    feed.revisions.clear()
    (row,) = pair(feed, 1, ph_2=5.0)
    pair(feed, 2, seed=9)
    assert row["ph_2"] == (3, "spike")
    assert [r for r in feed.revisions if r.channel == "ph"] == []


def test_the_one_that_speaks_second_is_not_accused_for_the_first():
    feed = Feed(ph={"spike": 0.9, "rate": 99.0}, ph_2={"spike": 99.0, "rate": 99.0})
    pair(feed, 3000)
    (row,) = pair(feed, 1, ph=5.0)
    assert row == {"ph": (3, "spike"), "ph_2": (1, "")}


def test_a_given_tolerance_counts_instead_of_what_is_learned():
    feed = Feed(ph={"neighbour": 0.2}, ph_2={})
    assert feed(ph=8.0, ph_2=8.1)["ph_2"] == (2, "")
    assert feed(ph=8.0, ph_2=8.3)["ph_2"] == (3, "neighbour:ph")


def test_only_the_same_parameter_at_the_same_place_is_a_neighbour():
    feed = Feed(**{name: {"neighbour": 0.1} for name in ("ph", "plant_ph", "spcond", "conductivity", "do", "do_sat")})
    for _ in range(3):
        found = feed(ph=8.0, plant_ph=7.0, spcond=900.0, conductivity=100.0, do=8.0, do_sat=90.0)
    assert {reason for _, reason in found.values()} == {""}


def test_values_of_different_times_are_not_compared():
    control = QualityControl(channels(ph={"neighbour": 0.1, "every": "60s"}, ph_2={"every": "15m"}))
    control.check(Reading("ph_2", T0, 7.0))
    for minute in range(1, 15):
        assert control.check(Reading("ph", T0 + minute * MINUTE, 8.0))[0].reason == ""
    assert control.check(Reading("ph_2", T0 + 15 * MINUTE - 29_000, 7.0))[0].reason == ""
    assert control.check(Reading("ph", T0 + 15 * MINUTE, 8.0))[0].reason == "neighbour:ph_2"


# Gaps, clocks, outages


TROUBLES = {
    "every other one is missing": lambda feed, values: [feed(ph=None if i % 2 else next(values))["ph"] for i in range(999)],
    "outages of days": lambda feed, values: [
        found
        for days in (1, 3, 9)
        for found in [setattr(feed, "now", feed.now + days * DAY), *feed.ph(itertools.islice(values, 200))][1:]
    ],
    "the clock jumps ahead and goes on": lambda feed, values: (
        setattr(feed, "now", feed.now + 400 * DAY) or feed.ph(itertools.islice(values, 999))
    ),
    "values come in bursts": lambda feed, values: [
        found
        for _ in range(60)
        for found in [setattr(feed, "now", feed.now + 10 * MINUTE), *feed.ph(itertools.islice(values, 9))][1:]
    ],
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_trouble_with_time_raises_a_flag_of_its_own(trouble):
    feed = Feed(ph={}, ph_2={})
    _, values = warm(feed, days=9)
    found = TROUBLES[trouble](feed, values)
    assert len(found) >= 500
    assert {flag for flag, _ in found} <= {1, 9}
    assert feed.revisions == []


def test_another_level_after_an_outage_is_no_spike_no_flat_line_and_no_attenuation():
    feed = Feed(ph={"climatology": []})
    _, values = warm(feed, days=9)
    feed.ph([8.5] * 50)
    feed.now += 12 * HOUR
    assert {flag for flag, _ in feed.ph([8.5] * 55)} == {1}
    feed.now += 12 * HOUR
    assert {flag for flag, _ in feed.ph(next(values) + 3 for _ in range(300))} == {1}


def test_late_values_change_nothing_for_those_in_time():
    late, plain = Feed(ph={}), Feed(ph={})
    for value in itertools.islice(noise(), 3000):
        assert late(ph=value) == plain(ph=value)
        late.control.check(Reading("ph", late.now - 90_000, 99.0))
        late.control.check(Reading("ph", late.now - 90_000, 9.0))
    assert late.revisions == plain.revisions


def test_channels_slower_than_their_interval_are_judged_all_the_same():
    feed = Feed(ph={"spike": 0.5})
    feed.every = 20 * MINUTE
    assert feed.ph([8.0, 8.0, 8.0, 9.0])[-1] == (3, "spike")


def test_what_operators_switch_has_no_learned_limits():
    feed = Feed(flow={}, flow_2={})
    values = [100.0 if i // 700 % 2 else 0.0 for i in range(9000)]
    found = [feed(flow=value, flow_2=0.0) for value in values]
    assert {flag for row in found for flag, _ in row.values()} == {1, 2}
    assert feed.revisions == []


# Bounds


def test_the_state_of_a_channel_stays_at_a_few_kilobytes():
    feed = Feed(HOUR, ph={})
    feed.ph(itertools.islice(noise(), 400 * 24))
    assert size_of(feed.control._channels["ph"], feed.control._channels["ph"].spec) < 14_000


def size_of(thing, *but):
    """Bytes of a thing and of all that it holds."""
    seen, waiting, total = {id(b) for b in but}, [thing], 0
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, type):
            continue
        seen.add(id(part))
        total += sys.getsizeof(part)
        if isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, (list, tuple)) or type(part).__name__ == "deque":
            waiting += part
        else:
            waiting += [getattr(part, name) for name in getattr(type(part), "__slots__", ()) if hasattr(part, name)]
    return total


def test_levels_tell_what_some_reach():
    levels = Levels(1.0, 10**6)
    for size in [1.0] * 900 + [10.0] * 90 + [1e30] * 10 + [0.0] * 500:
        levels.add(size)
    assert levels.top(5) > 1e4
    assert 10 <= levels.top(50) <= 12
    assert 1 <= levels.top(500) <= 1.2
    assert levels.bottom(400) == 0
    assert levels.bottom(600) == 1
    assert levels.top(1400) == 0


def test_levels_forget():
    levels = Levels(1.0, 100)
    for size in [50.0] * 60 + [1.0] * 2000:
        levels.add(size)
    assert levels.top(1) < 2


def test_a_fault_widens_a_learned_limit_by_steps_only():
    usual = UsualMost(0.01)
    for i in range(5000):
        usual.learn(0.1 + i % 2 * 0.01)
    before = usual.limit
    for _ in range(75):
        usual.learn(1e6)
    assert usual.limit < 10 * before
