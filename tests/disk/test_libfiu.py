"""Syncs and writes fail under the real capture half, by libfiu: what was not durable was never accepted; it heals."""

import asyncio
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.control import ask
from tests.disk.conftest import verified
from tests.e2e.centre import Subscriber, until
from tests.e2e.conftest import Store, broker, directory, store, subscriber

__all__ = ["broker", "directory", "store", "subscriber"]

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
VITRINE, GOOD = "https://id.acme.example/t/vitrine-1", "https://id.acme.example/f/good"
SYNCS = ("posix/io/sync/fdatasync", "posix/io/sync/fsync")
WRITES = ("posix/io/rw/pwrite",)
EIO = 5
"""What a failing card answers; libfiu would else take any errno, also that of a full disk, which is another story."""
PRELOAD = "fiu_run_preload.so", "fiu_posix_preload.so"
NOT_ACCEPTED = "store: disk I/O error: events are not accepted"

pytestmark = pytest.mark.timeout(120)


def libraries() -> str:
    """Find libfiu's libraries; no test is passed over when there are none."""
    found = [Path("/usr/lib/fiu") / name for name in PRELOAD]
    assert all(path.exists() for path in found), "these tests need libfiu: apt-get install fiu-utils"
    return " ".join(map(str, found))


@dataclass
class Disk:
    """The disk under the capture half of a store, which is started here as `fiu-run -x` starts a program."""

    store: Store
    pid: int = 0
    failing: tuple[str, ...] = ()

    @property
    def _pipes(self) -> Path:
        return self.store.directory / "fiu"

    def start(self) -> None:
        """Start the capture half on a disk that works."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LD_PRELOAD", libraries())
            environment.setenv("FIU_CTRL_FIFO", str(self._pipes))
            (capture,) = self.store.start("capture")
        self.pid, self.failing = capture.pid, ()

    def start_failing(self, *calls: str) -> subprocess.CompletedProcess[str]:
        """Start the capture half on a disk on which these calls fail, and wait for its end."""
        orders = "\n".join(f"enable name={call},failinfo={EIO}" for call in calls)
        return subprocess.run(
            self.store.command("capture"),
            env={**os.environ, "LD_PRELOAD": libraries(), "FIU_ENABLE": orders},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )

    def kill(self) -> None:
        """End the half as a power cut does, but for what the kernel has taken over."""
        (half,) = self.store.processes
        half.kill()
        half.wait()
        self.store.processes.clear()
        for pipe in self.store.directory.glob("fiu-*"):
            pipe.unlink()

    def fail(self, *calls: str) -> None:
        """Let each of these calls fail."""
        self._order(*(f"enable name={call},failinfo={EIO}" for call in calls))
        self.failing = calls

    def fail_at_times(self, probabilities: Mapping[str, float]) -> None:
        """Let each of these calls fail by its probability."""
        self._order(*(f"enable_random name={call},failinfo={EIO},probability={p}" for call, p in probabilities.items()))
        self.failing = tuple(probabilities)

    def work(self) -> None:
        """Let every call work again."""
        self._order(*(f"disable name={call}" for call in self.failing))
        self.failing = ()

    def _order(self, *orders: str) -> None:
        words = [word for order in orders for word in ("-c", order)]
        answer = subprocess.run(
            ["fiu-ctrl", "-f", str(self._pipes), *words, str(self.pid)],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        assert answer.stdout + answer.stderr == ""  # it says there what libfiu has not understood, and exits with 0


@pytest.fixture
def disk(store: Store) -> Disk:
    """The disk of a capture half that runs."""
    made = Disk(store)
    made.start()
    return made


def counted(store: Store) -> dict[str, int]:
    """Return what the running half has counted since its start."""
    counts: dict[str, int] = asyncio.run(ask(store.state, {"ask": "status"}))["counts"]
    return counts


def settled(store: Store, sightings: int) -> bool:
    """Tell whether so many scans were decided on, and what the half says it accepted is what an outsider sees."""
    counts = counted(store)
    return counts.get("sightings", 0) == sightings and counts.get("acted_on", 0) == store.appended()


def problems(store: Store) -> list[str]:
    """Return what `touchpoint status` finds wrong with the capture half."""
    said: list[str] = store.ask("status")["problems"]
    return [each for each in said if not each.startswith("the uplink half")]


def grant(store: Store) -> subprocess.CompletedProcess[str]:
    """Record a consent at the counter."""
    return store.run("consent", "grant", "--token-from-stdin", given=f"{TOKEN}\n")


def consents(store: Store) -> list[dict[str, Any]]:
    """Return the consents that are recorded."""
    shown: list[dict[str, Any]] = store.ask("consent", "show", "--token-from-stdin", given=f"{TOKEN}\n")
    return shown


def waiting(store: Store) -> list[str]:
    """Return the texts of the events that wait."""
    return store.run("outbox", "export").stdout.splitlines()


def never_restarted(store: Store) -> bool:
    """Tell whether the half that was started is the one that runs, and nothing happened that nobody foresaw."""
    return (
        [process.poll() for process in store.processes] == [None]
        and store.log.count("capture: session") == 1
        and "Traceback" not in store.log
    )


def test_what_was_not_synced_was_never_accepted(store: Store, disk: Disk, subscriber: Subscriber) -> None:
    """While syncs fail nothing is accepted and the reason shows; when they work again so does all else."""
    store.scan(VITRINE)
    disk.fail(*SYNCS)
    for _ in range(3):
        store.scanner.scan(GOOD)
    until(lambda: counted(store).get("dropped:store") == 3, "three scans to be refused")
    assert store.run("status").returncode == 1
    assert problems(store) == [NOT_ACCEPTED]
    assert (store.appended(), never_restarted(store)) == (1, True)
    disk.work()
    store.scan(VITRINE, VITRINE)
    assert (problems(store), never_restarted(store)) == ([], True)
    assert store.ask("status")["counters"]["dropped:store"] == 3
    store.start("uplink")
    until(lambda: len(subscriber.sequences()) >= 3, "everything to arrive")
    assert [event["type"] for event in subscriber.events()] == ["touchpoint.scan.v1"] * 3
    assert subscriber.sequences() == [1, 2, 3]
    store.stop()
    assert verified(store.state).numbers["appended"] == 3


def test_syncs_and_writes_that_fail_at_times_cost_those_scans_and_no_other(store: Store, disk: Disk) -> None:
    """After each scan, what the half has counted as accepted is in the file for others to see; the rest is `store`."""
    store.scan(VITRINE)
    disk.fail_at_times({"posix/io/sync/fdatasync": 0.3, "posix/io/rw/pwrite": 0.05})
    number, counts = 1, counted(store)
    while min(counts["acted_on"], counts.get("dropped:store", 0)) < 8:
        store.scanner.scan(GOOD)
        number += 1
        assert number < 200, "a disk that fails at times lets some through and some not"
        until(partial(settled, store, number), "the scan to be decided on")
        counts = counted(store)
        assert counts["acted_on"] + counts.get("dropped:store", 0) == number
    assert never_restarted(store)
    disk.work()
    store.scan(VITRINE)
    assert (problems(store), never_restarted(store)) == ([], True)
    counts = counted(store)
    store.stop()
    numbers = verified(store.state).numbers
    assert numbers["appended"] == numbers["waiting"] == counts["acted_on"]
    assert store.ask("status")["counters"] == {**counts, "appended": counts["acted_on"]}


@pytest.mark.parametrize("calls", [SYNCS, WRITES], ids=["syncs", "writes"])
def test_a_consent_that_was_not_durable_is_not_acknowledged(store: Store, disk: Disk, calls: tuple[str, ...]) -> None:
    """The command at the counter fails and says why; nothing is recorded, then or later, until it is asked again."""
    disk.fail(*calls)
    refused = grant(store)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "disk I/O error" in refused.stderr
    store.scanner.scan(TOKEN)
    until(lambda: counted(store).get("dropped:store") == 1, "the scan to be refused")
    assert problems(store) == [NOT_ACCEPTED]
    assert (consents(store), store.appended()) == ([], 0)
    disk.work()
    store.scan(TOKEN)
    assert (problems(store), consents(store)) == ([], [])
    assert grant(store).returncode == 0
    store.scan(TOKEN)
    assert never_restarted(store)
    store.stop()
    assert ['"pseudonym":"tp1.' in line for line in waiting(store)] == [False, False, True]
    assert verified(store.state).numbers["appended"] == 3


def test_a_half_killed_while_syncs_fail_has_all_that_it_accepted(store: Store, disk: Disk) -> None:
    """And nothing else: what it refused stays refused, though SQLite writes a commit whole before a sync that fails."""
    store.scan(*[VITRINE] * 5)
    disk.fail(*SYNCS)
    store.scanner.scan(GOOD)
    until(lambda: "an event was not accepted" in store.log, "the scan to be refused")
    disk.kill()  # at once: anything that is written takes the place of what was refused
    assert verified(store.state).numbers["appended"] == 5
    disk.start()
    store.scan(VITRINE)
    store.stop()
    numbers = verified(store.state).numbers
    assert numbers["waiting"] == numbers["appended"] == 6
    assert ['"touchpoint.scan.v1"' in line for line in waiting(store)[:5]] == [True] * 5


@pytest.mark.parametrize("calls", [SYNCS, WRITES], ids=["syncs", "writes"])
def test_a_half_that_starts_on_a_failing_disk_says_so_and_touches_nothing(
    store: Store, disk: Disk, calls: tuple[str, ...]
) -> None:
    """It ends, for systemd to start it again; no file is set aside, and what waits is there when the disk works."""
    store.scan(VITRINE, GOOD)
    disk.kill()
    for _ in range(2):
        ended = disk.start_failing(*calls)
        assert ended.returncode == 1
        assert "disk I/O error" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert not list(store.state.glob("*.damaged-*"))
    assert verified(store.state).numbers["waiting"] == 2
    disk.start()
    store.scan(VITRINE)
    store.stop()
    assert verified(store.state).numbers["waiting"] == 3
