"""Topics and payloads: what goes in comes out, and nothing else is taken."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ewarn import wire
from ewarn.contracts import AlarmState, Alert, Cause, Evidence, Priority, Quality, Readiness, Reading, Verdict

T0 = 1_780_000_000_123
finite = st.floats(allow_nan=False, allow_infinity=False)
reading = st.builds(
    lambda c, t, v, q, why: Reading(c, T0 + t, None if q is Quality.MISSING else v, q, why),
    st.sampled_from(["ph", "spcond", "do_2"]),
    st.integers(0, 3),
    finite,
    st.sampled_from(Quality),
    st.sampled_from(["", "spike"]),
)  # fmt: skip


@given(st.lists(reading, max_size=12, unique_by=lambda r: (r.channel, r.time)))
def test_readings_survive_the_wire(readings):
    rows = [dict(row, boot="b", seq=i) for i, row in enumerate(wire.obs_rows(readings))]
    batch = wire.open_envelope(wire.envelope("mx-1", T0, "ntp", rows))
    back = [r for row in batch.rows for r in wire.readings_of(row)]
    assert sorted(back, key=lambda r: (r.time, r.channel)) == sorted(readings, key=lambda r: (r.time, r.channel))
    assert (batch.station, batch.sent, batch.tq) == ("mx-1", T0, "ntp")


EVIDENCE = (Evidence("ph", 7.1, 8.0, 14.2, T0 - 60_000), Evidence("do", 4.0, 8.0, 31.5, T0))


def test_verdict_survives_the_wire():
    verdict = Verdict(T0, 0.987654321, Readiness.READY, True, Cause.CONTAMINATION, EVIDENCE, {"ph": "stuck"}, {"residual": 33.25})
    assert wire.verdict_of(wire.verdict_row(verdict)) == verdict
    quiet = Verdict(T0, None, Readiness.WARMING)
    assert wire.verdict_of(wire.verdict_row(quiet)) == quiet


def test_alert_survives_the_wire():
    alert = Alert("mx-1", "contamination", 3, 1, T0, T0 - 60_000, AlarmState.UNACKNOWLEDGED, AlarmState.NORMAL,
                  Priority.CRITICAL, Cause.CONTAMINATION, 0.9, EVIDENCE, {"hint": "sewage"}, "")  # fmt: skip
    assert wire.alert_of("mx-1", wire.alert_row(alert)) == alert
    assert alert.id == "mx-1/contamination/3/1"


@given(st.binary(max_size=200))
def test_garbage_is_refused_as_such(payload):
    for read in (wire.open_envelope, wire.stored_of, wire.ask_of):
        with pytest.raises(wire.WireError):
            read(payload)


@given(st.dictionaries(st.sampled_from(["t", "q", "why", "ph", "readiness", "alarm", "state"]),
                       st.none() | st.text(max_size=5) | finite | st.lists(st.integers(), max_size=2)))  # fmt: skip
def test_garbled_rows_are_refused_as_such(row):
    for read in (wire.readings_of, wire.verdict_of, lambda r: wire.alert_of("s", r)):
        try:
            result = read(row)
        except wire.WireError:
            continue
        assert all(math.isfinite(r.value) for r in (result if isinstance(result, list) else []) if r.value is not None)


def test_a_bomb_is_refused():
    import zlib

    with pytest.raises(wire.WireError, match="too large"):
        wire.unpack(zlib.compress(b'{"v":1,"x":"' + b"a" * 50_000_000 + b'"}'))


def test_large_batches_are_compressed():
    rows = [{"t": "2026-01-01T00:00:00.000Z", "ph": 8.01, "boot": "b", "seq": i} for i in range(100)]
    payload = wire.envelope("mx-1", T0, "ntp", rows)
    assert payload[:1] == b"\x78"
    assert len(payload) < 1000


@given(st.sets(st.integers(1, 60)))
def test_ranges_cover_exactly(numbers):
    spans = wire.ranges(numbers)
    assert {n for a, b in spans for n in range(a, b + 1)} == numbers
    assert all(b + 1 < c for (_, b), (c, _) in itertools.pairwise(spans))


GAP = wire.Gap(T0, T0 + 60_000, "obs", 5, {"ph": 3, "do": 2})


def test_a_gap_survives_the_wire():
    for gap in (GAP, wire.Gap(T0, T0, "verdict", 1, {})):
        assert wire.gap_of(wire.gap_row(gap)) == gap


@pytest.mark.parametrize("wrong", [
    {"stream": "event"}, {"stream": []}, {"rows": 0}, {"rows": True}, {"rows": 2**60}, {"rows": 1.5}, {"until": None},
    {"channels": {"ph": -1}}, {"channels": [1]}, {"t": "yesterday"},
])  # fmt: skip
def test_a_gap_that_is_none_is_refused(wrong):
    with pytest.raises(wire.WireError):
        wire.gap_of(wire.gap_row(GAP) | wrong)


def test_an_ask_survives_the_wire():
    assert wire.ask_of(wire.ask_payload(T0, 0)) == (T0, 0)


def test_stored_survives_the_wire():
    assert wire.stored_of(wire.stored_payload("b1", [1, 2, 3, 9])) == ("b1", [(1, 3), (9, 9)])


@pytest.mark.parametrize("text", ["", "ewarn/v1", "ewarn/v2/a/obs", "other/v1/a/obs"])
def test_foreign_topics_are_refused(text):
    with pytest.raises(wire.WireError):
        wire.split_topic(text)
