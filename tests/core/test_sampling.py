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
