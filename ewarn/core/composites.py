"""Composites: channels that are computed from others, on every sample, before detection.

A composite's value joins the sample, as a measured one would, and goes out as a reading of the sample's time: flag 1,
3 where one of its inputs in this sample is suspect. Where it has no value it is missing, and says why, once a gap. The
journal does not hold it: what is replayed is computed anew. The past of `before` and `rate` is that of the samples: the
one a whole number of steps ago, or none.

Witnesses. A composite moves because its inputs do, so both together say no more than one of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter

from ewarn.config import ChannelSpec
from ewarn.config.formula import Formula, NoValue
from ewarn.contracts import Evidence, Quality, Reading, Sample


class Composites:
    """Computes the composites of a station.

    Args:
        channels: of the station, checked: no formula needs itself, or a channel that is not there.
        step: seconds between samples.
    """

    def __init__(self, channels: Mapping[str, ChannelSpec], step: float) -> None:
        formulas = _formulas(channels)
        order = TopologicalSorter({name: formula.places.keys() for name, formula in formulas.items()}).static_order()
        self._composites = [(channels[name], formulas[name]) for name in order if name in formulas]
        self._step = round(step * 1000)
        self._now: dict[str, float] = {}
        self._past: dict[str, deque[float | None]] = {}
        for formula in formulas.values():
            for channel, lag in formula.lags.items():
                known = self._past.get(channel, deque(maxlen=0)).maxlen or 0
                self._past[channel] = deque(maxlen=max(known, self._steps(lag)))
        self._window: int | None = None
        self._silent: dict[str, str] = {}

    def extend(self, sample: Sample) -> tuple[Sample, list[Reading]]:
        """The sample with the composites in it, and their readings; to be given every sample once, in order."""
        if not self._composites:
            return sample, []
        self._move(-(-sample.time // self._step))
        self._now, suspect, reasons = dict(sample.values), set(sample.suspect), dict(sample.reasons)
        readings = []
        for spec, formula in self._composites:
            reading = self._reading(spec, formula, sample.time, suspect)
            if reading.value is not None and reading.quality is not Quality.FAIL:
                self._now[spec.id] = reading.value
            if reading.quality is Quality.SUSPECT:
                suspect.add(spec.id)
            if reading.reason:
                reasons[spec.id] = reading.reason
            if reading.value is not None or self._silent.get(spec.id) != reading.reason:
                readings.append(reading)
            self._silent[spec.id] = reading.reason if reading.value is None else ""
        return replace(sample, values=self._now, suspect=frozenset(suspect), reasons=reasons), readings

    def value(self, channel: str) -> float:
        """Of the sample that is being extended. Raises NoValue."""
        try:
            return self._now[channel]
        except KeyError:
            raise NoValue("no_input") from None

    def past(self, channel: str, lag: float) -> tuple[float, float]:
        """A channel's value at least `lag` seconds ago, and how many seconds ago that was. Raises NoValue."""
        steps, values = self._steps(lag), self._past[channel]
        value = values[-steps] if steps <= len(values) else None
        if value is None:
            raise NoValue("no_past")
        return value, steps * self._step / 1000

    def _steps(self, lag: float) -> int:
        return -(-round(lag * 1000) // self._step)

    def _move(self, window: int) -> None:
        """Put the sample before into the past; steps without one have no values."""
        if self._window is not None:
            for channel, values in self._past.items():
                values.append(self._now.get(channel))
                values.extend([None] * min(window - self._window - 1, values.maxlen or 0))
        self._window = window

    def _reading(self, spec: ChannelSpec, formula: Formula, time: int, suspect: set[str]) -> Reading:
        try:
            value = formula.value(self)
        except NoValue as error:
            return Reading(spec.id, time, None, Quality.MISSING, str(error))
        if spec.fail_span is not None and not spec.fail_span[0] <= value <= spec.fail_span[1]:
            return Reading(spec.id, time, value, Quality.FAIL, "gross_range")
        if spec.suspect_span is not None and not spec.suspect_span[0] <= value <= spec.suspect_span[1]:
            return Reading(spec.id, time, value, Quality.SUSPECT, "gross_range")
        if not suspect.isdisjoint(formula.places):
            return Reading(spec.id, time, value, Quality.SUSPECT, "suspect_input")
        return Reading(spec.id, time, value, Quality.PASS)


def sources(channels: Mapping[str, ChannelSpec]) -> dict[str, frozenset[str]]:
    """The measured channels that each composite rests on, directly or through other composites."""
    formulas = _formulas(channels)
    found: dict[str, frozenset[str]] = {}
    for name in TopologicalSorter({name: formula.places.keys() for name, formula in formulas.items()}).static_order():
        if name in formulas:
            found[name] = frozenset().union(*(found.get(c, frozenset({c})) for c in formulas[name].places))
    return found


def witnesses(evidence: Iterable[Evidence], rests_on: Mapping[str, frozenset[str]]) -> list[Evidence]:
    """Evidence that speaks for itself: of measured channels, and of composites none of whose sources does.

    Args:
        evidence: strongest first; its order is kept.
        rests_on: of each composite, as `sources` gives it.
    """
    evidence = list(evidence)
    heard = {e.channel for e in evidence if e.channel not in rests_on}
    found = []
    for e in evidence:
        if e.channel in rests_on:
            if not heard.isdisjoint(rests_on[e.channel]):
                continue
            heard |= rests_on[e.channel]
        found.append(e)
    return found


def _formulas(channels: Mapping[str, ChannelSpec]) -> dict[str, Formula]:
    return {spec.id: spec.formula for spec in channels.values() if spec.formula is not None}
