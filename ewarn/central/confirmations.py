"""What stations are told of: the rows that the database has."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Iterable
from typing import Protocol

from ewarn import wire
from ewarn.central.intake import Entry
from ewarn.errors import LinkDown, PublishRefused

_log = logging.getLogger(__name__)

EXPIRY = 3600
"""Seconds that the broker keeps a confirmation for a station that is away; after that the station sends again."""
SEEN = 20_000
"""Rows that are remembered, to tell how many came again."""

CHUNK = 5000
"""Rows that one message confirms at most, so that it stays within what brokers take."""

Rows = tuple[str, str]
"""Station and boot."""


class Publish(Protocol):
    """Sends a message and returns when the broker has it. Raises LinkDown, PublishRefused."""

    def __call__(
        self, topic: str, payload: bytes, *, retain: bool = False, expiry: int | None = None
    ) -> Awaitable[object]:
        """Send."""


class Confirmations:
    """Collects rows that are stored and publishes them on `stored/{name}`, a message for each station and boot.

    What is lost here costs nothing but a repetition: the station sends again what nobody confirmed.

    Args:
        name: of the central.
        publish: sends a message.
    """

    def __init__(self, name: str, publish: Publish) -> None:
        self.repeated = 0
        self._name, self._publish = name, publish
        self._waiting: dict[Rows, set[int]] = {}
        self._wake = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._refused: set[str] = set()
        self._seen: OrderedDict[tuple[str, str, int], None] = OrderedDict()

    def add(self, entries: Iterable[Entry]) -> None:
        """These are stored."""
        for e in entries:
            self._remember((e.station, e.boot, e.seq))
            self._waiting.setdefault((e.station, e.boot), set()).add(e.seq)
        self._wake.set()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self.flush():
                await asyncio.sleep(1)
                self._wake.set()

    async def flush(self) -> bool:
        """Publish what waits; tell whether nothing is left."""
        async with self._flushing:
            try:
                while self._waiting:
                    await self._publish_one(*next(iter(self._waiting)))
            except LinkDown:
                return False
        return True

    async def _publish_one(self, station: str, boot: str) -> None:
        """Raises LinkDown; the rows wait on then."""
        waiting = self._waiting[station, boot]
        rows = sorted(waiting)[:CHUNK]
        topic = wire.topic(station, "stored", self._name)
        try:
            await self._publish(topic, wire.stored_payload(boot, rows), expiry=EXPIRY)
        except PublishRefused as error:
            if station not in self._refused:
                _log.warning("cannot confirm rows of %s: %s", station, error)
            self._refused.add(station)
        else:
            self._refused.discard(station)
        waiting.difference_update(rows)
        if not waiting:
            del self._waiting[station, boot]

    def _remember(self, identity: tuple[str, str, int]) -> None:
        if identity in self._seen:
            self.repeated += 1
        self._seen[identity] = None
        self._seen.move_to_end(identity)
        while len(self._seen) > SEEN:
            self._seen.popitem(last=False)
