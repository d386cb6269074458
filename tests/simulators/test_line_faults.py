"""Faults of a line: what each does to a frame, how often and when."""

import pytest
from simulated import START, rtu

from simulators.faults import LineFaults, Piece, Reply
from simulators.tables import LineFaultTable

REPLY = bytes.fromhex("03 04 40 E6 B8 52")
FRAME = rtu(1, REPLY)
REQUEST = bytes.fromhex("01 03 00 80 00 20 45 FA")
WIRE = ("no_reply", "late_reply", "crc", "truncate", "noise_before", "extra_after", "split", "echo")
WORDED = ("wrong_unit", "wrong_function", "wrong_count", "exception")


def fault(kind, **keys):
    return LineFaultTable(probe="a", kind=kind, **keys)


def line(*faults, seed=1):
    return LineFaults(faults, START, seed)


def damaged(kind, seed=1, **keys):
    return line(seed=seed).damage(FRAME, REQUEST, [fault(kind, **keys)])


def garbled(kind, reply=REPLY, unit=1, **keys):
    found = line().garble(Reply(unit, reply), [fault(kind, **keys)])
    return found.unit, found.pdu


def test_without_a_fault_the_frame_is_whole():
    assert line().damage(FRAME, REQUEST, []) == [Piece(FRAME)]


def test_what_each_fault_of_the_wire_does():
    assert damaged("no_reply") == []
    assert damaged("late_reply") == [Piece(FRAME, 1.2)]
    assert damaged("late_reply", size=300.0) == [Piece(FRAME, 0.3)]
    assert damaged("extra_after") == [Piece(FRAME + b"\0")]
    assert damaged("echo") == [Piece(REQUEST + FRAME)]
    pieces = damaged("split")
    assert len(pieces) == 2
    assert pieces[1].pause > 0
    assert b"".join(p.data for p in pieces) == FRAME


@pytest.mark.parametrize("seed", range(40))
def test_a_flip_is_of_one_bit_and_a_cut_leaves_a_part(seed):
    (flipped,) = damaged("crc", seed)
    assert len(flipped.data) == len(FRAME)
    assert sum((a ^ b).bit_count() for a, b in zip(flipped.data, FRAME, strict=True)) == 1
    (cut,) = damaged("truncate", seed)
    assert 0 < len(cut.data) < len(FRAME)
    assert FRAME.startswith(cut.data)
    (noisy,) = damaged("noise_before", seed)
    assert noisy.data.endswith(FRAME)
    assert len(noisy.data) > len(FRAME)


def test_what_each_wrong_answer_is():
    assert garbled("wrong_unit") == (2, REPLY)
    assert garbled("wrong_unit", unit=247) == (1, REPLY)
    assert garbled("wrong_function") == (1, b"\x04" + REPLY[1:])
    assert garbled("wrong_count") == (1, bytes.fromhex("03 02 40 E6"))
    assert garbled("wrong_count", bytes.fromhex("03 02 00 01")) == (1, bytes.fromhex("03 00"))
    assert garbled("wrong_count", bytes.fromhex("83 02")) == (1, bytes.fromhex("83 02"))
    assert garbled("wrong_count", bytes.fromhex("06 00 01 00 01")) == (1, bytes.fromhex("06 00 01 00 01"))
    assert garbled("exception") == (1, bytes.fromhex("83 06"))
    assert garbled("exception", size=11.0) == (1, bytes.fromhex("83 0B"))


@pytest.mark.parametrize("first", WIRE)
@pytest.mark.parametrize("second", WIRE)
def test_any_two_faults_may_strike_one_reply(first, second):
    for frame in (FRAME, b"\x01"):
        for seed in range(5):
            pieces = line(seed=seed).damage(frame, REQUEST, [fault(first), fault(second)])
            assert all(isinstance(p.data, bytes) for p in pieces)
            if first == "late_reply" and second not in ("no_reply", "late_reply"):
                assert pieces[0].pause == 1.2


@pytest.mark.parametrize("kind", WIRE + WORDED)
def test_every_kind_is_counted_when_it_strikes(kind):
    faults = line(fault(kind, probability=0.25))
    struck = [faults.draw(START) for _ in range(4000)]
    hits = sum(map(bool, struck))
    assert 0.22 < hits / 4000 < 0.28
    assert faults.counts == {kind: hits}


def test_a_fault_keeps_to_its_schedule():
    faults = line(fault("crc", after=10.0, duration=5.0))
    times = [9_999, 10_000, 14_999, 15_000, -1]
    assert [bool(faults.draw(START + t)) for t in times] == [False, True, True, False, False]
    assert faults.counts == {"crc": 2}


def test_probability_0_never_strikes_and_1_always():
    faults = line(fault("crc", probability=0.0), fault("echo"))
    assert all([f.kind for f in faults.draw(START)] == ["echo"] for _ in range(500))


def test_a_seed_repeats_its_draws():
    def drawn(seed):
        faults = line(fault("crc", probability=0.5), fault("truncate", probability=0.5), seed=seed)
        return [faults.damage(FRAME, REQUEST, faults.draw(START)) for _ in range(50)]

    assert drawn(2**64 - 1) == drawn(2**64 - 1)
    assert drawn(1) != drawn(2)
