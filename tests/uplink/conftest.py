"""What the uplink works on: an outbox that a capture half in miniature fills, and a broker that does as it is told."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from gateway.core.consent import Consent, ConsentState
from gateway.core.contract import Topics
from gateway.core.event import Draft, EventType, GapReason, gap
from gateway.core.jws import Issuers, Use
from gateway.core.sighting import ClockQuality, Moment
from gateway.store.backlog import Backlog
from gateway.store.database import open_writer
from gateway.store.outbox import Outbox
from gateway.store.schema import CAPTURE, UPLINK
from gateway.uplink.downlink import Downlink
from gateway.uplink.forward import Forwarder
from gateway.uplink.mqtt import Broker, Connection, Message, connect
from tests.simulators.broker import FakeBroker, Published
from tests.simulators.centre_keys import CENTRE

TOPICS = Topics("acme", "zrh-1", "gw-1")
PURPOSE = "personalisation"
DEADLINE = 30.0
"""Seconds; a machine that others keep busy needs some of them."""


async def until(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Wait until something holds, or fail."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what paho's thread and a broker do sets no event of ours
            await asyncio.sleep(0.005)


@dataclass
class Clock:
    """A clock that stands still until it is told otherwise."""

    moment: Moment = field(default_factory=lambda: Moment(10**12, 1_795_000_000_000))

    def now(self) -> Moment:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment = Moment(
            self.moment.boot_ns + int(seconds * 1e9), self.moment.wall_ms + int(seconds * 1000), self.moment.quality
        )

    def lose_sync(self, quality: ClockQuality) -> None:
        self.moment = Moment(self.moment.boot_ns, self.moment.wall_ms, quality)


@dataclass
class Consents:
    """A ledger to write in."""

    given: dict[str, Consent] = field(default_factory=dict)
    stale_from_ms: int | None = None

    def records(self, handle: str) -> list[Consent]:
        return [self.given[handle]] if handle in self.given else []

    def grant(self, handle: str) -> None:
        self.given[handle] = Consent(f"of {handle}", 1, ConsentState.GIVEN, frozenset({PURPOSE}), "1", 0, None)

    def withdraw(self, handle: str) -> None:
        self.given[handle] = Consent(f"of {handle}", 2, ConsentState.WITHDRAWN, frozenset({PURPOSE}), "1", 1, None)


class CaptureHalf:
    """The writer of `capture.db`, in the hands of the test."""

    def __init__(self, directory: Path, session: str, clock: Clock) -> None:
        self._clock = clock
        self._outbox = Outbox(open_writer(directory, CAPTURE), TOPICS.source, "boot")
        with self._outbox.transaction():
            self._outbox.open(session, 0)

    def append(self, count: int = 1, *, handle: str | None = None, octets: int = 0) -> list[int]:
        """Append events; a gap is the shortest there is, so that is what they are. Returns their sequences."""
        data = gap("trimmed")[:-1] + "," + '"filling":"' + "x" * octets + '"}' if octets else gap("trimmed")
        draft = Draft(EventType.GAP, self._clock.now(), data, handle, PURPOSE if handle else None)
        with self._outbox.transaction():
            last = self._outbox.append([draft] * count)
        return list(range(last - count + 1, last + 1))

    def set_aside(self, refused: dict[int, GapReason]) -> None:
        """Turn rows into gaps, as the uplink asked."""
        with self._outbox.transaction():
            self._outbox.set_aside(refused)

    def trim(self, through: int) -> None:
        """Delete what is delivered."""
        with self._outbox.transaction():
            self._outbox.trim(through)

    def fold(self, first: int, through: int) -> None:
        """Fold neighbours into one gap, as eviction does."""
        with self._outbox.transaction():
            connection = self._outbox.connection
            connection.execute("DELETE FROM outbox WHERE sequence > ? AND sequence <= ?", (first, through))
            connection.execute("UPDATE outbox SET fate = 2, through = ? WHERE sequence = ?", (through, first))

    def texts(self) -> list[str]:
        """The events that wait, byte for byte."""
        return [row for (row,) in self._outbox.connection.execute("SELECT event FROM outbox ORDER BY sequence")]

    def close(self) -> None:
        self._outbox.connection.close()


@dataclass
class Bench:
    """A forwarder with everything around it."""

    directory: Path
    clock: Clock
    capture: CaptureHalf
    consents: Consents
    database: sqlite3.Connection
    forwarder: Forwarder
    rings: list[int] = field(default_factory=list)
    """How far the capture half was told to look each time it was rung for."""

    def refused(self) -> dict[int, str]:
        """What the uplink asks to have set aside."""
        return dict(self.database.execute("SELECT sequence, reason FROM refused"))

    def recorded(self) -> tuple[int, int]:
        """What `uplink.db` says: published, delivered."""
        row = self.database.execute("SELECT published, delivered FROM progress").fetchone()
        return row or (0, 0)


WILL = Message(TOPICS.state, b"gone", retain=True)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    async with connect(Broker("127.0.0.1", port, "gw-1"), WILL) as connection:
        yield connection


@asynccontextmanager
async def forwarding(bench: Bench, fake: FakeBroker) -> AsyncIterator[None]:
    """Forward until the block ends."""
    async with connected(fake.port) as connection, asyncio.TaskGroup() as tasks:
        work = tasks.create_task(bench.forwarder.run(connection))
        yield
        work.cancel()


def texts(published: Iterable[Published]) -> list[str]:
    """Return the events of messages, taken apart as the wire has them."""
    found = []
    for message in published:
        text = message.payload.decode()
        read = json.loads(text)
        found += [text] if isinstance(read, dict) else [json.dumps(event, separators=(",", ":")) for event in read]
    return found


def sequences(fake: FakeBroker) -> list[int]:
    """Return the sequences in the order in which they came, copies included."""
    return [int(json.loads(text)["sequence"]) for text in texts(fake.published)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def capture(tmp_path: Path, clock: Clock) -> Iterator[CaptureHalf]:
    with closing(CaptureHalf(tmp_path, "s1", clock)) as half:
        yield half


@pytest.fixture
async def bench(tmp_path: Path, clock: Clock, capture: CaptureHalf) -> AsyncIterator[Bench]:
    with closing(open_writer(tmp_path, UPLINK)) as database, closing(Backlog(tmp_path)) as backlog:
        consents = Consents()
        forwarder = Forwarder(
            database, backlog, consents, TOPICS.event, asyncio.Event(), lambda: None, clock.now, batch=1
        )
        made = Bench(tmp_path, clock, capture, consents, database, forwarder)
        forwarder.ring = lambda: made.rings.append(made.recorded()[1])
        yield made


@pytest.fixture
def downlink(bench: Bench) -> Downlink:
    """What takes the centre's word, where a centre has a say in everything."""
    return made_downlink(bench, CENTRE.believed(*Use))


def made_downlink(bench: Bench, issuers: Issuers) -> Downlink:
    """Take the word of these issuers."""
    ring = partial(bench.rings.append, -1)
    return Downlink(bench.database, TOPICS, issuers, bench.forwarder, bench.clock.now, ring)


@pytest.fixture
async def fake() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as broker:
        yield broker
