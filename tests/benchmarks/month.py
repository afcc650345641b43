"""A week without a broker, or a month on request: does either half grow while the backlog does?

Both halves run as they are installed, the broker's port is closed, and scans are written into the readers' pipes as
fast as they are taken: a month at one event in five seconds is 518,400, compressed into minutes. The uplink's tries to
connect, one in 30 s on average, are compressed for themselves (`impatient`). What is compared is after a tenth, when
caches have filled, and at the end; the slope is that of a straight line through the second half (least squares).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, median
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from gateway.demo.broker import free_port
from gateway.store.backlog import Backlog
from tests.benchmarks.installation import CARDS, Installation, install, running, wait_for
from tests.benchmarks.process import descriptors, resident
from tests.benchmarks.row import Row, Target

EVENTS = {"week": 120_960, "month": 518_400}
TRIES = {"week": 20_160, "month": 86_400}
SAMPLES = 50
READERS = 4
HALVES = ("capture", "uplink")
LIMIT_MB = 2_048
"""Of the outbox, so that none is evicted: the default of 512 holds about half a million taps."""
STALL_SECONDS = 60
MIB = 1024 * 1024
TRIED = "The uplink half alone, as it is but for the waits between its tries; the broker's port is closed."
NOTE = "Both halves as installed, broker unreachable, {events:,} scans as fast as they are taken."


@dataclass(frozen=True, slots=True)
class Sample:
    """A process after so many events or tries."""

    done: int
    memory: float
    descriptors: int


def rows(directory: Path | None = None, *, large: bool = False) -> Iterator[Row]:
    """Measure both halves in one week or month."""
    time = "month" if large else "week"
    with ExitStack() as stack:
        here = Path(stack.enter_context(TemporaryDirectory(dir=directory)))
        installed = install(here, free_port(), READERS, limit_mb=LIMIT_MB)
        series = _offline(installed, EVENTS[time])
        for half, samples in zip(HALVES, series, strict=True):
            yield from _judged(f"{half}, offline {time}", samples, "event", NOTE.format(events=samples[-1].done))
        octets = sum(file.stat().st_size for file in installed.state.glob("*.db*"))
        yield Row(f"files after an offline {time}, an event", "", "B", octets / series[0][-1].done)
        yield from _judged(f"uplink, tries of a {time}", _tries(installed, TRIES[time]), "try", TRIED)


def _offline(installed: Installation, events: int) -> list[list[Sample]]:
    """Run both halves while the backlog grows."""
    with running(*(installed.command(half) for half in HALVES)) as halves:
        for half in HALVES:
            wait_for(installed.state / f"{half}.bell")
        return _series(installed, [process.pid for process in halves], events)


def _tries(installed: Installation, number: int) -> list[Sample]:
    """Run the uplink half while it tries to connect, again and again."""
    count, samples = installed.directory / "tries", list[Sample]()
    count.touch()
    command = [sys.executable, "-m", "tests.benchmarks.impatient", str(count), *installed.command("uplink")[3:]]
    with running(command) as (process,):
        for part in range(1, SAMPLES + 1):
            _until(lambda: count.stat().st_size, part * number // SAMPLES)
            samples.append(Sample(count.stat().st_size, resident(process.pid), descriptors(process.pid)))
    return samples


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
            _until(backlog.last, before + part * each * READERS)
            for pid, samples in zip(pids, series, strict=True):
                samples.append(Sample(backlog.last() - before, resident(pid), descriptors(pid)))
    return series


def _line(reader: str, card: str) -> bytes:
    return f'{{"at": 0, "reader": "{reader}", "scan": {{"text": "{card}", "symbology": "]Q1"}}}}\n'.encode()


def _until(done: Callable[[], int], last: int) -> None:
    """Wait until so much is done."""
    deadline = monotonic() + STALL_SECONDS
    while (now := done()) < last:
        assert monotonic() < deadline, f"{now} of {last}"
        sleep(0.01)


def _judged(what: str, samples: list[Sample], each: str, note: str) -> Iterator[Row]:
    warm, end, later = samples[SAMPLES // 10 - 1], samples[-1], samples[SAMPLES // 2 :]
    slope, _ = linear_regression([sample.done for sample in later], [sample.memory for sample in later])
    then, ratio = f"after {warm.done:,} of {end.done:,}", end.memory / warm.memory
    yield Row(f"memory of {what}", then, "MiB", end.memory, warm.memory, ratio, Target(1.05), note=note)
    unit, all_the_time = f"B/{each}", MIB / end.done
    yield Row(f"slope of {what}", "", unit, slope * MIB, target=Target(round(all_the_time, 1), unit=unit), note=note)
    opened, before = _descriptors(later), _descriptors(samples[SAMPLES // 10 : SAMPLES // 5])
    yield Row(f"open files of {what}", then, "", opened, before, opened / before, Target(1), note=note)


def _descriptors(samples: list[Sample]) -> float:
    return median(sample.descriptors for sample in samples)
