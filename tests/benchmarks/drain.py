"""Sending what waits: the forwarder with its consent checks, beside a bare read -> publish -> trim of the same batches.

What is measured is the first portion of a backlog of some size, until it is acknowledged and trimmed. Both have a copy
of the backlog, which is filled up again before each measurement, and those take turns.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
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
from gateway.store.device import Device
from gateway.store.ledger import open_ledger
from gateway.store.outbox import Outbox
from gateway.store.schema import CAPTURE, UPLINK
from gateway.store.writer import Writer
from gateway.uplink.forward import MANY, ONE, Forwarder
from gateway.uplink.mqtt import Broker, Message, connect
from tests.benchmarks.bare import BarePublisher, bare_publisher
from tests.benchmarks.broker import mosquitto
from tests.benchmarks.outbox import fill, open_outbox
from tests.benchmarks.row import Pairs, Row, Target, in_turn, rotated
from tests.simulators.centre_keys import GATEWAY

BATCH, BATCH_BYTES = 500, 65_536
PATIENCE_SECONDS = 1.0
"""How long a trim waits for company, as in `gateway.capture`."""
TIMES = 7
SIZES = (10_000, 100_000, 1_000_000)
LARGE = 10_000_000
"""How many events wait on request: years of a boutique."""
_NEXT = "SELECT sequence, event FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT ?"


@dataclass(frozen=True, slots=True)
class Portion:
    """How much is sent at a time."""

    events: int
    batch: int


BATCHED, HALF, ALONE = Portion(10_000, BATCH), Portion(5_000, BATCH), Portion(1_000, 1)
"""`HALF` of the smallest backlog: so each of them goes on while the last of a portion is trimmed."""


@dataclass(frozen=True, slots=True)
class Backlogs:
    """Two copies of the same backlog, the broker that both are sent to, and how many events wait at the start."""

    ours: Path
    bare: Path | None
    """None where only ours is measured."""
    port: int
    size: int


def rows(directory: Path | None = None, *, large: bool = False) -> Iterator[Row]:
    """Measure batches at each size, one event a message, and how the cost grows with the size."""
    with ExitStack() as stack:
        here = Path(stack.enter_context(TemporaryDirectory(dir=directory)))
        broker = stack.enter_context(mosquitto(here))
        publisher = stack.enter_context(bare_publisher(broker.port))
        sizes = [prepare(here / f"{size}", size, broker.port) for size in SIZES]
        for backlogs in sizes:
            pairs = _measured(backlogs, BATCHED, publisher)
            what, beside = f"drain, batched, of {backlogs.size:,}", "bare SQLite read, paho, trim; same batches"
            yield pairs.row(what, beside, "events/s", Target(0.6, at_least=True))
        pairs = _measured(sizes[0], ALONE, publisher)
        yield pairs.row("drain, one by one", "bare paho loop, same window", "events/s", Target(0.7, at_least=True))
        if large:
            sizes.append(Backlogs(here / f"{LARGE}", None, broker.port, LARGE))
        yield from _growth(sizes)


def room_for_large() -> int:
    """Return how many octets a large backlog takes, by those of a small one, and a tenth more."""
    number = SIZES[0]
    with TemporaryDirectory() as directory:
        fill_up(Path(directory), number)
        octets = sum(file.stat().st_size for file in Path(directory).iterdir())
    others = 2 * sum(SIZES)
    return (LARGE + others) * octets * 11 // (number * 10)


def _measured(backlogs: Backlogs, portion: Portion, publisher: BarePublisher) -> Pairs:
    return in_turn(
        lambda: asyncio.run(ours_per_second(backlogs, portion)),
        lambda: bare_per_second(backlogs, portion, publisher),
        TIMES,
    )


def _growth(sizes: Sequence[Backlogs]) -> Iterator[Row]:
    """Hold what an event costs in each bigger backlog against what it costs in the smallest, in turn."""
    costs = [partial(_cost, backlogs) for backlogs in sizes]
    for cost in costs:
        cost()
    small, *bigger = zip(*rotated(costs, TIMES), strict=True)
    for backlogs, measured in zip(sizes[1:], bigger, strict=True):
        what, beside = f"an event in a backlog of {backlogs.size:,}", f"in one of {sizes[0].size:,}"
        yield Pairs(measured, small).row(what, beside, "s", Target(1.3))


def _cost(backlogs: Backlogs) -> float:
    return 1 / asyncio.run(ours_per_second(backlogs, HALF))


def prepare(here: Path, size: int, port: int) -> Backlogs:
    """Write the backlog twice."""
    ours, bare = here / "ours", here / "bare"
    fill_up(ours, size)
    shutil.copytree(ours, bare)
    return Backlogs(ours, bare, port, size)


def fill_up(directory: Path, size: int) -> int:
    """Append until so many events wait, and return the sequence before the first of them."""
    directory.mkdir(parents=True, exist_ok=True)
    outbox = open_outbox(directory)
    with closing(outbox.connection):
        (first,) = outbox.connection.execute("SELECT min(sequence) FROM outbox").fetchone()
        sent = outbox.last if first is None else int(first) - 1
        fill(outbox, size - (outbox.last - sent))
        return sent


async def ours_per_second(backlogs: Backlogs, portion: Portion) -> float:
    """Send a portion with the forwarder, while a writer trims as capture does."""
    before = fill_up(backlogs.ours, backlogs.size)
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(Writer(lambda: open_outbox(backlogs.ours)))
        forwarder, rung = _forwarder(backlogs, portion, stack)
        will = Message("touchpoint/v1/acme/zrh-1/gw-1/state", b"{}", retain=True)
        connection = await stack.enter_async_context(connect(Broker("127.0.0.1", backlogs.port, "gw-1"), will))
        began = perf_counter()
        sending = asyncio.ensure_future(forwarder.run(connection))
        await _until(forwarder, before + portion.events, rung, writer)
        took = perf_counter() - began
        sent = forwarder.progress.delivered - before
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return sent / took


def _forwarder(backlogs: Backlogs, portion: Portion, stack: AsyncExitStack) -> tuple[Forwarder, asyncio.Event]:
    rung = asyncio.Event()
    forwarder = Forwarder(
        stack.enter_context(closing(open_writer(backlogs.ours, UPLINK))),
        stack.enter_context(closing(Backlog(backlogs.ours))),
        stack.enter_context(closing(open_ledger(backlogs.ours, Device(backlogs.ours, GATEWAY.kid), None, 0))),
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
    assert backlogs.bare is not None, "there is no copy for the bare loop"
    before = fill_up(backlogs.bare, backlogs.size)
    with closing(open_writer(backlogs.bare, CAPTURE)) as connection:
        if portion.batch == 1:
            return _publish_each(connection, portion.events, publisher)
        (event,) = connection.execute("SELECT event FROM outbox ORDER BY sequence LIMIT 1").fetchone()
        together = min(portion.batch, BATCH_BYTES // (len(event) + 2))
        began, after = perf_counter(), before
        while after < before + portion.events:
            after = _publish_next(connection, after, together, publisher)
        return (after - before) / (perf_counter() - began)


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
