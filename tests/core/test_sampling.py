"""Channels of unequal cadence become samples."""

from pathlib import Path

import pytest

from ewarn.config import station_from
from ewarn.contracts import Quality, Reading
from ewarn.core.sampling import Sampler

T0 = 1_780_000_020_000 - 1_780_000_020_000 % 60_000


def sampler(**every):
    station = station_from(
        {"station": {"id": "s"}, "channels": {name: {"every": f"{s}s"} for name, s in every.items()}}, Path("s.toml")
    )
    return Sampler(station.channels, 60.0)


def feed(target, *readings):
    """(channel, seconds, value) each; a value None is missing."""
    samples = []
    for channel, seconds, value in readings:
        time = T0 + round(seconds * 1000)
        reading = (
            Reading(channel, time, value)
            if value is not None
            else Reading(channel, time, None, Quality.MISSING, "no_reply")
        )
        samples += target.accept(reading)
    return samples


def test_a_window_closes_as_soon_as_every_channel_has_spoken():
    s = sampler(ph=60, do=60)
    assert feed(s, ("ph", 30, 8.0)) == []
    (sample,) = feed(s, ("do", 31, 9.0))
    assert sample.values == {"ph": 8.0, "do": 9.0}
    assert sample.time == T0 + 31_000


def test_several_readings_give_their_median():
    s = sampler(ph=15)
    samples = feed(s, ("ph", 10, 8.0), ("ph", 25, 9.0), ("ph", 40, 8.2), ("ph", 55, 8.1))
    assert [x.values for x in samples] == [{"ph": pytest.approx(8.15)}]


def test_a_missing_channel_is_absent_with_its_reason_and_holds_nobody_up():
    s = sampler(ph=60, do=60)
    (sample,) = feed(s, ("ph", 30, 8.0), ("do", 31, None))
    assert sample.values == {"ph": 8.0}
    assert sample.reasons == {"do": "no_reply"}


def test_a_silent_channel_holds_up_for_the_grace_only():
    s = sampler(ph=60, do=60)
    assert feed(s, ("ph", 30, 8.0)) == []
    assert list(s.tick(T0 + 70_000)) == []
    (sample,) = s.tick(T0 + 76_000)
    assert sample.values == {"ph": 8.0}
    assert sample.reasons == {"do": "silent"}


def test_a_later_reading_closes_earlier_windows_in_order():
    s = sampler(ph=60, do=60)
    samples = feed(s, ("ph", 30, 8.0), ("ph", 210, 8.1))
    assert [x.values for x in samples] == [{"ph": 8.0}, {}, {}]
    assert [x.time for x in samples] == [T0 + 30_000, T0 + 120_000, T0 + 180_000]


def test_a_late_reading_changes_nothing():
    s = sampler(ph=60)
    feed(s, ("ph", 30, 8.0))
    assert feed(s, ("ph", 40, 99.0)) == []
    (sample,) = feed(s, ("ph", 90, 8.1))
    assert sample.values == {"ph": 8.1}


def test_a_slow_channel_keeps_its_value_for_one_and_a_half_intervals():
    s = sampler(ph=60, cl2_free=150)
    samples = feed(s, ("cl2_free", 20, 0.8), *[("ph", 30 + 60 * i, 8.0) for i in range(6)])
    assert [x.values.get("cl2_free") for x in samples][:4] == [0.8, 0.8, 0.8, 0.8]
    later = feed(s, *[("ph", 390 + 60 * i, 8.0) for i in range(2)])
    assert all("cl2_free" not in x.values for x in later)


@pytest.mark.parametrize("quality", [Quality.FAIL, Quality.MISSING])
def test_what_is_not_usable_is_not_used(quality):
    s = sampler(ph=60)
    value = None if quality is Quality.MISSING else 8.0
    (sample,) = s.accept(Reading("ph", T0 + 30_000, value, quality, "why"))
    assert sample.values == {}
    assert sample.reasons == {"ph": "why"}


