"""Power cuts: a trial of the campaign with both halves on a disk that forgets what was not synced.

The broker and the centre are elsewhere, as in life. At a cut the disk goes first and the halves at once after it, in
whatever they were doing; then the same disk comes back, and they start on what was on its medium.
"""

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Self

from tests.campaign.installation import HALVES
from tests.campaign.trial import Plan, Trial
from tests.campaign.verdict import SHOWN, Verdict, balances, changed, lost, reordered, twice
from tests.disk.mounts import PoweredDisk

PLAN = Plan(("receipt", "puback"))
CUTS = 10
"""So many cuts a trial."""
STARTING = 0.15
"""The share of cuts that do not wait until the gateway works again."""


class PowerTrial(Trial):
    """A trial whose state directory is a forgetful disk."""

    def __enter__(self) -> Self:
        super().__enter__()
        shutil.move(self.gateway.state, self.directory / "medium")
        self.disk = PoweredDisk(self.directory, self.gateway.state).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.stop()
        self.witness.look_away()
        self.disk.__exit__()
        super().__exit__()

    def cut(self) -> None:
        """Cut the power at a random moment; it comes back a moment later."""
        if self.dice.random() >= STARTING:
            self.wait_for_flow()
        self.flow(self.dice.uniform(0.0, 0.8))
        self.strike(self._lose_power)
        self.flow(self.dice.uniform(0.0, 0.3))
        self.disk.restore()
        self.gateway.start(*HALVES)

    def _lose_power(self) -> None:
        self.disk.kill()
        self.gateway.kill(*HALVES)
        self.disk.take_off()


def judge(seed: int, prepared: Path, cuts: int = CUTS) -> Verdict:
    """Cut the power again and again; then look for each accepted event at the centre."""
    with PowerTrial(prepared, PLAN, seed) as trial:
        began = time.monotonic()
        trial.start()
        for _ in range(cuts):
            trial.cut()
        trial.drain()
        seconds = time.monotonic() - began
        trial.problems += [*trial.gateway.died(), *trial.gateway.stop(), *_set_aside(trial.gateway.state)]
        trial.problems += [*trial.witness.wrong, *balances(trial.gateway.verify(), trial.witness.last)]
        return _verdict(trial, seconds)


def _set_aside(state: Path) -> list[str]:
    """Return the files that were set aside: a power cut damages nothing."""
    return [f"{damaged.name} was set aside" for damaged in state.glob("*.damaged-*")]


def _verdict(trial: PowerTrial, seconds: float) -> Verdict:
    stored = trial.centre.stored()
    return Verdict(
        kind="power",
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
