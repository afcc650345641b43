"""The protocol of sd_notify(3)."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.daemon.notify import ALIVE, READY, notify, status, watchdog_seconds


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A socket as systemd has it, named in the environment."""
    path = str(directory / "notify")
    named, bound = (path, path) if request.param == "path" else (f"@{path}", f"\0{path}")
    monkeypatch.setenv("NOTIFY_SOCKET", named)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(bound)
        listening.settimeout(10)
        yield listening


def test_a_message_is_one_datagram_of_assignments(manager: socket.socket) -> None:
    """An assignment a line, whether the socket has a path or is abstract."""
    notify(READY, status("2 readers up"))
    assert manager.recv(4096) == b"READY=1\nSTATUS=2 readers up"
    notify(ALIVE)
    assert manager.recv(4096) == b"WATCHDOG=1"


def test_nobody_there_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without systemd, or with a socket that is gone, nothing is sent and nothing raised."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify(READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify(READY)


def test_a_manager_that_does_not_listen_holds_nobody_up(manager: socket.socket) -> None:
    """What finds no room in its queue is not sent."""
    del manager
    for _ in range(10_000):
        notify(ALIVE)


@given(st.text())
def test_a_status_is_one_line(text: str) -> None:
    """Whatever it holds, it makes no other assignment."""
    assert len(status(text).splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_meant_for_this_process_or_for_nobody(
    environment: dict[str, str], seconds: float | None
) -> None:
    """A number for another process, or none at all, sets no watchdog."""
    assert watchdog_seconds(environment, os.getpid()) == seconds
