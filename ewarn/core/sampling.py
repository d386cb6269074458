"""Channels of unequal cadence become samples at a steady step.

Window k is ((k - 1) step, k step]. It closes at once when every channel has said what it will say in it (its newest
reading is less than `every` before the window's end; a missing one counts), else a grace after its end. A channel's
value is the median of its usable values in the window; a channel slower than the step keeps its last value for one and
a half times its interval. What comes for a closed window is too late for detection. A window without readings gives an
empty sample, at most a day's worth of them in a row: then time jumps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

from ewarn.config import ChannelSpec
from ewarn.contracts import USABLE, Millis, Quality, Reading, Sample

GRACE_S = 15.0
_DAY_MS = 86_400_000
_HOLD = 1.5


class _Column:
    """One channel's part of the open window."""

    __slots__ = ("every", "held", "held_at", "hold", "last", "reason", "suspect", "values")

    def __init__(self, spec: ChannelSpec, step: int) -> None:
        self.every = round(spec.every * 1000)
        self.hold = round(_HOLD * self.every) if self.every > step else 0
        self.last: Millis | None = None
        self.values: list[float] = []
        self.suspect = ""
        self.reason = ""
        self.held: float | None = None
        self.held_at = 0

    def add(self, reading: Reading) -> None:
        self.last = reading.time if self.last is None else max(self.last, reading.time)
        if reading.value is None or reading.quality not in USABLE:
            self.reason = reading.reason or str(reading.quality)
            self.held = None
            return
        self.values.append(reading.value)
        self.held, self.held_at = reading.value, reading.time
        if reading.quality is Quality.SUSPECT:
            self.suspect = reading.reason

    def spoken(self, end: Millis) -> bool:
        """Whether nothing more is to be expected before `end`."""
        return self.last is not None and self.last + self.every > end

    def take(self, end: Millis) -> float | None:
        """The value at the window's end; makes room for the next window."""
        values, self.values = self.values, []
        if values:
            return values[0] if len(values) == 1 else median(values)
        return self.held if self.hold and self.held is not None and end - self.held_at <= self.hold else None


class Sampler:
    """Aligns readings into samples.

    Args:
        channels: of the station.
        step: seconds between samples.
    """

    def __init__(self, channels: Mapping[str, ChannelSpec], step: float) -> None:
        self.step = round(step * 1000)
        self._grace = min(self.step, round(GRACE_S * 1000))
        self._columns = {name: _Column(spec, self.step) for name, spec in channels.items()}
        self._window: int | None = None
        self._newest: Millis = 0
        self._waiting: set[str] = set()

    def accept(self, reading: Reading) -> Iterator[Sample]:
        """Samples that this reading completes, oldest first."""
        column = self._columns.get(reading.channel)
        if column is None:
            return
        window = -(-reading.time // self.step)
        if self._window is None:
            self._start(window)
        elif window > self._window:
            yield from self._close_until(window)
        if self._window != window:
            return
        column.add(reading)
        self._newest = max(self._newest, reading.time)
        if column.spoken(window * self.step):
            self._waiting.discard(reading.channel)
            if not self._waiting:
                yield self._close()

    def tick(self, now: Millis) -> Iterator[Sample]:
        """Samples whose time is over."""
        if self._window is not None:
            yield from self._close_until(-(-(now - self._grace) // self.step))

    def _start(self, window: int) -> None:
        self._window, self._newest = window, 0
        end = window * self.step
        self._waiting = {name for name, column in self._columns.items() if not column.spoken(end)}

    def _close_until(self, window: int) -> Iterator[Sample]:
        assert self._window is not None
        limit = _DAY_MS // self.step
        while self._window < window:
            yield self._close()
            limit -= 1
            if limit <= 0:
                self._start(window)

    def _close(self) -> Sample:
        assert self._window is not None
        end = self._window * self.step
        values: dict[str, float] = {}
        reasons: dict[str, str] = {}
        suspect: list[str] = []
        for name, column in self._columns.items():
            value = column.take(end)
            if value is not None:
                values[name] = value
                if column.suspect:
                    suspect.append(name)
                    reasons[name] = column.suspect
            else:
                reasons[name] = column.reason or "silent"
            column.suspect = column.reason = ""
        sample = Sample(self._newest or end, values, frozenset(suspect), reasons)
        self._start(self._window + 1)
        return sample
