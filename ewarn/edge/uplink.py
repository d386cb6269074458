"""From the outbox to the centrals: what the journal holds is sent until every central has said that it is stored.

Each stream (event, gap, obs, verdict) is pumped by itself, one message at a time, so an alert waits behind no backlog
but the few kilobytes that are already on the wire. A row that is sent is left alone until its central confirms it;
unconfirmed ones are sent again after a while that grows, and at once when the broker has forgotten our session or a
central has come back; `ewarn.edge.lanes` keeps the books. While nobody is subscribed, a stream offers its oldest rows
only, now and then. What the broker refuses is parked, counted and tried again now and then; the rest flows on.

A central that was wiped or restored asks for what it had; it is owed that again, little by little.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import random
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, TypeVar

from ewarn import __version__, wire
from ewarn.config import Station
from ewarn.contracts import Alert, Clock
from ewarn.edge.journal import Journal
from ewarn.edge.lanes import RESEND, WINDOW, Lane, Stream
from ewarn.edge.outbox import OutboxRow
from ewarn.errors import LinkDown, PublishRefused
from ewarn.mqtt import Link, Message

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

"""Takes the place of the station in the topics of centrals."""
BATCH_ROWS = 200
BATCH_BYTES = 32_000
"""Of one message before compression; some 5 kB on the wire, so that a line of 1 kB/s brings an alert in seconds."""
UNHEARD_PAUSE = 10.0
"""Seconds that a stream rests after a message that nobody is subscribed to, or until a central comes back."""
RETRY_PARKED = 300.0
"""Seconds between two attempts to send what the broker refused."""
REFUSED_PAUSE_MOST = 30.0
"""Seconds that a stream rests, at most, after the broker refused a message of it."""
LIVE_EDGE = 60.0
"""Seconds after which a row is called backfill, or two detection steps where that is more."""
HEALTH_EXPIRY = 3600
"""Seconds for which the broker keeps a `health` document."""
BACKFILL_ROWS = 500
"""Rows that a central asked for again and that wait for it at once, in front of newer ones of their kind."""
BACKFILL_PAUSE = 0.5
"""Seconds between two such portions."""
STALLED = 90.0
"""Seconds without a round of the link's own loop after which the uplink counts as wedged."""
_DISK_PAUSE = 1.0
_OFFLINE_TIMEOUT = 2.0
_CONFIRMATIONS = 1000


@dataclass(slots=True)
class UplinkStatus:
    """How the uplink fares.

    Attributes:
        connected: whether there is a connection to the broker.
        problem: what is wrong with it, "" where nothing.
        unconfirmed: rows that are sent and not yet confirmed by every central.
        sent: rows that the broker took, repetitions included.
        repeated: of these, rows that had been sent before.
        refused: rows that the broker refused.
        unheard: messages that nobody was subscribed to.
        confirmed: when each central confirmed something last, seconds of the machine's monotonic clock.
    """

    connected: bool = False
    problem: str = ""
    unconfirmed: int = 0
    sent: int = 0
    repeated: int = 0
    refused: int = 0
    unheard: int = 0
    confirmed: dict[str, float] = field(default_factory=dict)


