"""How many octets are written to storage for an event, at the paces of a boutique: what an SD card wears out by."""

from collections.abc import Iterator
from contextlib import closing
from os import getpid
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.store.database import open_writer
from gateway.store.schema import CAPTURE
from tests.benchmarks.latency import feed, gateway
from tests.benchmarks.outbox import INSERT, encoded, open_outbox
from tests.benchmarks.process import children, written
from tests.benchmarks.row import Row

PACES = {0.1: 3, 1: 15, 50: 300}
"""Events a second, and how many."""


def rows() -> Iterator[Row]:
    """Measure each pace. Bare inserts of one row are the same at any."""
    bare = _bare(500)
    for rate, number in PACES.items():
        ours = _ours(rate, number)
        yield Row(f"written for an event, {rate:g}/s", "bare insert, a commit each", "B", ours, bare, ours / bare)


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
