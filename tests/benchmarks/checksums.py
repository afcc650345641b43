"""What the CRC-32 of every row costs, as a share of storing the event and of sending it."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.store.checksum import checksum, whole
from tests.benchmarks import ingest
from tests.benchmarks.broker import mosquitto
from tests.benchmarks.drain import BATCHED, ours_per_second, prepare
from tests.benchmarks.outbox import draft
from tests.benchmarks.row import Row, in_turn
from tests.benchmarks.sightings import written
from tests.benchmarks.stopwatch import seconds_each

TIMES = 7
TOGETHER, APPENDED, WAITING = 100, 10_000, 20_000


def rows() -> Iterator[Row]:
    """Measure both shares."""
    event = written(draft())
    making = partial(seconds_each, partial(checksum, event, 1))
    yield in_turn(making, _append, TIMES).row("CRC-32 of an event", f"its whole append, {TOGETHER} a commit", "s")
    with TemporaryDirectory() as directory, mosquitto(Path(directory)) as broker:
        backlogs = prepare(Path(directory) / "backlog", WAITING, broker.port)
        checking = partial(_checking, event.encode(), checksum(event, 1))
        pairs = in_turn(checking, lambda: 1 / asyncio.run(ours_per_second(backlogs, BATCHED)), TIMES)
        yield pairs.row("checking the CRC-32 of an event", "its whole drain, batched", "s")


def _append() -> float:
    return 1 / ingest.ours_per_second(TOGETHER, APPENDED)


def _checking(event: bytes, crc: int) -> float:
    """Return what is on top of decoding the text, which is needed anyway."""
    return seconds_each(partial(whole, event, crc, 1)) - seconds_each(event.decode)
