"""An independent peer, libmodbus through mbpoll, reads the simulated probes."""

import asyncio
import re

import pytest
from servers import program
from simulated import SONDE, START, TROLL, StillClock, scenario

from simulators.simulation import Simulation

pytestmark = pytest.mark.peer
SHOWN = re.compile(r"^\[(\d+)\]:\s+(\S+)(?: \((-\d+)\))?$", re.MULTILINE)
RTU = ("-m", "rtu", "-b", "19200", "-P", "none")


async def mbpoll(*args):
    """What it shows by reference number; exit status; everything it said."""
    process = await asyncio.create_subprocess_exec(
        program("mbpoll"), *map(str, args),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(30):
        said = (await process.communicate())[0].decode()
    return {int(n): value for n, value, _ in SHOWN.findall(said)}, process.returncode, said


def tcp(port, *args, unit=1):
    return mbpoll("-m", "tcp", "-p", port, "-a", unit, "-o", 5, "-1", *args, "127.0.0.1")


def serial(device, *args, unit=1, seconds=5):
    return mbpoll(*RTU, "-a", unit, "-o", seconds, "-1", *args, device)


async def test_exo_over_tcp():
    async with Simulation(scenario(SONDE), StillClock()) as simulation:
        probe, port = simulation.scenario.probes[0], simulation.endpoints["sonde"]["port"]
        codes, _, said = await tcp(port, "-0", "-r", 128, "-c", 32, "-t", 4)
        assert len(codes) == 32, said
        status, _, _ = await tcp(port, "-0", "-r", 256, "-c", 32, "-t", 4)
        values, _, _ = await tcp(port, "-0", "-r", 384, "-c", 32, "-t", "4:float")
        for slot, name in enumerate(probe.channels):
            channel = probe.device.channel(name)
            assert int(codes[128 + slot]) == channel.code
            assert int(status[256 + slot]) == 0
            shown = float(values[384 + 2 * slot]) * channel.scale
            assert shown == pytest.approx(simulation.truth.value("sonde", name, START), rel=1e-5), name
        assert {*codes.values()} >= {"0"}
        assert int(status[287]) == 1


async def test_aqua_troll_over_a_serial_line():
    async with Simulation(scenario(TROLL), StillClock()) as simulation:
        probe, device = simulation.scenario.probes[0], simulation.endpoints["troll"]["device"]
        for name in ("water_temp", "spcond", "ph", "do", "turbidity", "ammonium_n"):
            channel = probe.device.channel(name)
            values, status, said = await serial(device, "-B", "-r", channel.address, "-c", 1, "-t", "4:float")
            assert status == 0, said
            shown = float(values[channel.address])
            assert shown == pytest.approx(simulation.truth.value("troll", name, START), rel=1e-5), name
        words, _, _ = await serial(device, "-r", 5563 + 2, "-c", 5, "-t", 4)
        assert list(words.values()) == ["0", "145", "17", "0", "0"]


async def test_several_units_on_one_line():
    units = (1, 2, 200)
    probes = [{**TROLL, "id": f"u{u}", "line": "bus", "unit": u} for u in units]
    async with Simulation(scenario(*probes), StillClock()) as simulation:
        device = simulation.endpoints["u1"]["device"]
        for unit in units:
            values, _, said = await serial(device, "-B", "-r", 5451, "-c", 1, "-t", "4:float", unit=unit)
            assert float(values[5451]) == pytest.approx(simulation.truth.value(f"u{unit}", "water_temp", START)), said
        _, status, said = await serial(device, "-r", 5451, "-c", 1, "-t", 4, unit=7, seconds=0.3)
        assert status != 0
        assert "timed out" in said


REFUSED = {
    "no such address": (("-0", "-r", 1000, "-c", 2, "-t", 4), "Illegal data address"),
    "across the end": (("-0", "-r", 158, "-c", 4, "-t", 4), "Illegal data address"),
    "too many": (("-0", "-r", 384, "-c", 65, "-t", 4), "Illegal data value"),
    "coils": (("-0", "-r", 128, "-c", 2, "-t", 0), "Illegal function"),
    "discrete inputs": (("-0", "-r", 128, "-c", 2, "-t", 1), "Illegal function"),
    "input registers": (("-0", "-r", 128, "-c", 2, "-t", 3), "Illegal function"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("transport", ["tcp", "rtu"])
async def test_refusals_are_understood(name, transport):
    args, answer = REFUSED[name]
    async with Simulation(scenario({**SONDE, "transport": transport}), StillClock()) as simulation:
        end = simulation.endpoints["sonde"]
        _, status, said = await (tcp(end["port"], *args) if transport == "tcp" else serial(end["device"], *args))
        assert status != 0
        assert answer in said


async def test_a_gateway_refuses_another_unit():
    async with Simulation(scenario(SONDE), StillClock()) as simulation:
        _, status, said = await tcp(simulation.endpoints["sonde"]["port"], "-r", 1, "-t", 4, unit=9)
        assert status != 0
        assert "Target device failed to respond" in said


async def test_the_code_list_is_written_and_a_value_is_not():
    async with Simulation(scenario(SONDE), StillClock()) as simulation:
        port = simulation.endpoints["sonde"]["port"]
        _, status, said = await mbpoll("-p", port, "-a", 1, "-0", "-r", 128, "-t", 4, "127.0.0.1", 18, 0)
        assert status == 0, said
        values, _, _ = await tcp(port, "-0", "-r", 384, "-c", 1, "-t", "4:float")
        assert float(values[384]) == pytest.approx(simulation.truth.value("sonde", "ph", START))
        _, status, said = await mbpoll("-p", port, "-a", 1, "-0", "-r", 384, "-t", 4, "127.0.0.1", 0)
        assert status != 0
        assert "Illegal data address" in said
