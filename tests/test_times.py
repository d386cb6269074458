"""Instants and clocks."""

import asyncio
import doctest

import pytest

from ewarn import parameters, times, toml, wire
from ewarn.times import ScaledClock, SystemClock, from_text, to_text


@pytest.mark.parametrize("module", [times, parameters, toml, wire])
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("ms", [0, 1, 999, 1_767_225_600_123, -1])
def test_text_and_back(ms):
    assert from_text(to_text(ms)) == ms


@pytest.mark.parametrize("text", ["2026-01-01", "2026-01-01T00:00:00", "yesterday", ""])
def test_text_without_offset_is_refused(text):
    with pytest.raises(ValueError):
        from_text(text)


async def test_scaled_clock_is_shared_by_its_text():
    clock = ScaledClock(1_000_000, speed=200.0)
    twin = ScaledClock.parse(str(clock))
    before, mono = clock.now(), clock.monotonic()
    await clock.sleep(20)
    assert clock.now() - before >= 20_000
    assert clock.monotonic() - mono >= 20
    assert abs(twin.now() - clock.now()) < 1000


async def test_system_clock_advances():
    clock = SystemClock()
    before = clock.now()
    await asyncio.gather(clock.sleep(0.01))
    assert clock.now() > before
