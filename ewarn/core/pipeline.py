"""Everything that decides, as one object: readings and ticks in, with their times; what to store and to say out.

It opens nothing, sleeps never and asks no clock, so that a replayed file is the field. `now` never runs backwards in
here: an earlier one counts as the latest known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ewarn.config import Station
from ewarn.contracts import (
    USABLE,
    Alert,
    Cause,
    Detector,
    Millis,
    Priority,
    Readiness,
    Reading,
    Sample,
    Verdict,
)
from ewarn.core.alarms import AlarmMachine, AlarmRecord, Context, Delay
from ewarn.core.detection import Detection
from ewarn.core.hints import hint
from ewarn.core.quality import QualityControl
from ewarn.core.sampling import Sampler

CONTAMINATION = "contamination"
SENSOR = "sensor"
_SENSOR_ON, _SENSOR_OF = 5, 6
_GAP_STEPS = 4
_PATIENCE = 2.5
"""Intervals that a slow probe may be silent."""


@dataclass(slots=True)
class Step:
    """What one input led to.

    Attributes:
        readings: the input's, with their final flags.
        verdicts: on the samples that it completed.
        alerts: alarm transitions.
        alarms: records of the alarms that changed, by id.
    """

    readings: list[Reading] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    alarms: dict[str, AlarmRecord] = field(default_factory=dict)


class Pipeline:
    """Quality, sampling, detection and alarms of one station.

    Args:
        station: checked settings.
        detectors: fresh detectors by name.
        alarms: where each alarm stood before.
        muted: learn and judge, but keep no alarms.
    """

    def __init__(
        self,
        station: Station,
        detectors: Mapping[str, Detector],
        alarms: Mapping[str, AlarmRecord] | None = None,
        *,
        muted: bool = False,
    ) -> None:
        self.station, self.muted = station, muted
        self.warming = False
        self._quality = QualityControl(station.channels)
        self._sampler = Sampler(station.channels, station.detection.step)
        self._detection = Detection(station, detectors)
        self._now: Millis = 0
        self._machines: dict[str, AlarmMachine] = {}
        self._add(CONTAMINATION, Priority.CRITICAL, alarms or {})
        self._add(SENSOR, Priority.LOW, alarms or {})
        for probe in station.probes:
            self._add(f"probe-{probe.id}", Priority.MEDIUM, alarms or {})
        d = station.detection
        gap = max(d.off_delay, _GAP_STEPS * d.step)
        self._delays = {
            CONTAMINATION: Delay(d.on_steps, d.of_steps, d.off_delay, gap=gap, active=self._active(CONTAMINATION)),
            SENSOR: Delay(_SENSOR_ON, _SENSOR_OF, d.off_delay, gap=gap, active=self._active(SENSOR)),
        }
        self._heard: dict[str, Millis] = {}
        self._silence: dict[str, str] = {}

    def accept(self, now: Millis, readings: Sequence[Reading]) -> Step:
        """Take readings as the drivers gave them."""
        self._now = max(self._now, now)
        step = Step()
        for raw in readings:
            reading = self._quality.check(raw)
            step.readings.append(reading)
            self._listen(reading)
            for sample in self._sampler.accept(reading):
                self._take(step, sample)
        self._watch(step)
        return step

    def tick(self, now: Millis) -> Step:
        """Time passes without readings; a channel that is overdue gives a missing one, once a gap."""
        self._now = max(self._now, now)
        step = Step()
        if not self.muted:
            step.readings += self._quality.overdue(self._now)
            for reading in step.readings:
                self._listen(reading)
        for sample in self._sampler.tick(self._now):
            self._take(step, sample)
        self._watch(step)
        return step

    def acknowledge(self, now: Millis, alarm: str, by: str) -> Step:
        """A person has seen an alarm. Raises KeyError where there is no such alarm."""
        self._now = max(self._now, now)
        step = Step()
        self._note(step, alarm, self._machines[alarm].acknowledge(self._now, by))
        return step

    def begin_warming(self) -> None:
        """Judge nothing until `adopt`; quality and the probes' own alarms run."""
        self.warming = True

    def adopt(self, other: Pipeline) -> None:
        """Take over what another pipeline learned from the journal; the alarms stay one's own."""
        self._quality, self._sampler, self._detection = other._quality, other._sampler, other._detection
        self.warming = False

    @property
    def faults(self) -> dict[str, str]:
        """Detectors that were switched off, and why."""
        return self._detection.faults

    @property
    def alarms(self) -> dict[str, AlarmRecord]:
        """Where every alarm stands."""
        return {name: machine.record for name, machine in self._machines.items()}

    def _add(self, alarm: str, priority: Priority, records: Mapping[str, AlarmRecord]) -> None:
        record = records.get(alarm, AlarmRecord(alarm))
        self._machines[alarm] = AlarmMachine(self.station.id, priority, record)

    def _active(self, alarm: str) -> bool:
        return self._machines[alarm].record.active

    def _take(self, step: Step, sample: Sample) -> None:
        verdict = Verdict(sample.time, None, Readiness.WARMING) if self.warming else self._detection.judge(sample)
        step.verdicts.append(verdict)
        if self.muted or verdict.readiness is not Readiness.READY:
            return
        contaminated = verdict.abnormal and verdict.cause in (Cause.CONTAMINATION, Cause.UNKNOWN)
        self._follow(step, CONTAMINATION, verdict, sample, condition=contaminated)
        self._follow(step, SENSOR, verdict, sample, condition=verdict.cause is Cause.SENSOR)

    def _follow(self, step: Step, alarm: str, verdict: Verdict, sample: Sample, *, condition: bool) -> None:
        delay = self._delays[alarm]
        holds = delay.update(verdict.time, condition)
        machine = self._machines[alarm]
        if holds == machine.record.active:
            return
        detail: dict[str, str] = {}
        if holds and verdict.cause is Cause.CONTAMINATION:
            detail["hint"] = hint(verdict.evidence, sample.values, self.station.water)
        if holds and alarm == SENSOR:
            detail |= _suspect(verdict)
        context = Context(verdict.cause, verdict.probability, verdict.evidence, detail)
        onset = min([delay.onset, *(e.since for e in verdict.evidence)])
        self._note(step, alarm, machine.update(verdict.time, holds, onset, context))

    def _listen(self, reading: Reading) -> None:
        probe = self.station.channels[reading.channel].probe if reading.channel in self.station.channels else ""
        if not probe:
            return
        if reading.value is not None and reading.quality in USABLE:
            self._heard[probe] = self._now
            self._silence.pop(probe, None)
        elif reading.reason:
            self._silence[probe] = reading.reason

    def _watch(self, step: Step) -> None:
        """Silence of a probe is an alarm of its own, never one of the water."""
        if self.muted:
            return
        for probe in self.station.probes:
            limit = 1000 * max(self.station.detection.silence, _PATIENCE * probe.every)
            alarm = f"probe-{probe.id}"
            # An alarm that was active before a restart stays until the probe is heard.
            heard = self._heard.setdefault(probe.id, 0 if self._active(alarm) else self._now)
            silent = self._now - heard >= limit
            if silent != self._active(alarm):
                detail = (
                    {"probe": probe.id, "reason": self._silence.get(probe.id, "no_reply")}
                    if silent
                    else {"probe": probe.id}
                )
                context = Context(Cause.COMMUNICATION, detail=detail)
                self._note(step, alarm, self._machines[alarm].update(self._now, silent, heard, context))

    def _note(self, step: Step, alarm: str, alert: Alert | None) -> None:
        if alert is not None:
            step.alerts.append(alert)
            step.alarms[alarm] = self._machines[alarm].record


def _suspect(verdict: Verdict) -> dict[str, str]:
    """Which channel's sensor is meant, and what is wrong with it where that is known."""
    for channel, reason in verdict.doubts.items():
        return {"channel": channel, "reason": reason}
    return {"channel": verdict.evidence[0].channel} if verdict.evidence else {}
