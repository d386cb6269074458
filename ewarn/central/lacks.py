"""What the database lost: where it does not have what it was said to have, the station is asked for it again.

A station tells in `health` of which time the newest readings are that this central confirmed. A database that was
wiped, or restored from a backup, does not have them. Then `ask/{central}` says since when something is lacking; it is
retained, so that it reaches a station that is away, and a station heeds each once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn

from ewarn import wire
from ewarn.central.confirmations import Publish
from ewarn.contracts import Clock, Millis, Point
from ewarn.errors import LinkDown, PublishRefused, StoreUnavailable
from ewarn.times import from_text, to_text

_log = logging.getLogger(__name__)

DAY: Millis = 86_400_000
_DAYS = 60
"""How far back to look for the newest readings that are there; stations keep no more."""
_AGAIN = 1.0
"""Seconds until the next attempt where database or broker are not there."""

Read = Callable[[str, Mapping[str, str], Millis, Millis], Awaitable[Sequence[Point]]]
"""As `ewarn.contracts.Store.read`."""


class Lacks:
    """Looks once after each start, and once after the database was away, whether each station's newest is there.

    Args:
        name: of the central.
        read: looks into the database.
        publish: sends a message.
        clock: dates what is asked.
    """

    def __init__(self, name: str, read: Read, publish: Publish, clock: Clock) -> None:
        self._name, self._read, self._publish, self._clock = name, read, publish, clock
        self._marks: dict[str, Millis] = {}
        self._unchecked: dict[str, Millis] = {}
        self._news = asyncio.Event()

    def hear(self, station: str, health: Mapping[str, Any]) -> None:
        """Take note of what a station was told; the first after a start is what is looked for."""
        stored = health.get("stored")
        mark = stored.get(self._name) if isinstance(stored, dict) else None
        if not isinstance(mark, str):
            return
        try:
            time = from_text(mark)
        except ValueError:
            return
        if station not in self._marks:
            self._unchecked[station] = time
            self._news.set()
        self._marks[station] = time

    def look_again(self) -> None:
        """The database was away: it may be another one now."""
        self._unchecked = self._marks | self._unchecked
        self._news.set()

    async def run(self) -> NoReturn:
        """Look and ask, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            for station, mark in list(self._unchecked.items()):
                try:
                    await self._check(station, mark)
                    self._unchecked.pop(station, None)
                except (StoreUnavailable, LinkDown):
                    self._news.set()
            if self._unchecked:
                await asyncio.sleep(_AGAIN)

    async def _check(self, station: str, mark: Millis) -> None:
        since = await self._since(station, mark)
        if since is None:
            return
        _log.warning("the database lacks what %s sent since %s; it is asked for again", station, to_text(since))
        topic = wire.topic(station, "ask", self._name)
        try:
            await self._publish(topic, wire.ask_payload(self._clock.now(), since), retain=True)
        except PublishRefused as error:
            _log.warning("cannot ask %s: %s", station, error)

    async def _since(self, station: str, mark: Millis) -> Millis | None:
        """Since when something is lacking, None where nothing is.

        Rows may have come out of their order, so a day before the newest that is there counts as lacking too.
        """
        tags = {"station": station}
        if await self._read("wq", tags, mark, mark + 1):
            return None
        for end in range(mark, mark - _DAYS * DAY, -DAY):
            points = await self._read("wq", tags, end - DAY, end)
            if points:
                return points[-1].time - DAY
        return 0
