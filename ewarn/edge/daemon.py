"""The station's daemon: live acquisition through the pipeline into the journal, and from its outbox to the centrals.

Detection waits for nothing but its data: commits go to a thread of their own, the network has the outbox between. What
the disk does not take is kept in memory, bounded, and tried again with the next step; health says so meanwhile.
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
from typing import Any

from ewarn.config import Station
from ewarn.contracts import Alert, Clock, Detector, Millis, Reading, Verdict
from ewarn.core.pipeline import Pipeline, Step
from ewarn.edge.acquisition import Acquisition, Batch
from ewarn.edge.health import health_document, time_quality
from ewarn.edge.journal import Journal
from ewarn.edge.uplink import Uplink
from ewarn.mqtt import Link
from ewarn.registry import BoundProbe

log = logging.getLogger(__name__)

MakeDetectors = Callable[[], Mapping[str, Detector]]
FILE = "station.sqlite"
_UNSAVED_STEPS = 20_000
_HEALTH_S = 30.0
_DRAIN_S = 8.0
_PRUNE_S = 600.0


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
        self._turn = asyncio.Lock()
        self._unsaved: deque[tuple[Millis, Sequence[Reading], Step]] = deque(maxlen=_UNSAVED_STEPS)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._disk = ""
        self._halt = threading.Event()
        self.journal: Journal | None = None
        self.uplink: Uplink | None = None
        self.readings: dict[str, Reading] = {}
        self.verdict: Verdict | None = None
        self.alerts: dict[str, Alert] = {}

    @property
    def warming(self) -> bool:
        """Whether detection is still being rebuilt from the journal."""
        return self._pipeline.warming

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; then hand on what can be handed on within some seconds, and say offline."""
        boot = secrets.token_hex(4)
        path = self.station.data / FILE
        self.journal = journal = await self._in_writer(
            lambda: Journal.open(path, boot=boot, now=self._clock.now(), centrals=self.station.centrals)
        )
        if journal.quarantined:
            log.error("%s was damaged and is set aside as %s; a new one is begun", path, journal.quarantined)
        self._pipeline = Pipeline(self.station, self._make_detectors(), await self._in_writer(journal.alarms))
        self._pipeline.begin_warming()
        assert self.station.broker is not None
        link = Link(self.station.broker, self.station.id)
        self.uplink = uplink = Uplink(self.station, journal, link, self._clock, tq=lambda: time_quality(self._clock))
        try:
            await self._serve(stop, uplink)
        finally:
            self._halt.set()
            self._writer.shutdown()
            journal.close()

    async def _serve(self, stop: asyncio.Event, uplink: Uplink) -> None:
        """Run every part; one that fails for good ends the daemon, so that its supervisor starts it anew."""
        sending = asyncio.create_task(uplink.run())
        parts = [
            asyncio.create_task(work)
            for work in (self._acquisition.run(), self._warm(), self._tick(), self._report(uplink), self._prune())
        ]
        stopped = asyncio.create_task(stop.wait())
        try:
            await self._until(stopped, [*parts, sending])
        finally:
            self._halt.set()
            await _cancel([*parts, stopped])
            await self._save()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_S):
                    await self._drain(uplink)
            await _cancel([sending])

    async def _drain(self, uplink: Uplink) -> None:
        """Return when the centrals have everything, or cannot be reached."""
        assert self.journal is not None
        while uplink.status.connected:
            counts = await self._in_writer(self.journal.counts)
            if counts.outbox_rows <= counts.parked:
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
        async with self._turn:
            step = self._pipeline.accept(self._clock.now(), batch.readings)
            await self._conclude(batch.readings, step)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(max(1.0, self.station.detection.step / 12))
            async with self._turn:
                step = self._pipeline.tick(self._clock.now())
                if step.verdicts or step.alerts:
                    await self._conclude((), step)

    async def acknowledge(self, alarm: str, by: str) -> None:
        """A person has seen an alarm. Raises KeyError where there is no such alarm."""
        async with self._turn:
            await self._conclude((), self._pipeline.acknowledge(self._clock.now(), alarm, by))

    async def _conclude(self, inputs: Sequence[Reading], step: Step) -> None:
        """Commit a step, remember it for views, wake the uplink."""
        for reading in step.readings:
            self.readings[reading.channel] = reading
        for verdict in step.verdicts:
            self.verdict = verdict
        for alert in step.alerts:
            self.alerts[alert.alarm] = alert
            log.warning("alarm %s: %s after %s", alert.alarm, alert.state, alert.previous)
        self._unsaved.append((self._clock.now(), inputs, step))
        await self._save()
        if self.uplink is not None:
            self.uplink.wake()
            for alert in step.alerts:
                self.uplink.publish_alarm(alert)

    async def _save(self) -> None:
        try:
            await self._in_writer(self._write_out)
        except sqlite3.Error as error:
            if not self._disk:
                log.error("the disk does not take it: %s; it is kept and tried again", error)  # noqa: TRY400
            self._disk = str(error)
            return
        if self._disk:
            log.info("the disk takes it again")
            self._disk = ""

    def _write_out(self) -> None:
        """Commit what waits, oldest first, in the writer's thread: a cancelled caller leaves nothing half done."""
        assert self.journal is not None
        while self._unsaved:
            now, inputs, step = head = self._unsaved[0]
            self.journal.commit(now, inputs, step)
            if self._unsaved[0] is head:
                self._unsaved.popleft()

    async def _warm(self) -> None:
        """Rebuild detection from the journal beside live acquisition, then let it take over."""
        assert self.journal is not None
        since = self._clock.now() - round(self.station.history * 1000)
        shadow = Pipeline(self.station, self._make_detectors(), muted=True)
        last = await asyncio.to_thread(self._replay, shadow, since, 0)
        async with self._turn:
            # What came while the thread replayed is little; nothing more comes while we hold the turn.
            self._replay(shadow, since, last)
            self._pipeline.adopt(shadow)

    def _replay(self, shadow: Pipeline, since: Millis, last: int) -> int:
        assert self.journal is not None
        for rows in self.journal.history(since, after=last):
            for row in rows:
                if self._halt.is_set():
                    return last
                shadow.accept(row.time, row.readings)
                last = row.id
        return last

    async def _report(self, uplink: Uplink) -> None:
        while True:
            uplink.publish_health(await self._in_writer(self.health))
            await asyncio.sleep(_HEALTH_S)

    async def _prune(self) -> None:
        journal = self.journal
        assert journal is not None
        while True:
            more = await self._in_writer(lambda: journal.prune(self._clock.now()))
            await asyncio.sleep(1 if more else _PRUNE_S)

    def health(self) -> dict[str, Any]:
        """The `health` document as it is now."""
        assert self.journal is not None
        assert self.station.broker is not None
        quarantined = self.journal.quarantined
        return health_document(
            counts=self.journal.counts(),
            probes=self._acquisition.states,
            detectors=self._pipeline.faults,
            warming=self.warming,
            disk=self._disk,
            quarantined=quarantined.name if quarantined else "",
            link=self.uplink.problem if self.uplink else "",
            insecure=self.station.broker.insecure,
        )

    async def _in_writer(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
