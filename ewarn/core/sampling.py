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

from collections.abc import Iterable, Iterator, Mapping
from statistics import median

from ewarn.config import ChannelSpec
from ewarn.contracts import USABLE, Millis, Quality, Reading, Sample

GRACE_S = 15.0
_DAY_MS = 86_400_000
_HOLD = 1.5


class _Column:
    """One channel's readings that are in no sample yet, and the one that it holds.

    Attributes:
        spoken: nothing more is to be expected before this time; None before the first reading.
        told: time of the newest reading that is in a sample.
    """

    __slots__ = ("_every", "_held", "_hold", "spoken", "told", "waiting")

    def __init__(self, spec: ChannelSpec, step: int) -> None:
        self._every = round(spec.every * 1000)
        self._hold = round(_HOLD * self._every) if self._every > step else 0
        self.waiting: list[Reading] = []
        self._held: Reading | None = None
        self.spoken: Millis | None = None
        self.told: Millis = 0

    def add(self, reading: Reading, closed: Millis) -> None:
        """Take a reading; the windows up to `closed` are."""
        spoken = reading.time + self._every
        if self.spoken is None or spoken > self.spoken:
            self.spoken = spoken
        if reading.time > closed:
            self.waiting.append(reading)
        elif _usable(reading):
            self._keep(reading)

    def waits(self, end: Millis) -> bool:
        """Whether more is to be expected before `end`."""
        return self.spoken is None or self.spoken <= end

    def take(self, end: Millis) -> list[Reading]:
        """Readings of the window that ends there, in the order in which they came."""
        taken = self.waiting
        if taken:
            self.waiting = [r for r in taken if r.time > end]
        return [r for r in taken if r.time <= end] if self.waiting else taken

    def shown(self, taken: list[Reading], end: Millis) -> list[Reading]:
        """What stands for the channel at `end`: the window's usable readings, else the one that it holds."""
        usable = [r for r in taken if _usable(r)]
        if not self._hold:
            return usable
        for reading in usable:
            self._keep(reading)
        if usable or self._held is None or end - self._held.time > self._hold:
            return usable
        return [self._held]

    def _keep(self, reading: Reading) -> None:
        if self._hold and (self._held is None or reading.time > self._held.time):
            self._held = reading


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

    def accept(self, reading: Reading) -> Iterable[Sample]:
        """Samples that this reading completes, oldest first; to be taken before the next reading is given."""
        column = self._columns.get(reading.channel)
        if column is None:
            return ()
        if self._window is None:
            self._start(-(-reading.time // self.step))
        assert self._window is not None
        end = self._window * self.step
        column.add(reading, end - self.step)
        self._newest = max(self._newest, reading.time)
        if reading.channel in self._waiting and not column.waits(end):
            self._waiting.discard(reading.channel)
        due = end < self._newest - self._grace if self._waiting else end - self.step < self._newest
        return self._close_due() if due else ()

    def tick(self, now: Millis) -> Iterator[Sample]:
        """Samples whose time is over."""
        if self._window is not None:
            yield from self._close_until(-(-(now - self._grace) // self.step))

    def _start(self, window: int) -> None:
        self._window = window
        end = window * self.step
        self._waiting = {name for name, column in self._columns.items() if column.waits(end)}

    def _close_due(self) -> Iterator[Sample]:
        assert self._window is not None
        yield from self._close_until(-(-(self._newest - self._grace) // self.step))
        # Windows that nobody waits for any more, but none before its time.
        while not self._waiting and (self._window - 1) * self.step < self._newest:
            yield self._close()

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
            for reading in taken:
                time = max(time, reading.time)
            shown = column.shown(taken, end)
            if not shown:
                reasons[name] = (taken[-1].reason or str(taken[-1].quality)) if taken else "silent"
                continue
            values[name] = _median(shown)
            if shown[-1].time <= column.told:
                held.append(name)
            column.told = shown[-1].time
            doubts = [r.reason for r in shown if r.quality is Quality.SUSPECT]
            if doubts and doubts[-1]:
                suspect.append(name)
                reasons[name] = doubts[-1]
        sample = Sample(time or end, values, frozenset(suspect), reasons, frozenset(held))
        self._start(self._window + 1)
        return sample


def _usable(reading: Reading) -> bool:
    return reading.value is not None and reading.quality in USABLE


def _median(readings: list[Reading]) -> float:
    if len(readings) == 1 and readings[0].value is not None:
        return readings[0].value
    return median(r.value for r in readings if r.value is not None)
