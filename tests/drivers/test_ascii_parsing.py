import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers._lines import LONGEST_LINE, LineAssembler, judge_field, nmea_sum, parse_line
from ewarn.errors import WrongReply
from ewarn.profiles import Ascii, Channel, load_profile

WQ = load_profile("ascii_uv254_chlorine").ascii


@pytest.mark.parametrize(("chunks", "begin_whole", "lines"), [
    ([b"tail\r\none\r\ntwo\r\nhalf"], False, [b"one", b"two"]),
    ([b"one\r\ntwo\r\nhalf"], True, [b"one", b"two"]),
    ([b"x\r", b"\none", b"\r", b"\n", b"two\r\n"], False, [b"one", b"two"]),
    ([b"\r\n\r\n"], True, [b"", b""]),
    ([b"x" * (LONGEST_LINE + 9), b"\r\none\r\n"], True, [b"one"]),
    ([b"x" * (LONGEST_LINE + 9) + b"\r", b"\none\r\n"], True, [b"one"]),
    ([b"x" * (LONGEST_LINE + 9) + b"\r\none\r\n"], True, [b"one"]),
    ([b"x" * LONGEST_LINE + b"\r\n"], True, [b"x" * LONGEST_LINE]),
])  # fmt: skip
def test_lines(chunks, begin_whole, lines):
    assembler = LineAssembler(b"\r\n", begin_whole=begin_whole)
    assert [line for chunk in chunks for line in assembler.feed(chunk)] == lines


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=20), st.data())
def test_lines_do_not_depend_on_the_chunks(lines, data):
    stream, assembler, found = b"".join(line + b"\n" for line in lines), LineAssembler(b"\n", begin_whole=True), []
    while stream:
        n = data.draw(st.integers(1, len(stream)))
        found += assembler.feed(stream[:n])
        stream = stream[n:]
    assert found == lines


def test_memory_of_noise_is_bounded():
    assembler = LineAssembler(b"\r\n")
    for _ in range(1000):
        assert list(assembler.feed(b"\xff" * 500)) == []
    assert len(assembler._buffer) <= LONGEST_LINE


@pytest.mark.parametrize("line", [b"$WIXDR,C,+023.0,C,TEMP,P,1.0199,B,PRESS,H,039.6,P,RH*33", b"$WIXDR,C,026.0,C,,*56"])
def test_printed_check_sums(line):
    assert parse_line(line, Ascii(checksum="nmea")).texts[0] == "$WIXDR"
    for at in range(len(line) * 8):
        flipped = bytes(b ^ (1 << at % 8 if i == at // 8 else 0) for i, b in enumerate(line))
        if flipped.upper() != line:
            with pytest.raises(WrongReply):
                parse_line(flipped, Ascii(checksum="nmea"))


def framed(body):
    return b"$" + body + b"*%02X" % nmea_sum(body)


@pytest.mark.parametrize(("line", "expected"), [
    (framed(b"WQ,0.0812,0.452,0.031"), [0.0812, 0.452, 0.031]),
    (framed(b"WQ, 0.0812 ,+4.5e-1,.5"), [0.0812, 0.45, 0.5]),
    (framed(b"WQ,--,,NaN"), ["sentinel"] * 3),
    (framed(b"WQ,inf,1_0,0x1"), ["wrong_reply"] * 3),
    (framed("WQ,٣,-,1e999".encode()), ["wrong_reply", "sentinel", "sentinel"]),
])  # fmt: skip
def test_values(line, expected):
    fields = parse_line(line, WQ)
    found = [judge_field(fields, c, WQ) for c in load_profile("ascii_uv254_chlorine").channels]
    assert [judged.reason or judged.value for judged in found] == expected


@pytest.mark.parametrize("line", [b"$WQ,1,2,3", b"$WQ,1,2,3*00", framed(b"WQ,1,2"), framed(b"WQ,1,2,3,4"),
                                  framed(b"WQ,1,2,3") + b" ", framed(b"WQ,1,2,3")[:-1]])  # fmt: skip
def test_wrong_lines(line):
    with pytest.raises(WrongReply):
        parse_line(line, WQ)


def test_lines_of_others_are_passed_over():
    assert parse_line(framed(b"GPGGA,1,2,3"), WQ) is None
    assert parse_line(b"", WQ) is None


def test_pattern_and_white_space():
    form = Ascii(split="regex", pattern=r"T=(?P<t>[-+.\d]+)(?: pH=(?P<ph>\S+))?", terminator="\n")
    assert parse_line(b"T=1.5 pH=7.1", form).texts == {"t": "1.5", "ph": "7.1"}
    assert judge_field(parse_line(b"T=1.5", form), Channel("x", "ph", "[pH]", field="ph"), form).reason == "sentinel"
    with pytest.raises(WrongReply):
        parse_line(b"T=1.5 junk", form)
    blanks = Ascii(delimiter="", columns=3)
    assert parse_line(b"  1.0 \t 2.0  3.0 ", blanks).texts == {0: "1.0", 1: "2.0", 2: "3.0"}


def test_bounds_scale_and_missing_numbers():
    form = Ascii()
    fields = parse_line(b"50,-9999,-9999.0,7", form)
    channel = Channel("x", "pressure", "kPa", field=0, scale=2.0, valid=(0, 90))
    judged = judge_field(fields, channel, form)
    assert (judged.value, judged.quality, judged.reason) == (100, 4, "out_of_range")
    assert judge_field(fields, Channel("x", "pressure", "kPa", field=1), form).reason == "sentinel"
    assert judge_field(fields, Channel("x", "pressure", "kPa", field=2, missing=(-9999,)), form).reason == "sentinel"
    assert judge_field(fields, Channel("x", "pressure", "kPa", field=9), form).reason == "wrong_reply"


@given(st.binary(max_size=120), st.sampled_from([WQ, Ascii(), Ascii(split="regex", pattern="(?P<x>.*)")]))
def test_garbage_raises_nothing_else_and_needs_its_check_sum(line, form):
    try:
        fields = parse_line(line, form)
    except WrongReply:
        return
    if fields is not None and form is WQ:
        body, _, tail = line[1:].partition(b"*")
        assert nmea_sum(body) == int(tail, 16)
    if fields is not None:
        judge_field(fields, Channel("x", "ph", "[pH]", field=0), form)
