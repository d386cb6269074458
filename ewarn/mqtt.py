"""The one module that touches paho: an MQTT 5 link with acknowledgements, reason codes and a watchdog, for asyncio.

What paho 2 does not do, or does otherwise than one would think, is done here:

- It queues in memory what is published while it is not connected. So nothing is published then, few messages are under
  way at once, and each connection has a paho client of its own, which is thrown away with whatever it held.
- A publish that the broker refuses counts as published. Here it raises PublishRefused.
- `is_connected()` stays true after its network thread has died, and what is never acknowledged is never sent again. So
  a watchdog listens for bytes of the broker, for acknowledgements and for the thread, and begins anew.
- Its reconnect has no jitter and doubles up to two minutes. Here attempts are at most ten seconds apart.

The broker's session (subscriptions, messages that wait for us) lives on under the client id.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
import socket
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ewarn.config import BrokerTable
from ewarn.errors import LinkDown, PublishRefused

_log = logging.getLogger(__name__)

WINDOW = 20
"""Messages, each way, that may wait for their acknowledgement at once."""
MAX_BACKOFF = 10.0
"""Seconds between two attempts to connect, at most."""
TAKEN_OVER_BACKOFF = 30.0
"""The same after another client took our id: whoever comes back at once is thrown out at once."""
SETTLED = 30.0
"""Seconds that a connection has to last for the next back-off to begin small again."""
_FLAPS = 3  # connections in a row that did not last: then the log falls silent, with a hint
ACK_TIMEOUT = 30.0
"""Seconds without any acknowledgement while one is due: then the connection is no good."""
_SILENCE = 2.5  # keepalives without a byte of the broker: then the connection is no good, whatever paho says
_CONNECT_TIMEOUT = 10.0
_CLOSE_TIMEOUT = 1.0
MAX_PACKET = 262_144
"""Bytes of a packet that brokers are set to take; one that takes less says so when it accepts us."""
_OVERHEAD = 64  # bytes of a PUBLISH beside topic and payload, with room to spare
_REFUSED = "refused: "
_NO_SUBSCRIBERS = 0x10
_UNSPECIFIED = 0x80
_TAKEN_OVER = 0x8E


@dataclass(frozen=True, slots=True)
class Message:
    """A message that came in; `retain`: kept by the broker, not sent just now; the rest is what `Link.ack` needs."""

    topic: str
    payload: bytes
    retain: bool = False
    mid: int = 0
    connection: int = 0


@dataclass(slots=True)
class Counters:
    """What happened on a link since it was made.

    Attributes:
        connections: that the broker accepted.
        published: messages that the broker acknowledged, `unmatched` included.
        unmatched: of these, messages that nobody was subscribed to.
        refused: messages that the broker, or its limit of size, refused.
        received: messages that came in.
    """

    connections: int = 0
    published: int = 0
    unmatched: int = 0
    refused: int = 0
    received: int = 0


class Link:
    """A link to a broker that comes back by itself.

    `will`, `subscriptions`, `on_message` and `on_connect` are also attributes and may be set until `run` is called.

    Attributes:
        counters: what happened so far.
        problem: why there is no connection, "" while there is one.
        session_present: whether the broker still knew us when it accepted the connection last.
        beat: when the link's own loop came round last, in seconds of the machine's monotonic clock.

    Args:
        broker: where it is and how to be trusted by it.
        client_id: the same after every start.
        will: topic and payload that the broker publishes, retained, when we are gone without a word.
        subscriptions: topic filters, at QoS 1; a filter may begin with $share/GROUP/.
        on_message: called in the event loop with each message.
        on_connect: called in the event loop, and awaited, after each connection.
        manual_ack: messages are acknowledged by `ack` instead of when `on_message` returns; the broker sends `WINDOW`
            before that (Mosquitto 2.0.11 then sends as many again for each single one that is acknowledged).
        session_expiry: seconds that the broker keeps our session while we are away.
        will_delay: seconds that the broker waits with the will, so that a short interruption stays unsaid.
        ack_timeout: seconds without any acknowledgement while one is due.
    """

    def __init__(
        self,
        broker: BrokerTable,
        client_id: str,
        *,
        will: tuple[str, bytes] | None = None,
        subscriptions: Sequence[str] = (),
        on_message: Callable[[Message], None] | None = None,
        on_connect: Callable[[], Awaitable[None] | None] | None = None,
        manual_ack: bool = False,
        session_expiry: int = 3600,
        will_delay: int = 60,
        ack_timeout: float = ACK_TIMEOUT,
    ) -> None:
        self.broker, self.client_id = broker, client_id
        self.will, self.subscriptions = will, subscriptions
        self.on_message, self.on_connect = on_message, on_connect
        self.session_expiry, self.will_delay, self.ack_timeout = session_expiry, will_delay, ack_timeout
        self.counters = Counters()
        self.problem = "not connected yet"
        self.session_present = False
        self.beat = time.monotonic()
        self._manual_ack = manual_ack
        self._up = asyncio.Event()
        self._connection: _Connection | None = None
        self._said = ""
        self._flaps = 0

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and was heard of lately."""
        return self._up.is_set()

    @property
    def refused(self) -> str:
        """Why the broker does not let us in, "" where it does or does not answer."""
        return self.problem if self.problem.startswith(_REFUSED) else ""

    async def wait_connected(self) -> None:
        """Return when there is a connection and the subscriptions stand."""
        await self._up.wait()

    async def run(self) -> NoReturn:
        """Keep the connection, for ever; on cancellation say goodbye, so that the will is not published."""
        attempts = number = 0
        while True:
            number += 1
            self.beat = time.monotonic()
            lasted, code = await self._one_connection(number)
            attempts = 0 if lasted > SETTLED else attempts + 1
            limit = TAKEN_OVER_BACKOFF if code == _TAKEN_OVER else min(MAX_BACKOFF, 0.5 * 2.0 ** min(attempts, 8))
            await asyncio.sleep(limit * random.uniform(0.5, 1))

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry: int | None = None) -> bool:
        """Send at QoS 1 and return when the broker has acknowledged it.

        Returns:
            False where the broker says that nobody is subscribed; not every broker does.

        Args:
            topic: without wildcards.
            payload: may be empty.
            retain: the broker keeps it as the newest of its topic.
            expiry: seconds after which the broker need not deliver it any more.

        Raises:
            LinkDown: there is no connection, or it broke first; the broker may or may not have it.
            PublishRefused: the broker does not take this message.
        """
        connection = self._connection
        if connection is None or not self.connected:
            raise LinkDown(f"no connection to {self._name}: {self.problem}")
        if len(payload) + len(topic.encode()) + _OVERHEAD > connection.max_packet:
            self.counters.refused += 1
            raise PublishRefused(f"{topic}: {len(payload)} bytes; the broker takes packets of {connection.max_packet}")
        outcome = await connection.publish(topic, payload, retain, expiry)
        if isinstance(outcome, Exception):
            self.counters.refused += isinstance(outcome, PublishRefused)
            raise outcome
        self.counters.published += 1
        self.counters.unmatched += outcome == _NO_SUBSCRIBERS
        return outcome != _NO_SUBSCRIBERS

    def ack(self, message: Message) -> None:
        """The broker may forget this message. One of an earlier connection is left alone: it comes again."""
        if self._connection is not None and message.connection == self._connection.number:
            self._connection.ack(message.mid)

    @property
    def _name(self) -> str:
        return f"MQTT broker {self.broker.host}:{self.broker.port}"

    async def _one_connection(self, number: int) -> tuple[float, int]:
        """Connect, hold, clean up. Gives the seconds that it held and the reason code of its end."""
        connection = self._connection = _Connection(self, number)
        greeting: asyncio.Task[None] | None = None
        try:
            connection.start()
            await connection.watch_until(connection.ready)
            start = time.monotonic()
            if connection.ready.done():
                self._opened(connection)
                greeting = asyncio.create_task(self._greet())
                await connection.watch_until(connection.ended)
            reason, code = await connection.ended
            lasted = time.monotonic() - start if greeting else 0.0
            self._lost(reason, lasted)
            return lasted, code
        finally:
            self._up.clear()
            self._connection = None
            if greeting is not None:
                greeting.cancel()
                await asyncio.gather(greeting, return_exceptions=True)
            await connection.close()

    def _opened(self, connection: _Connection) -> None:
        self.session_present = connection.ready.result()
        self.counters.connections += 1
        self.problem = ""
        self._up.set()
        if self._flaps < _FLAPS:
            _log.info("%s: %s", self._name, "connected again" if self._said else "connected")
            self._said = ""

    def _lost(self, reason: str, lasted: float) -> None:
        self._up.clear()
        if lasted > 0:
            self._flaps = 0 if lasted > SETTLED else self._flaps + 1
        if self._flaps >= _FLAPS:
            # Mosquitto before 2.0.15 does not tell a client that another took its id.
            reason += f"; connections do not last: does another client call itself {self.client_id!r}?"
        self.problem = reason
        if reason != self._said:
            _log.warning("%s: no connection: %s", self._name, reason)
            self._said = reason

    async def _greet(self) -> None:
        try:
            waiting = self.on_connect() if self.on_connect else None
            if inspect.isawaitable(waiting):
                await waiting
        except (LinkDown, PublishRefused) as error:
            _log.info("%s: after connecting: %s", self._name, error)
        except Exception:  # noqa: BLE001  (the hook is not ours; the link lives on)
            _log.exception("%s: the hook after connecting failed", self._name)

    def take(self, connection: _Connection, raw: paho.MQTTMessage) -> None:
        """A message came on this connection."""
        if connection is not self._connection:
            return
        self.counters.received += 1
        by_hand = self._manual_ack
        try:
            message = Message(raw.topic, bytes(raw.payload), bool(raw.retain), raw.mid, connection.number)
            if self.on_message:
                self.on_message(message)
        except Exception:  # noqa: BLE001  (a consumer's mistake costs this message only)
            _log.exception("%s: a message cannot be handled", self._name)
            by_hand = False
        if not by_hand:
            connection.ack(raw.mid)


