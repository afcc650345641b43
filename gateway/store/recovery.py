"""What to do with a file that cannot be trusted: mark it, look it through, set it aside and begin anew.

A damaged outbox must not keep the gateway from starting (its users cannot repair it), nor be thrown away (an engineer
may). Consents and touchpoints that are whole are taken over (`store.salvage`); events stay in the file set aside, and
the new session's first `gap` names the last session.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

from gateway.sentence import sentence
from gateway.store.database import CorruptError, Schema, StoreError, access_hint, explain, is_corrupt, open_writer


def open_whole(
    directory: Path, schema: Schema, now_ms: int, read: Callable[[sqlite3.Connection], object] = lambda _: None
) -> tuple[sqlite3.Connection, Path | None]:
    """Open a file for its writer; a damaged one is set aside first. Returns where to, if so. Raises StoreError.

    `read` reads what must make sense; it may raise CorruptError and sqlite3.Error.
    """
    try:
        return _opened(directory, schema, read), None
    except CorruptError:
        kept = set_aside(directory, schema.file, now_ms)
        return open_writer(directory, schema), kept


def _opened(directory: Path, schema: Schema, read: Callable[[sqlite3.Connection], object]) -> sqlite3.Connection:
    connection = open_writer(directory, schema)
    try:
        look_through(connection, directory, schema.file)
        read(connection)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        raise explain(error, "read", directory / schema.file) from None
    except StoreError:
        connection.close()
        raise
    return connection


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
        raise CorruptError(
            "use", directory / file, sentence("it is damaged"), sentence("It is set aside and a new one begins")
        )
    suspect(directory, file).unlink(missing_ok=True)


def set_aside(directory: Path, file: str, now_ms: int) -> Path:
    """Move a file, its log and its mark out of the way; return its new path. Raises StoreError."""
    kept = directory / f"{file}.damaged-{now_ms}"
    for suffix in ("", "-wal", "-shm"):
        try:
            (directory / f"{file}{suffix}").rename(f"{kept}{suffix}")
        except FileNotFoundError:
            continue
        except OSError as error:
            wrong = error.strerror or sentence("unknown error")
            raise StoreError("set aside", directory / file, wrong, access_hint(directory)) from None
    suspect(directory, file).unlink(missing_ok=True)
    return kept
