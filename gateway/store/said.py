"""What the centre says, written into `uplink.db` by the uplink half; capture reads it with `gateway.store.central`.

The consent set is a snapshot. While it is fetched (after each connect, or when it does not come to what the centre
says it must), the ids that arrive are kept in memory; once they come to the centre's count and digest, whatever did
not arrive is dropped, and the set is confirmed. What is here already is not written again.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gateway.core.consent import VALID, ConsentState
from gateway.core.downlink import ConsentRecord, Digest, unix_ms
from gateway.core.downlink import ConsentState as SetState
from gateway.store import marks
from gateway.store.database import transaction, visible

KEPT_COMMANDS = 1_000
CONSENT_AT, TOUCHPOINT_AT, COUNTER = "consent-at", "touchpoint-at", "command-counter"

_PUT = """INSERT INTO consent (record_id, position, revision, state, since_ms, expires_ms, record)
          VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (record_id) DO UPDATE SET position = excluded.position,
          revision = excluded.revision, state = excluded.state, since_ms = excluded.since_ms,
          expires_ms = excluded.expires_ms, record = excluded.record"""
_IN_FORCE = "SELECT revision, count, digest, at_ms, confirmed, record FROM consent_set"
_PAGE = "SELECT record_id, revision, state FROM consent WHERE record_id > ? ORDER BY record_id LIMIT ?"
_SEEN_PAGE = """SELECT record_id, revision, state FROM seen JOIN consent ON record_id = id
                WHERE id > ? ORDER BY id LIMIT ?"""
_UNSEEN = "SELECT record_id FROM consent WHERE record_id NOT IN (SELECT id FROM seen) LIMIT ?"
COMPARED, DROPPED = 5_000, 500
"""So many rows at a time are compared with the digest, and dropped: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A consent record and its signed form."""

    record: ConsentRecord = field(repr=False)
    jws: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the centre says the whole set is."""

    revision: int
    count: int
    digest: str = field(repr=False)
    at_ms: int
    confirmed: bool
    """Whether the records here have come to it."""
    jws: str = field(repr=False)
    """As the centre signed it."""

    def is_like(self, other: "Standing") -> bool:
        """Tell whether both are of the same set."""
        return (self.revision, self.count, self.digest) == (other.revision, other.count, other.digest)


