"""What becomes of a message: all that is good in it is stored, the rest is set aside with its reason."""

import pytest
from centre import BAD, JUNK, ME, ROWS, T0, alert, event_row, obs_row
from hypothesis import given
from hypothesis import strategies as st

from ewarn import wire
from ewarn.central.intake import Reader
from ewarn.central.known import Names
from ewarn.contracts import Point, Readiness, Verdict

OBS = wire.topic(ME, "obs")


@pytest.fixture
def reader():
    return Reader(lambda _: {"ph": "ph"}, lambda alert, language: f"{language} {alert.id}", Names(20))


def message(*rows):
    return wire.envelope(ME, T0, "", rows)


def test_readings_become_points(reader):
    parcel = reader.read(OBS, message(obs_row(1, turbidity=3, q={"turbidity": 3, "do": 9}, why={"do": "no_reply"})))
    assert parcel.points == [
        Point("wq", {"station": ME, "channel": "ph", "param": "ph"}, {"qc": 1, "value": 7.001}, T0 + 1000),
        Point("wq", {"station": ME, "channel": "turbidity", "param": "turbidity"}, {"qc": 3, "value": 3.0}, T0 + 1000),
        Point("wq", {"station": ME, "channel": "do", "param": "do"}, {"qc": 9, "why": "no_reply"}, T0 + 1000),
    ]
    assert [type(p.fields["value"]) for p in parcel.points[:2]] == [float, float]
    assert [(e.station, e.boot, e.seq) for e in parcel.entries] == [(ME, "b1", 1)]
    assert parcel.parked == []


@pytest.mark.parametrize("probability", [0, 1, 0.5])
def test_a_whole_number_is_stored_as_the_float_that_it_is(reader, probability):
    row = {"boot": "b1", "seq": 1, **wire.verdict_row(Verdict(T0, 0.5, Readiness.READY, scores={"residual": 2.0}))}
    row |= {"probability": probability, "scores": {"residual": 2}}
    (point,) = reader.read(wire.topic(ME, "verdict"), message(row)).points
    assert (point.fields["probability"], point.fields["score_residual"]) == (probability, 2)
    assert {type(point.fields[name]) for name in ("probability", "score_residual")} == {float}


def test_an_alert_becomes_a_point_with_its_texts(reader):
    (point,) = reader.read(wire.topic(ME, "event"), message(event_row(1, alert()))).points
    assert (point.fields["text_en"], point.fields["text_es"]) == (f"en {alert().id}", f"es {alert().id}")


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_set_aside_whole(reader, name):
    parcel = reader.read(OBS, JUNK[name])
    assert parcel.entries == []
    (parked,) = parcel.parked
    assert parked.topic == OBS
    assert parked.reason


@pytest.mark.parametrize("topic", ["ewarn/v2/mx-1/obs", "ewarn/v1/mx-1", ""])
def test_another_topic_is_set_aside(reader, topic):
    assert reader.read(topic, message(obs_row(1))).parked


@pytest.mark.parametrize("name", ROWS)
def test_a_row_without_identity_is_set_aside_and_never_confirmed(reader, name):
    parcel = reader.read(OBS, message(obs_row(1), ROWS[name], obs_row(3)))
    assert [e.seq for e in parcel.entries] == [1, 3]
    assert [p.content for p in parcel.parked] == [ROWS[name]]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_costs_itself_and_is_dealt_with(reader, name):
    parcel = reader.read(OBS, message(obs_row(0), BAD[name], obs_row(2)))
    assert [(e.seq, len(e.points)) for e in parcel.entries] == [(0, 1), (1, 0), (2, 1)]
    assert len(parcel.parked) == 1


def test_a_station_cannot_invent_channels_without_end(reader):
    rows = [obs_row(seq, **{f"c{seq}": 1.0}) for seq in range(50)]
    parcel = reader.read(OBS, message(*rows))
    assert [e.seq for e in parcel.entries] == list(range(50))
    assert len({p.tags["channel"] for p in parcel.points}) == 20
    assert "more than 20 of channels" in parcel.parked[0].reason
    assert len(reader.read(OBS, message(obs_row(60))).points) == 1
    assert len(reader.read("ewarn/v1/us-1/obs", wire.envelope("us-1", T0, "", rows[:9])).points) == 18


def test_nor_alarms_nor_detectors(reader):
    events = [event_row(n, alert(alarm=f"a{n}")) for n in range(30)]
    assert len(reader.read(wire.topic(ME, "event"), message(*events)).points) == 20
    row = wire.verdict_row(Verdict(T0, 0.5, Readiness.READY, scores={f"d{n}": 1.0 for n in range(30)}))
    parcel = reader.read(wire.topic(ME, "verdict"), message({"boot": "b1", "seq": 1, **row}))
    assert (parcel.points, len(parcel.parked)) == ([], 1)


def test_a_gap_row_is_read_and_one_of_channels_that_are_none_is_set_aside(reader):
    gap = wire.gap_row(wire.Gap(T0, T0 + 5000, "obs", 3, {"ph": 3}))
    rows = [{"boot": "b1", "seq": 1, **gap}, {"boot": "b1", "seq": 2, **gap, "channels": {"p h": 3}}]
    parcel = reader.read(wire.topic(ME, "gap"), message(*rows))
    assert [(e.seq, [p.measurement for p in e.points]) for e in parcel.entries] == [(1, ["gap"]), (2, [])]
    assert len(parcel.parked) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["boot", "seq", "t", "q", "why", "ph", "readiness", "probability", "evidence", "scores", "alarm", "state",
        "occurrence", "number", "onset", "previous", "priority", "cause", "detail", "by"]  # fmt: skip


@given(
    changes=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3),
    stream=st.sampled_from(wire.STREAMS),
)
def test_whatever_a_row_holds_its_neighbours_are_read(changes, stream):
    gap = wire.gap_row(wire.Gap(T0, T0 + 5000, "obs", 3, {"ph": 3}))
    good = {"obs": obs_row(1), "event": event_row(1, alert()), "gap": {"boot": "b1", "seq": 1, **gap},
            "verdict": {"boot": "b1", "seq": 1, **wire.verdict_row(Verdict(T0, 0.5, Readiness.READY))}}[stream]  # fmt: skip
    reader = Reader(lambda _: {}, lambda alert, language: language)
    parcel = reader.read(wire.topic(ME, stream), message(good, good | changes, good | {"seq": 3}))
    assert (parcel.entries[0].seq, parcel.entries[-1].seq) == (1, 3)
    assert len(parcel.entries) + len(parcel.parked) >= 3
