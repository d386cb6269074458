"""CANARY's multivariate nearest neighbour (MVNN), with its event discriminator: a baseline to compare with.

A sample is as far from normal as from the nearest sample in the window (Euclidean, in units of the window), all
channels together.

Window, units, outliers and events: `detectors._canary`. Formulas after CANARY-EDS 4.3 and EPA/600/R-10/036 (2010).

>>> detector = MvnnDetector(resolution={"ph": 0.01}, window=24, bed_window=6, threshold=0.85, timeout=12)
>>> for i in range(100):
...     detector.learn_one({"ph": 8 + 0.01 * (i % 3)})
>>> scores = []
>>> for _ in range(16):
...     scores.append(round(detector.score_one({"ph": 9.0}), 2))
...     detector.learn_one({"ph": 9.0})
>>> scores[:5], scores[14:]  # after twelve samples in the event it is the new baseline
([0.11, 0.34, 0.66, 0.89, 0.98], [1.0, 0.02])
"""

from __future__ import annotations

import numpy as np

from detectors._canary import Bools, Canary, Floats


class MvnnDetector(Canary):
    """Events of samples that are far from all in the window. Settings: `detectors._canary.Canary`."""

    def _distance(self, window: Floats, now: Floats, moved: Bools) -> tuple[float, Bools]:
        del moved
        apart = now - window
        squares = (apart**2).sum(axis=1)
        nearest = int(np.argmin(squares))
        return float(np.sqrt(squares[nearest])), np.asarray(np.abs(apart[nearest]) >= self.outlier)
