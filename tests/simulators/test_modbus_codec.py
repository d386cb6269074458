"""Frames from the server's side, against literal bytes of the specifications and of vendors' manuals."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import bitwise_crc

from simulators import modbus_codec as codec

# Frames that vendors print, with their check sums.
FRAMES = """
    01 03 25 00 00 01 8F 06
    01 03 26 00 00 04 4F 41
    01 03 08 00 00 8D 41 00 00 8D 41 12 65
    01 10 31 00 00 00 00 74 94
    01 10 30 00 00 01 02 14 00 99 53
    FF 03 30 00 00 01 9E D4
    01 03 00 80 00 20 45 FA
    01 03 01 00 00 20 45 EE
    01 03 01 80 00 40 44 2E
    01 06 00 01 00 01 19 CA
    01 03 15 4A 00 07 21 D2
    01 03 0E 41 94 28 F6 00 00 00 01 00 01 00 00 00 00 31 6A
    F7 03 00 00 00 02 D0 9D
    01 83 02 C0 F1
    01 84 02 C2 C1
""".strip().splitlines()
EXO_CODES = bytes.fromhex("01 03 00 80 00 20 45 FA")
TROLL_T = bytes.fromhex("01 03 15 4A 00 07 21 D2")


@pytest.mark.parametrize("text", FRAMES)
def test_check_sums_are_the_printed_ones(text):
    frame = bytes.fromhex(text)
    assert codec.crc(frame[:-2]) == frame[-2:]


@given(st.binary(max_size=260))
def test_check_sums_agree_with_polynomial_division(data):
    assert codec.crc(data) == bitwise_crc(data)


REQUESTS = {
    "01 03 00 80 00 20 45 FA": (1, 3, 128, 32, ()),
    "F7 04 00 00 00 40 E5 6C": (0xF7, 4, 0, 64, ()),
    "01 06 00 00 00 0F C9 CE": (1, 6, 0, 0, (15,)),
    "01 10 30 00 00 01 02 14 00 99 53": (1, 16, 0x3000, 0, (0x1400,)),
    "01 10 31 00 00 00 00 74 94": (1, 16, 0x3100, 0, ()),
}


@pytest.mark.parametrize("text", REQUESTS)
def test_requests_are_taken_apart(text):
    buffer = bytearray.fromhex(text)
    request = codec.take_rtu(buffer)
    assert (request.unit, request.function, request.address, request.count, request.values) == REQUESTS[text]
    assert request.raw == bytes.fromhex(text)
    assert buffer == b""


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_request_in_two_pieces_is_one_request(cut):
    buffer = bytearray(EXO_CODES[:cut])
    assert codec.take_rtu(buffer) is None
    buffer += EXO_CODES[cut:]
    assert codec.take_rtu(buffer).address == 128
    assert buffer == b""


@pytest.mark.parametrize("noise", ["00", "FF", "F8 00", "01", "01 10 00 00 00 02 F0", "01 03 00 80 00 20 45"])
def test_noise_before_a_request_does_not_cost_it(noise):
    buffer = bytearray.fromhex(noise) + EXO_CODES
    assert codec.take_rtu(buffer).raw == EXO_CODES
    assert buffer == b""


def test_merged_requests_come_one_by_one():
    buffer = bytearray(EXO_CODES + TROLL_T + EXO_CODES[:3])
    assert [codec.take_rtu(buffer).address for _ in range(2)] == [128, 0x154A]
    assert codec.take_rtu(buffer) is None
    assert buffer == EXO_CODES[:3]


@pytest.mark.parametrize("at", range(8))
def test_a_damaged_request_is_none(at):
    frame = bytearray(EXO_CODES)
    frame[at] ^= 0x10
    assert codec.take_rtu(frame) is None
    assert codec.whole_rtu(frame) is None


def test_a_request_of_unknown_length_is_told_by_silence():
    report_id = bytes.fromhex("01 11 C0 2C")
    assert codec.take_rtu(bytearray(report_id)) is None
    request = codec.whole_rtu(report_id)
    assert (request.unit, request.function, request.count, request.values) == (1, 17, 0, ())


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_random_bytes_on_a_serial_line_never_raise_and_stay_bounded(chunks):
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while codec.take_rtu(buffer) is not None:
            pass
        codec.whole_rtu(buffer)
        assert len(buffer) <= 256


@given(st.binary(min_size=1, max_size=253))
def test_any_pdu_is_parsed(pdu):
    request = codec.parse(1, pdu)
    assert request.function == pdu[0]
    assert all(0 <= v <= 0xFFFF for v in request.values)


MALFORMED = [
    "03",
    "03 00 80 00",
    "03 00 80 00 20 00",
    "06 00 01 00",
    "06 00 01 00 01 00",
    "10 00 00 00 01",
    "10 00 00 00 01 02",
    "10 00 00 00 01 02 00",
    "10 00 00 00 02 02 00 00",
    "10 00 00 00 01 04 00 00 00 00",
    "10 00 00 00 01 04 00 00",
    "10 00 00 00 7C F8" + " 00" * 248,
]


@pytest.mark.parametrize("text", MALFORMED, ids=lambda t: t[:20])
def test_malformed_requests_ask_and_write_nothing(text):
    request = codec.parse(1, bytes.fromhex(text))
    assert (request.count, request.values) == (0, ())


@pytest.mark.parametrize(("count", "lawful"), [(0, False), (1, True), (125, True), (126, False), (0xFFFF, False)])
def test_counts_are_lawful_up_to_125(count, lawful):
    assert codec.valid_count(codec.parse(1, struct.pack(">BHH", 3, 0, count))) is lawful


MBAP = bytes.fromhex("00 01 00 00 00 06 01 03 00 00 00 02")


@pytest.mark.parametrize("cut", range(1, 12))
def test_mbap_waits_for_the_whole_request(cut):
    buffer = bytearray(MBAP[:cut])
    assert codec.take_mbap(buffer) is None
    buffer += MBAP[cut:] + MBAP[:5]
    request = codec.take_mbap(buffer)
    assert (request.transaction, request.unit, request.function, request.address, request.count) == (1, 1, 3, 0, 2)
    assert request.raw == MBAP
    assert buffer == MBAP[:5]


@pytest.mark.parametrize("head", ["00 01 00 01 00 06", "00 01 00 00 00 01", "00 01 00 00 00 FF", "00 01 00 00 FF FF"])
def test_what_is_no_mbap_is_refused(head):
    with pytest.raises(ValueError, match="not MBAP"):
        codec.take_mbap(bytearray.fromhex(head) + MBAP[6:])


def test_replies_are_the_specified_bytes():
    reply = codec.read_pdu(3, [0x40E6, 0xB852])
    assert codec.frame("mbap", 1, reply, 1) == bytes.fromhex("00 01 00 00 00 07 01 03 04 40 E6 B8 52")
    assert codec.frame("rtu", 1, codec.exception_pdu(3, 2), 0) == bytes.fromhex("01 83 02 C0 F1")
    written = codec.write_pdu(codec.parse(1, bytes.fromhex("06 00 01 00 01")))
    assert codec.frame("rtu", 1, written, 0) == bytes.fromhex("01 06 00 01 00 01 19 CA")
    many = codec.write_pdu(codec.parse(1, bytes.fromhex("10 30 00 00 01 02 14 00")))
    assert codec.frame("rtu", 1, many, 0) == bytes.fromhex("01 10 30 00 00 01 0E C9")


ORDERS = {"ABCD": "42F6 E979", "CDAB": "E979 42F6", "BADC": "F642 79E9", "DCBA": "79E9 F642"}


@pytest.mark.parametrize("order", ORDERS)
def test_the_four_byte_orders(order):
    assert codec.encode(123.456, "float32", order) == [int(w, 16) for w in ORDERS[order].split()]


@pytest.mark.parametrize(("order", "first"), [("ABCD", 0x0102), ("CDAB", 0x0708), ("BADC", 0x0201), ("DCBA", 0x0807)])
def test_four_registers_follow_the_order_too(order, first):

    assert codec.encode(struct.unpack(">d", bytes(range(1, 9)))[0], "float64", order)[0] == first


NUMBERS = [
    (-1.0, "int16", [0xFFFF]),
    (-1.0, "uint16", [0]),
    (70000.0, "uint16", [0xFFFF]),
    (40000.0, "int16", [0x7FFF]),
    (-40000.0, "int16", [0x8000]),
    (math.inf, "int32", [0x7FFF, 0xFFFF]),
    (1e30, "uint64", [0xFFFF] * 4),
    (-1e30, "int64", [0x8000, 0, 0, 0]),
    (math.nan, "int16", [0x8000]),
    (math.nan, "uint16", [0xFFFF]),
    (math.nan, "float32", [0x7FC0, 0]),
    (math.inf, "float32", [0x7F80, 0]),
]


@pytest.mark.parametrize(("value", "kind", "registers"), NUMBERS)
def test_what_a_register_cannot_hold_is_the_nearest_that_it_can(value, kind, registers):
    assert codec.encode(value, kind, "ABCD") == registers
