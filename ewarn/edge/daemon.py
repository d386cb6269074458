"""The station's daemon: live acquisition through the pipeline into the journal, and from its outbox to the centrals.

Detection waits for nothing but its data: a recorder commits on a thread of its own, the network has the outbox between.
Nothing waits for detection: it has a thread too, and what comes while it hangs is stored unjudged. Whether the lines
and the link go on is told to the service manager, and what is wrong with the station itself raises alarms of its own.
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
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ewarn.config import Station
from ewarn.contracts import Alert, Classification, Clock, Detector, Label, Millis, Reading, Verdict
from ewarn.core.alarms import AlarmRecord
from ewarn.core.health_alarms import HealthAlarms
from ewarn.core.pipeline import Pipeline, Step
from ewarn.edge.acquisition import Acquisition, Batch
from ewarn.edge.health import health_document, time_quality
from ewarn.edge.ills import ills
from ewarn.edge.journal import Journal, JournalCounts
from ewarn.edge.notify import Notifier
from ewarn.edge.recorder import Recorder
from ewarn.edge.thinker import Thinker
from ewarn.edge.timed import Stopwatch, Timed
from ewarn.edge.uplink import Uplink
from ewarn.mqtt import Link
from ewarn.registry import BoundProbe

log = logging.getLogger(__name__)
_T = TypeVar("_T")

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
_WATCH_S = 1.0
_BACKLOG = 1000
"""Reads that wait for detection; what comes beyond is stored unjudged."""
_STUCK_DETECTION_S = 60.0
_JUDGE_S = 1.0
"""Seconds at the end for what is still to be judged; the rest is stored as it is."""
_TRUSTED = ("ntp", "simulated")


class Edge:
    """One station.

    Args:
        station: checked settings, with a broker.
        clock: of the station; it should be steady.
        probes: with their drivers.
        make_detectors: gives fresh detectors.
        notifier: the way to the service manager.

    Attributes:
        unjudged: reads that were stored without detection, as it hung.
    """

    def __init__(
        self, station: Station, clock: Clock, probes: Sequence[BoundProbe], make_detectors: MakeDetectors,
        notifier: Notifier | None = None,
    ) -> None:  # fmt: skip
        self.station, self._clock, self._make_detectors = station, clock, make_detectors
        self._notifier = notifier or Notifier({})
        self._acquisition = Acquisition(probes, clock, self._accept)
        # The live pipeline's, and that of the one which learns from the journal.
        self._watches = Stopwatch(), Stopwatch()
        self._pipeline = Pipeline(station, self._detectors(self._watches[0]))
        self._ailing = HealthAlarms(station.id, {})
        self._inbox: deque[tuple[Millis, Sequence[Reading]]] = deque()
        self._news, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._thinker: Thinker | None = None
        self.unjudged = 0
        self._words: deque[Classification] = deque()
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
        journal = Journal.open(path, boot=boot, now=now, centrals=self.station.centrals, room=self.station.outbox)
        if journal.quarantined:
            log.error("%s was damaged and is set aside as %s; a new one is begun", path, journal.quarantined)
        if time_quality(self._clock) in _TRUSTED:
            self._look_ahead(journal, now)
        self._last = journal.last_id()
        return journal, journal.alarms([*self._pipeline.alarms, *self._ailing.alarms])

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
        self._pipeline = Pipeline(self.station, self._detectors(self._watches[0]), alarms)
        self._pipeline.begin_warming()
        self._ailing = HealthAlarms(self.station.id, alarms)
        assert self.station.broker is not None
        link = Link(self.station.broker, self.station.id)
        uplink = Uplink(self.station, journal, link, self._clock, tq=lambda: time_quality(self._clock))
        for alarm, row in (await asyncio.to_thread(journal.said)).items():
            uplink.publish_alarm_row(alarm, row)
        self.journal, self.uplink = journal, uplink
        self.recorder = Recorder(journal, writer, uplink.wake)
        self._thinker, warmer = Thinker(), Thinker()
        try:
            await self._serve(stop, journal, self.recorder, uplink, warmer)
        finally:
            self._thinker.close()
            warmer.close()

    async def _serve(
        self, stop: asyncio.Event, journal: Journal, recorder: Recorder, uplink: Uplink, warmer: Thinker
    ) -> None:
        """Run every part; one that fails for good ends the daemon, so that its supervisor starts it anew."""
        sending, judging = asyncio.create_task(uplink.run()), asyncio.create_task(self._judge())
        work = (
            self._acquisition.run(), recorder.run(), self._warm(journal, warmer), self._tick(),
            self._report(journal, uplink), self._prune(journal), self._watch(journal, recorder, uplink),
        )  # fmt: skip
        parts = [asyncio.create_task(part) for part in work]
        stopped = asyncio.create_task(stop.wait())
        self._notifier.say("READY=1")
        try:
            await self._until(stopped, [*parts, judging, sending])
        finally:
            self._halt.set()
            await _cancel([*parts, stopped])
            await self._judge_the_rest(judging)
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

    def _detectors(self, watch: Stopwatch) -> Mapping[str, Detector]:
        return {name: Timed(name, detector, watch) for name, detector in self._make_detectors().items()}

    def _think(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        """Work on the pipeline, which is its thread's alone while the daemon runs."""
        assert self._thinker is not None
        return self._thinker.do(work)

    async def _accept(self, batch: Batch) -> None:
        now = self._clock.now()
        if len(self._inbox) >= _BACKLOG:
            self._store_unjudged(now, batch.readings)
            return
        self._inbox.append((now, batch.readings))
        self._idle.clear()
        self._news.set()

    def _store_unjudged(self, now: Millis, readings: Sequence[Reading]) -> None:
        self.unjudged += 1
        self._conclude(now, readings, Step(list(readings)))

    async def _judge(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._inbox:
                now, readings = self._inbox[0]
                step = await self._think(partial(self._take, now, readings))
                self._inbox.popleft()
                self._conclude(now, readings, step)
            self._idle.set()

    def _take(self, now: Millis, readings: Sequence[Reading]) -> Step:
        if self.warming:
            self._meanwhile.append((now, readings))
        return self._pipeline.accept(now, readings)

    async def _judge_the_rest(self, judging: asyncio.Task[None]) -> None:
        """At the end, as far as detection comes back in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_JUDGE_S):
                await self._idle.wait()
        await _cancel([judging])
        while self._inbox:
            self._store_unjudged(*self._inbox.popleft())

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(max(1.0, self.station.detection.step / 12))
            now = self._clock.now()
            step = await self._think(partial(self._pipeline.tick, now))
            if step.readings or step.verdicts or step.alerts:
                self._conclude(now, step.readings, step)

    async def acknowledge(self, alarm: str, by: str) -> None:
        """A person has seen an alarm; returns when that is written down.

        Raises:
            KeyError: there is no such alarm.
        """
        now = self._clock.now()
        if alarm in self._ailing.alarms:
            step = self._ailing.acknowledge(now, alarm, by)
        else:
            step = await self._think(partial(self._pipeline.acknowledge, now, alarm, by))
        self._conclude(now, (), step)
        if self.recorder is not None:
            await self.recorder.save()

    async def classify(self, alarm: str, occurrence: int, label: Label, by: str) -> None:
        """A person says what an alert was; returns when that is written down.

        Raises:
            KeyError: there is no such alert.
        """
        assert self.journal is not None
        now = self._clock.now()
        word = await asyncio.to_thread(self.journal.classify, now, alarm, occurrence, label, by)
        self._conclude(now, (), await self._think(partial(self._hear, now, word)))

    def _hear(self, now: Millis, word: Classification) -> Step:
        if self.warming:
            self._words.append(word)
        return self._pipeline.classify(now, word)

    def _conclude(self, now: Millis, inputs: Sequence[Reading], step: Step) -> None:
        """Have a step committed, remember it for views, say where its alarms are."""
        for reading in (*step.readings, *step.computed):
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

    async def _warm(self, journal: Journal, warmer: Thinker) -> None:
        """Rebuild detection from the journal beside live acquisition, then let it take over."""
        now = self._clock.now()
        shadow = Pipeline(self.station, self._detectors(self._watches[1]), muted=True)
        try:
            await warmer.do(partial(self._replay, journal, shadow, now))
        except sqlite3.Error as error:
            log.error("the journal cannot be read: %s; detection goes on with what it gave", error)  # noqa: TRY400
        while self._meanwhile:
            await warmer.do(partial(self._catch_up, shadow, _CATCH_UP))
        await self._think(partial(self._hand_over, shadow))

    def _catch_up(self, shadow: Pipeline, most: int) -> None:
        for _ in range(min(most, len(self._meanwhile))):
            shadow.accept(*self._meanwhile.popleft())

    def _hand_over(self, shadow: Pipeline) -> None:
        """On the thread of detection, so that nothing comes between."""
        self._catch_up(shadow, len(self._meanwhile))
        while self._words:
            word = self._words.popleft()
            shadow.classify(word.time, word)
        self._pipeline.adopt(shadow)

    def _replay(self, journal: Journal, shadow: Pipeline, now: Millis) -> None:
        """What was there before this run. What claims to be of later comes from a clock that was wrong."""
        words = deque(journal.words())
        for rows in journal.history(now - round(self.station.history * 1000), until=now, last=self._last):
            for row in rows:
                if self._halt.is_set():
                    return
                while words and words[0].time <= row.time:
                    shadow.classify(words[0].time, words.popleft())
                shadow.accept(row.time, row.readings)
        for word in words:
            shadow.classify(word.time, word)

    async def _watch(self, journal: Journal, recorder: Recorder, uplink: Uplink) -> None:
        """Raise alarms of the station itself; tell the service manager while lines and link go on."""
        while True:
            now = self._clock.now()
            step = self._ailing.update(now, self._ills(journal, recorder, uplink))
            if step.alerts:
                self._conclude(now, (), step)
            alive = not self._acquisition.stalled and not uplink.stalled
            self._notifier.say(f"STATUS={self._status(recorder, uplink)}", *(["WATCHDOG=1"] if alive else []))
            await asyncio.sleep(min(_WATCH_S, self._notifier.watchdog / 3 or _WATCH_S))

    def _ills(self, journal: Journal, recorder: Recorder, uplink: Uplink) -> dict[str, str]:
        return ills(
            disk=recorder.problem,
            quarantined=journal.quarantined is not None,
            refused=uplink.refused,
            time_quality=time_quality(self._clock),
            detectors=self._pipeline.faults,
            stuck="".join(watch.hanging(_STUCK_DETECTION_S) for watch in self._watches),
            lines=self._acquisition.faults,
            stalled=self._acquisition.stalled,
            probes=self._acquisition.states,
        )

    def _status(self, recorder: Recorder, uplink: Uplink) -> str:
        probes = self._acquisition.states
        silent = [name for name, state in probes.items() if state.reason or state.last_good is None]
        parts = [f"{len(probes)} probes", f"silent: {', '.join(silent)}" if silent else "all deliver"]
        parts += [f"{self._counts.outbox_rows} rows wait", uplink.problem, recorder.problem]
        return "; ".join(filter(None, parts)).replace("\n", " ")

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
            level=self._pipeline.level,
            detectable=self._pipeline.detectable,
            disk=self.recorder.problem,
            unsaved=self.recorder.unsaved,
            unjudged=self.unjudged,
            lines={**dict.fromkeys(self._acquisition.stalled, "stalled"), **self._acquisition.faults},
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
