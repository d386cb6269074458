"""Simulated devices on real sockets and ptys, asked in raw bytes and judged by bytes."""

import asyncio
import contextlib
import struct

import numpy as np
import pytest
from simulated import (
    SONDE,
    START,
    TROLL,
    StillClock,
    Terminal,
    ask_tcp,
    bitwise_crc,
    mbap,
    one_reply,
    read_pdu,
    rtu,
    scenario,
    terminals_and_sockets,
    until,
    words,
)

from simulators.simulation import Simulation

CODES, STATUS, VALUES = read_pdu(128, 32), read_pdu(256, 32), read_pdu(384, 64)
PLAIN = """
schema = 1
id = "plain"
name = "plain"
source = "test"
grade = "I"
protocol = "modbus"
[[channels]]
id = "ph"
parameter = "ph"
unit = "[pH]"
address = 10
register = "input"
type = "uint16"
scale = 0.01
decimals = 2
[[channels]]
id = "orp"
parameter = "orp"
unit = "mV"
address = 12
register = "input"
type = "int16"
scale = 0.1
[[channels]]
id = "do"
parameter = "do"
unit = "mg/L"
address = 20
register = "input"
word_order = "BADC"
[[channels]]
id = "spcond"
parameter = "spcond"
unit = "uS/cm"
address = 24
register = "input"
type = "float64"
word_order = "DCBA"
"""


def sonde(clock=None, **tables):
    return Simulation(scenario(SONDE, **tables), clock or StillClock())


def bus(*units, **tables):
    probes = [{**TROLL, "id": f"troll{u}", "line": "bus", "unit": u} for u in units]
    return Simulation(scenario(*probes, **tables), StillClock())


def swapped_float(low, high):
    return struct.unpack(">f", struct.pack(">HH", high, low))[0]


async def test_exo_serves_its_truth_in_every_slot():
    clock = StillClock()
    async with sonde(clock) as simulation:
        probe, port = simulation.scenario.probes[0], simulation.endpoints["sonde"]["port"]
        for clock.instant in (START, START + 3_600_000):
            pdus = [r[7:] for r in await ask_tcp(port, mbap(1, CODES), mbap(1, STATUS), mbap(1, VALUES))]
            codes, status, values = map(words, pdus)
            assert len(probe.channels) == 20
            for slot, name in enumerate(probe.channels):
                channel = probe.device.channel(name)
                assert (codes[slot], status[slot]) == (channel.code, 0)
                raw = swapped_float(*values[2 * slot : 2 * slot + 2])
                assert raw * channel.scale == simulation.truth.value("sonde", name, clock.instant), name
            assert set(codes[20:]) == {0}
            assert set(status[20:]) == {1}


async def test_aqua_troll_serves_its_truth_in_every_block():
    alternatives = {**TROLL, "id": "other", "channels": ["depth_ft", "turbidity_ntu"]}
    async with Simulation(scenario(TROLL, alternatives), StillClock()) as simulation:
        for probe in simulation.scenario.probes:
            with Terminal(simulation.endpoints[probe.id]["device"]) as terminal:
                for name in probe.channels:
                    channel = probe.device.channel(name)
                    reply = await terminal.ask(rtu(1, read_pdu(channel.address - 1, 7)), 19)
                    assert bitwise_crc(reply[:-2]) == reply[-2:]
                    raw, quality, unit, parameter, sentinel = struct.unpack(">fHHHf", reply[3:-2])
                    assert (quality, unit, parameter, sentinel) == (0, channel.units_code[0], channel.code, 0.0)
                    assert raw * channel.scale == simulation.truth.value(probe.id, name, START), name


async def test_a_plain_map_serves_its_truth_in_every_type(tmp_path):
    (tmp_path / "plain.toml").write_text(PLAIN)
    probe = {"id": "a", "profile": "plain.toml", "transport": "tcp"}
    async with Simulation(scenario(probe, path=tmp_path / "s.toml"), StillClock()) as simulation:
        port = simulation.endpoints["a"]["port"]
        asked = [mbap(1, read_pdu(a, n, 4)) for a, n in ((10, 1), (12, 1), (20, 2), (24, 4))]
        ph, orp, do, spcond = [r[9:] for r in await ask_tcp(port, *asked)]
        (refused,) = await ask_tcp(port, mbap(1, read_pdu(10, 1, 3)))
    shown = {name: simulation.truth.value("a", name, START) for name in ("ph", "orp", "do", "spcond")}
    assert struct.unpack(">H", ph)[0] * 0.01 == shown["ph"]
    assert struct.unpack(">h", orp)[0] * 0.1 == shown["orp"]
    assert struct.unpack(">f", bytes((do[1], do[0], do[3], do[2])))[0] == shown["do"]
    assert struct.unpack(">d", spcond[::-1])[0] == shown["spcond"]
    assert refused[7:] == b"\x83\x01"  # it has no holding registers at all


