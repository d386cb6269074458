"""The cause of a change, told apart: a posterior over classes, with its evidence as codes.

Each finding adds its log-odds (nats) to the classes that it speaks for or against; findings count as independent, as in
naive Bayes (Good, Probability and the Weighing of Evidence, 1950). The weights are judgements, stated in `WEIGHTS`, in
steps of about a factor of e; what they lead to is measured by `ewarn challenge`. Where nothing speaks, the answer is
unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ewarn.contracts import Cause, Evidence
from ewarn.core.hints import NATURAL, UNKNOWN, hint
from ewarn.parameters import parameter_of

CLASSES = (Cause.CONTAMINATION, Cause.SENSOR, Cause.NATURAL, Cause.OPERATION, Cause.UNKNOWN)
_BEFORE = {Cause.CONTAMINATION: 0.0, Cause.SENSOR: 0.0, Cause.NATURAL: 0.0, Cause.OPERATION: -1.0, Cause.UNKNOWN: 0.5}

WEIGHTS: Mapping[str, Mapping[Cause, float]] = {
    "one_sensor": {Cause.SENSOR: 2.0, Cause.CONTAMINATION: -1.0, Cause.NATURAL: -1.0},
    "as_water_moves": {Cause.SENSOR: -1.0, Cause.CONTAMINATION: 0.5},
    "several_sensors": {Cause.SENSOR: -2.0, Cause.CONTAMINATION: 1.0, Cause.NATURAL: 0.5, Cause.OPERATION: 0.5},
    "sensor_doubted": {Cause.SENSOR: 2.5, Cause.CONTAMINATION: -1.0},
    "out_of_water": {Cause.SENSOR: 6.0},
    "pattern_contamination": {Cause.CONTAMINATION: 1.5},
    "pattern_storm": {Cause.NATURAL: 2.5},
    "pattern_snowmelt": {Cause.NATURAL: 2.0},
    "pattern_tide": {Cause.NATURAL: 1.5},
    "pattern_bloom": {Cause.NATURAL: 2.0},
    "pattern_daylight": {Cause.NATURAL: 2.0, Cause.CONTAMINATION: -0.5},
    "pattern_release": {Cause.OPERATION: 2.0, Cause.NATURAL: 0.5},
    "operation_moved": {Cause.OPERATION: 1.5},
    "operation_explains": {Cause.OPERATION: 3.0, Cause.CONTAMINATION: -1.0},
    "known_natural": {Cause.NATURAL: 4.0, Cause.CONTAMINATION: -1.0},
    "known_operation": {Cause.OPERATION: 4.0, Cause.CONTAMINATION: -1.0},
    "known_sensor": {Cause.SENSOR: 4.0, Cause.CONTAMINATION: -1.0},
    "strong": {Cause.CONTAMINATION: 1.0, Cause.UNKNOWN: -0.5},
}
"""Log-odds in nats by finding. Codes are what messages render."""

_EXPLAINS = 0.4
_DOMINANT = 0.25
"""Share of the strongest channel's evidence from which on another one counts as moved with it."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known beside the channels that moved.

    Attributes:
        water: "river" or "treated".
        measured: channels that have a value.
        doubts: channels whose sensor seems to fail.
        dry: whether the probe seems to be out of the water.
        moved: operational channels that moved lately.
        explained: share of the evidence that these usually bring here, 0 to 1.
        known: what operators called such a change before at this station, "" where nothing.
    """

    water: str
    measured: frozenset[str]
    doubts: Mapping[str, str]
    dry: bool = False
    moved: frozenset[str] = frozenset()
    explained: float = 0.0
    known: str = ""


def findings(
    evidence: tuple[Evidence, ...], around: Circumstances, *, alone: bool, strong: bool
) -> tuple[str, ...]:
    """Codes of what speaks for or against causes, in a steady order.

    Args:
        evidence: channels that moved, strongest first.
        around: what else is known.
        alone: whether one sensor says so that no other one bears out.
        strong: whether the change is far above what an alert takes.
    """
    told = [e for e in evidence if e.score >= _DOMINANT * evidence[0].score]
    found = []
    if told:
        found.append("one_sensor" if alone else "several_sensors" if len(told) > 1 else "as_water_moves")
    if any(e.channel in around.doubts for e in told):
        found.append("sensor_doubted")
    if around.dry:
        found.append("out_of_water")
    if pattern := _pattern(told, around):
        found.append(f"pattern_{pattern}")
    if around.explained >= _EXPLAINS:
        found.append("operation_explains")
    elif around.moved:
        found.append("operation_moved")
    if f"known_{around.known}" in WEIGHTS:
        found.append(f"known_{around.known}")
    if strong:
        found.append("strong")
    return tuple(found)


def posterior(found: Iterable[str]) -> dict[Cause, float]:
    """Probability of each class, given that something is abnormal; they add up to one.

    >>> told = posterior(["several_sensors", "pattern_storm"])
    >>> max(told, key=told.get).value, posterior([])[Cause.UNKNOWN] > 0.25
    ('natural', True)
    """
    odds = {c: _BEFORE[c] + sum(WEIGHTS[code].get(c, 0.0) for code in found) for c in CLASSES} if found else _BEFORE
    top = max(odds.values())
    weights = {c: math.exp(value - top) for c, value in odds.items()}
    total = sum(weights.values())
    return {c: weight / total for c, weight in weights.items()}


def _pattern(told: Sequence[Evidence], around: Circumstances) -> str:
    """What the signs of the changes look like, "" where like nothing known."""
    code = hint(told, around.measured, around.water)
    if code in NATURAL:
        return code
    if code != UNKNOWN:
        return "contamination"
    signs = {parameter_of(e.channel) or e.channel: 1 if e.value > e.expected else -1 for e in told}
    if around.water != "river":
        return ""
    if set(signs) <= {"do", "do_sat", "ph", "orp"} and signs.get("do", signs.get("do_sat")) == signs.get("ph", 0):
        return "daylight"
    salt = signs.get("spcond", signs.get("conductivity", 0))
    if salt < 0 and signs.get("water_level", signs.get("flow", 0)) > 0:
        return "snowmelt"
    return "tide" if salt and "water_level" in signs else ""
