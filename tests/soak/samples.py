"""What is noted of a process over time, and whether it grows."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

from tests.benchmarks.process import cpu_seconds, descriptors, resident

WARM = 1 / 3
"""Of the time: caches fill, the allocator finds its size."""
LIMITS = {"memory": (1.0, 0.03), "descriptors": (1.0, 0.02), "files": (4.5, 0.25), "cpu": (0.2, 0.25)}
"""What may change over the rest of the run without counting as growth: so much, or this share of the mean.

A write-ahead log grows to 4 MiB, and is used again from its start (SQLite, wal_autocheckpoint).
"""
UNITS = {"memory": "MiB", "descriptors": "", "files": "MiB", "cpu": "% of a core"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A value at a time, in hours."""

    hours: float
    what: str
    of: str
    value: float


def of_process(hours: float, name: str, pid: int, cpu_before: float, seconds: float) -> Iterator[Sample]:
    """Look at a process; processor time is that since the last look, if that is a while ago."""
    yield Sample(hours, "memory", name, resident(pid))
    yield Sample(hours, "descriptors", name, descriptors(pid))
    if seconds > 1:
        yield Sample(hours, "cpu", name, 100 * (cpu_seconds(pid) - cpu_before) / seconds)


def of_files(hours: float, directory: Path) -> Iterator[Sample]:
    """Look at the sizes of the databases, logs included."""
    for name in ("capture.db", "uplink.db"):
        octets = sum(file.stat().st_size for file in directory.glob(f"{name}*"))
        yield Sample(hours, "files", name, octets / 1024 / 1024)


def lines(samples: Sequence[Sample]) -> dict[tuple[str, str], list[Sample]]:
    """Return the samples by what they are of."""
    found: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for each in samples:
        found[each.what, each.of].append(each)
    return dict(found)


def growth(series: Sequence[Sample]) -> tuple[float, float]:
    """Return the mean and how much it grows from the end of the warm-up to the end, by a straight line."""
    later = series[round(len(series) * WARM) :]
    mean = sum(each.value for each in later) / len(later)
    if len(later) < 3:
        return mean, 0.0
    slope = linear_regression([each.hours for each in later], [each.value for each in later]).slope
    return mean, slope * (later[-1].hours - later[0].hours)


def report(samples: Sequence[Sample]) -> bool:
    """Print a line for each series; return whether one grows."""
    grows = False
    for (what, of), series in sorted(lines(samples).items()):
        mean, more = growth(series)
        least, share = LIMITS[what]
        bad = more > max(least, share * mean)
        grows |= bad
        ends = f"{series[0].value:8.1f} -> {series[-1].value:8.1f}"
        days = (series[-1].hours - series[0].hours) * (1 - WARM) / 24
        slope = f"line {more:+.2f}" + (f", {more / days:+.2f} a day" if days else "")
        told = f"{what:<12} {of:<12} {ends} {UNITS[what]:<12} mean {mean:8.2f}, {slope}"
        print(told + ("   GROWS" if bad else ""), flush=True)  # noqa: T201  # the report is what was asked for
    return grows


def save_csv(path: Path, samples: Sequence[Sample]) -> None:
    """Write every sample."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("hours", "what", "of", "value"))
        writer.writerows((f"{each.hours:.4f}", each.what, each.of, f"{each.value:.3f}") for each in samples)
