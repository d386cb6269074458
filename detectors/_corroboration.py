"""The strongest channel and the second, which counts less as far as the two go together by nature. Causal."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BOUND = 3.5


class Corroboration:
    """Correlation of the channels' past evidence, as deviations of a normal density (e = z²/2).

    Args:
        channels: their number.
        rate: share of a new sample in what is remembered.
    """

    def __init__(self, channels: int, rate: float) -> None:
        self._rate = rate
        self._power = [1e-3] * channels
        # Of each channel with those before it.
        self._product = [[0.0] * i for i in range(channels)]

    def of(self, evidence: Sequence[float]) -> float:
        """Evidence of all channels together, from each one's signed evidence, nats."""
        size = [abs(nats) for nats in evidence]
        if len(size) == 1:
            return size[0]
        second, first = sorted(range(len(size)), key=size.__getitem__)[-2:]
        if size[second] == 0:
            return size[first]
        alike = self._alike(first, second)
        if (evidence[first] > 0) != (evidence[second] > 0):
            alike = -alike
        return size[first] + size[second] * (1 - min(max(alike, 0.0), 1.0))

    def learn(self, evidence: Sequence[float], there: Sequence[bool]) -> None:
        """Take a sample's signed evidence of the channels that are there."""
        present = [i for i, is_there in enumerate(there) if is_there]
        deviations = [math.copysign(min(math.sqrt(2 * abs(nats)), _BOUND), nats) for nats in evidence]
        for place, i in enumerate(present):
            own, row = deviations[i], self._product[i]
            self._power[i] += self._rate * (own * own - self._power[i])
            for j in present[:place]:
                row[j] += self._rate * (own * deviations[j] - row[j])

    def _alike(self, one: int, other: int) -> float:
        product = self._product[max(one, other)][min(one, other)]
        return product / math.sqrt(self._power[one] * self._power[other])
