"""What it costs to count the use of touchpoints: taps that are appended with their numbers, beside the same without."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from zoneinfo import ZoneInfo

from gateway.core.event import Draft
from gateway.store import usage
from gateway.store.outbox import Outbox
from gateway.store.writer import Writer
from tests.benchmarks.outbox import drafts, open_outbox
from tests.benchmarks.row import Row, Target, in_turn

TOGETHER = {1: 600, 100: 10_000}
"""How many events share a commit, and how many are measured."""
TOUCHPOINTS = 40
TIMES = 7
Appending = Callable[[Outbox, list[Draft]], object]
ZONE = ZoneInfo("Europe/Zurich")


def rows() -> Iterator[Row]:
    """Measure a lone tap, whose commit is a sync, and a burst."""
    for together, number in TOGETHER.items():
        counted, alone = (partial(_seconds, together, number, counting) for counting in (_with_numbers, Outbox.append))
        pairs = in_turn(counted, alone, TIMES)
        yield pairs.row(f"a tap and its number, {together} a commit", "the tap alone", "s", Target(1.25))


def _with_numbers(outbox: Outbox, group: list[Draft]) -> None:
    """Append as capture does."""
    outbox.append(group)
    usage.count(outbox.connection, usage.touches(group, ZONE))


def _seconds(together: int, number: int, append: Appending) -> float:
    """Return what an event takes, durable before the next."""
    with TemporaryDirectory() as directory:
        return asyncio.run(_append(Path(directory), together, number, append)) / number


async def _append(directory: Path, together: int, number: int, append: Appending) -> float:
    taps = [replace(each, touched=f"case-{at % TOUCHPOINTS}") for at, each in enumerate(drafts(together))]
    async with Writer(lambda: open_outbox(directory)) as writer:
        began = perf_counter()
        for _ in range(0, number, together):
            await writer.commit(lambda outbox: append(outbox, taps))
        return perf_counter() - began
