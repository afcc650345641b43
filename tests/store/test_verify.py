"""The second look at an outbox: it finds what is wrong, and it finds nothing in a file that is being written."""

import threading
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.backlog import Backlog
from gateway.store.checksum import checksum
from gateway.store.outbox import Outbox
from gateway.store.verify import SHOWN, Report, verify
from tests.store.conftest import opened, tap

MISSING = "sequence 3 to 4 is missing and no gap explains it"
ANNA = "h1.anna"


@pytest.fixture
def six(outbox: Outbox) -> Outbox:
    """An outbox with six events that wait, two of them Anna's."""
    with outbox.transaction():
        outbox.append([tap(ANNA if number in {3, 4} else None) for number in range(1, 7)])
    return outbox


def looked_through(directory: Path) -> Report:
    with closing(Backlog(directory)) as backlog:
        return verify(backlog)


def rewrite(outbox: Outbox, sequence: int, changes: dict[str, str]) -> None:
    """Change what a row says, as a faulty program would: with a checksum that fits."""
    (event,) = outbox.connection.execute("SELECT event FROM outbox WHERE sequence = ?", (sequence,)).fetchone()
    for old, new in changes.items():
        assert old in event
        event = event.replace(old, new)
    outbox.connection.execute(
        "UPDATE outbox SET event = ?, crc = ? WHERE sequence = ?", (event, checksum(event, sequence), sequence)
    )


def test_a_whole_outbox_has_no_problem(six: Outbox, tmp_path: Path) -> None:
    """Withdrawn, evicted, delivered or waiting: each event is in exactly one number."""
    with six.transaction():
        six.withdraw([ANNA])
        six.trim(1)
    six.published = lambda: 4
    with six.transaction():
        six.make_room()
        six.append([tap()])
        six.tally({"sightings": 3, "absorbed": 1, "acted_on": 1, "dropped:unknown": 1})
    report = looked_through(tmp_path)
    assert report.problems == []
    assert report.numbers == {"appended": 7, "delivered": 1, "withdrawn": 2, "evicted": 2, "waiting": 2}


def test_a_hole_is_found(six: Outbox, tmp_path: Path) -> None:
    """A number that nothing stands for."""
    with six.transaction():
        six.connection.execute("DELETE FROM outbox WHERE sequence IN (3, 4)")
    assert MISSING in looked_through(tmp_path).problems


def test_an_event_that_nobody_counted_is_found(six: Outbox, tmp_path: Path) -> None:
    """The balance of the outbox."""
    with six.transaction():
        six.tally({"delivered": 1})
    assert looked_through(tmp_path).problems == ["appended 6 is not delivered + withdrawn + evicted + waiting 7"]


def test_a_sighting_that_ended_as_nothing_is_found(six: Outbox, tmp_path: Path) -> None:
    """The balance of the sightings."""
    with six.transaction():
        six.tally({"sightings": 3, "absorbed": 1, "dropped:unknown": 1})
    assert looked_through(tmp_path).problems == ["sightings 3 is not absorbed + acted on + dropped 2"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"}": ""}, "sequence 2 does not parse"),
        ({f"{2:020}": f"{5:020}", "session-1-2": "session-1-5"}, "sequence 2 holds the event session-1-5"),
        ({"session-1": "session-2"}, "sequence 2 holds the event session-2-2"),
    ],
)
def test_a_row_that_is_not_what_its_place_says_is_found(
    six: Outbox, tmp_path: Path, changes: dict[str, str], problem: str
) -> None:
    """No event, another's number, another's session."""
    with six.transaction():
        rewrite(six, 2, changes)
    found = looked_through(tmp_path).problems
    assert [each for each in found if each.startswith(problem)], found


def test_what_is_wrong_with_a_row_does_not_repeat_it(six: Outbox, tmp_path: Path) -> None:
    """The report may end up in a log or a ticket."""
    with six.transaction():
        rewrite(six, 2, {'"channel":"nfc"': '"channel":"nonsense"'})
    assert "nonsense" not in " ".join(looked_through(tmp_path).problems)


def test_the_list_of_problems_is_short(outbox: Outbox, tmp_path: Path) -> None:
    """However much is wrong, a person can read it."""
    with outbox.transaction():
        outbox.append([tap() for _ in range(200)])
        outbox.connection.execute("DELETE FROM outbox WHERE sequence % 2 = 0")
    assert SHOWN <= len(looked_through(tmp_path).problems) <= SHOWN + 2


def test_an_outbox_that_is_written_meanwhile_is_in_order(tmp_path: Path) -> None:
    """Rows and numbers are read from one snapshot: a running gateway raises no false alarm."""
    opened(tmp_path).connection.close()
    stop = threading.Event()

    def write() -> None:
        outbox = opened(tmp_path)
        with closing(outbox.connection):
            while not stop.is_set():
                with outbox.transaction():
                    outbox.append([tap()])
                    outbox.trim(outbox.last - 50)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        problems = [problem for _ in range(20) for problem in looked_through(tmp_path).problems]
    finally:
        stop.set()
        writer.join()
    assert problems == []