async def test_an_integer_that_cannot_hold_the_value_is_its_greatest(tmp_path):
    (tmp_path / "plain.toml").write_text(PLAIN)
    probe = {"id": "a", "profile": "plain.toml", "transport": "tcp", "channels": ["ph", "orp"]}
    far = [{"probe": "a", "channel": c, "kind": "offset", "size": s} for c, s in (("ph", -50.0), ("orp", 1e5))]
    async with Simulation(scenario(probe, path=tmp_path / "s.toml", sensor_faults=far), StillClock()) as simulation:
        ph, orp = await ask_tcp(simulation.endpoints["a"]["port"], *(mbap(1, read_pdu(a, 1, 4)) for a in (10, 12)))
    assert words(ph[7:]) == (0,)
    assert words(orp[7:]) == (0x7FFF,)
    assert simulation.truth.value("a", "ph", START) == 0
    assert simulation.truth.value("a", "orp", START) == 32767 * 0.1


async def test_values_are_renewed_every_sample_period():
    clock = StillClock()
    async with Simulation(scenario({**SONDE, "sample_period": "15s"}), clock) as simulation:
        seen = []
        for second in range(0, 60, 3):
            clock.instant = START + 1000 * second
            seen += await ask_tcp(simulation.endpoints["sonde"]["port"], mbap(1, VALUES))
    assert len(set(seen)) == 4
    assert all(len(set(seen[i : i + 5])) == 1 for i in range(0, 20, 5))


REFUSALS = {
    "illegal function": ("07 00 00 00 00", "87 01"),
    "coils": ("01 00 00 00 08", "81 01"),
    "input registers": ("04 00 80 00 01", "84 01"),
    "before the table": ("03 00 7F 00 02", "83 02"),
    "behind the table": ("03 00 9F 00 02", "83 02"),
    "in no table": ("03 00 00 00 01", "83 02"),
    "around the end": ("03 FF FF 00 02", "83 02"),
    "nothing": ("03 00 80 00 00", "83 03"),
    "more than the device gives": ("03 01 80 00 41", "83 03"),
    "more than Modbus allows": ("03 00 80 00 7E", "83 03"),
    "counts of thousands": ("03 00 80 FF FF", "83 03"),
    "short": ("03 00 80", "83 03"),
    "function alone": ("03", "83 03"),
    "long": ("03 00 80 00 01 00", "83 03"),
    "write of a value": ("06 01 80 00 00", "86 02"),
    "write without data": ("10 00 80 00 01", "90 03"),
    "write with too little": ("10 00 80 00 02 04 00 01", "90 03"),
    "write with another count": ("10 00 80 00 02 02 00 01", "90 03"),
    "write over the end": ("10 00 9F 00 02 04 00 01 00 02", "90 02"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_cannot_be_answered_is_refused(name):
    request, refusal = map(bytes.fromhex, REFUSALS[name])
    async with sonde() as simulation:
        replies = await ask_tcp(simulation.endpoints["sonde"]["port"], mbap(1, request, 77), mbap(1, CODES, 78))
        assert replies[0] == mbap(1, refusal, 77)
        assert replies[1][:2] == struct.pack(">H", 78)


async def test_a_sonde_whose_code_list_is_rewritten_shows_other_values():
    async with sonde() as simulation:
        port = simulation.endpoints["sonde"]["port"]
        before = words((await ask_tcp(port, mbap(1, VALUES)))[0][7:])
        write = struct.pack(">BHHB4H", 16, 128, 4, 8, 18, 231, 1, 0)
        replies = await ask_tcp(port, *(mbap(1, p) for p in (write, CODES, STATUS, VALUES)))
        assert replies[0][7:] == struct.pack(">BHH", 16, 128, 4)
        codes, status, values = (words(r[7:]) for r in replies[1:])
        assert codes[:5] == (18, 231, 1, 0, 6)
        assert status[:5] == (0, 2, 0, 1, 1)
        assert swapped_float(*values[:2]) == simulation.truth.value("sonde", "ph", START)
        assert values[4:6] == before[:2]
        assert set(values[6:]) == {0}


async def test_pipelined_requests_are_answered_in_order():
    async with sonde() as simulation:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulation.endpoints["sonde"]["port"])
        writer.write(b"".join(mbap(1, CODES if i % 2 else STATUS, i) for i in range(200)))
        replies = [await one_reply(reader) for _ in range(200)]
        writer.close()
    assert [int.from_bytes(r[:2], "big") for r in replies] == list(range(200))


async def test_a_request_byte_by_byte_is_one_request():
    async with sonde() as simulation:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulation.endpoints["sonde"]["port"])
        for byte in mbap(1, CODES):
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0.002)
        assert words((await one_reply(reader))[7:])[0] == 1
        writer.close()


