"""A week without a broker, or a month on request: does either half grow while the backlog does?

Both halves run as they are installed, the broker's port is closed, and scans are written into the readers' pipes as
fast as they are taken: a month at one event in five seconds is 518,400, compressed into minutes. The uplink's tries to
connect are compressed too, to one in 10 ms on average. What is compared is after a tenth of the events, when caches
have filled, and at the end; the slope is that of a straight line through the second half (least squares).
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from gateway.demo.broker import free_port
from gateway.store.backlog import Backlog
from tests.benchmarks.installation import CARDS, Installation, install, running, wait_for
from tests.benchmarks.process import descriptors, resident
from tests.benchmarks.row import Row, Target

EVENTS = {"week": 120_960, "month": 518_400}
SAMPLES = 50
READERS = 4
HALVES = ("capture", "uplink")
LIMIT_MB = 2_048
"""Of the outbox, so that none is evicted: the default of 512 holds about half a million taps."""
STALL_SECONDS = 60
IMPATIENT = """import gateway.uplink.connect as connect
connect.BACKOFF_SECONDS = connect.BACKOFF_SECONDS_MAX = 0.02
from gateway.__main__ import main
main()"""
NOTE = "Both halves as installed, broker unreachable, {events:,} scans as fast as they are taken."


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at some size of the backlog."""

    events: int
    memory: float
    descriptors: int


def rows(directory: Path | None = None, *, large: bool = False) -> Iterator[Row]:
    """Measure both halves in one week or month."""
    time = "month" if large else "week"
    with ExitStack() as stack:
        here = Path(stack.enter_context(TemporaryDirectory(dir=directory)))
        installed = install(here, free_port(), READERS, limit_mb=LIMIT_MB)
        uplink = [sys.executable, "-c", IMPATIENT, *installed.command("uplink")[3:]]
        halves = stack.enter_context(running(installed.command("capture"), uplink))
        for half in HALVES:
            wait_for(installed.state / f"{half}.bell")
        series = _series(installed, [process.pid for process in halves], EVENTS[time])
        for half, samples in zip(HALVES, series, strict=True):
            yield from _judged(f"{half}, offline {time}", samples)
        octets = sum(file.stat().st_size for file in installed.state.glob("*.db*"))
        yield Row(f"files after an offline {time}, an event", "", "B", octets / series[0][-1].events)


def _series(installed: Installation, pids: list[int], events: int) -> list[list[Sample]]:
    """Feed all events, and look at each process after each part of them."""
    series: list[list[Sample]] = [[] for _ in pids]
    each = events // SAMPLES // READERS
    with closing(Backlog(installed.state)) as backlog, ExitStack() as stack:
        pipes = {pipe.name: stack.enter_context(pipe.open("wb", buffering=0)) for pipe in installed.pipes}
        before = backlog.last()
        for part in range(1, SAMPLES + 1):
            for count in range(each):
                for name, pipe in pipes.items():
                    pipe.write(_line(name, CARDS[count % 2]))
            _until(backlog, before + part * each * READERS)
            for pid, samples in zip(pids, series, strict=True):
                samples.append(Sample(backlog.last() - before, resident(pid), descriptors(pid)))
    return series


def _line(reader: str, card: str) -> bytes:
    return f'{{"at": 0, "reader": "{reader}", "scan": {{"text": "{card}", "symbology": "]Q1"}}}}\n'.encode()


def _until(backlog: Backlog, last: int) -> None:
    """Wait until so many events are stored."""
    deadline = monotonic() + STALL_SECONDS
    while (stored := backlog.last()) < last:
        assert monotonic() < deadline, f"{stored} of {last} events were stored"
        sleep(0.01)


def _judged(what: str, samples: list[Sample]) -> Iterator[Row]:
    warm, end, later = samples[SAMPLES // 10 - 1], samples[-1], samples[SAMPLES // 2 :]
    slope, _ = linear_regression([sample.events for sample in later], [sample.memory for sample in later])
    then, note = f"with {warm.events:,} events", NOTE.format(events=end.events)
    ratio = end.memory / warm.memory
    yield Row(f"memory of {what}", then, "MiB", end.memory, warm.memory, ratio, Target(1.05), note=note)
    yield Row(f"slope of {what}", "", "B/event", slope * 1024 * 1024, target=Target(1, unit="B/event"), note=note)
    opened = (end.descriptors, warm.descriptors)
    yield Row(f"open files of {what}", then, "", *opened, opened[0] / opened[1], Target(1), note=note)
