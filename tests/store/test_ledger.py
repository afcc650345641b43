"""Consents as both halves look them up: what another connection has committed holds for the very next answer."""

from contextlib import closing
from functools import partial
from pathlib import Path

from gateway.core.consent import ConsentState
from gateway.core.jws import Use
from gateway.store.database import forget_deleted, open_writer
from gateway.store.device import Device, leave_public
from gateway.store.ledger import REMEMBERED, StoreLedger, open_ledger, put, signed_records
from gateway.store.outbox import Outbox
from gateway.store.schema import UPLINK
from tests.simulators.centre import confirmation
from tests.simulators.centre_keys import CENTRE, GATEWAY, STRANGER
from tests.store.conftest import consent, opened, signed, tap

ANNA, BEN = "h1." + "A" * 22, "h1." + "B" * 22
GIVEN, WITHDRAWN = ConsentState.GIVEN, ConsentState.WITHDRAWN


def write(outbox: Outbox, *handles: str, record: str = "r", withdrawn: bool = False, since_ms: int = 5) -> None:
    with outbox.transaction():
        said = consent(record, *handles, withdrawn=withdrawn, revision=1 + withdrawn, since_ms=since_ms)
        put(outbox.connection, said, signed(said))


def looking_up(directory: Path) -> StoreLedger:
    """Look up what this store said."""
    leave_public(directory, GATEWAY.key.public_key())
    return open_ledger(directory, Device(directory, GATEWAY.kid), None, 0)


def states(reading: StoreLedger, handle: str) -> list[ConsentState]:
    return [record.state for record in reading.records(handle)]


def test_a_change_counts_for_the_very_next_answer(tmp_path: Path) -> None:
    """No file, no consent; then whatever was committed last, however often it was asked before."""
    with closing(looking_up(tmp_path)) as reading:
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
    with closing(outbox.connection), closing(looking_up(tmp_path)) as reading:
        outbox.connection.execute("BEGIN IMMEDIATE")
        put(outbox.connection, consent("r", ANNA), signed(consent("r", ANNA)))
        assert states(reading, ANNA) == []
        outbox.connection.execute("ROLLBACK")
        assert states(reading, ANNA) == []


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Everything that the decision needs; the newer revision replaces the older."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(looking_up(tmp_path)) as reading:
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
    with closing(outbox.connection), closing(looking_up(tmp_path)) as reading:
        write(outbox, ANNA, record="first", since_ms=5)
        write(outbox, ANNA, record="second", since_ms=6)
        write(outbox, BEN, record="third")
        assert {record.record_id for record in reading.records(ANNA)} == {"first", "second"}
        assert len(signed_records(outbox.connection, ANNA)) == 2
        assert reading.records("h1.nobody") == ()


def test_memory_is_bounded_whoever_passes_by(tmp_path: Path) -> None:
    """A month of strangers costs no more than a day of them."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(looking_up(tmp_path)) as reading:
        write(outbox, ANNA)
        for number in range(3 * REMEMBERED):
            reading.records(f"h1.{number}")
            assert len(reading.store._known) <= REMEMBERED  # noqa: SLF001  # what it holds is not to be seen from outside
        assert states(reading, ANNA) == [GIVEN]


def test_answers_are_remembered_while_nothing_changes(tmp_path: Path) -> None:
    """A beacon that is heard ten times a second does not read the disk ten times a second, whatever else is written."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(looking_up(tmp_path)) as reading:
        write(outbox, ANNA)
        first = reading.records(ANNA)
        assert reading.records(ANNA)[0] is first[0]
        with outbox.transaction():
            outbox.append([tap()])
        assert reading.records(ANNA) == first
        assert reading.records(ANNA)[0] is first[0]
        write(outbox, BEN, record="another")
        assert reading.records(ANNA)[0] is not first[0]


def test_a_withdrawn_record_leaves_nothing_of_the_old_one_in_the_files(tmp_path: Path) -> None:
    """The tombstone replaces it, and once the log is emptied the old text is in no file."""
    outbox = opened(tmp_path)
    with closing(outbox.connection):
        write(outbox, ANNA)
        (text,) = signed_records(outbox.connection, ANNA)
        assert text.encode() in b"".join(path.read_bytes() for path in tmp_path.iterdir())
        write(outbox, ANNA, withdrawn=True)
        assert forget_deleted(outbox.connection)
        assert text.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_repr_shows_no_handle(tmp_path: Path) -> None:
    """What is remembered may not leak into a log by accident."""
    outbox = opened(tmp_path)
    with closing(outbox.connection), closing(looking_up(tmp_path)) as reading:
        write(outbox, ANNA)
        assert states(reading, ANNA) == [GIVEN]
        assert ANNA not in repr(reading)


def test_whoever_can_write_the_file_cannot_make_it_fresh(tmp_path: Path) -> None:
    """When the centre last spoke is read from what it signed: no other time counts."""
    at_ms, later_ms = 1_000_000, 9_000_000
    central = partial(CENTRE.believed(Use.CONSENT).verify, use=Use.CONSENT)
    with closing(open_writer(tmp_path, UPLINK)) as uplink:
        for record, fresh_until in (
            (confirmation(at_ms, 1), at_ms + 500),
            (confirmation(later_ms, 1, STRANGER), 0),
            ("", 0),
        ):
            uplink.execute("DELETE FROM consent_set")
            uplink.execute("INSERT INTO consent_set VALUES (1, 0, '', ?, 1, ?)", (later_ms, record))
            reading = open_ledger(tmp_path, Device(tmp_path, GATEWAY.kid), lambda text: central(text)[1], 500)
            with closing(reading):
                assert reading.stale_from_ms == fresh_until
