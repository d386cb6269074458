"""A scenario, served: ready at once, and gone without a trace."""

import asyncio
import os
import socket
import time

import pytest
from simulated import (
    CABINET,
    SONDE,
    START,
    TROLL,
    StillClock,
    Terminal,
    ask_tcp,
    mbap,
    read_pdu,
    rtu,
    scenario,
    terminals_and_sockets,
)

from ewarn.errors import ConfigError
from simulators.simulation import Simulation


async def test_it_is_ready_at_once_without_fixed_ports():
    began = time.monotonic()
    many = [{**p, "id": f"{p['id']}{i}"} for p in (SONDE, TROLL, CABINET) for i in range(5)]
    async with Simulation(scenario(*many), StillClock()) as one, Simulation(scenario(*many), StillClock()) as other:
        assert time.monotonic() - began < 5
        ends = [tuple(e.values()) for s in (one, other) for e in s.endpoints.values()]
        assert len(set(ends)) == len(ends) == 30


async def test_nothing_stays_open(tmp_path):
    links = [tmp_path / "troll", tmp_path / "cabinet"]
    probes = (SONDE, {**TROLL, "link": str(links[0])}, {**CABINET, "link": str(links[1])})
    before = terminals_and_sockets()
    async with Simulation(scenario(*probes), StillClock()) as simulation:
        assert simulation.endpoints["troll"] == {"device": str(links[0])}
        assert all(link.is_symlink() for link in links)
        port = simulation.endpoints["sonde"]["port"]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(mbap(1, read_pdu(128, 1))[:5])
        with Terminal(links[0]) as terminal:
            assert len(await terminal.ask(rtu(1, read_pdu(5562, 2)), 9)) == 9
    writer.close()
    await asyncio.sleep(0.01)
    assert list(tmp_path.iterdir()) == []
    assert terminals_and_sockets() == before
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert [t for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []


async def test_a_taken_port_is_named_and_leaves_nothing_behind(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        probes = (
            {**CABINET, "link": str(tmp_path / "cabinet")}, {**SONDE, "id": "first"}, {**SONDE, "port": port},
        )  # fmt: skip
        before = terminals_and_sockets()
        with pytest.raises(ConfigError) as caught:
            await Simulation(scenario(*probes), StillClock()).__aenter__()
        await asyncio.sleep(0.01)
        assert caught.value.key == "probes[2].port"
        assert str(caught.value) == (
            f"scenario.toml: probes[2].port: {port}: Address already in use; "
            "stop what uses it, or give 0 for any free one"
        )
        assert list(tmp_path.iterdir()) == []
        assert terminals_and_sockets() == before


async def test_a_port_is_free_again_afterwards():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for _ in range(3):
        async with Simulation(scenario({**SONDE, "port": port}), StillClock()) as simulation:
            assert simulation.endpoints["sonde"]["port"] == port
            assert await ask_tcp(port, mbap(1, read_pdu(128, 1)))


@pytest.mark.parametrize("obstacle", ["file", "folder", "missing folder"])
async def test_a_link_that_cannot_be_made_is_named(tmp_path, obstacle):
    path = tmp_path / "tty" / "x" if obstacle == "missing folder" else tmp_path / "tty"
    if obstacle == "file":
        path.write_text("precious")
    elif obstacle == "folder":
        path.mkdir()
    before = terminals_and_sockets()
    with pytest.raises(ConfigError, match=r"probes\[1\]\.link: .*; name a path in a folder where a link can be made"):
        await Simulation(scenario(SONDE, {**TROLL, "link": str(path)}), StillClock()).__aenter__()
    await asyncio.sleep(0.01)
    assert terminals_and_sockets() == before
    assert obstacle != "file" or path.read_text() == "precious"


async def test_a_dead_link_is_replaced_and_a_stranger_s_is_left(tmp_path):
    link = tmp_path / "tty"
    link.symlink_to("/dev/pts/does-not-exist")
    first = await Simulation(scenario({**TROLL, "link": str(link)}), StillClock()).__aenter__()
    own = link.readlink()
    assert own.exists()
    async with Simulation(scenario({**TROLL, "link": str(link)}), StillClock()):
        theirs = link.readlink()
        assert theirs != own
        await first.__aexit__(None, None, None)
        assert link.readlink() == theirs
    assert not os.path.lexists(link)


async def test_without_a_start_it_starts_now():
    clock = StillClock(START + 12_345)
    async with Simulation(scenario(SONDE, start=""), clock) as simulation:
        assert simulation.start == START + 12_345
        assert simulation.truth.value("sonde", "ph", clock.now()) is not None


async def test_nobody_asking_costs_nothing():
    async with Simulation(scenario(SONDE, TROLL, CABINET), StillClock()):
        await asyncio.sleep(0.1)
        began = time.process_time()
        await asyncio.sleep(1.5)
        assert time.process_time() - began < 0.3