@dataclass(slots=True)
class ConsentSet:
    """The centre's consents. Every method raises sqlite3.Error.

    A confirmed set stays in force while what the centre says next is compared with the records that come with it.
    """

    connection: sqlite3.Connection
    syncing: bool = True
    """The set is being fetched."""
    _awaited: Standing | None = None
    """What the centre has said last, while another set is in force."""
    _comparing: Iterator[bool | None] | None = None

    def __post_init__(self) -> None:
        self.connection.execute("CREATE TEMP TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def begin(self) -> None:
        """Fetch the set from the beginning. It stays in force as it was confirmed until the centre says otherwise."""
        self.connection.execute("DELETE FROM seen")
        self.syncing, self._comparing = True, None

    def known(self, record_id: str) -> tuple[int, str, str] | None:
        """Return revision, state and signed form of a record."""
        row = self.connection.execute("SELECT revision, state, record FROM consent WHERE record_id = ?", (record_id,))
        found: tuple[int, str, str] | None = row.fetchone()
        return found

    def saw(self, record_ids: Iterable[str]) -> None:
        """Note that the centre still has these records."""
        if self.syncing:
            rows = [(record_id,) for record_id in record_ids]
            self.connection.executemany("INSERT OR IGNORE INTO seen (id) VALUES (?)", rows)
            self._comparing = None

    def take(self, records: Sequence[Signed]) -> None:
        """Write records, durably, in one commit."""
        with transaction(self.connection):
            position = marks.number(self.connection, CONSENT_AT)
            for position, each in enumerate(records, position + 1):  # noqa: B020  # the last one is kept below
                self._put(position, each.record, each.jws)
            marks.write(self.connection, CONSENT_AT, position)
        self._comparing = None

    def _put(self, position: int, record: ConsentRecord, jws: str) -> None:
        row = (record.record_id, position, record.revision, record.state, record.since_ms, record.expires_ms, jws)
        self.connection.execute(_PUT, row)
        self.connection.execute("DELETE FROM consent_handle WHERE record_id = ?", (record.record_id,))
        rows = [(handle, record.record_id) for handle in record.handles]
        self.connection.executemany("INSERT OR IGNORE INTO consent_handle (handle, record_id) VALUES (?, ?)", rows)

    def in_force(self) -> Standing | None:
        """Return what stands in the file."""
        row = self.connection.execute(_IN_FORCE).fetchone()
        if row is None:
            return None
        revision, count, wanted, at_ms, confirmed, jws = row
        return Standing(revision, count, wanted, at_ms, bool(confirmed), jws)

    def said(self) -> Standing | None:
        """Return what the centre has said last."""
        return self._awaited or self.in_force()

    def say(self, state: SetState, jws: str) -> None:
        """Take what the centre says the set must come to. Nothing counts before a set has come to it once."""
        now = Standing(state.revision, state.count, state.digest, unix_ms(state.at), confirmed=False, jws=jws)
        here, self._awaited, self._comparing = self.in_force(), None, None
        if here is None or not here.confirmed:
            self._write(now, confirmed=False)
        elif here.is_like(now):
            self._write(now, confirmed=True)
        else:
            self._awaited = now

    def refuse(self) -> None:
        """Let nothing count any more: the records do not come to what the centre has said last."""
        if self._awaited is not None:
            self._write(self._awaited, confirmed=False)
            self._awaited = None

    def _write(self, standing: Standing, *, confirmed: bool) -> None:
        row = (standing.revision, standing.count, standing.digest, standing.at_ms, int(confirmed), standing.jws)
        with transaction(self.connection):
            self.connection.execute("DELETE FROM consent_set")
            self.connection.execute("INSERT INTO consent_set VALUES (?, ?, ?, ?, ?, ?)", row)

    def count(self) -> int:
        """Count the records that are there, or have arrived while the set is fetched."""
        return self._rows("seen" if self.syncing else "consent")

    def _rows(self, table: str) -> int:
        (number,) = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  # no input
        return int(number)

    @property
    def open(self) -> bool:
        """Whether it is to be found out yet if the set is what the centre says."""
        said = self.said()
        return said is not None and (self.syncing or not said.confirmed)

    @property
    def busy(self) -> bool:
        """Whether a comparison has begun and not ended."""
        return self._comparing is not None

    def settle(self) -> bool | None:
        """Go on comparing, a page of records; True once the set is confirmed, and rid of what is no longer in it.

        False when it is not what the centre says, None when that is not known yet.
        """
        said = self.said()
        if said is None:
            return False
        if self._comparing is None:
            self._comparing = self._compared(said)
        answer = next(self._comparing)
        if answer is None:
            return None
        self._comparing = None
        if answer:
            self._write(said, confirmed=True)
            self.connection.execute("DELETE FROM seen")
            self._awaited, self.syncing = None, False
        return answer

    def _compared(self, said: Standing) -> Iterator[bool | None]:
        """Compare page by page, and drop what the whole does not hold; yield None after each, and at last whether."""
        if self.count() != said.count:
            yield False
            return
        page = _SEEN_PAGE if self.syncing and self._rows("consent") != said.count else _PAGE
        whole, after = Digest(), ""
        while rows := self.connection.execute(page, (after, COMPARED)).fetchall():
            whole.add(rows)
            after = rows[-1][0]
            yield None
        if whole.text() != said.digest:
            yield False
            return
        while page is _SEEN_PAGE and self._drop():
            yield None
        yield True

    def _drop(self) -> int:
        """Drop some records that the centre no longer has; return how many."""
        unseen = self.connection.execute(_UNSEEN, (DROPPED,)).fetchall()
        with transaction(self.connection):
            self.connection.executemany("DELETE FROM consent_handle WHERE record_id = ?", unseen)
            self.connection.executemany("DELETE FROM consent WHERE record_id = ?", unseen)
        return len(unseen)


def supersedes(record: ConsentRecord, known: tuple[int, str, str] | None) -> bool:
    """Tell whether a record replaces the one that is here: a higher revision does, a withdrawal wins ties."""
    return known is None or _precedence(record.revision, record.state) > _precedence(known[0], known[1])


def _precedence(revision: int, state: str) -> tuple[int, bool]:
    return revision, ConsentState(state) not in VALID


@dataclass(frozen=True, slots=True)
class Definition:
    """What the centre says of a touchpoint; `text` (JSON) None: it is removed."""

    touchpoint: str
    revision: int
    text: str | None


def define(connection: sqlite3.Connection, definitions: Iterable[Definition]) -> bool:
    """Write definitions in their order, in one commit; False if there is nothing new. Raises sqlite3.Error.

    The higher revision stands. What was removed comes back with any that is not older.
    """
    before = connection.total_changes
    with transaction(connection):
        for each in definitions:
            _define(connection, each)
    return connection.total_changes > before


def _define(connection: sqlite3.Connection, now: Definition) -> None:
    row = connection.execute("SELECT revision, definition FROM touchpoint WHERE id = ?", (now.touchpoint,)).fetchone()
    revision, text = row or (-1, None)
    if text is None if now.text is None else (now.revision, text is None) <= (revision, False):
        return
    position = marks.number(connection, TOUCHPOINT_AT) + 1
    marks.write(connection, TOUCHPOINT_AT, position)
    values = (now.touchpoint, position, max(now.revision, revision), now.text)
    connection.execute(
        "INSERT OR REPLACE INTO touchpoint (id, position, revision, definition) VALUES (?, ?, ?, ?)", values
    )


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
