"""Made-up records that anyone can have: the simulators' water as the channels of a station would show it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ewarn.config import Station
from ewarn.lab.judge import Floats
from ewarn.times import to_text
from simulators.contamination import Contamination, Scene
from simulators.water import Kind, Water

_START_S = 1_780_000_200
_NOISE = 1.5
"""Of an instrument, in steps of its resolution."""


def synthetic(
    station: Station, days: float, seed: int, contaminations: Sequence[Contamination] = ()
) -> tuple[NDArray[np.int64], dict[str, Floats]]:
    """Water with contaminations.

    Args:
        station: whose channels are wanted; those that the simulators do not know are left out.
        days: how long.
        seed: of water and noise.
        contaminations: onsets in seconds after the begin.

    Returns:
        Times in milliseconds since 1970 UTC, and values by channel, rounded as the instrument rounds.
    """
    step = float(station.detection.step)
    times: Floats = _START_S + step * np.arange(round(days * 86400 / step), dtype=np.float64)
    kind: Kind = "treated" if station.water == "treated" else "river"
    passing = tuple(Contamination(c.kind, _START_S + c.onset, c.duration, c.strength) for c in contaminations)
    scene, rng = Scene(Water(seed, kind), passing), np.random.default_rng(seed)
    columns = {}
    for name, channel in station.channels.items():
        noise = _NOISE * channel.resolution * rng.normal(size=len(times))
        if channel.parameter in Water(seed, kind).parameters:
            values = scene.values(channel.parameter, times) + noise
            columns[name] = np.maximum(0.0, np.round(values / channel.resolution) * channel.resolution)
    return np.round(times * 1000).astype(np.int64), columns


def write(path: Path, times: NDArray[np.int64], columns: dict[str, Floats]) -> Path:
    """As a record that `ewarn replay` and `ewarn challenge` take."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["time", *columns])
        for time, *values in zip(times.tolist(), *(c.tolist() for c in columns.values()), strict=True):
            out.writerow([to_text(time), *(f"{v:.10g}" for v in values)])
    return path
