"""Operations explain what they usually bring, as learned here, with lag, and never more."""

import random

import pytest

from ewarn.contracts import Evidence
from ewarn.core.operations import Operations

MINUTE = 60_000


def evidence(**nats):
    return [Evidence(channel, 1.0, 0.0, score, 0) for channel, score in nats.items()]


class Pump:
    """A flow that is switched every three hours; ph follows ten minutes later, turbidity does not."""

    def __init__(self, seed=1):
        self.rng = random.Random(seed)
        self.operations = Operations({"flow": 1.0}, 60.0)
        self.minute = 0

    def run(self, minutes, nats=8.0):
        for _ in range(minutes):
            self.minute += 1
            high, since = (self.minute // 180) % 2, self.minute % 180
            self.operations.take(self.now, {"flow": 100.0 + 80.0 * high + self.rng.gauss(0, 0.5)})
            follows = 8 <= since <= 22 and self.minute > 180
            self.operations.learn(self.now, {"ph": nats if follows else 0.5, "turbidity": 0.5})

    def until(self, since):
        """To that many minutes after a switch."""
        while self.minute % 180 != since:
            self.run(1)

    @property
    def now(self):
        return self.minute * MINUTE


@pytest.fixture
def pump():
    made = Pump()
    made.run(180 * 12)
    return made


def test_the_usual_change_after_a_switch_is_explained(pump):
    pump.until(12)
    assert pump.operations.moved(pump.now) == {"flow"}
    assert pump.operations.explained(pump.now, evidence(ph=8.0)) > 0.6


def test_what_goes_beyond_the_usual_is_not(pump):
    pump.until(12)
    assert pump.operations.explained(pump.now, evidence(ph=40.0)) < 0.3


def test_each_channel_is_explained_by_itself(pump):
    pump.until(12)
    assert pump.operations.explained(pump.now, evidence(turbidity=8.0)) < 0.15


def test_the_lag_is_learned(pump):
    pump.until(2)
    early = pump.operations.explained(pump.now, evidence(ph=8.0))
    pump.until(12)
    assert early < pump.operations.explained(pump.now, evidence(ph=8.0)) / 2


def test_long_after_a_switch_nothing_is_explained(pump):
    pump.until(170)
    assert pump.operations.moved(pump.now) == frozenset()
    assert pump.operations.explained(pump.now, evidence(ph=8.0)) == 0.0


def test_nothing_is_explained_before_it_was_seen_some_times():
    new = Pump()
    new.run(185)
    new.until(12)
    assert new.operations.moved(new.now) == {"flow"}
    assert new.operations.explained(new.now, evidence(ph=8.0)) == 0.0


def test_a_storm_of_evidence_teaches_no_more_than_twelve_nats(pump):
    pump.run(180 * 6, nats=1e6)
    pump.until(12)
    assert pump.operations.explained(pump.now, evidence(ph=1e3)) < 0.02


def test_quiet_noise_of_a_flow_is_no_operation():
    operations, rng = Operations({"flow": 0.1}, 60.0), random.Random(2)
    moved = 0
    for minute in range(5000):
        operations.take(minute * MINUTE, {"flow": 100 + rng.gauss(0, 3)})
        moved += bool(operations.moved(minute * MINUTE)) if minute > 100 else 0
    assert moved < 250


def test_a_station_without_operational_channels_explains_nothing():
    operations = Operations({}, 60.0)
    operations.take(0, {"ph": 7.0})
    assert (operations.moved(0), operations.explained(0, evidence(ph=9.0))) == (frozenset(), 0.0)
