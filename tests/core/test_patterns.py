"""What operators called harmless is recognised; what looks as much like a contamination is not."""

import pytest

from ewarn.contracts import AlarmState, Alert, Cause, Classification, Evidence, Label, Priority
from ewarn.core.patterns import Patterns

DAY = 86_400_000
EXPIRE = 90 * DAY


def evidence(**changes):
    return tuple(Evidence(c, 100.0 + d, 100.0, abs(d), 0) for c, d in changes.items())


def word(label, time=0, **changes):
    alert = Alert("s", "contamination", 1, 1, time, time, AlarmState.UNACKNOWLEDGED, AlarmState.NORMAL, Priority.CRITICAL,
                  Cause.CONTAMINATION, 0.5, evidence(**changes))  # fmt: skip
    return Classification(alert, label, "Ana", time)


@pytest.fixture
def patterns():
    return Patterns("river", EXPIRE)


@pytest.mark.parametrize("label", [Label.NATURAL, Label.OPERATION, Label.SENSOR])
def test_a_change_that_was_called_harmless_is_recognised(patterns, label):
    patterns.classify(word(label, turbidity=20, do=-12))
    assert patterns.recognise(DAY, evidence(turbidity=16, do=-10)) is label


def test_what_is_larger_than_what_was_called_harmless_is_not(patterns):
    patterns.classify(word(Label.NATURAL, turbidity=20, do=-12))
    assert patterns.recognise(DAY, evidence(turbidity=40, do=-24)) is None


@pytest.mark.parametrize("changes", [{"turbidity": -20, "do": 12}, {"turbidity": 20}, {"turbidity": 20, "do": -12, "ph": -30}])
def test_another_change_is_not(patterns, changes):
    patterns.classify(word(Label.NATURAL, turbidity=20, do=-12))
    assert patterns.recognise(DAY, evidence(**changes)) is None


@pytest.mark.parametrize("label", [Label.EVENT, Label.UNKNOWN])
def test_other_words_make_no_pattern_of_the_harmless(patterns, label):
    patterns.classify(word(label, turbidity=20, do=-12))
    assert patterns.recognise(DAY, evidence(turbidity=20, do=-12)) is None


def test_what_looks_more_like_a_known_substance_is_not_let_pass(patterns):
    patterns.classify(word(Label.NATURAL, ph=-10, spcond=8, turbidity=4))
    assert patterns.recognise(DAY, evidence(ph=-10, spcond=10)) is None


def test_a_pattern_expires(patterns):
    patterns.classify(word(Label.NATURAL, turbidity=20, do=-12))
    changes = evidence(turbidity=20, do=-12)
    assert patterns.recognise(EXPIRE, changes) is Label.NATURAL
    assert patterns.recognise(EXPIRE + 1, changes) is None


def test_an_event_that_looks_like_it_takes_the_pattern_away(patterns):
    patterns.classify(word(Label.NATURAL, turbidity=20, do=-12))
    patterns.classify(word(Label.EVENT, time=DAY, turbidity=22, do=-11))
    assert patterns.recognise(2 * DAY, evidence(turbidity=20, do=-12)) is None


def test_one_sensors_excursion_is_no_pattern(patterns):
    patterns.classify(word(Label.SENSOR, ph=-10))
    assert len(patterns) == 0


def test_there_is_room_for_a_hundred():
    patterns = Patterns("river", EXPIRE)
    for i in range(300):
        patterns.classify(word(Label.NATURAL, time=i, **{f"ph_{i + 2}": 10, "do": -5}))
    assert len(patterns) == 100
