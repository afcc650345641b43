"""Staying connected: birth and death that anyone can see, and a return that is neither hasty nor silent."""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from gateway.core.event import State
from gateway.core.jws import Issuers
from gateway.core.sighting import ClockQuality
from gateway.store import condition
from gateway.store.database import forget_deleted, open_writer
from gateway.store.progress import Component, components
from gateway.store.recovery import suspect
from gateway.store.schema import CAPTURE
from gateway.uplink import connect, forward
from gateway.uplink.connect import STABLE_SECONDS, Uplink
from gateway.uplink.mqtt import Broker
from tests.simulators.broker import FakeBroker, Mosquitto, free_port
from tests.simulators.consumer import Consumer
from tests.uplink.conftest import TOPICS, Bench, CaptureHalf, made_downlink, until


@dataclass
class Dice(random.Random):
    """Notes between what it was to choose, and chooses to wait a moment."""

    asked: list[tuple[float, float]] = field(default_factory=list)

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return 0.001


@pytest.fixture
def dice() -> Dice:
    return Dice()


def uplink(bench: Bench, port: int, dice: Dice) -> Uplink:
    broker, downlink = Broker("127.0.0.1", port, "gw-1", keepalive=5), made_downlink(bench, Issuers())
    return Uplink(broker, TOPICS, bench.forwarder, downlink, bench.clock.now, "1.2.3", dice)


@asynccontextmanager
async def running(bench: Bench, port: int, dice: Dice) -> AsyncIterator["asyncio.Task[None]"]:
    """Run the uplink half until the block ends, then stop it as a signal does."""
    work = asyncio.ensure_future(uplink(bench, port, dice).run())
    try:
        yield work
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


def states(fake: FakeBroker) -> list[State]:
    """Return the state messages that came, each checked against the contract."""
    return [State.model_validate_json(payload) for payload in fake.on(TOPICS.state)]


async def test_birth_says_what_is_known(bench: Bench, fake: FakeBroker, dice: Dice) -> None:
    """It is retained, comes before any event, and names version, session, last sequence and counters."""
    bench.capture.append(2)
    async with running(bench, fake.port, dice):
        await until(lambda: bench.recorded() == (2, 2))
    birth = states(fake)[0]
    assert fake.published[0].topic == TOPICS.state
    assert fake.published[0].retain
    assert (birth.online, birth.version, birth.session, birth.sequence) == (True, "1.2.3", "s1", 2)
    assert birth.counters == {"appended": 2}
    assert birth.health["broker"].ok


async def test_birth_after_trouble_does_not_speak_of_it(bench: Bench, fake: FakeBroker, dice: Dice) -> None:
    """Whoever reads it has it from the broker: the last failure to reach that one is over."""
    fake.connack = 0x88
    async with running(bench, fake.port, dice):
        await until(lambda: fake.connections >= 2)
        fake.connack = 0
        await until(lambda: states(fake))
    assert states(fake)[0].health["broker"].reason is None


async def test_health_of_every_part(bench: Bench, fake: FakeBroker, dice: Dice) -> None:
    """The centre sees what capture told of itself, its readers among it, whether it runs, and the clock."""
    connection = open_writer(bench.directory, CAPTURE)
    condition.tell(connection, {"keys": None, "reader:salon": "unplugged"})
    connection.close()
    bench.clock.lose_sync(ClockQuality.UNSYNCED)
    half = uplink(bench, fake.port, dice)
    half.capture_runs = lambda: False
    work = asyncio.ensure_future(half.run())
    await until(lambda: half.connected)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    health = states(fake)[0].health
    assert {name for name, fares in health.items() if fares.ok} == {"broker", "keys"}
    assert health["reader:salon"].reason == "unplugged"
    assert health["capture"].reason == "the capture half is not running: nothing is read"
    assert health["clock"].reason == "it is not synced: no subject is named"
    assert not half.connected


async def test_birth_before_there_is_an_outbox(bench: Bench, fake: FakeBroker, dice: Dice) -> None:
    """The uplink alone is online as well, without a session."""
    bench.capture.close()
    for path in bench.directory.glob("capture.db*"):
        path.unlink()
    async with running(bench, fake.port, dice):
        await until(lambda: states(fake))
    assert (states(fake)[0].online, states(fake)[0].session, states(fake)[0].sequence) == (True, None, None)


async def test_a_clean_stop_says_offline_itself(bench: Bench, fake: FakeBroker, dice: Dice) -> None:
    """The last state is offline and retained, and then comes DISCONNECT, so that the Will stays silent."""
    async with running(bench, fake.port, dice):
        await until(lambda: states(fake))
    await until(lambda: fake.disconnected)
    assert [state.online for state in states(fake)] == [True, False]
    assert all(published.retain for published in fake.published)


async def test_anyone_can_see_whether_the_gateway_lives(bench: Bench, dice: Dice) -> None:
    """At a real broker: online, offline after a clean stop, and offline by the Will when the broker went down first."""
    with Mosquitto(bench.directory) as broker, Consumer(broker.port) as consumer:
        async with running(bench, broker.port, dice):
            await until(lambda: consumer.state.get("online") is True)
        await until(lambda: consumer.state.get("online") is False)
        async with running(bench, broker.port, dice):
            await until(lambda: consumer.state.get("online") is True)
            broker.stop()
        broker.start()
        await until(lambda: consumer.state.get("online") is False)
    for state in consumer.states:
        State.model_validate_json(json.dumps(state))


