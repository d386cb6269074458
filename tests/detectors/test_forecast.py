"""The forecast detector on a simulated river: what it takes for an event, what for a failing sensor, what for nature."""

import copy

import numpy as np
import pytest

from detectors.forecast import ForecastDetector
from simulators.water import Water

STEP = 900.0
RESOLUTION = {"ph": 0.01, "spcond": 0.1, "do": 0.01, "turbidity": 0.01}
NOISE = {"ph": 0.005, "spcond": 0.8, "do": 0.02, "turbidity": 0.3}
DAYS = 24
START = 1_780_000_200.0


def river(seed=3):
    """Samples of a river, as an array by channel."""
    rng, times = np.random.default_rng(seed), START + STEP * np.arange(int(DAYS * 86400 / STEP))
    water = Water(seed)
    rows = {name: water.values(name, times) + NOISE[name] * rng.normal(size=len(times)) for name in RESOLUTION}
    return {name: np.round(v / RESOLUTION[name]) * RESOLUTION[name] for name, v in rows.items()}


AT = 1900
"""What happens, happens from here on; all before is quiet water, learned once."""


@pytest.fixture(scope="module")
def quiet():
    return river()


@pytest.fixture(scope="module")
def learned(quiet):
    return Watched(ForecastDetector(step_s=STEP, resolution=RESOLUTION)).see(quiet, 0, AT)


@pytest.fixture
def see(learned):
    """What the detector says of rows from AT on."""
    return lambda rows, last=AT + 120: copy.deepcopy(learned).see(rows, AT, last)


class Watched:
    """What a detector said of each sample."""

    def __init__(self, detector):
        self.detector = detector
        self.scores, self.doubts, self.evidence = [], [], []

    def see(self, rows, first, last):
        for values in zip(*(rows[name][first:last] for name in RESOLUTION), strict=True):
            x = {n: float(v) for n, v in zip(RESOLUTION, values, strict=True) if not np.isnan(v)}
            self.scores.append(self.detector.score_one(x))
            self.doubts.append(self.detector.doubt_one(x))
            self.evidence.append(self.detector.explain_one(x))
            self.detector.learn_one(x)
        return self

    def alarmed(self, first, last):
        return [i for i in range(first, last) if self.scores[i] >= self.detector.threshold]

    def doubted(self, first, last):
        return {pair for doubts in self.doubts[first:last] for pair in doubts.items()}


PLUME = np.array([0, 0.15, 0.42, 0.68, 0.86, 0.97, 1, 0.98, 0.91, 0.83, 0.74, 0.65, 0.56, 0.48, 0.41, 0.34])


def changed(rows, channel, change, at=AT):
    """A copy in which the channel is changed from `at` on by a function of its values there."""
    rows = {name: values.copy() for name, values in rows.items()}
    part = rows[channel][at : at + len(PLUME)]
    part[:] = np.round(change(part) / RESOLUTION[channel]) * RESOLUTION[channel]
    return rows


def test_quiet_water_and_rain_are_quiet(quiet, see):
    watched = see(quiet, len(quiet["ph"]))
    assert quiet["spcond"][AT:].min() < 0.8 * quiet["spcond"][AT]  # it rains on the last day
    assert len(watched.alarmed(4 * 96, len(watched.scores))) <= 3
    assert sum(map(bool, watched.doubts[4 * 96 :])) < 0.02 * len(watched.doubts)


@pytest.mark.parametrize(("channel", "size"), [("spcond", 120.0), ("do", -2.0), ("ph", -0.5)])
def test_a_slow_plume_in_one_channel_is_an_event(quiet, see, channel, size):
    watched = see(changed(quiet, channel, lambda v: v + size * PLUME))
    assert watched.alarmed(AT, AT + 8)
    assert not watched.doubted(AT, AT + 16)
    i = watched.alarmed(AT, AT + 8)[0]
    nats, expected = watched.evidence[i][channel]
    assert nats > 4
    assert abs(expected - quiet[channel][i]) < 0.3 * abs(size)


def test_a_sudden_change_needs_two_channels(quiet, see):
    salted = changed(quiet, "spcond", lambda v: v + 80)
    both = changed(salted, "ph", lambda v: v - 0.4)
    assert see(both).alarmed(AT, AT + 4)
    assert not see(salted).alarmed(AT, AT + 16)


