"""A channel's own past as level and spread that outliers can hardly move. Causal, fixed memory.

Exponentially weighted mean and mean square of residuals, each residual clipped at `CLIP` spreads before it is learned
(Huber's psi). A week of history weighs what a week weighs: weights are by time, not by count.
"""

from __future__ import annotations

import math

CLIP = 3.0
_CONSISTENCY = 1.15
_GAP_S = 30 * 60.0


class Track:
    """Level and spread of one channel.

    Args:
        step_s: seconds between samples.
        level_s: memory of the level, seconds.
        spread_s: memory of the spread, seconds.
        floor: least spread, the instrument's resolution in the channel's unit.
    """

    __slots__ = ("_absent", "_alpha", "_beta", "_step", "count", "floor", "level", "square")

    def __init__(self, step_s: float, level_s: float, spread_s: float, floor: float) -> None:
        self._step = step_s
        self._alpha = 1 - math.exp(-step_s / level_s)
        self._beta = 1 - math.exp(-step_s / spread_s)
        self.floor = floor
        self.level = 0.0
        self.square = (2 * floor) ** 2
        self.count = 0
        self._absent = 0.0

    @property
    def seen_s(self) -> float:
        """Seconds of samples learned since the start or the last long gap; none at the end of one."""
        return 0.0 if self._absent > _GAP_S else self.count * self._step

    def residual(self, value: float) -> float:
        """Departure from the level, in spreads."""
        return (value - self.level) / max(math.sqrt(self.square), self.floor)

    def learn(self, value: float) -> None:
        """Take a value; after a gap of half an hour its level is believed at once."""
        if self.count == 0 or self._absent > _GAP_S:
            self.level, self.count, self._absent = value, 1, 0.0
            return
        self._absent = 0.0
        self.count += 1
        bound = CLIP * max(math.sqrt(self.square), self.floor)
        departure = min(bound, max(-bound, value - self.level))
        weight = 1 / self.count
        self.level += max(self._alpha, weight) * departure
        self.square += max(self._beta, weight) * (_CONSISTENCY * departure * departure - self.square)

    def miss(self) -> None:
        """A sample had no value of this channel."""
        self._absent += self._step
