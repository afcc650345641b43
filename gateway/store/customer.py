"""What both files know of one customer: the records that name any of their tokens, and what waits to be sent."""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from gateway.core.downlink import ConsentRecord
from gateway.core.jws import SignatureError
from gateway.store.checksum import whole
from gateway.store.reading import Reading, explained
from gateway.store.schema import CAPTURE

MOST = 256
"""So many tokens one customer has at most: a chain of records is followed no further."""
_RECORDS = """SELECT DISTINCT record FROM consent_handle JOIN consent USING (record_id)
              WHERE handle IN (SELECT value FROM json_each(?))"""
_WAITING = """SELECT sequence, CAST(event AS BLOB), crc FROM outbox INDEXED BY outbox_handle
              WHERE handle IN (SELECT value FROM json_each(?)) ORDER BY sequence"""
_CONTROL = """SELECT sequence, CAST(event AS BLOB), crc FROM outbox
              WHERE retention = 3 AND fate = 0 AND event LIKE '%"type":"touchpoint.consent-%' ORDER BY sequence"""

Verify = Callable[[str], bytes]
"""Returns the payload of a signed record. Raises SignatureError."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A record in its latest revision, and as it was signed."""

    record: ConsentRecord = field(repr=False)
    signed: str = field(repr=False)
    central: bool
    """It stands in `uplink.db`: the centre knows it."""


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer: the handles of all tokens, every record once in its latest revision, oldest first."""

    handles: frozenset[str] = field(repr=False)
    statements: tuple[Statement, ...]
    central_ids: frozenset[str] = field(repr=False)
    """Of the records that the centre knows, in whatever revision."""
    unverified: int
    """Records whose signature is that of nobody who may say so."""

    @property
    def records(self) -> list[ConsentRecord]:
        """The records alone."""
        return [statement.record for statement in self.statements]


@dataclass(frozen=True, slots=True)
class File:
    """One of the two files, and whose signatures count in it."""

    connection: sqlite3.Connection
    verify: Verify = field(repr=False)
    central: bool = False


def customer(files: Sequence[File], handles: Collection[str]) -> Customer:
    """Gather what the files know, from token to record to token. Raises sqlite3.Error."""
    known, found, unverified = frozenset(handles), list[Statement](), 0
    while True:
        rows = [(file, signed) for file in files for signed in _signed(file, known)]
        found = [statement for file, signed in rows if (statement := _statement(file, signed)) is not None]
        unverified = len(rows) - len(found)
        found = [each for each in found if not known.isdisjoint(each.record.handles)]  # by what was signed, not the row
        named = known.union(*(statement.record.handles for statement in found))
        if named == known or len(named) > MOST:
            break
        known = named
    latest = sorted(_latest(found), key=lambda each: (each.record.since_ms, each.record.record_id))
    centre = frozenset(each.record.record_id for each in found if each.central)
    return Customer(known, tuple(latest), centre, unverified)


def _signed(file: File, handles: Collection[str]) -> list[str]:
    """Return the records that name any of these; if the centre's file is damaged, nobody is kept from withdrawing."""
    try:
        return [record for (record,) in file.connection.execute(_RECORDS, (json.dumps(sorted(handles)),))]
    except sqlite3.Error:
        if not file.central:
            raise
        return []


def _statement(file: File, signed: str) -> Statement | None:
    try:
        return Statement(ConsentRecord.model_validate_json(file.verify(signed)), signed, file.central)
    except (SignatureError, ValidationError):
        return None


def _latest(found: Iterable[Statement]) -> Iterable[Statement]:
    """Return each record once, as the ledger counts it."""
    kept: dict[str, Statement] = {}
    for each in found:
        known = kept.get(each.record.record_id)
        if known is None or each.record.word().precedence > known.record.word().precedence:
            kept[each.record.record_id] = each
    return kept.values()


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that is not delivered yet."""

    sequence: int
    event: dict[str, object] = field(repr=False)


@dataclass(slots=True)
class Outgoing(Reading):
    """A reader of what `capture.db` has to send about somebody, on a connection of its own."""

    schema = CAPTURE

    @explained
    def naming(self, handles: Collection[str]) -> list[Waiting]:
        """Return the events about these tokens. Raises StoreError."""
        connection = self.connection()
        return [] if connection is None else _events(connection.execute(_WAITING, (json.dumps(sorted(handles)),)))

    @explained
    def consents(self, belongs: Callable[[str], bool]) -> list[Waiting]:
        """Return the events that carry a signed record for which `belongs` says so. Raises StoreError."""
        connection = self.connection()
        events = [] if connection is None else _events(connection.execute(_CONTROL))
        return [each for each in events if isinstance(record := _record(each.event), str) and belongs(record)]


def _events(rows: Iterable[tuple[int, bytes, int | None]]) -> list[Waiting]:
    texts = [(sequence, whole(event, crc, sequence)) for sequence, event, crc in rows]
    return [Waiting(sequence, json.loads(text)) for sequence, text in texts if text is not None]


def _record(event: dict[str, object]) -> object:
    data = event.get("data")
    return data.get("record") if isinstance(data, dict) else None


def forget(connection: sqlite3.Connection, record_ids: Iterable[str]) -> int:
    """Delete records of this store; return how many there were. Raises sqlite3.Error."""
    ids = [(record_id,) for record_id in record_ids]
    connection.executemany("DELETE FROM consent_handle WHERE record_id = ?", ids)
    return connection.executemany("DELETE FROM consent WHERE record_id = ?", ids).rowcount


def ended(connection: sqlite3.Connection, now_ms: int) -> list[tuple[str, str]]:
    """Return id and signed text of the tombstones of this store whose time is over. Raises sqlite3.Error."""
    rows = "SELECT record_id, record FROM consent WHERE state = 'withdrawn' AND expires_ms <= ?"
    return connection.execute(rows, (now_ms,)).fetchall()
