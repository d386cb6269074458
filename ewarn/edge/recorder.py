"""Commits what the pipeline gives on a thread of its own, so that detection does not wait for the disk.

What the disk does not take is kept in memory and tried again. There is room for some hours; then the oldest readings
and verdicts go first and are counted. Alerts and the state of alarms are never dropped.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from ewarn.contracts import Millis, Reading
from ewarn.core.pipeline import Step
from ewarn.edge.journal import Journal
from ewarn.errors import StoreUnavailable

log = logging.getLogger(__name__)

ROOM = 20_000
RETRY_S = 1.0
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class _Entry:
    now: Millis
    inputs: Sequence[Reading]
    step: Step

    @property
    def alarming(self) -> bool:
        return bool(self.step.alerts or self.step.alarms)

    @property
    def heavy(self) -> bool:
        return bool(self.inputs or self.step.readings or self.step.verdicts)

    def bare(self) -> _Entry:
        """Its alarms alone."""
        return replace(self, inputs=(), step=Step(alerts=self.step.alerts, alarms=self.step.alarms))


class Recorder:
    """The way into the journal.

    Args:
        journal: open.
        writer: with one thread.
        on_commit: called in the event loop after something was committed.
        room: steps that are kept while the disk does not take them.

    Attributes:
        problem: why the disk does not take it, "" while it does.
        dropped: steps whose readings and verdicts are lost.
    """

    def __init__(
        self, journal: Journal, writer: Executor, on_commit: Callable[[], None] = lambda: None, *, room: int = ROOM
    ) -> None:
        self._journal, self._writer, self._on_commit, self._room = journal, writer, on_commit, room
        self._waiting: deque[_Entry] = deque()
        self._bare = 0
        self._news = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self.problem = ""
        self.dropped = 0

    @property
    def unsaved(self) -> int:
        """Steps that are not committed yet."""
        return len(self._waiting)

    def take(self, now: Millis, inputs: Sequence[Reading], step: Step) -> None:
        """Have a step committed; returns at once."""
        self._waiting.append(_Entry(now, inputs, step))
        self._make_room()
        self._news.set()

    async def run(self) -> None:
        """Commit what comes, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self.save():
                self._news.set()
                await asyncio.sleep(RETRY_S)

    async def save(self) -> bool:
        """Commit everything that waits. Returns whether the disk took it."""
        async with self._one_at_a_time:
            while self.unsaved:
                problem = await self._save_some()
                if problem and not self.problem:
                    log.error("the disk does not take it: %s; it is kept and tried again", problem)
                if not problem and self.problem:
                    log.info("the disk takes it again")
                self.problem = problem
                if problem:
                    return False
        return True

    async def _save_some(self) -> str:
        """Commit the oldest. Returns what is wrong with the disk. A cancelled caller leaves nothing half done."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
        left = deque(batch)
        work = asyncio.get_running_loop().run_in_executor(self._writer, self._commit, left)
        try:
            return await _finish(work)
        finally:
            self._waiting.extendleft(reversed(left))
            self._bare = sum(not entry.heavy for entry in self._waiting)
            if len(left) < len(batch):
                self._on_commit()

    def _commit(self, left: deque[_Entry]) -> str:
        """In the writer's thread: what is committed is no more in `left`."""
        try:
            while left:
                self._commit_one(left[0])
                left.popleft()
        except sqlite3.OperationalError as error:
            return str(error) or repr(error)
        except sqlite3.Error as error:
            return self._renew(error, left[0].now)
        return ""

    def _renew(self, error: sqlite3.Error, now: Millis) -> str:
        """The file seems to be damaged; what is not committed goes into the one that is there then."""
        log.error("the journal fails: %s", error)
        try:
            self._journal.renew(now)
        except StoreUnavailable as unavailable:
            return str(unavailable)
        return str(error)

    def _commit_one(self, entry: _Entry) -> None:
        """A step that cannot be written for another reason than the disk must not stop those behind it."""
        for attempt in (entry, entry.bare()):
            try:
                self._journal.commit(attempt.now, attempt.inputs, attempt.step)
            except sqlite3.Error:
                raise
            except Exception:
                log.exception("a step cannot be written down")
                self.dropped += attempt is entry
            else:
                return

    def _make_room(self) -> None:
        """The oldest readings and verdicts go; alarms stay in their place."""
        while len(self._waiting) > self._room + self._bare:
            oldest = next(i for i, entry in enumerate(self._waiting) if entry.heavy)
            if self._waiting[oldest].alarming:
                self._waiting[oldest] = self._waiting[oldest].bare()
                self._bare += 1
            else:
                del self._waiting[oldest]
            self.dropped += 1
            if self.dropped == 1:
                log.error("memory is full: the oldest readings that the disk does not take are dropped")


async def _finish(work: asyncio.Future[str]) -> str:
    """The result of work that cannot be stopped; a cancellation waits for its end."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
