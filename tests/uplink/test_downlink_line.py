"""The way down over a line: a flood, a broker that refuses, and messages that come in any order hold up nothing."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.core.event import State
from gateway.core.jws import Use
from gateway.core.order import RestartAskedError
from gateway.core.sighting import ClockQuality
from gateway.uplink import connect, consents, mqtt
from gateway.uplink.connect import Uplink
from gateway.uplink.downlink import Downlink
from gateway.uplink.mqtt import INBOX, LONGEST, Broker, Message
from gateway.uplink.mqtt import connect as connect_to
from tests.simulators.broker import FakeBroker, Mosquitto
from tests.simulators.centre import Centre
from tests.simulators.centre_keys import CENTRE
from tests.uplink.conftest import TOPICS, WILL, Bench, Clock, made_downlink, sequences, until

HANDLE = "h1." + "A" * 22
MANY = 2_000
"""More than may wait to be received."""


class Soon(random.Random):
    """Lets nobody wait long before the next connection."""

    def uniform(self, a: float, b: float) -> float:
        return min(a, b, 0.001)


@pytest.fixture
def centre() -> Centre:
    return Centre(TOPICS)


@pytest.fixture
def now_ms(clock: Clock) -> int:
    return clock.now().wall_ms


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what happens now and then happen at once."""
    monkeypatch.setattr(connect, "LISTEN_SECONDS", 0.02)
    monkeypatch.setattr(consents, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(consents, "UNLIKE_SECONDS", 0.0)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, "autosave_interval 0\nautosave_on_changes false") as broker:
        yield broker


@asynccontextmanager
async def running(bench: Bench, port: int) -> AsyncIterator[tuple[Downlink, "asyncio.Task[None]"]]:
    """Run the uplink half until the block ends, then stop it as a signal does."""
    taking = made_downlink(bench, CENTRE.believed(*Use))
    broker = Broker("127.0.0.1", port, "gw-1", keepalive=5)
    work = asyncio.ensure_future(
        Uplink(broker, TOPICS, bench.forwarder, taking, bench.clock.now, "1.2.3", Soon()).run()
    )
    try:
        yield taking, work
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError, RestartAskedError):
            await work


def say(port: int, *messages: Message) -> None:
    """Publish as the centre does, and wait until the broker has it all."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, client_id="centre")
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish(each.topic, each.payload, 1, retain=each.retain) for each in messages]
    for each in sent:
        each.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


def states(fake: FakeBroker) -> list[State]:
    return [State.model_validate_json(payload) for payload in fake.on(TOPICS.state)]


async def test_a_large_set_comes_with_the_connection(
    bench: Bench, mosquitto: Mosquitto, centre: Centre, now_ms: int, hurried: None
) -> None:
    """More records than may wait at once: they are taken while the rest is still being subscribed to.

    And what the broker still holds comes again when the set is found not to be whole.
    """
    del hurried
    for number in range(MANY):
        centre.grant(f"r{number}", HANDLE, at_ms=now_ms)
    await asyncio.to_thread(say, mosquitto.port, *centre.retained(now_ms))
    bench.capture.append(3)
    async with running(bench, mosquitto.port) as (taking, _):
        await until(lambda: taking.consents.complete, 60)
        await until(lambda: bench.recorded() == (3, 3), 30)
        assert bench.database.execute("SELECT count(*) FROM consent").fetchone() == (MANY,)
        await asyncio.to_thread(say, mosquitto.port, *(Message(m.topic, b"", retain=True) for m in forgotten(centre)))
        await asyncio.to_thread(say, mosquitto.port, centre.state(now_ms + 1))
        await until(lambda: bench.database.execute("SELECT count(*) FROM consent").fetchone() == (MANY - 5,), 60)
        await until(lambda: taking.consents.complete, 30)


def forgotten(centre: Centre) -> list[Message]:
    """Drop some records, and return their last messages."""
    gone = [centre.message(centre.records[f"r{number}"]) for number in range(5)]
    for number in range(5):
        centre.drop(f"r{number}")
    return gone


async def test_during_a_flood_events_go_on(bench: Bench, fake: FakeBroker, centre: Centre, now_ms: int) -> None:
    """Forged messages by the thousand: each is refused, and what is captured meanwhile is delivered meanwhile."""
    async with running(bench, fake.port) as (taking, _):
        await until(lambda: states(fake))
        fake.send(TOPICS.consent_state, centre.state(now_ms).payload)
        await until(lambda: taking.consents.complete)
        forged = centre.grant("r1", HANDLE, at_ms=now_ms).payload[:-8] + b"AAAAAAAA"
        topic = f"{TOPICS.consent_filter[:-1]}r1"

        async def flood() -> None:
            while True:
                for _ in range(200):
                    fake.send(topic, forged)
                    sent.append(None)
                await asyncio.sleep(0)
                await until(lambda: len(sent) - refused(bench, "consent:bad-signature") < INBOX, 30)

        sent: list[None] = []
        flooding = asyncio.ensure_future(flood())
        await until(lambda: len(sent) > INBOX)
        bench.capture.append(4)
        bench.forwarder.bell.set()
        await until(lambda: bench.recorded() == (4, 4), 30)
        assert not flooding.done()
        flooding.cancel()
        await until(lambda: refused(bench, "consent:bad-signature") == len(sent), 30)


def refused(bench: Bench, name: str) -> int:
    row = bench.database.execute("SELECT count FROM tally WHERE name = ?", (f"down:{name}",)).fetchone()
    return int(row[0]) if row else 0


async def test_events_wait_for_the_consent_set_but_not_for_ever(
    bench: Bench, fake: FakeBroker, centre: Centre, now_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First what the centre says of its customers; if it says nothing, what names nobody goes out all the same."""
    bench.capture.append(1)
    async with running(bench, fake.port) as (taking, _):
        await until(lambda: states(fake))
        with pytest.raises(TimeoutError):
            await until(lambda: sequences_of(fake), 0.2)
        fake.send(TOPICS.consent_state, centre.state(now_ms).payload)
        await until(lambda: sequences_of(fake) == [1])
        assert taking.consents.complete
    monkeypatch.setattr(connect, "CONSENT_SECONDS", 0.05)
    bench.database.execute("UPDATE consent_set SET confirmed = 0, count = 7")
    bench.capture.append(1)
    async with running(bench, fake.port) as (taking, _):
        await until(lambda: sequences_of(fake)[-1] == 2)
        assert not taking.consents.complete


