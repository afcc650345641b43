"""The other half's file as it is now: opened when it appears, and opened anew when another has taken its place."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.store.database import CorruptError, StoreError, open_writer
from gateway.store.reading import Reading, explained
from gateway.store.recovery import set_aside, suspect
from gateway.store.schema import CAPTURE
from tests.store.conftest import opened, tap


@dataclass(slots=True)
class Looking(Reading):
    """A reader that can be asked one thing."""

    schema = CAPTURE

    @explained
    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """Return what a statement selects."""
        connection = self.connection()
        return [] if connection is None else connection.execute(statement).fetchall()


COUNT = "SELECT count(*) FROM outbox"


def test_a_file_that_appears_is_opened_and_one_that_goes_is_let_go(tmp_path: Path) -> None:
    """No restart is needed, in whatever order the halves start."""
    with closing(Looking(tmp_path)) as reading:
        assert (reading.ask(COUNT), reading.version()) == ([], None)
        open_writer(tmp_path, CAPTURE).close()
        assert reading.ask(COUNT) == [(0,)]
        assert reading.version() is not None
        for path in tmp_path.glob("capture.db*"):
            path.unlink()
        assert (reading.ask(COUNT), reading.version()) == ([], None)


def test_a_file_in_another_ones_place_is_read(tmp_path: Path) -> None:
    """Its version differs, even if both have the same number of commits behind them."""
    with closing(Looking(tmp_path)) as reading:
        open_writer(tmp_path, CAPTURE).close()
        first = reading.version()
        assert reading.version() == first
        set_aside(tmp_path, "capture.db", 1)
        outbox = opened(tmp_path)
        with closing(outbox.connection), outbox.transaction():
            outbox.append([tap()])
        assert reading.version() != first
        assert reading.ask(COUNT) == [(1,)]


def test_a_commit_changes_the_version(tmp_path: Path) -> None:
    """Of another connection; that is what a reader looks at before it believes what it remembers."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(Looking(tmp_path)) as reading:
        before = reading.version()
        outbox.connection.execute("BEGIN IMMEDIATE")
        outbox.tally({"sightings": 1})
        assert reading.version() == before
        outbox.connection.execute("COMMIT")
        assert reading.version() != before


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    """Each file has one writer, and SQLite itself sees to it."""
    open_writer(tmp_path, CAPTURE).close()
    with closing(Looking(tmp_path)) as reading, pytest.raises(StoreError, match="readonly database"):
        reading.ask("DELETE FROM outbox")


@pytest.mark.parametrize("written", [b"not a database, " * 300, b"SQLite format 3\x00" + bytes(4_000)])
def test_a_damaged_file_is_marked_for_its_writer(tmp_path: Path, written: bytes) -> None:
    """Whoever reads it cannot mend it: it says so, leaves the mark and the file as it is."""
    (tmp_path / "capture.db").write_bytes(written)
    with closing(Looking(tmp_path)) as reading, pytest.raises(CorruptError):
        reading.ask(COUNT)
    assert suspect(tmp_path, "capture.db").exists()
    assert (tmp_path / "capture.db").read_bytes() == written


def test_other_trouble_is_said_without_a_mark(tmp_path: Path) -> None:
    """A question that the file cannot answer is no damage."""
    open_writer(tmp_path, CAPTURE).close()
    with closing(Looking(tmp_path)) as reading, pytest.raises(StoreError, match=r"cannot read .*capture\.db"):
        reading.ask("SELECT abs(-9223372036854775808)")
    assert not suspect(tmp_path, "capture.db").exists()


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    """And a reader that was closed opens again when it is asked."""
    open_writer(tmp_path, CAPTURE).close()
    reading = Looking(tmp_path)
    assert reading.ask(COUNT) == [(0,)]
    reading.close()
    reading.close()
    assert reading.ask(COUNT) == [(0,)]
    connection = reading.connection()
    reading.close()
    assert connection is not None
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute(COUNT)