async def test_stopping_does_not_wait_for_a_broker_that_went_silent(bench: Bench, fake: FakeBroker, dice: Dice) -> None:
    """The goodbye gets half a second, no more, and nothing accepted is forgotten by it."""
    bench.capture.append(1)
    fake.puback = lambda published: 0 if published.topic == TOPICS.state and len(fake.published) == 1 else None
    async with running(bench, fake.port, dice) as work:
        await until(lambda: fake.on(TOPICS.event))
        begun = time.monotonic()
        work.cancel()
        await asyncio.wait({work})
        assert time.monotonic() - begun < 1.4
    assert bench.recorded() == (1, 0)


async def test_the_back_off_grows_and_is_never_more_than_a_minute(bench: Bench, dice: Dice) -> None:
    """Anything from nothing (full jitter) to a limit that doubles with each failure in a row."""
    async with running(bench, free_port(), dice):
        await until(lambda: len(dice.asked) >= 8)
    assert dice.asked[:8] == [(0, limit) for limit in (2, 4, 8, 16, 32, 60, 60, 60)]


async def test_a_connection_that_lasted_makes_the_next_back_off_small(
    bench: Bench, fake: FakeBroker, dice: Dice
) -> None:
    """One that breaks at once does not: a broker that accepts and drops is not hammered."""
    async with running(bench, fake.port, dice):
        for lasting in (0, 0, 0, STABLE_SECONDS):
            before = len(dice.asked)
            await until(lambda: len(states(fake)) > before)  # noqa: B023  # awaited within the same turn
            bench.clock.advance(lasting)
            fake.drop()
            await until(lambda: len(dice.asked) > before)  # noqa: B023  # the same
    assert dice.asked == [(0, 2), (0, 4), (0, 8), (0, 1)]


@pytest.mark.parametrize("code", [0x85, 0x86, 0x87, 0x8A])
async def test_what_only_a_person_can_change_is_not_hurried(
    bench: Bench, fake: FakeBroker, dice: Dice, code: int
) -> None:
    """A wrong password is tried again within a minute, not within a second."""
    fake.connack = code
    async with running(bench, fake.port, dice):
        await until(lambda: dice.asked)
    assert dice.asked[0] == (30, 60)


async def test_a_reason_is_logged_once(
    bench: Bench, fake: FakeBroker, dice: Dice, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that is down for a day does not fill the log; its return is one line too."""
    caplog.set_level(logging.INFO, "touchpoint")
    fake.connack = 0x88
    async with running(bench, fake.port, dice):
        await until(lambda: len(dice.asked) >= 5)
        assert components(bench.database)["broker"] == Component(
            ok=False,
            reason="the broker refused the connection: Server unavailable (0x88)",
            since_ms=bench.clock.now().wall_ms,
        )
        fake.connack = 0
        await until(lambda: components(bench.database)["broker"].ok)
    assert caplog.messages == [
        "broker: the broker refused the connection: Server unavailable (0x88)",
        "broker: connected",
    ]


async def test_another_session_is_another_state(
    bench: Bench, fake: FakeBroker, dice: Dice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new outbox is announced while the connection lasts."""
    monkeypatch.setattr(forward, "POLL_SECONDS", 0.02)
    async with running(bench, fake.port, dice):
        await until(lambda: bench.forwarder.session == "s1")
        bench.capture.close()
        for path in bench.directory.glob("capture.db*"):
            path.unlink()
        CaptureHalf(bench.directory, "s2", bench.clock).close()
        await until(lambda: states(fake)[-1].session == "s2")
    assert fake.connections == 1


async def test_the_state_is_repeated_now_and_then(
    bench: Bench, fake: FakeBroker, dice: Dice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counters and sequence stay fresh without a change of session."""
    monkeypatch.setattr(connect, "REPORT_SECONDS", 0.05)
    async with running(bench, fake.port, dice):
        await until(lambda: states(fake))
        bench.capture.append(3)
        await until(lambda: states(fake)[-1].sequence == 3)
    assert states(fake)[0].sequence == 0


async def test_receipts_come_over_the_wire(bench: Bench, fake: FakeBroker, dice: Dice) -> None:
    """Subscribed on the gateway's own topic; one that was retained is old news and ignored."""
    bench.forwarder.delivery = "receipt"
    bench.capture.append(2)
    through_2 = b'{"session":"s1","through":2}'
    async with running(bench, fake.port, dice):
        await until(lambda: len(fake.on(TOPICS.event)) == 2)
        assert fake.subscribed == [TOPICS.registry_filter, TOPICS.receipt]
        fake.send(TOPICS.receipt, through_2, retain=True)
        fake.send(TOPICS.event, through_2)
        fake.send(TOPICS.receipt, b"not a receipt")
        await until(lambda: bench.forwarder.receipts_refused == 1)
        assert bench.recorded() == (2, 0)
        fake.send(TOPICS.receipt, through_2)
        await until(lambda: bench.recorded() == (2, 2))


async def test_without_receipts_and_issuers_only_the_registry_is_subscribed(
    bench: Bench, fake: FakeBroker, dice: Dice
) -> None:
    """With delivery `puback` and nobody who signs anything, touchpoints are all that may come."""
    async with running(bench, fake.port, dice):
        await until(lambda: states(fake))
    assert fake.subscribed == [TOPICS.registry_filter]


async def test_a_damaged_outbox_is_marked_and_the_uplink_goes_on(bench: Bench, fake: FakeBroker, dice: Dice) -> None:
    """It cannot mend the file, which is capture's; it says so, and tries again like after any other trouble."""
    bench.capture.append(50)
    bench.capture.close()
    forgetting = open_writer(bench.directory, CAPTURE)
    forget_deleted(forgetting)
    forgetting.close()
    file = bench.directory / CAPTURE.file
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    async with running(bench, fake.port, dice) as work:
        await until(lambda: suspect(bench.directory, CAPTURE.file).exists())
        await until(lambda: len(dice.asked) >= 2)
        assert not work.done()
    assert "malformed" in (components(bench.database)["broker"].reason or "")
