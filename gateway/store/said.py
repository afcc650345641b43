"""What the centre says, written into `uplink.db` by the uplink half; capture reads it with `gateway.store.central`.

The consent set is a snapshot. While it is fetched (after each connect, or when it does not come to what the centre
says it must), the ids that arrive are kept in memory; once they come to the centre's count and digest, whatever did
not arrive is dropped, and the set is confirmed. What is here already is not written again.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.core.consent import VALID, ConsentState
from gateway.core.downlink import ConsentRecord, digest, unix_ms
from gateway.core.downlink import ConsentState as SetState
from gateway.store import marks
from gateway.store.database import transaction, visible

KEPT_COMMANDS = 1_000
CONSENT_AT, TOUCHPOINT_AT, COUNTER = "consent-at", "touchpoint-at", "command-counter"

_PUT = """INSERT INTO consent (record_id, position, revision, state, since_ms, expires_ms, record)
          VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (record_id) DO UPDATE SET position = excluded.position,
          revision = excluded.revision, state = excluded.state, since_ms = excluded.since_ms,
          expires_ms = excluded.expires_ms, record = excluded.record"""
_ALL = "SELECT record_id, revision, state FROM consent ORDER BY record_id"
_SEEN = "SELECT record_id, revision, state FROM consent WHERE record_id IN (SELECT id FROM seen) ORDER BY record_id"
_DROPPED = "DELETE FROM consent WHERE record_id NOT IN (SELECT id FROM seen)"
_ORPHANS = "DELETE FROM consent_handle WHERE record_id NOT IN (SELECT record_id FROM consent)"


@dataclass(frozen=True, slots=True)
class Signed:
    """A consent record and its signed form."""

    record: ConsentRecord = field(repr=False)
    jws: str = field(repr=False)


@dataclass(slots=True)
class ConsentSet:
    """The centre's consents. Every method raises sqlite3.Error."""

    connection: sqlite3.Connection
    syncing: bool = True
    """The set is being fetched."""

    def __post_init__(self) -> None:
        self.connection.execute("CREATE TEMP TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def begin(self) -> None:
        """Fetch the set from the beginning. It stays in force as it was confirmed until the centre says otherwise."""
        self.connection.execute("DELETE FROM seen")
        self.syncing = True

    def known(self, record_id: str) -> tuple[int, str, str] | None:
        """Return revision, state and signed form of a record."""
        row = self.connection.execute("SELECT revision, state, record FROM consent WHERE record_id = ?", (record_id,))
        found: tuple[int, str, str] | None = row.fetchone()
        return found

    def supersedes(self, record: ConsentRecord) -> bool:
        """Tell whether a record replaces the one that is here: a higher revision does, a withdrawal wins ties."""
        known = self.known(record.record_id)
        return known is None or _precedence(record.revision, record.state) > _precedence(known[0], known[1])

    def saw(self, record_ids: Iterable[str]) -> None:
        """Note that the centre still has these records."""
        if self.syncing:
            rows = [(record_id,) for record_id in record_ids]
            self.connection.executemany("INSERT OR IGNORE INTO seen (id) VALUES (?)", rows)

    def take(self, records: Sequence[Signed]) -> None:
        """Write records, durably, in one commit."""
        with transaction(self.connection):
            position = marks.number(self.connection, CONSENT_AT)
            for position, each in enumerate(records, position + 1):  # noqa: B020  # the last one is kept below
                self._put(position, each.record, each.jws)
            marks.write(self.connection, CONSENT_AT, position)

    def _put(self, position: int, record: ConsentRecord, jws: str) -> None:
        row = (record.record_id, position, record.revision, record.state, record.since_ms, record.expires_ms, jws)
        self.connection.execute(_PUT, row)
        self.connection.execute("DELETE FROM consent_handle WHERE record_id = ?", (record.record_id,))
        rows = [(handle, record.record_id) for handle in record.handles]
        self.connection.executemany("INSERT OR IGNORE INTO consent_handle (handle, record_id) VALUES (?, ?)", rows)

    def state(self) -> tuple[int, int, str, int, bool] | None:
        """Return what the centre last said of the set: revision, count, digest, when; and whether it is confirmed."""
        row = self.connection.execute("SELECT revision, count, digest, at_ms, confirmed FROM consent_set").fetchone()
        return None if row is None else (*row[:4], bool(row[4]))

    def say(self, state: SetState) -> None:
        """Write what the centre says the set must come to; until it does, nothing in it counts."""
        known, said = self.state(), (state.revision, state.count, state.digest)
        confirmed = (known is not None and known[4] and known[:3] == said) or (
            not self.syncing and self._comes_to(state.count, state.digest)
        )
        with transaction(self.connection):
            self.connection.execute("DELETE FROM consent_set")
            row = (*said, unix_ms(state.at), int(confirmed))
            self.connection.execute("INSERT INTO consent_set VALUES (?, ?, ?, ?, ?)", row)

    def count(self) -> int:
        """Count the records that are there, or have arrived while the set is fetched."""
        table = "seen" if self.syncing else "consent"
        (number,) = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  # no input
        return int(number)

    def settle(self) -> bool:
        """Confirm the set if it comes to what the centre says, and drop what is no longer in it; tell whether it is."""
        state = self.state()
        if state is None or not self._comes_to(state[1], state[2]):
            return False
        with transaction(self.connection):
            if self.syncing:
                self.connection.execute(_DROPPED)
                self.connection.execute(_ORPHANS)
            self.connection.execute("UPDATE consent_set SET confirmed = 1 WHERE confirmed = 0")
        self.connection.execute("DELETE FROM seen")
        self.syncing = False
        return True

    def _comes_to(self, count: int, wanted: str) -> bool:
        return self.count() == count and digest(self.connection.execute(_SEEN if self.syncing else _ALL)) == wanted


def _precedence(revision: int, state: str) -> tuple[int, bool]:
    return revision, ConsentState(state) not in VALID


def define(connection: sqlite3.Connection, touchpoint: str, revision: int, definition: str | None) -> bool:
    """Write the definition of a touchpoint, None when it is removed; False if that is nothing new.

    Raises sqlite3.Error.
    """
    row = connection.execute("SELECT revision, definition FROM touchpoint WHERE id = ?", (touchpoint,)).fetchone()
    if row is not None and (row[1] == definition or (definition is not None and revision <= row[0])):
        return False
    if row is None and definition is None:
        return False
    with transaction(connection):
        position = marks.number(connection, TOUCHPOINT_AT) + 1
        marks.write(connection, TOUCHPOINT_AT, position)
        kept = max(revision, row[0] if row else 0)
        values = (touchpoint, position, kept, definition)
        connection.execute(
            "INSERT OR REPLACE INTO touchpoint (id, position, revision, definition) VALUES (?, ?, ?, ?)", values
        )
    return True


def counted(connection: sqlite3.Connection) -> int:
    """Return the highest counter of a command that was taken. Raises sqlite3.Error."""
    return marks.number(connection, COUNTER)


def order(  # noqa: PLR0913  # the parts of a command
    connection: sqlite3.Connection,
    command_id: str,
    command: str,
    *,
    counter: int = 0,
    jws: str | None = None,
    status: str | None = None,
    reason: str | None = None,
) -> int:
    """Write a command and its counter, durably, before anything is done; return its position. Raises sqlite3.Error."""
    with transaction(connection):
        marks.write(connection, COUNTER, max(counter, counted(connection)))
        row = (command_id, command, jws, status, reason)
        insert = "INSERT INTO command (id, command, jws, status, reason) VALUES (?, ?, ?, ?, ?)"
        position = connection.execute(insert, row).lastrowid or 0
        connection.execute("DELETE FROM command WHERE position <= ?", (position - KEPT_COMMANDS,))
    return position


def show(connection: sqlite3.Connection, touchpoint: str, cue_id: str, expires_ms: int, jws: str, now_ms: int) -> None:
    """Keep the newest cue of a touchpoint, and none that has expired. Raises sqlite3.Error."""
    with visible(connection):
        connection.execute("DELETE FROM cue WHERE expires_ms <= ?", (now_ms,))
        row = (touchpoint, cue_id, expires_ms, jws)
        connection.execute("INSERT OR REPLACE INTO cue (touchpoint, id, expires_ms, jws) VALUES (?, ?, ?, ?)", row)


def tally(connection: sqlite3.Connection, counts: Iterable[tuple[str, int]]) -> None:
    """Add to the counters of what was refused on its way down. Raises sqlite3.Error."""
    add = "INSERT INTO tally VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + excluded.count"
    with visible(connection):
        connection.executemany(add, counts)


def tallies(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the counters. Raises sqlite3.Error."""
    return dict(connection.execute("SELECT name, count FROM tally ORDER BY name"))
