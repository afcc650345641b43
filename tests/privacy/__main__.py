"""`make privacy`: a day of many people, and a search for each of them in every file that was written."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.privacy.day import inner, live


def main() -> None:
    """Run a day; exit status 1 if anybody was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.privacy", description=__doc__)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--passersby", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=180.0, help="how long the day lasts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inner", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    people = (asked.seed, asked.customers, asked.passersby, asked.seconds)
    if asked.inner:
        inner(asked.inner, *people)
        return
    verdict = live(*people)
    sys.stdout.write(json.dumps(asdict(verdict), indent=1) + "\n")
    sys.stdout.write(f"{len(verdict.found)} found of {verdict.needles:,} spellings in {verdict.octets:,} octets of ")
    sys.stdout.write(f"{len(verdict.files)} files: {'ok' if verdict.good else 'BROKEN'}\n")
    sys.exit(not verdict.good)


if __name__ == "__main__":
    main()
