"""From parcels to the database, in batches, on one thread; nothing is let go before it is stored."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ewarn.central.intake import Parcel
from ewarn.central.parked import Parked, ParkedFile
from ewarn.central.writing import write_all
from ewarn.contracts import Clock, Store
from ewarn.errors import StoreUnavailable

_log = logging.getLogger(__name__)

GATHER = 0.2
"""Seconds that the first parcel of a batch waits for others."""
MAX_POINTS = 5000
"""Points after which a batch takes no further parcel."""
FIRST_BACK_OFF = 0.25
MAX_BACK_OFF = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """A parcel, and what its sender wants to be told about by."""

    parcel: Parcel
    message: Any = None


class Writer:
    """Writes what is put into its queue, for ever.

    How much waits here is bounded by the sender: it is given a job back, by `settled`, only when its points are in the
    database or parked.

    Args:
        store: where the points go; opened, used and closed on the writer's own thread.
        parked: where the points go that the store refuses.
        clock: dates what is parked.
        settled: called with the jobs that are done, the number of points stored and of things parked.
    """

    def __init__(
        self, store: Store, parked: ParkedFile, clock: Clock, settled: Callable[[Sequence[Job], int, int], None]
    ) -> None:
        self.queue: asyncio.Queue[Job] = asyncio.Queue()
        self.problem = ""
        self._store, self._parked, self._clock, self._settled = store, parked, clock, settled
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    async def run(self) -> None:
        """Write for ever. A database that is away is said once, and tried again after at most `MAX_BACK_OFF`."""
        await self._insist(self._store.open)
        while True:
            jobs = await self._gather()
            points, parked = await self._insist(functools.partial(self._write, jobs))
            self._settled(jobs, points, parked)
            for _ in jobs:
                self.queue.task_done()

    async def close(self) -> None:
        """Close the store after what its thread is doing."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.shutdown()

    async def _gather(self) -> list[Job]:
        jobs = [await self.queue.get()]
        if len(jobs[0].parcel.points) < MAX_POINTS:
            await asyncio.sleep(GATHER)
        size = len(jobs[0].parcel.points)
        while size < MAX_POINTS and not self.queue.empty():
            jobs.append(self.queue.get_nowait())
            size += len(jobs[-1].parcel.points)
        return jobs

    async def _insist(self, work: Callable[[], Any]) -> Any:
        back_off = FIRST_BACK_OFF
        while True:
            try:
                result = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            except StoreUnavailable as error:
                self._say(str(error))
                wait = back_off if error.retry_after is None else max(error.retry_after, FIRST_BACK_OFF)
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
        self.problem = problem

    def _write(self, jobs: Sequence[Job]) -> tuple[int, int]:
        """On the store's thread. Parking comes last, when nothing can make this be called again."""
        points = [p for job in jobs for p in job.parcel.points]
        refused = write_all(self._store, points)
        parked = [p for job in jobs for p in job.parcel.parked]
        parked += [Parked(point.measurement, reason, point) for point, reason in refused]
        self._parked.add(self._clock.now(), parked)
        return len(points) - len(refused), len(parked)
