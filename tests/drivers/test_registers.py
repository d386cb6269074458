import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.registers import decode, value_of
from ewarn.profiles import Channel

F123 = {"ABCD": "42F6 E979", "CDAB": "E979 42F6", "BADC": "F642 79E9", "DCBA": "79E9 F642"}
F64 = {"ABCD": "405E DD2F 1A9F BE77", "CDAB": "BE77 1A9F DD2F 405E", "BADC": "5E40 2FDD 9F1A 77BE",
       "DCBA": "77BE 9F1A 2FDD 5E40"}


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("order", F123)
def test_four_byte_orders(order):
    assert decode(words(F123[order]), "float32", order) == struct.unpack(">f", bytes.fromhex("42F6E979"))[0]
    assert decode(words(F64[order]), "float64", order) == pytest.approx(123.456)


@pytest.mark.parametrize(("kind", "registers", "order", "value"), [
    ("float32", "8D41 0000", "BADC", 17.625),
    ("float32", "0000 8D41", "DCBA", 17.625),
    ("float32", "49E9 413D", "CDAB", pytest.approx(11.8, abs=0.1)),
    ("float32", "4240 4857", "CDAB", 220425.0),
    ("float32", "B852 40E6", "CDAB", pytest.approx(7.21, abs=1e-6)),
    ("int16", "FFFE", "ABCD", -2), ("uint16", "FFFE", "ABCD", 65534), ("uint16", "1E00", "DCBA", 30),
    ("int16", "FEFF", "BADC", -2), ("uint16", "1234", "CDAB", 0x1234),
    ("int32", "FFFF FFFE", "ABCD", -2), ("int32", "FFFE FFFF", "CDAB", -2), ("uint32", "0001 0002", "CDAB", 0x20001),
    ("uint32", "0100 0200", "BADC", 0x00010002), ("int64", "FFFF FFFF FFFF FFFE", "ABCD", -2),
    ("uint64", "0004 0003 0002 0001", "CDAB", 0x0001000200030004),
    ("float32", "7FC0 0000", "ABCD", None), ("float32", "7FA0 0000", "ABCD", None),
    ("float32", "FFFF FFFF", "ABCD", None),
    ("float32", "7F80 0000", "ABCD", None), ("float32", "FF80 0000", "ABCD", None),
    ("float64", "7FF8 0000 0000 0000", "ABCD", None),
])  # fmt: skip
def test_decode(kind, registers, order, value):
    assert decode(words(registers), kind, order) == value


FORMATS = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q",
           "float32": ">f", "float64": ">d"}


@given(st.sampled_from(sorted(FORMATS)), st.sampled_from(sorted(F123)), st.binary(min_size=8, max_size=8))
def test_decode_is_what_struct_says(kind, order, data):
    size = struct.calcsize(FORMATS[kind])
    data = data[:size]
    pairs = [data[i : i + 2] for i in range(0, size, 2)]
    stored = {"ABCD": pairs, "CDAB": pairs[::-1], "BADC": [p[::-1] for p in pairs],
              "DCBA": [p[::-1] for p in pairs[::-1]]}[order]  # fmt: skip
    (number,) = struct.unpack(FORMATS[kind], data)
    found = decode([int.from_bytes(p, "big") for p in stored], kind, order)
    assert found == number if math.isfinite(number) else found is None


def test_wrong_number_of_registers():
    with pytest.raises(ValueError, match="takes 2 registers"):
        decode([1], "float32")


def channel(**kwargs):
    return Channel("x", "pressure", "kPa", address=0, **kwargs)


def test_scale_offset_and_missing():
    assert value_of([8082], channel(type="uint16", scale=0.001), "ABCD") == pytest.approx(8.082)
    assert value_of([100], channel(type="int16", scale=2.0, offset=-32.0), "ABCD") == 168
    assert value_of([0x7FFF], channel(type="int16", missing=(32767, -32768)), "ABCD") is None
    assert value_of([0x8000], channel(type="int16", missing=(32767, -32768)), "ABCD") is None
    stored = words("C61C 3F9A")  # -9999.9 as float32
    assert value_of(stored, channel(missing=(-9999.9,)), "ABCD") is None
    assert value_of(stored, channel(), "ABCD") == pytest.approx(-9999.9)
    assert value_of(words("7F7F FFFF"), channel(type="float32", scale=1e300), "ABCD") is None
    assert value_of(words("79E9 F642"), channel(word_order="DCBA"), "ABCD") == pytest.approx(123.456)
