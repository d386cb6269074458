"""The two built-in devices, in bytes: what their registers mean, and what of it becomes a reading."""

import struct
from itertools import pairwise

import pytest
from fake_modbus import Device, profile_text
from msgspec.structs import replace

from drivers.judgement import judge
from drivers.modbus import ModbusDriver, ModbusOptions
from ewarn.contracts import LineSettings, ProbeSettings, Quality
from ewarn.errors import ConfigError, NoReply, ProbeBusy, ProbeRefused, WrongReply
from ewarn.profiles import Status, load_profile
from ewarn.testing import driver_checks
from ewarn.times import SystemClock

EXO, TROLL = "ysi_exo_modbus", "insitu_aquatroll_500_600"
TCP = LineSettings("net", "tcp", host="127.0.0.1", port=1)


def driver_of(profile, line, channels, **kwargs):
    channels = channels if isinstance(channels, dict) else {c: c for c in channels}
    options = ModbusOptions(profile, settle=0.05, **kwargs)
    return ModbusDriver(ProbeSettings("sonde", line, channels, 0.1, options), SystemClock())


def words(value):
    return struct.unpack(">HH", struct.pack(">f", value))


class Exo:
    """Registers of a sonde: codes from 128, status from 256, values from 384 with the low word first."""

    def __init__(self, *slots):
        self.slots = slots
        self.reads = 0

    def __call__(self, address, _poll):
        slot = (address - 384) // 2 if address >= 384 else (address - 128) % 128
        if slot >= len(self.slots):
            return 0
        code, status, value = self.slots[slot]
        if address < 256:
            return code
        return status if address < 384 else words(value)[1 - address % 2]


async def read(driver):
    line = driver.make_line()
    try:
        return {r.channel: (r.value if r.value is None else round(r.value, 4), int(r.quality), r.reason)
                for r in await driver.read(line)}  # fmt: skip
    finally:
        await line.close()


async def test_exo_finds_its_slots_by_code(port):
    far = await port("rtu", Device(value=Exo((1, 0, 12.34), (51, 0, 220425), (18, 0, 7.81), (6, 0, 0.4321), (19, 2, 5),
                                             (212, 0, float("nan")))))  # fmt: skip
    driver = driver_of(EXO, far.line, {"water_temp": "water_temp", "ph": "ph", "spcond": "spcond_ms", "orp": "orp",
                                       "do": "do", "turbidity": "turbidity"})  # fmt: skip
    assert await read(driver) == {
        "water_temp": (12.34, 2, ""), "ph": (7.81, 2, ""), "spcond": (432.1, 2, ""), "orp": (5, 4, "probe_status"),
        "do": (None, 9, "sentinel"), "turbidity": (None, 9, "not_configured"),
    }  # fmt: skip
    assert driver.channel_units()["spcond"] == ("spcond", "uS/cm")


async def test_exo_without_any_of_the_channels(port):
    far = await port("rtu", Device(value=Exo((51, 0, 1))))
    assert await read(driver_of(EXO, far.line, ["ph"])) == {"ph": (None, 9, "not_configured")}


@pytest.mark.parametrize("size", [1, 16, 31, 32])
async def test_exo_with_a_list_of_any_length(size, port):
    """At 16 the values, at 32 the status are as long as the list of codes."""
    slots = [(code, 0, code + 0.5) for code in range(1000, 1000 + size - 1)] + [(18, 0, 7.5)]
    device = Device(value=Exo(*slots))
    far = await port("rtu", device)
    driver = driver_of(EXO, far.line, ["ph"])
    line = driver.make_line()
    for _ in range(3):
        assert [r.value for r in await driver.read(line)] == [7.5]
    await line.close()
    shapes = [request[3] for request in device.requests]
    assert all(a != b for a, b in pairwise(shapes))


async def test_exo_whose_list_changes_between_its_reads(port):
    """Whoever edits the list moves values to other slots: none may be taken for another."""
    device = Device(value=Exo((1, 0, 12.0), (18, 0, 7.0)))
    far = await port("rtu", device)
    driver = driver_of(EXO, far.line, ["water_temp", "ph"])
    line = driver.make_line()

    swaps = []  # the lengths of requests after which the list is turned round, once each

    def turn_round(_n, reply):
        if device.requests[-1][3] in swaps:
            swaps.remove(device.requests[-1][3])
            device.value.slots = device.value.slots[::-1]
        return [(0, reply)]

    device.fault = turn_round
    for swaps[:] in ([], [2], [4], [32]):  # not, after status, after values, after the list
        for _ in range(2):
            assert [r.value for r in await driver.read(line)] == [12.0, 7.0]
        assert swaps == []
    swaps[:] = [2, 2]
    with pytest.raises(WrongReply, match="changes while"):
        await driver.read(line)
    assert [r.value for r in await driver.read(line)] == [12.0, 7.0]
    await line.close()


def troll(blocks):
    """Registers of an Aqua TROLL: id -> (value, quality, unit, parameter, sentinel)."""
    image = {}
    for p, (value, quality, unit, parameter, sentinel) in blocks.items():
        registers = [*words(value), quality, unit, parameter, *words(sentinel)]
        image |= {5450 + 7 * (p - 1) + i: r for i, r in enumerate(registers)}
    return image


