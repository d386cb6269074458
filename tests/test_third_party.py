"""A third party's driver and detector, in a distribution of their own, are found, checked and used."""

import subprocess
import sys
import textwrap

import pytest

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "river-dice"
version = "3.1"
[project.entry-points."ewarn.drivers"]
dice = "river_dice:DiceDriver"
[project.entry-points."ewarn.detectors"]
surprise = "river_dice:Surprise"
broken = "river_dice.nowhere:Nothing"
[tool.setuptools]
py-modules = ["river_dice"]
"""

MODULE = """
import msgspec

from ewarn.contracts import Quality, Reading
from ewarn.errors import LineLost


class Options(msgspec.Struct, forbid_unknown_fields=True):
    sides: int = 6


class Cup:
    opened = False

    async def open(self):
        self.opened = True

    async def close(self):
        self.opened = False


class DiceDriver:
    api = 1
    Options = Options

    def __init__(self, settings, clock):
        self.settings, self.clock, self.rolls = settings, clock, 0

    def channel_units(self):
        return {name: ("ph", "[pH]") for name in self.settings.channels}

    def make_line(self):
        return Cup()

    async def read(self, line):
        if not line.opened:
            raise LineLost("the cup is closed")
        self.rolls += 1
        value = float(self.rolls % self.settings.options.sides)
        return [Reading(name, self.clock.now(), value) for name in self.settings.channels]


class Surprise:
    def __init__(self, step_s, scale=1.0):
        self.step_s, self.scale, self.last = step_s, scale, {}

    def learn_one(self, x):
        self.last.update({k: v for k, v in x.items() if len(self.last) < 50 or k in self.last})

    def score_one(self, x):
        return min(1e6, sum(abs(x[k] - self.last.get(k, x[k])) for k in sorted(x))) * self.scale
"""

USE = """
import asyncio
from pathlib import Path
from ewarn import registry, testing
from ewarn.config import station_from
from ewarn.times import SystemClock

station = station_from({
    "station": {"id": "far-away"},
    "lines": {"table": {"kind": "tcp", "host": "127.0.0.1", "port": 1}},
    "probes": [{"id": "cup", "driver": "dice", "line": "table", "channels": ["ph"], "sides": 20}],
    "detectors": [{"name": "surprise", "scale": 2.0}],
}, Path("far.toml"))
clock = SystemClock()
bound, = registry.make_drivers(station, clock)
assert bound.driver.settings.options.sides == 20
detectors = registry.load_detectors(station)
assert (detectors["surprise"].step_s, detectors["surprise"].scale) == (60.0, 2.0)
for check in testing.detector_checks():
    check(lambda: registry.load_detectors(station)["surprise"])
for check in testing.driver_checks():
    asyncio.run(check(lambda: registry.make_drivers(station, clock)[0].driver, clock))

async def one_reading():
    line = bound.driver.make_line()
    await line.open()
    return await bound.driver.read(line)

reading, = asyncio.run(one_reading())
assert reading.value == 1.0

from ewarn.core.pipeline import Pipeline
step = Pipeline(station, detectors).accept(reading.time, [reading])
assert step.readings[0].value == 1.0
print("used")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    source = tmp_path_factory.mktemp("river-dice")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "river_dice.py").write_text(MODULE)
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--root-user-action=ignore", "--target", target, source],
        check=True, capture_output=True,
    )  # fmt: skip
    return target


def python(site, *args):
    return subprocess.run([sys.executable, *args], check=False, env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, timeout=60)  # fmt: skip


def test_plugins_are_listed_with_their_distribution(site):
    result = python(site, "-m", "ewarn", "plugins")
    assert "driver    dice                 river-dice 3.1\n" in result.stdout
    assert "detector  surprise             river-dice 3.1\n" in result.stdout
    assert "modbus               ewarn " in result.stdout


def test_a_broken_plugin_is_named_and_harms_no_other(site):
    result = python(site, "-m", "ewarn", "plugins")
    (broken,) = (line for line in result.stdout.splitlines() if "broken" in line)
    assert "river-dice 3.1  BROKEN" in broken
    assert "nowhere" in broken
    assert result.returncode == 1


def test_plugins_are_used_and_pass_the_conformance_kit(site):
    result = python(site, "-c", textwrap.dedent(USE))
    assert result.stderr == ""
    assert result.stdout == "used\n"