@pytest.mark.parametrize("head", ["00 01 00 01 00 06 01", "00 01 00 00 00 00 01", "00 01 00 00 01 00 01"])
async def test_what_is_no_mbap_costs_the_connection_and_no_other(head):
    async with sonde() as simulation:
        port = simulation.endpoints["sonde"]["port"]
        other = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bytes.fromhex(head) + CODES)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        other[1].write(mbap(1, CODES))
        assert words((await one_reply(other[0]))[7:])
        writer.close()
        other[1].close()


async def test_a_gateway_answers_for_a_missing_device_and_not_for_all():
    async with sonde() as simulation:
        port = simulation.endpoints["sonde"]["port"]
        missing, own = await ask_tcp(port, mbap(9, CODES, 5), mbap(0xFF, CODES, 6))
        assert missing == mbap(9, b"\x83\x0b", 5)
        assert own[6] == 0xFF
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(mbap(0, CODES, 7) + mbap(1, CODES, 8))
        assert (await one_reply(reader))[:2] == b"\x00\x08"
        writer.close()
        assert simulation.served == {"sonde": 2}


async def test_clients_that_vanish_in_the_middle_leave_no_trace():
    async with sonde() as simulation:
        port = simulation.endpoints["sonde"]["port"]
        for cut in range(1, 12):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(mbap(1, CODES)[:cut])
            if cut % 2:
                writer.transport.abort()
            else:
                writer.close()
        assert words((await ask_tcp(port, mbap(1, CODES)))[0][7:])


async def test_a_client_that_never_reads_holds_nobody_up():
    before = terminals_and_sockets()
    async with sonde() as simulation:
        port = simulation.endpoints["sonde"]["port"]
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(mbap(1, VALUES) * 100_000)
        served = -1
        while served != simulation.served["sonde"]:  # until both buffers are full
            served = simulation.served["sonde"]
            await asyncio.sleep(0.3)
        assert served < 100_000
        assert words((await ask_tcp(port, mbap(1, CODES)))[0][7:])
        async with asyncio.timeout(10):
            await simulation.__aexit__(None, None, None)
        await until(lambda: len(terminals_and_sockets()) == len(before) + 1, "the server's end is closed", 5)
        writer.transport.abort()


async def test_units_of_one_line_answer_for_themselves():
    async with bus(1, 2, 247) as simulation:
        assert len({e["device"] for e in simulation.endpoints.values()}) == 1
        with Terminal(simulation.endpoints["troll1"]["device"]) as line:
            for unit in (247, 1, 2):
                reply = await line.ask(rtu(unit, read_pdu(5562, 2)), 9)
                assert (reply[0], bitwise_crc(reply[:-2])) == (unit, reply[-2:])
                shown = struct.unpack(">f", reply[3:7])[0]
                assert shown == simulation.truth.value(f"troll{unit}", "ph", START)


PH = read_pdu(5562, 2)
SILENCE = {
    "another unit": rtu(9, PH),
    "everybody": rtu(0, PH),
    "a wrong check sum": rtu(1, PH)[:-1] + b"\x00",
    "half a request": rtu(1, PH)[:5],
    "the head of a long write": bytes.fromhex("01 10 00 00 00 02 F0"),
    "noise": bytes(range(200)),
}


@pytest.mark.parametrize("name", SILENCE)
async def test_silence_answers_what_is_for_nobody_and_the_next_request_is_answered(name):
    async with bus(1) as simulation:
        with Terminal(simulation.endpoints["troll1"]["device"]) as line:
            assert await line.ask(SILENCE[name], 1, seconds=0.3) == b""
            reply = await line.ask(rtu(1, PH), 9)
            assert reply[:3] == b"\x01\x03\x04"
            assert await line.read(1, seconds=0.2) == b""
        assert simulation.served == {"troll1": 1}


