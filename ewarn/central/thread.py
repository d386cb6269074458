"""One thread for a store, which the end of the process does not wait for."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")


class StoreThread:
    """Does one thing after the other. Unlike an executor's it ends with the process, even in a call that hangs."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def call(self, work: Callable[[], _T]) -> _T:
        """What `work` returns or raises; begun after everything that was asked before."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="store", daemon=True)
            self._thread.start()
        future: Future[_T] = Future()
        self._work.put((work, future))
        return await asyncio.wrap_future(future)

    def end(self) -> None:
        """Let it end when it has done everything."""
        self._work.put(None)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  (the one who asked is told)
                future.set_exception(error)
            else:
                future.set_result(result)
