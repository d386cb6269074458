"""Streaming QARTOD tests."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ewarn.config import station_from
from ewarn.contracts import Quality, Reading
from ewarn.core.quality import QualityControl, worst

T0 = 1_780_000_000_000
SPEC = station_from({"station": {"id": "q"}, "channels": {"ph": {}}}, Path("q.toml")).channels["ph"]


def flags(values, spec=SPEC, step=60_000):
    control = QualityControl({"ph": spec})
    checked = [control.check(Reading("ph", T0 + i * step, v)) for i, v in enumerate(values)]
    return [(int(r.quality), r.reason) for r in checked]


STEADY = [8.0, 8.01] * 20


@pytest.mark.parametrize(
    ("changes", "values", "expected"),
    [
        ({}, [8.0, 8.01], [(2, ""), (1, "")]),
        ({}, [-0.1], [(4, "gross_range")]),
        ({}, [14.0, 14.01], [(2, ""), (4, "gross_range")]),
        ({"suspect_span": (6, 9)}, [9.0, 9.5], [(2, ""), (3, "gross_range")]),
        ({"rate": 0.1}, [8.0, 8.09, 8.2], [(2, ""), (1, ""), (3, "rate_of_change")]),
        ({"spike": 0.5}, [8.0, 8.0, 8.6, 8.0], [(2, ""), (1, ""), (3, "spike"), (1, "")]),
        (
            {"flat_after": 180.0},
            [8.1, 8.0, 8.0, 8.0, 8.0, 8.01],
            [(2, ""), (1, ""), (1, ""), (1, ""), (3, "flat_line"), (1, "")],
        ),
        ({"flat_after": 0.0}, [8.1] + [8.0] * 50, [(2, "")] + [(1, "")] * 50),
    ],
)  # fmt: skip
def test_each_test_flags_what_it_is_for(changes, values, expected):
    assert flags(values, replace(SPEC, **changes)) == expected


def test_spike_limit_follows_the_channels_own_noise():
    assert flags([*STEADY, 8.4])[-1] == (3, "spike")
    noisy = [8.0 + 0.2 * (-1) ** i for i in range(200)]
    assert flags([*noisy, 8.4])[-1] == (1, "")


def test_missing_and_the_drivers_own_flags_pass_through():
    control = QualityControl({"ph": SPEC})
    for reading in (
        Reading("ph", T0, None, Quality.MISSING, "no_reply"),
        Reading("ph", T0 + 1, 7.0, Quality.FAIL, "probe_status"),
        Reading("ph", T0 + 2, 7.0, Quality.SUSPECT, "probe_suspect"),
        Reading("unknown", T0, 1.0),
    ):
        assert control.check(reading) == reading


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_never_passes(value):
    checked = QualityControl({"ph": SPEC}).check(Reading("ph", T0, value))
    assert (checked.value, checked.quality, checked.reason) == (None, Quality.MISSING, "not_finite")


def test_time_running_backwards_is_marked_and_forgotten():
    control = QualityControl({"ph": SPEC})
    control.check(Reading("ph", T0, 8.0))
    assert control.check(Reading("ph", T0 - 1, 8.0)).reason == "time_backwards"
    assert control.check(Reading("ph", T0, 8.0)).quality is Quality.FAIL
    assert control.check(Reading("ph", T0 + 60_000, 8.0)).quality is Quality.PASS


def test_a_failed_value_does_not_teach_the_tests():
    assert flags([*STEADY, 20.0, 8.0])[-1] == (1, "")


@given(st.lists(st.floats(), max_size=40))
def test_every_flag_is_one_of_qartods_and_only_failures_lack_a_reason_to_pass(values):
    for flag, reason in flags(values):
        assert flag in (1, 2, 3, 4, 9)
        assert bool(reason) == (flag in (3, 4, 9))


def test_worst_is_not_the_largest_number():
    assert worst(Quality.MISSING, Quality.PASS) is Quality.PASS
    assert worst(Quality.FAIL, Quality.SUSPECT, Quality.MISSING) is Quality.FAIL


def test_creep_below_the_resolution_is_no_flat_line():
    slow = [8.0 + 0.004 * i for i in range(200)]
    assert {flag for flag, _ in flags(slow, replace(SPEC, flat_after=600.0))[1:]} == {1}


def test_a_channel_that_is_overdue_gives_a_missing_reading_once_a_gap():
    control = QualityControl({"ph": replace(SPEC, probe="sonde", every=60.0), "do": replace(SPEC, every=60.0)})
    assert control.overdue(T0) == []
    control.check(Reading("ph", T0, 8.0))
    control.check(Reading("do", T0, 8.0))
    assert control.overdue(T0 + 150_000) == []
    assert control.overdue(T0 + 151_000) == [Reading("ph", T0 + 60_000, None, Quality.MISSING, "gap")]
    assert control.overdue(T0 + 900_000) == []
    control.check(Reading("ph", T0 + 1_000_000, None, Quality.MISSING, "no_reply"))
    assert control.overdue(T0 + 1_100_000) == []
    assert len(control.overdue(T0 + 1_200_000)) == 1
