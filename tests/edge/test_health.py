"""What the station says of itself."""

import json

import pytest

from ewarn.edge import health
from ewarn.edge.acquisition import ProbeState
from ewarn.edge.health import health_document, time_quality
from ewarn.edge.journal import JournalCounts
from ewarn.times import ScaledClock, SteadyClock, SystemClock


class Stepping(SystemClock):
    """The machine's clock, and somebody who sets it."""

    by = 0
    seconds = 0.0

    def now(self):
        return super().now() + self.by + round(self.seconds * 1000)

    def monotonic(self):
        return super().monotonic() + self.seconds


@pytest.mark.parametrize(("unsynchronised", "quality"), [(True, "unsync"), (False, "ntp")])
def test_the_kernel_says_whether_the_clock_has_a_reference(unsynchronised, quality, monkeypatch):
    monkeypatch.setattr(health, "_kernel_unsynchronised", lambda: unsynchronised)
    assert time_quality(SystemClock()) == time_quality(SteadyClock(SystemClock())) == quality


def test_the_kernel_can_be_asked():
    assert time_quality(SystemClock()) in ("unsync", "ntp")


def test_a_simulated_clock_says_so():
    clock = ScaledClock(0, speed=100)
    assert time_quality(clock) == time_quality(SteadyClock(clock)) == "simulated"


@pytest.mark.parametrize("step", [3000, 86_400_000])
def test_a_clock_that_was_set_forward_is_doubted_for_a_minute(step):
    inner = Stepping()
    clock = SteadyClock(inner)
    assert time_quality(clock) != "jump"
    inner.by = step
    clock.now()
    assert time_quality(clock) == "jump"
    inner.seconds = 59
    clock.now()
    assert time_quality(clock) == "jump"
    inner.seconds = 61
    clock.now()
    assert time_quality(clock) != "jump"


def test_a_clock_that_was_set_back_is_doubted_as_long_as_it_runs_on():
    inner = Stepping()
    clock = SteadyClock(inner)
    before = clock.now()
    inner.by = -300_000
    for inner.seconds in range(0, 500, 10):
        now = clock.now()
        assert now >= before
        before = now
        assert time_quality(clock) == "jump"


def test_the_document_is_plain_data_and_names_everything_that_is_wrong():
    document = health_document(
        counts=JournalCounts(10, 2, 3, 400, 1, {"mx": 1_780_000_000_000}, ("us",)),
        probes={"sonde": ProbeState(1_780_000_000_000, 0), "redox": ProbeState(None, 4, "no_reply", "no reply from 2")},
        detectors={"trees": "switched off"}, warming=True, level=1.05, detectable={"ph": 0.123456},
            disk="full", unsaved=7, dropped=1, unjudged=2, lines={"rs485": "stalled"},
        quarantined="s.sqlite.corrupt-1", link="refused", insecure=True,
    )  # fmt: skip
    assert json.loads(json.dumps(document)) == {
        "accepted": 10, "repeats": 2, "outbox": {"rows": 3, "bytes": 400, "parked": 1},
        "stored": {"mx": "2026-05-28T20:26:40.000Z"}, "asking": ["us"],
        "probes": {
            "sonde": {"last_good": "2026-05-28T20:26:40.000Z", "failures": 0, "reason": ""},
            "redox": {"last_good": None, "failures": 4, "reason": "no_reply"},
        },
        "detectors_off": {"trees": "switched off"}, "warming": True, "level": 1.05, "detectable": {"ph": 0.123},
        "disk": "full", "unsaved": 7, "dropped": 1,
        "unjudged": 2, "lines": {"rs485": "stalled"},
        "quarantined": "s.sqlite.corrupt-1", "link": "refused", "insecure": True,
    }  # fmt: skip
