"""Robust residuals of all channels of the water: what several detectors begin with. Causal, fixed memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from detectors._channels import finest, judged
from detectors._robust import Track

_SPREAD_S = 3 * 86400.0
_KNOWN_S = 30 * 60.0
_KNOWN_STEPS = 8
_FARTHEST = 1e6


class Residuals:
    """A `Track` for each channel, made when the channel first speaks.

    Args:
        step_s: seconds between samples.
        resolution: smallest step of each channel's instrument; channels not named get 1e-3 of their first value.
        roles: channels named "operation" are passed over.
        level_s: memory of a channel's level, seconds; eight steps at least.
    """

    def __init__(
        self, step_s: float, resolution: Mapping[str, float] | None, roles: Mapping[str, str] | None, level_s: float
    ) -> None:
        if not (level_s > 0 and step_s > 0):
            raise ValueError("level_s and step_s have to be more than 0")
        self._step, self._level_s = step_s, max(level_s, _KNOWN_STEPS * step_s)
        self._resolution, self._roles = resolution, roles
        self._known_s = max(_KNOWN_S, _KNOWN_STEPS * step_s)
        self._tracks: dict[str, Track] = {}

    def of(self, x: Mapping[str, float]) -> Iterator[tuple[str, float, float]]:
        """Channel, residual in spreads and expected value, of those that are there and known, by name."""
        for name in sorted(x):
            track = self._tracks.get(name)
            if track is not None and track.seen_s >= self._known_s:
                z = track.residual(x[name])
                yield name, min(_FARTHEST, max(-_FARTHEST, z)), track.level

    def learn(self, x: Mapping[str, float]) -> None:
        """Take the sample into every channel's level and spread."""
        for name, value in x.items():
            if name not in self._tracks:
                if not judged(name, self._roles):
                    continue
                floor = finest(name, value, self._resolution)
                self._tracks[name] = Track(self._step, self._level_s, _SPREAD_S, floor)
            self._tracks[name].learn(value)
        for name, track in self._tracks.items():
            if name not in x:
                track.miss()
