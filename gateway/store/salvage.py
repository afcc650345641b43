"""What is taken over from a damaged `capture.db`: consents, touchpoints, audit log, each only if all of it is whole.

And the marks: without the counter of commands, old ones could be carried out again. And the counters of SUN tags:
without them, copies of old messages would be believed. And how often touchpoints were used.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.store import audit, ledger, sun_counters, touchpoints, usage
from gateway.store.database import StoreError, transaction


@dataclass(frozen=True, slots=True)
class Part:
    """Tables that make sense only together, and how they are read to see whether they do."""

    tables: tuple[str, ...]
    read: Callable[[sqlite3.Connection], object]


PARTS = (
    Part(("consent", "consent_handle"), ledger.read_all),
    Part(("touchpoint",), touchpoints.load),
    Part(("mark",), lambda source: source.execute("SELECT name, value FROM mark").fetchall()),
    Part(("sun_counter",), sun_counters.load),
    Part(("usage",), usage.load),
    Part(("audit",), lambda source: list(audit.entries(source))),
)


def take_over(connection: sqlite3.Connection, kept: Path) -> dict[str, int]:
    """Copy what is whole from a file set aside; return how many rows each table gave.

    A consent is never taken over without all of them being whole: half a ledger could miss a withdrawal.
    """
    taken: dict[str, int] = {}
    with contextlib.suppress(sqlite3.DatabaseError):
        source = sqlite3.connect(f"{kept.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        with contextlib.closing(source):
            for part in PARTS:
                if _is_whole(source, part):
                    taken |= _copy(source, connection, part)
    return taken


def _is_whole(source: sqlite3.Connection, part: Part) -> bool:
    try:
        for table in part.tables:
            if source.execute(f"PRAGMA integrity_check({table})").fetchone() != ("ok",):
                return False
        part.read(source)
    except (sqlite3.DatabaseError, StoreError):
        return False
    return True


def _copy(source: sqlite3.Connection, connection: sqlite3.Connection, part: Part) -> dict[str, int]:
    taken = {}
    with transaction(connection):
        for table in part.tables:
            rows = source.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  # of PARTS
            for row in rows:
                places = ", ".join("?" * len(row))
                connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", row)  # noqa: S608  # as above
            taken[table] = len(rows)
    return taken
