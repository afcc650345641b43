"""The outbox as the uplink reads it: rows after a sequence, at the same cost however many wait."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway.sentence import sentence
from gateway.store import audit, condition
from gateway.store.checksum import whole
from gateway.store.database import CorruptError
from gateway.store.reading import Reading, explained
from gateway.store.schema import CAPTURE

LAST = (1 << 63) - 1
"""Beyond any sequence: SQLite's largest integer."""
COUNTED = 100_000
"""Rows are counted up to here; beyond, counting would cost more than knowing."""

_NEXT = """SELECT sequence, coalesce(through, sequence), CAST(event AS BLOB), handle, purpose, crc FROM outbox
           WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"""

_MENDED = sentence("The capture half puts a gap in its place")


@dataclass(frozen=True, slots=True)
class Row:
    """An event that waits, and under what its subject's consent is looked up again."""

    sequence: int
    through: int
    """The last sequence that it stands for: its own, unless it is a gap that others were folded into."""
    event: str = field(repr=False)
    handle: str | None = field(repr=False)
    purpose: str | None


@dataclass(slots=True)
class Backlog(Reading):
    """A reader of `capture.db`."""

    schema = CAPTURE

    @contextmanager
    def at_one_instant(self) -> Iterator[None]:
        """Answer everything that is asked inside from one snapshot, whatever is committed meanwhile."""
        connection = self.connection()
        if connection is None:
            yield
            return
        connection.execute("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.ProgrammingError):  # the file was replaced, and this connection closed
                connection.execute("COMMIT")

    @explained
    def session(self) -> str | None:
        """Return the id of the session, None before there is one."""
        connection = self.connection()
        row = connection.execute("SELECT id FROM session").fetchone() if connection is not None else None
        return str(row[0]) if row else None

    @explained
    def rows(self, after: int, limit: int, octets: int, until: int = LAST) -> list[Row]:
        """Return the next rows after a sequence: at most `limit`, and at most `octets` of text unless one is larger.

        None after the sequence `until`. Raises StoreError; CorruptError when the next row is damaged.
        """
        connection = self.connection()
        if connection is None:
            return []
        taken: list[Row] = []
        size = 2
        for sequence, through, event, handle, purpose, crc in connection.execute(_NEXT, (after, until, limit)):
            text = whole(event, crc, sequence)
            size += len(event or b"") + 1
            if taken and (size > octets or text is None):
                break
            if text is None:
                wrong = sentence("row {number} is damaged").format(number=sequence)
                raise CorruptError("send from", self.directory / CAPTURE.file, wrong, _MENDED)
            taken.append(Row(sequence, through, text, handle, purpose))
        return taken

    @explained
    def first(self) -> int | None:
        """Return the sequence of the oldest row that is here; None when there is none."""
        connection = self.connection()
        row = connection and connection.execute("SELECT min(sequence) FROM outbox").fetchone()
        return int(row[0]) if row and row[0] is not None else None

    @explained
    def before(self, sequence: int) -> int:
        """Return after which sequence to read so that what stands for this one comes too: it may be a longer gap."""
        connection = self.connection()
        row = connection and connection.execute("SELECT max(sequence) FROM outbox WHERE sequence <= ?", (sequence,))
        found = row.fetchone()[0] if row else None
        return sequence - 1 if found is None else int(found) - 1

    @explained
    def last(self) -> int:
        """Return the last sequence ever appended."""
        connection = self.connection()
        row = connection and connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        return int(row[0]) if row else 0

    @explained
    def oldest_ms(self, delivered: int) -> int | None:
        """Return the time of the oldest event after what is delivered (Unix milliseconds); None when nothing waits."""
        connection = self.connection()
        oldest = "SELECT wall_ms FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT 1"
        row = connection.execute(oldest, (delivered,)).fetchone() if connection is not None else None
        return int(row[0]) if row else None

    @explained
    def consents(self) -> int:
        """Count the consents that were given in the store and not withdrawn."""
        connection = self.connection()
        given = "SELECT count(*) FROM consent WHERE state IN ('given', 'renewed')"
        return int(connection.execute(given).fetchone()[0]) if connection is not None else 0

    @explained
    def audit_head(self) -> str | None:
        """Return the head of the audit log."""
        connection = self.connection()
        return audit.head(connection) if connection else None

    @explained
    def condition(self) -> dict[str, str | None]:
        """Return what is wrong with the capture half's parts and readers, by component; None where nothing is."""
        connection = self.connection()
        return condition.read(connection) if connection else {}

    @explained
    def tallies(self) -> dict[str, int]:
        """Return the durable counters."""
        connection = self.connection()
        return dict(connection.execute("SELECT name, count FROM tally ORDER BY name")) if connection else {}

    @explained
    def waiting(self) -> int:
        """Count the events that wait, gaps aside; by the tallies when there are more than are worth counting."""
        connection = self.connection()
        if connection is None:
            return 0
        statement = "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE fate = 0 LIMIT ?)"
        (counted,) = connection.execute(statement, (COUNTED,)).fetchone()
        if counted < COUNTED:
            return int(counted)
        tally = self.tallies()
        gone = sum(tally.get(name, 0) for name in ("delivered", "withdrawn", "evicted"))
        return tally.get("appended", 0) - gone
