"""A week of the boutique, replayed: the same path and the same outbox, as fast as they go.

python -m tests.soak.week FILE DAYS      # write the recording
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace as changed
from pathlib import Path

from gateway.config import load
from gateway.replay import Replay
from gateway.sources.recording import ClockStep
from gateway.sources.recording import format as recorded
from gateway.store.backlog import Backlog
from gateway.store.verify import verify
from tests.benchmarks.process import cpu_seconds
from tests.boutique.day import Day, Line
from tests.boutique.store import START_MS, install
from tests.soak.samples import Sample, of_files, of_process

OPEN_SECONDS, PEOPLE = 36_000.0, 120
DAY_SECONDS = 86_400.0
EVERY_SECONDS = 1_800.0


def replay(directory: Path, days: int) -> tuple[list[Sample], list[str]]:
    """Replay so many days in this process; return what was noted each half hour of them, and what the outbox lacks."""
    first, samples = Day(0, OPEN_SECONDS, PEOPLE), list[Sample]()
    install(directory, first.own, [agreed for who in first.visitors if (agreed := who.agreed) is not None])
    file, state = directory / "week.jsonl", directory / "replayed"
    subprocess.run([sys.executable, "-m", "tests.soak.week", str(file), str(days)], check=True)
    state.mkdir()
    last, spent = 0.0, cpu_seconds(os.getpid())

    def look(at: float) -> None:
        nonlocal last, spent
        if (passed := at - last) < EVERY_SECONDS:
            return
        by_day = passed < 2 * EVERY_SECONDS  # the night is no share of the work
        samples.extend(of_process(at / 3600, "replay", os.getpid(), spent, passed if by_day else 0))
        samples.extend(of_files(at / 3600, state))
        last, spent = at, cpu_seconds(os.getpid())

    counts = Replay(load(directory / "gateway.toml"), file, state, START_MS, look).run()
    with closing(Backlog(state)) as backlog:
        print(f"{counts['sightings']:,} sightings, {backlog.last():,} events", flush=True)  # noqa: T201  # the report
        return samples, verify(backlog).problems


def week(days: int) -> Iterator[Line]:
    """Yield the days one after the other; between them nothing is on the air. Clocks are not set."""
    for number in range(days):
        for line in Day(number, OPEN_SECONDS, PEOPLE).lines():
            if not isinstance(line, ClockStep):
                yield changed(line, at=line.at + number * DAY_SECONDS)


def main(file: Path, days: int) -> None:
    """Write the recording."""
    with file.open("w", encoding="utf-8") as lines:
        lines.writelines(f"{recorded(line)}\n" for line in week(days))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
