"""Sending what waits: the forwarder with its consent checks, beside a bare read -> publish -> trim of the same batches.

What is measured is a portion of a backlog of some size, so that a size can be measured several times; both take the
next portion of their own copy each time, and go on as long as it takes until the portion is acknowledged and trimmed.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from gateway.clock import Clock
from gateway.core.contract import Topics
from gateway.store.backlog import Backlog
from gateway.store.database import open_writer
from gateway.store.ledger import StoreLedger
from gateway.store.outbox import Outbox
from gateway.store.schema import CAPTURE, UPLINK
from gateway.store.writer import Writer
from gateway.uplink.forward import MANY, ONE, Forwarder
from gateway.uplink.mqtt import Broker, Message, connect
from tests.benchmarks.bare import BarePublisher, bare_publisher
from tests.benchmarks.broker import mosquitto
from tests.benchmarks.outbox import fill, open_outbox
from tests.benchmarks.row import Pairs, Row, Target, in_turn

BATCH, BATCH_BYTES = 500, 65_536
PATIENCE_SECONDS = 1.0
"""How long a trim waits for company, as in `gateway.capture`."""
TIMES = 5
SIZES = (10_000, 100_000, 1_000_000)
LARGE = 10_000_000
GROWTH = Target(1.3)
_NEXT = "SELECT sequence, event FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT ?"


@dataclass(frozen=True, slots=True)
class Portion:
    """How much is sent at a time."""

    events: int
    batch: int


@dataclass(frozen=True, slots=True)
class Backlogs:
    """Two copies of the same backlog, and the broker that both are sent to."""

    ours: Path
    bare: Path
    port: int


def rows(*, large: bool = False) -> Iterator[Row]:
    """Measure batches at each size, how the cost grows, and one event a message."""
    sizes = (*SIZES, LARGE) if large else SIZES
    batched = {size: _measure(size, Portion(10_000, BATCH)) for size in sizes}
    for size, pairs in batched.items():
        beside = "bare SQLite read, paho, trim; same batches"
        yield pairs.row(f"drain, batched, of {size:,}", beside, "events/s", Target(0.6, at_least=True))
    yield _growth(batched[sizes[0]], batched[sizes[-1]], sizes[-1])
    alone = _measure(SIZES[0], Portion(1_000, 1))
    yield alone.row("drain, one by one", "bare paho loop, same window", "events/s", Target(0.7, at_least=True))


def _growth(small: Pairs, big: Pairs, size: int) -> Row:
    cost, more = (1 / pairs.row("", "", "").ours for pairs in (small, big))
    return Row(f"cost of an event in a backlog of {size:,}", "in one of 10,000", "s", more, cost, more / cost, GROWTH)


def _measure(size: int, portion: Portion) -> Pairs:
    with ExitStack() as stack:
        here = Path(stack.enter_context(TemporaryDirectory()))
        broker = stack.enter_context(mosquitto(here))
        backlogs = prepare(here, size + (TIMES + 1) * (portion.events + 2 * portion.batch), broker.port)
        publisher = stack.enter_context(bare_publisher(broker.port))
        return in_turn(
            lambda: asyncio.run(ours_per_second(backlogs, portion)),
            lambda: bare_per_second(backlogs, portion, publisher),
            TIMES,
        )


def prepare(here: Path, number: int, port: int) -> Backlogs:
    """Write the backlog twice."""
    backlogs = Backlogs(here / "ours", here / "bare", port)
    backlogs.ours.mkdir()
    outbox = open_outbox(backlogs.ours)
    with closing(outbox.connection):
        fill(outbox, number)
    shutil.copytree(backlogs.ours, backlogs.bare)
    return backlogs


async def ours_per_second(backlogs: Backlogs, portion: Portion) -> float:
    """Send a portion with the forwarder, while a writer trims as capture does."""
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(Writer(lambda: open_outbox(backlogs.ours)))
        forwarder, rung = _forwarder(backlogs, portion, stack)
        will = Message("touchpoint/v1/acme/zrh-1/gw-1/state", b"{}", retain=True)
        connection = await stack.enter_async_context(connect(Broker("127.0.0.1", backlogs.port, "gw-1"), will))
        sending = asyncio.ensure_future(forwarder.run(connection))
        await asyncio.sleep(0)
        began, behind = perf_counter(), forwarder.progress.delivered
        await _until(forwarder, behind + portion.events, rung, writer)
        took = perf_counter() - began
        sent = forwarder.progress.delivered - behind
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return sent / took


def _forwarder(backlogs: Backlogs, portion: Portion, stack: AsyncExitStack) -> tuple[Forwarder, asyncio.Event]:
    rung = asyncio.Event()
    forwarder = Forwarder(
        stack.enter_context(closing(open_writer(backlogs.ours, UPLINK))),
        stack.enter_context(closing(Backlog(backlogs.ours))),
        stack.enter_context(closing(StoreLedger(backlogs.ours))),
        Topics("acme", "zrh-1", "gw-1").event,
        bell=asyncio.Event(),
        ring=rung.set,
        now=Clock("trusted").now,
        batch=portion.batch,
        batch_bytes=BATCH_BYTES,
    )
    return forwarder, rung


async def _until(forwarder: Forwarder, through: int, rung: asyncio.Event, writer: Writer) -> None:
    """Trim patiently whenever the forwarder rings, and at once what is left when it has come so far."""
    trimming = asyncio.ensure_future(_trim(forwarder, rung, writer))
    while forwarder.progress.delivered < through:  # noqa: ASYNC110  # it rings later, with the next publish
        await asyncio.sleep(0.002)
    trimming.cancel()
    await writer.commit(lambda outbox: outbox.trim(forwarder.progress.delivered))


async def _trim(forwarder: Forwarder, rung: asyncio.Event, writer: Writer) -> None:
    while True:
        await rung.wait()
        rung.clear()
        delivered = forwarder.progress.delivered
        await writer.commit(partial(Outbox.trim, through=delivered), patience=PATIENCE_SECONDS)


def bare_per_second(backlogs: Backlogs, portion: Portion, publisher: BarePublisher) -> float:
    """Send a portion: read, publish, wait for the PUBACK, trim. One by one: only publish and wait."""
    with closing(open_writer(backlogs.bare, CAPTURE)) as connection:
        if portion.batch == 1:
            return _publish_each(connection, portion.events, publisher)
        (first,) = connection.execute("SELECT sequence, event FROM outbox ORDER BY sequence LIMIT 1")
        together = min(portion.batch, BATCH_BYTES // (len(first[1]) + 2))
        began, after = perf_counter(), first[0] - 1
        while after < first[0] + portion.events:
            after = _publish_next(connection, after, together, publisher)
        return float(after - first[0]) / (perf_counter() - began)


def _publish_next(connection: sqlite3.Connection, after: int, together: int, publisher: BarePublisher) -> int:
    batch = connection.execute(_NEXT, (after, together)).fetchall()
    publisher.publish(f"[{','.join(event for _, event in batch)}]".encode(), MANY)
    through = int(batch[-1][0])
    connection.execute("DELETE FROM outbox WHERE sequence <= ?", (through,))
    return through


def _publish_each(connection: sqlite3.Connection, number: int, publisher: BarePublisher) -> float:
    events = connection.execute("SELECT event FROM outbox ORDER BY sequence LIMIT ?", (number,)).fetchall()
    began = perf_counter()
    for (event,) in events:
        publisher.publish(event.encode(), ONE)
    return number / (perf_counter() - began)
