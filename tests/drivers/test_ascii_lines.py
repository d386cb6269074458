"""The ASCII driver on a pty."""

import asyncio
import os
import pty
import tty

import pytest

from drivers._lines import nmea_sum
from drivers.ascii_line import AsciiLineDriver, AsciiLineOptions
from ewarn.contracts import LineSettings, ProbeSettings
from ewarn.errors import ConfigError, LineLost, NoReply, WrongReply
from ewarn.testing import driver_checks
from ewarn.times import ScaledClock, SystemClock

ALL = {"uv254": "uv254", "cl2_free": "cl2_free", "ammonium_n": "ammonium_n"}
POLL = """
schema = 1
id = "polled"
name = "polled"
source = "test"
grade = "I"
protocol = "ascii"
[ascii]
mode = "poll"
request = "DATA\\r"
terminator = "\\r"
columns = 2
[[channels]]
id = "ph"
parameter = "ph"
unit = "[pH]"
field = 0
"""


class Far:
    def __init__(self):
        self.far, self.near = pty.openpty()
        tty.setraw(self.near)
        self.path = os.ttyname(self.near)

    def send(self, data):
        os.write(self.far, data)

    def heard(self):
        os.set_blocking(self.far, False)
        try:
            return os.read(self.far, 100)
        except BlockingIOError:
            return b""

    def close(self):
        os.close(self.far)
        os.close(self.near)


@pytest.fixture
def far():
    far = Far()
    yield far
    far.close()


def line_of(*values):
    body = ",".join(["WQ", *map(str, values)]).encode()
    return b"$" + body + b"*%02X\r\n" % nmea_sum(body)


def driver_on(path, profile="ascii_uv254_chlorine", channels=ALL, timeout=0.1, clock=None, settle=None):
    settings = ProbeSettings("uv", LineSettings("a", "serial", device=str(path)), channels, timeout,
                             AsciiLineOptions(str(profile), settle))  # fmt: skip
    return AsciiLineDriver(settings, clock or SystemClock())


def values(readings):
    return [r.value for r in readings]


@pytest.fixture
async def opened(far):
    driver = driver_on(far.path)
    line = driver.make_line()
    await line.open()
    yield driver, line
    await line.close()


async def test_newest_whole_line_once(far, opened):
    driver, line = opened
    far.send(b",0.9,0.9,0.9*00\r\n" + line_of(1, 2, 3) + line_of(4, 5, 6) + line_of(7, 8, 9)[:-4])
    await asyncio.sleep(0.02)
    assert values(await driver.read(line)) == [4, 5, 6]
    with pytest.raises(NoReply, match=r"no line within 0\.1 s"):
        await driver.read(line)
    far.send(line_of(7, 8, 9)[-4:])
    assert values(await driver.read(line)) == [7, 8, 9]


async def test_first_line_is_half_even_if_it_looks_whole(far, opened):
    driver, line = opened
    far.send(line_of(1, 2, 3))
    with pytest.raises(NoReply):
        await driver.read(line)
    far.send(line_of(4, 5, 6))
    assert values(await driver.read(line)) == [4, 5, 6]


async def test_line_is_waited_for_and_stamped_on_arrival(far, opened):
    driver, line = opened
    far.send(b"\r\n")
    asyncio.get_running_loop().call_later(0.05, far.send, line_of(1, 2, 3))
    before = SystemClock().now()
    readings = await driver.read(line)
    assert {r.time for r in readings} == {readings[0].time}
    assert before + 40 <= readings[0].time <= SystemClock().now()


async def test_stale_lines_are_not_delivered(far, tmp_path):
    from importlib.resources import files

    text = (files("drivers.profiles") / "ascii_uv254_chlorine.toml").read_text()
    path = tmp_path / "fast.toml"
    path.write_text(text.replace("interval_s = 1.0", "interval_s = 0.02"))
    driver = driver_on(far.path, path, clock=ScaledClock(0, speed=100))
    line = driver.make_line()
    await line.open()
    far.send(b"\r\n" + line_of(1, 2, 3))
    await asyncio.sleep(0.15)
    with pytest.raises(NoReply):
        await driver.read(line)
    far.send(line_of(4, 5, 6))
    assert values(await driver.read(line)) == [4, 5, 6]
    await line.close()


