"""Polls a driver of a fake device and judges each value."""

from __future__ import annotations

from dataclasses import dataclass

from ewarn.contracts import Quality
from ewarn.errors import TransientError


@dataclass
class Tally:
    right: int = 0
    wrong: int = 0
    missing: int = 0
    failed: int = 0


async def poll_all(driver, device, reads, value=None):
    """Read so many times, each with new values in the device."""
    tally, line = Tally(), driver.make_line()
    for _ in range(reads):
        await poll_once(driver, line, device, tally, value)
    await line.close()
    return tally


async def poll_once(driver, line, device, tally, value=None):
    """Channel `a<n>` has to be register n as it is in this very poll."""
    device.poll = (device.poll + 1) % 64
    try:
        readings = await driver.read(line)
    except TransientError:
        tally.failed += 1
        return
    for r in readings:
        if r.quality is Quality.MISSING:
            tally.missing += 1
        elif r.value == (value or device.value)(int(r.channel[1:]), device.poll):
            tally.right += 1
        else:
            tally.wrong += 1
