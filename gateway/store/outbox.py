"""The durable queue of events, as its one writer sees it.

Every method runs inside a transaction of `store.writer` and on its thread. Rows are addressed by sequence and
trimmed by range, so that what an operation costs does not depend on how many rows wait.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field

from gateway.core.event import Draft, EventType, GapReason, encode, gap, retention
from gateway.store.checksum import checksum, whole
from gateway.store.database import transaction
from gateway.store.eviction import EVICTED, Eviction

WITHDRAWN = 1

_INSERT = """INSERT INTO outbox (sequence, retention, handle, purpose, boot, boot_ns, wall_ms, quality, event, crc)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_OF_HANDLES = """SELECT sequence, wall_ms FROM outbox INDEXED BY outbox_handle
                 WHERE handle IN (SELECT value FROM json_each(?))"""
_OF_PURPOSE = f"{_OF_HANDLES} AND purpose = ?"
_WAITING = """SELECT DISTINCT handle, coalesce(purpose, '') FROM outbox INDEXED BY outbox_handle
              WHERE handle IN (SELECT value FROM json_each(?))"""
_NEXT_HANDLE = """WITH RECURSIVE next (handle) AS (
                    SELECT min(handle) FROM outbox WHERE handle > ?
                    UNION ALL
                    SELECT (SELECT min(handle) FROM outbox WHERE handle > next.handle) FROM next
                    WHERE next.handle IS NOT NULL
                  ) SELECT handle FROM next WHERE handle IS NOT NULL LIMIT ?"""
_OF_SEQUENCES = """SELECT sequence, wall_ms FROM outbox
                   WHERE fate = 0 AND sequence IN (SELECT value FROM json_each(?)) ORDER BY sequence"""
_REWRITE = "UPDATE outbox SET event = ?, crc = ?, fate = ?, handle = NULL, purpose = NULL WHERE sequence = ?"
_EVERY = "SELECT sequence, wall_ms, fate, through, CAST(event AS BLOB), crc FROM outbox"
_TALLY = "INSERT INTO tally (name, count) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + excluded.count"


