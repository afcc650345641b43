"""One MQTT connection, as an async context manager; the only user of paho.

What paho does by itself and is switched off here: it reconnects without saying why, keeps messages while offline,
and calls a refused publish a success. So each connection is a fresh client that never reconnects, and every PUBACK's
reason code is looked at (MQTT 5.0, section 3.4.2.1).
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

REFUSED = 0x80
"""Reason codes from here on mean that the peer did not do it."""
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""A broker that answers pings and yet acknowledges nothing for so long is as good as gone."""
CLOSE_SECONDS = 0.5
LARGEST_PACKET = 268_435_455
"""What MQTT can carry (MQTT 5.0, section 2.1.4)."""


TOO_LARGE = 0x95
TAKEN_OVER = 0x8E
NOT_SOON = frozenset({0x85, 0x86, 0x87, 0x8A, 0x8C, TAKEN_OVER})
"""Client id not valid, bad credentials, not authorized, banned, bad authentication method, session taken over:
what only a person can change, so that trying again at once would only be a nuisance (MQTT 5.0, section 2.4)."""


class MqttError(Exception):
    """The connection could not be made, or is no longer usable; `code` is the broker's reason code, if it gave one."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code

    @property
    def passes_soon(self) -> bool:
        """Whether trying again soon makes sense."""
        return self.code not in NOT_SOON


class PublishRefusedError(MqttError):
    """The broker answered a publish with a reason code of 0x80 or above; the connection lives on."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(f"the broker refused the publish: {name} (0x{code:02X})", code)


