"""Consents as both halves look them up: what another connection has committed holds for the very next answer."""

from contextlib import closing
from pathlib import Path

from gateway.core.consent import ConsentState
from gateway.store.database import forget_deleted
from gateway.store.ledger import REMEMBERED, StoreLedger, put, records_of
from gateway.store.outbox import Outbox
from tests.store.conftest import consent, opened, tap

ANNA, BEN = "h1." + "A" * 22, "h1." + "B" * 22
GIVEN, WITHDRAWN = ConsentState.GIVEN, ConsentState.WITHDRAWN


def write(outbox: Outbox, *handles: str, record: str = "r", withdrawn: bool = False, since_ms: int = 5) -> None:
    with outbox.transaction():
        said = consent(record, *handles, withdrawn=withdrawn, revision=1 + withdrawn)
        put(outbox.connection, said, since_ms=since_ms, expires_ms=None if withdrawn else 99)


def states(reading: StoreLedger, handle: str) -> list[ConsentState]:
    return [record.state for record in reading.records(handle)]


def test_a_change_counts_for_the_very_next_answer(tmp_path: Path) -> None:
    """No file, no consent; then whatever was committed last, however often it was asked before."""
    with closing(StoreLedger(tmp_path)) as reading:
        assert (states(reading, ANNA), reading.stale_from_ms) == ([], None)
        outbox = opened(tmp_path)
        with closing(outbox.connection):
            for withdrawn, expected in ((False, [GIVEN]), (True, [WITHDRAWN])):
                assert states(reading, ANNA) == states(reading, ANNA) != expected
                write(outbox, ANNA, withdrawn=withdrawn)
                assert states(reading, ANNA) == expected


def test_what_is_not_committed_does_not_count(tmp_path: Path) -> None:
    """A grant whose commit fails was never given."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(StoreLedger(tmp_path)) as reading:
        outbox.connection.execute("BEGIN IMMEDIATE")
        put(outbox.connection, consent("r", ANNA), since_ms=5, expires_ms=None)
        assert states(reading, ANNA) == []
        outbox.connection.execute("ROLLBACK")
        assert states(reading, ANNA) == []


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Everything that the decision needs; the newer revision replaces the older."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(StoreLedger(tmp_path)) as reading:
        write(outbox, ANNA, BEN)
        (found,) = reading.records(BEN)
        assert (found.record_id, found.revision, found.purposes) == ("r", 1, frozenset({"personalisation"}))
        assert (found.notice, found.since_ms, found.expires_ms) == ("1", 5, 99)
        write(outbox, ANNA, BEN, withdrawn=True, since_ms=7)
        (found,) = reading.records(ANNA)
        assert (found.state, found.revision, found.since_ms, found.expires_ms) == (WITHDRAWN, 2, 7, None)


def test_every_record_of_a_handle_is_returned(tmp_path: Path) -> None:
    """Which of them decides is not the store's to say; a stranger has none."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(StoreLedger(tmp_path)) as reading:
        write(outbox, ANNA, record="first", since_ms=5)
        write(outbox, ANNA, record="second", since_ms=6)
        write(outbox, BEN, record="third")
        assert {record.record_id for record in reading.records(ANNA)} == {"first", "second"}
        assert [record.record_id for record in records_of(outbox.connection, ANNA)] == ["first", "second"]
        assert reading.records("h1.nobody") == ()


def test_memory_is_bounded_whoever_passes_by(tmp_path: Path) -> None:
    """A month of strangers costs no more than a day of them."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(StoreLedger(tmp_path)) as reading:
        write(outbox, ANNA)
        for number in range(3 * REMEMBERED):
            reading.records(f"h1.{number}")
            assert len(reading._known) <= REMEMBERED  # noqa: SLF001  # what it holds is not to be seen from outside
        assert states(reading, ANNA) == [GIVEN]


def test_answers_are_remembered_while_nothing_changes(tmp_path: Path) -> None:
    """A beacon that is heard ten times a second does not read the disk ten times a second."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(StoreLedger(tmp_path)) as reading:
        write(outbox, ANNA)
        first = reading.records(ANNA)
        assert reading.records(ANNA) is first
        with outbox.transaction():
            outbox.append([tap()])
        assert reading.records(ANNA) is not first


def test_a_withdrawn_record_leaves_nothing_of_the_old_one_in_the_files(tmp_path: Path) -> None:
    """The tombstone replaces it, and once the log is emptied the old text is in no file."""
    outbox = opened(tmp_path)
    with closing(outbox.connection):
        write(outbox, ANNA)
        assert b'"state":"given"' in b"".join(path.read_bytes() for path in tmp_path.iterdir())
        write(outbox, ANNA, withdrawn=True)
        assert forget_deleted(outbox.connection)
        assert b'"state":"given"' not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_repr_shows_no_handle(tmp_path: Path) -> None:
    """What is remembered may not leak into a log by accident."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(StoreLedger(tmp_path)) as reading:
        write(outbox, ANNA)
        assert states(reading, ANNA) == [GIVEN]
        assert ANNA not in repr(reading)
