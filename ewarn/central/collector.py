"""The central collector: subscribes, stores, and only then lets go.

The streams come by shared subscriptions of this central's own group, so that every central gets every row. A message
is acknowledged to the broker when its rows are in the database, and the rows are confirmed to the station on
`stored/{name}`. While the database is away, at most the broker's window of unacknowledged messages waits in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ewarn import messages, wire
from ewarn.central import points
from ewarn.central.confirmations import Confirmations
from ewarn.central.intake import Entry, Parcel, Reader
from ewarn.central.parked import Parked, ParkedFile
from ewarn.central.stations import Parameters, StationView
from ewarn.central.writer import Job, Writer
from ewarn.config import Central
from ewarn.config.common import STATION_ID
from ewarn.contracts import Alert, Clock, Store
from ewarn.errors import LinkDown, PublishRefused
from ewarn.mqtt import Link, Message

_log = logging.getLogger(__name__)

COLLECTOR = "_collector"
"""Takes the place of a station in a collector's own topics; no station can be called so."""
SESSION_EXPIRY = 7 * 86400
"""Seconds that the broker keeps messages for a collector that is away."""
SILENCE = 300.0
"""Seconds, on this machine, after which a station that says nothing is silent; `health` comes every 30 s."""
FINISH = 5.0
"""Seconds that a stop may take to store what is here."""


@dataclass(slots=True)
class Counters:
    """What this collector has done since it started.

    Attributes:
        messages: taken from the streams.
        rows: stored or parked, repetitions included.
        repeated: of these, seen shortly before.
        points: stored.
        parked: messages, rows and points that were set aside.
    """

    messages: int = 0
    rows: int = 0
    repeated: int = 0
    points: int = 0
    parked: int = 0


