"""What the two detectors of EPA's CANARY share: its window, its units, its rule of outliers, its events.

After McKenna, Hart, Klise et al., EPA/600/R-10/036 (2010), and CANARY-EDS 4.3. The window holds the last accepted
samples: an outlier is not accepted, so the window stands still during an event; when the event times out, the last raw
samples become the window. A channel's values are in units of the window's standard deviation, which is not less than
the instrument's resolution ε (1.05 ε / τ for an outlier threshold τ below 1). What is missing counts as the window's
mean. The score is P(event) of `detectors._bed`.

As CANARY does, they alarm on the count of outliers, in one channel or in many, and so they explain nothing to the
pipeline, which would ask for a second channel. They are told of every sample, of those of an event too. Baselines, to
be compared with; not to be relied on.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from river import base

from detectors._bed import Bed
from detectors._channels import finest, judged

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_EXACT = 1 - 1e-9
"""Two values one resolution apart differ by a hair less in binary."""


@dataclass(frozen=True, slots=True)
class Look:
    """A sample as the detector sees it: its values by channel (NaN where missing), and what stands out."""

    values: Floats
    contributes: Bools
    outlier: bool


class Canary(base.AnomalyDetector):
    """Window, outliers and events; a subclass says how far a sample is from the window.

    Args:
        step_s: seconds between samples, not used: CANARY counts in samples.
        resolution: smallest step ε of each channel's instrument; without it, the channels are those of the first
            sample and ε is 1e-3 of its values.
        roles: channels named "operation" are passed over.
        window: samples in the window, h.
        outlier: residual from which a sample is an outlier, τ, standard deviations.
        bed_window, bed_chance: window n and chance p of the event discriminator.
        threshold: P(event) at which an event begins.
        timeout: samples that an event may last.
    """

    gates_itself: ClassVar[bool] = True

    def __init__(
        self,
        *,
        step_s: float = 60.0,
        resolution: Mapping[str, float] | None = None,
        roles: Mapping[str, str] | None = None,
        window: int = 144,
        outlier: float = 1.5,
        bed_window: int = 12,
        bed_chance: float = 0.5,
        threshold: float = 0.95,
        timeout: int = 24,
    ) -> None:
        if not (window > 1 and outlier > 0):
            raise ValueError("window has to be more than 1, outlier more than 0")
        self.step_s, self.resolution, self.roles, self.window, self.outlier = step_s, resolution, roles, window, outlier
        self.bed_window, self.bed_chance, self.threshold, self.timeout = bed_window, bed_chance, threshold, timeout
        self._bed = Bed(bed_window, bed_chance, threshold, timeout)
        self._names: list[str] = []
        self._cache: tuple[dict[str, float], Look] | None = None
        if resolution:
            self._begin({name: step for name, step in resolution.items() if judged(name, roles)})

    @abc.abstractmethod
    def _distance(self, window: Floats, now: Floats, moved: Bools) -> tuple[float, Bools]:
        """How far the sample is from what the window makes expect, and which channels contribute to that.

        Args:
            window: accepted samples in units of the window, oldest first, (samples, channels).
            now: the sample in the same units.
            moved: channels that are a resolution at least from the sample before.
        """

    def learn_one(self, x: dict[Any, Any]) -> None:
        """Count the sample, and take it into the window unless it is an outlier."""
        if not self._names:
            self._begin({name: finest(name, v, None) for name, v in x.items() if judged(name, self.roles)})
        if not any(name in x for name in self._names):
            return
        look = self._look(x)
        self._cache = None
        _push(self._raw, look.values)
        self._contributed = look.contributes
        if not look.outlier:
            _push(self._accepted, look.values)
            self._count = min(self.window, self._count + 1)
        if self._bed.push(look.outlier):
            self._accepted[:] = self._raw

    def score_one(self, x: dict[Any, Any]) -> float:
        """P(event), 0 to 1; 0 while the window is not full."""
        if self._count < self.window or not any(name in x for name in self._names):
            return 0.0
        return self._bed.score(self._look(x).outlier)

    def _begin(self, resolution: Mapping[str, float]) -> None:
        self._names = sorted(resolution)
        count = len(self._names)
        self._epsilon = np.array([resolution[name] for name in self._names])
        self._least = self._epsilon * (1.0 if self.outlier >= 1 else 1.05 / self.outlier)
        self._accepted, self._raw = np.full((2, self.window, count), np.nan)
        self._contributed = np.zeros(count, dtype=np.bool_)

    _count = 0

    def _look(self, x: dict[Any, Any]) -> Look:
        if self._cache is None or self._cache[0] != x:
            self._cache = dict(x), self._judge(np.array([x.get(name, np.nan) for name in self._names]))
        return self._cache[1]

    def _judge(self, values: Floats) -> Look:
        if self._count < self.window:
            return Look(values, np.zeros(len(values), dtype=np.bool_), outlier=False)
        mean, spread = _mean_and_spread(self._accepted)
        spread = np.maximum(spread, self._least)
        scaled = np.nan_to_num((np.vstack((self._accepted, values)) - mean) / spread)
        moved = np.abs(values - self._raw[-1]) >= self._epsilon * _EXACT
        distance, contributes = self._distance(scaled[:-1], scaled[-1], moved)
        return Look(values, contributes, outlier=distance >= self.outlier)


def _push(window: Floats, values: Floats) -> None:
    window[:-1] = window[1:]
    window[-1] = values


def _mean_and_spread(window: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (n - 1) of each column, of what is not missing; 0 where nothing is there."""
    there = ~np.isnan(window)
    count = there.sum(axis=0)
    mean = np.where(there, window, 0.0).sum(axis=0) / np.maximum(count, 1)
    square = (np.where(there, window - mean, 0.0) ** 2).sum(axis=0)
    return mean, np.sqrt(square / np.maximum(count - 1, 1))
