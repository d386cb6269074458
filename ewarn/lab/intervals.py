"""Where a figure lies: intervals that hold 95 %. Pure, and the same figures give the same interval to the bit.

Wilson's for shares (J. Am. Stat. Assoc. 22, 1927), Byar's for counts (Breslow and Day 1987), and the block bootstrap
(Künsch, Ann. Stat. 17, 1989) for what has to be computed anew: weeks are drawn with replacement, since the alarms of a
storm or of a failing instrument come together, but seldom last longer than a week.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]

_Z = 1.96
_DRAWS, _SEED = 200, 1


def wilson(hits: int, trials: int) -> Interval:
    """Interval of a share.

    >>> [round(x, 3) for x in wilson(8, 10)]
    [0.49, 0.943]
    """
    if not trials:
        return 0.0, 1.0
    share, z = hits / trials, _Z * _Z / trials
    middle, half = share + z / 2, _Z * math.sqrt(share * (1 - share) / trials + z / (4 * trials))
    return max(0.0, (middle - half) / (1 + z)), min(1.0, (middle + half) / (1 + z))


def byar(count: int) -> Interval:
    """Interval of a count of rare events.

    >>> [round(x, 2) for x in byar(4)]
    [1.08, 10.24]
    """
    low = count * (1 - 1 / (9 * count) - _Z / (3 * math.sqrt(count))) ** 3 if count else 0.0
    more = count + 1
    return low, more * (1 - 1 / (9 * more) + _Z / (3 * math.sqrt(more))) ** 3


def resampled(weeks: int) -> Floats:
    """How often each week is drawn: one row a draw of as many weeks as there are.

    >>> resampled(4).shape, set(resampled(4).sum(axis=1).tolist())
    ((200, 4), {4.0})
    """
    return np.random.default_rng(_SEED).multinomial(weeks, np.full(weeks, 1 / weeks), size=_DRAWS).astype(np.float64)


def spread(figures: Floats) -> Interval:
    """From what 2.5 % of the draws stay below to what 2.5 % of them exceed."""
    low, high = np.quantile(figures, (0.025, 0.975))
    return float(low), float(high)


def rate(counts: Floats, exposures: Floats) -> Interval:
    """Interval of a rate, from counts and exposures week by week: the wider of Byar's and the bootstrap's.

    Byar's knows that few events say little, and the bootstrap that they come in swarms.

    >>> [round(x, 2) for x in rate(np.array([0.0, 0.0]), np.array([1.0, 1.0]))]
    [0.0, 1.83]
    """
    total = float(exposures.sum())
    if not total:
        return 0.0, math.inf
    low, high = (x / total for x in byar(int(counts.sum())))
    weights = resampled(len(counts))
    drawn = weights @ exposures
    least, most = spread((weights @ counts)[drawn > 0] / drawn[drawn > 0])
    return min(low, least), max(high, most)
