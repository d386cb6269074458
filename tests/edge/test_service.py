"""`ewarn run` as a service manager sees it: a process of its own, a real broker, real signals."""

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys

import pytest
import tomli_w
from gateway import PROFILE, Gateway
from manager import Manager, plug_in
from servers import free_port

from ewarn.edge.daemon import FILE
from ewarn.edge.journal import Journal

SLEEPY = """
import time
class Sleepy:
    threshold = 1.0
    def learn_one(self, x): pass
    def score_one(self, x): time.sleep(3600)
"""
DEAF = """
import asyncio, contextlib, msgspec
class Deaf:
    api = 1
    class Options(msgspec.Struct): pass
    def __init__(self, settings, clock): self.settings = settings
    def channel_units(self): return {name: ("ph", "[pH]") for name in self.settings.channels}
    def make_line(self): return self
    async def open(self): pass
    async def close(self): pass
    async def read(self, line):
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
"""


class Service:
    """A station's folder and the process that runs it."""

    def __init__(self, folder, broker_port, probe_port, **changes):
        self.folder, self.file = folder, folder / "station.toml"
        (folder / "fake.toml").write_text(PROFILE)
        self.document = {
            "station": {"id": "mx-1", "data": "data"},
            "broker": {"host": "127.0.0.1", "port": broker_port, "insecure": True},
            "lines": {"gateway": {"kind": "tcp", "host": "127.0.0.1", "port": probe_port}},
            "probes": [
                {"id": "sonde", "driver": "modbus", "line": "gateway", "profile": "fake.toml", "unit": 1,
                 "every": "1s", "timeout": "0.2s", "channels": ["spcond", "orp"]},
            ],
            "detection": {"step": "1s", "warmup": "1m"},
        } | changes  # fmt: skip
        self.write(self.document)
        self.log = folder / "log"

    def write(self, document):
        self.file.write_text(document if isinstance(document, str) else tomli_w.dumps(document))

    def start(self, environment, room=resource.RLIM_INFINITY):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ewarn", "run", str(self.file)], stderr=log, stdout=log,
                env=os.environ | environment,
            )  # fmt: skip
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (room, room))

    def says(self, text):
        return text in self.log.read_text()

    async def ends(self, seconds):
        async with asyncio.timeout(seconds):
            return await asyncio.to_thread(self.process.wait, 60)

    def kept(self):
        """Newest time of each channel in the journal."""
        with Journal.open(self.folder / "data" / FILE, boot="look", now=0) as journal:
            assert journal.quarantined is None
            return {c: t for c, t, _ in sorted(journal.accepted(), key=lambda row: row[1])}


@pytest.fixture
async def service(tmp_path, broker):
    async with Gateway(free_port()) as gateway:
        made = Service(tmp_path, broker.port, gateway.port)
        made.gateway = gateway
        yield made
        made.process.kill()
        made.process.wait()


@pytest.fixture
def manager(tmp_path):
    with Manager(tmp_path) as heard:
        yield heard


async def until(condition, limit=40.0):
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.02)


async def test_the_manager_hears_that_it_is_ready_how_it_fares_and_that_it_lives(service, manager):
    service.start(manager.environment())
    await until(lambda: manager.times("READY=1"))
    await until(lambda: "all deliver" in manager.status())
    await until(lambda: len(manager.times("WATCHDOG=1")) > 3)
    service.gateway.dead.add(1)
    await until(lambda: "silent: sonde" in manager.status())
    service.process.send_signal(signal.SIGTERM)
    assert await service.ends(10) == 0
    assert manager.times("STOPPING=1")


