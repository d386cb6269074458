"""Three units on one RTU line, one of them dead: what that costs the others."""

import asyncio
import contextlib
import itertools
import time

import pytest
from fake_modbus import Device, RtuPort, profile_text

from drivers.modbus import ModbusDriver, ModbusOptions
from ewarn.config.station import ProbeSpec
from ewarn.contracts import ProbeSettings
from ewarn.edge import acquisition
from ewarn.edge.acquisition import Acquisition
from ewarn.registry import BoundProbe
from ewarn.times import SystemClock

TIMEOUT = 0.1


class Units(Device):
    """Several units of one device's memory; the others say nothing."""

    alive = frozenset({1, 3})

    def answer(self, request, send, frame):
        self.unit = request[0] if request[0] in self.alive else -1
        super().answer(request, send, frame)


class Spent:
    """A driver that notes when each of its reads began and ended."""

    def __init__(self, driver):
        self.driver, self.reads, self.make_line = driver, [], driver.make_line

    async def read(self, line):
        began = time.monotonic()
        try:
            return await self.driver.read(line)
        finally:
            self.reads.append((began, time.monotonic()))


@pytest.fixture
async def port():
    far = RtuPort(Units())
    yield far
    far.close()


def probe(tmp_path, line, unit):
    path = tmp_path / "fake.toml"
    path.write_text(profile_text([unit]))
    channel = f"a{unit}"
    options = ModbusOptions(str(path), unit=unit, settle=TIMEOUT)
    driver = ModbusDriver(ProbeSettings(channel, line, {channel: channel}, TIMEOUT, options), SystemClock())
    return BoundProbe(ProbeSpec(channel, "modbus", line, {channel: channel}, 0.1, TIMEOUT, {}, ""), Spent(driver))


async def test_a_dead_unit_costs_its_neighbours_at_most_a_tenth_and_is_back_soon(port, tmp_path, monkeypatch):
    monkeypatch.setattr(acquisition, "REST_S", 0.0)  # the share alone has to protect them
    values = {unit: [] for unit in (1, 2, 3)}

    async def take(batch):
        values[int(batch.probe[1:])] += [r.value for r in batch.readings if r.value is not None]

    probes = [probe(tmp_path, port.line, unit) for unit in (1, 2, 3)]
    reads = probes[1].driver.reads
    polling = asyncio.create_task(Acquisition(probes, SystemClock(), take).run())
    try:
        async with asyncio.timeout(40):
            while len(reads) < 8:
                await asyncio.sleep(0.01)
            resting = reads[3:]
            spent = sum(end - began for began, end in resting[:-1])
            assert spent <= 0.11 * (resting[-1][0] - resting[0][0])
            assert min(b[0] - a[1] for a, b in itertools.pairwise(resting)) > TIMEOUT
            assert values[2] == []
            assert min(len(values[1]), len(values[3])) > 20
            Units.alive = frozenset({1, 2, 3})
            while not values[2]:
                await asyncio.sleep(0.01)
    finally:
        Units.alive = frozenset({1, 3})
        polling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await polling