class _Connection:
    """One connection and the paho client that makes it. Callbacks come on paho's thread and go straight to the loop.

    Attributes:
        number: counts the connections of a link.
        ready: done when the broker has accepted us and our subscriptions stand: whether it still knew our session.
        ended: done when the connection is gone or was given up, with reason and reason code.
        max_packet: bytes that the broker takes.
    """

    def __init__(self, link: Link, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.ready: asyncio.Future[bool] = loop.create_future()
        self.ended: asyncio.Future[tuple[str, int]] = loop.create_future()
        self.max_packet = MAX_PACKET
        self._link, self._loop = link, loop
        self._thread: threading.Thread | None = None
        self._heard = self._acknowledged = time.monotonic()
        self._waiting: dict[int, _Waiting] = {}
        self._window = asyncio.Semaphore(WINDOW)
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, link.client_id, protocol=paho.MQTTv5, reconnect_on_failure=False,
            manual_ack=True,
        )  # fmt: skip

    def start(self) -> None:
        """Begin to connect, on a thread of paho's."""
        link, client = self._link, self._client
        client.suppress_exceptions = True
        client.connect_timeout = _CONNECT_TIMEOUT
        client.reconnect_delay_set(0, 0)
        self._set_callbacks(client)
        if link.will is not None:
            later = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=link.will_delay)
            client.will_set(*link.will, qos=1, retain=True, properties=later)
        try:
            if not link.broker.insecure:
                client.tls_set_context(_tls(link.broker))
        except OSError as error:
            self._end(f"TLS: {error}", 0)
            return
        session = _properties(PacketTypes.CONNECT, SessionExpiryInterval=link.session_expiry, ReceiveMaximum=WINDOW)
        keepalive = max(1, round(link.broker.keepalive))
        client.connect_async(link.broker.host, link.broker.port, keepalive, clean_start=False, properties=session)
        client.loop_start()

    def _tell(self, what: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(what, *args)

    def _set_callbacks(self, client: paho.Client) -> None:
        tell = self._tell
        client.on_pre_connect = lambda *_: setattr(self, "_thread", threading.current_thread())
        client.on_connect_fail = lambda *_: tell(self._end, f"{sys.exception()}", 0)
        client.on_connect = lambda _c, _u, flags, reason, properties: tell(self._answered, flags, reason, properties)
        client.on_disconnect = lambda _c, _u, flags, reason, _p: tell(self._disconnected, flags, reason)
        client.on_publish = lambda _c, _u, mid, reason, _p: tell(self._settle, mid, reason)
        client.on_message = lambda _c, _u, message: tell(self._link.take, self, message)
        client.on_log = lambda _c, _u, _l, text: self._listen(text)

    async def watch_until(self, event: asyncio.Future[Any]) -> None:
        """Return when it is done or the connection is over, which is looked after meanwhile."""
        while not event.done() and not self.ended.done():
            await asyncio.wait({event, self.ended}, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            self._link.beat = time.monotonic()
            self._watch(self._link.beat)

    async def publish(self, topic: str, payload: bytes, retain: bool, expiry: int | None) -> Exception | int:
        """Send; the outcome is the reason code of the acknowledgement, or the error."""
        properties = None if expiry is None else _properties(PacketTypes.PUBLISH, MessageExpiryInterval=expiry)
        await self._window.acquire()
        if self.ended.done():
            self._window.release()
            return LinkDown(f"{topic}: not sent: {self.ended.result()[0]}")
        info = self._client.publish(topic, payload, 1, retain, properties)
        waiting = self._waiting[info.mid] = _Waiting(topic, time.monotonic(), self._loop.create_future())
        waiting.outcome.add_done_callback(lambda _: self._window.release())
        if info.rc != paho.MQTT_ERR_SUCCESS:
            self._end(paho.error_string(info.rc), 0)
        return await asyncio.shield(waiting.outcome)

    def ack(self, mid: int) -> None:
        """Acknowledge."""
        self._client.ack(mid, 1)

    async def close(self) -> None:
        """Say goodbye and see paho's thread end."""
        self._end("closed", 0)
        client = self._client
        client.on_message = client.on_publish = client.on_subscribe = client.on_disconnect = client.on_log = None
        client.on_pre_connect = client.on_connect_fail = None
        client.on_connect = _hang_up
        client.disconnect()
        if not await self._thread_ended():
            with contextlib.suppress(OSError, AttributeError):
                client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
            await self._thread_ended()

    async def _thread_ended(self) -> bool:
        limit = time.monotonic() + _CLOSE_TIMEOUT
        while (alive := self._thread is not None and self._thread.is_alive()) and time.monotonic() < limit:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # a thread sets no event when it ends
        return not alive

    def _watch(self, now: float) -> None:
        """Give the connection up where paho does not notice that it is no good."""
        quiet = now - self._heard
        if quiet > _SILENCE * max(1.0, self._link.broker.keepalive):
            self._end(f"the broker said nothing for {quiet:.0f} s", 0)
        elif self._thread is not None and not self._thread.is_alive():
            self._end("the network thread ended", 0)
        elif self._waiting:
            oldest = min(w.since for w in self._waiting.values())
            limit = self._link.ack_timeout
            if now - max(oldest, self._acknowledged) > limit or now - oldest > 10 * limit:
                self._end(f"no acknowledgement for {now - oldest:.0f} s", 0)

    def _listen(self, text: str) -> None:
        # Of PINGRESP, paho tells its log only.
        if text.startswith("Received"):
            self._heard = time.monotonic()

    def _answered(self, flags: paho.ConnectFlags, reason: ReasonCode, properties: Properties) -> None:
        if reason.is_failure:
            self._end(f"{_REFUSED}{reason}", reason.value)
            return
        self.max_packet = min(MAX_PACKET, getattr(properties, "MaximumPacketSize", MAX_PACKET))
        self._window = asyncio.Semaphore(min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW)))
        known, topics = flags.session_present, self._link.subscriptions
        self._client.on_subscribe = lambda _c, _u, _m, reasons, _p: self._tell(self._subscribed, known, reasons)
        if topics:
            self._client.subscribe([(topic, 1) for topic in topics])
        else:
            self._subscribed(known, ())

    def _disconnected(self, flags: paho.DisconnectFlags, reason: ReasonCode) -> None:
        silent = not flags.is_disconnect_packet_from_server and reason.value == _UNSPECIFIED
        self._end("the connection broke" if silent else str(reason), reason.value)

    def _subscribed(self, known: bool, reasons: Sequence[ReasonCode]) -> None:
        for topic, reason in zip(self._link.subscriptions, reasons, strict=False):
            if reason.is_failure:
                _log.warning("the MQTT broker refuses the subscription to %s: %s", topic, reason)
        if not self.ready.done():
            self.ready.set_result(known)

    def _settle(self, mid: int, reason: ReasonCode) -> None:
        waiting = self._waiting.pop(mid, None)
        self._acknowledged = time.monotonic()
        if waiting is not None:
            refused = PublishRefused(f"{waiting.topic}: {reason}") if reason.is_failure else None
            waiting.outcome.set_result(refused or reason.value)

    def _end(self, reason: str, code: int) -> None:
        if self.ended.done():
            return
        if code == _TAKEN_OVER:
            reason = f"another client connected as {self._link.client_id!r}"
        self.ended.set_result((reason, code))
        for waiting in self._waiting.values():
            waiting.outcome.set_result(LinkDown(f"{waiting.topic}: not acknowledged: {reason}"))
        self._waiting.clear()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message that the broker has not acknowledged."""

    topic: str
    since: float
    outcome: asyncio.Future[Exception | int]


def _properties(packet: int, **values: int) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _hang_up(client: paho.Client, *_: Any) -> None:
    """For a connection that came into being after it was given up."""
    client.disconnect()


def _tls(broker: BrokerTable) -> ssl.SSLContext:
    """Mutual TLS; files are read anew for each connection, so a renewed certificate needs no restart.

    Raises OSError naming the file: those of ssl do not.
    """
    for path in (broker.ca, broker.cert, broker.key):
        with open(path, "rb"):  # noqa: PTH123  (its error names the path as it was written)
            pass
    try:
        context = ssl.create_default_context(cafile=broker.ca)
    except ssl.SSLError as error:
        raise OSError(f"{broker.ca}: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(broker.cert, broker.key)
    except ssl.SSLError as error:
        raise OSError(f"{broker.cert} with {broker.key}: {error}") from error
    return context
