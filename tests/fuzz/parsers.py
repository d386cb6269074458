"""Every parser that eats bytes from outside, with inputs that it takes, and what must hold of whatever it gives.

A target is called with bytes. It may raise errors of ours alone; what it accepts has to satisfy what stands in it.
"""

import gzip
import math
import re
import struct
import tempfile
import zlib
from pathlib import Path

import msgspec
from fake_modbus import checksum

from drivers._frames import Request, after_echo, explain, mbap_bodies, rtu_bodies
from drivers._ledger import Ledger
from drivers._lines import LONGEST_LINE, LineAssembler, judge_field, nmea_sum, parse_line
from drivers.judgement import judge, needs
from ewarn import wire
from ewarn.config import load_station, station_from
from ewarn.contracts import AlarmState, Alert, Cause, Evidence, Priority, Quality, Readiness, Reading, Verdict
from ewarn.errors import EwarnError
from ewarn.lab.record import Record
from ewarn.profiles import load_profile

CONFIG = Path(__file__).parents[2] / "config"
PROFILES = Path(__file__).parents[2] / "drivers" / "profiles"
T0 = 1_780_000_000_000
LATEST = 253_402_300_799_999  # the last instant that has a text


def sound(reading):
    """A reading is a number of a time that can be written, or missing."""
    assert (reading.value is None) is (reading.quality is Quality.MISSING)
    assert reading.value is None or math.isfinite(reading.value)
    assert -62_135_596_800_000 <= reading.time <= LATEST


# Modbus


REQUEST = Request(1, "holding", 7, 2)


def rtu(data):
    """A frame counts only with its check sum; noise around it gives nothing of its own."""
    for body in rtu_bodies(data):
        assert body.frame in data
        assert checksum(body.frame[:-2]) == body.frame[-2:]
        assert body.count is None or len(body.frame) == 5 + 2 * body.count
    explain(data, REQUEST, rtu=True)
    after_echo(data, b"\x01\x03\x00\x07\x00\x02")


def mbap(data):
    for transaction, body in mbap_bodies(data):
        assert body.frame in data
        assert int.from_bytes(body.frame[:2], "big") == transaction
    explain(data, REQUEST, rtu=False)


def ledger(data):
    """Whatever comes, a frame is booked on a request of its own shape, and on each at most once."""
    book, asked, now, heard = Ledger(0.0, repeats=True), {}, 0.0, set()
    for a, b in zip(data[::2], data[1::2], strict=False):
        now += (b >> 4) / 4
        shape = 3 + a % 2, 1 + b % 4
        if a & 0x80:
            asked[book.send(shape, now)] = shape
            continue
        number = book.hear(shape[0], None if a & 0x40 else shape[1], now)
        if number is not None:
            assert number not in heard
            assert asked[number][0] == shape[0]
            assert a & 0x40 or asked[number] == shape
            heard.add(number)


SONDE = load_profile("insitu_aquatroll_500_600")


def registers(data):
    """Whatever stands in the registers: a finite number within the channel's range, or none."""
    words = iter(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))
    for channel in SONDE.channels:
        keys = [(span.register, a) for span in needs(SONDE, channel) for a in range(span.address, span.end)]
        sound(judge(SONDE, channel, {key: next(words, 0) for key in keys}).reading(channel.id, T0))


# ASCII


LINES = load_profile("ascii_uv254_chlorine")


def ascii_stream(data):
    """In pieces as it comes; a line that counts has its form, and its values are in it."""
    assembler = LineAssembler(LINES.ascii.terminator.encode())
    size = 1 + data[0] % 40 if data else 1
    for at in range(0, len(data), size):
        for line in assembler.feed(data[at : at + size]):
            assert len(line) <= LONGEST_LINE
            assert line in data
            ascii_line(line)
    assert len(assembler._buffer) <= LONGEST_LINE + size


def ascii_line(line):
    fields = parse_line(line, LINES.ascii)
    if fields is not None:
        for channel in LINES.channels:
            reading = judge_field(fields, channel, LINES.ascii).reading(channel.id, T0)
            sound(reading)
            assert reading.value is None or re.fullmatch(r"[ \t]*[-+.eE0-9]+[ \t]*", fields.texts[channel.field])


def ascii_fields(data):
    """Columns of a line whose check sum is right."""
    body = b"$WQ," + data.replace(b"*", b"").replace(b"$", b"").replace(b"\r\n", b"")
    ascii_line(body + b"*%02X" % nmea_sum(body[1:]))


# MQTT


def obs(payload):
    batch = wire.open_envelope(payload)
    for row in batch.rows:
        each(row, identity, readings, verdict, gap, lambda r: alert(batch.station, r))


def each(row, *parsers):
    for parse in parsers:
        try:
            parse(row)
        except wire.WireError:
            continue


def identity(row):
    boot, seq = wire.row_identity(row)
    assert isinstance(boot, str)
    assert 0 <= seq < 2**63


def verdict(row):
    told = wire.verdict_of(row)
    numbers = [*told.scores.values(), *told.causes.values(), *(told.probability,) * (told.probability is not None)]
    assert all(map(math.isfinite, numbers))
    evident(told.evidence)


def alert(station_id, row):
    told = wire.alert_of(station_id, row)
    assert 0 <= told.occurrence < 2**63
    assert 0 <= told.number < 2**63
    evident(told.evidence)


