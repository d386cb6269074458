"""The central collector: subscribes, stores, and only then lets go.

The streams come by shared subscriptions of this central's own group, so that every central gets every row. A message
is acknowledged to the broker when its rows are in the database, and the rows are confirmed to the station on
`stored/{name}`. While the database is away, the broker's window of unacknowledged messages waits in memory. A broker
that sends more than its window (Mosquitto 2.0.11 with a backlog) is met by a limit of our own: what comes beyond is
let go unconfirmed, so that its station keeps it, and asked for again when there is room.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass

from ewarn import messages, wire
from ewarn.central import points
from ewarn.central.confirmations import Confirmations
from ewarn.central.intake import Entry, Parcel, Reader, parked_whole
from ewarn.central.known import Known, Names
from ewarn.central.lacks import Lacks
from ewarn.central.parked import ParkedFile
from ewarn.central.silence import Silence
from ewarn.central.stations import StationView
from ewarn.central.topics import addressed, status_topic, subscriptions
from ewarn.central.writer import Batch, Job, Writer
from ewarn.config import Central
from ewarn.contracts import Alert, Clock, Store
from ewarn.errors import LinkDown, PublishRefused
from ewarn.mqtt import Link, Message

_log = logging.getLogger(__name__)

SESSION_EXPIRY = 30
"""Seconds that the broker keeps messages for a collector that is away. Meanwhile Mosquitto goes on giving it its part
of what several share; what is dropped then, stations send again (`ewarn.edge.lanes.RESEND`)."""
SILENCE = 300.0
"""Seconds, on this machine, after which a station that says nothing is silent; `health` comes every 30 s."""
MAX_WAITING = 64_000_000
"""Bytes of messages that wait for the database."""
FINISH = 5.0
"""Seconds that a stop may take to store what is here."""
GOODBYE = 2.0
"""Seconds that it may then take to say so."""


@dataclass(slots=True)
class Counters:
    """What this collector has done since it started.

    Attributes:
        messages: taken from the streams.
        rows: stored or parked, repetitions included.
        repeated: of these, seen shortly before.
        points: stored.
        parked: messages, rows and points that were set aside.
        let_go: messages for which there was no room; their stations send them again.
    """

    messages: int = 0
    rows: int = 0
    repeated: int = 0
    points: int = 0
    parked: int = 0
    let_go: int = 0


class Collector:
    """Takes what stations send into a store.

    Attributes:
        stations: the newest of each station, for views.
        counters: what was done.

    Args:
        central: settings.
        store: not yet opened; it is used on a thread of its own and closed at the end.
        clock: dates what central says itself.
        silence: seconds of the machine's time after which a station is silent.
        room: bytes of messages that may wait for the database.
    """

    def __init__(
        self, central: Central, store: Store, clock: Clock, *, silence: float = SILENCE, room: int = MAX_WAITING
    ) -> None:
        self.stations: dict[str, StationView] = {}
        self.counters = Counters()
        self._central, self._clock, self._limit, self._room = central, clock, silence, room
        self._known = Known(central.data / "stations.json")
        self._names = Names()
        self._silence = Silence(central.data / "silence.json")
        self._reader = Reader(self._known.parameters, self._render, self._names)
        self._parked = ParkedFile(central.data)
        self._writer = Writer(
            central.name, store, self._parked, clock, read=self._read, settled=self._settle, back=self._look_again
        )
        self._status_topic = status_topic(central)
        self._link = Link(
            central.broker,
            f"collector-{central.collector}",
            will=(self._status_topic, self._status("lost")),
            subscriptions=subscriptions(central),
            on_message=self._take,
            on_connect=self._announce,
            manual_ack=True,
            session_expiry=SESSION_EXPIRY,
        )
        self._confirmations = Confirmations(central.name, self._link.publish)
        self._lacks = Lacks(central.name, self._writer.read, self._link.publish, clock)
        self._deaf = 0.0
        self._owing = False

    @property
    def problem(self) -> str:
        """Why the database takes nothing, "" while it does."""
        return self._writer.problem

    async def run(self, stop: asyncio.Event) -> None:
        """Collect until `stop` is set; then store what is here, as far as that goes within `FINISH` seconds."""
        self._begin()
        parts = (self._link, self._writer, self._confirmations, self._lacks)
        work = (*(part.run() for part in parts), self._watch())
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(w) for w in work]
                await stop.wait()
                await self._finish()
                for task in tasks:
                    task.cancel()
        finally:
            await self._writer.close()

    def _begin(self) -> None:
        self._known.load()
        for alert in self._silence.load():
            self._store_own(alert)
        for station in self._silence.active():
            self._view(station).heard = -math.inf
        for station in self._central.stations:
            if station != "+":
                self._view(station)

    async def _finish(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._writer.done(), FINISH)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._confirmations.flush()
                await self._announce("offline")

    async def _announce(self, state: str = "online") -> None:
        with contextlib.suppress(LinkDown, PublishRefused):
            await self._link.publish(self._status_topic, self._status(state), retain=True)

    def _status(self, state: str) -> bytes:
        content = {"collector": self._central.collector, "state": state}
        return wire.document(wire.COLLECTOR, self._clock.now(), "", content)

    def _view(self, station: str) -> StationView:
        if station not in self.stations:
            self._names.admit("this broker", "stations", (station,))
            self.stations[station] = StationView(station, asyncio.get_running_loop().time())
        return self.stations[station]

    def _take(self, message: Message) -> None:
        """A message came. Streams wait for the database; documents are the newest of their kind or nothing."""
        try:
            station, leaf, name = addressed(message.topic)
            view = self._view(station)
            if not message.retain:
                view.heard = asyncio.get_running_loop().time()
            if leaf in wire.STREAMS:
                self._take_rows(leaf, message)
            else:
                self._take_document(view, leaf, name, message)
        except Exception as error:  # noqa: BLE001  (whatever a message contains, it is set aside, not lost)
            self._writer.put(Job(message, parked_whole(message.topic, message.payload, error)))

    def _take_rows(self, leaf: str, message: Message) -> None:
        if leaf != "event" and self._writer.waiting + len(message.payload) > self._room:
            self.counters.let_go += 1
            if not self._owing:
                _log.warning("more waits for the database than there is room for; stations keep the rest")
            self._owing = True
            self._link.ack(message)
            return
        self.counters.messages += 1
        self._writer.put(Job(message))

    def _take_document(self, view: StationView, leaf: str, name: str, message: Message) -> None:
        if leaf == "alarm":
            self._names.admit(view.id, "alarms", (name,))
        view.take_document(leaf, name, message.payload)
        if leaf == "meta" and message.payload:
            self._known.learn(view.id, view.meta)
        if leaf == "health":
            self._lacks.hear(view.id, view.health)
        self._link.ack(message)

    def _read(self, message: Message) -> Parcel:
        parcel, now = self._reader.read(message.topic, message.payload), self._clock.now()
        view = self.stations.get(addressed(message.topic)[0])
        if view is not None:
            for entry in parcel.entries:
                for said in entry.said:
                    view.take(said, now)
        return parcel

    def _settle(self, batch: Batch, stored: int, parked: int) -> None:
        """This batch is dealt with: the broker may forget it, and the stations are told."""
        entries: list[Entry] = []
        for job, parcel in zip(batch.jobs, batch.parcels, strict=True):
            if job.message is None:
                for entry in parcel.entries:
                    self._silence.stored(entry.station)
            else:
                self._link.ack(job.message)
                entries += parcel.entries
        self._confirmations.add(entries)
        self.counters.rows += len(entries)
        self.counters.repeated = self._confirmations.repeated
        self.counters.points += stored
        self.counters.parked += parked
        if parked:
            _log.warning("%d things cannot be stored; see %s", parked, self._parked.path)

    def _look_again(self) -> None:
        """The database was away: it may be another one now."""
        self._lacks.look_again()

    async def _watch(self) -> None:
        """Raise and clear the alarm about silent stations; ask for what there was no room for."""
        while True:
            await asyncio.sleep(min(1.0, self._limit / 4))
            now = asyncio.get_running_loop().time()
            if self._writer.problem:
                self._deaf = now  # a full window brings nothing: that is not the stations' silence
            for view in self.stations.values():
                alert = self._silence.watch(view, self._clock.now(), now, self._limit, self._deaf)
                if alert is not None:
                    _log.warning("%s", self._render(alert, "en").partition("\n")[0])
                    self._store_own(alert)
            if self._owing and self._writer.waiting < self._room / 2:
                self._owing = False
                await self._announce()

    def _store_own(self, alert: Alert) -> None:
        point = points.of_alert(alert, self._render)
        self._writer.put(Job(parcel=Parcel("", [Entry(alert.station, "", 0, (alert,), (point,))])))

    def _render(self, alert: Alert, language: str) -> str:
        name, zone = self._known.name(alert.station), self._known.time_zone(alert.station)
        try:
            return messages.render(alert, language, station_name=name, time_zone=zone)
        except Exception:  # noqa: BLE001  (an alert is stored, if need be without its text)
            _log.exception("no text for %s", alert.id)
            return ""
