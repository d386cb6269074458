"""From a score to a probability that means what it says.

A detector's score over its threshold is its ratio. How often the water really is abnormal at a ratio was counted on
contaminations laid over recorded rivers and plants, weighed as if abnormal steps were one in a hundred; `ewarn
challenge` prints the reliability on any record. Between the knots log-odds run straight over the logarithm of the
ratio, beyond them on with the last slope, so that the probability rises strictly. Another prior shifts the log-odds
(Bayes' rule).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise

_PRIOR = 0.01
_KNOTS = ((0.1, 0.006), (0.3, 0.012), (0.5, 0.03), (0.7, 0.07), (1.0, 0.16), (1.3, 0.27), (2.0, 0.45))
"""Ratio, and share of abnormal steps there."""
_LEAST, _MOST = 1e-50, 1e50
_AT = tuple(math.log(ratio) for ratio, _ in _KNOTS)
_ODDS = tuple(math.log(share / (1 - share)) for _, share in _KNOTS)
_SLOPES = tuple((b - a) / (y - x) for (x, y), (a, b) in zip(pairwise(_AT), pairwise(_ODDS), strict=True))


def probability(ratio: float, prior: float) -> float:
    """Probability that the water is abnormal at this step.

    Args:
        ratio: score over threshold, 0 or more.
        prior: share of all time in which the water is abnormal, as far as known before.

    >>> round(probability(1.0, 0.01), 2)
    0.16
    >>> probability(1.0, 0.001) < probability(1.0, 0.01) < probability(1.1, 0.01)
    True
    """
    x = math.log(min(max(ratio, _LEAST), _MOST))
    k = min(max(bisect_right(_AT, x) - 1, 0), len(_SLOPES) - 1)
    odds = _ODDS[k] + _SLOPES[k] * (x - _AT[k]) + _logit(prior) - _logit(_PRIOR)
    return 1 / (1 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1 + math.exp(odds))


def _logit(p: float) -> float:
    return math.log(p / (1 - p))
