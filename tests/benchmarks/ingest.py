"""Taking events in: through the writer's thread, beside a bare `executemany` of the same rows into the same tables."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from gateway.core.event import Draft
from gateway.store.database import open_writer
from gateway.store.outbox import Outbox
from gateway.store.schema import CAPTURE
from gateway.store.writer import Writer
from tests.benchmarks.outbox import INSERT, Columns, drafts, encoded, open_outbox
from tests.benchmarks.row import Row, Target, in_turn

TOGETHER = {1: 600, 10: 3_000, 100: 10_000, 1_000: 20_000}
"""How many events share a commit, and how many are measured."""
TIMES = 7


def rows() -> Iterator[Row]:
    """Measure each size of group."""
    for together, number in TOGETHER.items():
        ours, bare = partial(ours_per_second, together, number), partial(bare_per_second, together, number)
        target = Target(0.6, at_least=True) if together == 100 else None
        yield in_turn(ours, bare, TIMES).row(f"ingest, {together} a commit", "bare executemany", "events/s", target)


def ours_per_second(together: int, number: int) -> float:
    """Append drafts as capture does, group after group, each durable before the next."""
    with TemporaryDirectory() as directory:
        return asyncio.run(_append(Path(directory), drafts(together), number))


async def _append(directory: Path, group: list[Draft], number: int) -> float:
    async with Writer(lambda: open_outbox(directory)) as writer:
        began = perf_counter()
        for _ in range(0, number, len(group)):
            await writer.commit(partial(Outbox.append, drafts=group))
        return number / (perf_counter() - began)


def bare_per_second(together: int, number: int) -> float:
    """Insert rows that are encoded already, with the same pragmas and indexes."""
    with TemporaryDirectory() as directory:
        outbox = open_outbox(Path(directory))
        groups = _grouped(encoded(outbox, number), together)
        outbox.connection.close()
        return number / _insert(Path(directory), groups)


def _grouped(rows: list[Columns], together: int) -> list[list[Columns]]:
    return [rows[at : at + together] for at in range(0, len(rows), together)]


def _insert(directory: Path, groups: list[list[Columns]]) -> float:
    with closing(open_writer(directory, CAPTURE)) as connection:
        began = perf_counter()
        for group in groups:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT, group)
            connection.execute("COMMIT")
        return perf_counter() - began
