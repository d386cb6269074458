"""Steps for a journal whose tables then have to agree with each other."""

import sqlite3
from collections import Counter

from ewarn.contracts import AlarmState, Alert, Priority, Quality, Readiness, Reading, Verdict
from ewarn.core.alarms import AlarmRecord
from ewarn.core.pipeline import Step

T0 = 1_780_000_000_000


def readings(i):
    return [Reading("ph", T0 + i * 1000, 7 + i / 1000), Reading("orp", T0 + i * 1000, None, Quality.MISSING, "busy")]


def full_step(i):
    """A step with everything that a step can have; `i` counts from 1."""
    time = T0 + i * 1000
    passed = [Reading("ph", time, 7 + i / 1000, Quality.PASS), readings(i)[1]]
    alert = Alert("s", "contamination", 1, i, time, time, AlarmState.UNACKNOWLEDGED, AlarmState.NORMAL, Priority.HIGH)
    record = AlarmRecord("contamination", AlarmState.UNACKNOWLEDGED, 1, i, time, time)
    return Step(passed, [Verdict(time, 0.25, Readiness.READY)], [alert], {"contamination": record})


def commit(journal, i):
    return journal.commit(T0 + i * 1000, readings(i), full_step(i))


def steps_in(journal):
    """How many steps the file has. AssertionError where its tables tell of different numbers, or of half a step."""
    rows = [row for chunk in journal.history(0) for row in chunk]
    n = len(rows)
    assert [row.readings for row in rows] == [readings(i) for i in range(1, n + 1)]
    db = sqlite3.connect(journal.path)
    sent = db.execute("SELECT kind, seq FROM outbox").fetchall()
    db.close()
    assert Counter(kind for kind, _ in sent) == ({"obs": n, "verdict": n, "event": n} if n else {})
    assert sorted(seq for _, seq in sent) == list(range(1, 3 * n + 1))
    assert journal.counts().accepted == 2 * n
    assert [r.number for r in journal.alarms().values()] == ([n] if n else [])
    return n
