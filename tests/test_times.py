"""Instants and clocks."""

import asyncio
import itertools

import pytest

from ewarn.times import ScaledClock, SteadyClock, SystemClock, from_text, to_text


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


class Watch:
    """A clock in the hand."""

    def __init__(self):
        self.wall, self.passed = 1_780_000_000_000, 0

    def now(self):
        return self.wall

    def monotonic(self):
        return self.passed / 1000

    def run(self, ms):
        self.wall += ms
        self.passed += ms


@pytest.mark.parametrize("tick", [1, 7, 1000, 60_000])
def test_after_a_step_back_time_goes_on_slowly_until_it_has_caught_up(tick):
    watch = Watch()
    clock = SteadyClock(watch)
    watch.run(100_000)
    assert (clock.now(), clock.steady) == (watch.wall, True)
    watch.wall -= 600_000
    seen = [clock.now()]
    for _ in range(1_200_000 // tick + 2):
        watch.run(tick)
        seen.append(clock.now())
        assert clock.steady <= (seen[-1] == watch.wall)
    assert all(b >= a for a, b in itertools.pairwise(seen))
    assert seen[-1] == watch.wall
    halfway = seen[600_000 // tick] - seen[0]
    assert abs(halfway - 300_000) <= tick
    watch.run(61_000)
    clock.now()
    assert clock.steady


def test_a_step_ahead_is_taken_and_doubted():
    watch = Watch()
    clock = SteadyClock(watch)
    watch.run(1000)
    clock.now()
    watch.wall += 3_600_000
    assert clock.now() == watch.wall
    assert not clock.steady
