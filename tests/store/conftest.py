"""An outbox in a directory of its own."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.core.downlink import ConsentRecord
from gateway.core.event import Draft, EventType
from gateway.core.sighting import Moment
from gateway.store.database import open_writer
from gateway.store.outbox import Outbox
from gateway.store.schema import CAPTURE
from tests.simulators.centre_keys import GATEWAY

NEW_YEAR_MS = 1_767_225_600_000
SOURCE, BOOT = "urn:touchpoint:acme:zrh-1:gw-1", "boot"
DATA = (
    '{"touchpoint":{"id":"vitrine-1","kind":"display","zone":null,"phase":null,"product":null,"campaign":null},'
    '"at":null,"channel":"nfc","reader":"r","test":false,"subject":null,"authenticity":null,"clock":"synced"}'
)


def tap(handle: str | None = None, at_ms: int = 1_000, kind: EventType = EventType.TAP) -> Draft:
    """Draft an event; with a handle it has a subject, as far as the store knows."""
    return Draft(kind, Moment(at_ms * 1_000_000, at_ms), DATA, handle, None if handle is None else "personalisation")


def consent(  # the parts of a record that tests vary
    record_id: str, *handles: str, revision: int = 1, withdrawn: bool = False, since_ms: int = NEW_YEAR_MS
) -> ConsentRecord:
    """Write down a consent to everything that these tests ask for; one of 1970 ends after 94 milliseconds."""
    given = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=since_ms)
    return ConsentRecord(
        record_id=record_id,
        handles=handles,
        controller="acme",
        purposes=("personalisation",),
        legal_basis="consent",
        granted_at=given,
        expires_at=given + timedelta(milliseconds=94) if since_ms < NEW_YEAR_MS and not withdrawn else None,
        notice_version="1",
        language="en",
        jurisdiction="CH",
        source="store",
        state="withdrawn" if withdrawn else "given",
        withdrawn_at=given if withdrawn else None,
        revision=revision,
        issuer_kid="acme.zrh-1.gw-1",
        tenant="acme",
        site="zrh-1",
    )


def signed(record: ConsentRecord) -> str:
    """Sign a record as the gateway of these tests does."""
    return GATEWAY.sign(record.model_dump_json().encode())


def opened(directory: Path) -> Outbox:
    """Open the outbox of a directory."""
    outbox = Outbox(open_writer(directory, CAPTURE), SOURCE, BOOT)
    with outbox.transaction():
        outbox.open("session-1", 0)
    return outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox."""
    made = opened(tmp_path)
    with closing(made.connection):
        yield made
