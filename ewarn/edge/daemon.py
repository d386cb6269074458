"""The station's daemon: live acquisition through the pipeline into the journal, and from its outbox to the centrals.

Detection waits for nothing but its data: a recorder commits on a thread of its own, the network has the outbox between.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ewarn.config import Station
from ewarn.contracts import Alert, Clock, Detector, Millis, Reading, Verdict
from ewarn.core.alarms import AlarmRecord
from ewarn.core.pipeline import Pipeline, Step
from ewarn.edge.acquisition import Acquisition, Batch
from ewarn.edge.health import health_document, time_quality
from ewarn.edge.journal import Journal, JournalCounts
from ewarn.edge.recorder import Recorder
from ewarn.edge.uplink import Uplink
from ewarn.mqtt import Link
from ewarn.registry import BoundProbe

log = logging.getLogger(__name__)

MakeDetectors = Callable[[], Mapping[str, Detector]]
FILE = "station.sqlite"
_HEALTH_S = 30.0
_END_S = 4.0
"""Seconds at most for what is still to be written and sent at the end; saying offline takes two more."""
_CANCEL_S = 2.0
_STUCK_S = 2.0
"""Seconds without any confirmation after which the end is not waited for any more."""
_PRUNE_S = 600.0
_CATCH_UP = 20
_TRUSTED = ("ntp", "simulated")


class Edge:
    """One station.

    Args:
        station: checked settings, with a broker.
        clock: of the station; it should be steady.
        probes: with their drivers.
        make_detectors: gives fresh detectors.
    """

    def __init__(
        self, station: Station, clock: Clock, probes: Sequence[BoundProbe], make_detectors: MakeDetectors
    ) -> None:
        self.station, self._clock, self._make_detectors = station, clock, make_detectors
        self._acquisition = Acquisition(probes, clock, self._accept)
        self._pipeline = Pipeline(station, make_detectors())
        self._meanwhile: deque[tuple[Millis, Sequence[Reading]]] = deque()
        self._halt = threading.Event()
        self._last = 0
        self._counts = JournalCounts(0, 0, 0, 0, 0)
        self.journal: Journal | None = None
        self.recorder: Recorder | None = None
        self.uplink: Uplink | None = None
        self.readings: dict[str, Reading] = {}
        self.verdict: Verdict | None = None
        self.alerts: dict[str, Alert] = {}

    @property
    def warming(self) -> bool:
        """Whether detection is still being rebuilt from the journal."""
        return self._pipeline.warming

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; then hand on what can be handed on within some seconds, and say offline.

        Raises:
            StoreUnavailable: the journal can neither be opened nor be begun anew.
        """
        writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        try:
            loop, boot, now = asyncio.get_running_loop(), secrets.token_hex(4), self._clock.now()
            journal, alarms = await loop.run_in_executor(writer, self._open, self.station.data / FILE, boot, now)
            with journal:
                try:
                    await self._run_with(journal, alarms, writer, stop)
                finally:
                    self._halt.set()
                    writer.shutdown()
        finally:
            writer.shutdown()

    def _open(self, path: Path, boot: str, now: Millis) -> tuple[Journal, dict[str, AlarmRecord]]:
        journal = Journal.open(path, boot=boot, now=now, centrals=self.station.centrals)
        if journal.quarantined:
            log.error("%s was damaged and is set aside as %s; a new one is begun", path, journal.quarantined)
        if time_quality(self._clock) in _TRUSTED:
            self._look_ahead(journal, now)
        self._last = journal.last_id()
        return journal, journal.alarms()

    def _look_ahead(self, journal: Journal, now: Millis) -> None:
        """Were they kept, readings of a clock that was ahead would make repeats of all that come."""
        try:
            if channels := journal.forget_future(now):
                log.warning("%d channels have readings of later than now: a clock was wrong", channels)
        except sqlite3.Error as error:
            log.error("the disk does not take it: %s", error)  # noqa: TRY400

    async def _run_with(
        self, journal: Journal, alarms: Mapping[str, AlarmRecord], writer: ThreadPoolExecutor, stop: asyncio.Event
    ) -> None:
        self._pipeline = Pipeline(self.station, self._make_detectors(), alarms)
        self._pipeline.begin_warming()
        assert self.station.broker is not None
        link = Link(self.station.broker, self.station.id)
        uplink = Uplink(self.station, journal, link, self._clock, tq=lambda: time_quality(self._clock))
        for alarm, row in (await asyncio.to_thread(journal.said)).items():
            uplink.publish_alarm_row(alarm, row)
        self.journal, self.uplink = journal, uplink
        self.recorder = Recorder(journal, writer, uplink.wake)
        await self._serve(stop, journal, self.recorder, uplink)

    async def _serve(self, stop: asyncio.Event, journal: Journal, recorder: Recorder, uplink: Uplink) -> None:
        """Run every part; one that fails for good ends the daemon, so that its supervisor starts it anew."""
        sending = asyncio.create_task(uplink.run())
        work = (
            self._acquisition.run(), recorder.run(), self._warm(journal), self._tick(),
            self._report(journal, uplink), self._prune(journal),
        )  # fmt: skip
        parts = [asyncio.create_task(part) for part in work]
        stopped = asyncio.create_task(stop.wait())
        try:
            await self._until(stopped, [*parts, sending])
        finally:
            self._halt.set()
            await _cancel([*parts, stopped])
            with contextlib.suppress(TimeoutError, sqlite3.Error):
                async with asyncio.timeout(_END_S):
                    await recorder.save()
                    await self._drain(journal, uplink)
            if recorder.unsaved:
                log.error("%d steps could not be written and are lost", recorder.unsaved)
            await _cancel([sending])

    async def _drain(self, journal: Journal, uplink: Uplink) -> None:
        """Return when the centrals have everything, or none of them answers."""
        loop = asyncio.get_running_loop()
        confirmed, moved = dict(uplink.status.confirmed), loop.time()
        while uplink.status.connected and await asyncio.to_thread(journal.unsent):
            if uplink.status.confirmed != confirmed:
                confirmed, moved = dict(uplink.status.confirmed), loop.time()
            if loop.time() - moved > _STUCK_S:
                return
            await asyncio.sleep(0.05)

    async def _until(self, stopped: asyncio.Task[Any], parts: list[asyncio.Task[Any]]) -> None:
        running = set(parts)
        while not stopped.done():
            done, _ = await asyncio.wait({stopped, *running}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
                running.discard(task)

    async def _accept(self, batch: Batch) -> None:
        now = self._clock.now()
        if self.warming:
            self._meanwhile.append((now, batch.readings))
        self._conclude(now, batch.readings, self._pipeline.accept(now, batch.readings))

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(max(1.0, self.station.detection.step / 12))
            now = self._clock.now()
            step = self._pipeline.tick(now)
            if step.readings or step.verdicts or step.alerts:
                self._conclude(now, step.readings, step)

    async def acknowledge(self, alarm: str, by: str) -> None:
        """A person has seen an alarm; returns when that is written down.

        Raises:
            KeyError: there is no such alarm.
        """
        now = self._clock.now()
        self._conclude(now, (), self._pipeline.acknowledge(now, alarm, by))
        if self.recorder is not None:
            await self.recorder.save()

    def _conclude(self, now: Millis, inputs: Sequence[Reading], step: Step) -> None:
        """Have a step committed, remember it for views, say where its alarms are."""
        for reading in step.readings:
            self.readings[reading.channel] = reading
        for verdict in step.verdicts:
            self.verdict = verdict
        if self.recorder is not None:
            self.recorder.take(now, inputs, step)
        for alert in step.alerts:
            self.alerts[alert.alarm] = alert
            log.warning("alarm %s: %s after %s", alert.alarm, alert.state, alert.previous)
            if self.uplink is not None:
                self.uplink.publish_alarm(alert)

    async def _warm(self, journal: Journal) -> None:
        """Rebuild detection from the journal beside live acquisition, then let it take over."""
        now = self._clock.now()
        shadow = Pipeline(self.station, self._make_detectors(), muted=True)
        try:
            await asyncio.to_thread(self._replay, journal, shadow, now)
        except sqlite3.Error as error:
            log.error("the journal cannot be read: %s; detection goes on with what it gave", error)  # noqa: TRY400
        while self._meanwhile:
            for _ in range(min(_CATCH_UP, len(self._meanwhile))):
                shadow.accept(*self._meanwhile.popleft())
            await asyncio.sleep(0)
        self._pipeline.adopt(shadow)

    def _replay(self, journal: Journal, shadow: Pipeline, now: Millis) -> None:
        """What was there before this run. What claims to be of later comes from a clock that was wrong."""
        for rows in journal.history(now - round(self.station.history * 1000), until=now, last=self._last):
            for row in rows:
                if self._halt.is_set():
                    return
                shadow.accept(row.time, row.readings)

    async def _report(self, journal: Journal, uplink: Uplink) -> None:
        while True:
            with contextlib.suppress(sqlite3.Error):  # the recorder says it, if it lasts
                self._counts = await asyncio.to_thread(journal.counts)
            uplink.publish_health(self.health())
            await asyncio.sleep(_HEALTH_S)

    async def _prune(self, journal: Journal) -> None:
        while True:
            more = 0
            with contextlib.suppress(sqlite3.Error):  # there is time
                more = await asyncio.to_thread(journal.prune, self._clock.now())
            await asyncio.sleep(1 if more else _PRUNE_S)

    def health(self) -> dict[str, Any]:
        """The `health` document as it is now; counts as they were last known."""
        assert self.journal is not None
        assert self.recorder is not None
        assert self.station.broker is not None
        quarantined = self.journal.quarantined
        return health_document(
            counts=self._counts,
            probes=self._acquisition.states,
            detectors=self._pipeline.faults,
            warming=self.warming,
            disk=self.recorder.problem,
            unsaved=self.recorder.unsaved,
            dropped=self.recorder.dropped,
            quarantined=quarantined.name if quarantined else "",
            link=self.uplink.problem if self.uplink else "",
            insecure=self.station.broker.insecure,
        )


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel them and wait for their end; one that does not end, as a driver may hang, is left behind."""
    for task in tasks:
        task.cancel()
    done, left = await asyncio.wait(tasks, timeout=_CANCEL_S)
    for task in done:
        if not task.cancelled() and task.exception():
            log.error("a part failed", exc_info=task.exception())
    if left:
        log.error("%d parts do not end and are left behind", len(left))