@dataclass(frozen=True, slots=True)
class Message:
    """An application message, up or down."""

    topic: str
    payload: bytes = field(repr=False)
    content_type: str | None = None
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to connect, and as whom. Without `ca` the connection is plain."""

    host: str
    port: int
    client_id: str
    keepalive: int = 15
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    protocol: Literal["5", "3.1.1"] = "5"


class Connection:
    """A live connection. Made by `connect`."""

    def __init__(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        self.received: asyncio.Queue[Message] = asyncio.Queue()
        self.maximum_packet = LARGEST_PACKET
        self._client = client
        self._accepted: asyncio.Future[None] = loop.create_future()
        self._lost: asyncio.Future[MqttError] = loop.create_future()
        self._acks: dict[int, asyncio.Future[tuple[int, str]]] = {}
        self._listen(loop.call_soon_threadsafe)

    def _listen(self, hand_over: Callable[..., object]) -> None:
        """Carry paho's callbacks, which run on its thread, over to the event loop."""

        def post(function: Callable[..., None], *arguments: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed; nobody is waiting any more
                hand_over(function, *arguments)

        def on_connect(_c: Client, _u: object, _f: object, code: ReasonCode, properties: Properties | None) -> None:
            post(self._on_connect, code.value, str(code), getattr(properties, "MaximumPacketSize", LARGEST_PACKET))

        def on_disconnect(_c: Client, _u: object, _f: object, code: ReasonCode, _p: Properties | None) -> None:
            post(self._on_lost, code.value, str(code))

        def on_ack(_c: Client, _u: object, mid: int, code: ReasonCode, _p: Properties | None) -> None:
            post(self._on_ack, mid, code.value, str(code))

        def on_subscribe(_c: Client, _u: object, mid: int, codes: list[ReasonCode], _p: Properties | None) -> None:
            worst = max(codes, key=lambda code: code.value)
            post(self._on_ack, mid, worst.value, str(worst))

        def on_message(_c: Client, _u: object, message: MQTTMessage) -> None:
            post(self.received.put_nowait, Message(message.topic, bytes(message.payload), retain=message.retain))

        self._client.on_connect = on_connect
        self._client.on_disconnect = on_disconnect
        self._client.on_publish = on_ack
        self._client.on_subscribe = on_subscribe
        self._client.on_message = on_message

    def _on_connect(self, code: int, name: str, maximum_packet: int) -> None:
        self.maximum_packet = maximum_packet
        if self._accepted.done():
            return
        if code >= REFUSED:
            self._accepted.set_exception(MqttError(f"the broker refused the connection: {name} (0x{code:02X})", code))
        else:
            self._accepted.set_result(None)

    def _on_lost(self, code: int, name: str) -> None:
        error = MqttError(f"the connection was lost: {name}", code)
        if code == TAKEN_OVER:
            error = MqttError("another client connected with our client id; each gateway needs its own", code)
        if not self._lost.done():
            self._lost.set_result(error)
        for ack in self._acks.values():
            if not ack.done():
                ack.set_exception(error)

    def _on_ack(self, mid: int, code: int, name: str) -> None:
        ack = self._acks.pop(mid, None)
        if ack is not None and not ack.done():
            ack.set_result((code, name))

    async def accepted(self) -> None:
        """Wait for the broker's CONNACK. Raises MqttError."""
        futures: list[asyncio.Future[Any]] = [self._accepted, self._lost]
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        if not self._accepted.done():
            raise self._lost.result()
        self._accepted.result()

    async def publish(self, message: Message) -> None:
        """Publish with QoS 1 and wait for the PUBACK. Raises MqttError (also when none comes), PublishRefusedError."""
        properties = None
        if message.content_type is not None and self._client.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho
            properties.ContentType = message.content_type
        info = self._client.publish(message.topic, message.payload, 1, message.retain, properties)
        code, name = await self._acknowledged(info.mid, info.rc)
        if code >= REFUSED:
            raise PublishRefusedError(code, name)

    async def subscribe(self, *topics: str) -> None:
        """Subscribe with QoS 1 and wait for the SUBACK. Raises MqttError."""
        result, mid = self._client.subscribe([(topic, 1) for topic in topics])
        code, name = await self._acknowledged(mid or 0, result)
        if code >= REFUSED:
            raise MqttError(f"the broker refused the subscription: {name} (0x{code:02X})")

    async def _acknowledged(self, mid: int, result: MQTTErrorCode) -> tuple[int, str]:
        """Wait for the answer to packet `mid`. Callbacks come through the loop, so never before this registers."""
        if self._lost.done():
            raise self._lost.result()
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise MqttError(f"the connection was lost: {result.name}")
        ack: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._acks[mid] = ack
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await ack
        except TimeoutError:
            raise MqttError(f"the broker did not acknowledge within {ANSWER_SECONDS:.0f} s") from None
        finally:
            self._acks.pop(mid, None)

    async def lost(self) -> None:
        """Wait until the connection is gone, then raise MqttError with the reason."""
        raise await asyncio.shield(self._lost)

    async def close(self) -> None:
        """Send DISCONNECT, so that the broker does not publish the Will; one that does not take even that is cut off.

        paho's thread would go on until the keep-alive runs out, and `loop_stop` would wait for it.
        """
        try:
            if self._client.disconnect() == MQTTErrorCode.MQTT_ERR_SUCCESS:
                await asyncio.wait([self._lost], timeout=CLOSE_SECONDS)
        finally:
            if not self._lost.done() and isinstance(wire := self._client.socket(), socket.socket):
                with contextlib.suppress(OSError):
                    wire.shutdown(socket.SHUT_RDWR)
            self._client.loop_stop()


@asynccontextmanager
async def connect(broker: Broker, will: Message) -> AsyncIterator[Connection]:
    """Connect once. `will` is published by the broker when the connection ends without a DISCONNECT.

    Raises MqttError with the reason: name resolution, refused, time-out, TLS (expired, wrong host, unknown authority),
    refused by the broker.
    """
    client = _client(broker, will)
    connection = Connection(client)
    try:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await _dial(client, broker)
                client.loop_start()
                await connection.accepted()
        except TimeoutError:
            raise MqttError(f"no answer from {broker.host}:{broker.port} within {CONNECT_SECONDS:.0f} s") from None
        yield connection
    finally:
        await connection.close()


def _client(broker: Broker, will: Message) -> Client:
    five = broker.protocol == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        clean_session=None if five else True,
        protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_SECONDS
    client.max_inflight_messages_set(0)  # paho scans its list at each ack; the forwarder keeps its own window
    client.will_set(will.topic, will.payload, qos=1, retain=True)
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    if broker.ca is not None:
        client.tls_set_context(_tls(broker, broker.ca))
    return client


def _tls(broker: Broker, ca: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if broker.certificate is not None:
            context.load_cert_chain(broker.certificate, broker.key)
    except (OSError, ssl.SSLError) as error:
        raise MqttError(f"cannot use the certificates of [mqtt] (ca, certificate, key): {error}") from None
    return context


async def _dial(client: Client, broker: Broker) -> None:
    """Call paho's blocking `connect` on a daemon thread, so that stopping never waits for a broker that is silent."""
    loop = asyncio.get_running_loop()
    dialled: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not dialled.done():
            dialled.set_result(None) if error is None else dialled.set_exception(error)

    def dial() -> None:
        error: BaseException | None = None
        try:
            client.connect(broker.host, broker.port, broker.keepalive)
        except (OSError, ValueError) as reason:
            error = MqttError(f"cannot connect to {broker.host}:{broker.port}: {_plain(reason)}")
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=dial, name="mqtt-connect", daemon=True).start()
    await dialled


def _plain(reason: Exception) -> str:
    """Say what went wrong in the words of the library, without its error numbers."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"TLS certificate: {reason.verify_message}"
    if isinstance(reason, OSError):
        return reason.strerror or str(reason)
    return str(reason)