async def test_bad_lines_and_noise(far, opened):
    driver, line = opened
    far.send(b"\r\n" + line_of(1, 2, 3).replace(b"2", b"9"))
    with pytest.raises(WrongReply, match="wrong check sum"):
        await driver.read(line)
    far.send(b"\0\xff" + line_of(1, 2, 3) + b"\xff" * 3000 + b"\r\n# header\r\n")
    with pytest.raises(NoReply):
        await driver.read(line)
    far.send(line_of(1, 2, 3) + b"# header\r\n" + line_of(9, 9, 9)[:-5] + b"\r\n")
    assert values(await driver.read(line)) == [1, 2, 3]


async def test_unplug_while_waiting_and_replug(tmp_path):
    path, far = tmp_path / "by-id", Far()
    path.symlink_to(far.path)
    driver = driver_on(path, timeout=3)
    line = driver.make_line()
    await line.open()
    asyncio.get_running_loop().call_later(0.05, far.close)
    with pytest.raises(LineLost):
        await driver.read(line)
    path.unlink()
    with pytest.raises(LineLost):
        await driver.read(line)
    far = Far()
    path.symlink_to(far.path)
    await line.open()
    far.send(b"\r\n" + line_of(1, 2, 3))
    assert values(await driver.read(line)) == [1, 2, 3]
    await line.close()
    far.close()


async def test_port_that_cannot_be_opened(tmp_path, far):
    """No file, an error of termios (ptys know no parity once they are set), and two ValueErrors."""
    plain = driver_on(far.path).make_line()
    await plain.open()
    await plain.close()
    for settings in (LineSettings("a", "serial", device=str(tmp_path / "none")),
                     LineSettings("a", "serial", device=far.path, parity="E"),
                     LineSettings("a", "serial", device=far.path, bytesize=9),
                     LineSettings("a", "serial", device=far.path, baud=-5)):  # fmt: skip
        options = AsciiLineOptions("ascii_uv254_chlorine")
        line = AsciiLineDriver(ProbeSettings("uv", settings, ALL, 0.1, options), SystemClock()).make_line()
        with pytest.raises(LineLost):
            await line.open()
        await line.close()


async def test_second_opener_is_refused(far, opened):
    other = driver_on(far.path).make_line()
    with pytest.raises(LineLost):
        await other.open()


SETTLE = 0.5


@pytest.fixture
def polled(far, tmp_path):
    path = tmp_path / "polled.toml"
    path.write_text(POLL)
    return driver_on(far.path, path, {"ph": "ph"}, timeout=0.2, settle=SETTLE)


async def answer(far, *replies, heard=None):
    """Each request is answered by what stands for it: (delay, bytes)."""
    for delay, reply in replies:
        while far.heard() != b"DATA\r":
            await asyncio.sleep(0.002)
        if heard is not None:
            heard.set()
        await asyncio.sleep(delay)
        far.send(reply)


async def asked(driver, line):
    """Values of the first read that asks."""
    while True:
        try:
            return values(await driver.read(line))
        except NoReply as error:
            if "not asked yet" not in str(error):
                raise
            await asyncio.sleep(0.02)


async def test_poll(far, polled):
    line = polled.make_line()
    with pytest.raises(NoReply, match="not asked yet"):  # an earlier run may have asked before the port was opened
        await polled.read(line)
    assert far.heard() == b""
    device = asyncio.create_task(answer(far, (0, b"7.1,1\r"), (0, b"7.2,1\r"), (0, b"DATA\r7.3,1\r"), (0, b"7.4\r")))
    for expected in (7.1, 7.2, 7.3):
        far.send(b"6.0,0\r6.1")  # nobody asked for it
        await asyncio.sleep(0.005)
        assert await asked(polled, line) == [expected]
    with pytest.raises(WrongReply, match="1 columns instead of 2"):
        await polled.read(line)
    await device
    await line.close()


async def test_late_line_answers_no_later_request(far, polled):
    """The device takes its time for the later request as well: its line is not there to hide the late one."""
    line = polled.make_line()
    device = asyncio.create_task(answer(far, (0.3, b"1.0,1\r"), (0.05, b"7.2,1\r")))
    with pytest.raises(NoReply, match="no line within"):
        await asked(polled, line)
    with pytest.raises(NoReply, match="not asked yet"):
        await polled.read(line)
    assert await asked(polled, line) == [7.2]
    await device
    await line.close()


async def test_line_to_a_cancelled_request_answers_no_later_one(far, polled):
    line = polled.make_line()
    heard = asyncio.Event()
    device = asyncio.create_task(answer(far, (0.15, b"1.0,1\r"), (0.05, b"7.2,1\r"), heard=heard))
    read = asyncio.create_task(asked(polled, line))
    await heard.wait()
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    assert await asked(polled, line) == [7.2]
    await device
    await line.close()


