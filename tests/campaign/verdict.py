"""What came of a trial: each accepted event is looked for at the centre, and the numbers of both sides are compared."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.campaign.centre import Stored
from tests.campaign.faults import KINDS, running
from tests.campaign.installation import POINTS
from tests.campaign.trial import Trial
from tests.campaign.witness import Witness, scan_of

SHOWN = 5


@dataclass
class Verdict:
    """One trial in numbers; `problems` is empty when every promise held."""

    kind: str
    seed: int
    delivery: str
    faults: int
    hits: int
    exposed: int
    in_hand: int
    accepted: int
    lost: int
    twice: int
    reordered: int
    changed: int
    copies: int
    seconds: float
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled, reordered or changed, and nothing else was wrong."""
        return not (self.lost or self.twice or self.reordered or self.changed or self.problems)

    def as_json(self) -> dict[str, Any]:
        """Return it as a line of the results."""
        return {**asdict(self), "good": self.good}


def judge(kind: str, seed: int, prepared: Path, strikes: int | None = None) -> Verdict:
    """Run a trial and judge it; with `strikes`, a short and aimed one."""
    faults, plan = KINDS[kind]
    if strikes is not None:
        plan = replace(plan, strikes=strikes, aimed=True)
    with Trial(prepared, plan, seed) as trial:
        return verdict(kind, trial, running(faults, trial))


def verdict(kind: str, trial: Trial, seconds: float) -> Verdict:
    """Stop a gateway that is drained, and compare what it says, what the witness saw and what the centre has."""
    trial.problems += [*trial.gateway.died(), *trial.gateway.stop(), *trial.gateway.tracebacks()]
    trial.problems += [*trial.witness.wrong, *balances(trial.gateway.verify(), trial.witness.last)]
    stored = trial.centre.stored()
    return Verdict(
        kind=kind,
        seed=trial.seed,
        delivery=trial.delivery,
        **asdict(trial.exposure),
        accepted=trial.witness.last,
        lost=lost(trial.witness.last, stored),
        twice=twice(stored),
        reordered=reordered([each.sequence for each in stored]),
        changed=changed(trial.witness, stored),
        copies=sum(each.copies for each in stored),
        seconds=round(seconds, 1),
        problems=trial.problems[:SHOWN],
    )


def lost(accepted: int, stored: Iterable[Stored]) -> int:
    """Count the sequences up to the last accepted one that neither came nor are explained by a gap."""
    came = {number for each in stored for number in range(each.sequence, each.through + 1)}
    return sum(number not in came for number in range(1, accepted + 1))


def twice(stored: Sequence[Stored]) -> int:
    """Count the scans that are not later than the one before at their reader: made into two events, or swapped.

    A scan that was never accepted leaves its number out, so numbers may jump; but forwards, and not half-way round.
    """
    last: dict[str, int] = {}
    wrong = 0
    for each in sorted(stored, key=lambda each: each.sequence):
        if (scan := scan_of(each.text)) is None:
            continue
        reader, number = scan
        wrong += not 0 < (number - last.get(reader, -1)) % POINTS < POINTS / 2
        last[reader] = number
    return wrong


def reordered(sequences: Iterable[int]) -> int:
    """Count the events that came, for the first time, after a later one."""
    last = wrong = 0
    for sequence in sequences:
        wrong += sequence < last
        last = max(last, sequence)
    return wrong


def changed(witness: Witness, stored: Iterable[Stored]) -> int:
    """Count the events whose bytes were not the same in the outbox, on their first way and on every other one."""
    return sum(each.changed > 0 or witness.texts.get(each.sequence, each.text) != each.text for each in stored)


def balances(verified: dict[str, Any], accepted: int) -> list[str]:
    """Compare the gateway's own numbers with what the witness saw."""
    wrong = [] if verified["ok"] else [str(problem) for problem in verified["problems"]]
    if (verified["appended"], verified["delivered"]) != (accepted, accepted):
        wrong.append(f"appended {verified['appended']}, delivered {verified['delivered']}, accepted {accepted}")
    return wrong


def upper_bound(trials: int) -> float:
    """Return the 95 % upper bound of a probability that was never seen to happen: the rule of three, 3/n."""
    return 3 / trials if trials else math.inf
