"""What the uplink records, and what capture sees of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.database import StoreError, open_writer
from gateway.store.progress import (
    Component,
    Followed,
    Progress,
    components,
    progress,
    record,
    recorded,
    refuse,
    report,
)
from gateway.store.schema import UPLINK


@pytest.fixture
def uplink(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The uplink's file, as the uplink writes it."""
    with closing(open_writer(tmp_path, UPLINK)) as connection:
        yield connection


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    """The same file, as capture sees it."""
    with closing(Followed(tmp_path)) as reading:
        yield reading


def test_before_the_uplink_ever_ran_there_is_nothing(followed: Followed) -> None:
    """Capture may be alone: nothing was published, delivered or refused."""
    assert (followed.progress("s"), followed.refused("s"), followed.previous()) == (Progress(0, 0), {}, None)
    assert not followed.changed()


def test_progress_is_kept_by_session(uplink: sqlite3.Connection, followed: Followed) -> None:
    """The one of another session says nothing of this one."""
    record(uplink, "first", Progress(9, 7))
    record(uplink, "second", Progress(3, 1))
    record(uplink, "second", Progress(5, 5))
    assert (progress(uplink, "first"), followed.progress("first")) == (Progress(9, 7), Progress(9, 7))
    assert followed.progress("second") == Progress(5, 5)
    assert (progress(uplink, "third"), followed.progress("third")) == (Progress(0, 0), Progress(0, 0))
    assert (recorded(uplink, "second"), recorded(uplink, "third")) == (True, False)


def test_the_previous_session_is_the_one_that_was_sent_from_last(
    uplink: sqlite3.Connection, followed: Followed
) -> None:
    """By when, not by name; with the last sequence known of it."""
    record(uplink, "b", Progress(9, 7))
    record(uplink, "a", Progress(3, 1))
    assert followed.previous() == ("a", 3)
    record(uplink, "b", Progress(12, 7))
    assert followed.previous() == ("b", 12)


def test_a_refusal_stands_until_it_is_behind_what_was_delivered(uplink: sqlite3.Connection, followed: Followed) -> None:
    """Capture may have been away; once the gap in its place is delivered, nobody needs it. The first reason stays."""
    refuse(uplink, "s", [3, 5], "withdrawn")
    refuse(uplink, "s", [5], "too-large")
    assert followed.refused("s") == {3: "withdrawn", 5: "withdrawn"}
    assert followed.refused("other") == {}
    record(uplink, "s", Progress(5, 4))
    assert followed.refused("s") == {5: "withdrawn"}
    record(uplink, "next", Progress(0, 0))
    assert followed.refused("s") == {}


def test_a_change_is_noticed_once(uplink: sqlite3.Connection, followed: Followed) -> None:
    """Each commit of the uplink, also one made before capture looked; and nothing in between."""
    assert [followed.changed(), followed.changed()] == [True, False]
    record(uplink, "s", Progress(1, 0))
    assert [followed.changed(), followed.changed()] == [True, False]


def test_another_file_is_a_change(tmp_path: Path, uplink: sqlite3.Connection, followed: Followed) -> None:
    """One that was set aside is not read any more, even if the new one has committed as often."""
    record(uplink, "s", Progress(9, 9))
    assert followed.changed()
    assert followed.progress("s") == Progress(9, 9)
    for path in tmp_path.glob("uplink.db*"):
        path.rename(path.with_name(f"{path.name}.damaged-1"))
    assert not followed.changed()
    assert followed.progress("s") == Progress(0, 0)
    with closing(open_writer(tmp_path, UPLINK)) as new:
        record(new, "s", Progress(2, 1))
        assert followed.changed()
        assert followed.progress("s") == Progress(2, 1)


def test_how_a_component_fares_is_written_when_it_changes(uplink: sqlite3.Connection, followed: Followed) -> None:
    """`since` is when it began to fare so, and a report of the same is no write."""
    down, up = Component(ok=False, reason="refused", since_ms=1_000), Component(ok=True, reason=None, since_ms=3_000)
    report(uplink, "broker", down)
    followed.changed()
    report(uplink, "broker", Component(ok=False, reason="refused", since_ms=2_000))
    assert components(uplink) == {"broker": down}
    assert not followed.changed()
    report(uplink, "broker", up)
    assert components(uplink) == {"broker": up}


def test_a_file_that_cannot_be_written_is_said_but_a_report_goes_on(uplink: sqlite3.Connection) -> None:
    """A reader's connection stands for a disk that is full or read-only."""
    uplink.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match=r"cannot use .*uplink\.db"):
        record(uplink, "s", Progress(1, 1))
    with pytest.raises(StoreError):
        refuse(uplink, "s", [1], "withdrawn")
    report(uplink, "broker", Component(ok=True, reason=None, since_ms=0))
    assert progress(uplink, "s") == Progress(0, 0)
    assert components(uplink) == {}


def test_another_boot_believes_what_was_reserved(uplink: sqlite3.Connection) -> None:
    """A power cut may take back how far was published; no more than what was reserved before it was."""
    record(uplink, "s", Progress(published=7, delivered=3, reserved=500, boot="this"), durable=False)
    known = progress(uplink, "s")
    assert (known.fixed("this"), known.fixed("another")) == (7, 500)


def test_what_is_recorded_without_a_sync_is_seen_at_once(uplink: sqlite3.Connection, followed: Followed) -> None:
    """The other half reads it; and the next record is durable again."""
    record(uplink, "s", Progress(published=7, delivered=3), durable=False)
    assert followed.progress("s").published == 7
    assert uplink.execute("PRAGMA synchronous").fetchone() == (2,)
