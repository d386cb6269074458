"""What should have been read, and what counts as the same."""

import numpy as np
import pytest
from simulated import CABINET, SONDE, START, TROLL, scenario

from ewarn.profiles import load_profile
from simulators.truth import Truth, as_carried

EXO = load_profile("ysi_exo_modbus")


@pytest.fixture
def truth():
    return Truth(scenario({**SONDE, "sample_period": "15s"}, TROLL, CABINET))


def test_values_stay_for_a_sample_period(truth):
    history = truth.history("sonde", "ph", START, START + 600_000, 1000)[1]
    assert all(len(set(history[i : i + 15])) == 1 for i in range(0, 600, 15))
    assert len(set(history)) > 3


def test_single_values_and_a_history_are_the_same(truth):
    for probe in truth.scenario.probes:
        for name in probe.channels:
            times, values = truth.history(probe.id, name, START, START + 60_000, 7001)
            assert [truth.value(probe.id, name, t) for t in times] == values


def test_what_is_not_fitted_has_no_value(truth):
    assert truth.value("sonde", "uv254", START) is None
    with pytest.raises(KeyError):
        truth.history("sonde", "uv254", START, START + 1, 1)
    with pytest.raises(KeyError):
        truth.matches("sonde", "uv254", START, 1.0, 0)


def test_a_truth_needs_a_start():
    with pytest.raises(ValueError, match="no start"):
        Truth(scenario(SONDE, start=""))


def test_events_count_from_the_start():
    leak = {"kind": "brine", "after": "1h", "duration": "2h"}
    clean, dirty = (Truth(scenario(SONDE, contaminations=c)) for c in ([], [leak]))
    times = [START + h * 600_000 for h in range(-6, 30)]
    differing = [t for t in times if clean.water("spcond", t) != dirty.water("spcond", t)]
    assert differing == [START + h * 600_000 for h in range(7, 18)]


def test_the_last_bits_do_not_matter_but_a_step_of_the_instrument_does(truth):
    for probe in truth.scenario.probes:
        for name in probe.channels:
            value = truth.value(probe.id, name, START)
            channel = probe.device.channel(name)
            assert truth.matches(probe.id, name, START, value, 0)
            assert truth.matches(probe.id, name, START, value * (1 + 1e-13), 0)
            for step in (10.0**-channel.decimals * channel.scale, 1e-3 * value, value, 1e-6 * max(1, abs(value))):
                if step:
                    assert not truth.matches(probe.id, name, START, value + step, 0), name
                    assert not truth.matches(probe.id, name, START, value - step, 0), name
            for wrong in (float("nan"), float("inf"), -value):
                assert value == 0 or not truth.matches(probe.id, name, START, wrong, 0)


def test_the_tolerance_is_of_time(truth):
    sample = 15_000
    now = START // sample * sample + sample
    before, after = truth.value("sonde", "spcond", now - 1), truth.value("sonde", "spcond", now)
    assert before != after
    assert not truth.matches("sonde", "spcond", now, before, 0)
    assert truth.matches("sonde", "spcond", now, before, 1)
    assert not truth.matches("sonde", "spcond", now - 2, after, 1)
    assert truth.matches("sonde", "spcond", now - 2, after, 2)


def test_another_channel_or_probe_does_not_match(truth):
    ph = truth.value("sonde", "ph", START)
    assert not truth.matches("sonde", "do", START, ph, 60_000)
    assert not truth.matches("sonde", "orp", START, ph, 60_000)


def test_what_a_float32_carries_is_a_float32():
    carried = as_carried(EXO, EXO.channel("ph"), np.array([8.14, 7.005]))
    assert carried.tolist() == [float(np.float32(8.14)), float(np.float32(np.round(7.005, 2)))]


@pytest.mark.parametrize("period", ["100ms", "700ms", "1.1s", "7s"])
def test_samples_are_counted_the_same_everywhere(period):
    truth = Truth(scenario({**SONDE, "sample_period": period, "channels": ["spcond"]}))
    times = range(START, START + 20_000, 37)
    by_sample = {}
    for t in times:
        by_sample.setdefault(truth.sample("sonde", t), set()).add(truth.value("sonde", "spcond", t))
    assert all(len(values) == 1 for values in by_sample.values())
    assert len(by_sample) > 2