class Collector:
    """Takes what stations send into a store.

    Attributes:
        stations: the newest of each station, for views.
        counters: what was done.
        problem: why the database takes nothing, "" while it does.

    Args:
        central: settings.
        store: not yet opened; it is used on a thread of its own and closed at the end.
        clock: dates what central says itself.
        silence: seconds of the machine's time after which a station is silent.
    """

    def __init__(self, central: Central, store: Store, clock: Clock, *, silence: float = SILENCE) -> None:
        self.stations: dict[str, StationView] = {}
        self.counters = Counters()
        self._central, self._clock, self._silence = central, clock, silence
        self._parameters = Parameters(central.data / "parameters.json")
        self._reader = Reader(self._parameters.of, self._render)
        self._parked = ParkedFile(central.data)
        self._writer = Writer(store, self._parked, clock, self._settle)
        self._status_topic = wire.topic(COLLECTOR, central.name, "status")
        self._link = Link(
            central.broker,
            f"collector-{central.name}",
            will=(self._status_topic, self._status("lost")),
            subscriptions=subscriptions(central),
            on_message=self._take,
            on_connect=self._announce,
            manual_ack=True,
            session_expiry=SESSION_EXPIRY,
        )
        self._confirmations = Confirmations(central.name, self._link.publish)

    @property
    def problem(self) -> str:
        """Why the database takes nothing."""
        return self._writer.problem

    async def run(self, stop: asyncio.Event) -> None:
        """Collect until `stop` is set; then store what is here, as far as that goes within `FINISH` seconds."""
        self._parameters.load()
        for station in self._central.stations:
            if station != "+":
                self._view(station)
        work = (self._link.run(), self._writer.run(), self._confirmations.run(), self._watch())
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(w) for w in work]
                await stop.wait()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._finish(), FINISH)
                for task in tasks:
                    task.cancel()
        finally:
            await self._writer.close()

    async def _finish(self) -> None:
        await self._writer.queue.join()
        await self._confirmations.flush()
        await self._announce("offline")

    async def _announce(self, state: str = "online") -> None:
        with contextlib.suppress(LinkDown, PublishRefused):
            await self._link.publish(self._status_topic, self._status(state), retain=True)

    def _status(self, state: str) -> bytes:
        content = {"collector": self._central.name, "state": state}
        return wire.document(COLLECTOR, self._clock.now(), "", content)

    def _view(self, station: str) -> StationView:
        if station not in self.stations:
            self.stations[station] = StationView(station, asyncio.get_running_loop().time())
        return self.stations[station]

    def _take(self, message: Message) -> None:
        """A message came. Streams wait for the database; documents are the newest of their kind or nothing."""
        try:
            station, leaf, name = _addressed(message.topic)
            view = self._view(station)
            if leaf not in wire.STREAMS:
                self._take_document(view, leaf, name, message)
                return
        except wire.WireError as error:
            self._park(message, str(error))
            return
        view.heard = asyncio.get_running_loop().time()
        parcel = self._reader.read(message.topic, message.payload)
        self.counters.messages += 1
        for entry in parcel.entries:
            for said in entry.said:
                view.take(said)
        self._writer.queue.put_nowait(Job(parcel, message))

    def _take_document(self, view: StationView, leaf: str, name: str, message: Message) -> None:
        view.take_document(leaf, name, message.payload)
        if not message.retain:
            view.heard = asyncio.get_running_loop().time()
        if leaf == "meta":
            self._parameters.learn(view.id, view.meta)
        self._link.ack(message)

    def _park(self, message: Message, reason: str) -> None:
        parked = Parked(message.topic, reason, message.payload.decode(errors="backslashreplace"))
        self._writer.queue.put_nowait(Job(Parcel(message.topic, parked=[parked]), message))

    def _settle(self, jobs: Sequence[Job], stored: int, parked: int) -> None:
        """The rows of these jobs are dealt with: the broker may forget them, and the stations are told."""
        for job in jobs:
            if job.message is not None:
                self._link.ack(job.message)
        entries = [e for job in jobs if job.message is not None for e in job.parcel.entries]
        self._confirmations.add(entries)
        self.counters.rows += len(entries)
        self.counters.repeated = self._confirmations.repeated
        self.counters.points += stored
        self.counters.parked += parked
        if parked:
            _log.warning("%d things cannot be stored; see %s", parked, self._parked.path)

    async def _watch(self) -> None:
        """Raise and clear the alarm about silent stations."""
        while True:
            await asyncio.sleep(min(1.0, self._silence / 4))
            for view in self.stations.values():
                alert = view.watch(self._clock.now(), asyncio.get_running_loop().time(), self._silence)
                if alert is not None:
                    _log.warning("%s", self._render(alert, "en").splitlines()[0])
                    point = points.of_alert(alert, self._render)
                    self._writer.queue.put_nowait(Job(Parcel("", [Entry(view.id, "", 0, (alert,), (point,))])))

    def _render(self, alert: Alert, language: str) -> str:
        meta = self.stations[alert.station].meta if alert.station in self.stations else {}
        zone = str(meta.get("time_zone", "UTC"))
        return messages.render(
            alert, language, station_name=str(meta.get("name", "")), time_zone=zone if _known(zone) else "UTC"
        )


def subscriptions(central: Central) -> list[str]:
    """Topic filters of a central: the streams shared in its own group, the documents for each collector itself."""
    out = []
    for station in central.stations:
        out += [f"$share/ewarn-{central.name}/{wire.topic(station, leaf)}" for leaf in wire.STREAMS]
        out += [wire.topic(station, leaf) for leaf in wire.DOCUMENTS]
        out.append(wire.topic(station, "alarm", "+"))
    return out


def _addressed(topic: str) -> tuple[str, str, str]:
    """Station, class and the rest of a station's topic. Raises WireError."""
    station, leaf, name = wire.split_topic(topic)
    if not STATION_ID.fullmatch(station):
        raise wire.WireError(f"{station!r} is not a station id")
    return station, leaf, name


def _known(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
