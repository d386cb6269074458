"""Contaminations laid over a recorded water: the measured values, changed as the chemistry of each substance says.

The method of the US EPA's Event Detection System Challenge (EPA 817-R-13-002), with the simulators' chemistry. What is
written is rounded to each channel's resolution, changed or not, so that the rounding tells nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ewarn.config import Station
from simulators.contamination import SUBSTANCES, Contamination, Scene
from simulators.water import Kind

Floats = NDArray[np.float64]

STRENGTHS = (0.25, 0.5, 1.0, 2.0)
"""Times each substance's usual peak."""
BURN_S = 14 * 86400.0
"""Seconds at the begin of a record in which nothing happens, so that detection knows the water."""
_SHORTEST_S, _LONGEST_S = 2 * 3600.0, 12 * 3600.0
_REACH_S = 6 * 3600.0
_SEEN = 3.0
_STAND_INS = {"spcond": "conductivity", "conductivity": "spcond", "turbidity": "turbidity_ntu"}
_USUAL = {"cl2_free": 0.5, "spcond": 800.0}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record as water: parameters by name; one that it lacks is stood in for, since others may depend on it."""

    kind: Kind
    times: Floats
    columns: Mapping[str, Floats]

    def values(self, parameter: str, times: Floats) -> Floats:
        """A parameter at each instant of the record (`times` has to be the record's own)."""
        found = self.columns.get(parameter, self.columns.get(_STAND_INS.get(parameter, "")))
        return np.full_like(times, _USUAL.get(parameter, 1.0)) if found is None else found


@dataclass(frozen=True, slots=True)
class Superimposed:
    """A record with contaminations.

    Attributes:
        columns: values by channel, NaN where missing.
        event: rows in which a substance is at a tenth of its peak or more.
        strength: of the contamination in these rows, 0 elsewhere.
    """

    columns: dict[str, Floats]
    event: NDArray[np.bool_]
    strength: Floats


def superimpose(
    station: Station, times: Floats, columns: Mapping[str, Floats], seed: int, *, every_days: float = 2.0
) -> Superimposed:
    """Lay contaminations of all substances over a record.

    Args:
        station: whose channels these are.
        times: of the rows, seconds since 1970 UTC.
        columns: values by channel; those of role "operation" stay as they are.
        seed: of kinds, strengths, durations and times.
        every_days: mean days from one contamination to the next.
    """
    judged = {n: station.channels[n].parameter for n in columns if station.channels[n].role == "quality"}
    kind: Kind = "treated" if station.water == "treated" else "river"
    events = _draw(np.random.default_rng(seed), times, every_days, _seen(set(judged.values()), kind))
    changed = {name: values.copy() for name, values in columns.items()}
    event, strength = np.zeros(len(times), dtype=bool), np.zeros(len(times))
    for name, parameter in judged.items():
        water = Recorded(kind, times, {**_by_parameter(judged, columns), parameter: columns[name]})
        changed[name] = Scene(water, tuple(events)).values(parameter, times)
    for one in events:
        here = one.concentration(times) >= 0.1 * one.strength * SUBSTANCES[one.kind].peak
        event |= here
        strength[here] = one.strength
    for name, values in changed.items():
        resolution = station.channels[name].resolution
        changed[name] = np.round(values / resolution) * resolution
    return Superimposed(changed, event, strength)


def _by_parameter(judged: Mapping[str, str], columns: Mapping[str, Floats]) -> dict[str, Floats]:
    return {parameter: columns[name] for name, parameter in reversed(list(judged.items()))}


def _seen(parameters: set[str], kind: Kind) -> list[str]:
    """Substances that move a parameter which is measured; of the others no detector could know."""
    moved = {
        name: set(s.adds)
        | ({"ph"} if s.acid else set())
        | ({"do"} if s.oxygen else set())
        | ({"orp"} if abs(s.reduces) > _SEEN else set())
        | ({"cl2_free", "cl2_total", "clo2"} if s.chlorine and kind == "treated" else set())
        | ({"conductivity"} if "spcond" in s.adds else set())
        for name, s in SUBSTANCES.items()
    }
    return [name for name, what in moved.items() if what & parameters]


def _draw(rng: np.random.Generator, times: Floats, every_days: float, kinds: list[str]) -> list[Contamination]:
    events: list[Contamination] = []
    onset = times[0] + BURN_S
    while kinds:
        onset += every_days * 86400 * rng.uniform(0.5, 1.5)
        duration = float(np.exp(rng.uniform(np.log(_SHORTEST_S), np.log(_LONGEST_S))))
        if onset + duration + _REACH_S > times[-1]:
            break
        kind, strength = kinds[rng.integers(len(kinds))], STRENGTHS[rng.integers(len(STRENGTHS))]
        events.append(Contamination(kind, float(onset), duration, strength))
        onset += duration
    return events
