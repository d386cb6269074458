"""From the water to what a probe shows: lag, noise, resolution, and the sensor's own faults. Pure.

The lag is first order: the reading is the water weighted with an exponential of the past, taken at the five nodes of
Gauss and Laguerre, so that it can be had at any instant without a history.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ewarn.parameters import PARAMETERS
from simulators.chance import Floats, Ints, key, normal, uniform

FaultKind = Literal["stuck", "spike", "drift", "offset", "zero", "noise", "out_of_water"]
_NODES, _WEIGHTS = np.polynomial.laguerre.laggauss(5)
_SPIKE_SHARE = 0.05

# Response time (s) and noise (1 sigma) of usual instruments, in the parameter's unit: absolute, and share of the value.
_RESPONSE = {"water_temp": 15, "ph": 20, "do": 20, "do_sat": 20, "orp": 60, "cl2_free": 60, "ammonium_n": 60,
             "nitrate_n": 60, "toc": 90, "uv254": 5}  # fmt: skip
_NOISE: dict[str, tuple[float, float]] = {
    "water_temp": (0.01, 0), "ph": (0.008, 0), "spcond": (0.3, 0.001), "conductivity": (0.3, 0.001),
    "do": (0.02, 0), "do_sat": (0.2, 0), "turbidity": (0.02, 0.02), "turbidity_ntu": (0.002, 0.02),
    "orp": (1.0, 0), "cl2_free": (0.008, 0), "cl2_total": (0.008, 0), "clo2": (0.002, 0),
    "uv254": (0.0005, 0.002), "toc": (0.02, 0.01), "ammonium_n": (0.006, 0),
    "nitrate_n": (0.02, 0), "fdom": (0.05, 0.005), "chl_a": (0.05, 0.03), "phycocyanin": (0.02, 0.03),
    "oil_fluor": (0.1, 0.02), "water_level": (0.001, 0), "flow": (2, 0.005), "pressure": (1, 0),
}  # fmt: skip
_DRY = {"spcond": 1.0, "conductivity": 1.0, "do_sat": 99.0, "do": 8.2, "turbidity": 0.5, "ph": 7.0, "orp": 200.0,
        "uv254": 0.0, "ammonium_n": 0.0, "nitrate_n": 0.0, "turbidity_ntu": 0.5, "tds": 0.6, "salinity": 0.0,
        "chloride": 0.0, "cl2_free": 0.0, "cl2_total": 0.0, "clo2": 0.0, "toc": 0.0, "fdom": 0.0, "chl_a": 0.0,
        "phycocyanin": 0.0, "oil_fluor": 0.0, "water_level": 0.0}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SensorFault:
    """Something wrong with a sensor, while the water is as it is.

    Attributes:
        kind: stuck (repeats its last value), spike (one sample in twenty is off by `size`), drift (grows to `size` by
            the end), offset (off by `size`), zero, noise (further noise of `size`), out_of_water (hangs in air).
        onset, end: seconds since 1970 UTC.
        size: in the channel's unit.
    """

    kind: FaultKind
    onset: float
    end: float
    size: float = 0.0


@dataclass(frozen=True, slots=True)
class Sensor:
    """One channel of one probe.

    Args:
        parameter: what it measures.
        seed: of its noise.
        name: of the channel, so that two of one parameter differ.
        period: seconds between two samples that it takes.
        water: the parameter at instants (seconds since 1970 UTC).
        faults: of this sensor.
    """

    parameter: str
    seed: int
    name: str
    period: float
    water: Callable[[Floats], Floats]
    faults: tuple[SensorFault, ...] = ()

    def shown(self, index: Ints) -> Floats:
        """What it shows after sample `index` (sample i is taken at i periods since 1970), rounded to its resolution."""
        values = self._with(self.faults, index)
        resolution = PARAMETERS[self.parameter].resolution
        return np.asarray(np.round(np.round(values / resolution) * resolution, 9))

    def _with(self, faults: tuple[SensorFault, ...], index: Ints) -> Floats:
        """What it would show with these faults alone, one laid over the other, before rounding."""
        times: Floats = np.asarray(index * self.period, dtype=np.float64)
        values = self._healthy(index, times)
        for i, fault in enumerate(faults):
            during = (times >= fault.onset) & (times < fault.end)
            if during.any():
                values = np.where(during, self._faulty(fault, faults[:i], index, values), values)
        return values

    def _healthy(self, index: Ints, times: Floats) -> Floats:
        response = _RESPONSE.get(self.parameter, 2)
        past = times[..., None] - response * _NODES
        lagged = (self.water(past.reshape(-1)).reshape(past.shape) * _WEIGHTS).sum(axis=-1)
        absolute, share = _NOISE.get(self.parameter, (0.0, 0.0))
        noise = (absolute + share * np.abs(lagged)) * normal(key(self.seed, "noise", self.name), index)
        low = PARAMETERS[self.parameter].low
        return np.asarray(np.maximum(lagged + noise, low if low <= 0 else -np.inf))

    def _faulty(self, fault: SensorFault, earlier: tuple[SensorFault, ...], index: Ints, values: Floats) -> Floats:
        match fault.kind:
            case "stuck":
                last = math.ceil(fault.onset / self.period) - 1
                return np.full_like(values, self._with(earlier, np.array([last]))[0])
            case "spike":
                hit = uniform(key(self.seed, "spike", self.name), index) < _SPIKE_SHARE
                return values + np.where(hit, fault.size, 0.0)
            case "drift":
                return values + fault.size * (index * self.period - fault.onset) / (fault.end - fault.onset)
            case "offset":
                return values + fault.size
            case "noise":
                return values + fault.size * normal(key(self.seed, "fault", self.name), index)
            case "zero":
                return np.zeros_like(values)
            case "out_of_water":
                dry = _DRY.get(self.parameter)
                if dry is None:
                    return values
                noise = _NOISE.get(self.parameter, (0.0, 0.0))[0] * normal(key(self.seed, "dry", self.name), index)
                return np.asarray(np.maximum(dry + noise, PARAMETERS[self.parameter].low))
