"""`make powercuts N=100`: so many power cuts, and a table of what was lost. Needs root.

    python -m tests.disk --cuts 100 [--results FILE]

Each trial of ten cuts is a line in the results file; whoever starts it again goes on where it ended.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.campaign.installation import prepare
from tests.campaign.table import lines
from tests.disk.power import CUTS, judge


def main() -> None:
    """Cut until there are as many cuts as were asked for. Exit status 1 if any promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.disk", description=__doc__.partition("\n")[0])
    parser.add_argument("--cuts", type=int, default=CUTS)
    parser.add_argument("--results", type=Path, default=Path("powercuts.jsonl"), help="where results are appended")
    asked = parser.parse_args()
    asked.results.touch()
    with tempfile.TemporaryDirectory(prefix="tp-power-") as directory:
        prepare(Path(directory))
        for seed in range(len(_read(asked.results)), -(-asked.cuts // CUTS)):
            _keep(asked.results, judge(seed, Path(directory)).as_json())
    results = _read(asked.results)
    sys.stdout.write("\n".join(lines(results)) + "\n")
    sys.exit(any(not result["good"] for result in results))


def _read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _keep(path: Path, result: dict[str, object]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    sys.stderr.write(f"{result['seed']}: {'ok' if result['good'] else result}\n")


if __name__ == "__main__":
    main()