@pytest.mark.parametrize("channel", RESOLUTION)
def test_a_jump_in_one_channel_is_a_sensors(quiet, see, channel):
    size = {"ph": 1.0, "spcond": 150.0, "do": 4.0, "turbidity": 200.0}[channel]
    watched = see(changed(quiet, channel, lambda v: v + size))
    assert not watched.alarmed(AT, AT + 16)
    assert any(c == channel for c, _ in watched.doubted(AT, AT + 4))


def test_a_jump_that_shows_in_a_second_channel_is_no_sensors(quiet, see):
    salted = changed(quiet, "spcond", lambda v: v + 150.0)
    beside = see(changed(salted, "ph", lambda v: v - 0.1))
    assert ("spcond", "jump") in see(salted).doubted(AT, AT + 4)
    assert ("spcond", "jump") not in beside.doubted(AT, AT + 4)


def test_a_channel_that_was_rough_lately_is_not_heard(quiet, see):
    plume = changed(quiet, "do", lambda v: v - 2.0 * PLUME, AT + 40)
    rough = {name: values.copy() for name, values in plume.items()}
    rough["do"][AT : AT + 30] += 0.4 * (np.arange(30) % 2)
    assert see(plume).alarmed(AT + 40, AT + 48)
    assert not see(rough).alarmed(AT + 40, AT + 48)


def test_spikes_are_a_sensors(quiet, see):
    watched = see(changed(quiet, "do", lambda v: v + 4.0 * (np.arange(len(v)) % 2)))
    assert not watched.alarmed(AT, AT + 16)
    assert ("do", "jump") in watched.doubted(AT, AT + 6)


def test_zeros_are_a_sensors_where_zero_has_not_been(quiet, see):
    watched = see(changed(quiet, "spcond", np.zeros_like))
    assert not watched.alarmed(AT, AT + 16)
    assert ("spcond", "zero") in watched.doubted(AT, AT + 2)


def test_a_sensor_that_stands_still_is_named_after_hours(quiet, see):
    rows = {name: values.copy() for name, values in quiet.items()}
    rows["do"][AT : AT + 48] = rows["do"][AT]
    watched = see(rows)
    assert ("do", "stuck") in watched.doubted(AT + 16, AT + 20)
    assert not watched.doubted(AT, AT + 15)


def test_a_probe_out_for_service_is_no_event(quiet, see):
    rows = {name: values.copy() for name, values in quiet.items()}
    for name, offset in (("ph", -0.3), ("spcond", 9.0), ("do", 0.4)):
        rows[name][AT : AT + 4] = rows[name][AT]
        rows[name][AT + 4 :] += offset
    assert not see(rows).alarmed(AT, AT + 16)


@pytest.mark.parametrize("size", [40.0, 200.0])
def test_turbidity_alone_is_nature(quiet, see, size):
    assert not see(changed(quiet, "turbidity", lambda v: v + size * PLUME)).alarmed(AT, AT + 16)


def test_missing_channels_and_outages_raise_nothing(quiet, see):
    rows = {name: values.copy() for name, values in quiet.items()}
    rows["ph"][AT:] = np.nan
    for values in rows.values():
        values[AT + 10 : AT + 70] = np.nan
    assert not see(rows).alarmed(AT, AT + 120)


def test_what_is_news_of_a_sensor_is_so_for_two_hours(quiet, see):
    rows = {name: values.copy() for name, values in quiet.items()}
    rows["do"][AT:] = 0.0
    watched = see(rows)
    zero = [i for i in range(AT, AT + 120) if ("do", "zero") in watched.doubted(i, i + 1)]
    assert zero == list(range(AT, AT + 8))


def test_to_be_asked_of_other_water_changes_nothing(quiet, learned):
    asked, left = copy.deepcopy(learned).detector, copy.deepcopy(learned).detector
    for i in range(AT, AT + 40):
        x = {name: float(quiet[name][i]) for name in RESOLUTION}
        asked.score_one({**x, "ph": 2.0, "do": 0.0})
        assert asked.score_one(x) == left.score_one(x)
        asked.explain_one({"spcond": 9000.0})
        asked.doubt_one({})
        asked.learn_one(x)
        left.learn_one(x)


def test_it_is_causal_and_repeats_to_the_bit(quiet, learned):
    again = Watched(ForecastDetector(step_s=STEP, resolution=RESOLUTION))
    assert again.see({name: values[:700] for name, values in quiet.items()}, 0, 700).scores == learned.scores[:700]


def test_it_is_a_river_estimator():
    detector = ForecastDetector(step_s=STEP, resolution=RESOLUTION, threshold=9.0)
    twin = detector.clone()
    assert (twin.threshold, twin.step_s, twin.resolution) == (9.0, STEP, RESOLUTION)
