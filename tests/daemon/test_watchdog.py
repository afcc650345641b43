"""What systemd hears of a half: READY, how it fares, and that it lives only while nothing is wrong with it."""

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.core.watchdog import STORE_S, ReaderSigns
from gateway.daemon.watchdog import Watchdog, watched

CONFIGURATION = """[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
port = 9
[clock]
source = "trusted"
[[reader]]
name = "counter-scanner"
kind = "scanner"
device = "./unplugged"
touchpoint = "counter"
"""


@dataclass
class Manager:
    """What systemd would hear."""

    listening: socket.socket

    def hear(self) -> list[str]:
        """Return the next message."""
        return self.listening.recv(4096).decode().split("\n")

    def hears_nothing(self) -> bool:
        """Tell whether no message waits."""
        self.listening.settimeout(0)
        try:
            self.hear()
        except BlockingIOError:
            return True
        finally:
            self.listening.settimeout(20)
        return False

    def hear_until(self, assignment: str) -> list[str]:
        """Return the first message with this assignment."""
        while assignment not in (message := self.hear()):
            pass
        return message


@pytest.fixture
def manager(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A manager that has set a watchdog of 0.2 s."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(directory / "notify"))
        listening.settimeout(20)
        yield Manager(listening)


@contextmanager
def half(name: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a half until the end of the context."""
    (directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    command = [sys.executable, "-m", "gateway", name, "--config", str(directory / "gateway.toml")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("name", "fares"),
    [("capture", "0 readers up, down: counter-scanner"), ("uplink", "broker: ")],
)
def test_a_half_is_ready_lives_and_stops(name: str, fares: str, directory: Path, manager: Manager) -> None:
    """Also while its reader is unplugged and its broker away: no restart cures that."""
    with half(name, directory) as process:
        ready = manager.hear()
        assert ready[0] == "READY=1"
        assert ready[1].startswith("STATUS=")
        for _ in range(5):
            manager.hear_until("WATCHDOG=1")
        assert manager.hear_until("WATCHDOG=1")[1].startswith(f"STATUS={fares}")
        process.send_signal(signal.SIGTERM)
        manager.hear_until("STOPPING=1")
        assert process.wait(20) == 0


def test_a_half_that_hangs_says_nothing(directory: Path, manager: Manager) -> None:
    """Whoever is stopped feeds no watchdog, and does so again when it goes on."""
    with half("capture", directory) as process:
        manager.hear_until("WATCHDOG=1")
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        while not manager.hears_nothing():
            pass
        assert manager.hears_nothing()
        process.send_signal(signal.SIGCONT)
        manager.hear_until("WATCHDOG=1")


async def _fine() -> None:
    """Take a write."""


def well() -> str:
    """Say how it fares."""
    return "well"


def test_what_hangs_is_not_fed(manager: Manager) -> None:
    """A reader's thread without a sign of life is named, and WATCHDOG=1 is missing."""
    hung = ReaderSigns("nfc", up=True, beat_at=-1e9)
    Watchdog(_fine, well, lambda: [hung]).say()
    (said,) = manager.hear()
    assert said.startswith("STATUS=reader nfc: its driver has not answered for")
    Watchdog(_fine, well).say()
    assert manager.hear() == ["WATCHDOG=1", "STATUS=well"]


@pytest.mark.parametrize(("code", "fed"), [(sqlite3.SQLITE_IOERR, False), (sqlite3.SQLITE_FULL, True)])
async def test_a_store_that_takes_no_write_is_a_reason_unless_the_disk_is_full(
    code: int,
    fed: bool,  # noqa: FBT001  # a parameter of the test
    manager: Manager,
) -> None:
    """A failing disk may come back with a new process; a full one has cures of its own."""

    async def refused() -> None:
        error = sqlite3.OperationalError("the disk")
        error.sqlite_errorcode = code
        raise error

    watchdog = Watchdog(refused, well)
    watchdog._store_at -= STORE_S + 1  # noqa: SLF001
    await watchdog.prove_once()
    watchdog.say()
    assert ("WATCHDOG=1" in manager.hear()) == fed


async def test_ready_waits_for_the_start(manager: Manager) -> None:
    """Nothing is said before the half has started."""
    started = asyncio.Event()
    async with watched(Watchdog(_fine, well), started):
        for _ in range(10):
            await asyncio.sleep(0)
        assert manager.hears_nothing()
        started.set()
        assert (await asyncio.to_thread(manager.hear))[0] == "READY=1"


async def test_without_systemd_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task, and no write that proves anything."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    async def must_not() -> None:
        raise AssertionError

    async with watched(Watchdog(must_not, well)):
        assert len(asyncio.all_tasks()) == 1
