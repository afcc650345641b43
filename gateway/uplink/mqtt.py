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
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.config import key_that_fits
from gateway.sentence import sentence

REFUSED = 0x80
"""Reason codes from here on mean that the peer did not do it."""
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""A broker that answers pings and yet acknowledges nothing for so long is as good as gone."""
CLOSE_SECONDS = 0.5
TICK_SECONDS = 1.0
INBOX = 1_000
"""So many messages may wait to be received."""
INBOX_OCTETS = 4 << 20
"""And so many octets of them."""
LONGEST = 1 << 17
"""Octets of a payload that are kept: whatever is longer is refused by all who read it."""
PACKETS = 16
"""So many messages are read before others run: a millisecond or two."""
LARGEST_IN = 1 << 20
"""Octets of the largest packet that the broker may send (MQTT 5.0, section 3.1.2.11.4)."""
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
        super().__init__(
            sentence("the broker refused the publish: {name} (0x{code:02X})").format(name=name, code=code), code
        )


class SubscribeRefusedError(MqttError):
    """The broker refused a subscription; the connection lives on."""


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
    """A live connection. Made by `connect`.

    The event loop itself reads and writes paho's socket, so that nothing here runs on another thread; and it stops
    reading while `INBOX` messages wait to be received, so that a flood from the broker stays there.
    """

    def __init__(self, client: Client) -> None:
        self._loop = asyncio.get_running_loop()
        self.maximum_packet = LARGEST_PACKET
        self._client = client
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._octets = 0
        self._reading = False
        self._deaf = False
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[MqttError] = self._loop.create_future()
        self._acks: dict[int, asyncio.Future[tuple[int, str]]] = {}
        self._ticking: asyncio.TimerHandle | None = None

    def attach(self) -> None:
        """Take over the socket of a client that has been dialled. Raises MqttError."""
        self._client.on_connect = lambda _c, _u, _f, code, properties: self._on_connect(
            code.value, str(code), getattr(properties, "MaximumPacketSize", LARGEST_PACKET)
        )
        self._client.on_disconnect = lambda _c, _u, _f, code, _p: self._on_lost(code.value, str(code))
        self._client.on_publish = lambda _c, _u, mid, code, _p: self._on_ack(mid, [code])
        self._client.on_subscribe = lambda _c, _u, mid, codes, _p: self._on_ack(mid, codes)
        self._client.on_message = self._on_message
        self._client.on_socket_close = lambda _c, _u, wire: self._detach(wire)
        if self._client.socket() is None:
            raise MqttError(sentence("the connection was lost"))
        self._listen()
        self._flush()
        self._tick()

    def _listen(self) -> None:
        if not self._reading and (wire := self._client.socket()) is not None:
            self._loop.add_reader(wire, self._read)
            self._reading = True

    def _read(self) -> None:
        wire = self._client.socket()
        try:
            with _corked(wire):
                self._read_packets(wire)
        except Exception as error:  # noqa: BLE001  # whatever a broker sends; its text may quote the packet
            self._break_off(sentence("the broker sent what cannot be read ({name})").format(name=type(error).__name__))
        self._flush()

    def _read_packets(self, wire: Any) -> None:  # noqa: ANN401  # paho's sockets are of several kinds
        """Read what has come, a few messages at a time."""
        for _ in range(PACKETS):
            before = self._received.qsize()
            self._client.loop_read()
            if self._lost.done() or not self._reading or self._received.qsize() == before:
                break
        while isinstance(wire, ssl.SSLSocket) and not self._lost.done() and wire.pending():
            self._client.loop_read()

    def _flush(self) -> None:
        """Write what waits, now or when the socket takes it."""
        if (wire := self._client.socket()) is None:
            return
        if self._client.want_write():
            self._loop.add_writer(wire, self._write)
        else:
            self._loop.remove_writer(wire)

    def _write(self) -> None:
        self._client.loop_write()
        self._flush()

    def _tick(self) -> None:
        """Let paho send its pings, and notice when none is answered."""
        self._client.loop_misc()
        self._flush()
        if not self._lost.done():
            self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)

    def _detach(self, wire: Any) -> None:  # noqa: ANN401  # paho's sockets are of several kinds
        self._reading = False
        self._loop.remove_reader(wire)
        self._loop.remove_writer(wire)

    def _break_off(self, why: str) -> None:
        self._on_lost(0, why)
        if isinstance(wire := self._client.socket(), socket.socket):
            self._detach(wire)
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def _on_message(self, _client: Client, _user: object, message: MQTTMessage) -> None:
        if self._deaf:
            return
        payload = bytes(message.payload[:LONGEST])
        self._received.put_nowait(Message(message.topic, payload, retain=message.retain))
        self._octets += len(payload)
        full = self._received.qsize() >= INBOX or self._octets >= INBOX_OCTETS
        if full and (wire := self._client.socket()) is not None:
            self._loop.remove_reader(wire)
            self._reading = False

    async def receive(self) -> Message:
        """Wait for the next message of the subscriptions."""
        message = await self._received.get()
        self._taken(message)
        return message

    def _taken(self, message: Message) -> None:
        """Go on reading once half of the room is free."""
        self._octets -= len(message.payload)
        if self._received.qsize() < INBOX // 2 and self._octets < INBOX_OCTETS // 2:
            self._listen()

    def hear_no_more(self) -> None:
        """Let go of what waits and of what still comes, so that answers to what is published find their way."""
        self._deaf = True
        self.waiting(INBOX)

    def _on_connect(self, code: int, name: str, maximum_packet: int) -> None:
        self.maximum_packet = maximum_packet
        if self._accepted.done():
            return
        if code >= REFUSED:
            self._accepted.set_exception(
                MqttError(
                    sentence("the broker refused the connection: {name} (0x{code:02X})").format(name=name, code=code),
                    code,
                )
            )
        else:
            self._accepted.set_result(None)

    def _on_lost(self, code: int, name: str) -> None:
        error = MqttError(sentence("the connection was lost: {name}").format(name=name), code)
        if code == TAKEN_OVER:
            error = MqttError(sentence("another client connected with our client id; each gateway needs its own"), code)
        if not self._lost.done():
            self._lost.set_result(error)
        for ack in self._acks.values():
            if not ack.done():
                ack.set_exception(error)

    def _on_ack(self, mid: int, codes: Sequence[ReasonCode]) -> None:
        """Settle the packet that this answers with the worst of its reason codes."""
        ack = self._acks.pop(mid, None)
        if ack is not None and not ack.done():
            worst = max(codes, key=lambda code: code.value)
            ack.set_result((worst.value, str(worst)))

    async def accepted(self) -> None:
        """Wait for the broker's CONNACK. Raises MqttError."""
        futures: list[asyncio.Future[Any]] = [self._accepted, self._lost]
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        if not self._accepted.done():
            raise self._lost.result()
        self._accepted.result()

    def waiting(self, limit: int) -> list[Message]:
        """Return what has come already, at most `limit` messages."""
        messages: list[Message] = []
        while len(messages) < limit and not self._received.empty():
            message = self._received.get_nowait()
            messages.append(message)
            self._taken(message)
        return messages

    async def publish(self, message: Message) -> None:
        """Publish with QoS 1 and wait for the PUBACK. Raises MqttError (also when none comes), PublishRefusedError."""
        properties = None
        if message.content_type is not None and self._client.protocol == MQTTProtocolVersion.MQTTv5:
            properties = _content_type(message.content_type)
        info = self._client.publish(message.topic, message.payload, 1, message.retain, properties)
        code, name = await self._acknowledged(info.mid, info.rc)
        if code >= REFUSED:
            raise PublishRefusedError(code, name)

    async def subscribe(self, *topics: str) -> None:
        """Subscribe with QoS 1 and wait for the SUBACK. Raises MqttError."""
        result, mid = self._client.subscribe([(topic, 1) for topic in topics])
        code, name = await self._acknowledged(mid or 0, result)
        if code >= REFUSED:
            raise SubscribeRefusedError(
                sentence("the broker refused the subscription: {name} (0x{code:02X})").format(name=name, code=code),
                code,
            )

    async def _acknowledged(self, mid: int, result: MQTTErrorCode) -> tuple[int, str]:
        """Wait for the answer to packet `mid`. The loop reads it, so it never comes before this registers."""
        self._flush()
        if self._lost.done():
            raise self._lost.result()
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise MqttError(sentence("the connection was lost: {name}").format(name=result.name))
        ack: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._acks[mid] = ack
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await ack
        except TimeoutError:
            raise MqttError(
                sentence("the broker did not acknowledge within {seconds:.0f} s").format(seconds=ANSWER_SECONDS)
            ) from None
        finally:
            self._acks.pop(mid, None)

    async def lost(self) -> None:
        """Wait until the connection is gone, then raise MqttError with the reason."""
        raise await asyncio.shield(self._lost)

    async def close(self) -> None:
        """Send DISCONNECT, so that the broker does not publish the Will; if it does not take even that, cut it off."""
        try:
            if self._client.disconnect() == MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._flush()
                await asyncio.wait([self._lost], timeout=CLOSE_SECONDS)
        finally:
            if self._ticking is not None:
                self._ticking.cancel()
            if not self._lost.done():
                self._break_off(sentence("it was closed"))


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
                connection.attach()
                await connection.accepted()
        except TimeoutError:
            raise MqttError(
                sentence("no answer from {host}:{port} within {seconds:.0f} s").format(
                    host=broker.host, port=broker.port, seconds=CONNECT_SECONDS
                )
            ) from None
        yield connection
    finally:
        await connection.close()