def test_a_suspect_value_is_used_and_named():
    (sample,) = sampler(ph=60).accept(Reading("ph", T0 + 30_000, 8.0, Quality.SUSPECT, "spike"))
    assert (sample.values, sample.suspect, sample.reasons) == ({"ph": 8.0}, {"ph"}, {"ph": "spike"})


def test_a_year_of_silence_gives_a_day_of_empty_samples_and_then_jumps():
    s = sampler(ph=60)
    feed(s, ("ph", 30, 8.0))
    samples = feed(s, ("ph", 365 * 86400 + 30, 8.0))
    assert 1440 <= len(samples) <= 1441
    assert samples[-1].values == {"ph": 8.0}


def test_a_channel_that_answers_after_the_windows_end_is_waited_for():
    s = sampler(ph=60, spcond=1)
    feed(s, *[("spcond", i, 900.0) for i in range(1, 61)])
    assert feed(s, ("spcond", 61, 950.0)) == []
    (sample,) = feed(s, ("ph", 59.8, 8.0))
    assert sample.values == {"spcond": 900.0, "ph": 8.0}
    (later,) = s.tick(T0 + 136_000)
    assert later.values == {"spcond": 950.0}


def test_what_comes_after_the_grace_is_not_waited_for():
    s = sampler(ph=60, spcond=1)
    feed(s, ("spcond", 59, 900.0))
    (sample,) = feed(s, ("spcond", 76, 950.0))
    assert sample.values == {"spcond": 900.0}
    assert feed(s, ("ph", 59.8, 8.0)) == []


def test_a_slow_value_that_comes_for_a_closed_window_counts_from_the_next_one_on():
    s = sampler(ph=60, nitrate_n=900)
    feed(s, ("nitrate_n", 2, 2.0), *[("ph", 30 + 60 * i, 8.0) for i in range(15)])
    assert feed(s, ("nitrate_n", 899, 3.0)) == []
    (sample,) = feed(s, ("ph", 930, 8.0))
    assert sample.values == {"ph": 8.0, "nitrate_n": 3.0}


def test_a_failed_read_of_a_slow_channel_takes_nothing_from_what_it_holds():
    s = sampler(ph=60, nitrate_n=900)
    feed(s, ("nitrate_n", 30, 2.0), ("ph", 31, 8.0))
    (sample,) = feed(s, ("nitrate_n", 80, None), ("ph", 90, 8.0))
    assert sample.values["nitrate_n"] == 2.0
    last = feed(s, *[("ph", 30 + 60 * i, 8.0) for i in range(2, 25)])[-1]
    assert "nitrate_n" not in last.values


def test_what_is_held_is_said_to_be():
    s = sampler(ph=60, cl2_free=150)
    samples = feed(s, ("cl2_free", 20, 0.8), *[("ph", 30 + 60 * i, 8.0) for i in range(3)], ("cl2_free", 170, 0.8),
                   ("ph", 210, 8.0), ("ph", 270, 8.0))  # fmt: skip
    assert [x.held for x in samples] == [set(), {"cl2_free"}, set(), {"cl2_free"}, {"cl2_free"}]


def test_a_suspect_value_stays_suspect_while_it_is_held():
    s = sampler(ph=60, cl2_free=150)
    list(s.accept(Reading("cl2_free", T0 + 20_000, 0.8, Quality.SUSPECT, "spike")))
    samples = feed(s, ("ph", 30, 8.0), ("ph", 90, 8.0))
    assert [x.suspect for x in samples] == [{"cl2_free"}, {"cl2_free"}]


def test_no_window_closes_before_its_time_though_nothing_more_is_to_come_in_it():
    s = sampler(nitrate_n=900)
    assert [x.time for x in feed(s, ("nitrate_n", 30, 2.0))] == [T0 + 30_000]
    assert [x.time for x in s.tick(T0 + 136_000)] == [T0 + 120_000]
