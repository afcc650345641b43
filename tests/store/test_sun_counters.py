"""The counters of SUN tags: what a crash leaves of them, and of the events that they belong to."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.authenticity import Spent
from gateway.store.database import open_writer
from gateway.store.outbox import Outbox
from gateway.store.recovery import set_aside
from gateway.store.salvage import take_over
from gateway.store.schema import CAPTURE
from gateway.store.sun_counters import load, spend
from tests.store.conftest import opened, tap


def as_after_a_crash(directory: Path, name: str) -> tuple[int, dict[str, int]]:
    """Return how many events and which counters a process finds that starts on what lies there at this instant."""
    copy = directory / name
    copy.mkdir()
    for file in directory.glob("capture.db*"):
        shutil.copy(file, copy)
    with closing(open_writer(copy, CAPTURE)) as connection:
        (events,) = connection.execute("SELECT count(*) FROM outbox").fetchone()
        return events, load(connection)


def test_an_event_and_its_counter_are_there_together_or_not_at_all(tmp_path: Path) -> None:
    """Killed at any point of the commit: never a counter without its event, nor an event whose message counts again."""
    outbox = opened(tmp_path)
    with closing(outbox.connection):
        with outbox.transaction():
            outbox.append([tap()])
            assert as_after_a_crash(tmp_path, "1") == (0, {})
            spend(outbox.connection, Spent("a", 5))
            assert as_after_a_crash(tmp_path, "2") == (0, {})
        assert as_after_a_crash(tmp_path, "3") == (1, {"a": 5})


def test_what_fails_leaves_neither(outbox: Outbox) -> None:
    """An event that cannot be appended spends nothing."""
    spent = Spent("a", 5)

    def fail() -> None:
        with outbox.transaction():
            spend(outbox.connection, spent)
            outbox.connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(sqlite3.OperationalError):
        fail()
    assert load(outbox.connection) == {}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 0xFFFFFF)), max_size=20))
def test_a_counter_never_goes_back(spent: list[tuple[str, int]]) -> None:
    """In whatever order they are written: the highest of each tag stands."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE sun_counter (tag TEXT PRIMARY KEY, counter INTEGER NOT NULL) STRICT")
        for tag, counter in spent:
            spend(connection, Spent(tag, counter))
        assert load(connection) == {tag: max(c for t, c in spent if t == tag) for tag, _ in spent}


def test_a_damaged_file_gives_its_counters_to_the_next(tmp_path: Path) -> None:
    """Else every message that was ever read could be shown again."""
    outbox = opened(tmp_path)
    with outbox.transaction():
        spend(outbox.connection, Spent("a", 5))
    outbox.connection.close()
    kept = set_aside(tmp_path, CAPTURE.file, 7)
    with closing(open_writer(tmp_path, CAPTURE)) as connection:
        assert take_over(connection, kept)["sun_counter"] == 1
        assert load(connection) == {"a": 5}
