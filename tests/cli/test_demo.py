"""`touchpoint demo`, as people and scripts run it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.demo import DemoError
from gateway.demo.report import Arrived, Numbers, Report

BALANCED = ("sightings", "absorbed", "acted_on", "appended", "delivered", "withdrawn", "evicted", "waiting")


@pytest.fixture
def rooms() -> Iterator[Path]:
    """Make a directory for the demo's temporary files; pytest's own are too deep for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def demo(*arguments: str, tmp: Path) -> "subprocess.Popen[str]":
    """Start the command; everything that it starts inherits a TMPDIR by which it can be told from others'."""
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp)},
        start_new_session=True,
    )


def left_behind(tmp: Path) -> list[str]:
    """Return the files and the processes of a demo that are still there."""
    mark = f"TMPDIR={tmp}\0".encode()
    return [str(file) for file in tmp.iterdir()] + [
        each.name for each in Path("/proc").iterdir() if _is_ours(each, mark)
    ]


def _is_ours(process: Path, mark: bytes) -> bool:
    try:
        return process.name.isdecimal() and mark in (process / "environ").read_bytes()
    except OSError:
        return False


def test_the_whole_day_adds_up(rooms: Path) -> None:
    """Six seconds of a real gateway: both balances hold, all that was sent arrived, and no raw identifier is left."""
    begun = time.monotonic()
    running = demo("--seconds", "6", "--seed", "3", "--json", tmp=rooms)
    out, err = running.communicate(timeout=40)
    assert (running.returncode, err) == (0, "")
    result = json.loads(out)
    sightings, absorbed, acted_on, appended, delivered, withdrawn, evicted, waiting = (result[key] for key in BALANCED)
    assert sightings == absorbed + acted_on + sum(result["dropped"].values())
    assert appended == delivered + withdrawn + evicted + waiting
    assert result["received"] == delivered > 10
    assert withdrawn == 2
    assert result["subjects"] >= 6
    assert (result["holes"], result["duplicates"], result["raw_identifiers_found"]) == (0, 0, 0)
    assert (result["ok"], result["problems"], result["seed"]) == (True, [], 3)
    assert time.monotonic() - begun < 25
    assert left_behind(rooms) == []


def test_people_read_what_happens(rooms: Path) -> None:
    """Without a terminal there are lines of plain words, then the summary."""
    running = demo("--seconds", "5", "--seed", "5", tmp=rooms)
    out, err = running.communicate(timeout=40)
    assert (running.returncode, err) == (0, "")
    assert "store   Anna, who agreed, taps her card at the counter." in out
    assert "centre  tap of the counter, by tp1." in out
    assert out.rstrip().endswith("All of it adds up.")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(rooms: Path, number: signal.Signals) -> None:
    """A signal to all of the terminal's processes, twice by an impatient hand, leaves no process and no file."""
    running = demo("--seconds", "30", "--seed", "3", tmp=rooms)
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith("centre"):
            break
    os.killpg(running.pid, number)
    os.killpg(running.pid, number)
    _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (130, "")
    assert left_behind(rooms) == []


def test_a_day_has_five_seconds_at_least(rooms: Path) -> None:
    """A shorter one is refused as a wrong command line."""
    running = demo("--seconds", "4", tmp=rooms)
    _, err = running.communicate(timeout=20)
    assert running.returncode == 2
    assert "5" in err


def a_day(holes: int) -> Report:
    arrived = Arrived(received=9, subjects=4, gaps={"withdrawn": 2}, holes=holes)
    numbers = Numbers(100, 20, 10, {"unknown": 70}, 11, 9, 2, 0, 0)
    return Report(3, 20, "a broker", 100, numbers, arrived, search_proven=True)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_does_not_add_up_is_said_and_fails(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole makes the exit status 1, and stands in the result; a good day of the same kind does not."""
    for holes in (0, 1):
        monkeypatch.setattr("gateway.demo.stage.play", AsyncMock(return_value=a_day(holes)))
        result = CliRunner().invoke(app, ["demo", *options])
        assert result.exit_code == holes
        assert ("1 events are missing and nothing explains it" in result.stdout) is bool(holes)


def test_what_hinders_the_demo_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that people can do something about is a message and exit status 1, with nothing on standard output."""
    monkeypatch.setattr("gateway.demo.stage.play", AsyncMock(side_effect=DemoError("install a broker")))
    result = CliRunner().invoke(app, ["demo", "--json"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "install a broker\n")
