"""Quality control as it is used: flags, provisional and final, and what goes through as it is."""

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
    checked = [control.check(Reading("ph", T0 + i * step, v))[0] for i, v in enumerate(values)]
    return [(int(r.quality), r.reason) for r in checked]


def finals(values, spec=SPEC, step=60_000):
    """Flags after all revisions; every one of which is of the value before."""
    control, found = QualityControl({"ph": spec}), []
    for i, value in enumerate(values):
        reading, revised = control.check(Reading("ph", T0 + i * step, value))
        if revised is not None:
            before = found[-1]
            assert (revised.channel, revised.time, revised.value) == (before.channel, before.time, before.value)
            assert revised.quality is not before.quality
            found[-1] = revised
        found.append(reading)
    return [(int(r.quality), r.reason) for r in found]


STEADY = [8.0, 8.01, 8.0, 8.02] * 200


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


def test_a_spike_is_provisional_until_the_value_after_it():
    spec = replace(SPEC, spike=0.5)
    single, step, ramp = [8.0, 8.0, 9.0, 8.0, 8.0], [8.0, 8.0, 8.8, 8.8, 8.8], [8.0, 8.0, 8.6, 9.2, 9.8]
    assert flags(single, spec)[1:] == [(1, ""), (3, "spike"), (1, ""), (1, "")]
    assert finals(single, spec)[1:] == [(1, ""), (3, "spike"), (1, ""), (1, "")]
    assert flags(step, spec)[1:] == [(1, ""), (3, "spike"), (1, ""), (1, "")]
    assert finals(step, spec)[1:] == [(1, ""), (1, "revised"), (1, ""), (1, "")]
    assert finals(ramp, spec)[1:] == [(1, ""), (1, "revised"), (1, "revised"), (3, "spike")]


def test_a_value_before_a_large_step_is_a_spike_afterwards_as_qartod_has_it():
    found = finals([8.0, 8.0, 8.0, 9.2, 9.2, 9.2], replace(SPEC, spike=0.5))[1:]
    assert found == [(1, ""), (3, "spike"), (3, "spike"), (1, "revised"), (1, "")]


def test_a_final_flag_falls_back_to_what_else_the_value_is():
    spec = replace(SPEC, spike=0.5, rate=0.1)
    assert finals([8.0, 8.0, 8.8, 8.8, 8.8], spec)[2] == (3, "spike")
    assert finals([8.0, 8.0, 8.8, 8.8, 8.8], replace(SPEC, spike=0.5, suspect_span=(7, 8.5)))[2] == (3, "gross_range")


def test_a_gap_leaves_the_flag_before_it_and_the_spike_test_begins_anew():
    control = QualityControl({"ph": replace(SPEC, spike=0.5)})
    times = [0, 60_000, 120_000, 300_000, 360_000, 420_000]
    checked = [
        control.check(Reading("ph", T0 + t, v)) for t, v in zip(times, [8.0, 8.0, 9.0, 5.0, 5.0, 5.0], strict=True)
    ]
    assert [r.reason for r, _ in checked] == ["", "", "spike", "", "", ""]
    assert [revised for _, revised in checked] == [None] * 6


def test_one_missing_value_is_bridged():
    control = QualityControl({"ph": replace(SPEC, spike=0.5)})
    for i, value in enumerate([8.0, 8.0, None, 9.0, None]):
        quality = Quality.MISSING if value is None else Quality.NOT_EVALUATED
        assert control.check(Reading("ph", T0 + i * 60_000, value, quality))[1] is None
    _, revised = control.check(Reading("ph", T0 + 5 * 60_000, 9.0))
    assert revised == Reading("ph", T0 + 3 * 60_000, 9.0, Quality.PASS, "revised")


def test_the_probes_own_doubt_is_never_revised():
    control = QualityControl({"ph": replace(SPEC, spike=0.5)})
    control.check(Reading("ph", T0, 8.0))
    control.check(Reading("ph", T0 + 1, 8.0))
    doubted = Reading("ph", T0 + 2, 8.0, Quality.SUSPECT, "probe_suspect")
    assert control.check(doubted) == (doubted, None)
    assert control.check(Reading("ph", T0 + 3, 8.0))[1] is None


def test_missing_and_the_drivers_own_flags_pass_through():
    control = QualityControl({"ph": SPEC})
    for reading in (
        Reading("ph", T0, None, Quality.MISSING, "no_reply"),
        Reading("ph", T0 + 1, 7.0, Quality.FAIL, "probe_status"),
        Reading("ph", T0 + 2, 7.0, Quality.SUSPECT, "probe_suspect"),
        Reading("unknown", T0, 1.0),
    ):
        assert control.check(reading) == (reading, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_never_passes(value):
    checked, _ = QualityControl({"ph": SPEC}).check(Reading("ph", T0, value))
    assert (checked.value, checked.quality, checked.reason) == (None, Quality.MISSING, "not_finite")


def test_time_running_backwards_is_marked_and_forgotten():
    control = QualityControl({"ph": SPEC})
    control.check(Reading("ph", T0, 8.0))
    assert control.check(Reading("ph", T0 - 1, 8.0))[0].reason == "time_backwards"
    assert control.check(Reading("ph", T0, 8.0))[0].quality is Quality.FAIL
    assert control.check(Reading("ph", T0 + 60_000, 8.0))[0].quality is Quality.PASS


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
