"""How fast a backlog drains, and what an alert that is raised meanwhile waits.

    python bench/drain.py [--days 7] [--channels 20]

A station with as many channels, read once a minute, was offline for so long. A real Mosquitto, the uplink in a process
of its own, a collector with its embedded database in another. The alert's delay is from its commit to its place in the
database.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import tomli_w

from ewarn.config import Station, station_from
from ewarn.contracts import AlarmState, Alert, Evidence, Priority, Quality, Readiness, Reading, Verdict
from ewarn.core.pipeline import Step
from ewarn.edge.journal import Journal
from ewarn.edge.uplink import Uplink
from ewarn.mqtt import Link
from ewarn.times import SystemClock

BROKER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
CONF = "listener {port} 127.0.0.1\nallow_anonymous true\nmax_packet_size 262144\n"
CLOCK = SystemClock()
ALERT_EVERY_S = 1.0


def station(port: int, channels: int) -> Station:
    """A station with as many channels."""
    names = {f"ph_{i}": {} for i in range(2, channels + 2)}
    broker = {"host": "127.0.0.1", "port": port, "insecure": True}
    return station_from({"station": {"id": "bench"}, "broker": broker, "channels": names}, Path("bench.toml"))


def fill(journal: Journal, own: Station, days: float) -> int:
    """A backlog of readings and verdicts. Returns the number of rows."""
    count = round(days * 1440)
    begin = CLOCK.now() - count * 60_000
    for i in range(count):
        time_ = begin + i * 60_000
        readings = [Reading(c, time_, 7 + (i * 7 + n) % 997 / 1000, Quality.PASS) for n, c in enumerate(own.channels)]
        score = (i % 89) / 89
        verdict = Verdict(time_, score, Readiness.READY, scores={"residual": score * 3})
        journal.commit(time_, readings, Step(readings, [verdict]))
    return 2 * count


def alert(number: int) -> Alert:
    """A transition."""
    now = CLOCK.now()
    return Alert("bench", "contamination", 1, number, now, now, AlarmState.UNACKNOWLEDGED, AlarmState.NORMAL,
                 Priority.CRITICAL, evidence=(Evidence("ph_2", 5.0, 7.0, 30.0, now),))  # fmt: skip


@contextlib.contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended afterwards."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def alerts_in(database: Path) -> set[str]:
    """Ids of the alerts that the database has."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database)) as db:
        return {row[0] for row in db.execute("SELECT id FROM alarm")}
    return set()


async def collecting(own: Station) -> None:
    """Return when there is a collector at the broker."""
    assert own.broker is not None
    heard = asyncio.Event()
    link = Link(own.broker, "look", subscriptions=["ewarn/v1/_collector/+/status"], on_message=lambda _: heard.set())
    looking = asyncio.create_task(link.run())
    await heard.wait()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


async def watch_alerts(journal: Journal, uplink: Uplink, database: Path) -> list[float]:
    """Raise one alert after the other until cancelled; the seconds that each took."""
    delays: list[float] = []
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            said = alert(len(delays) + 1)
            begin = time.perf_counter()
            await asyncio.to_thread(journal.commit, said.time, (), Step([], [], [said]))
            uplink.wake()
            while said.id not in await asyncio.to_thread(alerts_in, database):  # noqa: ASYNC110  (of another process)
                await asyncio.sleep(0.02)
            delays.append(time.perf_counter() - begin)
            await asyncio.sleep(ALERT_EVERY_S)
    return delays


async def drain(journal: Journal, own: Station, database: Path) -> tuple[float, list[float]]:
    """Seconds until every row is delivered, and the delays of the alerts meanwhile."""
    assert own.broker is not None
    await collecting(own)
    uplink = Uplink(own, journal, Link(own.broker, own.id), CLOCK)
    begin = time.perf_counter()
    sending = asyncio.create_task(uplink.run())
    watching = asyncio.create_task(watch_alerts(journal, uplink, database))
    while journal.counts().outbox_rows > 1:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    seconds = time.perf_counter() - begin
    watching.cancel()
    delays = await watching
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    return seconds, delays


def main() -> None:
    """Fill, drain, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--channels", type=int, default=20)
    args = parser.parse_args()
    if BROKER is None:
        sys.exit("mosquitto is not installed")
    with tempfile.TemporaryDirectory(prefix="ewarn-drain-") as name:
        folder = Path(name)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        (folder / "mosquitto.conf").write_text(CONF.format(port=port))
        broker = {"host": "127.0.0.1", "port": port, "insecure": True}
        central = folder / "central.toml"
        central.write_text(tomli_w.dumps({"central": {"name": "main"}, "broker": broker}))
        own = station(port, args.channels)
        with Journal.open(folder / "s.sqlite", boot="bench", now=CLOCK.now()) as journal:
            rows = fill(journal, own, args.days)
            collect = (sys.executable, "-m", "ewarn", "collect", str(central))
            with running(BROKER, "-c", str(folder / "mosquitto.conf")), running(*collect):
                seconds, delays = asyncio.run(drain(journal, own, folder / "central" / "central.sqlite"))
    points = round(args.days * 1440) * (args.channels + 1)
    print(f"backlog: {args.days:g} days of {args.channels} channels a minute, {rows} rows, {points} points")
    print(f"drained in {seconds:.1f} s: {points / seconds:.0f} points/s; a week of 20 channels may take 120 s")
    print(f"alerts meanwhile: {len(delays)}, the slowest after {max(delays, default=0.0):.2f} s; 2 s are allowed")


if __name__ == "__main__":
    main()
