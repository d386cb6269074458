"""Channels of unequal cadence become samples at a steady step.

Window k is ((k - 1) step, k step]. It closes at once when every channel has said what it will say in it (its newest
reading is less than `every` before the window's end, or after it; a missing one counts), else a grace after its end:
a channel that comes a little later than its neighbours is waited for, and what they say meanwhile is kept for the next
window. A channel's value is the median of its usable values in the window. A channel slower than the step keeps its
last value for one and a half times its interval, whatever fails meanwhile; a value of it that comes for a closed window
counts from the next one on. All else that comes for a closed window is too late for detection. A window without
readings gives an empty sample, at most a day's worth of them in a row: then time jumps.
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
    """One channel's readings that are in no sample yet, and the one that it holds."""

    __slots__ = ("every", "held", "hold", "last", "waiting")

    def __init__(self, spec: ChannelSpec, step: int) -> None:
        self.every = round(spec.every * 1000)
        self.hold = round(_HOLD * self.every) if self.every > step else 0
        self.last: Millis | None = None
        self.waiting: list[Reading] = []
        self.held: Reading | None = None

    def add(self, reading: Reading, closed: Millis) -> None:
        """Take a reading; the windows up to `closed` are."""
        self.last = reading.time if self.last is None else max(self.last, reading.time)
        if reading.time > closed:
            self.waiting.append(reading)
        elif _usable(reading):
            self._keep(reading)

    def spoken(self, end: Millis) -> bool:
        """Whether nothing more is to be expected before `end`."""
        return self.last is not None and self.last + self.every > end

    def take(self, end: Millis) -> list[Reading]:
        """Readings of the window that ends there, in the order in which they came."""
        taken, self.waiting = self.waiting, []
        if any(r.time > end for r in taken):
            self.waiting = [r for r in taken if r.time > end]
            taken = [r for r in taken if r.time <= end]
        return taken

    def shown(self, usable: list[Reading], end: Millis) -> list[Reading]:
        """What stands for the channel at `end`: the window's usable readings, else the one that it holds."""
        for reading in usable:
            self._keep(reading)
        if usable or not self.hold or self.held is None or end - self.held.time > self.hold:
            return usable
        return [self.held]

    def _keep(self, reading: Reading) -> None:
        if self.hold and (self.held is None or reading.time > self.held.time):
            self.held = reading


class Sampler:
    """Aligns readings into samples.

    Args:
        channels: of the station; composites are none of its business.
        step: seconds between samples.
    """

    def __init__(self, channels: Mapping[str, ChannelSpec], step: float) -> None:
        self.step = round(step * 1000)
        self._grace = min(self.step, round(GRACE_S * 1000))
        measured = {name: spec for name, spec in channels.items() if spec.formula is None}
        self._columns = {name: _Column(spec, self.step) for name, spec in measured.items()}
        self._window: int | None = None
        self._newest: Millis = 0
        self._waiting: set[str] = set()
        self._told: dict[str, Millis] = {}

    def accept(self, reading: Reading) -> Iterator[Sample]:
        """Samples that this reading completes, oldest first."""
        column = self._columns.get(reading.channel)
        if column is None:
            return
        if self._window is None:
            self._start(-(-reading.time // self.step))
        assert self._window is not None
        column.add(reading, (self._window - 1) * self.step)
        self._newest = max(self._newest, reading.time)
        yield from self._close_until(-(-(self._newest - self._grace) // self.step))
        if reading.channel in self._waiting and column.spoken(self._window * self.step):
            self._waiting.discard(reading.channel)
        # Windows that nobody waits for any more, but none before its time.
        while not self._waiting and (self._window - 1) * self.step < self._newest:
            yield self._close()

    def tick(self, now: Millis) -> Iterator[Sample]:
        """Samples whose time is over."""
        if self._window is not None:
            yield from self._close_until(-(-(now - self._grace) // self.step))

    def _start(self, window: int) -> None:
        self._window = window
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
        time = 0
        values: dict[str, float] = {}
        reasons: dict[str, str] = {}
        suspect: list[str] = []
        held: list[str] = []
        for name, column in self._columns.items():
            taken = column.take(end)
            time = max(time, *(r.time for r in taken)) if taken else time
            shown = column.shown([r for r in taken if _usable(r)], end)
            if shown:
                values[name] = _median(shown)
                if shown[-1].time <= self._told.get(name, 0):
                    held.append(name)
                self._told[name] = shown[-1].time
                doubt = next((r.reason for r in reversed(shown) if r.quality is Quality.SUSPECT), "")
                if doubt:
                    suspect.append(name)
                    reasons[name] = doubt
            else:
                reasons[name] = (taken[-1].reason or str(taken[-1].quality)) if taken else "silent"
        sample = Sample(time or end, values, frozenset(suspect), reasons, frozenset(held))
        self._start(self._window + 1)
        return sample


def _usable(reading: Reading) -> bool:
    return reading.value is not None and reading.quality in USABLE


def _median(readings: list[Reading]) -> float:
    values = [r.value for r in readings if r.value is not None]
    return values[0] if len(values) == 1 else median(values)
