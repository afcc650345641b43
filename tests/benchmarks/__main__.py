"""`make bench`: each part of the path beside its limit or a peer, measured in the same run.

    python -m tests.benchmarks [NAME ...] [--json FILE] [--svg FILE] [--large]

Absolutes depend on the machine and on what else it does; ratios much less. Nothing here is part of `make test`.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from tests.benchmarks import drain, footprint, ingest, latency, peers, sightings, storage
from tests.benchmarks.chart import chart
from tests.benchmarks.row import Row, lines

BENCHMARKS: dict[str, Callable[[], Iterable[Row]]] = {
    "sightings": sightings.rows,
    "ingest": ingest.rows,
    "drain": drain.rows,
    "peers": peers.rows,
    "latency": latency.rows,
    "footprint": footprint.rows,
    "storage": storage.rows,
}


def main() -> None:
    """Measure what is asked for, everything by default."""
    asked = _arguments()
    benchmarks = BENCHMARKS | {"drain": partial(drain.rows, large=asked.large)}
    measured = list(_measured([(name, benchmarks[name]) for name in asked.names or BENCHMARKS]))
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print("\n".join((*lines(measured), "", f"{os.cpu_count()} cores; load at the end {load}")))  # noqa: T201  # what was asked for
    if asked.json:
        text = json.dumps([row.as_json() for row in measured], indent=2, ensure_ascii=False)
        asked.json.write_text(text + "\n", encoding="utf-8")
    if asked.svg:
        asked.svg.write_text(chart(measured), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON too")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the rows that have a target")
    parser.add_argument("--large", action="store_true", help="drain from a backlog of ten million too (15 GB of disk)")
    return parser.parse_args()


def _measured(benchmarks: Iterable[tuple[str, Callable[[], Iterable[Row]]]]) -> Iterator[Row]:
    for name, rows in benchmarks:
        print(f"{name} ...", file=sys.stderr)  # noqa: T201  # minutes without a word would be unkind
        yield from rows()


if __name__ == "__main__":
    main()
