"""The consents of the store, as both halves look them up: fresh for the very next sighting."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.consent import Consent, ConsentState
from gateway.core.downlink import ConsentRecord
from gateway.store.database import CorruptError
from gateway.store.reading import Reading, explained
from gateway.store.schema import CAPTURE

_FIND = """SELECT consent.record_id, revision, state, since_ms, expires_ms, record
           FROM consent_handle JOIN consent USING (record_id) WHERE handle = ?"""
_PUT = """INSERT OR REPLACE INTO consent (record_id, revision, state, since_ms, expires_ms, record)
          VALUES (?, ?, ?, ?, ?, ?)"""
REMEMBERED = 1_000


@dataclass(slots=True)
class StoreLedger(Reading):
    """A `gateway.core.consent.Ledger` over `capture.db`.

    `PRAGMA data_version` is looked at before each answer, so a change that another connection committed counts at
    once; between changes the last answers are remembered.
    """

    schema = CAPTURE
    _seen: object = None
    _known: dict[str, Sequence[Consent]] = field(default_factory=dict, repr=False)

    @property
    def stale_from_ms(self) -> int | None:
        """None: the ledger holds only what this store recorded itself, so there is nobody to confirm it."""
        return None

    @explained
    def records(self, handle: str) -> Sequence[Consent]:
        """Return every record that lists this handle. Raises StoreError."""
        connection = self._current()
        if connection is None:
            return ()
        known = self._known.get(handle)
        if known is None:
            known = tuple(_consent(row) for row in connection.execute(_FIND, (handle,)))
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[handle] = known
        return known

    def _current(self) -> sqlite3.Connection | None:
        """Return the connection; what was remembered of another version is forgotten."""
        if (version := self.version()) != self._seen:
            self._seen = version
            self._known.clear()
        return self._connection


def _consent(row: tuple[str, int, str, int, int | None, str]) -> Consent:
    record_id, revision, state, since_ms, expires_ms, record = row
    try:
        whole = json.loads(record)
        return Consent(
            record_id=record_id,
            revision=revision,
            state=ConsentState(state),
            purposes=frozenset(whole["purposes"]),
            notice=whole["notice_version"],
            since_ms=since_ms,
            expires_ms=expires_ms,
        )
    except (ValueError, LookupError, TypeError):
        raise CorruptError("read", Path(CAPTURE.file), "a consent is damaged", "It is set aside") from None


def read_all(connection: sqlite3.Connection) -> int:
    """Read every consent, and count them. Raises CorruptError if one makes no sense, sqlite3.Error."""
    rows = connection.execute("SELECT record_id, revision, state, since_ms, expires_ms, record FROM consent")
    return sum(1 for _ in map(_consent, rows))


def put(connection: sqlite3.Connection, record: ConsentRecord, *, since_ms: int, expires_ms: int | None) -> None:
    """Write a record and its handles; a newer revision replaces an older one."""
    connection.execute(
        _PUT,
        (record.record_id, record.revision, record.state, since_ms, expires_ms, record.model_dump_json()),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO consent_handle (handle, record_id) VALUES (?, ?)",
        [(handle, record.record_id) for handle in record.handles],
    )


def records_of(connection: sqlite3.Connection, handle: str) -> list[ConsentRecord]:
    """Return the whole records that list this handle, newest last."""
    rows = connection.execute(
        "SELECT record FROM consent_handle JOIN consent USING (record_id) WHERE handle = ? ORDER BY since_ms", (handle,)
    )
    return [ConsentRecord.model_validate_json(record) for (record,) in rows]
