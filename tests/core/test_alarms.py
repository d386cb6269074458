"""Alarm states after ISA-18.2."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ewarn.contracts import AlarmState, Priority
from ewarn.core.alarms import AlarmMachine, AlarmRecord, Context, Delay

N, U, A, R = AlarmState.NORMAL, AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED, AlarmState.RETURNED_UNACKNOWLEDGED
TABLE = {
    (N, "on"): U, (N, "off"): N, (N, "ack"): N,
    (U, "on"): U, (U, "off"): R, (U, "ack"): A,
    (A, "on"): A, (A, "off"): N, (A, "ack"): A,
    (R, "on"): U, (R, "off"): R, (R, "ack"): N,
}  # fmt: skip
EVENTS = st.lists(st.sampled_from(["on", "off", "ack"]), max_size=40)


def play(machine, event, now):
    if event == "ack":
        return machine.acknowledge(now, "Ana")
    return machine.update(now, event == "on", now, Context())


@pytest.mark.parametrize(("state", "event"), TABLE)
def test_every_transition(state, event):
    machine = AlarmMachine("s", Priority.HIGH, AlarmRecord("x", state, 4, 2))
    alert = play(machine, event, 1000)
    assert machine.record.state is TABLE[state, event]
    assert (alert is None) == (TABLE[state, event] is state)
    if alert is not None:
        assert (alert.previous, alert.state) == (state, TABLE[state, event])
        assert alert.by == ("Ana" if event == "ack" else "")


@given(EVENTS)
def test_any_history_follows_the_table_with_ids_of_its_own(events):
    machine, state, ids = AlarmMachine("s", Priority.HIGH, AlarmRecord("x")), N, []
    for now, event in enumerate(events):
        alert = play(machine, event, now)
        state = TABLE[state, event]
        assert machine.record.state is state
        if alert is not None:
            ids.append(alert.id)
    assert len(ids) == len(set(ids))


@given(EVENTS, EVENTS)
def test_a_restart_goes_on_as_if_nothing_had_been(before, after):
    one = AlarmMachine("s", Priority.HIGH, AlarmRecord("x"))
    for now, event in enumerate(before):
        play(one, event, now)
    kept = msgspec.json.decode(msgspec.json.encode(one.record), type=AlarmRecord)
    two = AlarmMachine("s", Priority.HIGH, kept)
    for now, event in enumerate(after, start=len(before)):
        assert play(one, event, now) == play(two, event, now)


def test_a_return_before_the_acknowledgement_is_the_same_occurrence():
    machine = AlarmMachine("s", Priority.HIGH, AlarmRecord("x"))
    alerts = [play(machine, e, t) for t, e in enumerate(["on", "off", "on", "ack", "off", "on"])]
    assert [(a.occurrence, a.number) for a in alerts] == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 1)]
    assert [a.onset for a in alerts] == [0, 0, 0, 0, 0, 5]


def test_on_delay_counts_steps_and_off_delay_time():
    delay = Delay(2, 3, 120.0)
    seen = [delay.update(t * 60_000, c) for t, c in enumerate([1, 0, 0, 1, 0, 1, 1, 0, 0, 0])]
    assert seen == [False, False, False, False, False, True, True, True, False, False]
    assert delay.onset == 3 * 60_000


def test_an_alarm_active_before_a_restart_stays_until_its_off_delay_has_passed():
    delay = Delay(2, 3, 120.0, active=True)
    assert [delay.update(t * 60_000, False) for t in range(3)] == [True, True, False]


def test_an_outage_is_no_normal_water():
    delay = Delay(1, 1, 120.0, gap=240.0, active=True)
    delay.update(0, True)
    assert [delay.update(600_000 + t * 60_000, False) for t in range(3)] == [True, True, False]


def test_steps_before_an_outage_do_not_add_to_those_after_it():
    delay = Delay(2, 3, 120.0, gap=240.0)
    assert [delay.update(t, True) for t in (0, 600_000)] == [False, False]
    assert delay.update(660_000, True)
    assert delay.onset == 600_000
