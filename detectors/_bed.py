"""The binomial event discriminator of EPA's CANARY: many outliers in a window are an event. Causal, fixed memory.

P(event) = F_Bin(k; n, p), the chance that n fair coins of weight p show k heads at most, k being the outliers among the
last n samples (McKenna, Hart, Klise et al., EPA/600/R-10/036, 2010). An event begins at P >= `threshold` and ends at
P <= 0.5, or after `timeout` samples: what lasted so long is a change of the baseline.

>>> bed = Bed(6, 0.5, 0.85, 12)
>>> [round(bed.score(True), 3), *(bed.push(True) or round(bed.score(True), 3) for _ in range(3))]
[0.109, 0.344, 0.656, 0.891]
>>> bed.open, bed.push(True), bed.open
(False, False, True)
"""

from __future__ import annotations

import itertools
import math
from collections import deque

_OVER = 0.5


class Bed:
    """Counts outliers, and says when an event is open.

    Args:
        window: samples over which outliers are counted, n.
        chance: that a sample of normal water is an outlier, p.
        threshold: P(event) at which an event begins.
        timeout: samples that an event may last.
    """

    def __init__(self, window: int, chance: float, threshold: float, timeout: int) -> None:
        if not (window > 0 and timeout > 0 and 0 < chance < 1 and _OVER < threshold < 1):
            raise ValueError(
                "bed_window and timeout have to be more than 0, bed_chance between 0 and 1, threshold between 0.5 and 1"
            )
        terms = (math.comb(window, i) * chance**i * (1 - chance) ** (window - i) for i in range(window + 1))
        self._probability = list(itertools.accumulate(terms))
        self._bits: deque[bool] = deque([False] * window, maxlen=window)
        self._threshold, self._timeout, self._age = threshold, timeout, 0

    @property
    def open(self) -> bool:
        """Whether an event is on."""
        return self._age > 0

    def score(self, outlier: bool) -> float:
        """P(event) if the next sample is such; while an event is on, `threshold` at least."""
        p = self._next(outlier)
        return max(p, self._threshold) if self.open and p > _OVER else p

    def push(self, outlier: bool) -> bool:
        """Count a sample. True where an event has timed out with it; the count then begins anew."""
        p = self._next(outlier)
        self._bits.append(outlier)
        on = p > _OVER if self.open else p >= self._threshold
        self._age = self._age + 1 if on else 0
        if self._age < self._timeout:
            return False
        self._bits.extend([False] * len(self._bits))
        self._age = 0
        return True

    def _next(self, outlier: bool) -> float:
        return self._probability[sum(self._bits) - self._bits[0] + outlier]