def sequences_of(fake: FakeBroker) -> list[int]:
    """Return the sequences of the events that came."""
    events = [each for each in fake.published if each.topic == TOPICS.event]
    return sequences(FakeBroker(published=events))


async def test_consents_are_subscribed_to_first(bench: Bench, fake: FakeBroker) -> None:
    """And a broker that refuses a subscription is told in the log; the gateway goes on without."""
    fake.suback = 0x87
    async with running(bench, fake.port):
        await until(lambda: states(fake))
    assert fake.subscribed == [
        TOPICS.consent_filter, TOPICS.consent_state, TOPICS.command, TOPICS.cue_filter, TOPICS.registry_filter,
    ]  # fmt: skip
    assert fake.connections == 1


async def test_once_the_clock_is_synced_the_set_is_fetched_again(
    bench: Bench, fake: FakeBroker, centre: Centre, now_ms: int, hurried: None
) -> None:
    """What came before could not be judged; the connection stays."""
    del hurried
    bench.clock.lose_sync(ClockQuality.UNSYNCED)
    async with running(bench, fake.port) as (taking, _):
        await until(lambda: states(fake))
        fake.send(TOPICS.consent_state, centre.state(now_ms).payload)
        await until(lambda: taking.consents.fetch)
        bench.clock.lose_sync(ClockQuality.SYNCED)
        await until(lambda: fake.subscribed.count(TOPICS.consent_filter) == 2)
        fake.send(TOPICS.consent_state, centre.state(now_ms).payload)
        await until(lambda: taking.consents.complete)
    assert fake.connections == 1


async def test_report_and_restart_come_over_the_line(
    bench: Bench, fake: FakeBroker, centre: Centre, now_ms: int
) -> None:
    """A report is a state message; before a restart the gateway says that it is offline, and leaves properly."""
    async with running(bench, fake.port) as (_, work):
        await until(lambda: len(states(fake)) == 1)
        fake.send(TOPICS.command, centre.command("report", now_ms).payload)
        await until(lambda: len(states(fake)) == 2)
        fake.send(TOPICS.command, centre.command("restart", now_ms).payload)
        await until(work.done)
        with pytest.raises(RestartAskedError):
            work.result()
    await until(lambda: fake.disconnected)
    assert [state.online for state in states(fake)] == [True, True, False]
    assert states(fake)[1].counters == {}


async def test_in_a_flood_the_last_word_is_still_said(bench: Bench, fake: FakeBroker) -> None:
    """What waits to be heard does not keep the gateway from saying that it stops."""
    async with running(bench, fake.port):
        await until(lambda: states(fake))
        for _ in range(3 * INBOX):
            fake.send(TOPICS.command, b"x")
    await until(lambda: fake.disconnected)
    assert not states(fake)[-1].online


async def test_huge_messages_take_no_room(fake: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each no more is kept than it takes to refuse it, and few of them wait at a time."""
    monkeypatch.setattr(mqtt, "INBOX_OCTETS", 2 * LONGEST)
    async with connect_to(Broker("127.0.0.1", fake.port, "gw-1", keepalive=5), WILL) as connection:
        for _ in range(10):
            fake.send(TOPICS.command, b"a" * (4 * LONGEST))
        await until(lambda: connection._received.qsize() == 2)  # noqa: SLF001  # nothing else shows what waits
        received = [await connection.receive() for _ in range(10)]
    assert {len(message.payload) for message in received} == {LONGEST}


async def test_the_broker_is_told_what_is_too_large(mosquitto: Mosquitto) -> None:
    """A real broker keeps what is larger to itself; what comes after it arrives."""
    broker = Broker("127.0.0.1", mosquitto.port, "gw-1", keepalive=5)
    async with connect_to(broker, WILL) as connection:
        await connection.subscribe(TOPICS.command)
        small = Message(TOPICS.command, b"small")
        await asyncio.to_thread(say, mosquitto.port, Message(TOPICS.command, b"a" * (2 << 20)), small)
        assert await asyncio.wait_for(connection.receive(), 10) == small
