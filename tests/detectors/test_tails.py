"""Histograms that forget, against one kept the plain way."""

import math

import numpy as np
import pytest

from detectors._tails import Tail

FORGET, SHARE, EXPONENT = 0.015, 0.05, 3.0
EDGES = np.geomspace(0.1, 1e6, 161)


def plainly(counts, size):
    """Surprise by the definition, from the counts of all bins."""
    above = counts[::-1].cumsum()[::-1]
    edge = np.flatnonzero(above >= max(3.0, SHARE * above[0])).max()
    place = max(0, np.searchsorted(EDGES, size, side="right") - 1)
    nats = -math.log(above[min(place, edge)] / above[0]) - 1
    if place > edge:
        nats += EXPONENT * math.log(size / math.sqrt(EDGES[edge] * EDGES[edge + 1]))
    return max(nats, 0.0)


def test_surprise_is_that_of_a_histogram_all_of_whose_counts_decay_however_long_it_runs():
    # So long that a weight which only grows would be infinite.
    rng, tail, counts = np.random.default_rng(1), Tail(FORGET, SHARE, EXPONENT), np.zeros(160)
    for i, size in enumerate(rng.lognormal(1, 1.5, 50_000)):
        tail.learn(size)
        counts *= 1 - FORGET
        counts[max(0, np.searchsorted(EDGES, size, side="right") - 1)] += 1
        if i > 100 and i % 97 == 0:
            for asked in (0.0, 0.3, 4.1, 17.0, 140.0, 9e4, 1e9):
                assert tail.surprise(asked) == pytest.approx(plainly(counts, asked), rel=1e-9, abs=1e-9)


def test_nothing_surprises_while_little_is_known():
    tail = Tail(0.001)
    for _ in range(50):
        assert tail.surprise(1e6) == 0
        tail.learn(1.0)
    for _ in range(10):
        tail.learn(1.0)
    assert tail.surprise(1e6) > 20


def test_what_comes_often_surprises_no_more():
    tail = Tail(0.01)
    for _ in range(300):
        tail.learn(1.0)
    new = tail.surprise(100.0)
    for _ in range(300):
        tail.learn(100.0)
    assert new > 10
    assert tail.surprise(100.0) == 0