async def test_request_cuts_no_line_in_two(far, polled):
    """The end of a line that nobody asked for looks like a whole one of the right form."""
    line = polled.make_line()
    device = asyncio.create_task(answer(far, (0, b"7.1,1\r"), (0.1, b"7.2,1\r")))
    assert await asked(polled, line) == [7.1]
    far.send(b"6.1")
    asyncio.get_running_loop().call_later(0.05, far.send, b"2,0\r")
    assert values(await polled.read(line)) == [7.2]
    await device
    await line.close()


async def test_a_line_that_never_falls_silent_is_not_asked(far, polled):
    async def babble():
        while True:
            far.send(b"6.0,0\r")
            await asyncio.sleep(0.01)

    async def ask():
        while True:  # on a busy machine it may fall silent for once
            await asked(polled, line)

    line = polled.make_line()
    babbling = asyncio.create_task(babble())
    with pytest.raises(WrongReply, match="does not fall silent"):
        await ask()
    babbling.cancel()
    await line.close()


async def test_two_polled_probes_with_prefixes_on_one_line(far, tmp_path):
    """A line that is late for one is not taken for the other's."""
    drivers = {}
    for name in "AB":
        path = tmp_path / f"{name}.toml"
        path.write_text(POLL.replace("columns = 2", f'columns = 3\nprefix = "{name},"').replace("DATA", f"D{name}")
                        .replace("field = 0", "field = 1"))  # fmt: skip
        drivers[name] = driver_on(far.path, path, {"ph": "ph"}, timeout=0.2, settle=SETTLE)
    line = drivers["A"].make_line()
    with pytest.raises(NoReply, match="not asked yet"):
        await drivers["A"].read(line)
    await asyncio.sleep(SETTLE)
    with pytest.raises(NoReply, match="no line within"):
        await drivers["A"].read(line)
    assert far.heard() == b"DA\r"
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, far.send, b"A,1.0,1\r")
    loop.call_later(0.1, far.send, b"B,7.2,1\r")
    assert values(await drivers["B"].read(line)) == [7.2]
    assert far.heard() == b"DB\r"
    await line.close()


async def test_writer_blocked(far, polled):
    """Nobody empties the other side: the driver neither hangs nor stops the loop."""
    line = polled.make_line()
    await line.open()
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    with pytest.raises(LineLost, match="takes no bytes"):
        await line.write(b"x" * 1_000_000, 0.1)
    ticking.cancel()
    assert ticks > 5
    with pytest.raises(LineLost):
        await line.write(b"x", 0.1)
    await line.close()


@pytest.mark.parametrize("check", driver_checks())
async def test_conformance(check, far):
    async def stream():
        while True:
            far.send(line_of(0.08, 0.45, 0.03))
            await asyncio.sleep(0.01)

    streaming = asyncio.create_task(stream())
    await check(lambda: driver_on(far.path), SystemClock())
    streaming.cancel()


@pytest.mark.parametrize(("change", "problem"), [
    (("columns = 2", 'columns = 2\nsplit = "regex"\npattern = "("'), "pattern"),
    (("columns = 2", 'columns = 2\nsplit = "regex"\npattern = "(?P<x>.)"'), "which no line has"),
    (("field = 0", "field = 2"), "which no line has"),
    (("field = 0", 'field = "x"'), "which no line has"),
    (('request = "DATA\\r"', ""), "no request"),
    (('terminator = "\\r"', 'terminator = ""'), "terminator"),
    (('protocol = "ascii"', 'protocol = "modbus"'), "address"),
])  # fmt: skip
def test_profiles_that_cannot_be(change, problem, tmp_path):
    path = tmp_path / "bad.toml"
    text = POLL.replace(*change)
    assert text != POLL
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        driver_on("/dev/null", path, {"ph": "ph"})


def test_settings_that_cannot_be():
    with pytest.raises(ConfigError, match="no channel 'ph'"):
        driver_on("/dev/null", channels={"ph": "ph"})
    with pytest.raises(ConfigError, match="prints no lines"):
        driver_on("/dev/null", "ysi_exo_modbus", {"ph": "ph"})
    tcp = LineSettings("net", "tcp", host="h", port=1)
    with pytest.raises(ConfigError, match="tcp line"):
        AsciiLineDriver(ProbeSettings("uv", tcp, ALL, 0.1, AsciiLineOptions("ascii_uv254_chlorine")), SystemClock())
