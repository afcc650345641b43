"""Making room when the outbox is full: what is worth least goes first, and each loss is explained.

Health goes before presence, presence before taps, scans and responses; the oldest first; consent changes and gaps
never. Only rows that were never published go. Neighbours fold into one gap, so that making room does make room.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gateway.core.event import EventType, Retention, encode, gap
from gateway.store.checksum import checksum

EVICTED = 2
AT_ONCE = 1_000
"""So many rows go at once: enough that the next taps need not wait, few enough that the commit stays short."""
ORDER = (Retention.HEALTH, Retention.PRESENCE, Retention.INTERACTION)

_OLDEST = """SELECT sequence, wall_ms FROM outbox WHERE sequence > ? AND retention = ? AND fate = 0
             ORDER BY sequence LIMIT ?"""
_BEFORE = """SELECT sequence, wall_ms, fate, coalesce(through, sequence) FROM outbox
             WHERE sequence < ? ORDER BY sequence DESC LIMIT 1"""
_GAP = """UPDATE outbox SET retention = ?, fate = ?, through = ?, event = ?, crc = ?, handle = NULL, purpose = NULL
          WHERE sequence = ?"""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring rows that go together; a run has the time of its first row (Unix milliseconds)."""

    first: int
    through: int
    wall_ms: int


@dataclass(slots=True)
class Eviction:
    """Evicts from one outbox. Remembers how far each class is gone, so that no row is looked at twice."""

    connection: sqlite3.Connection
    source: str
    session: str
    _gone: dict[Retention, int] = field(default_factory=dict)

    def evict(self, published: int) -> int:
        """Turn the least worthy rows after `published` into gaps; return how many went. 0: nothing here may go."""
        for retention in ORDER:
            after = max(published, self._gone.get(retention, 0))
            rows = self.connection.execute(_OLDEST, (after, int(retention), AT_ONCE)).fetchall()
            if rows:
                self._gone[retention] = rows[-1][0]
                for run in runs(rows):
                    self._fold(run, published)
                return len(rows)
        return 0

    def _fold(self, run: Run, published: int) -> None:
        """Replace a run by a gap, together with an evicted gap that ends just before it."""
        before = self._evicted_before(run.first, published)
        first, wall_ms = before or (run.first, run.wall_ms)
        self.connection.execute("DELETE FROM outbox WHERE sequence > ? AND sequence <= ?", (first, run.through))
        through = run.through if run.through > first else None
        event = encode(
            EventType.GAP,
            wall_ms,
            gap("evicted", through=through),
            source=self.source,
            session=self.session,
            sequence=first,
        )
        self.connection.execute(_GAP, (int(Retention.CONTROL), EVICTED, through, event, checksum(event, first), first))

    def _evicted_before(self, sequence: int, published: int) -> tuple[int, int] | None:
        row = self.connection.execute(_BEFORE, (sequence,)).fetchone()
        if row is None or row[0] <= published or row[2:] != (EVICTED, sequence - 1):
            return None
        return row[0], row[1]


def runs(rows: Iterable[tuple[int, int]]) -> Iterator[Run]:
    """Group sequences without a hole between them."""
    run: Run | None = None
    for sequence, wall_ms in rows:
        if run is not None and sequence == run.through + 1:
            run = Run(run.first, sequence, run.wall_ms)
            continue
        if run is not None:
            yield run
        run = Run(sequence, sequence, wall_ms)
    if run is not None:
        yield run
