"""What an operator says of an alert is written down, learned from, and learned again after a restart."""

import sqlite3

import pytest
from steps import T0, full_step

from ewarn.contracts import Label
from ewarn.edge.journal import Journal

DAY = 86_400_000


def opened(path, boot="b1"):
    return Journal.open(path / "s.sqlite", boot=boot, now=T0)


def with_alert(path):
    journal = opened(path)
    step = full_step(1)
    journal.commit(T0, step.readings, step)
    return journal, step.alerts[0]


def test_a_word_is_kept_with_the_alert_that_it_is_about(tmp_path):
    journal, alert = with_alert(tmp_path)
    with journal:
        journal.classify(T0 + 5, alert.alarm, alert.occurrence, Label.NATURAL, "Ana")
    with opened(tmp_path, "b2") as again:
        (word,) = again.words()
    assert (word.label, word.by, word.time) == (Label.NATURAL, "Ana", T0 + 5)
    assert (word.alert.alarm, word.alert.time, word.alert.evidence) == (alert.alarm, alert.time, alert.evidence)


def test_the_last_word_counts(tmp_path):
    journal, alert = with_alert(tmp_path)
    with journal:
        journal.classify(T0 + 5, alert.alarm, alert.occurrence, Label.NATURAL, "Ana")
        journal.classify(T0 + 9, alert.alarm, alert.occurrence, Label.EVENT, "Luis")
        assert [(w.label, w.by) for w in journal.words()] == [(Label.EVENT, "Luis")]


def test_an_alert_that_never_was_cannot_be_classified(tmp_path):
    journal, alert = with_alert(tmp_path)
    with journal, pytest.raises(KeyError):
        journal.classify(T0, alert.alarm, 99, Label.EVENT, "Ana")


def test_alerts_are_kept_for_a_year_and_then_forgotten(tmp_path):
    journal, alert = with_alert(tmp_path)
    with journal:
        journal.classify(T0, alert.alarm, alert.occurrence, Label.EVENT, "Ana")
        journal.prune(T0 + 365 * DAY)
        assert len(journal.words()) == 1
        journal.prune(T0 + 401 * DAY)
        assert journal.words() == []


def test_a_damaged_word_costs_itself_alone(tmp_path, caplog):
    journal, alert = with_alert(tmp_path)
    with journal:
        step = full_step(2)
        journal.commit(T0 + 60_000, step.readings, step)
        journal.classify(T0 + 1, alert.alarm, alert.occurrence, Label.EVENT, "Ana")
    db = sqlite3.connect(tmp_path / "s.sqlite")
    with db:
        db.execute("INSERT INTO occurrences VALUES ('contamination', 77, 1, X'7B', 'event', 'Ana', 1)")
    db.close()
    with opened(tmp_path, "b2") as again:
        assert len(again.words()) == 1
    assert "damaged" in caplog.text
