"""The link against a real broker: what is acknowledged, what is refused, what breaks and comes back."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import subprocess
import threading
import time

import pytest
from mosquitto import Mosquitto

from ewarn import mqtt
from ewarn.config import BrokerTable
from ewarn.errors import LinkDown, PublishRefused
from ewarn.mqtt import Link

pytestmark = pytest.mark.broker
KEEPALIVE = 2


@pytest.fixture
def broker(tmp_path):
    broker = Mosquitto(tmp_path)
    yield broker.start()
    broker.kill()


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch):
    monkeypatch.setattr(mqtt, "MAX_BACKOFF", 0.5)


@contextlib.asynccontextmanager
async def running(*links, wait=True):
    tasks = [asyncio.create_task(link.run()) for link in links]
    try:
        if wait:
            async with asyncio.timeout(10):
                for link in links:
                    await link.wait_connected()
        yield links[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gc.collect()  # what paho leaves open warns here, in the test that left it


async def until(condition, limit=10.0):
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.01)


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("paho")]


async def test_publish_returns_when_the_broker_has_it_and_messages_come_in_order(broker):
    got = []
    link = Link(broker.settings(), "a", subscriptions=["t/#"], on_message=got.append)
    async with running(link):
        await asyncio.gather(*(link.publish(f"t/{i}", str(i).encode()) for i in range(300)))
        await until(lambda: len(got) == 300)
    assert [m.payload for m in got] == [str(i).encode() for i in range(300)]
    assert link.counters.published == link.counters.received == 300
    assert link.counters.unmatched == 0
    assert threads() == []


async def test_nobody_subscribed_is_success_and_counted(broker):
    async with running(Link(broker.settings(), "a")) as link:
        await link.publish("nobody/there", b"x")
    assert (link.counters.published, link.counters.unmatched) == (1, 1)


async def test_not_connected_is_link_down_at_once_and_nothing_is_sent_later(broker):
    got = []
    link, other = (
        Link(broker.settings(), "a"),
        Link(broker.settings(), "b", subscriptions=["t"], on_message=got.append),
    )
    with pytest.raises(LinkDown, match="not connected yet"):
        await link.publish("t", b"too early")
    async with running(other, link):
        await link.publish("t", b"in time")
        await until(lambda: got)
    assert [m.payload for m in got] == [b"in time"]


async def test_refused_by_rights(tmp_path):
    (tmp_path / "acl").write_text("topic readwrite allowed/#\n")
    broker = Mosquitto(tmp_path, f"acl_file {tmp_path / 'acl'}\n").start()
    try:
        async with running(Link(broker.settings(), "a")) as link:
            await link.publish("allowed/x", b"1")
            with pytest.raises(PublishRefused, match=r"denied/x.*Not authorized"):
                await link.publish("denied/x", b"1")
            await link.publish("allowed/x", b"2")
        assert (link.counters.refused, link.counters.connections) == (1, 1)
    finally:
        broker.kill()


async def test_too_large_is_refused_without_breaking_the_connection(broker):
    async with running(Link(broker.settings(), "a")) as link:
        with pytest.raises(PublishRefused, match="262144"):
            await link.publish("t", bytes(262_144))
        await link.publish("t", bytes(262_000))
        assert link.counters.connections == 1


async def test_a_broker_that_takes_less_says_so(tmp_path):
    broker = Mosquitto(tmp_path)
    broker.conf.write_text(broker.conf.read_text().replace("262144", "5000"))
    broker.start()
    try:
        async with running(Link(broker.settings(), "a")) as link:
            with pytest.raises(PublishRefused, match="5000"):
                await link.publish("t", bytes(5000))
            await link.publish("t", bytes(4900))
            assert link.counters.connections == 1
    finally:
        broker.kill()


async def test_broker_killed_and_restarted(broker, caplog):
    caplog.set_level(logging.INFO, "ewarn.mqtt")
    greetings, got = [], []

    async def greet():
        await link.publish("greeting", b"here")
        greetings.append(link.session_present)

    link = Link(broker.settings(), "a", subscriptions=["t"], on_message=got.append, on_connect=greet)
    async with running(link):
        await until(lambda: len(greetings) == 1)
        broker.kill()
        await until(lambda: not link.connected)
        assert link.problem
        with pytest.raises(LinkDown):
            await link.publish("t", b"x")
        await asyncio.sleep(2)  # several attempts fail: said once
        broker.start()
        await until(lambda: len(greetings) == 2)
        await link.publish("t", b"subscribed again")
        await until(lambda: got)
        assert link.problem == ""
    assert greetings == [False, False]
    said = [r.message.partition(": ")[2] for r in caplog.records]
    assert said[0] == "connected"
    assert said[-1] == "connected again"
    assert len(said) == len(set(said)) <= 4


async def test_absent_broker_is_named_once_and_awaited(broker, caplog):
    broker.kill()
    link = Link(broker.settings(), "a")
    async with running(link, wait=False):
        await asyncio.sleep(1.5)
        assert "refused" in link.problem
        assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1
        broker.start()
        await asyncio.wait_for(link.wait_connected(), 5)


async def test_frozen_broker_is_noticed_and_the_publish_fails(broker):
    async with running(Link(broker.settings(keepalive=KEEPALIVE), "a")) as link:
        broker.signal(signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(LinkDown):
            await link.publish("t", b"x")
        assert time.monotonic() - start < 3 * KEEPALIVE
        broker.signal(signal.SIGCONT)
        await until(lambda: link.counters.connections == 2)


async def test_watchdog_where_paho_notices_nothing(broker, monkeypatch):
    monkeypatch.setattr("paho.mqtt.client.Client._check_keepalive", lambda self: None)
    async with running(Link(broker.settings(keepalive=1), "a")) as link:
        await until(lambda: link.counters.connections == 2)  # no pings: silence
        broker.signal(signal.SIGSTOP)
        await until(lambda: not link.connected)
        assert "said nothing" in link.problem
        broker.signal(signal.SIGCONT)


async def test_acknowledgement_that_never_comes(broker):
    link = Link(broker.settings(), "a", ack_timeout=0.5)
    async with running(link):
        broker.signal(signal.SIGSTOP)
        with pytest.raises(LinkDown, match="no acknowledgement"):
            await link.publish("t", b"x")
        broker.signal(signal.SIGCONT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_dead_network_thread_is_noticed(broker, monkeypatch):
    async with running(Link(broker.settings(), "a")) as link:
        monkeypatch.setattr(link._connection._client, "_loop", lambda timeout: paho_dies())
        await until(lambda: link.counters.connections == 2)
        await link.publish("t", b"x")


def paho_dies():
    raise RuntimeError("a mistake of the library")


async def test_second_client_with_our_id_is_named(broker, caplog):
    one, two = Link(broker.settings(), "same"), Link(broker.settings(), "same")
    async with running(one, two, wait=False):
        await until(lambda: all("another client call itself 'same'" in link._said for link in (one, two)), 20)
        told = len(caplog.records)
        seen = one.counters.connections
        await until(lambda: one.counters.connections >= seen + 2)
        assert len(caplog.records) == told  # from now on without a line each time


async def test_takeover_that_the_broker_tells_is_named_and_not_fought(broker, monkeypatch):
    """Mosquitto from 2.0.15 and other brokers send DISCONNECT 0x8E; here it is put into what paho receives."""
    async with running(Link(broker.settings(), "same")) as link:
        client = link._connection._client
        client._in_packet["command"], client._in_packet["packet"] = 0xE0, bytearray([0x8E, 0])
        client._handle_disconnect()
        await until(lambda: not link.connected)
        assert link.problem == "another client connected as 'same'"
        await asyncio.sleep(1)
        assert link.counters.connections == 1


async def test_wrong_password_is_named(tmp_path):
    (tmp_path / "passwords").write_text("")
    broker = Mosquitto(tmp_path)
    broker.conf.write_text(broker.conf.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    broker.start()
    try:
        async with running(link := Link(broker.settings(), "a"), wait=False):
            await until(lambda: "Not authorized" in link.problem)
            assert not link.connected
    finally:
        broker.kill()


async def test_unacknowledged_messages_come_again_and_are_bounded(broker):
    got = []
    keeper = Link(broker.settings(), "k", subscriptions=["t"], on_message=got.append, manual_ack=True)
    async with running(keeper, sender := Link(broker.settings(), "s")):
        for i in range(3 * mqtt.WINDOW):
            await sender.publish("t", str(i).encode())
        await asyncio.sleep(0.3)
        assert len(got) == mqtt.WINDOW  # the rest waits at the broker
        for message in got[:5]:
            keeper.ack(message)
        await until(lambda: len(got) >= mqtt.WINDOW + 5)
    again = []
    keeper = Link(broker.settings(), "k", subscriptions=["t"], manual_ack=True)
    keeper.on_message = lambda m: (again.append(m.payload), keeper.ack(m))
    async with running(keeper):
        keeper.ack(got[7])  # of the earlier connection: left alone
        await until(lambda: len(again) == 3 * mqtt.WINDOW - 5)
    assert sorted(map(int, again)) == list(range(5, 3 * mqtt.WINDOW))


async def test_a_consumer_that_raises_costs_one_message(broker, caplog):
    got = []

    def take(message):
        if message.payload == b"bad":
            raise KeyError("bad")
        got.append(message.payload)

    async with running(link := Link(broker.settings(), "a", subscriptions=["t"], on_message=take)):
        for payload in (b"1", b"bad", b"2"):
            await link.publish("t", payload)
        await until(lambda: len(got) == 2)
    assert got == [b"1", b"2"]
    assert "cannot be handled" in caplog.text


async def test_a_greeting_that_raises_leaves_the_link_alone(broker, caplog):
    def greet():
        raise RuntimeError("hook")

    async with running(Link(broker.settings(), "a", on_connect=greet)) as link:
        await link.publish("t", b"x")
    assert "hook after connecting failed" in caplog.text


async def test_will_is_said_after_a_loss_and_not_after_a_goodbye(broker):
    got = []
    watcher = Link(broker.settings(), "w", subscriptions=["will/+"], on_message=got.append)
    async with running(watcher):
        polite = Link(broker.settings(), "p", will=("will/polite", b"lost"), will_delay=0)
        async with running(polite):
            pass
        rude = Link(broker.settings(), "r", will=("will/rude", b"lost"), will_delay=0)
        async with running(rude):
            rude._connection._client.socket().shutdown(socket.SHUT_RDWR)
            await until(lambda: got)
    assert [(m.topic, m.payload) for m in got] == [("will/rude", b"lost")]


async def test_retained_and_expiry(broker):
    async with running(Link(broker.settings(), "a")) as link:
        await link.publish("kept", b"x", retain=True)
        await link.publish("gone", b"x", retain=True, expiry=1)
        await asyncio.sleep(2.1)
        got = []
        async with running(Link(broker.settings(), "b", subscriptions=["#"], on_message=got.append)):
            await until(lambda: got)
            await asyncio.sleep(0.2)
    assert [(m.topic, m.retain) for m in got] == [("kept", True)]


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=cwd)


def certificate(folder, name, ca):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", cwd=folder)  # fmt: skip
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-days", "1",
            "-CAcreateserial", "-extfile", "san", "-out", f"{name}.crt", cwd=folder)  # fmt: skip


def authority(folder, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt", cwd=folder)  # fmt: skip


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused socket to gc
async def test_mutual_tls(tmp_path):
    authority(tmp_path, "ca")
    authority(tmp_path, "rogue")
    certificate(tmp_path, "server", "ca")
    certificate(tmp_path, "station", "ca")
    broker = Mosquitto(
        tmp_path,
        f"cafile {tmp_path}/ca.crt\ncertfile {tmp_path}/server.crt\nkeyfile {tmp_path}/server.key\n"
        "require_certificate true\n",
    ).start()

    def settings(ca="ca", cert="station.crt", host="127.0.0.1"):
        return BrokerTable(
            host=host,
            port=broker.port,
            ca=str(tmp_path / f"{ca}.crt"),
            cert=str(tmp_path / cert),
            key=str(tmp_path / "station.key"),
        )

    try:
        async with running(Link(settings(), "a")) as link:
            await link.publish("t", b"x")
        for wrong, text in (
            (settings(ca="rogue"), "certificate verify failed"),
            (settings(host="localhost"), "Hostname mismatch"),
            (settings(cert="absent.crt"), "TLS: .*No such file"),
        ):
            async with running(link := Link(wrong, "a"), wait=False):
                await until(lambda link=link: link.problem != "not connected yet")
                with pytest.raises(LinkDown, match=text):
                    await link.publish("t", b"x")
    finally:
        broker.kill()
