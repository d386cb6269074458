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
    Classification,
    Detector,
    Millis,
    Priority,
    Readiness,
    Reading,
    Sample,
    Verdict,
)
from ewarn.core.alarms import AlarmMachine, AlarmRecord, Context, Delay
from ewarn.core.baseline import Baseline
from ewarn.core.composites import Composites
from ewarn.core.detection import CHANGE, CONTAMINATION, SENSOR, Detection, alarm_of
from ewarn.core.hints import hint
from ewarn.core.patterns import HARMLESS
from ewarn.core.quality import QualityControl
from ewarn.core.rate import Rate
from ewarn.core.sampling import Sampler

BASELINE = "baseline"
LIMIT = "limit"
_SENSOR_ON, _SENSOR_OF = 5, 6
_GAP_STEPS = 4
_DAY: Millis = 86_400_000
_PATIENCE = 2.5
"""Intervals that a slow probe may be silent."""


@dataclass(slots=True)
class Step:
    """What one input led to.

    Attributes:
        readings: the input's, with their flags as far as they are known.
        verdicts: on the samples that it completed.
        alerts: alarm transitions.
        alarms: records of the alarms that changed, by id.
        computed: readings of composites, of this input's samples.
        revisions: earlier readings whose final flag is another than they went out with.
    """

    readings: list[Reading] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    alarms: dict[str, AlarmRecord] = field(default_factory=dict)
    computed: list[Reading] = field(default_factory=list)
    revisions: list[Reading] = field(default_factory=list)


