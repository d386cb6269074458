"""Lines that break and come back; echo; several units on one line; a quiet log."""

import asyncio
import contextlib
import logging
import os
import socket

import pytest
from fake_modbus import Device, RtuPort

from ewarn.contracts import LineSettings
from ewarn.errors import LineLost, NoReply, WrongReply


async def test_connection_reset_between_reads_and_within_one(port, make_driver):
    device = Device()
    far = await port("tcp", device)
    driver = make_driver(far.line, [0, 1, 9], timeout=2)
    line = driver.make_line()
    assert [r.value for r in await driver.read(line)] == [device.value(a, 0) for a in (0, 1, 9)]
    far.reset()
    await asyncio.sleep(0.01)
    assert [r.value for r in await driver.read(line)] == [device.value(a, 0) for a in (0, 1, 9)]

    def reset(_n, _reply):
        far.reset()
        return []

    device.fault = reset
    began = asyncio.get_running_loop().time()
    with pytest.raises(LineLost):
        await driver.read(line)
    assert asyncio.get_running_loop().time() - began < 1, "a lost connection is not waited for"
    device.fault = lambda _n, reply: [(0, reply)]
    assert [r.value for r in await driver.read(line)] == [device.value(a, 0) for a in (0, 1, 9)]
    await line.close()


async def test_one_connection_at_a_time(port, make_driver):
    device = Device(lambda n, reply: [] if n % 5 == 0 else [(0, reply)])
    far = await port("tcp", device)
    driver = make_driver(far.line, [0, 1, 9], timeout=0.02)
    line = driver.make_line()
    for _ in range(20):
        with contextlib.suppress(NoReply):
            await driver.read(line)
        await asyncio.sleep(0)
        assert len(far.writers) <= 1
    await line.close()


async def test_nothing_there(make_driver, tmp_path):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        tcp = LineSettings("net", "tcp", host="127.0.0.1", port=reserved.getsockname()[1])
        for line_settings in (tcp, LineSettings("a", "serial", device=str(tmp_path / "ttyNone"))):
            driver = make_driver(line_settings, [0])
            line = driver.make_line()
            with pytest.raises(LineLost, match="cannot be opened"):
                await line.open()
            with pytest.raises(LineLost):
                await driver.read(line)
            await line.close()


async def test_parity_that_a_port_cannot_do_is_a_lost_line(port, make_driver):
    far = await port("rtu", Device())
    settings = LineSettings("a", "serial", device=far.line.device, parity="E")
    line = make_driver(settings, [0]).make_line()
    with pytest.raises(LineLost):
        await line.open()
    await line.close()


async def test_unplug_and_replug_under_the_same_name(make_driver, tmp_path):
    device, path = Device(), tmp_path / "by-id"
    far = RtuPort(device)
    path.symlink_to(far.line.device)
    driver = make_driver(LineSettings("a", "serial", device=str(path), baud=115200), [0, 1])
    line = driver.make_line()
    assert [r.value for r in await driver.read(line)] == [0, 64]
    far.close()
    path.unlink()
    for _ in range(2):
        with pytest.raises(LineLost):
            await driver.read(line)
    far = RtuPort(device)
    path.symlink_to(far.line.device)
    assert [r.value for r in await driver.read(line)] == [0, 64]
    await line.close()
    far.close()


async def test_second_opener_is_refused(port, make_driver):
    far = await port("rtu", Device())
    first, second = (make_driver(far.line, [0]).make_line() for _ in range(2))
    await first.open()
    with pytest.raises(LineLost):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


class Echoing(RtuPort):
    mangle = False

    def echo(self, request):
        os.write(self.far, b"\0" + request if self.mangle else request)


@pytest.mark.parametrize("expected", [True, False])
async def test_local_echo_is_no_reply(expected, make_driver):
    device = Device()
    far = Echoing(device)
    driver = make_driver(far.line, [0, 1, 9], echo=expected)
    line = driver.make_line()
    for far.mangle in (False, True):
        for device.poll in range(10):
            assert [r.value for r in await driver.read(line)] == [device.value(a, device.poll) for a in (0, 1, 9)]
    await line.close()
    far.close()


async def test_echo_that_does_not_come(port, make_driver):
    far = await port("rtu", Device())
    driver = make_driver(far.line, [0], echo=True)
    line = driver.make_line()
    with pytest.raises(WrongReply):
        await driver.read(line)
    await line.close()


async def test_dead_neighbour_costs_one_timeout_and_nobody_else_a_value(port, make_driver):
    device = Device()
    far = await port("rtu", device)
    alive, dead = make_driver(far.line, [0, 1, 9]), make_driver(far.line, [0, 1, 9], unit=2, timeout=0.05, settle=0.01)
    line = alive.make_line()
    loop = asyncio.get_running_loop()
    for device.poll in range(10):
        began = loop.time()
        with pytest.raises(NoReply):
            await dead.read(line)
        assert loop.time() - began < 0.3
        assert [r.value for r in await alive.read(line)] == [device.value(a, device.poll) for a in (0, 1, 9)]
    await line.close()


async def test_pymodbus_is_quiet(port, make_driver, caplog, capfd):
    caplog.set_level(logging.INFO)
    far = await port("rtu", Device(lambda n, reply: [(0, b"\1\2\3\4\5\6"), (0.1 if n % 2 else 0, reply)]))
    driver = make_driver(far.line, [0])
    line = driver.make_line()
    for _ in range(4):
        with contextlib.suppress(NoReply, WrongReply):
            await driver.read(line)
    await line.close()
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


async def test_late_replies_are_named(port, make_driver):
    far = await port("rtu", Device(lambda _n, reply: [(0.06, reply)]))
    driver = make_driver(far.line, [0], settle=0.1)
    line = driver.make_line()
    with pytest.raises(NoReply):
        await driver.read(line)
    with pytest.raises(NoReply, match="a longer timeout may help"):
        await driver.read(line)
    await line.close()


async def test_pause_between_requests(port, make_driver):
    far = await port("rtu", Device())
    driver = make_driver(far.line, [0, 9, 10, 20], limits="pause_ms = 30")
    line = driver.make_line()
    began = asyncio.get_running_loop().time()
    await driver.read(line)
    assert asyncio.get_running_loop().time() - began > 0.08
    await line.close()
