"""The wall clock jumps under the real capture half, by libfaketime: order, durations and consents hold."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.core.event import Event
from tests.e2e.centre import until
from tests.e2e.conftest import Store, broker, directory, store

__all__ = ["broker", "directory", "store"]

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
VITRINE = "https://id.acme.example/t/vitrine-1"
DAY = 86_400

pytestmark = pytest.mark.timeout(120)


def library() -> Path:
    """Find libfaketime; no test is passed over when there is none."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "these tests need libfaketime: apt-get install libfaketime (or: make test, which says so first)"
    return found[0]


class WallClock:
    """The wall clock of the processes that are started meanwhile; their boot-time clock stays the machine's."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Let it be so far ahead of the machine's."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.replace(self._file)


@pytest.fixture
def wall(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WallClock]:  # the fixture
    file = directory / "offset"
    clock = WallClock(file)
    for name, value in {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }.items():
        monkeypatch.setenv(name, value)
    yield clock
    assert "LD_PRELOAD" in os.environ


def waiting(store: Store) -> list[Event]:  # the fixture's value
    """Return the scans that wait."""
    texts = store.run("outbox", "export").stdout.splitlines()
    events = [Event.model_validate_json(text) for text in texts]
    return [event for event in events if event.kind == "scan"]


def test_order_holds_and_times_follow_the_wall_clock(store: Store, wall: WallClock) -> None:
    """A day forth, two back: each event says the time of then, and the sequence says what came first."""
    store.start("capture")
    for ahead in (0, DAY, -DAY):
        wall.jump(ahead)
        store.scan(VITRINE)
    first, second, third = waiting(store)
    times = [datetime.fromisoformat(event.time) for event in (first, second, third)]
    assert abs(times[1] - times[0] - timedelta(days=1)) < timedelta(minutes=1)
    assert abs(times[0] - times[2] - timedelta(days=1)) < timedelta(minutes=1)
    assert [int(event.sequence) for event in (first, second, third)] == [1, 2, 3]
    assert store.run("outbox", "verify").returncode == 0


def test_a_visit_lasts_as_long_as_it_lasts(store: Store, wall: WallClock) -> None:
    """Durations are of the boot-time clock: a jump of the wall clock neither ends a visit nor stretches it."""
    store.start("capture")
    assert store.run("consent", "grant", "--token-from-stdin", "--days", "30", given=f"{TOKEN}\n").returncode == 0
    store.scan(TOKEN)
    wall.jump(DAY)
    store.scan(VITRINE)
    wall.jump(-DAY // 24)
    store.scan(VITRINE)
    attributions = [getattr(event.data, "subject", None) for event in waiting(store)]
    assert [subject and subject.attribution for subject in attributions] == ["direct", "visit", "visit"]


def test_a_consent_ends_by_the_wall_clock(store: Store, wall: WallClock) -> None:
    """When the clock has passed its end nobody is named; and a clock that is set back does not unsay it."""
    store.start("capture")
    assert store.run("consent", "grant", "--token-from-stdin", "--days", "1", given=f"{TOKEN}\n").returncode == 0
    store.scan(TOKEN)
    wall.jump(2 * DAY)
    store.scan(TOKEN)
    named = [getattr(event.data, "subject", None) is not None for event in waiting(store)]
    assert named == [True, False]
    until(lambda: store.appended() >= 3, "all of it to be committed")
