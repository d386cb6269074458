"""From messages to the database, in batches, on one thread; nothing is let go before it is stored."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ewarn.central import points
from ewarn.central.intake import Parcel
from ewarn.central.parked import Parked, ParkedFile
from ewarn.central.thread import StoreThread
from ewarn.central.writing import write_all
from ewarn.contracts import Clock, Millis, Point, Store
from ewarn.errors import StoreUnavailable
from ewarn.mqtt import Message

_log = logging.getLogger(__name__)

GATHER = 0.2
"""Seconds that the first message of a batch waits for others."""
MAX_POINTS = 5000
"""Points after which a batch takes no further message."""
FIRST_BACK_OFF = 0.25
MAX_BACK_OFF = 10.0
MAX_RETRY_AFTER = 60.0
"""Seconds; a database that asks for longer is asked again after these."""
CLOSE = 1.0
"""Seconds that the end waits for a store that hangs."""


@dataclass(slots=True)
class Job:
    """What waits.

    Attributes:
        message: as it came; None for what central says itself.
        parcel: what is in it, None while nobody has looked: a message takes far less room unread.
    """

    message: Message | None = None
    parcel: Parcel | None = None

    @property
    def urgent(self) -> bool:
        """Whether it is an alert: a station's, or central's own."""
        return self.message is None or self.message.topic.endswith("/event")

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly, while it waits."""
        return len(self.message.payload) + 500 if self.message is not None else 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that are written together, with what is in them."""

    jobs: list[Job]
    parcels: list[Parcel]


class Writer:
    """Writes what is put to it, for ever.

    Attributes:
        problem: why the store takes nothing, "" while it does.
        waiting: bytes of all messages that are not settled yet.

    Args:
        central: its name.
        store: where the points go; opened, used and closed on the writer's own thread.
        parked: where the points go that the store refuses.
        clock: dates what is parked.
        read: gives what is in a message; it does not raise.
        settled: called with a batch that is done, the number of points stored and of things parked.
        back: called when the store takes points again after it did not.
    """

    def __init__(
        self,
        central: str,
        store: Store,
        parked: ParkedFile,
        clock: Clock,
        *,
        read: Callable[[Message], Parcel],
        settled: Callable[[Batch, int, int], None],
        back: Callable[[], None] = lambda: None,
    ) -> None:
        self.problem = ""
        self.waiting = 0
        self._central, self._store, self._parked, self._clock = central, store, parked, clock
        self._read, self._settled, self._back = read, settled, back
        self._queue: asyncio.PriorityQueue[tuple[int, int, Job]] = asyncio.PriorityQueue()
        self._number = itertools.count()
        self._thread = StoreThread()

    def put(self, job: Job) -> None:
        """Have it written; alerts before all that waits."""
        self.waiting += job.size
        self._queue.put_nowait((not job.urgent, next(self._number), job))

    async def read(self, measurement: str, tags: Mapping[str, str], start: Millis, end: Millis) -> Sequence[Point]:
        """As `ewarn.contracts.Store.read`, between two batches. Raises StoreUnavailable."""
        return await self._thread.call(functools.partial(self._store.read, measurement, tags, start, end))

    async def done(self) -> None:
        """Return when everything is settled."""
        await self._queue.join()

    async def run(self) -> None:
        """Write for ever. A database that is away is said once, and tried again after at most `MAX_BACK_OFF`."""
        await self._insist(self._store.open)
        while True:
            batch = await self._gather()
            stored, parked = await self._insist(functools.partial(self._write, batch))
            self._settled(batch, stored, parked)
            for job in batch.jobs:
                self.waiting -= job.size
                self._queue.task_done()

    async def close(self) -> None:
        """Close the store after what its thread is doing; one that hangs is left to itself."""
        closing = asyncio.ensure_future(self._thread.call(self._store.close))
        await asyncio.wait({closing}, timeout=CLOSE)
        self._thread.end()
        if not closing.done():
            _log.warning("the database hangs: what it was given last will come again")
        elif closing.exception() is not None:
            _log.warning("closing the database: %s", closing.exception())

    async def _gather(self) -> Batch:
        batch = Batch([], [])
        _, _, first = await self._queue.get()
        size = self._add(batch, first)
        if size < MAX_POINTS and not first.urgent:
            await asyncio.sleep(GATHER)
        while size < MAX_POINTS and not self._queue.empty():
            size += self._add(batch, self._queue.get_nowait()[-1])
        return batch

    def _add(self, batch: Batch, job: Job) -> int:
        """Look into a job; give the points of it, a row without any counting as one."""
        parcel = job.parcel or (self._read(job.message) if job.message is not None else Parcel(""))
        batch.jobs.append(job)
        batch.parcels.append(parcel)
        return max(len(parcel.points), len(parcel.entries))

    async def _insist(self, work: Callable[[], Any]) -> Any:
        back_off = FIRST_BACK_OFF
        while True:
            try:
                result = await self._thread.call(work)
            except StoreUnavailable as error:
                self._say(str(error))
                asked = error.retry_after
                wait = back_off if asked is None else min(max(FIRST_BACK_OFF, asked), MAX_RETRY_AFTER)
            except Exception as error:  # noqa: BLE001  (a store of a third party: the data is kept)
                if not self.problem:
                    _log.exception("the store failed in a way that it should not")
                self._say(repr(error))
                wait = back_off
            else:
                self._say("")
                return result
            await asyncio.sleep(wait * random.uniform(0.75, 1.0))
            back_off = min(back_off * 2, MAX_BACK_OFF)

    def _say(self, problem: str) -> None:
        """Log changes, not repetitions."""
        if problem and not self.problem:
            _log.warning("the database is not available; data waits meanwhile: %s", problem)
        elif self.problem and not problem:
            _log.info("the database is available again")
            self._back()
        self.problem = problem

    def _write(self, batch: Batch) -> tuple[int, int]:
        """On the store's thread. Parking comes last, when nothing can make this be called again."""
        now = self._clock.now()
        every = [p for parcel in batch.parcels for p in parcel.points]
        refused = write_all(self._store, every, points.of_refusal(self._central, now))
        parked = [p for parcel in batch.parcels for p in parcel.parked]
        parked += [Parked(point.measurement, reason, point) for point, reason in refused]
        self._parked.add(now, parked)
        return len(every) - len(refused), len(parked)
