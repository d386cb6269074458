"""Whether a probability means what it says: what was predicted against how often it came true. Pure.

Events are far more frequent in a challenge than at a station. The steps are therefore weighted: those within events
weigh as much together as the stated prior says, all others the rest. The expected calibration error is the weighted
mean distance between prediction and truth over the bins (Naeini, Cooper and Hauskrecht, AAAI 2015); 0 is perfect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Binning = Literal["width", "count"]
BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Steps of like probability.

    Attributes:
        predicted: their mean probability.
        observed: share of them that lay within an event.
        weight: share of all steps that they are.
        steps: how many they are, unweighted.
    """

    predicted: float
    observed: float
    weight: float
    steps: int


def reliability(
    probability: Floats, event: Bools, prior: float, *, bins: int = BINS, binning: Binning = "width"
) -> tuple[Bin, ...]:
    """What was predicted against what was.

    Args:
        probability: of each step, without NaN.
        event: whether each step lay within an event.
        prior: share of steps within events that the steps are weighted to.
        bins: how many, at most; empty ones are left out.
        binning: bins of equal "width", or of an equal "count" of steps.

    Returns:
        The bins, rising; none where all steps or no steps are within events.

    >>> [b] = reliability(np.array([0.2, 0.2, 0.2]), np.array([True, False, False]), 0.25)
    >>> round(b.predicted, 3), round(b.observed, 3), round(calibration_error([b]), 3)
    (0.2, 0.25, 0.05)
    """
    if not event.any() or event.all():
        return ()
    weight = np.where(event, prior / event.sum(), (1 - prior) / (~event).sum())
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    edges = inner if binning == "width" else np.unique(np.quantile(probability, inner))
    place = np.searchsorted(edges, probability, side="right")
    return tuple(_bin(probability[place == i], event[place == i], weight[place == i]) for i in np.unique(place))


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error, 0 to 1; None where there are no bins."""
    return sum(b.weight * abs(b.predicted - b.observed) for b in bins) if bins else None


def _bin(probability: Floats, event: Bools, weight: Floats) -> Bin:
    total = float(weight.sum())
    return Bin(float(weight @ probability) / total, float(weight[event].sum()) / total, total, len(probability))
