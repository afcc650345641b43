"""How many octets are written to storage for an event, at the paces of a boutique: what an SD card wears out by."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from os import getpid
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.store.database import open_writer
from gateway.store.schema import CAPTURE
from tests.benchmarks.latency import feed, gateway
from tests.benchmarks.outbox import INSERT, encoded, open_outbox
from tests.benchmarks.process import children, written
from tests.benchmarks.row import Pairs, Row, rotated

PACES = {0.1: (3, 1), 1: (15, 3), 50: (300, 3)}
"""Events a second, how many, and how many times."""


def rows() -> Iterator[Row]:
    """Measure each pace. Bare inserts of one row are the same at any."""
    for rate, (number, times) in PACES.items():
        ours, bare = zip(*rotated((partial(_ours, rate, number), partial(_bare, 500)), times), strict=True)
        yield Pairs(ours, bare).row(f"written for an event, {rate:g}/s", "bare insert, a commit each", "B")


def _ours(rate: float, number: int) -> float:
    with gateway() as pipeline:
        feed(pipeline, 50, 20)
        halves = children(pipeline.pid)
        before = sum(map(written, halves))
        feed(pipeline, rate, number)
        return (sum(map(written, halves)) - before) / number


def _bare(number: int) -> float:
    with TemporaryDirectory() as directory:
        outbox = open_outbox(Path(directory))
        rows = encoded(outbox, number)
        outbox.connection.close()
        with closing(open_writer(Path(directory), CAPTURE)) as connection:
            before = written(getpid())
            for row in rows:
                connection.execute(INSERT, row)
            return (written(getpid()) - before) / number
