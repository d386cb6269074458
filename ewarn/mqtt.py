"""A link to an MQTT 5 broker for asyncio. The one module that touches paho-mqtt.

What paho does not do, or does otherwise than one would think, is done here (versions 2.x):

- paho queues in memory what is published while it is not connected, and sends it later. So nothing is published then,
  and at most `WINDOW` messages are under way at once; what is to survive lies in the caller's store.
- A refused publish (reason code 0x80 and up) counts as published in paho. Here it raises PublishRefused.
- `is_connected()` stays true after paho's network thread has died, and an unanswered message is only sent again after a
  reconnect. So a publish that is not answered in time, or a thread that is gone, ends the connection and begins anew.
- paho's own reconnect doubles without jitter up to two minutes. Here every attempt is ours: at most ten seconds apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ewarn.config import BrokerTable
from ewarn.errors import LinkDown, PublishRefused

log = logging.getLogger(__name__)

WINDOW = 20
MAX_PACKET = 262_144
ANSWER_S = 15.0
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.5, 10.0
_CONNECT_S = 10.0
_WATCH_S = 1.0
_FAILURE = 0x80
_NO_SUBSCRIBERS = 0x10
_TAKEN_OVER = 0x8E


@dataclass(frozen=True, slots=True)
class Message:
    """A message that came. Pass it to `Link.ack` where the link acknowledges by hand."""

    topic: str
    payload: bytes
    retain: bool
    id: int
    session: int


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says in our name when we vanish."""

    topic: str
    payload: bytes
    delay: int = 0


OnMessage = Callable[[Message], None]
OnConnected = Callable[[], Awaitable[None]]


