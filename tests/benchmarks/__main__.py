"""`make bench`: each part of the path beside its limit or a peer, measured in the same run.

    python -m tests.benchmarks [NAME ...] [--json FILE] [--svg FILE] [--large] [--directory DIR]

Absolutes depend on the machine and on what else it does; ratios much less. Nothing here is part of `make test`.
"""

import argparse
import json
import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from tests.benchmarks import (
    ble,
    checksums,
    codes,
    drain,
    footprint,
    ingest,
    latency,
    month,
    nfc,
    peers,
    scanner,
    sightings,
    storage,
    usage,
)
from tests.benchmarks.chart import chart
from tests.benchmarks.row import HEADER, Row, line

BENCHMARKS: dict[str, Callable[[], Iterable[Row]]] = {
    "sightings": sightings.rows,
    "ble": ble.rows,
    "ingest": ingest.rows,
    "usage": usage.rows,
    "drain": drain.rows,
    "checksums": checksums.rows,
    "peers": peers.rows,
    "latency": latency.rows,
    "scanner": scanner.rows,
    "nfc": nfc.rows,
    "codes": codes.rows,
    "footprint": footprint.rows,
    "storage": storage.rows,
    "month": month.rows,
}


def main() -> None:
    """Measure what is asked for, everything by default, and print each row as soon as it is known."""
    asked = _arguments()
    benchmarks = BENCHMARKS | {
        "drain": partial(drain.rows, asked.directory, large=asked.large),
        "month": partial(month.rows, asked.directory, large=asked.large),
    }
    measured, notes = list[Row](), dict[str, int]()
    _say(HEADER)
    for row in chain.from_iterable(benchmarks[name]() for name in asked.names or BENCHMARKS):
        measured.append(row)
        _say(line(row, notes.setdefault(row.note, len(notes) + 1) if row.note else None))
    footnotes = "".join(f"[^{number}]: {note}\n\n" for note, number in notes.items())
    _say(f"\n{footnotes}{os.cpu_count()} cores; load {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    if asked.json:
        asked.json.write_text(json.dumps(_as_json(measured), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if asked.svg:
        asked.svg.write_text(chart(measured), encoding="utf-8")


def _as_json(measured: list[Row]) -> dict[str, Any]:
    """Return every row with its spread, and how busy the machine was."""
    return {"cores": os.cpu_count(), "load": os.getloadavg(), "rows": [row.as_json() for row in measured]}


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # the table is what was asked for


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these, of {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON too")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the rows that have a target")
    parser.add_argument("--large", action="store_true", help=f"a backlog of {drain.LARGE:,}, an offline month")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="where backlogs are kept meanwhile")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if asked.large and (lacking := _lacking_room(asked.directory or Path(gettempdir()))):
        parser.error(lacking)
    return asked


def _lacking_room(directory: Path) -> str | None:
    """Say what stands against a large backlog in a directory."""
    if not directory.is_dir():
        return f"{directory} is no directory"
    free, needed = shutil.disk_usage(directory).free, drain.room_for_large()
    if free >= needed:
        return None
    gigabytes = f"{needed / 1e9:.1f} GB, and {directory} has {free / 1e9:.1f} GB"
    return f"--large takes {gigabytes} free; name a directory with more: --directory DIR"


if __name__ == "__main__":
    main()
