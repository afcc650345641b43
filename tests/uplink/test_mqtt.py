"""One MQTT connection: it says why it could not be made, and believes nothing that was not acknowledged."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.uplink import mqtt
from gateway.uplink.mqtt import Broker, Connection, Message, MqttError, PublishRefusedError, connect
from tests.simulators.authority import Authority, Certificate
from tests.simulators.broker import FakeBroker, Mosquitto, free_port
from tests.uplink.conftest import until

SECRET = "nobody-reads-this-in-an-error"
WILL = Message("touchpoint/v1/acme/zrh-1/gw-1/state", b"gone", retain=True)
EVENT = Message("touchpoint/v1/acme/zrh-1/gw-1/event", SECRET.encode(), "application/cloudevents+json")
ENDURANCE = 1.4
"""Seconds: a stop of the whole half within two must have room for the rest."""
QUOTA, NOT_AUTHORIZED, BAD_NAME = 0x97, 0x87, 0x86


def at(port: int, host: str = "127.0.0.1", ca: Path | None = None) -> Broker:
    return Broker(host, port, "gw-1", keepalive=5, ca=ca)


async def refusal(broker: Broker) -> str:
    """Connect in vain and return why."""
    with pytest.raises(MqttError) as caught:
        async with connect(broker, WILL):
            pass
    return str(caught.value)


@asynccontextmanager
async def watching(port: int, topic: str) -> AsyncIterator[Connection]:
    """Watch a topic with another connection."""
    async with connect(Broker("127.0.0.1", port, "watcher"), Message("unused", b"")) as watcher:
        await watcher.subscribe(topic)
        yield watcher


async def test_what_is_acknowledged_has_arrived(tmp_path: Path) -> None:
    """A publish returns after the PUBACK of a real broker, and a subscriber has the payload."""
    with Mosquitto(tmp_path) as broker:
        async with connect(at(broker.port), WILL) as connection:
            await connection.subscribe(EVENT.topic)
            await connection.publish(EVENT)
            message = await asyncio.wait_for(connection.receive(), 10)
    assert (message.topic, message.payload, message.retain) == (EVENT.topic, EVENT.payload, False)


async def test_content_type_travels_as_a_property(fake: FakeBroker) -> None:
    """A CloudEvent in MQTT 5 says what it is in Content Type, with QoS 1 and never as a duplicate."""
    async with connect(at(fake.port), WILL) as connection:
        await connection.publish(EVENT)
        await connection.publish(Message(WILL.topic, b"here", retain=True))
    event, state = fake.published
    assert (event.qos, event.retain, event.duplicate, event.content_type) == (1, False, False, EVENT.content_type)
    assert (state.retain, state.content_type) == (True, None)


async def test_mqtt_311_works_where_it_must(tmp_path: Path) -> None:
    """An older broker gets the same payload, without properties."""
    with Mosquitto(tmp_path) as broker:
        async with connect(Broker("127.0.0.1", broker.port, "gw-1", protocol="3.1.1"), WILL) as connection:
            await connection.subscribe(EVENT.topic)
            await connection.publish(EVENT)
            assert (await asyncio.wait_for(connection.receive(), 10)).payload == EVENT.payload


async def test_a_refused_port_is_named() -> None:
    """Where nothing listens, the reason says so, with host and port."""
    port = free_port()
    assert await refusal(at(port)) == f"cannot connect to 127.0.0.1:{port}: Connection refused"


async def test_a_name_that_does_not_resolve_is_named() -> None:
    """A wrong host name is told apart from a broker that is down."""
    why = await refusal(at(1883, host="broker.invalid"))
    assert why.startswith("cannot connect to broker.invalid:1883: ")
    assert "refused" not in why
    assert "name" in why.lower() or "resolution" in why.lower()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls_with_the_right_authority(tmp_path: Path, authority: Authority) -> None:
    """A broker whose certificate the configured authority has signed is believed."""
    certificate = authority.issue("broker", "127.0.0.1")
    with Mosquitto(tmp_path, tls=certificate) as broker:
        async with connect(at(broker.port, ca=authority.certificate), WILL) as connection:
            await connection.publish(EVENT)


WRONG: dict[str, tuple[Callable[[Authority, Authority], Certificate], str]] = {
    "unknown authority": (lambda _ours, other: other.issue("broker", "127.0.0.1"), "issuer certificate"),
    "other host": (lambda ours, _other: ours.issue("broker", "elsewhere.example"), "not valid for '127.0.0.1'"),
    "expired": (lambda ours, _other: ours.issue("broker", "127.0.0.1", expired=True), "certificate has expired"),
}


LEFT_BY_PAHO = pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl:pytest.PytestUnraisableExceptionWarning")
"""paho leaves it to the garbage collector to close the socket of a handshake that failed."""


@LEFT_BY_PAHO
@pytest.mark.parametrize("case", WRONG)
async def test_tls_that_cannot_be_trusted_says_why(tmp_path: Path, authority: Authority, case: str) -> None:
    """No payload goes to a broker that another authority vouches for, or that is another host, or out of date."""
    issue, reason = WRONG[case]
    with Mosquitto(tmp_path, tls=issue(authority, Authority(tmp_path, "other"))) as broker:
        why = await refusal(at(broker.port, ca=authority.certificate))
    assert why.startswith(f"cannot connect to 127.0.0.1:{broker.port}: TLS certificate: ")
    assert reason in why


@LEFT_BY_PAHO
async def test_a_plain_port_behind_a_ca_is_refused(tmp_path: Path, authority: Authority) -> None:
    """With `ca` configured, a broker without TLS is no reason to go on without."""
    with Mosquitto(tmp_path) as broker:
        assert (await refusal(at(broker.port, ca=authority.certificate))).startswith("cannot connect to 127.0.0.1")


async def test_a_missing_authority_file_is_named(tmp_path: Path) -> None:
    """A `ca` that cannot be read names the keys of the configuration to look at."""
    assert "[mqtt] (ca, certificate, key)" in await refusal(at(free_port(), ca=tmp_path / "absent.pem"))


async def test_a_real_broker_that_refuses_us_is_quoted(tmp_path: Path) -> None:
    """Without a name and password, a broker that wants them refuses; its reason code reaches the reason."""
    with Mosquitto(tmp_path, anonymous=False) as broker:
        assert await refusal(at(broker.port)) == "the broker refused the connection: Not authorized (0x87)"


@pytest.mark.parametrize(("code", "soon"), [(BAD_NAME, False), (NOT_AUTHORIZED, False), (0x88, True), (QUOTA, True)])
async def test_a_refusal_tells_whether_it_passes_soon(fake: FakeBroker, code: int, *, soon: bool) -> None:
    """What only a person can change is told apart from a broker that is busy."""
    fake.connack = code
    with pytest.raises(MqttError) as caught:
        async with connect(at(fake.port), WILL):
            pass
    assert (caught.value.code, caught.value.passes_soon) == (code, soon)
    assert f"0x{code:02X}" in str(caught.value)


async def test_a_refused_publish_is_no_success(fake: FakeBroker) -> None:
    """A PUBACK with 0x80 or above raises with its code, shows nothing of the payload, and the connection lives on."""
    fake.puback = lambda published: QUOTA if published.topic == EVENT.topic else 0
    async with connect(at(fake.port), WILL) as connection:
        with pytest.raises(PublishRefusedError) as caught:
            await connection.publish(EVENT)
        await connection.publish(Message(WILL.topic, b"here"))
    assert caught.value.code == QUOTA
    assert str(caught.value) == "the broker refused the publish: Quota exceeded (0x97)"
    assert SECRET not in repr(caught.value) + repr(EVENT)


async def test_no_matching_subscribers_is_a_success(fake: FakeBroker) -> None:
    """0x10 says that nobody listens at present; the broker has the message all the same."""
    fake.puback = lambda _: 0x10
    async with connect(at(fake.port), WILL) as connection:
        await connection.publish(EVENT)
    assert len(fake.on(EVENT.topic)) == 1


async def test_a_real_broker_denies_by_its_acl(tmp_path: Path) -> None:
    """A topic that the ACL does not grant is refused, not silently swallowed."""
    with Mosquitto(tmp_path, acl="topic readwrite elsewhere/#\n") as broker:
        async with connect(at(broker.port), WILL) as connection:
            with pytest.raises(PublishRefusedError) as caught:
                await connection.publish(EVENT)
    assert (caught.value.code, caught.value.passes_soon) == (NOT_AUTHORIZED, False)


async def test_a_refused_subscription_raises(fake: FakeBroker) -> None:
    """Who may not listen is told so."""
    fake.suback = NOT_AUTHORIZED
    async with connect(at(fake.port), WILL) as connection:
        with pytest.raises(MqttError, match=r"refused the subscription: Not authorized \(0x87\)"):
            await connection.subscribe("secret/#")


async def test_a_lost_connection_fails_what_is_pending(fake: FakeBroker) -> None:
    """A publish that waits for its PUBACK ends with the connection, as does the wait for its loss."""
    fake.puback = lambda _: None
    async with connect(at(fake.port), WILL) as connection:
        pending = asyncio.ensure_future(connection.publish(EVENT))
        await until(lambda: fake.on(EVENT.topic))
        fake.drop()
        with pytest.raises(MqttError, match="the connection was lost"):
            await asyncio.wait_for(pending, 10)
        with pytest.raises(MqttError, match="the connection was lost"):
            await asyncio.wait_for(connection.lost(), 10)
        with pytest.raises(MqttError, match="the connection was lost"):
            await connection.publish(EVENT)
    assert len(fake.on(EVENT.topic)) == 1


async def test_a_disconnect_with_a_reason_quotes_it(fake: FakeBroker) -> None:
    """A broker that ends the connection and says why is quoted, code and all."""
    async with connect(at(fake.port), WILL) as connection:
        fake.disconnect(0x8B)
        with pytest.raises(MqttError, match="Server shutting down") as caught:
            await asyncio.wait_for(connection.lost(), 10)
    assert (caught.value.code, caught.value.passes_soon) == (0x8B, True)


async def test_a_second_gateway_with_our_name_is_recognised(fake: FakeBroker) -> None:
    """Two clients with one id throw each other out; the one that lost says what to look for, and does not hurry."""
    async with connect(at(fake.port), WILL) as connection:
        fake.disconnect(0x8E)
        with pytest.raises(MqttError, match="another client connected with our client id") as caught:
            await asyncio.wait_for(connection.lost(), 10)
    assert not caught.value.passes_soon


async def test_a_broker_that_acknowledges_nothing_is_given_up(
    fake: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that answers pings and no publish does not hold a message for ever."""
    monkeypatch.setattr(mqtt, "ANSWER_SECONDS", 0.05)
    fake.puback = lambda _: None
    async with connect(at(fake.port), WILL) as connection:
        with pytest.raises(MqttError, match="did not acknowledge"):
            await connection.publish(EVENT)


