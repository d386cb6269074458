"""A false-alarm budget that is kept: how far the threshold has to move so that invalid alerts stay as rare as asked.

What noise does above the threshold is foretold from what it does below it. Peaks of ratios between `_LOW` and one are
too weak for an alert and too many to be events; their weekly number tells how lively the water is. Above, the number
falls off by a factor e with each `_FALL` of ratio (peaks over a threshold, Pickands, Ann. Stat. 3, 1975; the shape
parameter taken as 0). So neither a true event nor a long attack can raise the threshold by its own alerts.

How many of a week's weak peaks go on above one, `_SHARE`, is a guess with a gamma prior. Where operators classify
alerts, the invalid ones correct it (gamma-Poisson); true ones never count.

The level, by which the threshold is multiplied, keeps between `LEAST` and `MOST` whatever happens.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from ewarn.contracts import Millis

LEAST, MOST = 0.9, 1.3
_LOW = 0.6
_SHARE, _FALL = 0.15, 0.2
_WEIGHT = 2.0
_WEEK: Millis = 7 * 86_400_000
_WINDOW = 6 * _WEEK
_BEFORE = 2.0
_FIRST = _WEEK
_EVERY: Millis = 6 * 3_600_000
_APART: Millis = 3_600_000
_LONGEST: Millis = 86_400_000
_ROOM = 2000


@dataclass(slots=True)
class Budget:
    """Follows the ratios and says the level.

    Args:
        a_week: invalid alerts that are bearable.
        on_steps, of_steps: the alarm's on-delay: its ratio is the `on_steps`-th largest of the last `of_steps`.

    Attributes:
        level: what a ratio has to reach for an alert.
    """

    a_week: float
    on_steps: int = 1
    of_steps: int = 1
    level: float = 1.0
    _recent: deque[float] = field(init=False)
    _peak: float = field(init=False, default=0.0)
    _began: Millis = field(init=False, default=0)
    _last: Millis = field(init=False, default=0)
    _start: Millis | None = field(init=False, default=None)
    _updated: Millis = field(init=False, default=0)
    _weak: deque[Millis] = field(init=False)
    _expected: float = field(init=False, default=0.0)
    _alerts: dict[Millis, bool | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._recent = deque(maxlen=self.of_steps)
        self._weak = deque(maxlen=_ROOM)

    def take(self, time: Millis, ratio: float) -> None:
        """Take a step's ratio; 0 where what moved was no event of the water."""
        if self._start is None:
            self._start = self._updated = time
        self._recent.append(ratio)
        strength = sorted(self._recent)[-self.on_steps] if len(self._recent) >= self.on_steps else 0.0
        if self._peak and (time - self._last > _APART or time - self._began > _LONGEST):
            self._close()
        if strength >= _LOW:
            self._began = self._began if self._peak else time
            self._peak, self._last = max(self._peak, strength), time
        if time - self._updated >= _EVERY:
            self._update(time)

    def raised(self, time: Millis) -> None:
        """An alert was raised."""
        self._alerts.setdefault(time, None)

    def classify(self, time: Millis, *, invalid: bool) -> None:
        """An operator has judged the alert of that time."""
        self._alerts[time] = invalid

    @property
    def foretold(self) -> float:
        """Invalid alerts a week that the present level lets expect."""
        return self._rate() * math.exp((1 - self.level) / _FALL)

    def _close(self) -> None:
        if self._peak < 1:
            self._weak.append(self._last)
        self._peak = 0.0

    def _update(self, time: Millis) -> None:
        assert self._start is not None
        while self._weak and time - self._weak[0] > _WINDOW:
            self._weak.popleft()
        self._alerts = {t: judged for t, judged in self._alerts.items() if time - t <= _WINDOW}
        # What is foretold for a time counts against its alerts as long as those are remembered.
        elapsed, seen = time - self._updated, min(time - self._start, _WINDOW)
        self._expected *= 1 - min(1.0, elapsed / _WINDOW) if seen == _WINDOW else 1.0
        self._expected += self._weekly() * math.exp((1 - self.level) / _FALL) * elapsed / _WEEK
        self._updated = time
        if seen >= _FIRST:
            wanted = 1 + _FALL * math.log(max(self._rate(), 1e-9) / self.a_week)
            self.level = min(max(wanted, LEAST), MOST)

    def _weekly(self) -> float:
        """Weak peaks a week; some weeks' worth of what the budget allows is believed before."""
        assert self._start is not None
        weeks = min(self._updated - self._start, _WINDOW) / _WEEK
        return (len(self._weak) + _BEFORE * self.a_week / _SHARE) / (weeks + _BEFORE)

    def _rate(self) -> float:
        """Invalid alerts a week at level one."""
        if self._start is None:
            return self.a_week
        judged = [invalid for invalid in self._alerts.values() if invalid is not None]
        share_judged = len(judged) / max(1, len(self._alerts))
        share = (_WEIGHT + sum(judged)) / (_WEIGHT / _SHARE + share_judged * self._expected)
        return self._weekly() * share
