"""P1 with a device in bytes whose every register tells its address and poll: no fault may bring a value of another."""

import asyncio
import random

import pytest
from fake_modbus import Device
from line_faults import fewer, more, refit, wrong_function, wrong_unit
from modbus_tally import Tally, poll_all, poll_once

from ewarn.errors import EwarnError

TIMEOUT, SETTLE = 0.04, 0.04
LATE = TIMEOUT + 0.05
ADDRESSES = [0, 1, 2, 3, 40, 41, 80, 81, 82, 83, 120, 121]  # blocks of 4, 2, 4, 2 registers
READS = 44


def once(n, k):
    return n % 7 == k


FAULTS = {
    "late once": lambda n, r: [(LATE if n == 9 else 0, r)],
    "late now and then": lambda n, r: [(LATE if once(n, 3) else 0, r)],
    "always late": lambda _n, r: [(LATE, r)],
    "late beyond settle": lambda n, r: [(TIMEOUT + SETTLE + 0.03 if once(n, 3) else 0, r)],
    "late beyond two challenges": lambda n, r: [(3 * TIMEOUT + 2 * SETTLE if n in (5, 30) else 0, r)],
    "two late": lambda n, r: [(LATE if n % 9 in (3, 4) else 0, r)],
    "no reply": lambda n, r: [] if once(n, 2) else [(0, r)],
    "twice at once": lambda _n, r: [(0, r), (0, r)],
    "twice, the second in the next request": lambda _n, r: [(0, r), (0.01, r)],
    "twice now and then": lambda n, r: [(0, r), (0.01, r)] if n % 3 == 0 else [(0, r)],
    "split": lambda _n, r: [(0, r[:3]), (0.005, r[3:5]), (0.005, r[5:])],
    "bytes one by one": lambda _n, r: [(0, r[i : i + 1]) for i in range(len(r))],
}
RTU_FAULTS = {
    "short": lambda n, r: [(0, r[:-3] if once(n, 3) else r)],
    "bad check sum": lambda n, r: [(0, r[:-1] + bytes([r[-1] ^ 4]) if once(n, 3) else r)],
    "unit": lambda n, r: [(0, refit(r, wrong_unit) if once(n, 3) else r)],
    "foreign frame first": lambda _n, r: [(0, refit(r, wrong_unit)), (0.002, r)],
    "function": lambda n, r: [(0, refit(r, wrong_function) if once(n, 3) else r)],
    "fewer": lambda n, r: [(0, refit(r, fewer) if once(n, 3) else r)],
    "more": lambda n, r: [(0, refit(r, more) if once(n, 3) else r)],
    "noise before": lambda n, r: [(0, bytes([n & 0xFF]) + r)],
    "noise after": lambda n, r: [(0, r + bytes([n & 0xFF, 1]))],
    "two frames at once": lambda n, r: [] if once(n, 4) else [(0, refit(r, wrong_unit) + r)],
}


async def tallies(faults, port, make_driver, kind, addresses):
    """All faults side by side, each with its own device: the time goes into waiting."""

    async def one(fault):
        device = Device(fault)
        far = await port(kind, device)
        return await poll_all(make_driver(far.line, addresses), device, READS)

    return dict(zip(faults, await asyncio.gather(*(one(f) for f in faults.values())), strict=True))


@pytest.mark.parametrize("kind", ["rtu", "tcp", "rtu-tcp"])
async def test_faults_of_time(kind, port, make_driver):
    found = await tallies(FAULTS, port, make_driver, kind, ADDRESSES)
    assert {name: tally.wrong for name, tally in found.items()} == dict.fromkeys(FAULTS, 0)
    assert found.pop("always late").right == 0
    assert {name: tally for name, tally in found.items() if tally.right < READS * len(ADDRESSES) * 0.3} == {}


async def test_faults_of_bytes(port, make_driver):
    found = await tallies(RTU_FAULTS, port, make_driver, "rtu", ADDRESSES)
    assert {name: tally.wrong for name, tally in found.items()} == dict.fromkeys(RTU_FAULTS, 0)
    assert {name: tally for name, tally in found.items() if tally.right < READS * len(ADDRESSES) * 0.3} == {}


async def test_device_of_a_single_block(port, make_driver):
    """Each poll is the very same request: a late reply has the right shape, but old values."""
    found = await tallies(FAULTS, port, make_driver, "rtu", [0, 1, 2])
    assert {name: tally.wrong for name, tally in found.items()} == dict.fromkeys(FAULTS, 0)
    assert found.pop("always late").right == 0
    assert {name: tally for name, tally in found.items() if tally.right < READS} == {}


