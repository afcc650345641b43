"""What to do with a file that cannot be trusted: set it aside, keep what is whole, and begin anew.

A damaged outbox must not keep the gateway from starting (its users cannot repair it), nor be thrown away (an engineer
may). Consents and touchpoints are taken over if SQLite finds their tables whole; events stay in the file set aside, and
the new session's first `gap` names the last session.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from gateway.store.database import CorruptError, Schema, is_corrupt, open_writer, transaction

TABLES = ("consent", "consent_handle", "touchpoint")


def open_whole(directory: Path, schema: Schema, now_ms: int) -> tuple[sqlite3.Connection, Path | None]:
    """Open a file for its writer; a damaged one is set aside first. Returns where to, if so. Raises StoreError."""
    try:
        connection = open_writer(directory, schema)
    except CorruptError:
        kept = set_aside(directory, schema.file, now_ms)
        return open_writer(directory, schema), kept
    try:
        look_through(connection, directory, schema.file)
    except CorruptError:
        connection.close()
        kept = set_aside(directory, schema.file, now_ms)
        return open_writer(directory, schema), kept
    return connection, None


def suspect(directory: Path, file: str) -> Path:
    """Return the marker that says: look this file through before you use it."""
    return directory / f"{file}.suspect"


def mark(directory: Path, file: str) -> None:
    """Have the file looked through at the next start."""
    with contextlib.suppress(OSError):
        suspect(directory, file).touch()


def look_through(connection: sqlite3.Connection, directory: Path, file: str) -> None:
    """Check a file that was marked, page by page. Raises CorruptError; else the mark is taken off."""
    if not suspect(directory, file).exists():
        return
    try:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        found = str(error)
    if found != "ok":
        raise CorruptError("use", directory / file, "it is damaged", "It is set aside and a new one begins")
    suspect(directory, file).unlink(missing_ok=True)


def set_aside(directory: Path, file: str, now_ms: int) -> Path:
    """Move a file, its log and its mark out of the way; return its new path."""
    kept = directory / f"{file}.damaged-{now_ms}"
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            (directory / f"{file}{suffix}").rename(f"{kept}{suffix}")
    suspect(directory, file).unlink(missing_ok=True)
    return kept


def take_over(connection: sqlite3.Connection, kept: Path, tables: Sequence[str] = TABLES) -> dict[str, int]:
    """Copy the tables that are whole from a file set aside; return how many rows each gave.

    A consent is never taken over without its table being whole: half a ledger could miss a withdrawal.
    """
    taken: dict[str, int] = {}
    with contextlib.suppress(sqlite3.DatabaseError):
        source = sqlite3.connect(f"{kept.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        with contextlib.closing(source):
            whole = all(_is_whole(source, table) for table in tables)
            for table in tables if whole else ():
                taken[table] = _copy(source, connection, table)
    return taken


def _is_whole(source: sqlite3.Connection, table: str) -> bool:
    try:
        (found,) = source.execute(f"PRAGMA integrity_check({table})").fetchone()
    except sqlite3.DatabaseError:
        return False
    return bool(found == "ok")


def _copy(source: sqlite3.Connection, connection: sqlite3.Connection, table: str) -> int:
    rows = source.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  # one of TABLES
    if rows:
        places = ", ".join("?" * len(rows[0]))
        with transaction(connection):
            connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)  # noqa: S608  # as above
    return len(rows)
