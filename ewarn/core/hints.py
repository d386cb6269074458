"""What a contamination is consistent with, from the signs of the changes. Never a diagnosis; unknown is an answer.

Each pattern says which parameters rise (+1) and fall (-1). It gains a point for every channel that moved as it says,
loses one for every channel that moved otherwise, and half a point for every one that it expects, that is measured, and
that stayed. A parameter whose probes contradict each other says nothing. Directions after mass balance of the
substances (EPA/600/R-09/076 gives the same for treated water).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ewarn.contracts import Evidence
from ewarn.parameters import parameter_of

UNKNOWN = "unknown"
NATURAL = frozenset({"storm", "bloom", "release"})
"""Patterns that are no contamination."""

_RIVER: Mapping[str, Mapping[str, int]] = {
    "sewage": {"ammonium_n": 1, "spcond": 1, "do": -1, "orp": -1, "uv254": 1, "turbidity": 1, "toc": 1, "fdom": 1},
    "petroleum": {"oil_fluor": 1, "uv254": 1, "toc": 1},
    "salt": {"spcond": 1, "chloride": 1},
    "acid": {"ph": -1, "spcond": 1, "orp": 1},
    "alkali": {"ph": 1, "spcond": 1},
    "storm": {"turbidity": 1, "spcond": -1, "uv254": 1, "toc": 1, "fdom": 1},
    "bloom": {"chl_a": 1, "phycocyanin": 1, "do": 1, "ph": 1},
    "fertiliser": {"nitrate_n": 1, "ammonium_n": 1, "spcond": 1},
    "organic": {"uv254": 1, "toc": 1, "fdom": 1, "do": -1},
    "release": {"water_temp": -1, "do": -1},
}
_TREATED: Mapping[str, Mapping[str, int]] = {
    "sewage": {"cl2_free": -1, "orp": -1, "ammonium_n": 1, "spcond": 1, "turbidity": 1, "toc": 1, "uv254": 1},
    "oxidisable": {"cl2_free": -1, "orp": -1, "toc": 1, "uv254": 1},
    "reductant": {"cl2_free": -1, "orp": -1},
    "salt": {"spcond": 1, "chloride": 1},
    "acid": {"ph": -1, "spcond": 1, "orp": 1},
    "alkali": {"ph": 1, "spcond": 1},
    "petroleum": {"oil_fluor": 1, "uv254": 1, "toc": 1},
}
_ALIASES = {"conductivity": "spcond", "clo2": "cl2_free", "cl2_total": "cl2_free", "turbidity_ntu": "turbidity"}


def hint(moved: Iterable[Evidence], measured: Iterable[str], water: str) -> str:
    """The best pattern's code, or "unknown" where none fits or two fit alike.

    Args:
        moved: channels that moved.
        measured: channels that have a value.
        water: "river" or "treated".
    """
    both: dict[str, set[int]] = {}
    for e in moved:
        both.setdefault(_name(e.channel), set()).add(1 if e.value > e.expected else -1)
    signs = {name: found.pop() for name, found in both.items() if len(found) == 1}
    present = {_name(channel) for channel in measured}
    patterns = _TREATED if water == "treated" else _RIVER
    ranked = sorted(((_points(p, signs, present), code) for code, p in patterns.items()), reverse=True)
    (best, code), (second, _) = ranked[:2]
    return code if best >= 1 and best > second else UNKNOWN


def contaminants(channels: Iterable[str], water: str) -> list[dict[str, int]]:
    """The signs that each known substance gives to those of the channels that it moves, two at least."""
    names = {channel: _name(channel) for channel in channels}
    patterns = _TREATED if water == "treated" else _RIVER
    found = [
        {channel: pattern[name] for channel, name in names.items() if name in pattern}
        for code, pattern in patterns.items()
        if code not in NATURAL
    ]
    return [signs for signs in found if len(signs) >= 2]


def _points(pattern: Mapping[str, int], signs: Mapping[str, int], present: set[str]) -> float:
    agreeing = sum(1 if pattern.get(name) == sign else -1 for name, sign in signs.items())
    return agreeing - 0.5 * len((pattern.keys() & present) - signs.keys())


def _name(channel: str) -> str:
    parameter = parameter_of(channel) or channel
    return _ALIASES.get(parameter, parameter)