async def test_a_broker_that_never_answers_the_connect_is_given_up(
    fake: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence after TCP accepted the connection ends with a reason that names host and port."""
    monkeypatch.setattr(mqtt, "CONNECT_SECONDS", 0.1)
    fake.connack = None
    assert await refusal(at(fake.port)) == f"no answer from 127.0.0.1:{fake.port} within 0 s"


async def test_a_timeout_of_the_caller_stays_its_own(fake: FakeBroker) -> None:
    """What times out inside the connection is not taken for a broker that did not answer."""
    with pytest.raises(TimeoutError):
        async with connect(at(fake.port), WILL):
            raise TimeoutError


async def test_the_broker_tells_how_much_it_takes(fake: FakeBroker) -> None:
    """Maximum Packet Size of the CONNACK is known to whoever publishes."""
    async with connect(at(fake.port), WILL) as connection:
        assert connection.maximum_packet == mqtt.LARGEST_PACKET
    fake.maximum_packet = 70_000
    async with connect(at(fake.port), WILL) as connection:
        assert connection.maximum_packet == 70_000


async def test_the_will_speaks_for_a_client_that_breaks_off(tmp_path: Path) -> None:
    """After a connection ends without DISCONNECT the broker publishes the Will, retained; after a clean end not."""
    with Mosquitto(tmp_path) as broker:
        async with watching(broker.port, WILL.topic) as watcher:
            async with connect(at(broker.port), WILL):
                pass
            async with connect(at(broker.port), Message(WILL.topic, b"broken off", retain=True)) as connection:
                break_off(connection)
                message = await asyncio.wait_for(watcher.receive(), 10)
        async with watching(broker.port, WILL.topic) as late:
            retained = await asyncio.wait_for(late.receive(), 10)
    assert message.payload == b"broken off"
    assert (retained.payload, retained.retain) == (b"broken off", True)


def break_off(connection: Connection) -> None:
    """Cut the wire under the client, as a cable that is pulled would."""
    wire = connection._client.socket()  # noqa: SLF001  # the wire is nobody's business but paho's
    assert isinstance(wire, socket.socket)
    wire.shutdown(socket.SHUT_RDWR)


async def publish(port: int, *messages: Message) -> None:
    """Connect and publish all at once; the broker's silence keeps it from ending."""
    async with connect(at(port), WILL) as connection:
        await asyncio.gather(*(connection.publish(message) for message in messages))


async def seconds_to_stop(work: "asyncio.Task[None]") -> float:
    begun = time.monotonic()
    work.cancel()
    await asyncio.wait({work})
    assert work.cancelled()
    return time.monotonic() - begun


async def test_stopping_does_not_wait_for_a_connack(fake: FakeBroker) -> None:
    """A broker that accepts the TCP connection and then says nothing holds nobody up."""
    fake.connack = None
    work = asyncio.ensure_future(publish(fake.port, EVENT))
    await until(lambda: fake.connections)
    assert await seconds_to_stop(work) < ENDURANCE


async def test_stopping_does_not_wait_for_a_puback(fake: FakeBroker) -> None:
    """What was published and not acknowledged holds nobody up; DISCONNECT still goes out."""
    fake.puback = lambda _: None
    work = asyncio.ensure_future(publish(fake.port, EVENT))
    await until(lambda: fake.published)
    assert await seconds_to_stop(work) < ENDURANCE
    await until(lambda: fake.disconnected)


async def test_stopping_does_not_wait_for_a_broker_that_reads_nothing(fake: FakeBroker) -> None:
    """With the network's buffers full, not even DISCONNECT can go out: the connection is cut."""
    fake.puback = lambda _: fake.hears.clear()
    work = asyncio.ensure_future(publish(fake.port, *[Message("t", bytes(1_000_000))] * 20))
    await until(lambda: fake.published)
    assert await seconds_to_stop(work) < ENDURANCE


async def test_stopping_does_not_wait_for_a_broker_that_is_frozen(tmp_path: Path) -> None:
    """A black hole on an open connection holds nobody up."""
    with Mosquitto(tmp_path) as broker:
        async with connect(at(broker.port), WILL) as connection:
            broker.freeze()
            pending = asyncio.ensure_future(connection.publish(EVENT))
            begun = time.monotonic()
        assert time.monotonic() - begun < ENDURANCE
        with pytest.raises(MqttError):
            await pending
