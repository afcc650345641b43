"""From the moment a line is written into a reader's pipe to its event at a subscriber, committed on the way.

The gateway runs as it is installed, both halves; the bare pipeline (`pipeline`) is fed with the same lines at the same
times. Scans come at random (a Poisson process with a fixed seed) from twenty readers.
"""

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import monotonic, monotonic_ns, sleep

from tests.benchmarks.broker import mosquitto
from tests.benchmarks.installation import CARDS, install, running, wait_for
from tests.benchmarks.row import Pairs, Row, Target, rotated
from tests.benchmarks.wire import Arrivals, arrivals

READERS = 20
SECONDS = {1: 20, 50: 8, 500: 6, 2_000: 6}
"""How long to feed, by events a second."""
ROUNDS = 5
WARM_UP = 40
ARRIVE_SECONDS = 60
TARGET = Target(2)

Latencies = list[float]
Starting = Callable[[], AbstractContextManager["Pipeline"]]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Something that is fed through pipes, its first process, and what arrives of it."""

    pid: int
    pipes: tuple[Path, ...]
    arrived: Arrivals


def rows() -> Iterator[Row]:
    """Measure every rate, ours and bare in turn."""
    for rate, seconds in SECONDS.items():
        measures = [partial(_measured, start, rate, seconds) for start in (gateway, bare)]
        rounds = rotated(measures, 1 if rate == 1 else ROUNDS)
        for name, of in QUANTILES.items():
            pairs = Pairs(tuple(of(ours) for ours, _ in rounds), tuple(of(bare) for _, bare in rounds))
            yield pairs.row(f"created → subscriber, {rate:,}/s, {name}", "bare two-process pipeline", "s", TARGET)


def _p50(latencies: Latencies) -> float:
    return median(latencies)


def _p99(latencies: Latencies) -> float:
    return quantiles(latencies, n=100, method="inclusive")[98]


QUANTILES = {"p50": _p50, "p99": _p99}


def _measured(start: Starting, rate: int, seconds: int) -> Latencies:
    with start() as pipeline:
        feed(pipeline, 50, WARM_UP)
        pipeline.arrived.payloads.clear()
        created = feed(pipeline, rate, rate * seconds)
        return _latencies(created, pipeline.arrived.by_reader())


def _latencies(created: dict[str, list[int]], arrived: dict[str, list[int]]) -> Latencies:
    """Join both by reader and order, which every pipe keeps."""
    pairs = [pair for reader, times in created.items() for pair in zip(times, arrived[reader], strict=True)]
    return [(there - here) / 1e9 for here, there in pairs]


def feed(pipeline: Pipeline, rate: float, number: int) -> dict[str, list[int]]:
    """Write so many lines at random times, wait until all have arrived, and return when each was written."""
    dice, created, due = random.Random(1), dict[str, list[int]](), monotonic()  # noqa: S311  # the same each time
    pipes = [(pipe.name, os.open(pipe, os.O_WRONLY)) for pipe in pipeline.pipes]
    for count in range(number):
        due += dice.expovariate(rate)
        sleep(max(0.0, due - monotonic()))
        name, pipe = pipes[count % len(pipes)]
        created.setdefault(name, []).append(monotonic_ns())
        os.write(pipe, _line(name, CARDS[count // len(pipes) % 2]))
    for _, pipe in pipes:
        os.close(pipe)
    _until_arrived(pipeline.arrived, number)
    return created


def _line(reader: str, card: str) -> bytes:
    return f'{{"at": 0, "reader": "{reader}", "scan": {{"text": "{card}", "symbology": "]Q1"}}}}\n'.encode()


def _until_arrived(arrived: Arrivals, number: int) -> None:
    deadline = monotonic() + ARRIVE_SECONDS
    while arrived.count() < number:
        assert monotonic() < deadline, f"{arrived.count()} of {number} arrived"
        sleep(0.05)


@contextmanager
def gateway() -> Iterator[Pipeline]:
    """Run the gateway as it is installed."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        broker = stack.enter_context(mosquitto(directory))
        installed = install(directory, broker.port, READERS)
        arrived = stack.enter_context(arrivals(broker.port))
        (run,) = stack.enter_context(running(installed.command("run")))
        wait_for(installed.state / "uplink.bell")
        yield Pipeline(run.pid, installed.pipes, arrived)


@contextmanager
def bare() -> Iterator[Pipeline]:
    """Run the bare pipeline."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        broker = stack.enter_context(mosquitto(directory))
        pipes = tuple(directory / f"scanner-{number}" for number in range(READERS))
        for pipe in pipes:
            os.mkfifo(pipe)
        arrived = stack.enter_context(arrivals(broker.port))
        command = [sys.executable, "-m", "tests.benchmarks.pipeline"]
        stack.enter_context(running([*command, "uplink", str(directory), str(broker.port)]))
        wait_for(directory / "bell")
        (first,) = stack.enter_context(running([*command, "capture", str(directory), *map(str, pipes)]))
        yield Pipeline(first.pid, pipes, arrived)