class Link:
    """One client of a broker, which reconnects for ever. All methods belong to the event loop that runs `run`.

    Args:
        broker: where it is.
        client_id: fixed, so that the broker keeps our session.
        will: what it says when we vanish.
        subscriptions: topic filters, QoS 1, subscribed after each connection.
        on_message: takes each message, in the event loop.
        on_connected: called as a task after each connection, when the subscriptions are made.
        manual_ack: messages are acknowledged by `ack` instead of on arrival.
        receive_maximum: how many unacknowledged messages the broker may have under way to us.
        session_expiry: seconds for which the broker keeps our session after the connection ended.
    """

    def __init__(
        self,
        broker: BrokerTable,
        client_id: str,
        *,
        will: Will | None = None,
        subscriptions: Sequence[str] = (),
        on_message: OnMessage | None = None,
        on_connected: OnConnected | None = None,
        manual_ack: bool = False,
        receive_maximum: int = 500,
        session_expiry: int = 3600,
    ) -> None:
        self._broker, self._client_id, self._will = broker, client_id, will
        self._subscriptions, self._on_message, self._on_connected = tuple(subscriptions), on_message, on_connected
        self._manual_ack, self._receive_maximum, self._expiry = manual_ack, receive_maximum, session_expiry
        self._client: paho.Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session = 0
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._window = asyncio.Semaphore(WINDOW)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.problem = "not yet connected"
        self.unheard = 0

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and the subscriptions stand."""
        return self._up.is_set()

    async def wait_connected(self) -> None:
        """Return when connected."""
        await self._up.wait()

    async def run(self) -> None:
        """Connect, and again whenever the connection ends, until cancelled."""
        self._loop = asyncio.get_running_loop()
        backoff, said = BACKOFF_FIRST_S, ""
        while True:
            try:
                await self._connect()
                if said:
                    log.info("%s: connected to the broker again", self._client_id)
                backoff, said = BACKOFF_FIRST_S, ""
                await self._watch()
            except LinkDown as error:
                self.problem = str(error)
                if self.problem != said:
                    log.warning("%s: %s", self._client_id, self.problem)
                said = self.problem
            finally:
                await self._disconnect()
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
            backoff = min(2 * backoff, BACKOFF_MOST_S)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry: int | None = None) -> None:
        """Publish with QoS 1 and wait for the broker's answer.

        Args:
            topic: of the message.
            payload: of the message.
            retain: whether the broker keeps it for later subscribers.
            expiry: seconds after which it need not be delivered any more.

        Raises:
            LinkDown: not connected, or the connection ended before the answer: it may or may not have arrived.
            PublishRefused: the broker will not take this message.
        """
        if len(payload) + len(topic) + 100 > MAX_PACKET:
            raise PublishRefused(f"{topic}: {len(payload)} bytes are more than a broker takes")
        async with self._window:
            client = self._client
            if client is None or not self.connected:
                raise LinkDown(self.problem)
            properties = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=expiry)
            info = client.publish(topic, payload, qos=1, retain=retain, properties=properties)
            if info.rc != paho.MQTT_ERR_SUCCESS:
                self._fail(f"publish failed: {paho.error_string(info.rc)}")
                raise LinkDown(self.problem)
            code = await self._answer(info.mid, f"{topic} was not answered")
        if code.value == _NO_SUBSCRIBERS:
            self.unheard += 1
        if code.value >= _FAILURE:
            raise PublishRefused(f"{topic}: the broker says {code}")

    def ack(self, message: Message) -> None:
        """Tell the broker that a message is done with. One of an earlier connection is passed over: it comes again."""
        if self._client is not None and message.session == self._session:
            self._client.ack(message.id, 1)

    async def disconnect(self) -> None:
        """End the connection in good order: the broker does not say the will."""
        if self._client is not None:
            self._client.disconnect()
            await asyncio.sleep(0.05)

    async def _answer(self, mid: int, what: str) -> Any:
        future = self._answers.setdefault(mid, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(ANSWER_S):
                return await future
        except TimeoutError as error:
            self._fail(f"{what} within {ANSWER_S:g} s")
            raise LinkDown(self.problem) from error
        finally:
            self._answers.pop(mid, None)

    def _make_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=paho.MQTTv5, manual_ack=self._manual_ack
        )
        client.suppress_exceptions = True
        client.max_inflight_messages_set(WINDOW)
        client.connect_timeout = _CONNECT_S
        if not self._broker.insecure:
            context = ssl.create_default_context(cafile=self._broker.ca)
            context.load_cert_chain(self._broker.cert, self._broker.key)
            client.tls_set_context(context)
        if self._will is not None:
            properties = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=self._will.delay)
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True, properties=properties)
        self._bind(client)
        return client

    def _bind(self, client: paho.Client) -> None:
        """Callbacks of paho's thread: each only hands over to the event loop."""
        session = self._session

        def hand(work: Callable[..., None], *args: Any) -> None:
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                    self._loop.call_soon_threadsafe(work, session, *args)

        client.on_connect = lambda _c, _u, _f, code, _p: hand(self._connack, code)
        client.on_disconnect = lambda _c, _u, _f, code, _p: hand(self._lost, code)
        client.on_publish = lambda _c, _u, mid, code, _p: hand(self._answered, mid, code)
        client.on_subscribe = lambda _c, _u, mid, codes, _p: hand(self._answered, mid, codes)
        client.on_message = lambda _c, _u, m: hand(
            self._came, Message(m.topic, bytes(m.payload), bool(m.retain), m.mid, session)
        )

    async def _connect(self) -> None:
        self._session += 1
        self._down.clear()
        properties = _properties(
            PacketTypes.CONNECT, SessionExpiryInterval=self._expiry, ReceiveMaximum=self._receive_maximum
        )
        connack = self._answers[-1] = asyncio.get_running_loop().create_future()
        broker = self._broker
        try:
            client = self._client = await asyncio.to_thread(self._make_client)
            await asyncio.to_thread(
                client.connect, broker.host, broker.port, max(1, round(broker.keepalive)),
                clean_start=False, properties=properties,
            )  # fmt: skip
            client.loop_start()
            async with asyncio.timeout(_CONNECT_S):
                code = await connack
        except (OSError, ValueError, TimeoutError) as error:
            raise LinkDown(
                f"broker {broker.host}:{broker.port} cannot be reached: {str(error) or 'no answer'}"
            ) from error
        finally:
            self._answers.pop(-1, None)
        if code.is_failure:
            raise LinkDown(f"broker {broker.host}:{broker.port} refuses us: {code}")
        await self._subscribe(client)
        self.problem = ""
        self._up.set()
        if self._on_connected is not None:
            self._spawn(self._on_connected())

    async def _subscribe(self, client: paho.Client) -> None:
        if not self._subscriptions:
            return
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)
        _, mid = client.subscribe([(topic, options) for topic in self._subscriptions])
        if mid is None:
            raise LinkDown("the connection ended before we could subscribe")
        for topic, code in zip(
            self._subscriptions, await self._answer(mid, "a subscription was not answered"), strict=False
        ):
            if code.is_failure:
                raise LinkDown(f"the broker refuses the subscription to {topic}: {code}")

    async def _watch(self) -> None:
        """Return never; raise LinkDown when the connection has ended or paho's thread has."""
        client = self._client
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_S):
                    await self._down.wait()
            if self._down.is_set():
                raise LinkDown(self.problem or "the connection ended")
            thread = getattr(client, "_thread", None)
            if thread is None or not thread.is_alive():
                raise LinkDown("the network thread has died")

    async def _disconnect(self) -> None:
        self._up.clear()
        for future in self._answers.values():
            if not future.done():
                future.set_exception(LinkDown(self.problem or "the connection ended"))
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)

    def _fail(self, problem: str) -> None:
        self.problem = problem
        self._up.clear()
        self._down.set()

    def _connack(self, session: int, code: Any) -> None:
        future = self._answers.get(-1)
        if session == self._session and future is not None and not future.done():
            future.set_result(code)

    def _lost(self, session: int, code: Any) -> None:
        if session != self._session:
            return
        why = "another client has taken our id" if code.value == _TAKEN_OVER else f"the connection ended: {code}"
        self._fail(why)
        connack = self._answers.get(-1)
        if connack is not None and not connack.done():
            connack.set_exception(LinkDown(why))

    def _answered(self, session: int, mid: int, code: Any) -> None:
        if session != self._session:
            return
        future = self._answers.setdefault(mid, asyncio.get_running_loop().create_future())
        if not future.done():
            future.set_result(code)

    def _came(self, session: int, message: Message) -> None:
        if session == self._session and self._on_message is not None:
            self._on_message(message)

    def _spawn(self, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except LinkDown:
                pass
            except PublishRefused as error:
                log.error("%s: %s", self._client_id, error)  # noqa: TRY400  (the message says all)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _properties(packet: int, **values: int | None) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        if value is not None:
            setattr(properties, name, value)
    return properties