@pytest.mark.parametrize(("block", "expected"), [
    ((18.52, 0, 1, 1, 0.0), (18.52, 2, "")),
    ((0.0, 0, 1, 1, 0.0), (0.0, 2, "")),
    ((0.0, 7, 1, 1, 0.0), (None, 9, "sentinel")),
    ((0.0, 5, 1, 1, 0.0), (None, 9, "sentinel")),
    ((18.5, 7, 1, 1, 0.0), (18.5, 4, "probe_status")),
    ((18.5, 200, 1, 1, 0.0), (18.5, 4, "probe_status")),
    ((18.5, 5, 1, 1, 0.0), (18.5, 3, "probe_suspect")),
    ((65.3, 0, 2, 1, 0.0), (65.3, 4, "unit_unknown")),
    ((18.5, 0, 1, 17, 0.0), (None, 9, "profile_mismatch")),
    ((float("inf"), 0, 1, 1, 0.0), (None, 9, "sentinel")),
])  # fmt: skip
def test_block_of_an_aqua_troll(block, expected):
    profile = load_profile(TROLL)
    image = {("holding", address): word for address, word in troll({1: block}).items()}
    judged = judge(profile, profile.channel("water_temp"), image)
    assert (judged.value and round(judged.value, 4), int(judged.quality), judged.reason) == expected


async def test_aqua_troll_that_sleeps(port):
    image = troll({1: (18.52, 0, 1, 1, 0), 10: (510.0, 0, 65, 10, 0), 17: (7.4, 0, 145, 17, 0),
                   19: (300, 0, 162, 19, 0), 20: (8.1, 3, 117, 20, 0)})  # fmt: skip
    device = Device(lambda n, reply: [] if n == 1 else [(0, reply)], value=lambda a, _p: image[a])
    far = await port("rtu", device)
    found = await read(driver_of(TROLL, far.line, ["water_temp", "spcond", "ph", "orp", "do"]))
    assert found == {"water_temp": (18.52, 2, ""), "spcond": (510.0, 2, ""), "ph": (7.4, 2, ""), "orp": (300.0, 2, ""),
                     "do": (8.1, 4, "probe_status")}  # fmt: skip


@pytest.mark.parametrize("check", driver_checks())
async def test_conformance(check, port):
    image = troll({1: (18.52, 0, 1, 1, 0), 10: (510.0, 0, 65, 10, 0)})
    far = await port("rtu", Device(value=lambda a, _p: image[a]))
    await check(lambda: driver_of(TROLL, far.line, ["water_temp", "spcond"]), SystemClock())


@pytest.mark.parametrize(("status", "register", "expected"), [
    ({}, 0, (7, 2, "")), ({}, 4, (7, 4, "probe_status")),
    ({"good": (1,), "suspect": (2,)}, 1, (7, 2, "")), ({"good": (1,), "suspect": (2,)}, 2, (7, 3, "probe_suspect")),
    ({"good": (1,), "suspect": (2,)}, 0, (7, 4, "probe_status")), ({"mask": 0x00FF}, 0x1200, (7, 2, "")),
])  # fmt: skip
def test_status_register(status, register, expected, tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(profile_text([5]))
    profile = load_profile(str(path))
    channel = replace(profile.channels[0], status="s")
    profile = replace(profile, channels=(channel,), status=(Status("s", 9, **status),))
    judged = judge(profile, channel, {("holding", 5): 7, ("holding", 9): register})
    assert (judged.value, judged.quality, judged.reason) == expected


@pytest.mark.parametrize(("kwargs", "channels", "line", "key"), [
    ({}, {"ph": "phh"}, TCP, "channels.ph"),
    ({"unit": 0}, ["ph"], TCP, "unit"),
    ({"unit": 248}, ["ph"], LineSettings("a", "serial", device="/dev/x"), "unit"),
    ({}, ["ph"], LineSettings("a", "serial", device="/dev/x", framing="mbap"), "line"),
])  # fmt: skip
def test_settings_that_cannot_be(kwargs, channels, line, key):
    with pytest.raises(ConfigError) as caught:
        driver_of(EXO, line, channels, **kwargs)
    assert caught.value.key == key


def test_ascii_profile_is_no_modbus_device():
    with pytest.raises(ConfigError, match="not a Modbus device"):
        driver_of("ascii_uv254_chlorine", TCP, ["uv254"])


@pytest.mark.parametrize(("code", "error"), [(1, ProbeRefused), (2, ProbeRefused), (3, ProbeRefused), (4, ProbeBusy),
                                             (5, ProbeBusy), (6, ProbeBusy), (8, ProbeBusy), (10, ProbeBusy),
                                             (11, ProbeBusy), (0x94, ProbeBusy)])  # fmt: skip
async def test_exceptions(code, error, port, make_driver):
    far = await port("rtu", Device(refuses=lambda _fc, _a, _n: code))
    driver = make_driver(far.line, [0, 1])
    line = driver.make_line()
    with pytest.raises(error, match=f"exception {code}"):
        await driver.read(line)
    await line.close()


async def test_silence(port, make_driver):
    far = await port("rtu", Device(lambda _n, _reply: []))
    driver = make_driver(far.line, [0, 1])
    line = driver.make_line()
    with pytest.raises(NoReply, match=r"unit 1, .* nothing within 0\.04 s"):
        await driver.read(line)
    await line.close()


def test_quality_numbers():
    assert [Quality.NOT_EVALUATED, Quality.SUSPECT, Quality.FAIL, Quality.MISSING] == [2, 3, 4, 9]
