"""What each probe shows at each instant, as the wire carries it: a pure function of the scenario.

A probe renews its values every `sample_period`; between, they stay. Whoever has the scenario can compute what should
have been read, so that a test needs no record of what was served.
"""

from __future__ import annotations

import numpy as np

from ewarn.contracts import Millis
from ewarn.profiles import Channel, Profile
from simulators.chance import Floats, Ints
from simulators.contamination import Contamination, Scene
from simulators.modbus_codec import bounds
from simulators.scenario import Scenario
from simulators.sensor import Sensor, SensorFault
from simulators.tables import SimulatedProbe
from simulators.water import Water

_SAME = 1e-9


class Truth:
    """The values of a scenario's probes.

    Args:
        scenario: with its start set.
    """

    def __init__(self, scenario: Scenario) -> None:
        if scenario.start is None:
            raise ValueError("the scenario has no start; use with_start")
        self.scenario, self._start = scenario, scenario.start / 1000
        events = tuple(
            Contamination(c.kind, self._start + c.after, c.duration, c.strength) for c in scenario.contaminations
        )
        self._scene = Scene(Water(scenario.seed, scenario.water), events)
        self._probes = {probe.id: probe for probe in scenario.probes}
        self._sensors = {
            (probe.id, name): self._sensor(probe, probe.device.channel(name))
            for probe in scenario.probes
            for name in probe.channels
        }

    def water(self, parameter: str, time: Millis) -> float:
        """What the water was: a parameter in its unit."""
        return float(self._scene.values(parameter, np.array([time / 1000]))[0])

    def value(self, probe: str, channel: str, time: Millis) -> float | None:
        """What a channel of a probe shows, in the parameter's unit; None for a channel that is not fitted."""
        if (probe, channel) not in self._sensors:
            return None
        return float(self._shown(probe, channel, self._index(probe, np.array([time])))[0])

    def sample(self, probe: str, time: Millis) -> int:
        """Number of the newest sample of a probe at this time."""
        return int(self._index(probe, np.array([time]))[0])

    def history(
        self, probe: str, channel: str, start: Millis, end: Millis, step: Millis
    ) -> tuple[list[Millis], list[float]]:
        """Values of a channel at `start`, then every `step` before `end`. Raises KeyError where it is not fitted."""
        times = np.arange(start, end, step, dtype=np.int64)
        return times.tolist(), self._shown(probe, channel, self._index(probe, times)).tolist()

    def matches(self, probe: str, channel: str, time: Millis, value: float, tolerance: Millis) -> bool:
        """Whether the channel showed this value at some instant within the tolerance, but for the last bits.

        Raises KeyError for a channel that is not fitted.
        """
        first, last = self._index(probe, np.array([time - tolerance, time + tolerance]))
        shown = self._shown(probe, channel, np.arange(first, last + 1))
        return bool(np.any(np.abs(shown - value) <= _SAME * np.maximum(1.0, np.abs(shown))))

    def _index(self, probe: str, times: Ints) -> Ints:
        return np.asarray(np.floor(times / (1000 * self._probes[probe].sample_period)), dtype=np.int64)

    def _shown(self, probe: str, channel: str, index: Ints) -> Floats:
        device = self._probes[probe].device
        return as_carried(device, device.channel(channel), self._sensors[probe, channel].shown(index))

    def _sensor(self, probe: SimulatedProbe, channel: Channel) -> Sensor:
        faults = tuple(
            SensorFault(f.kind, self._start + f.after, self._start + f.after + f.duration, f.size)
            for f in self.scenario.sensor_faults
            if f.probe == probe.id and f.channel in ("", channel.id)
        )
        return Sensor(
            parameter=channel.parameter,
            seed=self.scenario.seed,
            name=f"{probe.id}/{channel.id}",
            period=probe.sample_period,
            water=lambda times: self._scene.values(channel.parameter, times),
            faults=faults,
        )


def as_carried(device: Profile, channel: Channel, values: Floats) -> Floats:
    """Values after they went through the channel's number format and back."""
    raw = (values - channel.offset) / channel.scale
    if channel.decimals is not None:
        raw = np.round(raw, channel.decimals)
    if device.protocol == "modbus":
        if channel.type == "float32":
            raw = raw.astype(np.float32).astype(np.float64)
        elif channel.type != "float64":
            raw = np.clip(np.round(raw), *bounds(channel.type))
    return np.asarray(raw * channel.scale + channel.offset)
