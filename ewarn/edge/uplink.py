"""From the outbox to the centrals: what the journal holds is sent until every central has said that it is stored.

Each stream (event, obs, verdict) is pumped by itself, one message at a time, so an alert waits behind no backlog but
the few kilobytes that are already on the wire. A row that is sent is left alone until its central confirms it;
unconfirmed ones are sent again after a while that grows, and at once when the broker has forgotten our session or a
central has come back. While nobody is subscribed, a stream offers its oldest rows only, now and then. What the broker
refuses is parked, counted and tried again now and then; the rest flows on.
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
from ewarn.edge.journal import Journal, OutboxRow
from ewarn.errors import LinkDown, PublishRefused
from ewarn.mqtt import Link, Message

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

COLLECTOR = "_collector"
"""Takes the place of the station in the topics of centrals."""
BATCH_ROWS = 200
BATCH_BYTES = 32_000
"""Of one message before compression; some 5 kB on the wire, so that a line of 1 kB/s brings an alert in seconds."""
RESEND = 30.0
"""Seconds after which an unconfirmed row is sent again; doubled each time, up to `RESEND_MOST`."""
RESEND_MOST = 3600.0
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


@dataclass(slots=True)
class _Sent:
    """A row that the broker has and that not every central has confirmed."""

    boot: str
    owed: set[str]
    times: int
    due: float


class _Stream:
    """One kind of row on its way.

    Attributes:
        kind: of the rows, and leaf of their topic.
        awake: set when there may be something to send.
        wanted: set when a central may have come back.
        pause: seconds to rest after the next refusal.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.awake, self.wanted = asyncio.Event(), asyncio.Event()
        self.sent: dict[int, _Sent] = {}
        self.pause = 1.0

    def wake(self) -> None:
        """There may be something to send."""
        self.awake.set()

    def waiting(self, now: float) -> set[int]:
        """Rows that are not to be sent again yet."""
        return {seq for seq, sent in self.sent.items() if sent.due > now}

    def forget_overdue(self, now: float) -> None:
        """Drop what was due and is no more in the outbox."""
        self.sent = {seq: sent for seq, sent in self.sent.items() if sent.due > now}

    def send_again(self, central: str = "") -> None:
        """Everything unconfirmed (by this central) is due now."""
        for sent in self.sent.values():
            if not central or central in sent.owed:
                sent.times, sent.due = 0, 0.0
        self.wanted.set()
        self.wake()


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
        retry_parked: float = RETRY_PARKED,
    ) -> None:
        self._station, self._journal, self._link, self._clock, self._tq = station, journal, link, clock, tq
        self._executor, self._resend, self._retry_parked = executor, resend, retry_parked
        self._streams = [_Stream(kind) for kind in ("event", "obs", "verdict")]
        self._confirmations: asyncio.Queue[tuple[str, str, list[tuple[int, int]]]] = asyncio.Queue(_CONFIRMATIONS)
        self._documents: dict[str, dict[str, Any]] = {"status": self._state("online"), "meta": meta(station)}
        self._unsaid: dict[str, None] = {}
        self._something_unsaid = asyncio.Event()
        self._announced: dict[str, object] = {}
        self._complaints: dict[str, str] = {}
        self._counts = UplinkStatus()
        self._attach()

    def _attach(self) -> None:
        link, me = self._link, self._station.id
        link.will = (wire.topic(me, "status"), self._document(self._state("lost")))
        link.subscriptions = [
            topic
            for central in self._station.centrals
            for topic in (wire.topic(me, "stored", central), wire.topic(COLLECTOR, central, "status"))
        ]
        link.on_message, link.on_connect = self._take, self._connected

    @property
    def problem(self) -> str:
        """What is wrong with the link, "" where nothing."""
        return self._link.problem or "; ".join(f"{leaf}: {text}" for leaf, text in self._complaints.items() if text)

    @property
    def status(self) -> UplinkStatus:
        """How it fares, as of now."""
        counts = self._counts
        counts.connected, counts.problem = self._link.connected, self.problem
        counts.unconfirmed = sum(len(stream.sent) for stream in self._streams)
        counts.unheard = self._link.counters.unmatched
        return counts

    def wake(self) -> None:
        """Something was committed."""
        for stream in self._streams:
            stream.wake()

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
                for part in (self._confirm(), self._unpark(), self._speak(), *map(self._pump, self._streams)):
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

    async def _pump(self, stream: _Stream) -> NoReturn:
        while True:
            await self._link.wait_connected()
            stream.awake.clear()
            now = time.monotonic()
            rows = await self._ask(partial(self._batch, stream.kind, stream.waiting(now)), None)
            if rows:
                await self._send(stream, rows)
            elif rows is not None:
                stream.forget_overdue(now)
                await self._rest(stream)

    def _batch(self, kind: str, skip: set[int]) -> list[OutboxRow] | None:
        return self._journal.outbox_batch((kind,), BATCH_ROWS, BATCH_BYTES, skip)

    async def _rest(self, stream: _Stream) -> None:
        """Wait for new rows, or for the next that is to be sent again."""
        due = min((sent.due for sent in stream.sent.values()), default=time.monotonic() + RESEND)
        await _wait(stream.awake, max(0.0, due - time.monotonic()))

    async def _send(self, stream: _Stream, rows: Sequence[OutboxRow]) -> None:
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
                self._remember(stream, rows)
            else:
                await _wait(stream.wanted, UNHEARD_PAUSE * random.uniform(0.5, 1))

    def _row(self, row: OutboxRow, now: int) -> wire.Row:
        edge = max(LIVE_EDGE, 2 * self._station.detection.step)
        backfill = {"backfill": True} if now - row.time > edge * 1000 else {}
        return {"boot": row.boot, "seq": row.seq, **row.body, **backfill}

    def _remember(self, stream: _Stream, rows: Sequence[OutboxRow]) -> None:
        now = time.monotonic()
        for row in rows:
            before = stream.sent.get(row.seq)
            times = before.times if before else 0
            self._counts.repeated += before is not None
            owed = before.owed if before else set(self._station.centrals)
            due = now + min(self._resend * 2.0 ** min(times, 20), RESEND_MOST)
            stream.sent[row.seq] = _Sent(row.boot, owed, times + 1, due)
        self._counts.sent += len(rows)

    async def _park(self, stream: _Stream, rows: Sequence[OutboxRow], error: PublishRefused) -> None:
        self._counts.refused += len(rows)
        self._complain(stream.kind, str(error))
        await self._ask(lambda: self._journal.park([row.seq for row in rows]), None)
        await asyncio.sleep(stream.pause)
        stream.pause = min(2 * stream.pause, REFUSED_PAUSE_MOST)

    async def _unpark(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._retry_parked)
            await self._try_parked()

    async def _try_parked(self) -> None:
        if await self._ask(self._journal.unpark, 0):
            self.wake()

    async def _connected(self) -> None:
        for leaf in self._documents:
            self._unsaid[leaf] = None
        self._something_unsaid.set()
        if not self._link.session_present:
            for stream in self._streams:
                stream.send_again()
        await self._try_parked()

    def _take(self, message: Message) -> None:
        """A confirmation, or the state of a central."""
        try:
            who, leaf, rest = wire.split_topic(message.topic)
            if who == COLLECTOR:
                self._hear_central(leaf, wire.unpack(message.payload))
            elif leaf == "stored":
                boot, ranges = wire.stored_of(message.payload)
                # A confirmation that finds no room costs a repetition.
                with contextlib.suppress(asyncio.QueueFull):
                    self._confirmations.put_nowait((rest, boot, ranges))
        except wire.WireError as error:
            _log.warning("a message on %s is not understood: %s", message.topic, error)

    def _hear_central(self, central: str, document: Mapping[str, Any]) -> None:
        """A central that comes back may have lost what was on its way to it."""
        back = document.get("state") == "online" and document.get("sent") != self._announced.get(central)
        self._announced[central] = document.get("sent")
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
                    _settle(stream, central, boot, ranges)

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
                self._complain(leaf, str(error))

    async def _publish_document(self, leaf: str) -> None:
        topic = wire.topic(self._station.id, *leaf.split("/"))
        expiry = HEALTH_EXPIRY if leaf == "health" else None
        await self._link.publish(topic, self._document(self._documents[leaf]), retain=True, expiry=expiry)

    def _document(self, content: Mapping[str, Any]) -> bytes:
        return wire.document(self._station.id, self._clock.now(), self._tq(), content)

    def _state(self, state: str) -> dict[str, Any]:
        return {"state": state, "boot": self._journal.boot, "version": __version__}

    def _complain(self, leaf: str, problem: str) -> None:
        """Log a problem when it comes and when it goes."""
        if problem != self._complaints.get(leaf, ""):
            _log.log(logging.WARNING if problem else logging.INFO, "%s: %s", leaf, problem or "is taken again")
        self._complaints[leaf] = problem

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


def _settle(stream: _Stream, central: str, boot: str, ranges: Sequence[tuple[int, int]]) -> None:
    """This central has these rows; those that all have need no watching any more."""
    sent = stream.sent
    for first, last in ranges:
        # A range may be longer than what we sent, and what we sent longer than the range.
        numbers = range(first, last + 1) if last - first < len(sent) else [n for n in sent if first <= n <= last]
        for seq in numbers:
            row = sent.get(seq)
            if row is not None and row.boot == boot:
                row.owed.discard(central)
                if not row.owed:
                    del sent[seq]


def meta(station: Station) -> dict[str, Any]:
    """The `meta` document: what the station measures, and with what."""
    channels = {
        c.id: {
            "parameter": c.parameter, "unit": c.unit, "role": c.role, "probe": c.probe, "every": c.every,
            "resolution": c.resolution,
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
