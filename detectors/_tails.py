"""How rare a deviation is, by the channel's own past: logarithmic histograms that forget. Causal, fixed memory.

A value's surprise is -ln P(|e| >= value) - 1, in nats, from the channel's own histogram of past deviations. Beyond the
largest `share` of them the tail is extrapolated as a power law, so that what was never seen is rarer the larger it is.
One nat is taken off, so that what is usual counts nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BINS = 160
_LOW, _HIGH = np.log(0.1), np.log(1e6)
_WIDTH = (_HIGH - _LOW) / _BINS
_LEAST = 3.0
_KNOWN = 50.0


class Tails:
    """Histograms of deviations in units of the instrument's resolution, one a channel.

    Args:
        channels: their number.
        forget: share that is forgotten with each step.
        share: of the largest deviations, from which on the tail is a power law.
        exponent: of that power law.
    """

    def __init__(self, channels: int, forget: float, share: float = 0.01, exponent: float = 3.0) -> None:
        self._forget, self._share, self._exponent = forget, share, exponent
        self._counts = np.zeros((channels, _BINS))
        self._rows = np.arange(channels)

    def surprise(self, size: Floats) -> Floats:
        """Surprise of each channel's deviation (0 or more), in nats; 0 while little is known."""
        bins = _bins(size)
        above = np.cumsum(self._counts[:, ::-1], axis=1)[:, ::-1]
        total = above[:, 0]
        edge = np.sum(above >= np.maximum(_LEAST, self._share * total)[:, None], axis=1) - 1
        known = (total > _KNOWN) & (edge >= 0)
        edge = np.maximum(edge, 0)
        beyond = bins > edge
        share = np.maximum(above[self._rows, np.where(beyond, edge, bins)], 0.5) / np.maximum(total, 1.0)
        farther = np.log(np.maximum(size, 1e-300)) - (_LOW + (edge + 0.5) * _WIDTH)
        nats = -np.log(np.minimum(share, 1.0)) + np.where(beyond, self._exponent * farther, 0.0) - 1
        return np.asarray(np.where(known, np.maximum(nats, 0.0), 0.0))

    def learn(self, size: Floats, present: Bools) -> None:
        """Count the deviations of the channels that are present."""
        self._counts[present] *= 1 - self._forget
        self._counts[self._rows[present], _bins(size)[present]] += 1


def _bins(size: Floats) -> NDArray[np.int64]:
    place = (np.log(np.maximum(size, 0.101)) - _LOW) / _WIDTH
    return np.asarray(np.clip(place, 0, _BINS - 1).astype(np.int64))
