"""A thread for detection: a detector that takes long holds up neither the lines nor the link."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Thinker:
    """Does one piece of work after another, in the order in which it was given.

    Its thread does not keep the process from ending: what is done there is not durable before it comes back.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="detection", daemon=True).start()

    def do(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        """What the work gives, later; outcomes come in the order of the calls."""
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._jobs.put((work, future))
        return future

    def close(self) -> None:
        """End after what was given."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, future = job
            try:
                tell: Callable[[Any], None] = future.set_result
                outcome = work()
            except BaseException as error:  # noqa: BLE001  (it belongs to whoever waits for the work)
                tell, outcome = future.set_exception, error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_tell, future, tell, outcome)


def _tell(future: asyncio.Future[Any], tell: Callable[[Any], None], outcome: Any) -> None:
    if not future.done():
        tell(outcome)
