"""`touchpoint status`: on a terminal, into a pipe, again and again."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.handover import mark, restoring

CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "./state"

[mqtt]
host = "127.0.0.1"
port = 1

[[reader]]
name = "salon-ble"
kind = "ble"
zone = "salon"
"""
INTO_OTHER_SCREEN, OUT_OF_IT, CURSOR_SHOWN = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"
"""xterm's control sequences, DECSET 1049 and 25."""


@pytest.fixture
def configuration(directory: Path) -> Path:
    (directory / "state").mkdir()
    file = directory / "gateway.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    return file


def test_into_a_pipe(configuration: Path) -> None:
    """What is wrong, what to do, and every part; exit status 1, since nothing runs."""
    done = CliRunner().invoke(app, ["status", "--config", str(configuration)])
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "acme / zrh-1 / gw-1   not running",
        "! the capture half is not running: nothing is read",
        "  > start it: systemctl start touchpoint.target, or touchpoint run",
    ]
    assert "Zones      salon: 0 of 1 readers up" in lines
    assert "Broker     127.0.0.1:1: not known" in lines


def test_for_programs(configuration: Path) -> None:
    """As JSON there is the same, with an advice for each problem."""
    done = CliRunner().invoke(app, ["status", "--json", "--config", str(configuration)])
    found = json.loads(done.stdout)
    assert found["zones"] == {"salon": ["salon-ble"]}
    assert found["consents"] == {"here": 0, "centre": None}
    assert found["last"] == []
    assert len(found["problems"]) == len(found["advice"]) > 1


@pytest.mark.parametrize(("mark", "wrong"), [(mark, "was handed over"), (restoring, "a restore was cut off")])
def test_a_gateway_that_must_not_start_is_told_so(
    configuration: Path, mark: Callable[[Path], Path], wrong: str
) -> None:
    """Neither screen nor `check` say to start what would refuse to; both say what to do instead."""
    mark(configuration.parent / "state").touch()
    done = CliRunner().invoke(app, ["status", "--config", str(configuration)])
    assert done.exit_code == 1
    assert wrong in done.stdout.splitlines()[1]
    assert "systemctl start" not in done.stdout
    checked = CliRunner().invoke(app, ["check", "--config", str(configuration)])
    assert checked.exit_code == 78
    assert wrong in checked.stderr


@pytest.mark.parametrize("options", [["--watch"], ["--watch", "--json"]])
def test_watching_needs_a_terminal(configuration: Path, options: list[str]) -> None:
    """Into a pipe nothing is drawn: a program asks for JSON as often as it likes."""
    done = CliRunner().invoke(app, ["status", *options, "--config", str(configuration)])
    assert done.exit_code == 2
    assert "--watch draws on a terminal" in done.stderr


@contextmanager
def watching(configuration: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int, int]]:
    """Watch on a terminal of 80 by 24; yield the process, our end of the terminal, and its own."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    command = [sys.executable, "-m", "gateway", "status", "--watch", "--config", str(configuration)]
    environment = {**os.environ, "TERM": "xterm", "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        command,
        stdin=its,
        stdout=its,
        stderr=its,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # no thread holds a lock here
    )
    try:
        yield process, ours, its
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(its)


def read_until(ours: int, wanted: bytes, count: int = 1) -> bytes:
    """Read from the terminal until it has shown something so often."""
    shown = b""
    while shown.count(wanted) < count:
        shown += os.read(ours, 65_536)
    return shown


def test_watch_draws_again_and_leaves_no_trace(configuration: Path) -> None:
    """It draws on the terminal's other screen, line by line over what is there; Ctrl-C leaves it as it was."""
    with watching(configuration) as (process, ours, its):
        before = termios.tcgetattr(its)
        shown = read_until(ours, b"not running: nothing is read", 2)
        assert shown.index(INTO_OTHER_SCREEN) < shown.index(b"acme / zrh-1 / gw-1")
        assert b"\x1b[2J" not in shown.split(b"acme / zrh-1 / gw-1", 1)[1], "the screen is cleared: that flickers"
        os.write(ours, b"\x03")
        end = read_until(ours, OUT_OF_IT)
        assert process.wait(30) == 0
        assert CURSOR_SHOWN in end
        assert termios.tcgetattr(its) == before


def test_watch_that_is_ended_leaves_no_trace_either(configuration: Path) -> None:
    """SIGTERM is no reason to leave a terminal unusable."""
    with watching(configuration) as (process, ours, _):
        read_until(ours, b"acme / zrh-1 / gw-1")
        process.send_signal(signal.SIGTERM)
        assert CURSOR_SHOWN in read_until(ours, OUT_OF_IT)
        assert process.wait(30) == 0
