"""Syncs fail under the real capture half, by libfiu: what was not durable was never accepted, and it heals itself."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.centre import Subscriber, until
from tests.e2e.conftest import Store, broker, directory, store, subscriber

__all__ = ["broker", "directory", "store", "subscriber"]

VITRINE, GOOD = "https://id.acme.example/t/vitrine-1", "https://id.acme.example/f/good"
SYNCS = ("posix/io/sync/fdatasync", "posix/io/sync/fsync")
PRELOAD = "fiu_run_preload.so", "fiu_posix_preload.so"

pytestmark = pytest.mark.timeout(120)


def libraries() -> str:
    """Find libfiu's libraries; no test is passed over when there are none."""
    found = [Path("/usr/lib/fiu") / name for name in PRELOAD]
    assert all(path.exists() for path in found), "these tests need libfiu: apt-get install fiu-utils"
    return " ".join(map(str, found))


class Syncs:
    """The syncs of a process that was started with the libraries."""

    def __init__(self, pid: int, fifo: Path) -> None:
        self._pid, self._fifo = pid, fifo

    def fail(self) -> None:
        """Let each fail with EIO."""
        self._order("enable")

    def work(self) -> None:
        """Let them work again."""
        self._order("disable")

    def _order(self, what: str) -> None:
        orders = [part for name in SYNCS for part in ("-c", f"{what} name={name}")]
        subprocess.run(["fiu-ctrl", "-f", str(self._fifo), *orders, str(self._pid)], check=True, timeout=20)


@pytest.fixture
def syncs(store: Store, monkeypatch: pytest.MonkeyPatch) -> Syncs:  # the fixture
    """Start the capture half with the libraries."""
    fifo = store.directory / "fiu"
    monkeypatch.setenv("LD_PRELOAD", libraries())
    monkeypatch.setenv("FIU_CTRL_FIFO", str(fifo))
    (capture,) = store.start("capture")
    monkeypatch.delenv("LD_PRELOAD")
    monkeypatch.delenv("FIU_CTRL_FIFO")
    assert os.path.exists(f"/proc/{capture.pid}")  # noqa: PTH110  # proc(5)
    return Syncs(capture.pid, fifo)


def dropped(store: Store) -> int:  # the fixture's value
    """Return how many scans were not accepted because the store failed."""
    return int(store.ask("status")["counters"].get("dropped:store", 0))


def test_what_was_not_synced_was_never_accepted(
    store: Store,
    syncs: Syncs,
    subscriber: Subscriber,  # the fixtures
) -> None:
    """While syncs fail nothing is accepted and the reason shows; when they work again so does all else."""
    store.scan(VITRINE)
    syncs.fail()
    for _ in range(3):
        store.scanner.scan(GOOD)
    until(lambda: "an event was not accepted" in store.log, "the failure to be logged")
    until(lambda: store.run("status").returncode == 1, "the status to say so")
    assert "disk I/O error" in store.run("status").stdout + store.run("status").stderr
    assert store.processes[0].poll() is None, "a disk that fails is no reason to end"
    syncs.work()
    store.scan(VITRINE, VITRINE)
    assert dropped(store) >= 1
    store.start("uplink")
    until(lambda: len(subscriber.sequences()) >= store.appended(), "everything to arrive")
    verified = store.run("outbox", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    arrived = [event for event in subscriber.events() if event["type"] == "touchpoint.scan.v1"]
    assert len(arrived) == 3
    assert sorted(set(subscriber.sequences())) == list(range(1, store.appended() + 1))
