"""Water without contamination: a river, or what a plant makes of it. Pure: any parameter at any instant.

Levels and cycles are those of a large river in a dry land (specific conductance about 1000 µS/cm, pH about 8), with the
sun behind oxygen and pH together, slow weather, a storm now and then (turbidity up, conductance down), and a wander at
several scales. Oxygen saturation after Benson and Krause (Limnol. Oceanogr. 25, 1980), fresh water at one atmosphere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np

from simulators.chance import Floats, key, uniform, wander

HOUR, DAY = 3600.0, 86400.0
_SOLAR_OFFSET = -6.6 * HOUR
_STORM_EVERY = 6 * DAY
_STORM_CHANCE = 0.3
_TEMPERATURE_COEFFICIENT = 0.0191
Kind = Literal["river", "treated"]


def saturation(temperature: Floats) -> Floats:
    """Dissolved oxygen at saturation, mg/L, by temperature in °C.

    >>> [round(float(x), 2) for x in saturation(np.array([0.0, 20.0, 30.0]))]
    [14.62, 9.09, 7.56]
    """
    kelvin = temperature + 273.15
    terms = (-139.34411, 1.575701e5, -6.642308e7, 1.2438e10, -8.621949e11)
    return np.asarray(np.exp(sum(c / kelvin**i for i, c in enumerate(terms))))


class AnyWater(Protocol):
    """Water that has parameters at instants: made up, or recorded."""

    @property
    def kind(self) -> Kind:
        """River or treated."""

    def values(self, parameter: str, times: Floats) -> Floats:
        """A parameter at each instant (seconds since 1970 UTC), in its unit."""


class Water:
    """One body of water.

    Args:
        seed: of everything random in it.
        kind: "river", or "treated" with free chlorine.
    """

    def __init__(self, seed: int, kind: Kind = "river") -> None:
        self.seed = seed
        self.kind: Kind = kind
        self._parameters: dict[str, Callable[[Floats], Floats]] = {
            "water_temp": self._temperature,
            "ph": lambda t: 7.95 + 0.12 * self._light(t) + 0.03 * self._slow("ph", t, 9 * HOUR),
            "spcond": self._spcond,
            "conductivity": lambda t: self._spcond(t) * (1 + _TEMPERATURE_COEFFICIENT * (self._temperature(t) - 25)),
            "do": self._oxygen,
            "do_sat": lambda t: 100 * self._oxygen(t) / saturation(self._temperature(t)),
            "turbidity": self._turbidity,
            "turbidity_ntu": self._turbidity,
            "orp": lambda t: (690.0 if kind == "treated" else 290.0) + 6 * self._slow("orp", t, 8 * HOUR),
            "cl2_free": lambda t: (0.8 if kind == "treated" else 0.0) * (1 + 0.03 * self._slow("cl2", t, 5 * HOUR)),
            "cl2_total": lambda t: (0.9 if kind == "treated" else 0.0) * (1 + 0.03 * self._slow("cl2", t, 5 * HOUR)),
            "clo2": lambda t: (0.15 if kind == "treated" else 0.0) * (1 + 0.03 * self._slow("clo2", t, 5 * HOUR)),
            "uv254": lambda t: self._organic(t) * (0.03 if kind == "treated" else 0.12),
            "toc": lambda t: self._organic(t) * (1.5 if kind == "treated" else 4.5),
            "fdom": lambda t: self._organic(t) * (5.0 if kind == "treated" else 25.0),
            "ammonium_n": lambda t: 0.10 * (1 + 0.12 * self._slow("ammonium", t, 10 * HOUR)),
            "nitrate_n": lambda t: 1.8 * (1 + 0.04 * self._slow("nitrate", t, 14 * HOUR)),
            "chloride": lambda t: 0.12 * self._spcond(t),
            "tds": lambda t: 0.64 * self._spcond(t),
            "salinity": lambda t: 0.0005 * self._spcond(t),
            "chl_a": lambda t: 8 * np.exp(0.2 * self._slow("chl", t, 12 * HOUR)) * (1 - 0.2 * self._sun(t)),
            "phycocyanin": lambda t: 0.8 * np.exp(0.2 * self._slow("pc", t, 12 * HOUR)),
            "oil_fluor": lambda t: 1.0 + 0.1 * self._slow("oil", t, 12 * HOUR),
            "water_level": lambda t: 2.1 + 0.05 * self._slow("level", t, DAY) + 0.8 * self.storm(t),
            "discharge": lambda t: 45 + 3 * self._slow("level", t, DAY) + 60 * self.storm(t),
            "flow": lambda t: 1200 + 60 * np.sign(np.sin(2 * np.pi * t / (8 * HOUR))),
            "pressure": lambda t: 420 + 5 * self._slow("pressure", t, HOUR),
            "batt_v": lambda t: 12.6 + 0.6 * self._sun(t),
        }

    @property
    def parameters(self) -> tuple[str, ...]:
        """Ids of the parameters it has."""
        return tuple(self._parameters)

    def values(self, parameter: str, times: Floats) -> Floats:
        """A parameter at each instant.

        Args:
            parameter: id. Raises KeyError for one that it does not have.
            times: seconds since 1970 UTC.

        Returns:
            Values in the parameter's unit, of the shape of `times`.
        """
        instants = np.asarray(times, dtype=np.float64)
        # Always as an array: numpy's arithmetic of single numbers differs from it in the last bits.
        found = self._parameters[parameter](instants.reshape(-1))
        return np.asarray(found, dtype=np.float64).reshape(instants.shape)

    def storm(self, t: Floats) -> Floats:
        """Storm water in the river, 0 to about 1: rises in hours, recedes in a day."""
        turn = np.floor(t / _STORM_EVERY).astype(np.int64)
        total = np.zeros_like(t)
        for earlier in (0, 1):
            stream = key(self.seed, "storm")
            happens = uniform(stream, 3 * (turn - earlier)) < _STORM_CHANCE
            begins = (turn - earlier + uniform(stream, 3 * (turn - earlier) + 1)) * _STORM_EVERY
            size = 0.3 + 0.7 * uniform(stream, 3 * (turn - earlier) + 2)
            s = np.maximum(0.0, (t - begins) / (5 * HOUR))
            total += np.where(happens, size * s * s * np.exp(2 - 2 * s), 0.0)
        return total

    def _slow(self, name: str, t: Floats, period: float) -> Floats:
        """Wander with finer wander on it."""
        coarse = wander(key(self.seed, name, "coarse"), t, period)
        return coarse + 0.25 * wander(key(self.seed, name, "fine"), t, period / 5)

    def _sun(self, t: Floats) -> Floats:
        hour = ((t + _SOLAR_OFFSET) % DAY) / HOUR
        cloud = 0.75 + 0.25 * np.tanh(self._slow("cloud", t, 7 * HOUR))
        return np.asarray(np.maximum(0.0, np.sin(np.pi * (hour - 6) / 12)) * cloud)

    def _light(self, t: Floats) -> Floats:
        """What plants have made of the sun: it lags by some three hours, day and night."""
        hour = ((t + _SOLAR_OFFSET) % DAY) / HOUR
        cloud = 0.85 + 0.15 * np.tanh(self._slow("cloud", t, 7 * HOUR))
        return np.asarray(np.sin(2 * np.pi * (hour - 9) / 24) * cloud)

    def _temperature(self, t: Floats) -> Floats:
        hour = ((t + _SOLAR_OFFSET) % DAY) / HOUR
        season = 8 * np.cos(2 * np.pi * (t / (365.25 * DAY) - 0.55))
        return np.asarray(
            21 + season + 0.9 * np.sin(2 * np.pi * (hour - 10) / 24) + 0.4 * self._slow("temp", t, 2 * DAY)
        )

    def _spcond(self, t: Floats) -> Floats:
        base = 340.0 if self.kind == "treated" else 980.0
        return base * (1 + 0.02 * self._slow("spcond", t, DAY) - 0.3 * self.storm(t))

    def _oxygen(self, t: Floats) -> Floats:
        share = 0.93 + 0.08 * self._light(t) + 0.015 * self._slow("oxygen", t, 9 * HOUR)
        return saturation(self._temperature(t)) * share

    def _turbidity(self, t: Floats) -> Floats:
        if self.kind == "treated":
            return np.asarray(0.08 * np.exp(0.1 * self._slow("turbidity", t, 6 * HOUR)))
        return np.asarray(22 * np.exp(0.15 * self._slow("turbidity", t, 12 * HOUR)) + 300 * self.storm(t))

    def _organic(self, t: Floats) -> Floats:
        return np.asarray(1 + 0.05 * self._slow("organic", t, 12 * HOUR) + 0.8 * self.storm(t))
