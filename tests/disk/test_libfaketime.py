"""The wall clock jumps under the real capture half, by libfaketime: order, durations and consents hold.

The boot-time clock stays the machine's. Whether the kernel's clock is synced (adjtimex(2)) libfaketime cannot say; a
library of our own answers that in the kernel's place, where a test needs it.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.disk.conftest import publish, verified
from tests.e2e.centre import Subscriber, until
from tests.e2e.conftest import Store, broker, directory, store, subscriber
from tests.simulators.frames import altbeacon

__all__ = ["broker", "directory", "store", "subscriber"]

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
VITRINE = "https://id.acme.example/t/vitrine-1"
DAY = 86_400
DAY_MS = DAY * 1000
SLACK_MS = 60_000
"""A busy machine may take so long between two jumps."""
BEACON = bytes(range(20))
BEACON_READER = """kind = "simulated"
plays = "ble"
zone = "salon"
window = 0
hold_enter = 0
lost_after = 5
silence = 2"""
BEACON_BEARER = """[[bearer]]
kind = "altbeacon"
prefix = "00010203"

[[bearer]]"""
KERNEL = r"""
/* The kernel's word on its clock: synced while the file CLOCK_SYNCED exists. timesyncd has never run. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

int adjtimex(struct timex *asked) {
    if (asked->modes) { errno = EPERM; return -1; }
    memset(asked, 0, sizeof *asked);
    asked->status = access(getenv("CLOCK_SYNCED"), F_OK) ? STA_UNSYNC : 0;
    return asked->status ? TIME_ERROR : TIME_OK;
}

static int look(const char *name, const char *path, void *found) {
    int (*real)(const char *, void *) = (int (*)(const char *, void *))dlsym(RTLD_NEXT, name);
    if (strcmp(path, "/run/systemd/timesync/synchronized")) return real(path, found);
    errno = ENOENT;
    return -1;
}

int stat(const char *path, struct stat *found) { return look("stat", path, found); }
int stat64(const char *path, struct stat64 *found) { return look("stat64", path, found); }
"""

pytestmark = pytest.mark.timeout(120)


def libfaketime() -> Path:
    """Find libfaketime; no test is passed over when there is none."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "these tests need libfaketime: apt-get install libfaketime (or: make test, which says so first)"
    return found[0]


def kernel(directory: Path) -> Path:
    """Compile what stands for the kernel."""
    compiler = shutil.which("cc")
    assert compiler, "the kernel's word is faked by a C library: apt-get install gcc libc6-dev"
    library = directory / "kernel.so"
    words = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(words, input=KERNEL.encode(), check=True)
    return library


@dataclass
class WallClock:
    """The wall clock of the capture half that is started here, and what it is told of how far to trust it."""

    store: Store
    ahead_s: int = 0
    libraries: list[Path] = field(default_factory=lambda: [libfaketime()])
    pids: list[int] = field(default_factory=list)

    @property
    def offset(self) -> Path:
        """The file from which libfaketime reads at each look at the clock."""
        return self.store.directory / "offset"

    @property
    def synced(self) -> Path:
        """The file that says that the kernel's clock is synced."""
        return self.store.directory / "synced"

    def ask_the_system(self) -> None:
        """Have the half ask the kernel, which is faked from now on; the clock is unsynced."""
        self.libraries.insert(0, kernel(self.store.directory))
        self.configure('source = "trusted"', 'source = "system"')

    def configure(self, old: str, new: str) -> None:
        """Change the configuration."""
        file = self.store.directory / "gateway.toml"
        file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    def start(self) -> None:
        """Start the capture half."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LD_PRELOAD", " ".join(map(str, self.libraries)))
            environment.setenv("FAKETIME_TIMESTAMP_FILE", str(self.offset))
            environment.setenv("FAKETIME_NO_CACHE", "1")
            environment.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            environment.setenv("NO_FAKE_STAT", "1")
            environment.setenv("CLOCK_SYNCED", str(self.synced))
            (capture,) = self.store.start("capture")
        self.pids.append(capture.pid)

    def jump(self, ahead_s: int) -> None:
        """Let it be so many seconds ahead of the machine's."""
        self.ahead_s = ahead_s
        new = self.offset.with_suffix(".new")
        new.write_text(f"{ahead_s:+d}\n", encoding="ascii")
        new.replace(self.offset)

    def boot_in_1970(self) -> None:
        """Let it be what a machine without a real-time clock boots with: a few minutes into 1970."""
        self.jump(100 - time.time_ns() // 1_000_000_000)

    def now_ms(self) -> int:
        """Return what it says, in Unix milliseconds."""
        return time.time_ns() // 1_000_000 + self.ahead_s * 1000

    def tidy(self) -> None:
        """Remove what libfaketime leaves of a process that was killed."""
        for pid in self.pids:
            for left in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                (Path("/dev/shm") / left).unlink(missing_ok=True)  # noqa: S108  # shm_overview(7)


@pytest.fixture
def wall(store: Store) -> Iterator[WallClock]:
    """A wall clock that is right; nothing runs yet."""
    clock = WallClock(store)
    clock.jump(0)
    yield clock
    store.stop()
    clock.tidy()


@dataclass(frozen=True)
class Row:
    """An event that waits, and when the half took it in."""

    sequence: int
    boot_ns: int
    wall_ms: int
    quality: str
    event: dict[str, Any]

    @property
    def time_ms(self) -> int:
        """The time of the event, Unix milliseconds."""
        return round(datetime.fromisoformat(self.event["time"]).timestamp() * 1000)

    @property
    def attribution(self) -> str | None:
        """How the subject is attributed; None when nobody is named."""
        subject = self.event["data"]["subject"]
        return subject and str(subject["attribution"])


def rows(store: Store, kind: str = "scan") -> list[Row]:
    """Return the events of a type that wait, as an outsider sees them."""
    query = "SELECT sequence, boot_ns, wall_ms, quality, event FROM outbox ORDER BY sequence"
    with closing(sqlite3.connect(f"{(store.state / 'capture.db').as_uri()}?mode=ro", uri=True)) as outside:
        found = [
            Row(sequence, boot_ns, wall_ms, quality, json.loads(event))
            for sequence, boot_ns, wall_ms, quality, event in outside.execute(query)
        ]
    return [row for row in found if row.event["type"] == f"touchpoint.{kind}.v1"]


def grant(store: Store, token: str = TOKEN, *, days: int = 30) -> subprocess.CompletedProcess[str]:
    """Record a consent at the counter."""
    return store.run("consent", "grant", "--token-from-stdin", "--days", str(days), given=f"{token}\n")


def test_order_holds_and_times_follow_the_wall_clock(store: Store, wall: WallClock) -> None:
    """A day forth, two back, amid scans: each says the time of then, the sequence what came first; none is lost."""
    wall.start()
    began_ms, jumps = wall.now_ms(), (0, DAY, -DAY, 0)
    for ahead in jumps:
        wall.jump(ahead)
        store.scan(*[VITRINE] * 3)
    for ahead in (DAY, -DAY):
        for _ in range(10):
            store.scanner.scan(VITRINE)
        wall.jump(ahead)  # while these are on their way
    until(lambda: store.appended() == 32, "all of it to be committed")
    found = rows(store)
    assert [row.sequence for row in found] == list(range(1, 33))
    assert [row.boot_ns for row in found] == sorted(row.boot_ns for row in found)
    for row, ahead in zip(found, (each for each in jumps for _ in range(3)), strict=False):
        assert began_ms <= row.wall_ms - ahead * 1000 <= began_ms + SLACK_MS
    assert [row.time_ms for row in found] == [row.wall_ms for row in found]
    assert "Traceback" not in store.log
    store.stop()
    assert verified(store.state).numbers["waiting"] == 32


def test_a_visit_lasts_as_long_as_it_lasts(store: Store, wall: WallClock) -> None:
    """Durations are of the boot-time clock: a jump of the wall clock neither ends a visit nor stretches it."""
    wall.configure("debounce = 0", "debounce = 0\nseconds = 3")
    wall.start()
    assert grant(store).returncode == 0
    store.scan(TOKEN)
    for ahead in cycle((DAY, -DAY, 0)):
        wall.jump(ahead)
        store.scan(VITRINE)
        if rows(store)[-1].attribution is None:
            break
        time.sleep(0.05)
    token, *others = rows(store)
    assert token.attribution == "direct"
    assert len({row.wall_ms // DAY_MS for row in others}) > 1, "the jumps were not seen"
    for row in others:
        assert (row.attribution == "visit") == (row.boot_ns - token.boot_ns < 3_000_000_000)


def beacon(store: Store) -> None:
    """Let the beacon be heard, from near."""
    manufacturer = {"0118": altbeacon(BEACON, -59).hex()}
    heard = {"address": "C4:00:00:00:00:07", "rssi": -60, "manufacturer": manufacturer}
    line = {"at": 0, "reader": "counter-scanner", "ble": heard}
    with (store.directory / "beacons").open("w", encoding="utf-8") as pipe:
        pipe.write(json.dumps(line) + "\n")


def test_a_stay_lasts_as_long_as_it_lasts(store: Store, wall: WallClock) -> None:
    """A beacon that stays through the jumps comes once and leaves once, and its dwell is what the boot clock says."""
    os.mkfifo(store.directory / "beacons")
    wall.configure('kind = "scanner"', BEACON_READER)
    wall.configure(str(store.scanner.path), "./beacons")
    wall.configure("[[bearer]]", BEACON_BEARER)
    wall.start()
    assert grant(store, f"altbeacon:{BEACON.hex()}").returncode == 0
    began = time.monotonic()
    for ahead in (0, DAY, -DAY, 0):
        wall.jump(ahead)
        for _ in range(5):
            beacon(store)
            time.sleep(0.1)
    heard_s = time.monotonic() - began
    until(lambda: rows(store, "disappeared"), "the beacon to be lost")
    lasted_s = time.monotonic() - began
    (appeared,), (disappeared,) = rows(store, "appeared"), rows(store, "disappeared")
    assert appeared.sequence < disappeared.sequence
    assert heard_s - 1 <= disappeared.event["data"]["dwell"] <= lasted_s + 1


def test_a_consent_ends_by_the_wall_clock(store: Store, wall: WallClock) -> None:
    """When the clock has passed its end nobody is named; what a clock says that was wrong holds no longer than it."""
    wall.start()
    assert grant(store, days=1).returncode == 0
    for ahead in (0, DAY - 3600, DAY + 3600, 0):
        wall.jump(ahead)
        store.scan(TOKEN)
    assert [row.attribution for row in rows(store)] == ["direct", "direct", None, "direct"]


def test_while_the_clock_is_not_synced_nobody_is_named_and_no_consent_is_taken(store: Store, wall: WallClock) -> None:
    """Events are accepted all the same, stamped `unsynced`, whatever day the clock jumps to; the status says so."""
    wall.ask_the_system()
    wall.synced.touch()
    wall.start()
    assert grant(store).returncode == 0
    store.scan(TOKEN)
    store.stop()
    wall.synced.unlink()
    wall.start()
    for ahead in (0, DAY, -DAY):
        wall.jump(ahead)
        store.scan(TOKEN, VITRINE)
    named, *others = rows(store)
    assert (named.attribution, named.quality) == ("direct", "synced")
    assert [(row.attribution, row.quality, row.event["data"]["clock"]) for row in others] == [
        (None, "unsynced", "unsynced")
    ] * 6
    refused = grant(store)
    assert refused.returncode == 1
    assert "the clock is not synced" in refused.stderr
    assert "the clock is not synced: no subject is named until it is" in store.ask("status")["problems"]
    store.stop()
    assert verified(store.state).numbers["appended"] == 8


def test_a_boot_in_1970_is_put_right_by_the_sync_as_far_as_nothing_was_published(
    store: Store, wall: WallClock, subscriber: Subscriber
) -> None:
    """The half that runs on notices; what was sent stays as it was, what waited arrives with its true time."""
    wall.ask_the_system()
    wall.boot_in_1970()
    wall.start()
    store.scan(VITRINE)
    (uplink,) = store.start("uplink")
    until(lambda: len(subscriber.sequences()) == 1, "the first event to arrive")
    until(lambda: not rows(store), "the first event to be trimmed")
    uplink.terminate()
    uplink.wait(10)
    store.processes.remove(uplink)
    before_ms = wall.now_ms() - wall.ahead_s * 1000
    store.scan(*[VITRINE] * 3)
    after_ms = wall.now_ms() - wall.ahead_s * 1000
    assert all(row.event["time"].startswith("1970-01-01T00:") for row in rows(store))
    wall.jump(0)
    wall.synced.touch()
    until(lambda: all(row.quality == "synced" for row in rows(store)), "the times to be corrected")
    store.scan(VITRINE)
    store.start("uplink")
    until(lambda: len(subscriber.sequences()) == 5, "all of it to arrive")
    first, *others = subscriber.events()
    assert (first["time"][:14], first["data"]["clock"]) == ("1970-01-01T00:", "unsynced")
    assert [event["data"]["clock"] for event in others] == ["synced"] * 4
    assert subscriber.sequences() == [1, 2, 3, 4, 5]
    for event in others[:3]:
        true_ms = datetime.fromisoformat(event["time"]).timestamp() * 1000
        assert before_ms - 100 <= true_ms <= after_ms + 100


def test_a_half_that_starts_after_the_sync_puts_right_what_the_last_one_left(store: Store, wall: WallClock) -> None:
    """The same boot, another process: at once, and only what was never published."""
    wall.ask_the_system()
    wall.boot_in_1970()
    wall.start()
    store.scan(VITRINE, VITRINE)
    store.stop()
    publish(store.state, 1)
    assert [row.quality for row in rows(store)] == ["unsynced"] * 2
    wall.jump(0)
    wall.synced.touch()
    wall.start()
    until(lambda: [row.quality for row in rows(store)] == ["unsynced", "synced"], "the time to be corrected")
    first, second = rows(store)
    assert (first.event["time"][:4], first.event["data"]["clock"]) == ("1970", "unsynced")
    assert second.time_ms == second.wall_ms
    assert 0 <= wall.now_ms() - second.wall_ms <= SLACK_MS
    store.stop()
    assert verified(store.state).numbers["waiting"] == 2
