"""What a second channel adds."""

import numpy as np
import pytest

from detectors._corroboration import Corroboration

ALL = [True] * 3


def taught(rows, there=ALL):
    corroboration = Corroboration(3, rate=0.01)
    for row in rows:
        corroboration.learn(row, there)
    return corroboration


def test_unlike_channels_add_up():
    signs = np.random.default_rng(1).choice([-1, 1], (2000, 3))
    assert taught(2.0 * signs).of([5.0, 0.0, -3.0]) == pytest.approx(8, abs=0.5)


def test_channels_that_go_together_count_once_unless_they_part():
    rows = [[s, s, 0.0] for s in np.random.default_rng(1).choice([-2.0, 2.0], 2000)]
    assert taught(rows).of([5.0, 3.0, 0.0]) == pytest.approx(5, abs=0.1)
    assert taught(rows).of([-5.0, -3.0, 0.0]) == pytest.approx(5, abs=0.1)
    assert taught(rows).of([5.0, -3.0, 0.0]) == pytest.approx(8)


def test_the_third_channel_adds_nothing():
    assert Corroboration(3, 0.01).of([5.0, 3.0, 2.9]) == Corroboration(3, 0.01).of([5.0, 0.0, 3.0]) == 8


def test_what_is_missing_teaches_nothing():
    rows = [[2.0, 2.0, 2.0]] * 500
    both = taught(rows).of([5.0, 3.0, 0.0])
    for there in ([True, False, True], [False, True, True]):
        assert taught(rows, there).of([5.0, 3.0, 0.0]) == 8 > both


def test_a_channel_alone_is_its_own_evidence():
    assert Corroboration(1, 0.01).of([-4.0]) == 4
