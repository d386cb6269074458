"""A station that says what a test wants, and a collector that listens to it."""

import asyncio
import contextlib
import json
from pathlib import Path

import msgspec

from ewarn import wire
from ewarn.central.collector import Collector
from ewarn.central.stores import open_store
from ewarn.config import central_from
from ewarn.contracts import AlarmState, Alert, Cause, Evidence, Priority
from ewarn.mqtt import Link
from ewarn.times import SystemClock, to_text

CLOCK = SystemClock()
ME = "mx-1"
T0 = 1_780_000_000_000


def central(broker, folder, name="main", collector="", **document):
    """A checked central with a folder of its own; `store` and `stations` may be given."""
    own = collector or name
    central = {"name": name, "collector": collector, "data": own, "stations": document.pop("stations", ["+"])}
    return central_from(
        {"central": central, "broker": {"host": "127.0.0.1", "port": broker.port, "insecure": True}, **document},
        Path(folder) / "central.toml",
    )


def parked(settings):
    """What was set aside."""
    lines = (settings.data / "parked.jsonl").read_text().splitlines() if settings.data.exists() else []
    return [json.loads(line) for line in lines]


def stored(settings, measurement="wq", **tags):
    """What is in the database."""
    store = open_store(settings.store)
    try:
        return store.read(measurement, tags, 0, 9_000_000_000_000)
    finally:
        store.close()


def obs_row(seq, boot="b1", **more):
    """A row of readings."""
    return {"boot": boot, "seq": seq, "t": to_text(T0 + seq * 1000), "ph": 7.0 + seq / 1000, **more}


def alert(number=1, **changes):
    """A transition of the contamination alarm."""
    fields = {
        "station": ME, "alarm": "contamination", "occurrence": 1, "number": number, "time": T0 + number, "onset": T0,
        "state": AlarmState.UNACKNOWLEDGED, "previous": AlarmState.NORMAL, "priority": Priority.CRITICAL,
        "cause": Cause.CONTAMINATION, "probability": 0.97, "evidence": (Evidence("ph", 5.1, 8.0, 30.0, T0),),
    }  # fmt: skip
    return Alert(**fields | changes)


def event_row(seq, which, boot="b1"):
    """A row of a transition."""
    return {"boot": boot, "seq": seq, **wire.alert_row(which)}


async def until(condition, limit=15.0):
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.01)


class Station:
    """Sends what a test says, once, and keeps what the centrals say.

    Attributes:
        confirmed: (boot, seq) by central, as often as it was said.
        states: of centrals, as they came.
    """

    def __init__(self, broker, name=ME):
        self.id, self.confirmed, self.states = name, {}, []
        filters = [wire.topic(name, "stored", "+"), "ewarn/v1/_collector/+/status"]
        self.link = Link(broker.settings(), name, subscriptions=filters, on_message=self._take)

    def _take(self, message):
        who, _, rest = wire.split_topic(message.topic)
        if who == "_collector":
            self.states.append(wire.unpack(message.payload)["state"])
            return
        boot, ranges = wire.stored_of(message.payload)
        rows = [(boot, n) for first, last in ranges for n in range(first, last + 1)]
        self.confirmed.setdefault(rest, []).extend(rows)

    def has(self, seqs, central="main"):
        return {n for _, n in self.confirmed.get(central, ())} >= set(seqs)

    async def send(self, rows, leaf="obs"):
        await self.raw(wire.envelope(self.id, CLOCK.now(), "", rows), leaf)

    async def raw(self, payload, leaf="obs"):
        await self.link.publish(wire.topic(self.id, *leaf.split("/")), payload)

    async def say(self, leaf, content=None, *, retain=True, sender=None):
        payload = b"" if content is None else wire.document(sender or self.id, CLOCK.now(), "", content)
        await self.link.publish(wire.topic(self.id, *leaf.split("/")), payload, retain=retain)

    async def __aenter__(self):
        self._task = asyncio.create_task(self.link.run())
        await asyncio.wait_for(self.link.wait_connected(), 10)
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@contextlib.asynccontextmanager
async def collecting(settings, store=None, **options):
    """A collector at work; it is stopped at the end as a person would stop it."""
    collector = Collector(settings, store or open_store(settings.store), CLOCK, **options)
    stop = asyncio.Event()
    task = asyncio.create_task(collector.run(stop))
    try:
        await asyncio.wait({task, asyncio.ensure_future(collector._link.wait_connected())}, timeout=10,
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        yield collector
    finally:
        stop.set()
        await task


JUNK = {
    "no JSON": b"\xff\xfenonsense",
    "not a number": b'{"v":1,"station":"mx-1","sent":"2026-01-01T00:00:00Z","tq":"","rows":[{"boot":"b","seq":1,"ph":NaN}]}',
    "an empty payload": b"",
    "a list": b"[1]",
    "another version": b'{"v":2,"station":"mx-1","rows":[]}',
    "another station": wire.envelope("us-9", T0, "", [obs_row(900)]),
    "no rows": b'{"v":1,"station":"mx-1","sent":"2026-01-01T00:00:00Z","tq":""}',
    "rows that are none": b'{"v":1,"station":"mx-1","sent":"2026-01-01T00:00:00Z","tq":"","rows":[3]}',
    "a bomb": wire.pack({"v": 1, "rows": "x" * 9_000_000}),
    "depth": b"[" * 5000,
    "more rows than a message has": wire.envelope(ME, T0, "", [{}] * 20_000),
}
"""Messages that nothing can be stored of."""

DEEP = "[" * 600 + "]" * 600
ROWS = {
    "no identity": {"t": to_text(T0), "ph": 7.0},
    "a truth value for a number": obs_row(True),
    "a negative number": obs_row(1) | {"seq": -1},
    "a number of more than 64 bits": obs_row(1) | {"seq": 2**63},
    "a boot of any length": obs_row(1, boot="x" * 5000),
    "a boot with a line break": obs_row(1, boot="a\nb"),
}
"""Rows that cannot be confirmed, since they have no identity."""

BAD = {
    "no time": {"boot": "b1", "seq": 1, "ph": 7.0},
    "a time without offset": obs_row(1, t="2026-01-01T00:00:00"),
    "text for a number": obs_row(1, ph="7.0"),
    "a number too large for any": obs_row(1, ph=10**400),
    "a flag that is none": obs_row(1, q={"ph": 5}),
    "flags that are none": obs_row(1, q=3),
    "a channel of any length": obs_row(1, **{"x" * 5000: 1.0}),
    "a channel with a space": obs_row(1, **{"p h": 1.0}),
    "depth": obs_row(1, ph=msgspec.json.decode(DEEP)),
}
"""Rows with an identity that nothing can be stored of."""
