"""The consents that this gateway knows, in this store's file and in the centre's, fresh for the very next sighting.

Each record is kept as it was signed and believed only if its signature is that of somebody who may say so, each time
it is read: whoever can write a file cannot give a consent. What cannot be verified stands in the way (it may be a
withdrawal), and is told apart from what is simply not there.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from gateway.core.consent import Consent
from gateway.core.consent import ConsentState as State
from gateway.core.downlink import ConsentRecord, ConsentState, unix_ms
from gateway.core.jws import SignatureError
from gateway.sentence import sentence
from gateway.store.database import CorruptError, Schema
from gateway.store.reading import Reading, explained
from gateway.store.schema import CAPTURE, UPLINK

_COLUMNS = "consent.record_id, revision, state, since_ms, expires_ms, record"
_FIND = f"SELECT {_COLUMNS} FROM consent_handle JOIN consent USING (record_id) WHERE handle = ?"  # noqa: S608  # no input
_PUT = """INSERT INTO consent (record_id, revision, state, since_ms, expires_ms, record) VALUES (?, ?, ?, ?, ?, ?)
          ON CONFLICT (record_id) DO UPDATE SET revision = excluded.revision, state = excluded.state,
          since_ms = excluded.since_ms, expires_ms = excluded.expires_ms, record = excluded.record"""
REMEMBERED = 1_000

Verify = Callable[[str], bytes]
"""Returns the payload of a signed record. Raises SignatureError."""
Row = tuple[str, int, str, int, int | None, str]


@dataclass(slots=True)
class Consents(Reading):
    """The consents in one file. Between changes of consents the last answers are remembered."""

    schema: Schema = field(kw_only=True)  # type: ignore[misc]  # the same tables stand in both files
    verify: Verify = field(repr=False, kw_only=True)
    _seen: object = None
    _generation: object = None
    _known: dict[str, Sequence[Consent]] = field(default_factory=dict, repr=False)
    _confirmed_ms: int | None = None

    @explained
    def records(self, handle: str) -> Sequence[Consent]:
        """Return every record that lists this handle. Raises StoreError."""
        connection = self._current()
        if connection is None:
            return ()
        known = self._known.get(handle)
        if known is None:
            found = [_consent(row, self.verify, handle) for row in connection.execute(_FIND, (handle,))]
            known = tuple(each for each in found if each is not None)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[handle] = known
        return known

    @explained
    def confirmed_ms(self) -> int | None:
        """Return when the centre last said what the whole set is; None while what is here does not come to it."""
        connection = self._current()
        return None if connection is None else self._confirmed_ms

    def _current(self) -> sqlite3.Connection | None:
        """Return the connection; what was remembered is forgotten when a consent has changed.

        Anything that is committed changes the version, most often an event: so the consents' own number is asked too.
        """
        version = self.version()
        if version == self._seen:
            return self._connection
        if self._connection is not None:
            generation = (self._file, *self._connection.execute("SELECT number FROM generation").fetchone())
            if generation != self._generation:
                self._known.clear()
                self._confirmed_ms = self._read_confirmed()
                self._generation = generation
        self._seen = version
        return self._connection

    def _read_confirmed(self) -> int | None:
        if self._connection is None or self.schema is CAPTURE:
            return None
        row = self._connection.execute("SELECT record FROM consent_set WHERE confirmed = 1").fetchone()
        try:
            return unix_ms(ConsentState.model_validate_json(self.verify(row[0])).at) if row else None
        except (SignatureError, ValidationError):  # whoever can write the file cannot make it fresh
            return None


@dataclass(slots=True)
class StoreLedger:
    """A `gateway.core.consent.Ledger` over both files.

    `central` is None where no centre has a say; otherwise nothing counts longer than `stale_ms` after its last word.
    """

    store: Consents
    central: Consents | None = None
    stale_ms: int = 0

    @property
    def stale_from_ms(self) -> int | None:
        """When all of it counts no more, Unix milliseconds. Raises StoreError."""
        if self.central is None:
            return None
        confirmed_ms = self.central.confirmed_ms()
        return 0 if confirmed_ms is None else confirmed_ms + self.stale_ms

    def records(self, handle: str) -> Sequence[Consent]:
        """Return every record that lists this handle. Raises StoreError."""
        known = self.store.records(handle)
        return known if self.central is None else (*known, *self.central.records(handle))

    def close(self) -> None:
        """Close the files."""
        self.store.close()
        if self.central is not None:
            self.central.close()


def open_ledger(directory: Path, store: Verify, central: Verify | None, stale_ms: int) -> StoreLedger:
    """Look up consents in a state directory."""
    return StoreLedger(
        Consents(directory, schema=CAPTURE, verify=store),
        None if central is None else Consents(directory, schema=UPLINK, verify=central),
        stale_ms,
    )


def _consent(row: Row, verify: Verify, handle: str) -> Consent | None:
    """Believe a row only as far as its signature goes; None for a record that does not list this handle itself."""
    record_id, revision, state, since_ms, expires_ms, record = row
    try:
        said = ConsentRecord.model_validate_json(verify(record))
        word = said.word()
        if handle not in said.handles:
            return None
        if (word.record_id, word.revision, word.state) == (record_id, revision, state):
            return word
    except (SignatureError, ValidationError):
        pass
    return Consent(record_id, revision, State.REFUSED, None, "", since_ms, expires_ms, verified=False)


def read_all(connection: sqlite3.Connection) -> int:
    """Read every consent, and count them. Raises CorruptError if one makes no sense, sqlite3.Error."""
    number = 0
    for _, _, state, _, _, record in connection.execute(f"SELECT {_COLUMNS} FROM consent"):  # noqa: S608  # no input
        if state not in set(State) or record.count(".") != 2:  # noqa: PLR2004  # JWS: three parts
            raise CorruptError(
                "read", Path(CAPTURE.file), sentence("a consent is damaged"), sentence("It is set aside")
            )
        number += 1
    return number


def put(connection: sqlite3.Connection, record: ConsentRecord, signed: str) -> None:
    """Write a record of this store and its handles; a newer revision replaces an older one."""
    row = (record.record_id, record.revision, record.state, record.since_ms, record.expires_ms, signed)
    connection.execute(_PUT, row)
    connection.executemany(
        "INSERT OR IGNORE INTO consent_handle (handle, record_id) VALUES (?, ?)",
        [(handle, record.record_id) for handle in record.handles],
    )


def signed_records(connection: sqlite3.Connection, handle: str) -> list[str]:
    """Return the records that list this handle as they were signed, newest last."""
    rows = connection.execute(
        "SELECT record FROM consent_handle JOIN consent USING (record_id) WHERE handle = ? ORDER BY since_ms", (handle,)
    )
    return [record for (record,) in rows]


def sign_unsigned(connection: sqlite3.Connection, sign: Callable[[bytes], str]) -> None:
    """Sign the records of files from before consents were signed: capture alone has ever written them."""
    rows = connection.execute("SELECT record_id, record FROM consent WHERE record LIKE '{%'").fetchall()
    for record_id, record in rows:
        connection.execute("UPDATE consent SET record = ? WHERE record_id = ?", (sign(record.encode()), record_id))
