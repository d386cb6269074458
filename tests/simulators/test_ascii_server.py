"""Devices that print lines, on real ptys."""

import asyncio
import re
import time
from functools import reduce

import pytest
from simulated import CABINET, START, StillClock, Terminal, scenario, until

from ewarn.times import ScaledClock
from simulators.simulation import Simulation

LINE = re.compile(rb"\$(WQ,(-?\d+\.\d{4}),(-?\d+\.\d{3}),(-?\d+\.\d{3}))\*([0-9A-F]{2})\r\n")
POLLED = """
schema = 1
id = "polled"
name = "polled"
source = "test"
grade = "I"
protocol = "ascii"
[ascii]
mode = "poll"
request = "D?\\r"
terminator = "\\n"
delimiter = ""
columns = 4
[[channels]]
id = "ph"
parameter = "ph"
unit = "[pH]"
field = 1
[[channels]]
id = "spcond"
parameter = "spcond"
unit = "uS/cm"
field = 2
scale = 1000.0
decimals = 4
[[channels]]
id = "orp"
parameter = "orp"
unit = "mV"
field = 3
"""


async def lines_of(terminal, count):
    data = b""
    while data.count(b"\r\n") < count:
        more = await terminal.read(1)
        assert more, f"{count} lines, have {data!r}"
        data += more
    return data.split(b"\r\n")[:count]


async def test_lines_carry_the_truth_and_their_check_sum():
    clock = StillClock()
    async with Simulation(scenario(CABINET, water="treated"), clock) as simulation:
        with Terminal(simulation.endpoints["cabinet"]["device"]) as terminal:
            for line in await lines_of(terminal, 2):
                body, *fields, check = LINE.fullmatch(line + b"\r\n").groups()
                assert int(check, 16) == reduce(lambda a, b: a ^ b, body)
                for name, text in zip(("uv254", "cl2_free", "ammonium_n"), fields, strict=True):
                    assert float(text) == simulation.truth.value("cabinet", name, START)


async def test_a_channel_that_is_not_fitted_shows_what_the_profile_calls_missing():
    async with Simulation(scenario({**CABINET, "channels": ["cl2_free"]}), StillClock()) as simulation:
        with Terminal(simulation.endpoints["cabinet"]["device"]) as terminal:
            (line,) = await lines_of(terminal, 1)
            assert re.fullmatch(rb"\$WQ,--,0\.\d{3},--\*[0-9A-F]{2}", line)


async def test_a_polled_device_answers_each_request_and_nothing_else(tmp_path):
    (tmp_path / "polled.toml").write_text(POLLED)
    probe = {"id": "a", "profile": "polled.toml", "transport": "ascii", "channels": ["ph", "spcond"]}
    async with Simulation(scenario(probe, path=tmp_path / "s.toml"), StillClock()) as simulation:
        with Terminal(simulation.endpoints["a"]["device"]) as terminal:
            assert await terminal.ask(b"junk" * 500, 1, seconds=0.2) == b""
            terminal.write(b"D")
            line = await terminal.ask(b"?\r", 10)
            while not line.endswith(b"\n"):
                line += await terminal.read(1)
            empty, ph, spcond, orp = line.decode().removesuffix("\n").split(" ")
            assert (empty, orp) == ("", "--")
            assert float(ph) == simulation.truth.value("a", "ph", START)
            assert float(spcond) * 1000 == pytest.approx(simulation.truth.value("a", "spcond", START), rel=1e-12)
            assert await terminal.ask(b"D?\rD?\r", 2 * len(line)) == 2 * line
            assert await terminal.read(1, seconds=0.1) == b""
        assert simulation.served == {"a": 3}


async def test_a_stream_keeps_the_pace_of_a_faster_clock():
    clock = ScaledClock(START, speed=60.0)
    async with Simulation(scenario(CABINET), clock) as simulation:
        with Terminal(simulation.endpoints["cabinet"]["device"]) as terminal:
            began, told = clock.now(), 0
            while clock.now() < began + 60_000:
                told += (await terminal.read(1)).count(b"\n")
            lines, minutes = simulation.served["cabinet"], (clock.now() - START) / 60_000
            assert told > 5
            assert 0.2 < lines / (60 * minutes) <= 1.1


async def test_a_stream_is_no_faster_than_its_samples():
    async with Simulation(scenario({**CABINET, "sample_period": "1h"}), ScaledClock(START, speed=60.0)) as simulation:
        await until(lambda: simulation.served["cabinet"] == 1, "first line")
        await asyncio.sleep(0.3)
        assert simulation.served["cabinet"] == 1


async def test_a_reader_that_does_not_read_holds_nothing_up():
    clock = ScaledClock(START, speed=5000.0)
    async with Simulation(scenario(CABINET), clock) as simulation:
        with Terminal(simulation.endpoints["cabinet"]["device"]) as deaf:
            await until(lambda: simulation.served["cabinet"] > 800, "lines printed into a full pty")
            began = time.monotonic()
            await asyncio.sleep(0.01)
            assert time.monotonic() - began < 5
            stale = await deaf.read(1)
            assert len(stale) <= 65536
            fresh = b""
            while LINE.search(fresh) is None:
                fresh += await deaf.read(1)


async def test_what_a_stream_is_told_is_not_kept():
    async with Simulation(scenario(CABINET), StillClock()) as simulation:
        device = simulation.endpoints["cabinet"]["device"]
        with Terminal(device) as chatty:
            for _ in range(300):
                chatty.write(b"x" * 1000)
                await asyncio.sleep(0)
            await lines_of(chatty, 1)
        (server,) = simulation._speakers.values()
        assert server.pty._received.qsize() <= 64


async def test_faults_of_the_line_strike_lines():
    faults = [{"probe": "cabinet", "kind": "truncate"}]
    async with Simulation(scenario(CABINET, line_faults=faults), ScaledClock(START, speed=50.0)) as simulation:
        with Terminal(simulation.endpoints["cabinet"]["device"]) as terminal:
            await until(lambda: simulation.served["cabinet"] > 10, "lines")
            whole = LINE.findall(await terminal.read(1))
        assert whole == []
        assert simulation.faults["cabinet"].counts["truncate"] >= 10