@dataclass(slots=True)
class Outbox:
    """Append, trim and withdraw. `source` is the CloudEvents source; `boot` the id of this boot of the machine."""

    connection: sqlite3.Connection
    source: str
    boot: str
    limit_pages: int | None = None
    """How many pages of the file may be in use before the least worthy events go."""
    published: Callable[[], int] = lambda: 0
    """How far the uplink may have published."""
    border: Callable[[], AbstractContextManager[None]] = nullcontext
    """Keeps the uplink from publishing further (`gateway.store.publishing`)."""
    session: str = ""
    _held: ExitStack = field(default_factory=ExitStack, repr=False)
    _fixed: int | None = None
    _held_pages: int | None = None
    _last: int | None = None
    _eviction: Eviction | None = None

    def open(self, new_session: str, now_ms: int) -> bool:
        """Take up the session of this file, or begin `new_session` in an empty one. True when it is new."""
        row = self.connection.execute("SELECT id FROM session").fetchone()
        self.session = row[0] if row else new_session
        if row is None:
            self.connection.execute("INSERT INTO session (id, opened_ms) VALUES (?, ?)", (new_session, now_ms))
        self.resume()
        return row is None

    def resume(self) -> None:
        """Forget what was remembered of the file: at the start, and after a transaction was rolled back."""
        self._last = None
        self._eviction = Eviction(self.connection, self.source, self.session)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction. The border with the uplink, if it had to be held, is held until the commit."""
        try:
            with transaction(self.connection):
                yield
        finally:
            self._fixed = None
            self._held.close()

    def fixed(self) -> int:
        """Return the last sequence that may have been published, and so stays as it is; no more are, until the commit.

        Raises StoreError.
        """
        if self._fixed is None:
            self._held.enter_context(self.border())
            self._fixed = self.published()
        return self._fixed

    @property
    def last(self) -> int:
        """The sequence of the last row ever appended in this session; 0 before the first. Raises sqlite3.Error."""
        if self._last is None:
            row = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
            self._last = int(row[0]) if row else 0
        return self._last

    def append(self, drafts: Iterable[Draft]) -> int:
        """Append the drafts in order, making room first if it must be, and return the last sequence."""
        self._keep_to_limit()
        first = self.last
        rows = [self._row(draft, first + offset) for offset, draft in enumerate(drafts, 1)]
        self.connection.executemany(_INSERT, rows)
        self._last = first + len(rows)
        self.tally({"appended": len(rows)})
        return self.last

    def hold_size(self) -> None:
        """Keep to the present size: the disk is full."""
        self._held_pages = self._pages("page_count")

    def release_size(self) -> None:
        """Keep to the limit alone: the disk has room."""
        self._held_pages = None

    def _keep_to_limit(self) -> None:
        limits = [limit for limit in (self.limit_pages, self._held_pages) if limit is not None]
        while limits and self._pages("page_count") - self._pages("freelist_count") > min(limits):
            if not self.make_room():
                return

    def _pages(self, which: str) -> int:
        (pages,) = self.connection.execute(f"PRAGMA {which}").fetchone()
        return int(pages)

    def make_room(self) -> int:
        """Evict what is worth least; return how many events went."""
        evicted = 0 if self._eviction is None else self._eviction.evict(self.fixed())
        self.tally({"evicted": evicted})
        return evicted

    def _row(self, draft: Draft, sequence: int) -> tuple[object, ...]:
        at = draft.at
        event = encode(draft.type, at.wall_ms, draft.data, source=self.source, session=self.session, sequence=sequence)
        kept, stamp = int(retention(draft.type)), (self.boot, at.boot_ns, at.wall_ms, str(at.quality))
        return sequence, kept, draft.handle, draft.purpose, *stamp, event, checksum(event, sequence)

    def trim(self, through: int) -> None:
        """Delete every row up to and including `through`: it is delivered, as far as it was not a gap."""
        gaps = "SELECT count(*) FROM outbox INDEXED BY outbox_fate WHERE fate <> 0 AND sequence <= ?"
        (explained,) = self.connection.execute(gaps, (through,)).fetchone()
        deleted = self.connection.execute("DELETE FROM outbox WHERE sequence <= ?", (through,)).rowcount
        self.tally({"delivered": deleted - explained})

    def withdraw(self, handles: Collection[str], purpose: str | None = None) -> list[int]:
        """Turn every row of these handles into a gap and return the sequences; up to `fixed()` they may have been sent.

        With a purpose, only the rows that need consent to it. Raises StoreError.
        """
        self.fixed()
        named = json.dumps(sorted(handles))
        rows = self.connection.execute(*(_OF_HANDLES, (named,)) if purpose is None else (_OF_PURPOSE, (named, purpose)))
        return self._replace(sorted(rows), "withdrawn")

    def waiting(self, handles: Collection[str]) -> set[tuple[str, str]]:
        """Return under which of these handles, and for which purposes, rows wait."""
        return set(self.connection.execute(_WAITING, (json.dumps(sorted(handles)),)))

    def handles(self, after: str, limit: int) -> list[str]:
        """Return the next handles under which rows wait, in their order; it costs the same however many rows do."""
        return [handle for (handle,) in self.connection.execute(_NEXT_HANDLE, (after, limit))]

    def set_aside(self, refused: Mapping[int, GapReason]) -> list[int]:
        """Turn the rows that the uplink refused to send into gaps, by sequence and reason; return the sequences."""
        self.fixed()
        rows = self.connection.execute(_OF_SEQUENCES, (json.dumps(sorted(refused)),)).fetchall()
        by_reason = {reason: [row for row in rows if refused[row[0]] == reason] for reason in set(refused.values())}
        return sorted(gone for reason, some in by_reason.items() for gone in self._replace(some, reason))

    def _replace(self, rows: Sequence[tuple[int, int]], reason: GapReason) -> list[int]:
        """Replace each row by a gap of the same sequence and time."""
        fate, counted = (WITHDRAWN, "withdrawn") if reason == "withdrawn" else (EVICTED, "evicted")
        for sequence, wall_ms in rows:
            self._rewrite(sequence, wall_ms, gap(reason), fate)
        self.tally({counted: len(rows)})
        return [sequence for sequence, _ in rows]

    def mend(self) -> list[int]:
        """Turn every row that is not what was written into a gap, and return the sequences."""
        rows = self.connection.execute(_EVERY)
        damaged = [row[:4] for row in rows if whole(row[4], row[5], row[0]) is None]
        for sequence, wall_ms, fate, through in damaged:
            self._rewrite(sequence, wall_ms, gap("corrupt", through=through), fate or EVICTED)
        self.tally({"evicted": sum(fate == 0 for _, _, fate, _ in damaged)})
        return [sequence for sequence, *_ in damaged]

    def _rewrite(self, sequence: int, wall_ms: int, data: str, fate: int) -> None:
        """Let a gap stand at a sequence."""
        event = encode(EventType.GAP, wall_ms, data, source=self.source, session=self.session, sequence=sequence)
        self.connection.execute(_REWRITE, (event, checksum(event, sequence), fate, sequence))

    def tally(self, counts: Mapping[str, int]) -> None:
        """Add to the durable counters."""
        self.connection.executemany(_TALLY, [(name, count) for name, count in counts.items() if count])