def gap(row):
    told = wire.gap_of(row)
    assert 0 < told.rows < 2**63


def evident(evidence):
    assert all(map(math.isfinite, (n for e in evidence for n in (e.value, e.expected, e.score))))


def readings(row):
    for reading in wire.readings_of(row):
        sound(reading)


def stored(payload):
    boot, spans = wire.stored_of(payload)
    assert isinstance(boot, str)
    assert all(0 <= first <= last < 2**63 for first, last in spans)


def asked(payload):
    for instant in wire.ask_of(payload):
        assert 0 <= instant < 2**63


def document(payload):
    assert isinstance(wire.unpack(payload), dict)


def topic(data):
    station, leaf, _ = wire.split_topic(data.decode(errors="surrogateescape"))
    assert "/" not in station + leaf


# Files


def station(data):
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        load_station(Path(file.name))


def profile(data):
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        load_profile(file.name)


RECORDED = station_from(
    {"station": {"id": "s"}, "channels": {"ph": {}, "spcond": {}}, "detection": {"step": "60s"}}, Path("s.toml")
)


def record(data):
    with tempfile.NamedTemporaryFile(suffix=".csv.gz" if data[:2] == b"\x1f\x8b" else ".csv") as file:
        file.write(data)
        file.flush()
        last = None
        for reading in Record.open(Path(file.name), RECORDED).readings():
            sound(reading)
            assert last is None or reading.time >= last
            last = reading.time


# What they take


def _line(body):
    return (b"\r\n" + body + b"*%02X\r\n" % nmea_sum(body[1:])) * 3


def _frames():
    bodies = [b"\x01\x03\x04\x12\x34\x56\x78", b"\x01\x83\x02", b"\x09\x04\x02\x00\x01"]
    return [b + checksum(b) for b in bodies], [b"\x00\x07\x00\x00" + struct.pack(">H", len(b)) + b for b in bodies]


def _envelopes():
    evidence = (Evidence("ph", 6.1, 7.9, 20.0, T0),)
    verdict = Verdict(T0, 0.9, Readiness.READY, True, Cause.CONTAMINATION, evidence, {"ph": "stuck"}, {"x": 1.0})
    alert = Alert("s", "contamination", 1, 1, T0, T0, AlarmState.UNACKNOWLEDGED, AlarmState.NORMAL, Priority.HIGH,
                  Cause.CONTAMINATION, 0.9, evidence, {"hint": "acid"})  # fmt: skip
    rows = wire.obs_rows([Reading("ph", T0, 7.9), Reading("do", T0, None, Quality.MISSING, "busy")])
    rows += [wire.verdict_row(verdict), wire.alert_row(alert)]
    whole = wire.envelope("s", T0, "ntp", [{"boot": "b", "seq": n, **row} for n, row in enumerate(rows)])
    plain = wire.envelope("s", T0, "ntp", [{"boot": "b", "seq": 1, **rows[0]}])
    return [whole, *[zlib.decompress(whole), plain] * 5, zlib.compress(b" " * 10_000_000), zlib.compress(b"[" * 100_000)]


RTU_FRAMES, MBAP_FRAMES = _frames()
CSV = b"time,ph,spcond\n2026-01-01T00:00:00Z,7.9,900\n2026-01-01T00:01:00Z,,901.5\n2026-01-01T00:02:00Z,8e0,nan\n"
TARGETS = {
    "rtu": (rtu, [*RTU_FRAMES, b"".join(RTU_FRAMES)]),
    "mbap": (mbap, [*MBAP_FRAMES, b"".join(MBAP_FRAMES)]),
    "ledger": (ledger, [bytes(range(256))]),
    "registers": (registers, [struct.pack(">20f", *[7.5] * 20), b"\x7f\xc0\x00\x00" * 20, b"\x42\xf6\xe9\x79" * 20]),
    "ascii": (ascii_stream, [b"", *map(_line, (b"$WQ,0.081,0.45,0.03", b"$WQ,--,1e5,-.3", b"$GP,1,2,3"))]),
    "fields": (ascii_fields, [b"0.081,0.45,0.03", b"--,1e999,+.5", b"0x1,nan,1_0", b"0.08\x1d,1,\x1e2"]),
    "obs": (obs, _envelopes()),
    "stored": (stored, [wire.stored_payload("b1", [1, 2, 3, 9]), b'{"v":1,"boot":"b","ranges":[[1e999,2]]}']),
    "asked": (asked, [wire.ask_payload(T0, T0 - 1000)]),
    "document": (document, [wire.document("s", T0, "ntp", {"state": "online", "boot": "b"}), b"{}"]),
    "topic": (topic, [b"ewarn/v1/a/stored/main", b"ewarn/v1/s/cmd/acknowledge"]),
    "station": (station, [path.read_bytes() for path in sorted(CONFIG.glob("*.toml"))]),
    "profile": (profile, [path.read_bytes() for path in sorted(PROFILES.glob("*.toml"))]),
    "record": (record, [CSV, gzip.compress(CSV, mtime=0)]),
}


def digest(name, data):
    """Feed a target. Raises what is no error of ours, and AssertionError where what it gave cannot be."""
    try:
        TARGETS[name][0](data)
    except EwarnError:
        return False
    except msgspec.DecodeError as error:
        raise AssertionError("a decoder's own error came out") from error
    return True