class Pipeline:
    """Quality, sampling, detection and alarms of one station.

    Args:
        station: checked settings.
        detectors: fresh detectors by name.
        alarms: where each alarm stood before.
        muted: learn and judge, but keep no alarms.

    Attributes:
        detectable: the smallest sudden change of each channel, in its unit, that detection finds in two at once; of
            today.
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
        self._composites = Composites(station.channels, station.detection.step)
        self._detection = Detection(station, detectors)
        self._now: Millis = 0
        self._machines: dict[str, AlarmMachine] = {}
        self._add(CONTAMINATION, Priority.CRITICAL, alarms or {})
        self._add(SENSOR, Priority.LOW, alarms or {})
        self._add(CHANGE, Priority.MEDIUM, alarms or {})
        self._add(BASELINE, Priority.MEDIUM, alarms or {})
        for probe in station.probes:
            self._add(f"probe-{probe.id}", Priority.MEDIUM, alarms or {})
            self._add(f"rate-{probe.id}", Priority.LOW, alarms or {})
        d = station.detection
        self._delays = {alarm: self._delay(alarm) for alarm in (CONTAMINATION, CHANGE)}
        self._delays[SENSOR] = self._delay(SENSOR, _SENSOR_ON, _SENSOR_OF)
        self._limits = {f"{LIMIT}-{c.id}": (c.id, c.alarm_span) for c in station.channels.values() if c.alarm_span}
        for alarm in self._limits:
            self._add(alarm, Priority.HIGH, alarms or {})
            self._delays[alarm] = self._delay(alarm)
        self._baseline = Baseline(round(d.accept_after * 1000))
        self.detectable: dict[str, float] = {}
        self._measured: Millis | None = None
        self._probe_of = {c.id: c.probe for c in station.channels.values() if c.probe}
        self._heard: dict[str, Millis] = {}
        self._silence: dict[str, str] = {}
        self._rates = {probe.id: Rate(probe.every) for probe in station.probes}

    def accept(self, now: Millis, readings: Sequence[Reading]) -> Step:
        """Take readings as the drivers gave them."""
        self._now = max(self._now, now)
        step = Step()
        for raw in readings:
            reading, revised = self._quality.check(raw)
            step.readings.append(reading)
            if revised is not None:
                step.revisions.append(revised)
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

    def classify(self, now: Millis, word: Classification) -> Step:
        """An operator says what an alert was: detection learns it, and harmless water may become normal."""
        self._now = max(self._now, now)
        step = Step()
        self._detection.classify(word)
        if word.label in HARMLESS and word.alert.time >= (self._baseline.began or 0):
            self._baseline.explain()
            self._follow_baseline(step, self._now, word.by)
        return step

    def begin_warming(self) -> None:
        """Judge nothing until `adopt`; quality and the probes' own alarms run."""
        self.warming = True

    def adopt(self, other: Pipeline) -> None:
        """Take over what another pipeline learned from the journal; the alarms stay one's own."""
        self._quality, self._sampler, self._detection = other._quality, other._sampler, other._detection
        self._composites, self._baseline = other._composites, other._baseline
        self.warming = False

    @property
    def faults(self) -> dict[str, str]:
        """Detectors that were switched off, and why."""
        return self._detection.faults

    @property
    def level(self) -> float:
        """What the threshold is multiplied by, so that the false-alarm budget is kept."""
        return self._detection.budget.level

    @property
    def alarms(self) -> dict[str, AlarmRecord]:
        """Where every alarm stands."""
        return {name: machine.record for name, machine in self._machines.items()}

    def _add(self, alarm: str, priority: Priority, records: Mapping[str, AlarmRecord]) -> None:
        record = records.get(alarm, AlarmRecord(alarm))
        self._machines[alarm] = AlarmMachine(self.station.id, priority, record)

    def _delay(self, alarm: str, on_steps: int = 0, of_steps: int = 0) -> Delay:
        d = self.station.detection
        gap = max(d.off_delay, _GAP_STEPS * d.step)
        on, of = on_steps or d.on_steps, of_steps or d.of_steps
        return Delay(on, of, d.off_delay, gap=gap, active=self._active(alarm))

    def _active(self, alarm: str) -> bool:
        return self._machines[alarm].record.active

    def _turns(self, alarm: str, holds: bool) -> bool:
        """Whether the condition as it is now changes the alarm's state."""
        return not self.muted and holds != self._active(alarm)

    def _take(self, step: Step, measured: Sample) -> None:
        sample, computed = self._composites.extend(measured)
        step.computed += computed
        self._check_limits(step, sample)
        if self.warming:
            step.verdicts.append(Verdict(sample.time, None, Readiness.WARMING))
            return
        verdict = self._detection.judge(sample, protected=self._baseline.departed)
        step.verdicts.append(verdict)
        if verdict.readiness is Readiness.READY:
            spoken_for = alarm_of(verdict)
            for alarm in (CONTAMINATION, CHANGE, SENSOR):
                if alarm == spoken_for == SENSOR and _suspect(verdict).get("channel") in sample.held:
                    continue  # one value of a slow sensor, shown again, is no further sign
                self._follow(step, alarm, verdict, sample, condition=alarm == spoken_for)
            self._measure(sample, quiet=not verdict.abnormal)
        self._baseline.take(sample.time, sample.values, alarmed=self._delays[CONTAMINATION].active)
        self._follow_baseline(step, sample.time)

    def _follow(self, step: Step, alarm: str, verdict: Verdict, sample: Sample, *, condition: bool) -> None:
        delay, before = self._delays[alarm], self._delays[alarm].active
        holds = delay.update(verdict.time, condition)
        if alarm == CONTAMINATION and holds and not before:
            self._detection.budget.raised(verdict.time)
            self._baseline.begin(verdict.time, verdict.evidence)
        if not self._turns(alarm, holds):
            return
        detail: dict[str, str] = {}
        if holds and verdict.cause is Cause.CONTAMINATION:
            detail["hint"] = hint(verdict.evidence, sample.values, self.station.water)
        if holds and alarm == SENSOR:
            detail |= _suspect(verdict)
        v = verdict
        context = Context(v.cause, v.probability, v.evidence, detail, v.causes, v.findings)
        onset = min([delay.onset, *(e.since for e in verdict.evidence)])
        self._note(step, alarm, self._machines[alarm].update(verdict.time, holds, onset, context))

    def _check_limits(self, step: Step, sample: Sample) -> None:
        """Hard limits alarm whatever detection says, from the first sample on."""
        for alarm, (channel, (low, high)) in self._limits.items():
            value = sample.values.get(channel)
            if value is None:
                continue
            delay = self._delays[alarm]
            holds = delay.update(sample.time, not low <= value <= high)
            if self._turns(alarm, holds):
                detail = {"channel": channel, "value": f"{value:.9g}", "limits": f"{low:g} to {high:g}"}
                context = Context(detail=detail)
                self._note(step, alarm, self._machines[alarm].update(sample.time, holds, delay.onset, context))

    def _follow_baseline(self, step: Step, time: Millis, by: str = "") -> None:
        """An alert whose water has not come back leaves a quieter alarm behind when it ends."""
        stands = self._baseline.stays_away
        if self._turns(BASELINE, stands):
            context = Context(detail={} if stands else {"reason": self._baseline.ended or "alarmed_again"})
            machine, began = self._machines[BASELINE], self._baseline.began or time
            self._note(step, BASELINE, machine.update(time, stands, began, context, by))

    def _measure(self, sample: Sample, *, quiet: bool) -> None:
        """Once a day, on quiet water, what would be the least that is found."""
        due = self._measured is None or sample.time - self._measured >= _DAY
        if quiet and due and not self.muted:
            self.detectable, self._measured = self._detection.detectable(sample.values), sample.time

    def _listen(self, reading: Reading) -> None:
        probe = self._probe_of.get(reading.channel)
        if probe is None:
            return
        if reading.value is not None and reading.quality in USABLE:
            self._heard[probe] = self._now
            self._rates[probe].count(self._now)
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
            if self._turns(alarm, silent):
                why = {"reason": self._silence.get(probe.id, "no_reply")} if silent else {}
                detail = {"probe": probe.id} | why
                context = Context(Cause.COMMUNICATION, detail=detail)
                self._note(step, alarm, self._machines[alarm].update(self._now, silent, heard, context))
            self._watch_rate(step, probe.id)

    def _watch_rate(self, step: Step, probe: str) -> None:
        """A probe that is heard, but less than it used to be."""
        rate, alarm = self._rates[probe], f"rate-{probe}"
        rate.tick(self._now)
        if self._turns(alarm, rate.sparse):
            detail = {"probe": probe} | ({"reason": "sparse"} if rate.sparse else {})
            context = Context(Cause.COMMUNICATION, detail=detail)
            self._note(step, alarm, self._machines[alarm].update(self._now, rate.sparse, rate.since, context))

    def _note(self, step: Step, alarm: str, alert: Alert | None) -> None:
        if alert is not None:
            step.alerts.append(alert)
            step.alarms[alarm] = self._machines[alarm].record


def _suspect(verdict: Verdict) -> dict[str, str]:
    """Which channel's sensor is meant, and what is wrong with it where that is known."""
    for channel, reason in verdict.doubts.items():
        return {"channel": channel, "reason": reason}
    return {"channel": verdict.evidence[0].channel} if verdict.evidence else {}
