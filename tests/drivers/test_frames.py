"""Frames as devices' documents print them; garbage gives nothing."""

import struct

import pytest
from fake_modbus import checksum
from hypothesis import given
from hypothesis import strategies as st

from drivers._frames import Request, after_echo, crc16, explain, mbap_bodies, rtu_bodies

RTU = [
    # request: unit, table, address, count; reply; registers or exception
    ((1, "holding", 384, 6), "01 03 0C 70 A4 41 45 3C 36 3E DD EB 85 40 F9 F0 BF"),
    ((1, "holding", 5450, 7), "01 03 0E 41 94 28 F6 00 00 00 01 00 01 00 00 00 00 31 6A"),
    ((1, "holding", 37, 8), "01 03 10 41 06 B8 52 00 14 00 75 00 00 00 00 00 00 00 30 F6 E7"),
    ((247, "holding", 0, 4), "F7 03 08 B8 52 40 E6 00 00 00 00 F6 5D"),
    ((1, "holding", 0x6B, 3), "01 03 06 02 2B 00 00 00 64 05 7A"),
    ((4, "input", 128, 16), "040420 00000000 404D70A4 404D70A4 00000000 80000000 40B00000 40B00000 00000000 99C5"),
    ((1, "holding", 0, 1), "01 83 02 C0 F1"),
    ((1, "holding", 9, 5), "01 83 0B 00 F7"),
    ((1, "input", 0, 2), "01 84 02 C2 C1"),
]
REQUESTS = ["01 03 00 80 00 20 45 FA", "01 03 01 00 00 20 45 EE", "01 03 01 80 00 40 44 2E", "01 03 15 4A 00 07 21 D2",
            "01 03 15 89 00 07 D1 EE", "F7 03 00 00 00 40 50 AC", "04 04 00 80 00 20 F0 6F"]


@pytest.mark.parametrize("text", REQUESTS + [reply for _, reply in RTU])
def test_check_sum_of_printed_frames(text):
    frame = bytes.fromhex(text)
    assert crc16(frame[:-2]).to_bytes(2, "little") == frame[-2:] == checksum(frame[:-2])


def fits(body, asked):
    unit, table, _address, count = asked
    function = {"holding": 3, "input": 4}[table]
    return (body.unit, body.function) == (unit, function) and body.count in (count, None)


@pytest.mark.parametrize(("asked", "reply"), RTU)
@pytest.mark.parametrize("before", ["", "00", "FF 00", "01", "01 03", "02 03 02 00 01 3D 84"])
@pytest.mark.parametrize("after", ["", "00", "01 03 02"])
def test_reply_is_found_between_noise(asked, reply, before, after):
    bodies = list(rtu_bodies(bytes.fromhex(before + reply + after)))
    assert [b.frame for b in bodies if fits(b, asked)] == [bytes.fromhex(reply)]
    assert [b.count for b in bodies if fits(b, asked)] == [None if bytes.fromhex(reply)[1] & 0x80 else asked[3]]


@pytest.mark.parametrize("reply", [reply for _, reply in RTU])
def test_no_damaged_frame_is_a_frame(reply):
    frame = bytes.fromhex(reply)
    for cut in range(len(frame)):
        assert list(rtu_bodies(frame[:cut])) == []
    for at in range(len(frame) * 8):
        assert list(rtu_bodies(bytes(b ^ (1 << at % 8 if i == at // 8 else 0) for i, b in enumerate(frame)))) == []


def test_mbap():
    frame = bytes.fromhex("00 01 00 00 00 07 01 03 04 40 E6 B8 52")
    found = [(t, b.frame, b.unit, b.function, b.count) for t, b in mbap_bodies(frame)]
    assert found == [(1, frame, 1, 3, 2)]
    assert list(mbap_bodies(frame[:2] + b"\0\1" + frame[4:])) == [], "protocol id"
    assert list(mbap_bodies(frame[:5] + b"\x08" + frame[6:] + b"\0")) == [], "length and byte count differ"
    assert list(mbap_bodies(frame[:-1])) == [], "short"
    late = bytes.fromhex("00 09 00 00 00 03 01 83 02") + frame
    assert [(t, b.count) for t, b in mbap_bodies(late)] == [(9, None), (1, 2)]


@given(st.binary(max_size=300))
def test_garbage_is_no_frame(data):
    for body in rtu_bodies(data):
        assert checksum(body.frame[:-2]) == body.frame[-2:]
    for transaction, body in mbap_bodies(data):
        assert struct.unpack(">HH", body.frame[:4]) == (transaction, 0)
    assert after_echo(data, b"never said") == b"" or b"never said" in data
    for rtu in (True, False):
        assert explain(data, Request(1, "holding", 0, 2), rtu=rtu)


@pytest.mark.parametrize(("reply", "why"), [
    ("02 03 02 00 01 3D 84", "unit 2 answered instead of 1"),
    ("01 04 02 00 01 78 F0", "function 4 answered instead of 3"),
    ("01 03 02 00 01 79 84", "1 registers came instead of 2"),
    ("01 03 04 00", "no whole frame"),
])  # fmt: skip
def test_wrong_replies_are_named(reply, why):
    assert why in explain(bytes.fromhex(reply), Request(1, "holding", 0, 2), rtu=True)
