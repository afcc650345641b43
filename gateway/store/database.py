"""Opening the SQLite files: durable, private, one writer each, and refused with a reason when they are not ours.

Write-ahead log with `synchronous=FULL`: a commit that returned survives a power cut (with NORMAL it may not:
see `visible`).
`secure_delete` overwrites what is deleted; `forget_deleted` then empties the log, so that it is in no file.
"""

import contextlib
import fcntl
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from gateway.sentence import sentence

BUSY_MS = 5_000


_TRIED: Final = {
    "open": sentence("cannot open {path}: {wrong}. {hint}"),
    "read": sentence("cannot read {path}: {wrong}. {hint}"),
    "write": sentence("cannot write {path}: {wrong}. {hint}"),
    "use": sentence("cannot use {path}: {wrong}. {hint}"),
    "lock": sentence("cannot lock {path}: {wrong}. {hint}"),
    "set aside": sentence("cannot set aside {path}: {wrong}. {hint}"),
    "send from": sentence("cannot send from {path}: {wrong}. {hint}"),
    "listen at": sentence("cannot listen at {path}: {wrong}. {hint}"),
    "replay into": sentence("cannot replay into {path}: {wrong}. {hint}"),
}


class StoreError(Exception):
    """The store cannot be used: what was tried, on which file, what is wrong, and what to do next."""

    def __init__(self, tried: str, path: Path, wrong: str, hint: str) -> None:
        super().__init__(_TRIED[tried].format(path=path, wrong=wrong, hint=hint))


class Migrations(Protocol):
    """The schema of one file: `sqlite_utils.Migrations`, imported only when there is something to migrate."""

    def __call__(self, connection: sqlite3.Connection) -> None:
        """Bring the file to `version`, each step in one transaction with the record of it."""
        ...


class CorruptError(StoreError):
    """The file is damaged, or no database at all."""


class FullError(StoreError):
    """There is no room on the disk."""


class HeldError(StoreError):
    """Another process holds the lock of this half."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file must look like."""

    file: str
    version: int
    migrate: Callable[[sqlite3.Connection], None]


def open_writer(directory: Path, schema: Schema) -> sqlite3.Connection:
    """Open, create or migrate a file for its one writer. Raises StoreError."""
    path = directory / schema.file
    try:
        with shared_by_both():
            connection = _connect(path)
            with _kept(connection):
                _prepare(connection, path, schema)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise explain(error, "open", path) from None
    return connection


@contextmanager
def _kept(connection: sqlite3.Connection) -> Iterator[None]:
    """Close the connection if what is done with it first fails."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def shared_by_both() -> Iterator[None]:
    """Make files that the other half can use through their group, and nobody else."""
    previous = os.umask(0o007)
    try:
        yield
    finally:
        os.umask(previous)


def _connect(path: Path) -> sqlite3.Connection:
    with contextlib.suppress(OSError):  # SQLite itself would let the group only read, also the log and its index
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660))
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)


def _prepare(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    sealed = connection.execute("PRAGMA application_id").fetchone() == (_sum(connection, version),)
    if version > schema.version and sealed:
        raise newer(path, version, schema)
    if version >= schema.version and not sealed:
        raise CorruptError(
            "open", path, sentence("its schema is not what was written"), sentence("Move it away; a new one begins")
        )
    if version == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    if version < schema.version:
        schema.migrate(connection)
        seal(connection, schema.version)
    prove_writable(connection)


def seal(connection: sqlite3.Connection, version: int) -> None:
    """Record the version of a schema in the file's header, with a sum over it (PRAGMA application_id).

    SQLite itself takes a table for whole whose column a changed bit has renamed.
    """
    connection.execute(f"PRAGMA application_id = {_sum(connection, version):d}")
    connection.execute(f"PRAGMA user_version = {version:d}")


def _sum(connection: sqlite3.Connection, version: int) -> int:
    """Return the sum over a schema.

    Begun with the version, so that damage does not pass for a newer gateway's file. `sqlite_stat1` and its like are
    left out: they come and go. 31 bits, because the header's field is signed.
    """
    rows = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT GLOB 'sqlite_stat*' ORDER BY rowid"
    )
    return zlib.crc32(repr(rows.fetchall()).encode(), version & 0xFFFFFFFF) & 0x7FFFFFFF


def prove_writable(connection: sqlite3.Connection) -> None:
    """Write a page and sync it, so that a full or read-only disk is named at start and not at the first tap.

    Outside of any transaction. Raises sqlite3.Error.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    with transaction(connection):
        connection.execute(f"PRAGMA user_version = {version:d}")


def open_reader(directory: Path, schema: Schema) -> sqlite3.Connection | None:
    """Open the other half's file for reading; None while it does not exist or is not brought up to date yet.

    Raises StoreError if it exists and cannot be read, or is of a newer version.
    """
    path = directory / schema.file
    if not path.exists():
        return None
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_MS / 1000,
        )
        with _kept(connection):
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise explain(error, "read", path) from None
    if version == schema.version:
        return connection
    connection.close()
    if version > schema.version:
        raise newer(path, version, schema)
    return None


