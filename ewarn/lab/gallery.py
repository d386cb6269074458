"""Stretches of a record that show what detectors do: an event they found, one they missed, and a false alarm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ewarn.config import Station
from ewarn.lab.judge import MERGE_S, Bools, Course, Floats, episodes

KINDS = ("found", "missed", "false alarm")
_BEFORE_S, _AFTER_S = 6 * 3600.0, 6 * 3600.0
_LONGEST_S = 24 * 3600.0
_MOST_CHANNELS = 3
_MOST_POINTS = 90


@dataclass(frozen=True, slots=True)
class Scene:
    """A stretch of a record, thinned for drawing.

    Attributes:
        kind: what it shows, one of `KINDS`.
        hours: of each point, 0 where the event or the alarm begins.
        columns: values of the channels that moved most.
        probability, event, alert: at each point.
    """

    kind: str
    hours: Floats
    columns: Mapping[str, Floats]
    probability: Floats
    event: Bools
    alert: Bools


@dataclass(frozen=True, slots=True)
class Shot:
    """A whole record, from which scenes are cut: its course, its channels, and what was said of each row."""

    course: Course
    columns: Mapping[str, Floats]
    probability: Floats
    alert: Bools

    def starts(self) -> dict[str, list[int]]:
        """Rows at which something of each kind begins."""
        outside, judged = self.course.outside(), self.course.judge(self.alert)
        events = [(a, hit) for (a, _), hit in zip(self.course.spans(), judged.found, strict=True)]
        alarms = [a for a, _ in episodes(self.alert, self.course.rows(MERGE_S)) if outside[a]]
        found, missed = ([a for a, hit in events if hit is wanted] for wanted in (True, False))
        return dict(zip(KINDS, (found, missed, alarms), strict=True))

    def scene(self, kind: str, at: int) -> Scene:
        """From some hours before a row to some hours after what begins there, a day at most."""
        step = self.course.step_s
        lasts = _lasts(self.course.event if self.course.event[at] else self.alert, at) * step
        begin = max(0, at - self.course.rows(_BEFORE_S))
        end = min(len(self.alert), at + self.course.rows(min(_LONGEST_S, lasts + _AFTER_S)))
        here = {name: values[begin:end] for name, values in self.columns.items()}
        names = moved(here, max(1, at - begin))[:_MOST_CHANNELS]
        cut = slice(begin, end, -(-(end - begin) // _MOST_POINTS))
        return Scene(
            kind, (np.arange(len(self.alert))[cut] - at) * step / 3600,
            {name: self.columns[name][cut].copy() for name in names},
            self.probability[cut].copy(), self.course.event[cut].copy(), self.alert[cut].copy(),
        )  # fmt: skip


def scenes_of(shot: Shot) -> tuple[Scene, ...]:
    """The scene in the middle of each kind that there is: neither the first nor the best."""
    return tuple(shot.scene(kind, at[len(at) // 2]) for kind, at in shot.starts().items() if at)


def quality(station: Station, columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """The columns that tell of the water's quality."""
    return {name: values for name, values in columns.items() if station.channels[name].role == "quality"}


def moved(columns: Mapping[str, Floats], begin: int) -> list[str]:
    """Channels by how far they left what they were before row `begin`, in their own spread; the widest first."""

    def size(values: Floats) -> float:
        before, now = values[:begin], values[begin:]
        if np.isnan(before).all() or np.isnan(now).all():
            return -1.0
        return float(np.nanmax(np.abs(now - np.nanmedian(before))) / (np.nanstd(before) + 1e-9))

    return sorted(columns, key=lambda name: (-size(columns[name]), name))


def _lasts(flags: Bools, at: int) -> int:
    """Rows for which a flag stays up from row `at`."""
    ends = np.flatnonzero(~flags[at:])
    return int(ends[0]) if len(ends) else len(flags) - at