async def test_noise_directly_before_a_request_does_not_cost_it():
    async with bus(1) as simulation:
        with Terminal(simulation.endpoints["troll1"]["device"]) as line:
            for noise in (b"\x00", b"\xf8\x00", SILENCE["the head of a long write"]):
                assert (await line.ask(noise + rtu(1, PH), 9))[:3] == b"\x01\x03\x04"


@pytest.mark.parametrize("pdu", ["11", "07", "17 00 00 00 01 00 00 00 01 02 00 00", "2B 0E 01 00"])
async def test_functions_that_a_device_has_not_are_refused_on_a_serial_line_too(pdu):
    request = bytes.fromhex(pdu)
    async with bus(1) as simulation:
        with Terminal(simulation.endpoints["troll1"]["device"]) as line:
            assert await line.ask(rtu(1, request), 5) == rtu(1, bytes((request[0] | 0x80, 1)))


async def test_a_client_of_a_serial_line_may_come_and_go():
    async with bus(1) as simulation:
        for _ in range(5):
            with Terminal(simulation.endpoints["troll1"]["device"]) as line:
                assert len(await line.ask(rtu(1, PH), 9)) == 9
                line.write(rtu(1, PH)[:4])


async def test_a_serial_client_that_never_reads_holds_nobody_up():
    async with bus(1) as simulation:
        with Terminal(simulation.endpoints["troll1"]["device"]) as deaf:
            for _ in range(60):
                deaf.write(rtu(1, read_pdu(5562, 7)) * 40)
                await asyncio.sleep(0)
            await until(lambda: simulation.served["troll1"] > 1000, "requests answered")
            async with asyncio.timeout(10):
                await simulation.__aexit__(None, None, None)


async def test_line_faults_strike_on_the_wire_and_are_counted():
    faults = [{"probe": "troll1", "kind": k, "after": f"{i}h", "duration": "1h"} for i, k in enumerate(("crc", "echo"))]
    faults += [{"probe": "troll1", "kind": k, "after": "2h", "duration": "1h"} for k in ("no_reply", "crc", "truncate")]
    clock = StillClock()
    probes = [{**TROLL, "id": f"troll{u}", "line": "bus", "unit": u} for u in (1, 2)]
    async with Simulation(scenario(*probes, line_faults=faults), clock) as simulation:
        good = rtu(1, PH)
        with Terminal(simulation.endpoints["troll1"]["device"]) as line:
            flipped = await line.ask(good, 9)
            assert bitwise_crc(flipped[:-2]) != flipped[-2:]
            clock.instant += 3_600_000
            line.write(good[:3])
            await asyncio.sleep(0.01)
            echoed = await line.ask(good[3:], 17)
            assert echoed[:8] == good
            clock.instant += 3_600_000
            assert await line.ask(good, 1, seconds=0.2) == b""
            assert len(await line.ask(rtu(2, PH), 9)) == 9
            clock.instant += 3_600_000
            whole = await line.ask(good, 9)
            assert bitwise_crc(whole[:-2]) == whole[-2:]
        assert simulation.faults["troll1"].counts == {"crc": 2, "echo": 1, "no_reply": 1, "truncate": 1}
        assert simulation.faults["troll2"].counts == {}
        assert simulation.served == {"troll1": 3, "troll2": 1}


async def test_an_echo_is_of_its_own_request():
    async with sonde(line_faults=[{"probe": "sonde", "kind": "echo"}]) as simulation:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulation.endpoints["sonde"]["port"])
        requests = [mbap(1, CODES, 1), mbap(1, STATUS, 2)]
        writer.write(b"".join(requests))
        for request in requests:
            assert await one_reply(reader) == request
            assert (await one_reply(reader))[:2] == request[:2]
        writer.close()


async def test_the_draws_of_a_probe_do_not_depend_on_its_neighbours():
    def drawn(*probes):
        faults = [{"probe": "sonde", "kind": "no_reply", "probability": 0.5}]
        line = Simulation(scenario(*probes, line_faults=faults), StillClock()).faults["sonde"]
        return [bool(line.draw(START)) for _ in range(64)]

    assert drawn(SONDE) == drawn(TROLL, SONDE)
    assert np.mean(drawn(SONDE)) == pytest.approx(0.5, abs=0.25)
