"""river's half-space trees on robust residuals.

Half-space trees (Tan, Ting and Liu, IJCAI 2011) want values in [0, 1] and find next to nothing in raw water data: its
trend and its outliers own the interval. Here they are given |z|/10 of every channel, z being the robust residual, so
that normal water sits in one corner and stays there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from river import anomaly, base

from detectors._channels import finest, judged
from detectors._robust import Track

_SPREAD_S = 3 * 86400.0
_SCALE = 0.1
_TALLEST = 12
"""Memory doubles with each more: 25 trees of 12 take 46 MB."""


class ResidualTrees(base.AnomalyDetector):
    """Half-space trees on |z|/10, clipped to 1.

    Args:
        step_s: seconds between samples.
        resolution: smallest step of each channel's instrument.
        roles: channels named "operation" are passed over.
        level_s: memory of a channel's level, seconds; eight steps at least.
        n_trees, height, window_size: of the trees.
        seed: of the trees.
        threshold: score from which a sample is abnormal.
    """

    def __init__(
        self,
        *,
        step_s: float = 60.0,
        resolution: Mapping[str, float] | None = None,
        roles: Mapping[str, str] | None = None,
        level_s: float = 3600.0,
        n_trees: int = 25,
        height: int = 8,
        window_size: int = 250,
        seed: int = 1,
        threshold: float = 0.85,
    ) -> None:
        if not (n_trees > 0 and 0 < height <= _TALLEST and window_size > 0 and level_s > 0):
            raise ValueError(f"n_trees, window_size and level_s have to be more than 0, height 1 to {_TALLEST}")
        self.step_s, self.resolution, self.roles, self.level_s = step_s, resolution, roles, level_s
        self.n_trees, self.height, self.window_size, self.seed = n_trees, height, window_size, seed
        self.threshold, self._level_s = threshold, max(level_s, 8 * step_s)
        self._tracks = {n: self._new(floor) for n, floor in sorted((resolution or {}).items()) if judged(n, roles)}
        self._trees: Any = anomaly.HalfSpaceTrees(n_trees=n_trees, height=height, window_size=window_size, seed=seed)

    def learn_one(self, x: dict[Any, Any]) -> None:
        """Teach the trees the residuals, then the channels their levels."""
        if not self._tracks:
            # The trees divide the channels that they meet first; without declared ones, those of the first sample.
            self._tracks = {n: self._new(finest(n, x[n], None)) for n in sorted(x) if judged(n, self.roles)}
        if not self._tracks:
            return
        self._trees.learn_one(self._residuals(x))
        for name, track in self._tracks.items():
            if name in x:
                track.learn(x[name])
            else:
                track.miss()

    def score_one(self, x: dict[Any, Any]) -> float:
        """Score of the trees, 0 to 1."""
        return float(self._trees.score_one(self._residuals(x)))

    def _new(self, floor: float) -> Track:
        return Track(self.step_s, self._level_s, _SPREAD_S, floor)

    def _residuals(self, x: dict[str, float]) -> dict[str, float]:
        """A channel without value or past counts as quiet."""
        return {
            name: min(1.0, abs(track.residual(x[name])) * _SCALE) if track.seen_s and name in x else 0.0
            for name, track in self._tracks.items()
        }