def slow_stretch(n, reply):
    """A device that falls behind by several requests, again and again."""
    return [(TIMEOUT + SETTLE + 0.02 if n % 25 in range(10, 16) else 0, reply)]


@pytest.mark.parametrize("fault", [FAULTS["late now and then"], slow_stretch])
async def test_device_that_refuses_every_challenge(fault, port, make_driver):
    """Two values of two registers; anything but those two blocks is refused."""
    device = Device(fault, refuses=lambda fc, addr, n: 0 if (fc, n) == (3, 2) and addr in (0, 9) else 2)
    far = await port("rtu", device)
    driver = make_driver(far.line, [0, 9], kind="uint32")
    tally = await poll_all(driver, device, READS, value=lambda a, p: (a << 6 | p) << 16 | (a + 1) << 6 | p)
    assert tally.wrong == 0
    assert tally.right > READS / 2


@pytest.mark.parametrize("fault", [FAULTS["late now and then"], FAULTS["two late"], slow_stretch])
async def test_two_probes_of_one_unit(fault, port, make_driver):
    """What would be a challenge for one is a request for values of the other."""
    device = Device(fault)
    far = await port("rtu", device)
    drivers = [make_driver(far.line, addresses) for addresses in ([0, 1], [0], [0, 1, 2])]
    line = drivers[0].make_line()
    found = Tally()
    for _ in range(READS // 2):
        for driver in drivers:
            await poll_once(driver, line, device, found)
    await line.close()
    assert found.wrong == 0
    assert found.right > READS / 2


@pytest.mark.parametrize("kind", ["rtu", "tcp"])
async def test_everything_at_random(kind, port, make_driver):
    rng = random.Random(5)
    kinds = [*FAULTS.values(), *(RTU_FAULTS.values() if kind == "rtu" else ())]
    device = Device(lambda n, r: rng.choice(kinds)(n, r) if rng.random() < 0.2 else [(0, r)])
    far = await port(kind, device)
    tally = await poll_all(make_driver(far.line, ADDRESSES), device, 60)
    assert tally.wrong == 0
    assert tally.right > 60


async def test_gateway_with_transaction_id_zero(port, make_driver):
    device = Device()
    far = await port("tcp", device)
    far.tid = b"\0\0"
    driver = make_driver(far.line, ADDRESSES, timeout=0.02)
    tally = await poll_all(driver, device, READS)
    assert (tally.right, tally.wrong) == (0, 0)
    far.tid = None
    assert (await poll_all(driver, device, 2)).right == 2 * len(ADDRESSES)


@pytest.mark.parametrize("says", [b"", bytes.fromhex("00 00 00 03 01 83 0B")])
@pytest.mark.parametrize("addresses", [[*range(4), *range(40, 45)], [0, 1, 2]])
async def test_gateway_that_puts_new_transaction_ids_on_late_serial_replies(says, addresses, port, make_driver):
    """It gives up on its serial side, with an exception or silently, and is one reply behind from then on."""
    device, waiting = Device(), []

    def behind(n, reply):
        waiting.append(reply)
        if n == 12:
            return [(0, reply[:2] + says)] if says else []
        return [(0, reply[:2] + waiting[-2][2:] if n > 12 else reply)]

    device.fault = behind
    far = await port("tcp", device)
    tally = await poll_all(make_driver(far.line, addresses, timeout=0.02), device, READS)
    assert tally.wrong == 0
    assert tally.right >= 9


async def test_exceptions_cost_their_own_channels_only(port, make_driver):
    device = Device(refuses=lambda _fc, addr, _n: {40: 2, 80: 6, 120: 11}.get(addr, 0))
    far = await port("rtu", device)
    driver = make_driver(far.line, ADDRESSES)
    device.poll = 1
    line = driver.make_line()
    readings = {r.channel: r.reason for r in await driver.read(line)}
    await line.close()
    assert readings["a0"] == ""
    assert (readings["a40"], readings["a80"], readings["a120"]) == ("refused", "busy", "busy")


async def test_cancelled_read_leaves_no_reply_for_the_next(port, make_driver):
    device = Device(lambda n, r: [(0.03 if n == 5 else 0, r)])
    far = await port("rtu", device)
    driver = make_driver(far.line, [0, 1, 2], timeout=0.2)
    line = driver.make_line()
    for poll in range(8):
        device.poll = poll
        try:
            async with asyncio.timeout(0.02):
                readings = await driver.read(line)
        except TimeoutError:
            continue
        except EwarnError:
            continue
        assert [r.value for r in readings] == [device.value(a, poll) for a in (0, 1, 2)]
    await line.close()
