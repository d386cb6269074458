"""Frames as devices' documents print them; garbage gives nothing."""

import struct

import pytest
from fake_modbus import checksum
from hypothesis import given
from hypothesis import strategies as st

from drivers._frames import Request, after_echo, crc16, explain, find_mbap, find_rtu

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


@pytest.mark.parametrize(("asked", "reply"), RTU)
@pytest.mark.parametrize("before", ["", "00", "FF 00", "01", "01 03", "02 03 02 00 01 3D 84"])
@pytest.mark.parametrize("after", ["", "00", "01 03 02"])
def test_reply_is_found_between_noise(asked, reply, before, after):
    data = bytes.fromhex(before + reply + after)
    assert find_rtu(data, Request(*asked)) == bytes.fromhex(reply)


@pytest.mark.parametrize(("asked", "reply"), RTU)
def test_no_other_request_takes_the_reply(asked, reply):
    unit, table, address, count = asked
    frame = bytes.fromhex(reply)
    assert find_rtu(frame, Request(unit + 1, table, address, count)) is None
    assert find_rtu(frame, Request(unit, "input" if table == "holding" else "holding", address, count)) is None
    if not frame[1] & 0x80:
        assert find_rtu(frame, Request(unit, table, address, count + 1)) is None
    for cut in range(len(frame)):
        assert find_rtu(frame[:cut], Request(*asked)) is None
    for at in range(len(frame) * 8):
        flipped = bytes(b ^ (1 << at % 8 if i == at // 8 else 0) for i, b in enumerate(frame))
        assert find_rtu(flipped, Request(*asked)) is None


def test_mbap_reply_needs_its_own_transaction_id():
    frame = bytes.fromhex("00 01 00 00 00 07 01 03 04 40 E6 B8 52")
    request = Request(1, "holding", 0, 2)
    assert find_mbap(frame, request, 1) == frame
    assert find_mbap(frame, request, 2) is None
    assert find_mbap(b"\0\0" + frame[2:], request, 1) is None
    assert find_mbap(frame[:2] + b"\0\1" + frame[4:], request, 1) is None, "protocol id"
    assert find_mbap(frame[:6] + b"\xff" + frame[7:], request, 1) is None, "unit 255"
    assert find_mbap(frame[:5] + b"\x08" + frame[6:] + b"\0", request, 1) is None, "length"
    assert find_mbap(frame[:-1], request, 1) is None, "short"
    assert find_mbap(frame, Request(1, "holding", 0, 1), 1) is None
    late = bytes.fromhex("00 00 00 00 00 03 01 83 02") + frame
    assert find_mbap(late, request, 1) == frame, "after a late one"


@given(st.binary(max_size=300), st.integers(1, 247), st.integers(1, 125), st.integers(1, 65000))
def test_garbage_is_no_frame(data, unit, count, transaction):
    request = Request(unit, "holding", 0, count)
    found = find_rtu(data, request)
    assert found is None or checksum(found[:-2]) == found[-2:]
    found = find_mbap(data, request, transaction)
    assert found is None or struct.unpack(">HH", found[:4]) == (transaction, 0)
    assert after_echo(data, b"never said") == b"" or b"never said" in data
    for rtu in (True, False):
        assert explain(data, request, rtu=rtu)


@pytest.mark.parametrize(("reply", "why"), [
    ("02 03 02 00 01 3D 84", "unit 2 answered instead of 1"),
    ("01 04 02 00 01 78 F0", "function 4 answered instead of 3"),
    ("01 03 02 00 01 79 84", "2 bytes came instead of 4"),
    ("01 03 04 00", "no whole frame"),
])  # fmt: skip
def test_wrong_replies_are_named(reply, why):
    assert why in explain(bytes.fromhex(reply), Request(1, "holding", 0, 2), rtu=True)