class Uplink:
    """The station's end of MQTT. `run` runs its link too.

    Args:
        station: whose rows and documents these are.
        journal: that holds the outbox; it is called on a thread.
        link: not running yet; its will, subscriptions and hooks are set here.
        clock: of the station.
        tq: tells how good that clock is.
        executor: for calls of the journal; the event loop's own where absent.
        resend: seconds after which an unconfirmed row is first sent again.
        window: rows of one kind that may wait for one central's confirmation.
        retry_parked: seconds between two attempts to send what the broker refused.
    """

    def __init__(
        self,
        station: Station,
        journal: Journal,
        link: Link,
        clock: Clock,
        *,
        tq: Callable[[], str] = lambda: "",
        executor: Executor | None = None,
        resend: float = RESEND,
        window: int = WINDOW,
        retry_parked: float = RETRY_PARKED,
    ) -> None:
        self._station, self._journal, self._link, self._clock, self._tq = station, journal, link, clock, tq
        self._executor, self._retry_parked = executor, retry_parked
        self._streams = [Stream(kind, station.centrals, window, resend) for kind in wire.STREAMS]
        self._confirmations: asyncio.Queue[tuple[str, str, list[tuple[int, int]]]] = asyncio.Queue(_CONFIRMATIONS)
        self._boot = journal.boot
        self._asks: dict[str, tuple[int, int]] = {}
        self._asked = asyncio.Event()
        self._documents: dict[str, dict[str, Any]] = {"status": self._state("online"), "meta": meta(station)}
        self._unsaid: dict[str, None] = {}
        self._something_unsaid = asyncio.Event()
        self._announced: dict[str, object] = {}
        self._complaints: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._counts = UplinkStatus()
        self._attach()

    def _attach(self) -> None:
        link, me = self._link, self._station.id
        link.will = (wire.topic(me, "status"), self._document(self._state("lost")))
        link.subscriptions = [
            topic
            for central in self._station.centrals
            for topic in (
                wire.topic(me, "stored", central),
                wire.topic(me, "ask", central),
                wire.topic(wire.COLLECTOR, central, "status", "#"),
            )
        ]
        link.on_message, link.on_connect = self._take, self._connected

    @property
    def problem(self) -> str:
        """What is wrong with the link, "" where nothing."""
        return self._link.problem or "; ".join(f"{leaf}: {text}" for leaf, text in self._complaints.items() if text)

    @property
    def refused(self) -> str:
        """What the broker refuses to take of us (rights, size), or us, "" where nothing."""
        return next(filter(None, self._refused.values()), self._link.refused)

    @property
    def stalled(self) -> bool:
        """Whether the link has not come round for much longer than it may take to connect, wait or notice a loss."""
        return time.monotonic() - self._link.beat > STALLED

    @property
    def status(self) -> UplinkStatus:
        """How it fares, as of now."""
        counts = self._counts
        counts.connected, counts.problem = self._link.connected, self.problem
        counts.unconfirmed = len({seq for stream in self._streams for lane in stream.lanes for seq in lane.sent})
        counts.unheard = self._link.counters.unmatched
        return counts

    def wake(self) -> None:
        """Something was committed."""
        for stream in self._streams:
            stream.awake.set()

    def publish_alarm(self, alert: Alert) -> None:
        """The state of an alarm is this now; kept at the broker."""
        self.publish_alarm_row(alert.alarm, wire.alert_row(alert))

    def publish_alarm_row(self, alarm: str, row: Mapping[str, Any]) -> None:
        """The same, of a transition as it was sent before: the broker may have forgotten it."""
        self._say(f"alarm/{alarm}", row)

    def publish_health(self, document: Mapping[str, Any]) -> None:
        """The station's health is this now; kept at the broker for an hour."""
        self._say("health", document)

    async def run(self) -> None:
        """Send for ever; when cancelled, say that we are offline and end the link."""
        link = asyncio.create_task(self._link.run())
        try:
            async with asyncio.TaskGroup() as group:
                parts = (self._confirm(), self._unpark(), self._speak(), self._backfill())
                for part in (*parts, *map(self._pump, self._streams)):
                    group.create_task(part)
                await asyncio.wait({link})
                link.result()
        finally:
            await self.say_offline()
            link.cancel()
            await asyncio.gather(link, return_exceptions=True)

    async def say_offline(self) -> None:
        """Tell the centrals that this end is meant."""
        self._documents["status"] = self._state("offline")
        self._unsaid.pop("status", None)
        with contextlib.suppress(LinkDown, PublishRefused, TimeoutError):
            async with asyncio.timeout(_OFFLINE_TIMEOUT):
                await self._publish_document("status")

    async def _pump(self, stream: Stream) -> NoReturn:
        while True:
            await self._link.wait_connected()
            stream.awake.clear()
            found = await self._next(stream)
            if found is not None:
                await self._send(stream, *found)

    async def _next(self, stream: Stream) -> tuple[Lane, list[OutboxRow]] | None:
        """What is to be sent next and the lane that it is of; None, after some rest, where there is nothing."""
        self._follow_journal()
        now = time.monotonic()
        for lane in stream.in_turn():
            place = lane.place(now)
            if place is None:
                continue
            rows = await self._ask(partial(self._batch, stream.kind, lane.central, *place), None)
            if rows is None:
                return None
            admitted = lane.admit(rows)
            if admitted:
                return lane, admitted
            lane.forget_overdue(now)
        await _wait(stream.awake, max(0.0, stream.due(now + RESEND) - now))
        return None

    def _follow_journal(self) -> None:
        """A file that was begun anew numbers its rows anew."""
        if self._boot != self._journal.boot:
            self._boot = self._journal.boot
            for stream in self._streams:
                stream.begin_anew()
            self._say("status", self._state("online"))

    def _batch(self, kind: str, central: str, after: int, skip: set[int]) -> list[OutboxRow] | None:
        return self._journal.outbox_batch((kind,), BATCH_ROWS, BATCH_BYTES, skip, central=central, after=after)

    async def _send(self, stream: Stream, lane: Lane, rows: Sequence[OutboxRow]) -> None:
        now = self._clock.now()
        payload = wire.envelope(self._station.id, now, self._tq(), [self._row(row, now) for row in rows])
        stream.wanted.clear()
        try:
            heard = await self._link.publish(wire.topic(self._station.id, stream.kind), payload)
        except LinkDown:
            # Between the loss and its notice a publish fails at once.
            await asyncio.sleep(0.05)
        except PublishRefused as error:
            await self._park(stream, rows, error)
        else:
            stream.pause = 1.0
            self._complain(stream.kind, "" if heard else "no central is subscribed")
            if heard:
                self._counts.sent += len(rows)
                self._counts.repeated += stream.took(rows, time.monotonic(), lane)
            else:
                await _wait(stream.wanted, UNHEARD_PAUSE * random.uniform(0.5, 1))

    def _row(self, row: OutboxRow, now: int) -> wire.Row:
        edge = max(LIVE_EDGE, 2 * self._station.detection.step)
        backfill = {"backfill": True} if now - row.time > edge * 1000 else {}
        return {"boot": row.boot, "seq": row.seq, **row.body, **backfill}

    async def _park(self, stream: Stream, rows: Sequence[OutboxRow], error: PublishRefused) -> None:
        self._counts.refused += len(rows)
        self._complain(stream.kind, str(error), refused=True)
        await self._ask(lambda: self._journal.park([row.seq for row in rows]), None)
        await asyncio.sleep(stream.pause)
        stream.pause = min(2 * stream.pause, REFUSED_PAUSE_MOST)

    async def _unpark(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._retry_parked)
            await self._try_parked()

    async def _try_parked(self) -> None:
        if await self._ask(self._journal.unpark, 0):
            for stream in self._streams:
                stream.rewind()

    async def _backfill(self) -> NoReturn:
        """Owe centrals again what they asked for, now or before the last start."""
        while True:
            await self._link.wait_connected()
            self._asked.clear()
            for central, (at, since) in list(self._asks.items()):
                done = await self._ask(partial(self._journal.ask, central, at, since), None) is not None
                if done and self._asks.get(central) == (at, since):
                    del self._asks[central]
            more = [await self._owe_again(central) for central in self._station.centrals]
            await _wait(self._asked, BACKFILL_PAUSE if any(more) or self._asks else 60.0)

    async def _owe_again(self, central: str) -> bool:
        owed = await self._ask(partial(self._journal.owe_again, central, BACKFILL_ROWS), None)
        if owed:
            for stream in self._streams:
                stream.rewind()
        return owed is not None

    async def _connected(self) -> None:
        for leaf in self._documents:
            self._unsaid[leaf] = None
        self._something_unsaid.set()
        if not self._link.session_present:
            for stream in self._streams:
                stream.send_again()
        await self._try_parked()

    def _take(self, message: Message) -> None:
        """A confirmation, what a central asks for, or the state of one."""
        try:
            who, leaf, rest = wire.split_topic(message.topic)
            if who == wire.COLLECTOR:
                self._hear_central(leaf, rest, wire.unpack(message.payload))
            elif leaf == "ask" and message.payload:
                self._asks[rest] = wire.ask_of(message.payload)
                self._asked.set()
            elif leaf == "stored":
                boot, ranges = wire.stored_of(message.payload)
                # A confirmation that finds no room costs a repetition.
                with contextlib.suppress(asyncio.QueueFull):
                    self._confirmations.put_nowait((rest, boot, ranges))
        except wire.WireError as error:
            _log.warning("a message on %s is not understood: %s", message.topic, error)

    def _hear_central(self, central: str, collector: str, document: Mapping[str, Any]) -> None:
        """A central that comes back, or one of its collectors, may have lost what was on its way to it."""
        who = f"{central}/{collector}"
        back = document.get("state") == "online" and document.get("sent") != self._announced.get(who)
        self._announced[who] = document.get("sent")
        if back:
            for stream in self._streams:
                stream.send_again(central)

    async def _confirm(self) -> NoReturn:
        while True:
            central, boot, ranges = await self._confirmations.get()
            known = await self._ask(partial(self._journal.stored, central, boot, ranges), None)
            if known is not None:
                self._counts.confirmed[central] = time.monotonic()
                for stream in self._streams:
                    stream.settle(central, boot, ranges)

    def _say(self, leaf: str, content: Mapping[str, Any]) -> None:
        self._documents[leaf] = dict(content)
        self._unsaid[leaf] = None
        self._something_unsaid.set()

    async def _speak(self) -> NoReturn:
        """Publish the documents that changed, oldest change first."""
        while True:
            await self._something_unsaid.wait()
            await self._link.wait_connected()
            if not self._unsaid:
                self._something_unsaid.clear()
                continue
            leaf = next(iter(self._unsaid))
            del self._unsaid[leaf]
            try:
                await self._publish_document(leaf)
                self._complain(leaf, "")
            except LinkDown:
                await asyncio.sleep(0.05)  # after the next connection all of them are said
            except PublishRefused as error:
                self._complain(leaf, str(error), refused=True)

    async def _publish_document(self, leaf: str) -> None:
        topic = wire.topic(self._station.id, *leaf.split("/"))
        expiry = HEALTH_EXPIRY if leaf == "health" else None
        await self._link.publish(topic, self._document(self._documents[leaf]), retain=True, expiry=expiry)

    def _document(self, content: Mapping[str, Any]) -> bytes:
        return wire.document(self._station.id, self._clock.now(), self._tq(), content)

    def _state(self, state: str) -> dict[str, Any]:
        return {"state": state, "boot": self._journal.boot, "version": __version__}

    def _complain(self, leaf: str, problem: str, *, refused: bool = False) -> None:
        """Log a problem when it comes and when it goes."""
        if problem != self._complaints.get(leaf, ""):
            _log.log(logging.WARNING if problem else logging.INFO, "%s: %s", leaf, problem or "is taken again")
        self._complaints[leaf] = problem
        self._refused[leaf] = problem if refused else ""

    async def _ask(self, work: Callable[[], _T], otherwise: _T) -> _T:
        """Work on the journal, on a thread. A disk that fails is for the writer to report; we come again."""
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except sqlite3.Error as error:
            self._complain("outbox", str(error))
            await asyncio.sleep(_DISK_PAUSE)
            return otherwise
        self._complain("outbox", "")
        return result


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event, at most so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def meta(station: Station) -> dict[str, Any]:
    """The `meta` document: what the station measures, and with what."""
    channels = {
        c.id: {
            "parameter": c.parameter, "unit": c.unit, "role": c.role, "probe": c.probe, "every": c.every,
            "resolution": c.resolution, **({"formula": c.formula.text} if c.formula else {}),
        }
        for c in station.channels.values()
    }  # fmt: skip
    return {
        "name": station.name,
        "time_zone": station.time_zone,
        "water": station.water,
        "centrals": list(station.centrals),
        "step": float(station.detection.step),
        "channels": channels,
        "versions": {"ewarn": __version__, "python": platform.python_version()},
    }
