"""Two collectors of one central share what comes; one that is killed leaves its part to the other."""

import asyncio
import contextlib
import signal
import subprocess
import sys

import pytest
import tomli_w
from centre import CLOCK, ME, T0, central, collecting, stored, until

from ewarn import mqtt, wire
from ewarn.central import collector as collector_module
from ewarn.central.stores import open_store
from ewarn.config import station_from
from ewarn.contracts import AlarmState, Alert, Priority, Quality, Reading
from ewarn.core.pipeline import Step
from ewarn.edge.journal import Journal
from ewarn.edge.uplink import Uplink
from ewarn.mqtt import Link

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(mqtt, "MAX_BACKOFF", 0.5)
    monkeypatch.setattr(collector_module, "SESSION_EXPIRY", 1)


class Collecting:
    """`ewarn collect` as one of several processes, on a database that they share."""

    def __init__(self, folder, broker, name):
        path = folder / f"{name}.toml"
        path.write_text(tomli_w.dumps({
            "central": {"name": "main", "collector": name, "data": name},
            "broker": {"host": "127.0.0.1", "port": broker.port, "insecure": True},
            "store": {"kind": "sqlite", "path": "../shared.sqlite"},
        }))  # fmt: skip
        tweak = "import ewarn.central.collector as c; c.SESSION_EXPIRY = 1; from ewarn.cli import main; main()"
        with path.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", tweak, "collect", str(path)], stderr=log)

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.asynccontextmanager
async def station(broker, tmp_path):
    """A journal and its uplink."""
    document = {"station": {"id": ME}, "channels": {"ph": {}},
                "broker": {"host": "127.0.0.1", "port": broker.port, "insecure": True}}  # fmt: skip
    own = station_from(document, tmp_path / "station.toml")
    with Journal.open(tmp_path / "s.sqlite", boot="b1", now=0) as journal:
        uplink = Uplink(own, journal, Link(own.broker, ME), CLOCK, resend=2.0)
        task = asyncio.create_task(uplink.run())
        try:
            yield journal, uplink
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def commit(journal, uplink, n):
    time = T0 + n * 1000
    reading = Reading("ph", time, 7.0 + n / 1000, Quality.PASS)
    said = [Alert(ME, "contamination", 1, n, time, time, AlarmState.UNACKNOWLEDGED, AlarmState.NORMAL, Priority.HIGH)]
    journal.commit(time, [reading], Step([reading], [], said if n % 10 == 0 else []))
    uplink.wake()


async def online(broker, *names):
    seen, topics = set(), [f"ewarn/v1/_collector/main/status/{name}" for name in names]
    link = Link(broker.settings(), "look", subscriptions=topics, on_message=lambda m: seen.add(m.topic))
    task = asyncio.create_task(link.run())
    await until(lambda: seen == set(topics), 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_both_get_their_part_and_what_a_killed_one_had_goes_to_the_other(broker, tmp_path):
    one, two = (Collecting(tmp_path, broker, name) for name in ("main-1", "main-2"))
    count = 400
    try:
        await online(broker, "main-1", "main-2")
        async with station(broker, tmp_path) as (journal, uplink):
            for n in range(count):
                commit(journal, uplink, n)
                if n == count // 2:
                    one.end(signal.SIGKILL)
                await asyncio.sleep(0.005)
            await until(lambda: journal.counts().outbox_rows == 0, 40)
        assert two.end(signal.SIGTERM) == 0
    finally:
        for process in (one.process, two.process):
            process.kill()
            process.wait()
    settings = central(broker, tmp_path, store={"kind": "sqlite", "path": str(tmp_path / "shared.sqlite")})
    values = {p.time: p.fields["value"] for p in stored(settings)}
    assert values == {T0 + n * 1000: 7.0 + n / 1000 for n in range(count)}
    ids = [p.fields["id"] for p in stored(settings, "alarm", alarm="contamination")]
    assert sorted(ids) == sorted(f"{ME}/contamination/1/{n}" for n in range(0, count, 10))


async def test_two_share_the_load(broker, tmp_path):
    folder = tmp_path / "two"
    shared = {"kind": "sqlite", "path": str(tmp_path / "shared.sqlite")}
    first, second = (central(broker, folder, collector=name, store=shared) for name in ("main-1", "main-2"))
    async with collecting(first) as one, collecting(second) as two, station(broker, tmp_path) as (journal, uplink):
        await asyncio.wait_for(two._link.wait_connected(), 10)
        for n in range(200):
            commit(journal, uplink, n)
            await asyncio.sleep(0.002)
        await until(lambda: journal.counts().outbox_rows == 0, 30)
        share = one.counters.messages / (one.counters.messages + two.counters.messages)
        assert one.counters.rows + two.counters.rows == 220
    assert 0.3 < share < 0.7
    store = open_store(first.store)
    assert len(store.read("wq", {}, 0, 2 * T0)) == 200
    store.close()


async def test_one_that_goes_says_so_on_a_topic_of_its_own(broker, tmp_path):
    states = []
    link = Link(broker.settings(), "look", subscriptions=["ewarn/v1/_collector/main/status/#"],
                on_message=lambda m: states.append((m.topic, wire.unpack(m.payload)["state"])))  # fmt: skip
    task = asyncio.create_task(link.run())
    await asyncio.wait_for(link.wait_connected(), 10)
    async with collecting(central(broker, tmp_path)):
        async with collecting(central(broker, tmp_path, collector="main-2")):
            await until(lambda: len(states) == 2)
        await until(lambda: len(states) == 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert states[:3] == [
        ("ewarn/v1/_collector/main/status", "online"),
        ("ewarn/v1/_collector/main/status/main-2", "online"),
        ("ewarn/v1/_collector/main/status/main-2", "offline"),
    ]
