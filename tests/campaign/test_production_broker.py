"""The broker configuration of `config/mosquitto/`, run as it is but for its paths and its port."""

import asyncio
import getpass
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.uplink.mqtt import Broker, Connection, Message, MqttError, PublishRefusedError, connect
from tests.simulators.authority import Authority
from tests.simulators.broker import HOST, Mosquitto

CONFIG = Path(__file__).parent.parent.parent / "config" / "mosquitto"
TOPIC = "touchpoint/v1/acme/zrh-1"
NOT_AUTHORIZED = 0x87
BACKLOG = 2_500
"""More than mosquitto keeps by default for a consumer that is away: 1,000 messages, and 20 in flight."""


class ProductionBroker(Mosquitto):
    """A mosquitto with our files: the paths are those of a directory, the port is a free one."""

    def _configuration(self) -> str:
        acl = self.directory / "touchpoint.acl"
        acl.write_text((CONFIG / "touchpoint.acl").read_text("utf-8"), encoding="utf-8")
        lines = (CONFIG / "mosquitto.conf").read_text("utf-8")
        for ours, theirs in (
            ("/etc/mosquitto/certs/", f"{self.directory.parent}/"),
            ("/etc/mosquitto/touchpoint.acl", str(acl)),
            ("/var/lib/mosquitto/", f"{self.directory}/"),
            ("listener 8883", f"listener {self.port} {HOST}"),
        ):
            assert ours in lines, f"the configuration does not say {ours} any more"
            lines = lines.replace(ours, theirs)
        return f"user {getpass.getuser()}\n{lines}"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The brand's authority, which has signed the broker, the centre and two gateways."""
    signs = Authority(tmp_path, "ca")
    signs.issue("broker", HOST)
    for name in ("centre", "gw-1", "gw-2"):
        signs.issue(name, "unused.example")
    return signs


@pytest.fixture
def broker(tmp_path: Path, authority: Authority) -> Iterator[ProductionBroker]:
    assert authority.certificate.exists()
    with ProductionBroker(tmp_path) as started:
        yield started


def identity(broker: ProductionBroker, name: str, client_id: str = "") -> Broker:
    """Return how somebody connects who holds the certificate of this name."""
    files = broker.directory.parent
    certificate, key = files / f"{name}.pem", files / f"{name}.key"
    return Broker(HOST, broker.port, client_id or name, ca=files / "ca.pem", certificate=certificate, key=key)


@asynccontextmanager
async def connected(broker: ProductionBroker, name: str, *topics: str) -> AsyncIterator[Connection]:
    """Connect as somebody, and subscribe."""
    async with connect(identity(broker, name), Message(f"{TOPIC}/{name}/state", b"dead", retain=True)) as connection:
        if topics:
            await connection.subscribe(*topics)
        yield connection


async def heard(connection: Connection, last: bytes) -> list[bytes]:
    """Return what came, up to the payload that is known to come last."""
    payloads: list[bytes] = []
    async with asyncio.timeout(10):
        while last not in payloads:
            payloads.append((await connection.receive()).payload)
    return payloads


OF_OTHERS = ("acme/zrh-1/gw-2/event", "acme/zrh-1/gw-2/state", "acme/zrh-1/gw-2/receipt", "other/zrh-1/gw-1/event")
OF_THE_CENTRE = (
    "acme/zrh-1/gw-1/receipt",
    "acme/zrh-1/gw-1/command",
    "acme/zrh-1/consent/r1",
    "acme/zrh-1/consent-state",
)


@pytest.mark.parametrize("topic", [*OF_OTHERS, *OF_THE_CENTRE])
async def test_a_gateway_speaks_for_nobody_else(broker: ProductionBroker, topic: str) -> None:
    """Not for another gateway, another tenant or the centre: it is told that it may not, and nobody hears it."""
    async with connected(broker, "centre", "#") as centre, connected(broker, "gw-2", "#") as other:
        async with connected(broker, "gw-1") as gateway:
            with pytest.raises(PublishRefusedError) as refused:
                await gateway.publish(Message(f"touchpoint/v1/{topic}", b"forged"))
        async with connected(broker, "gw-1") as gateway:
            await gateway.publish(Message(f"{TOPIC}/gw-1/event", b"last"))
        assert refused.value.code == NOT_AUTHORIZED
        await centre.publish(Message(f"{TOPIC}/gw-2/command", b"last"))
        assert await heard(other, b"last") == [b"last"]
        assert b"forged" not in await heard(centre, b"last")


async def test_a_gateway_speaks_for_itself(broker: ProductionBroker) -> None:
    """Its events and its state reach the centre."""
    async with connected(broker, "centre", "#") as centre, connected(broker, "gw-1") as gateway:
        await gateway.publish(Message(f"{TOPIC}/gw-1/state", b"state"))
        await gateway.publish(Message(f"{TOPIC}/gw-1/event", b"event"))
        assert await heard(centre, b"event") == [b"state", b"event"]


