"""Climatology: values that this channel does not have in this season at this hour of the day.

Given in the station file as spans for months and hours (UTC), the last that applies counts, as in `ioos_qc`. Else
learned: for each of four seasons and six parts of the day, centre and mean deviation over the last ten days that
were of it. A value is suspect where it is more than ten deviations off. A part of the day waits for five days; one
that was not seen for more than three days, as after an outage or a year, for two, with twice the deviation.
"""

from __future__ import annotations

import math

from ewarn.config import ChannelSpec
from ewarn.contracts import Millis

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_HOURS = 4
_DAYS = 10
_NEEDED = 5
_AGAIN = 2
_UNSEEN = 3
_WIDTH = 10.0
_CLIP = 4.0


class _Cell:
    """What is usual in one season at one part of the day."""

    __slots__ = ("centre", "count", "day", "days", "spread")

    def __init__(self, value: float, spread: float) -> None:
        self.centre, self.spread = value, spread
        self.count = self.days = 0
        self.day = -1

    def see(self, day: int) -> None:
        """Note that it is this day."""
        if self.days and day - self.day > _UNSEEN:
            self.days = min(self.days, _NEEDED - _AGAIN)
            self.spread *= 2
        self.day, self.days = day, self.days + 1

    def learn(self, value: float, a_day: float, least: float) -> None:
        count = self.count = self.count + 1
        step = 1 / min(count, _DAYS * a_day)
        off, spread = value - self.centre, self.spread
        size = abs(off)
        if count > a_day and size > (widest := _CLIP * spread):
            off, size = math.copysign(widest, off), widest
        self.centre += step * off
        spread += step * (size - spread)
        self.spread = max(least, spread)


class Climatology:
    """One channel's usual values by season and hour.

    Args:
        spec: of the channel.
        learned: whether they are learned where the channel gives none.
    """

    __slots__ = ("_a_day", "_cell", "_cells", "_given", "_hour", "_learned", "_span", "_step")

    def __init__(self, spec: ChannelSpec, *, learned: bool) -> None:
        self._given = spec.climatology or ()
        self._learned = learned and spec.climatology is None
        self._step = spec.resolution
        self._a_day = max(1.0, _HOURS * 3600 / spec.every)
        self._cells: dict[int, _Cell] = {}
        self._cell: _Cell | None = None
        self._span: tuple[float, float] | None = None
        self._hour = -1

    def take(self, time: Millis, value: float) -> bool:
        """Take a value; tell whether it is none of this time of the year and the day."""
        hour = time // _HOUR_MS
        if hour != self._hour:
            self._hour = hour
            self._turn(hour, value)
        span, cell = self._span, self._cell
        if span is not None:
            return not span[0] <= value <= span[1]
        if cell is None:
            return False
        far = cell.days > _NEEDED and abs(value - cell.centre) > _WIDTH * cell.spread + self._step
        cell.learn(value, self._a_day, self._step)
        return far

    def _turn(self, hour: int, value: float) -> None:
        """Another hour begins."""
        day, month = hour // 24, month_of(hour // 24)
        self._span = None
        for given in self._given:
            if _within(month, given.months) and _within(hour % 24, given.hours):
                self._span = given.span
        if self._learned:
            key = (month % 12 // 3) * 6 + hour % 24 // _HOURS
            cell = self._cell = self._cells.setdefault(key, _Cell(value, self._step))
            if cell.day != day:
                cell.see(day)


def _within(number: int, span: tuple[int, int]) -> bool:
    """Both ends count; a span may run over the end of the year or the day.

    >>> _within(1, (11, 2)), _within(3, (11, 2)), _within(11, (11, 2))
    (True, False, True)
    """
    low, high = span
    return low <= number <= high if low <= high else number >= low or number <= high


def month_of(day: int) -> int:
    """The month, 1 to 12, of a day counted from 1970-01-01 (Hinnant, days_from_civil; for any day of any year).

    >>> [month_of(day) for day in (0, 58, 59, 364, -1, 19_782, 19_783)]
    [1, 2, 3, 12, 12, 2, 3]
    """
    in_era = (day + 719_468) % 146_097
    year = (in_era - in_era // 1460 + in_era // 36_524 - in_era // 146_096) // 365
    in_year = in_era - (365 * year + year // 4 - year // 100)
    month = (5 * in_year + 2) // 153 + 3
    return month if month <= 12 else month - 12
