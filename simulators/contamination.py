"""Substances that reach the intake, by composition and reaction, as they pass. Pure.

A substance is what one mg/L of it does: coefficients of conservative parameters (carbon fraction, ionic conductance
from limiting conductivities, nitrogen), acid or base in meq, demand for chlorine and for oxygen, absorbance. Sewage
and the like are end members that mix. pH comes from the alkalinity balance of the carbonate system (pK1 6.35 at 25 °C).
Coefficients are computed from molar masses; conductances at infinite dilution are taken times 0.93 (some 500 µS/cm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from simulators.chance import Floats
from simulators.water import AnyWater

_PK1 = 6.35
_ALKALINITY_MEQ = {"river": 2.6, "treated": 1.6}
_DILUTION = 0.93
_LAST_SHARE = 0.1
_CHLORINE_MV, _CHLORINE_K = 370.0, 60.0
_FOLLOWS = {"do_sat": "do", "conductivity": "spcond", "tds": "spcond", "salinity": "spcond"}
"""Parameters that a probe computes from another one."""


@dataclass(frozen=True, slots=True)
class Substance:
    """What one mg/L does, and how much of it a contamination of strength 1 brings.

    Attributes:
        peak: mg/L at the peak, at strength 1.
        adds: change of each conservative parameter per mg/L, in its unit.
        acid: meq of strong acid per mg (negative: base).
        chlorine: mg of free chlorine consumed per mg.
        combines: whether that chlorine stays as combined (ammonia below breakpoint): total chlorine does not fall.
        oxygen: mg of oxygen consumed per mg, by the time it is here.
        reduces: how much it lowers the redox potential of itself, beyond what the lost chlorine does: mV per decade of
            (1 + mg/L).
    """

    peak: float
    adds: Mapping[str, float] = field(default_factory=dict)
    acid: float = 0.0
    chlorine: float = 0.0
    combines: bool = False
    oxygen: float = 0.0
    reduces: float = 0.0


def _salt(conductance: float, **adds: float) -> dict[str, float]:
    return {"spcond": conductance * _DILUTION, **adds}


SUBSTANCES: dict[str, Substance] = {
    # Raw sewage counted as mg/L of its COD (430 mg/L in the sewer): TOC 140, NH4-N 25, turbidity 200, UV 0.45 /cm.
    "sewage": Substance(
        15.0,
        {
            "toc": 0.33,
            "ammonium_n": 0.058,
            "turbidity": 0.47,
            "uv254": 0.00105,
            "fdom": 0.3,
            "spcond": 0.9,
            "chloride": 0.12,
        },
        chlorine=0.6,
        oxygen=0.09,
        reduces=55.0,
        acid=0.002,
    ),
    "fertiliser": Substance(
        20.0, _salt(1.81, ammonium_n=0.175, nitrate_n=0.175), chlorine=1.33, combines=True, reduces=6.0
    ),
    "brine": Substance(120.0, _salt(2.16, chloride=0.607)),
    "acid": Substance(40.0, _salt(1.1), acid=0.0204, reduces=-18.0),
    "caustic": Substance(40.0, _salt(0.9), acid=-0.025, reduces=10.0),
    "diesel": Substance(4.0, {"oil_fluor": 40.0, "uv254": 0.006, "toc": 0.861, "turbidity": 1.5}, reduces=4.0),
    "phenol": Substance(5.0, {"toc": 0.766, "uv254": 0.004}, chlorine=2.26, oxygen=0.1, reduces=25.0),
    "cyanide": Substance(3.0, _salt(2.61, toc=0.245), acid=-0.0102, chlorine=1.45, reduces=140.0),
    "sulfite": Substance(6.0, _salt(1.5), chlorine=0.56, oxygen=0.127, reduces=90.0),
}
"""By the name that a scenario gives. NaCN is 0.531 CN, which takes 2.73 mg Cl2 a mg; Na2SO3 is 0.635 SO3, 0.89 mg."""


def pulse(seconds: Floats, duration: float) -> Floats:
    """Share of the peak at `seconds` after the onset: a fast rise and a long tail, as dispersion in a river makes it.

    Peaks at a twelfth of the duration; is nothing before the onset and fades in the last tenth of the duration.
    """
    s = np.maximum(0.0, seconds) / (duration / 12)
    fade = np.clip((duration - seconds) / (_LAST_SHARE * duration), 0.0, 1.0)
    shape = np.where(s < 1, s * np.exp(1 - s), (1 + (s - 1) / 6) * np.exp(-(s - 1) / 6))
    return np.asarray(shape * fade)


@dataclass(frozen=True, slots=True)
class Contamination:
    """One substance passing.

    Attributes:
        kind: name of the substance.
        onset: seconds since 1970 UTC.
        duration: seconds from the first trace to the last.
        strength: times the substance's usual peak.
    """

    kind: str
    onset: float
    duration: float
    strength: float = 1.0

    def concentration(self, times: Floats) -> Floats:
        """mg/L at each instant."""
        return self.strength * SUBSTANCES[self.kind].peak * pulse(times - self.onset, self.duration)


@dataclass(frozen=True, slots=True)
class Scene:
    """A water with contaminations laid over it."""

    water: AnyWater
    contaminations: tuple[Contamination, ...] = ()

    def values(self, parameter: str, times: Floats) -> Floats:
        """A parameter at each instant (seconds since 1970 UTC), in its unit."""
        clean = self.water.values(parameter, times)
        present = self._present(times)
        if not present:
            return clean
        if parameter == "ph":
            return acidified(clean, sum_of(present, "acid"), _ALKALINITY_MEQ[self.water.kind])
        if parameter == "cl2_free":
            return np.maximum(0.0, clean - sum_of(present, "chlorine"))
        if parameter in ("cl2_total", "clo2"):
            return np.maximum(0.0, clean - sum_of([p for p in present if not p[0].combines], "chlorine"))
        if parameter == "orp":
            lowered = sum((s.reduces * np.log10(1 + c) for s, c in present), np.zeros_like(clean))
            return clean - lowered - self._potential_of_lost_chlorine(times)
        if parameter == "do":
            return np.maximum(0.0, clean - sum_of(present, "oxygen"))
        if parameter in _FOLLOWS:
            leader = _FOLLOWS[parameter]
            return clean * _ratio(self.values(leader, times), self.water.values(leader, times))
        name = "turbidity" if parameter == "turbidity_ntu" else parameter
        return clean + sum((s.adds.get(name, 0.0) * c for s, c in present), np.zeros_like(clean))

    def _present(self, times: Floats) -> list[tuple[Substance, Floats]]:
        """Each substance with its concentration; what passes twice at a time adds up."""
        found: dict[str, Floats] = {}
        for c in self.contaminations:
            found[c.kind] = found.get(c.kind, np.zeros_like(times)) + c.concentration(times)
        return [(SUBSTANCES[kind], concentration) for kind, concentration in found.items()]

    def _potential_of_lost_chlorine(self, times: Floats) -> Floats:
        """How far the redox potential falls (mV) with the free chlorine: by half at about 0.1 mg/L, logarithmic."""
        if self.water.kind != "treated":
            return np.zeros_like(times)
        left, clean = self.values("cl2_free", times), self.water.values("cl2_free", times)
        return np.asarray(_CHLORINE_MV * (1 - _ratio(np.log1p(_CHLORINE_K * left), np.log1p(_CHLORINE_K * clean))))


def _ratio(now: Floats, clean: Floats) -> Floats:
    """Of what is there to what would be; one where there would be nothing."""
    return np.asarray(np.divide(now, clean, out=np.ones_like(clean), where=clean != 0))


def sum_of(present: list[tuple[Substance, Floats]], what: str) -> Floats:
    """Sum over substances of a coefficient times the concentration."""
    return np.asarray(sum((getattr(s, what) * c for s, c in present), np.zeros(1)))


def acidified(ph: Floats, acid: Floats, alkalinity: float) -> Floats:
    """PH after `acid` meq/L of strong acid (negative: base) went into water of this alkalinity in meq/L.

    Bicarbonate and carbonic acid convert into each other; neither falls below a thousandth of the alkalinity. Without
    acid, PH stays to the last bit.
    """
    carbonic = alkalinity / 10 ** (ph - _PK1)
    least = 1e-3 * alkalinity
    left = np.maximum(alkalinity - acid, least)
    made = np.maximum(carbonic + acid, least)
    return np.asarray(np.where(acid == 0, ph, _PK1 + np.log10(left / made)))
