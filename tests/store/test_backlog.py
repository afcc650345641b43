"""The outbox as the uplink reads it: in order, by count and by size, and the same however much waits."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.store.backlog import Backlog
from gateway.store.outbox import Outbox
from tests.store.conftest import opened, tap

ANNA = "h1.anna"
ALL = 1 << 30


@pytest.fixture
def backlog(outbox: Outbox, tmp_path: Path) -> Backlog:
    """Ten events, the third and fourth of them Anna's."""
    with outbox.transaction():
        outbox.append([tap(ANNA if number in {3, 4} else None) for number in range(1, 11)])
    return Backlog(tmp_path)


def sequences(backlog: Backlog, after: int = 0, limit: int = 100, octets: int = ALL) -> list[int]:
    return [row.sequence for row in backlog.rows(after, limit, octets)]


def test_without_a_file_nothing_waits(tmp_path: Path) -> None:
    """The uplink may start first: every question has an answer."""
    with closing(Backlog(tmp_path)) as backlog:
        assert (backlog.session(), backlog.rows(0, 10, ALL)) == (None, [])
        assert (backlog.last(), backlog.tallies(), backlog.waiting()) == (0, {}, 0)


def test_rows_come_in_order_after_a_sequence(backlog: Backlog) -> None:
    """So many at most, with the text exactly as it is sent, and under what consent is looked up again."""
    with closing(backlog):
        assert sequences(backlog) == list(range(1, 11))
        assert sequences(backlog, after=7) == [8, 9, 10]
        assert sequences(backlog, limit=3) == [1, 2, 3]
        assert sequences(backlog, after=10) == []
        row = backlog.rows(2, 1, ALL)[0]
        assert (row.sequence, row.through, row.handle, row.purpose) == (3, 3, ANNA, "personalisation")
        assert json.loads(row.event)["sequence"] == f"{3:020}"
        assert ANNA not in repr(row)
        assert row.event not in repr(row)


def test_rows_fit_into_a_message(backlog: Backlog) -> None:
    """Counted as they are joined into a JSON array; one that is larger than that goes alone."""
    with closing(backlog):
        texts = [row.event for row in backlog.rows(0, 3, ALL)]
        three = len(f"[{','.join(texts)}]".encode())
        assert sequences(backlog, octets=three + 1) == [1, 2, 3]
        assert sequences(backlog, octets=three - 1) == [1, 2]
        assert sequences(backlog, octets=1) == [1]


def test_size_is_counted_in_octets_and_not_in_characters(outbox: Outbox, tmp_path: Path) -> None:
    """A name with accents takes more room on the wire than it has letters."""
    accents = replace(tap(), data=tap().data.replace("vitrine-1", "é" * 50))
    with outbox.transaction():
        outbox.append([accents, accents])
    with closing(Backlog(tmp_path)) as backlog:
        characters = sum(len(row.event) for row in backlog.rows(0, 2, ALL))
        assert sequences(backlog, octets=characters + 99) == [1]
        assert sequences(backlog, octets=characters + 104) == [1, 2]


def test_what_waits_is_counted_without_gaps(backlog: Backlog, outbox: Outbox) -> None:
    """A gap stands for an event that is gone."""
    with closing(backlog), outbox.transaction():
        assert backlog.waiting() == 10
        outbox.withdraw([ANNA])
        outbox.trim(1)
    with closing(backlog):
        assert backlog.waiting() == 7
        assert backlog.tallies() == {"appended": 10, "delivered": 1, "withdrawn": 2}


def test_beyond_what_is_worth_counting_the_numbers_are_taken(
    backlog: Backlog, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog of millions is known from its tallies, and both ways agree."""
    with outbox.transaction():
        outbox.withdraw([ANNA])
        outbox.trim(1)
    with closing(backlog):
        counted = backlog.waiting()
        monkeypatch.setattr("gateway.store.backlog.COUNTED", 5)
        assert backlog.waiting() == counted == 7


def test_the_last_sequence_outlives_the_rows(backlog: Backlog, outbox: Outbox) -> None:
    """Delivered and trimmed, the number is still known."""
    with closing(backlog):
        assert backlog.last() == 10
        with outbox.transaction():
            outbox.trim(10)
        assert (sequences(backlog), backlog.last(), backlog.waiting()) == ([], 10, 0)


def test_a_folded_gap_says_how_far_it_reaches(outbox: Outbox, tmp_path: Path) -> None:
    """Whoever has sent it goes on behind the last sequence that it stands for."""
    with outbox.transaction():
        outbox.append([tap()] * 5)
        outbox.make_room()
        outbox.append([tap()])
    with closing(Backlog(tmp_path)) as backlog:
        assert [(row.sequence, row.through) for row in backlog.rows(0, 10, ALL)] == [(1, 5), (6, 6)]
        assert backlog.session() == "session-1"


def test_reading_costs_the_same_however_many_rows_wait(outbox: Outbox, tmp_path: Path) -> None:
    """The next rows are found by their number: no plan scans or sorts the table."""
    with outbox.transaction():
        outbox.append([tap()])
    statements: list[str] = []
    with closing(Backlog(tmp_path)) as backlog:
        connection = backlog.connection()
        assert connection is not None
        connection.set_trace_callback(statements.append)
        backlog.rows(0, 10, ALL)
        backlog.last()
        connection.set_trace_callback(None)
        plans = [plan[3] for each in statements for plan in connection.execute(f"EXPLAIN QUERY PLAN {each}")]
    assert any("SEARCH outbox USING INTEGER PRIMARY KEY (rowid>?" in plan for plan in plans)
    assert not [plan for plan in plans if "SCAN outbox" in plan or "TEMP B-TREE" in plan]


def test_opened_again_it_reads_the_file_that_is_there(tmp_path: Path) -> None:
    """A file that was set aside is not read any more, nor is one that is gone."""
    first = opened(tmp_path)
    with first.transaction():
        first.append([tap()])
    first.connection.close()
    with closing(Backlog(tmp_path)) as backlog:
        assert sequences(backlog) == [1]
        for path in tmp_path.glob("capture.db*"):
            path.rename(path.with_name(f"{path.name}.damaged-1"))
        assert sequences(backlog) == []
        second = opened(tmp_path)
        with closing(second.connection), second.transaction():
            second.append([tap(), tap()])
        assert sequences(backlog) == [1, 2]
