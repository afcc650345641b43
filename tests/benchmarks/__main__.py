"""`make bench`: each part of the path beside its limit or a peer, measured in the same run.

    python -m tests.benchmarks [NAME ...] [--json FILE] [--svg FILE] [--large]

Absolutes depend on the machine and on what else it does; ratios much less. Nothing here is part of `make test`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.benchmarks import drain, footprint, ingest, latency, sightings, storage
from tests.benchmarks.row import Row, lines

BENCHMARKS: dict[str, Callable[[], Iterable[Row]]] = {
    "sightings": sightings.rows,
    "ingest": ingest.rows,
    "drain": drain.rows,
    "latency": latency.rows,
    "footprint": footprint.rows,
    "storage": storage.rows,
}


def main() -> None:
    """Measure what is asked for, everything by default."""
    asked = _arguments()
    measured = list(_measure(asked.names or list(BENCHMARKS)))
    print("\n".join(lines(measured)))
    if asked.json:
        text = json.dumps([row.as_json() for row in measured], indent=2)
        asked.json.write_text(text + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, help="write the rows as JSON too")
    return parser.parse_args()


def _measure(names: Iterable[str]) -> Iterator[Row]:
    for name in names:
        print(f"{name} ...", file=sys.stderr)
        yield from BENCHMARKS[name]()


if __name__ == "__main__":
    main()
