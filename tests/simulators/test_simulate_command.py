"""`ewarn simulate` as a process."""

import csv
import json
import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from select import select

import pytest
import tomli_w
from simulated import CABINET, SONDE, START_TEXT, TROLL, Terminal, ask_tcp, mbap, read_pdu, rtu, scenario, words

from ewarn.times import ScaledClock, from_text
from simulators.scenario import Scenario
from simulators.truth import Truth

COMMAND = [sys.executable, "-m", "ewarn", "simulate"]


def write(folder, *probes, **head):
    file = folder / "scenario.toml"
    file.write_text(tomli_w.dumps({"scenario": head, "probes": list(probes)}))
    return file


@contextmanager
def serving(*args):
    process = subprocess.Popen([*COMMAND, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert select([process.stdout], [], [], 30)[0], "first line within 30 s"
        line = process.stdout.readline()
        yield process, json.loads(line) if line else process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def ended(process, number=signal.SIGTERM):
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


async def test_the_first_line_says_where_and_when_and_sigterm_ends_it(tmp_path):
    link = tmp_path / "troll"
    file = write(tmp_path, SONDE, {**TROLL, "link": str(link)}, CABINET)
    with serving(file) as (process, first):
        assert first["ready"] is True
        assert first["clock"] == ""
        assert from_text(first["start"])
        assert set(first["endpoints"]) == {"sonde", "troll", "cabinet"}
        (reply,) = await ask_tcp(first["endpoints"]["sonde"]["port"], mbap(1, read_pdu(128, 32)))
        assert words(reply[7:])[0] == 1
        with Terminal(first["endpoints"]["troll"]["device"]) as terminal:
            assert len(await terminal.ask(rtu(1, read_pdu(5562, 7)), 19)) == 19
        assert ended(process) == (0, "", "")
    assert not os.path.lexists(link)


async def test_sigint_ends_it_too_with_clients_and_half_a_request(tmp_path):
    with (
        serving(write(tmp_path, SONDE, TROLL)) as (process, first),
        Terminal(first["endpoints"]["troll"]["device"]) as terminal,
    ):
        terminal.write(b"\x01\x03")
        assert ended(process, signal.SIGINT) == (0, "", "")


async def test_others_can_follow_its_clock_and_its_truth(tmp_path):
    file = write(tmp_path, {**SONDE, "channels": ["spcond"], "sample_period": "1h"}, seed=2**64 + 1, start=START_TEXT)
    with serving(file, "--speed", "3") as (process, first):
        clock = ScaledClock.parse(first["clock"])
        assert first["start"] == "2026-06-01T12:00:00.000Z"
        assert clock.speed == 3
        before = clock.now()
        (reply,) = await ask_tcp(first["endpoints"]["sonde"]["port"], mbap(1, read_pdu(384, 2)))
        low, high = reply[9:11], reply[11:13]
        same = scenario({**SONDE, "channels": ["spcond"], "sample_period": "1h"}, seed=2**64 + 1)
        shown = Truth(same).value("sonde", "spcond", before)
        assert struct.unpack(">f", high + low)[0] == shown
        with serving(file, "--clock", first["clock"]) as (second, follower):
            assert follower["clock"] == first["clock"]
            assert ended(second)[0] == 0
        assert ended(process)[0] == 0


def refused(*args):
    done = subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


BAD = {
    "missing": ("", "cannot be read"),
    "not TOML": ("[scenario", "is not TOML"),
    "not text": ("\xff", "is not TOML"),
    "a wrong key": ("[scenario]\nsed = 1", "scenario.sed: unknown key; did you mean 'seed'?"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gives_one_line_and_2(tmp_path, name):
    text, told = BAD[name]
    file = tmp_path / "scenario.toml"
    if text:
        file.write_bytes(text.encode("latin-1"))
    said = refused(file)
    assert said.startswith(f"ewarn: {file}: ")
    assert told in said


def test_a_taken_port_gives_one_line_and_2(tmp_path):
    with serving(write(tmp_path, SONDE)) as (_, first):
        port = first["endpoints"]["sonde"]["port"]
        said = refused(write(tmp_path, {**SONDE, "port": port}))
        assert f"probes[0].port: {port}: Address already in use" in said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--speed", "0"), "--speed: 0 is no speed; give a number of more than 0"),
        (("--speed", "-2"), "--speed: -2 is no speed"),
        (("--speed", "nan"), "--speed: nan is no speed"),
        (("--speed", "inf"), "--speed: inf is no speed"),
        (("--clock", "noon"), "--clock: 'noon' is not a clock"),
        (("--speed", "2", "--clock", "2026-06-01T12:00:00Z@0.0x1.0"), "leave one out"),
    ],
)
def test_a_bad_option_gives_one_line_and_2(tmp_path, options, told):
    assert told in refused(write(tmp_path, SONDE), *options)


def test_the_truth_is_recorded_as_time_passes(tmp_path):
    file, out = write(tmp_path, SONDE, start=START_TEXT), tmp_path / "truth.csv"
    with serving(file, "--speed", "50", "--truth", out) as (process, _):
        end = time.monotonic() + 30
        while not out.exists() or out.stat().st_size < 25_000:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert ended(process) == (0, "", "")
    rows = list(csv.DictReader(out.read_text().splitlines()))
    truth = Truth(Scenario.load(file))
    for row in rows:
        moment = from_text(row["time"])
        assert float(row["shown"]) == truth.value("sonde", row["channel"], moment)
        assert float(row["water"]) == truth.water(row["parameter"], moment)
    times = sorted({row["time"] for row in rows})
    assert len(times) > 10
    assert len(rows) == len(times) * len({row["channel"] for row in rows})


def test_a_truth_that_cannot_be_written_is_one_line(tmp_path):
    with serving(write(tmp_path, SONDE), "--truth", tmp_path) as (process, _):
        assert process.wait(30) == 2
        assert process.stderr.read() == f"ewarn: {tmp_path}: cannot be written: Is a directory; name another file\n"
