"""`make campaign SEEDS=0-99 [KIND=...]`: faults by the hundred, and a table of what they did.

    python -m tests.campaign --seeds 0-99 [--kind broker --kind storm] [--results FILE]

Each trial is a line in the results file; a campaign that is started again skips the trials that are there. A seed gives
the same faults in the same order, though not at the same instruction: processes are scheduled by the machine.
"""

import argparse
import json
import logging
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.campaign.faults import KINDS
from tests.campaign.installation import prepare
from tests.campaign.table import lines
from tests.campaign.verdict import judge

Result = dict[str, Any]


def main() -> None:
    """Run what has not run yet; print the table of everything. Exit status 1 if any promise was broken."""
    asked = _arguments()
    logging.getLogger("paho").addHandler(logging.NullHandler())  # its errors here are what the trials do to it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a trial that is stopped leaves nothing behind
    done = _results(asked.results)
    with tempfile.TemporaryDirectory(prefix="tp-campaign-") as directory:
        prepared = Path(directory) / "prepared"
        prepared.mkdir()
        prepare(prepared)
        for kind, seed in _todo(asked.kind or list(KINDS), asked.seeds, done):
            _keep(asked.results, judge(kind, seed, prepared).as_json())
    results = _results(asked.results)
    sys.stdout.write("\n".join(lines(results)) + "\n")
    sys.exit(any(not result["good"] for result in results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=_seeds, default=range(2), metavar="A-B", help="which trials of each kind")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind; may be repeated")
    parser.add_argument("--results", type=Path, default=Path("build/campaign.jsonl"), help="where results are appended")
    return parser.parse_args()


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _todo(kinds: Sequence[str], seeds: range, done: Sequence[Result]) -> Iterator[tuple[str, int]]:
    """Yield the trials that are not in the results, a seed of every kind before the next seed."""
    known = {(result["kind"], result["seed"]) for result in done}
    return ((kind, seed) for seed in seeds for kind in kinds if (kind, seed) not in known)


def _results(path: Path) -> list[Result]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _keep(path: Path, result: Result) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    sys.stderr.write(f"{result['kind']} {result['seed']}: {'ok' if result['good'] else result}\n")


if __name__ == "__main__":
    main()
