"""A bad disk under the real halves: both go on running, and events reach the centre again, without a person."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.campaign.installation import HALVES, prepare
from tests.campaign.trial import Plan, Trial
from tests.campaign.verdict import balances, lost
from tests.campaign.witness import read_only
from tests.disk.power import PowerTrial
from tests.disk.test_damage import invert
from tests.simulators.forgetful_disk import READ_ONLY, SYNCS_FAIL

PLAN = Plan(rate=100.0)
SECONDS = 40.0
FAILING_SECONDS = 2.5


@pytest.mark.timeout(120)
@pytest.mark.parametrize("file", ["capture.db", "uplink.db"])
def test_real_halves_mend_a_damaged_file_and_go_on(tmp_path: Path, file: str) -> None:
    """A damaged outbox gives way to a session that names it; a damaged record of the uplink costs copies only."""
    prepare(tmp_path)
    with Trial(tmp_path, PLAN, 0) as trial:
        trial.start()
        trial.witness.look_away()
        trial.gateway.kill(*HALVES)
        state, last = trial.gateway.state, session(trial.gateway.state)
        invert(state / file, root(state / file))
        trial.gateway.start(*HALVES)
        scan_until(trial, lambda: list(state.glob(f"{file}.damaged-*")))
        before = arrived(trial.directory)
        scan_until(trial, lambda: arrived(trial.directory) > before)
        assert trial.problems + trial.gateway.died() + trial.gateway.tracebacks() == []
        assert (session(state) != last) == (file == "capture.db")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", [SYNCS_FAIL, READ_ONLY])
def test_real_halves_outlast_a_disk_that_fails_for_a_while(tmp_path: Path, fault: str) -> None:
    """Neither ends; all that was accepted arrives, before, meanwhile or after, and the numbers add up."""
    prepare(tmp_path)
    with PowerTrial(tmp_path, PLAN, 0) as trial:
        trial.start()
        (trial.disk.faults / fault).touch()
        trial.flow(FAILING_SECONDS)
        (trial.disk.faults / fault).unlink()
        trial.wait_for_flow()
        trial.drain()
        assert trial.problems + trial.gateway.died() + trial.witness.wrong + trial.gateway.tracebacks() == []
        assert balances(trial.gateway.verify(), trial.witness.last) == []
        assert lost(trial.witness.last, trial.centre.stored()) == 0


def scan_until(trial: Trial, condition: Callable[[], object]) -> None:
    """Let customers scan until something holds; nobody looks into a file that is damaged."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the halves do not go on"
        trial.load.tick()
        time.sleep(0.01)


def arrived(directory: Path) -> int:
    """Count the events that the centre has stored."""
    with closing(read_only(directory / "centre.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])


def root(path: Path) -> int:
    """Return the page, from 0, where the most important table of a file begins; first, empty its log into it."""
    table = {"capture.db": "outbox", "uplink.db": "progress"}[path.name]
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return int(page) - 1


def session(state: Path) -> str:
    """Return the id of the session."""
    with closing(read_only(state / "capture.db")) as connection:
        return str(connection.execute("SELECT id FROM session").fetchone()[0])
