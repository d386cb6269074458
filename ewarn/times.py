"""Instants as text and as milliseconds; the clocks of the system and of simulations."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta

from ewarn.contracts import Clock, Millis

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999
"""The instants that have a text."""


def to_text(instant: Millis) -> str:
    """RFC 3339 in UTC with milliseconds.

    >>> to_text(1767225600123)
    '2026-01-01T00:00:00.123Z'
    """
    return (_EPOCH + instant * _MS).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def from_text(text: str) -> Millis:
    """Milliseconds of an RFC 3339 instant with its offset. Raises ValueError where it has none or is not one.

    >>> from_text("2026-01-01T00:00:00Z"), from_text("2025-12-31T18:00:00.5-06:00")
    (1767225600000, 1767225600500)
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset; write Z for UTC")
    instant = round((moment - _EPOCH) / _MS)
    if not _FIRST <= instant <= _LAST:
        raise ValueError(f"{text!r} is, in UTC, not within the years 1 to 9999")
    return instant


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> Millis:
        """Wall clock, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since some instant, suspend not counted."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class ScaledClock:
    """A clock that runs `speed` times as fast as the machine's, for simulations.

    Processes of one machine that are given the same anchor agree: the anchor ties an instant to the machine's
    monotonic clock, which they share.

    Args:
        origin: simulated instant at `anchor`.
        anchor: reading of the machine's monotonic clock, seconds; now where absent.
        speed: simulated seconds in one real second, more than 0.
    """

    def __init__(self, origin: Millis, *, speed: float, anchor: float | None = None) -> None:
        if not speed > 0:
            raise ValueError(f"speed {speed} is not more than 0")
        self.origin, self.speed = origin, speed
        self.anchor = time.monotonic() if anchor is None else anchor

    @classmethod
    def parse(cls, text: str) -> ScaledClock:
        """From `INSTANT@ANCHORxSPEED`, as `str()` gives it. Raises ValueError."""
        instant, _, rest = text.partition("@")
        anchor, _, speed = rest.partition("x")
        return cls(from_text(instant), anchor=float(anchor), speed=float(speed))

    def __str__(self) -> str:
        return f"{to_text(self.origin)}@{self.anchor!r}x{self.speed!r}"

    def now(self) -> Millis:
        """Simulated wall clock, UTC."""
        return self.origin + int((time.monotonic() - self.anchor) * self.speed * 1000)

    def monotonic(self) -> float:
        """Simulated seconds."""
        return (time.monotonic() - self.anchor) * self.speed

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of simulated time."""
        await asyncio.sleep(max(0.0, seconds) / self.speed)


class SteadyClock:
    """A wall clock that never runs backwards: after a step back it runs at half its pace until time has caught up.

    Args:
        clock: that may step.
    """

    _STEP_S = 2.0
    _DOUBT_S = 60.0
    _PACE = 0.5

    def __init__(self, clock: Clock) -> None:
        self.inner = clock
        self._last, self._at = clock.now(), clock.monotonic()
        self._wall = self._last
        self._slow_since: tuple[Millis, float] | None = None
        self._doubt_until = -math.inf

    def now(self) -> Millis:
        """Wall clock, UTC; never less than before."""
        wall, at = self.inner.now(), self.inner.monotonic()
        stepped = abs(wall - self._wall - (at - self._at) * 1000) > self._STEP_S * 1000
        self._wall, self._at = wall, at
        if wall >= self._last:
            self._last, self._slow_since = wall, None
        else:
            base, since = self._slow_since = self._slow_since or (self._last, at)
            self._last = max(self._last, base + int((at - since) * 1000 * self._PACE))
        if stepped or self._slow_since:
            self._doubt_until = at + self._DOUBT_S
        return self._last

    @property
    def steady(self) -> bool:
        """Whether the wall clock has been in step with the monotonic one lately, and this one with it."""
        return self.inner.monotonic() > self._doubt_until

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return self.inner.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock."""
        await self.inner.sleep(seconds)