def newer(path: Path, version: int, schema: Schema) -> StoreError:
    """Say that a file was written by a gateway that is newer than this one."""
    return StoreError(
        "open",
        path,
        sentence("it was written by a newer version of the gateway (schema {version}, this one knows {known})").format(
            version=version, known=schema.version
        ),
        sentence("Install that version again, or move the file away to start a new one; events in it stay unsent"),
    )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One write transaction: committed at the end, rolled back on any exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One read transaction: whatever others commit meanwhile, it all belongs together."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def visible(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One write transaction that other processes see at once, and a power cut may take back: it syncs nothing.

    For what is cheap to find out again. The next durable commit makes it durable too.
    """
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        with transaction(connection):
            yield connection
    finally:
        connection.execute("PRAGMA synchronous = FULL")


def forget_deleted(connection: sqlite3.Connection) -> bool:
    """Empty the write-ahead log, so that deleted text is in no file. False while a reader still needs it."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def log_is_used_again(connection: sqlite3.Connection) -> bool:
    """Copy the write-ahead log into the file, so that it need not grow. False while a reader or the disk forbids it."""
    with contextlib.suppress(sqlite3.Error):
        busy, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return not busy and frames == copied > 0
    return False


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection has committed (SQLite, PRAGMA data_version)."""
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


@contextmanager
def only_one(directory: Path, half: str) -> Iterator[None]:
    """Hold the lock of one half on a state directory. Raises HeldError when another process has it."""
    path = directory / f"{half}.lock"
    try:
        with shared_by_both():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    except OSError as error:
        raise StoreError("open", path, error.strerror or sentence("unknown error"), access_hint(directory)) from None
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def is_held(directory: Path, half: str) -> bool | None:
    """Tell whether a half holds its lock on a state directory; None where we may not look."""
    try:
        with (directory / f"{half}.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "?"
        raise HeldError(
            "use",
            path.parent,
            sentence("the {stem} half is already running on it (process {holder})").format(
                stem=path.stem, holder=holder
            ),
            sentence("Stop that one first, or give this one a state directory of its own"),
        ) from None
    with contextlib.suppress(OSError):  # the number is for people; the lock itself does not need it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def explain(error: sqlite3.Error | UnicodeDecodeError, tried: str, path: Path) -> StoreError:
    """Turn SQLite's error into one that says what to do. Never carries the text of a statement or a row."""
    wrong = sentence("a text in it is not UTF-8") if _is_no_text(error) else str(error)
    if is_corrupt(error):
        return CorruptError(tried, path, wrong, sentence("Move the file away; the gateway starts a new one"))
    if is_full(error):
        return FullError(tried, path, wrong, sentence("Free some space on that disk"))
    if "locked" in wrong:
        return StoreError(tried, path, wrong, sentence("Another program holds it: close it and try again"))
    return StoreError(tried, path, wrong, access_hint(path.parent))


def is_corrupt(error: BaseException) -> bool:
    """Tell whether an error of SQLite means a damaged file (SQLITE_CORRUPT, SQLITE_NOTADB, text that is none).

    Or a damaged schema: a file is opened only at the version that our statements are written for.
    """
    damaged = _code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    return damaged or _is_no_text(error) or str(error).startswith(("no such column", "no such table"))


def _is_no_text(error: BaseException) -> bool:
    """Tell whether the sqlite3 module could not decode a text, or SQLite's own message about one in a damaged schema.

    The error quotes the text: it is never passed on.
    """
    if isinstance(error, UnicodeDecodeError):
        return True
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")


def as_sqlite_says(error: BaseException) -> BaseException:
    """Return the error of a damaged text as one of SQLite's, for whoever waits for those; any other as it is."""
    if not isinstance(error, UnicodeDecodeError):
        return error
    damaged = sqlite3.DatabaseError(sentence("a text in it is not UTF-8"))
    damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return damaged


def write_over(connection: sqlite3.Connection) -> None:
    """Write over what a commit that failed has left in the write-ahead log, without changing anything.

    SQLite writes a commit whole before the sync that fails. What nobody took for durable would count after a crash, as
    long as no other commit takes its place in the log (SQLite, file format 4.4); that one may fail at its sync as well.
    """
    with contextlib.suppress(sqlite3.Error):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version:d}")


def is_full(error: BaseException) -> bool:
    """Tell whether an error of SQLite means that the disk, or what the file may use of it, is full.

    SQLITE_FULL, or SQLITE_IOERR_SHMSIZE: there is no room for the index of the write-ahead log.
    """
    return _code(error) == sqlite3.SQLITE_FULL or _extended(error) == sqlite3.SQLITE_IOERR_SHMSIZE


def is_unwritten(error: BaseException) -> bool:
    """Tell whether an error of SQLite means that the disk did not do what it was asked (SQLITE_IOERR)."""
    return _code(error) == sqlite3.SQLITE_IOERR


def _code(error: BaseException) -> int | None:
    """Return the primary result code of an error of SQLite."""
    code = _extended(error)
    return None if code is None else code & 0xFF


def _extended(error: BaseException) -> int | None:
    """Return the extended result code of an error of SQLite."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code


def access_hint(directory: Path) -> str:
    """Say what stands in the way of writing to a directory."""
    if directory.exists() and not directory.is_dir():
        return sentence("{directory} is a file: move it away, and create a directory there").format(directory=directory)
    if not directory.is_dir():
        return sentence("Create the directory {directory}, owned by the user that the gateway runs as").format(
            directory=directory
        )
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return sentence(
            "The disk of {directory} is mounted read-only: mount it read-write, and check it for errors"
        ).format(directory=directory)
    if not os.access(directory, os.W_OK | os.X_OK):
        return sentence("Give the user that the gateway runs as write access to {directory}").format(
            directory=directory
        )
    return sentence("Check that {directory} is on a disk that is mounted read-write, has space and is healthy").format(
        directory=directory
    )
