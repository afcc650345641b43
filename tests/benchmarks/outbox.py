"""An outbox with events and consents in it, and the same file opened bare: what the other benchmarks start from."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gateway.core import pseudonym
from gateway.core.downlink import ConsentRecord
from gateway.core.event import Draft
from gateway.core.sighting import Identifier
from gateway.store.database import forget_deleted, open_writer, transaction
from gateway.store.device import leave_public
from gateway.store.ledger import put
from gateway.store.outbox import Outbox
from gateway.store.schema import CAPTURE
from tests.benchmarks.sightings import SESSION, SOURCE, consenting
from tests.core import salon
from tests.simulators.centre_keys import GATEWAY

PEOPLE = 100
"""Customers whose events wait."""
AT_ONCE = 10_000
COLUMNS = "sequence, retention, handle, purpose, boot, boot_ns, wall_ms, quality, event, crc"
INSERT = f"INSERT INTO outbox ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # ours

Columns = tuple[object, ...]


def draft() -> Draft:
    """Return a tap with a subject, as the path makes it."""
    (made,) = salon.path(consenting()).see(salon.present(salon.ANNA), salon.at(1)).drafts
    return made


def drafts(number: int) -> list[Draft]:
    """Return so many taps of different customers."""
    one, handles = draft(), [_handle(person) for person in range(PEOPLE)]
    return [replace(one, handle=handles[at % PEOPLE]) for at in range(number)]


def open_outbox(directory: Path) -> Outbox:
    """Open an outbox for its writer; commits are as durable as in production."""
    outbox = Outbox(open_writer(directory, CAPTURE), SOURCE, "boot")
    with transaction(outbox.connection):
        outbox.open(SESSION, salon.MORNING_MS)
    return outbox


def encoded(outbox: Outbox, number: int) -> list[Columns]:
    """Return what the outbox stores of so many taps, and leave it as empty as it was."""
    outbox.connection.execute("BEGIN")
    outbox.append(drafts(number))
    found = outbox.connection.execute(f"SELECT {COLUMNS} FROM outbox ORDER BY sequence").fetchall()  # noqa: S608  # ours
    outbox.connection.execute("ROLLBACK")
    outbox.resume()
    return found


def fill(outbox: Outbox, number: int) -> None:
    """Append so many taps, the consents of their customers, and leave the log empty."""
    with transaction(outbox.connection):
        for person in range(PEOPLE):
            put(outbox.connection, consent(person), signed(consent(person)))
    leave_public(Path(outbox.connection.execute("PRAGMA database_list").fetchone()[2]).parent, GATEWAY.key.public_key())
    waiting = drafts(AT_ONCE)
    for done in range(0, number, AT_ONCE):
        with transaction(outbox.connection):
            outbox.append(waiting[: number - done])
    forget_deleted(outbox.connection)


def signed(record: ConsentRecord) -> str:
    """Sign a record as this gateway does."""
    return GATEWAY.sign(record.model_dump_json().encode())


def consent(person: int) -> ConsentRecord:
    """Return a customer's consent."""
    return ConsentRecord(
        record_id=f"rec-{person}",
        handles=(_handle(person),),
        controller="acme",
        purposes=("personalisation",),
        legal_basis="consent",
        granted_at=datetime.fromtimestamp(0, UTC),
        notice_version="2026-03",
        language="en",
        jurisdiction="CH",
        source="store",
        state="given",
        revision=1,
        issuer_kid=GATEWAY.kid,
        tenant="acme",
        site="zrh-1",
    )


def _handle(person: int) -> str:
    return pseudonym.handle(salon.RING, Identifier("link", f"{salon.MEMBERS}{person:022}"))
