"""Alarms of the station itself."""

import pytest

from ewarn.contracts import AlarmState, Priority
from ewarn.core.health_alarms import KINDS, HealthAlarms

T0 = 1_780_000_000_000
UNACK, RTNUN, NORM = AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED_UNACKNOWLEDGED, AlarmState.NORMAL


def states(step):
    return [(a.alarm, a.state, a.detail) for a in step.alerts]


def test_what_is_wrong_is_raised_once_and_goes_when_it_is_over():
    alarms = HealthAlarms("s", {})
    (alert,) = alarms.update(T0, {"detection": "detector_off:trees"}).alerts
    assert (alert.alarm, alert.state, alert.priority) == ("health-detection", UNACK, Priority.HIGH)
    assert alert.detail == {"reason": "detector_off:trees"}
    assert alert.id == "s/health-detection/1/1"
    assert states(alarms.update(T0 + 1, {"detection": "detector_off:trees"})) == []
    assert states(alarms.update(T0 + 2, {})) == [("health-detection", RTNUN, {})]
    assert states(alarms.acknowledge(T0 + 3, "health-detection", "Ana")) == [("health-detection", NORM, {})]


@pytest.mark.parametrize(("kind", "reason", "seconds"), [
    ("disk", "disk_refuses", 10), ("link", "broker_refuses", 10), ("clock", "clock_unsync", 900), ("clock", "clock_jump", 0),
])  # fmt: skip
def test_what_may_pass_by_itself_has_to_last(kind, reason, seconds):
    alarms = HealthAlarms("s", {})
    alarms.update(T0 - 5000, {})
    for again in range(3):
        at = T0 + again * 10_000_000
        if seconds:
            assert not alarms.update(at, {kind: reason}).alerts
            assert not alarms.update(at + seconds * 1000 - 1, {kind: reason}).alerts
            assert not alarms.update(at + seconds * 1000, {}).alerts
    assert not alarms.update(at + 1_000_000, {kind: reason}).alerts or not seconds
    (alert,) = HealthAlarms("s", {}).update(T0, {kind: reason}).alerts or alarms.update(at + 9_000_000, {kind: reason}).alerts
    assert alert.onset == (at + 1_000_000 if seconds else T0)


def test_they_go_on_over_a_restart_and_other_records_are_none_of_theirs():
    before = HealthAlarms("s", {})
    records = before.update(T0, {"file": "file_set_aside"}).alarms
    again = HealthAlarms("s", {**records, "contamination": records["health-file"]})
    assert set(again.alarms) == {f"health-{kind}" for kind in KINDS}
    assert states(again.update(T0 + 1, {})) == [("health-file", RTNUN, {})]
    (alert,) = again.update(T0 + 2, {"file": "file_set_aside"}).alerts
    assert (alert.occurrence, alert.number) == (1, 3)


def test_time_does_not_run_backwards():
    alarms = HealthAlarms("s", {})
    alarms.update(T0, {})
    assert alarms.update(T0 - 10**9, {"file": "file_set_aside"}).alerts[0].time == T0


def test_an_alarm_that_is_none_cannot_be_acknowledged():
    with pytest.raises(KeyError):
        HealthAlarms("s", {}).acknowledge(T0, "health-nothing", "Ana")