async def test_a_good_file_takes_effect_and_a_bad_one_is_refused_by_name(service, manager):
    service.start(manager.environment())
    await until(lambda: "all deliver" in manager.status())
    bad = {**service.document, "probes": [{**service.document["probes"][0], "evry": "1s"}]}
    for wrong, named in ((bad, "probes[0].evry"), ("[station", "is not TOML")):
        service.write(wrong)
        service.process.send_signal(signal.SIGHUP)
        await until(lambda n=named: service.says(n))
    assert service.log.read_text().count("the new settings are refused, the old ones stay") == 2
    assert len(manager.times("READY=1")) == 1
    lives = len(manager.times("WATCHDOG=1"))
    await until(lambda: len(manager.times("WATCHDOG=1")) > lives + 1)
    service.write({**service.document, "probes": [{**service.document["probes"][0], "id": "renamed", "unit": 2}]})
    service.gateway.asked.clear()
    service.process.send_signal(signal.SIGHUP)
    await until(lambda: len(manager.times("READY=1")) == 2)
    await until(lambda: 2 in service.gateway.asked)
    await until(lambda: "all deliver" in manager.status())
    assert manager.times("RELOADING=1")
    assert 1 not in service.gateway.asked[service.gateway.asked.index(2) :]
    assert not manager.times("STOPPING=1")
    service.process.send_signal(signal.SIGTERM)
    assert await service.ends(10) == 0


async def hanging_line(service):
    service.gateway.dead.add(1)


async def frozen_broker(service):
    service.broker.signal(signal.SIGSTOP)


async def nothing(service):
    del service


@pytest.mark.parametrize("trouble", [nothing, hanging_line, frozen_broker])
@pytest.mark.parametrize("seed", [1, 2])
async def test_sigterm_at_any_moment_leaves_in_time_with_all_that_was_said(service, manager, broker, trouble, seed):
    service.broker = broker
    service.start(manager.environment())
    await until(lambda: "all deliver" in manager.status())
    await trouble(service)
    await asyncio.sleep(random.Random(seed).uniform(0, 1.5))
    service.process.send_signal(signal.SIGTERM)
    try:
        assert await service.ends(10) == 0
    finally:
        broker.signal(signal.SIGCONT)
    assert "Traceback" not in service.log.read_text()
    assert service.kept().keys() == {"spcond", "orp"}


async def test_sigterm_leaves_in_time_before_it_is_even_ready(service, manager):
    rng = random.Random(3)
    for _ in range(3):
        service.start(manager.environment())
        await until(service.log.exists)
        await asyncio.sleep(rng.uniform(0.2, 2.0))
        service.process.send_signal(signal.SIGTERM)
        await service.ends(10)


async def test_sigterm_leaves_in_time_while_the_disk_is_full(service, manager):
    service.start(manager.environment(), room=300_000)
    await until(lambda: service.says("the disk does not take it"), 100)
    kept = service.gateway.asked.copy()
    await until(lambda: len(service.gateway.asked) > len(kept) + 1)
    service.process.send_signal(signal.SIGTERM)
    assert await service.ends(10) == 0
    assert service.kept()


@pytest.mark.parametrize("what", ["driver", "detector"])
async def test_sigterm_leaves_in_time_though_a_plug_in_never_comes_back(what, service, manager, tmp_path):
    (tmp_path / "site").mkdir()
    if what == "driver":
        path = plug_in(tmp_path / "site", "deaf", DEAF, drivers="deaf:Deaf")
        probe = {"id": "third", "driver": "deaf", "line": "own", "every": "1s", "timeout": "0.1s", "channels": ["ph"]}
        lines = {**service.document["lines"], "own": {"kind": "tcp", "host": "127.0.0.1", "port": 1}}
        service.write({**service.document, "lines": lines, "probes": [*service.document["probes"], probe]})
    else:
        path = plug_in(tmp_path / "site", "sleepy", SLEEPY, detectors="sleepy:Sleepy")
        service.write({**service.document, "detectors": [{"name": "sleepy"}]})
    service.start(manager.environment() | {"PYTHONPATH": path})
    await until(lambda: len(service.gateway.asked) > 6)
    if what == "driver":
        await until(lambda: service.says("does not let go"))
    lives = len(manager.times("WATCHDOG=1"))
    await until(lambda: len(manager.times("WATCHDOG=1")) > lives + 1)
    service.process.send_signal(signal.SIGTERM)
    await service.ends(11)
    assert service.kept().keys() >= {"spcond", "orp"}