async def test_a_gateway_hears_what_is_for_it_only(broker: ProductionBroker) -> None:
    """Whatever it subscribes to: its own receipts and commands, its store's consents, and nothing of anybody else's."""
    async with connected(broker, "gw-1", "#") as gateway, connected(broker, "centre") as centre:
        for topic in ("zrh-1/gw-2/receipt", "zrh-1/gw-2/command", "gva-2/consent/r1", "gva-2/consent-state"):
            await centre.publish(Message(f"touchpoint/v1/acme/{topic}", b"of others"))
        for topic in ("consent/r1", "consent-state", "registry/counter", "cue/counter", "gw-1/command", "gw-1/receipt"):
            await centre.publish(Message(f"{TOPIC}/{topic}", topic.encode()))
        payloads = await heard(gateway, b"gw-1/receipt")
    assert payloads == [
        b"consent/r1",
        b"consent-state",
        b"registry/counter",
        b"cue/counter",
        b"gw-1/command",
        b"gw-1/receipt",
    ]


async def test_a_gateway_that_is_not_listed_hears_nothing_of_the_store(broker: ProductionBroker) -> None:
    """Its name does not tell its store: without its lines in the ACL file only what bears its name reaches it."""
    async with connected(broker, "gw-2", "#") as gateway, connected(broker, "centre") as centre:
        await centre.publish(Message(f"{TOPIC}/consent/r1", b"of the store"))
        await centre.publish(Message(f"{TOPIC}/gw-2/receipt", b"own"))
        assert await heard(gateway, b"own") == [b"own"]


async def test_nobody_takes_over_another_gateways_connection(broker: ProductionBroker) -> None:
    """Whatever client id is given, it is the name in the certificate that counts."""
    async with (
        connected(broker, "gw-1") as first,
        connect(identity(broker, "gw-2", client_id="gw-1"), Message(f"{TOPIC}/gw-2/state", b"{}")) as second,
    ):
        await second.publish(Message(f"{TOPIC}/gw-2/event", b"second"))
        await first.publish(Message(f"{TOPIC}/gw-1/event", b"first"))


@pytest.mark.parametrize("case", ["no certificate", "certificate of another authority", "expired certificate"])
async def test_strangers_are_not_let_in(
    tmp_path: Path, broker: ProductionBroker, authority: Authority, case: str
) -> None:
    """Without a valid certificate of our authority there is no connection."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    shown = {
        "no certificate": None,
        "certificate of another authority": other.issue("gw-1", "unused.example"),
        "expired certificate": authority.issue("gw-3", "unused.example", expired=True),
    }[case]
    stranger = Broker(
        HOST,
        broker.port,
        "gw-1",
        ca=authority.certificate,
        certificate=shown.certificate if shown else None,
        key=shown.key if shown else None,
    )
    with pytest.raises(MqttError):
        async with connect(stranger, Message(f"{TOPIC}/gw-1/state", b"{}")):
            pass


class Away:
    """The centre with a session that outlives it, as a plain paho client: ours begins a new session each time."""

    def __init__(self, broker: ProductionBroker) -> None:
        self.payloads: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._subscribed = asyncio.Event()
        files = broker.directory.parent
        self._client = Client(CallbackAPIVersion.VERSION2, "centre", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.tls_set(str(files / "ca.pem"), str(files / "centre.pem"), str(files / "centre.key"))
        self._client.on_connect = lambda client, *_: client.subscribe("touchpoint/v1/acme/+/+/event", 1) and None
        self._client.on_subscribe = self._listens
        self._client.on_message = self._take
        lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
        lasting.SessionExpiryInterval = 3600
        self._client.connect(HOST, broker.port, clean_start=False, properties=lasting)

    async def __aenter__(self) -> Self:
        self._client.loop_start()
        await asyncio.wait_for(self._subscribed.wait(), 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _listens(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._subscribed.set)

    def _take(self, _client: Client, _user: object, message: MQTTMessage) -> None:
        self.payloads.append(bytes(message.payload))


async def test_queues_lose_nothing_while_the_centre_is_away(broker: ProductionBroker) -> None:
    """More messages than a default mosquitto keeps, and a restart of the broker: all of them are there, in order."""
    async with Away(broker):
        pass
    async with connected(broker, "gw-1") as gateway:
        for number in range(BACKLOG):
            await gateway.publish(Message(f"{TOPIC}/gw-1/event", b"%d" % number))
    broker.restart()
    async with Away(broker) as centre:
        async with asyncio.timeout(20):
            while len(centre.payloads) < BACKLOG:  # noqa: ASYNC110  # what paho's thread does sets no event of ours
                await asyncio.sleep(0.01)
        assert centre.payloads == [b"%d" % number for number in range(BACKLOG)]
