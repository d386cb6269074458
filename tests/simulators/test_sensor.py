"""From the water to what a probe shows."""

import numpy as np
import pytest
from simulated import CABINET, SONDE, START, TROLL, scenario

from ewarn.parameters import PARAMETERS
from simulators.sensor import Sensor, SensorFault
from simulators.truth import Truth

BEGIN = 1780315200
FAULT = (BEGIN + 300.0, BEGIN + 900.0)
MINUTES = np.arange(BEGIN, BEGIN + 1200)
DURING = (FAULT[0] <= MINUTES) & (FAULT[1] > MINUTES)


def sensor(parameter="ph", *faults, water=None, period=1.0, name="a/ph"):
    return Sensor(parameter, 1, name, period, water or (lambda t: np.full_like(t, 7.5)), faults)


def fault(kind, size=0.0, onset=FAULT[0], end=FAULT[1]):
    return SensorFault(kind, onset, end, size)


def test_a_step_arrives_with_the_lag_of_the_sensor():
    def step(t):
        return np.where(t >= BEGIN, 10.0, 5.0)

    shown = sensor("orp", water=lambda t: 100 * step(t)).shown(np.arange(BEGIN - 600, BEGIN + 600))
    assert abs(shown[:599].mean() - 500) < 1
    assert abs(shown[-60:].mean() - 1000) < 10
    after = shown[600:]
    assert after[5] < 750
    assert 15 < np.argmax(after > 816) < 120  # T63 of a minute, by five nodes
    fast = sensor("spcond", water=lambda t: 100 * step(t)).shown(np.arange(BEGIN, BEGIN + 60))
    assert fast[30] > 990


def test_a_slow_ramp_is_shown_late_by_the_response_time():
    shown = sensor("orp", water=lambda t: (t - BEGIN) * 0.01).shown(np.arange(BEGIN + 5000, BEGIN + 9000))
    late = 0.01 * np.arange(5000, 9000) - shown
    assert late.mean() == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_what_is_shown_has_the_resolution_of_the_instrument(parameter):
    resolution = PARAMETERS[parameter].resolution
    level = 0.37 + 100 * resolution
    shown = sensor(parameter, water=lambda t: level + 0 * t).shown(MINUTES)
    steps = shown / resolution
    assert np.abs(steps - np.round(steps)).max() < 1e-6
    assert [len(repr(v).partition(".")[2]) <= 4 for v in shown.tolist()].count(False) == 0


def test_noise_is_that_of_the_instrument():
    shown = sensor("do", water=lambda t: np.full_like(t, 9.0)).shown(MINUTES)
    assert shown.mean() == pytest.approx(9, abs=0.01)
    assert shown.std() == pytest.approx(0.02, rel=0.3)


def test_nothing_is_shown_below_nothing():
    shown = sensor("ammonium_n", water=np.zeros_like).shown(MINUTES)
    assert shown.min() == 0
    assert (shown > 0).any()


def test_two_sensors_in_one_water_differ_by_their_noise():
    one, other = (sensor("do", name=n).shown(MINUTES) for n in ("a/do", "b/do"))
    assert (one != other).mean() > 0.5
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15


FAULTS = [
    fault("stuck"),
    fault("spike", 400.0),
    fault("drift", -3.0),
    fault("offset", 1.5),
    fault("zero"),
    fault("noise", 0.5),
    fault("out_of_water"),
]


@pytest.mark.parametrize("wrong", FAULTS, ids=lambda f: f.kind)
def test_a_fault_lasts_from_its_onset_to_its_end(wrong):
    healthy, faulty = sensor().shown(MINUTES), sensor("ph", wrong).shown(MINUTES)
    assert (faulty[~DURING] == healthy[~DURING]).all()
    assert (faulty[DURING] != healthy[DURING]).any()


@pytest.mark.parametrize("wrong", FAULTS, ids=lambda f: f.kind)
def test_faulty_values_do_not_depend_on_how_they_are_asked(wrong):
    probe = sensor("ph", wrong)
    at_once = probe.shown(MINUTES)
    assert [float(probe.shown(MINUTES[i : i + 1])[0]) for i in range(290, 360)] == at_once[290:360].tolist()
    assert (probe.shown(MINUTES[::-7]) == at_once[::-7]).all()


def test_each_kind_of_fault_does_what_it_says():
    healthy = sensor().shown(MINUTES)

    def off(wrong):
        return (sensor("ph", wrong).shown(MINUTES) - healthy)[DURING]

    assert off(fault("offset", 1.5)) == pytest.approx(1.5, abs=1e-6)
    drift = off(fault("drift", -3.0))
    assert drift[0] == 0
    assert drift[300] == pytest.approx(-1.5, abs=0.02)
    assert drift[-1] == pytest.approx(-3, abs=0.02)
    spikes = off(fault("spike", 400.0))
    assert set(np.round(spikes, 6)) == {0.0, 400.0}
    assert 10 <= (spikes != 0).sum() <= 60
    assert off(fault("noise", 0.5)).std() == pytest.approx(0.5, rel=0.2)
    assert (sensor("ph", fault("zero")).shown(MINUTES)[DURING] == 0).all()


@pytest.mark.parametrize("onset", [FAULT[0], FAULT[0] + 0.5, FAULT[0] - 0.001])
def test_a_stuck_sensor_repeats_its_last_value(onset):
    healthy, stuck = sensor().shown(MINUTES), sensor("ph", fault("stuck", onset=onset)).shown(MINUTES)
    first = int(np.argmax(onset <= MINUTES))
    assert (stuck[first : first + 500] == healthy[first - 1]).all()


def test_a_sensor_that_sticks_while_it_is_off_repeats_what_it_showed():
    both = (fault("offset", 2.0, BEGIN + 100.0, BEGIN + 2000.0), fault("stuck"))
    shown = sensor("ph", *both).shown(MINUTES)
    assert (shown[DURING] == shown[299]).all()
    assert shown[299] > 9


def test_out_of_water_looks_like_air():
    def dry(parameter, level):
        return sensor(parameter, fault("out_of_water"), water=lambda t: np.full_like(t, level)).shown(MINUTES)[DURING]

    assert dry("spcond", 980.0).max() < 5
    assert dry("spcond", 980.0).min() >= 0
    assert dry("tds", 600.0).max() < 5
    assert dry("do_sat", 80.0).mean() == pytest.approx(99, abs=0.1)
    assert dry("water_temp", 21.0).mean() == pytest.approx(21, abs=0.1)
    assert len(set(dry("ph", 8.0).tolist())) > 3


def histories(**tables):
    truth = Truth(scenario(SONDE, TROLL, CABINET, **tables))
    return {
        (p.id, c): truth.history(p.id, c, START, START + 120_000, 1000)[1]
        for p in truth.scenario.probes
        for c in p.channels
    }


@pytest.mark.parametrize("kind", ["stuck", "spike", "drift", "offset", "zero", "noise"])
def test_a_sensor_fault_changes_its_channel_alone(kind):
    wrong = {"probe": "sonde", "channel": "ph", "kind": kind, "after": "10s", "duration": "100s", "size": 3.0}
    healthy, faulty = histories(), histories(sensor_faults=[wrong])
    assert {name for name, shown in faulty.items() if shown != healthy[name]} == {("sonde", "ph")}


def test_a_probe_out_of_water_leaves_its_neighbours_alone():
    healthy, faulty = histories(), histories(sensor_faults=[{"probe": "troll", "kind": "out_of_water"}])
    assert {probe for (probe, _), shown in faulty.items() if shown != healthy[probe, _]} == {"troll"}