@contextmanager
def _corked(wire: Any) -> Iterator[None]:  # noqa: ANN401  # paho's sockets are of several kinds
    """Let the kernel send in one segment what is written meanwhile, the acknowledgement of each message (tcp(7))."""
    if not isinstance(wire, socket.socket):
        yield
        return
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it was closed meanwhile
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


@lru_cache(maxsize=8)
def _content_type(media_type: str) -> Properties:
    """Return the properties that name a media type; paho only reads them."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho
    properties.ContentType = media_type
    return properties


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


def _limits(client: Client) -> Properties | None:
    """Return what the broker must keep to; MQTT 3.1.1 cannot say so."""
    if client.protocol != MQTTProtocolVersion.MQTTv5:
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
    properties.MaximumPacketSize = LARGEST_IN
    return properties


def _tls(broker: Broker, ca: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if broker.certificate is not None:
            context.load_cert_chain(broker.certificate, key_that_fits(broker.certificate, broker.key))
    except (OSError, ssl.SSLError) as error:
        raise MqttError(
            sentence("cannot use the certificates of [mqtt] (ca, certificate, key): {error}").format(error=error)
        ) from None
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
            client.connect(broker.host, broker.port, broker.keepalive, properties=_limits(client))
        except (OSError, ValueError) as reason:
            error = MqttError(
                sentence("cannot connect to {host}:{port}: {error}").format(
                    host=broker.host, port=broker.port, error=_plain(reason)
                )
            )
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
