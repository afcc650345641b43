"""The gateway for hours on end: does anything of it grow?

    python -m tests.soak [--hours 2] [--pace 1] [--svg FILE] [--csv FILE] [--directory DIR]
    python -m tests.soak --replay 7        # a week, as fast as it is replayed

Both halves run as processes, as they are installed: bleak hears a boutique's day (tests/boutique) from BlueZ's D-Bus
API, nfcpy reads tags on a PN532, a serial scanner scans, mosquitto takes the events. Days follow one another; `--pace`
is how many seconds of theirs pass in one. Every half minute memory, descriptors, processor time and the sizes of the
files are noted. At the end a straight line through the last two thirds says what grows (least squares), and every event
is looked for at the broker. The exit status is 1 if something grows or is missing.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.soak.air import soak
from tests.soak.chart import chart
from tests.soak.samples import report, save_csv
from tests.soak.week import replay


def main() -> None:
    """Run it and report."""
    asked = _arguments()
    with TemporaryDirectory(prefix="soak-", dir=asked.directory) as made:
        here = Path(made)
        if asked.replay:
            series, wrong = replay(here, asked.replay)
        else:
            series, wrong = asyncio.run(soak(here, asked.hours * 3600, asked.pace))
    if asked.csv:
        save_csv(asked.csv, series)
    if asked.svg:
        asked.svg.write_text(chart(series), encoding="utf-8")
    grows = report(series)
    for each in wrong:
        print(each, flush=True)  # noqa: T201  # the report is what was asked for
    sys.exit(1 if grows or wrong else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0, help="how long, in real time")
    parser.add_argument("--pace", type=float, default=1.0, help="how many seconds of the boutique pass in one")
    parser.add_argument("--replay", type=int, metavar="DAYS", help="replay so many days instead, one process for all")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every sample")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw memory, descriptors, processor time and files")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="where the gateway is installed meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    main()
