"""CANARY's linear prediction filter (LPCF), with its event discriminator: a baseline to compare with.

Each channel's value is predicted from its own last h values by the linear filter of order h that fits best to them and
to the value itself: biased autocorrelation, normal equations by the recursion of Levinson (J. Math. Phys. 25, 1946) and
Durbin (Rev. Inst. Int. Stat. 28, 1960), one recursion for all channels at once. The largest residual counts, of
channels that moved by a resolution at least since the sample before, or were part of the outlier before.

Window, units, outliers and events: `detectors._canary`. Formulas after CANARY-EDS 4.3 and EPA/600/R-10/036 (2010).

>>> detector = LpcfDetector(resolution={"ph": 0.01}, window=24, bed_window=6, threshold=0.85, timeout=12)
>>> for i in range(100):
...     detector.learn_one({"ph": 8 + 0.01 * (i % 3)})
>>> scores = []
>>> for i in range(8):
...     scores.append(round(detector.score_one({"ph": 9 + 0.4 * (i % 2)}), 2))
...     detector.learn_one({"ph": 9 + 0.4 * (i % 2)})
>>> scores
[0.11, 0.34, 0.66, 0.89, 0.98, 1.0, 1.0, 1.0]
"""

from __future__ import annotations

import numpy as np

from detectors._canary import Bools, Canary, Floats


class LpcfDetector(Canary):
    """Events of samples that no linear prediction from the window explains. Settings: `detectors._canary.Canary`."""

    def _distance(self, window: Floats, now: Floats, moved: Bools) -> tuple[float, Bools]:
        counted = moved | self._contributed
        residuals = np.zeros(len(now))
        if counted.any():
            track = np.vstack((window[:, counted], now[counted]))
            filters = predictors(track)
            residuals[counted] = np.abs((filters * track[::-1]).sum(axis=0))
        return float(residuals.max()), np.asarray(residuals >= self.outlier)


def predictors(track: Floats) -> Floats:
    """Filters of order len(track) - 1 by column, 1 first: the prediction is minus the sum of the rest times the past.

    Args:
        track: values, oldest first, (values, channels). A column without any power gets a filter that predicts 0.
    """
    count = len(track)
    spectrum = np.fft.rfft(track, 2 ** int(np.ceil(np.log2(2 * count - 1))), axis=0)
    lags = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[:count] / count
    filters = np.zeros_like(track)
    filters[0] = 1.0
    error = lags[0].copy()
    for order in range(1, count):
        left = (filters[:order] * lags[order:0:-1]).sum(axis=0)
        reflection = np.where(error > 1e-12 * lags[0], -left / np.where(error > 0, error, 1.0), 0.0)
        filters[1 : order + 1] += reflection * filters[order - 1 :: -1][:order]
        error *= 1 - reflection**2
    return filters
