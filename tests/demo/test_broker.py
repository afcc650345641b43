"""The demo's broker: whichever there is speaks MQTT 5, gives way when its port is taken, and is gone afterwards."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.demo import broker as brokers
from gateway.demo.broker import BrokerError, PortTakenError, RunningBroker, StartBroker, broker
from gateway.uplink.mqtt import Broker, Message, connect

BOTH = pytest.mark.parametrize("start", [brokers.start_iotcore, brokers.start_mosquitto])


async def accepts(port: int) -> bool:
    """Tell whether something listens on this port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def published(port: int) -> list[Message]:
    """Publish a retained message and take it from the broker again."""
    sent = Message("demo/state", b'{"online":true}', "application/json", retain=True)
    will = Message("demo/will", b"{}", retain=True)
    async with connect(Broker("127.0.0.1", port, "one"), will) as connection:
        await connection.publish(sent)
    async with connect(Broker("127.0.0.1", port, "two"), will) as connection:
        await connection.subscribe("demo/#")
        return [await connection.receive()]


@BOTH
async def test_speaks_mqtt_5_and_keeps_retained_messages(start: StartBroker, tmp_path: Path) -> None:
    """A message published with QoS 1 and its retain flag is there for who comes later."""
    async with asyncio.timeout(10), broker(tmp_path, start) as running:
        (message,) = await published(running.port)
    assert (message.topic, message.payload, message.retain) == ("demo/state", b'{"online":true}', True)


@BOTH
async def test_is_gone_afterwards(start: StartBroker, tmp_path: Path) -> None:
    """When the context is left, nothing listens on the port any more."""
    async with broker(tmp_path, start) as running:
        assert await accepts(running.port)
    assert not await accepts(running.port)


@BOTH
async def test_says_when_its_port_is_taken(start: StartBroker, tmp_path: Path) -> None:
    """A port that another program listens on is no reason to give up for good."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(PortTakenError):
        await start(tmp_path, other.getsockname()[1])


async def test_tries_another_port(tmp_path: Path) -> None:
    """A port lost to another program is followed by the next attempt, a few times."""
    asked: list[int] = []

    async def stop() -> None:
        pass

    def losing(times: int) -> Callable[[Path, int], Awaitable[RunningBroker]]:
        async def start(directory: Path, port: int) -> RunningBroker:
            del directory
            asked.append(port)
            if len(asked) <= times:
                raise PortTakenError
            return RunningBroker("fake", port, stop)

        return start

    async with broker(tmp_path, losing(2)) as running:
        assert running.port == asked[2]
    with pytest.raises(BrokerError, match="Try again"):
        async with broker(tmp_path, losing(99)):
            pass


def test_prefers_the_one_that_needs_no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker in a wheel, else mosquitto, else an error that says how to get either."""
    assert brokers.available() is brokers.start_iotcore
    monkeypatch.setattr(brokers, "find_spec", lambda _name: None)
    assert brokers.available() is brokers.start_mosquitto
    monkeypatch.setattr(brokers, "mosquitto_program", lambda: None)
    with pytest.raises(BrokerError, match=r"touchpoint-gateway\[demo\].*apt-get install mosquitto"):
        brokers.available()


async def test_tells_why_mosquitto_did_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said before it ended is part of the error."""
    monkeypatch.setattr(brokers, "MOSQUITTO", "nonsense true\n")
    with pytest.raises(BrokerError, match="nonsense"):
        await brokers.start_mosquitto(tmp_path, 1)
