"""Whether a sensor behaves as water does, or as sensors do that fail. Causal, fixed memory.

Water at an intake changes gradually or in several channels at once. A single sensor that jumps, jitters, or shows what
was never near its range is not believed until it has been smooth for some hours. Measured by the second difference
of successive values: that of water is small compared with its median, that of a failing sensor is not.

What fails is also named, while it is news: a value that jumped alone and stayed or came back (`jump`), one that stands
still for hours, longer than this channel ever does (`stuck`), a zero where none has been (`zero`), and a value far from
the usual range (`implausible`).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from math import isnan, nan

from detectors._course import present
from detectors._tails import Tail

_HOUR = 3600.0
_NEAR_H, _FAR_H = 1.5, 12.0
_JITTER, _JUMP = 4.0, 30.0
_PRESENT = 0.6
_RANGES = 3.0
_MEDIAN_DAYS, _RANGE_DAYS = 3.0, 14.0
_RARE, _BESIDE, _GOES_ON = 7.0, 3.0, 0.3
_STILL_H, _STILL_TIMES, _STILL_DAYS = 4.0, 3.0, 30.0
_NEWS_H = 2.0
_ZERO = 20.0
_TOGETHER = 3
_TAIL = 0.03


class Sensor:
    """Smoothness, usual range and faults of one channel.

    Missing values are NaN; `past` holds those before the sample, newest last, three at least.

    Args:
        step_s: seconds between samples.
        resolution: of the channel.
        lately: samples for which a channel that was `held` is not believed.
    """

    def __init__(self, step_s: float, resolution: float, lately: int) -> None:
        self._step_s, self._resolution = step_s, resolution
        self._bends = array("d", [nan]) * max(3, round(_FAR_H * _HOUR / step_s))
        self._far = len(self._bends) - max(1, round(_NEAR_H * _HOUR / step_s))
        self._median_rate, self._range_rate = (
            1 - math.exp(-step_s / (d * 24 * _HOUR)) for d in (_MEDIAN_DAYS, _RANGE_DAYS)
        )
        self._median, self._seen = resolution, 0
        self._low = self._high = nan
        self._still, self._longest = 0, 0.0
        self._lately, self._since_held = lately, lately
        self._ages: dict[str, float] = {}
        self._forget = 1 - step_s / (_STILL_DAYS * 24 * _HOUR)
        self._steps = Tail(1 - math.exp(-step_s / (_STILL_DAYS * 24 * _HOUR)), _TAIL)

    def believed(self, faults: Sequence[str]) -> bool:
        """Whether it shows what can be, was read, and was smooth between twelve hours and one and a half hours ago."""
        if "zero" in faults or "implausible" in faults or self._since_held < self._lately:
            return False
        bends = present(self._bends[: self._far])
        if not bends or len(bends) < _PRESENT * self._far:
            return False
        unit = max(self._median, self._resolution)
        return sum(bends) / len(bends) <= _JITTER * unit and max(bends) <= _JUMP * unit

    def faults(self, value: float, past: Sequence[float]) -> tuple[str, ...]:
        """What speaks against it but a jump: zero, implausible, stuck."""
        faults: tuple[str, ...] = ()
        # A channel that stands far outside from the start on is the usual range, once it is known.
        if value == 0 and self._low > _ZERO * self._resolution:
            faults += ("zero",)
        span = max(self._high - self._low, 20 * self._resolution)
        if abs(value - (self._high + self._low) / 2) > _RANGES * span:
            faults += ("implausible",)
        still = (self._still + 1) * self._step_s
        if value == past[-1] and still >= max(_STILL_H * _HOUR, _STILL_TIMES * self._longest * self._step_s):
            faults += ("stuck",)
        return faults

    def leapt(self, value: float, past: Sequence[float]) -> bool:
        """Whether it made one large step before this sample, alone in its direction."""
        step = past[-1] - past[-2]
        if isnan(step) or step == 0:
            return False
        way, bound = math.copysign(1.0, step), _GOES_ON * abs(step)
        single = (past[-2] - past[-3]) * way <= bound and (value - past[-1]) * way <= bound
        return single and self.rarity(past) >= _RARE

    def rarity(self, past: Sequence[float]) -> float:
        """Of the newest step, nats."""
        step = abs(past[-1] - past[-2])
        return 0.0 if isnan(step) else self._steps.surprise(step / self._resolution)

    def news(self, faults: Sequence[str]) -> list[str]:
        """Those of the faults that began lately."""
        return [fault for fault in faults if self._ages.get(fault, 0) < _NEWS_H * _HOUR / self._step_s]

    def hold(self) -> None:
        """The channel stood still at once with others: the probe was not in the water, or was not read."""
        self._since_held = 0

    def learn(self, value: float, faults: Sequence[str], past: Sequence[float], *, held: bool = False) -> bool:
        """Take a value, its faults and the values before it; says whether it is the same for the third time.

        Held, its usual range does not follow it.
        """
        if faults or self._ages:
            self._learn_ages(faults)
        self._since_held += 1
        step = value - past[-1]
        if not isnan(step):
            self._steps.learn(abs(step) / self._resolution)
        same = step == 0
        self._longest *= self._forget
        if not same and self._still > self._longest:
            self._longest = self._still
        if same:
            self._still += 1
        elif not isnan(value):
            self._still = 0
        self._learn_bend(abs(value - 2 * past[-1] + past[-2]))
        if not isnan(value) and not held:
            self._learn_range(value)
        return same and past[-1] == past[-2]

    def _learn_ages(self, faults: Sequence[str]) -> None:
        """What has been faulty has to be well for as long before it is news again."""
        limit = 2 * _NEWS_H * _HOUR / self._step_s
        well = {fault: age - 1 for fault, age in self._ages.items() if fault not in faults and age > 1}
        self._ages = well | {fault: min(self._ages.get(fault, 0) + 1, limit) for fault in faults}

    def _learn_bend(self, bend: float) -> None:
        self._bends.append(bend)
        del self._bends[0]
        if isnan(bend):
            return
        self._seen += 1
        rate = max(self._median_rate, 0.5 / self._seen)
        factor = math.exp(rate if bend > self._median else -rate)
        self._median = max(self._median * factor, self._resolution / 2)

    def _learn_range(self, value: float) -> None:
        """1 % and 99 % quantiles by stochastic approximation (Robbins and Monro 1951)."""
        if isnan(self._low):
            self._low = self._high = value
            return
        span, down, up = self._high - self._low, value < self._low, value > self._high
        least = (0.002 if span > 0 else 0.02) * abs(value) + 1e-9
        gain = 5 * max(0.25 * span, least) * max(self._range_rate, 1 / max(self._seen, 1))
        self._low += gain * (-0.98 if down else 0.02)
        self._high = max(self._low, self._high + gain * (0.98 if up else -0.02))


def faults_of(
    sensors: Sequence[Sensor], values: Sequence[float], pasts: Sequence[Sequence[float]]
) -> list[tuple[str, ...]]:
    """What speaks against each channel, gravest first, whether news or not. A jump is one that no other shares."""
    found = [s.faults(value, past) for s, value, past in zip(sensors, values, pasts, strict=True)]
    leapt = [i for i, s in enumerate(sensors) if s.leapt(values[i], pasts[i])]
    if len(leapt) == 1 and sum(s.rarity(past) >= _BESIDE for s, past in zip(sensors, pasts, strict=True)) == 1:
        i = leapt[0]
        found[i] = (*(f for f in found[i] if f != "stuck"), "jump", *(f for f in found[i] if f == "stuck"))
    return found


def learn_all(
    sensors: Sequence[Sensor],
    values: Sequence[float],
    faults: Sequence[tuple[str, ...]],
    pasts: Sequence[Sequence[float]],
    *,
    held: bool = False,
) -> None:
    """Take a sample into all sensors."""
    still = [s for s, v, f, p in zip(sensors, values, faults, pasts, strict=True) if s.learn(v, f, p, held=held)]
    if len(still) >= _TOGETHER:
        for sensor in still:
            sensor.hold()
