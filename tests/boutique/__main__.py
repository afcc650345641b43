"""Days of a boutique, recorded from seeds, replayed, and judged by the truth that made them; or one, to be kept.

    python -m tests.boutique --seed 1 --seeds 20 --hours 10 --people 500     a table
    python -m tests.boutique --seed 1 --hours 1 --people 60 --keep DIR       a recording, with configuration and truth

What `--keep` makes is played by `touchpoint replay DIR/day.jsonl --config DIR/gateway.toml --fast`.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.boutique.day import Day
from tests.boutique.verdict import Verdict, middle, p95, play, search, write

COLUMNS = (
    "seed", "lines", "stays", "hours", "missed", "invented", "false exits/h", "dwell off by: median", "p95",
    "within 10 % or 15 s", "announced after: median", "p95", "acts", "wrong acts", "wrong health", "found",
)  # fmt: skip
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def main() -> None:
    """Judge days; exit status 1 if an act, the health of a beacon or a counter is wrong, or anybody was found."""
    asked = _asked()
    if asked.keep is not None:
        keep(Day(asked.seed, asked.hours * 3600, asked.people), asked.keep)
        return
    print(HEAD, flush=True)  # noqa: T201  # the table
    good, verdicts = True, list[Verdict]()
    for seed in range(asked.seed, asked.seed + asked.seeds):
        day = Day(seed, asked.hours * 3600, asked.people)
        with tempfile.TemporaryDirectory(prefix="boutique-") as made:
            verdict = play(day, Path(made))
            found = len(search(day, Path(made)).findings)
        print(row(str(seed), [verdict], found), flush=True)  # noqa: T201  # the table
        good &= verdict.good and not found
        verdicts.append(verdict)
    if len(verdicts) > 1:
        print(row("all", verdicts, 0))  # noqa: T201  # the table
    sys.exit(not good)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.boutique", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the first day")
    parser.add_argument("--seeds", type=int, default=1, help="so many days")
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--people", type=int, default=500, help="three in ten come in")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="only write the day, into a new directory")
    return parser.parse_args()


def keep(day: Day, directory: Path) -> None:
    """Write recording, configuration, keys, touchpoints and consents, and the truth."""
    directory.mkdir(parents=True)
    write(day, directory)
    truth = day.truth
    acts = [
        {
            "at": act.readings[0],
            "reader": act.reader,
            "touchpoint": act.thing.touchpoint,
            "answer": act.thing.answer,
            "pseudonym": act.pseudonym,
            "dropped": act.thing.dropped,
        }
        for act in truth.acts
    ]
    stays = [asdict(stay) for stay in truth.stays]
    text = json.dumps({"acts": acts, "stays": stays, "health": truth.health, "dropped": truth.strangers}, indent=1)
    (directory / "truth.json").write_text(text, encoding="utf-8")


def row(name: str, verdicts: list[Verdict], found: int) -> str:
    """Return a line of the table."""
    errors = [error for each in verdicts for error in each.errors]
    entering = [late for each in verdicts for late in each.entering]
    hours = sum(each.hours for each in verdicts)
    cells = (
        name,
        f"{sum(each.counts['sightings'] for each in verdicts):,}",
        sum(len(each.truth) for each in verdicts),
        f"{hours:.1f}",
        sum(len(each.missed) for each in verdicts),
        sum(len(each.invented) for each in verdicts),
        f"{sum(each.false_exits for each in verdicts) / max(hours, 0.01):.2f}",
        f"{middle(errors):.1f} s",
        f"{p95(errors):.1f} s",
        f"{sum(each.accurate for each in verdicts) / max(len(errors), 1):.1%}",
        f"{middle(entering):.1f} s",
        f"{p95(entering):.1f} s",
        f"{sum(each.acts for each in verdicts):,}",
        sum(each.acts_missing.total() + each.acts_invented.total() for each in verdicts),
        sum(len(each.health_wrong) for each in verdicts),
        found,
    )
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
