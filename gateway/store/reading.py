"""The other half's file as it is now: opened when it appears, and opened anew when another has taken its place.

A damaged file is set aside while the other half runs on: a connection that was kept would go on showing the old one.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import ClassVar, Concatenate, ParamSpec, TypeVar

from gateway.sentence import sentence
from gateway.store.database import CorruptError, Schema, StoreError, data_version, explain, open_reader
from gateway.store.recovery import mark

AnyReading = TypeVar("AnyReading", bound="Reading")
Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Reading:
    """A reader of one file in a directory; what it reads is a subclass's."""

    schema: ClassVar[Schema]
    directory: Path
    _connection: sqlite3.Connection | None = None
    _file: tuple[int, int] | None = None

    def connection(self) -> sqlite3.Connection | None:
        """Return a connection to the file that is there now, or None. Raises StoreError."""
        identity = self._identity()
        if identity != self._file:
            self.close()
        if self._connection is None and identity is not None:
            self._connection = open_reader(self.directory, self.schema)
            self._file = identity if self._connection is not None else None
        return self._connection

    def version(self) -> tuple[tuple[int, int] | None, int] | None:
        """Return what changes with every commit and with every other file; None while there is none."""
        connection = self.connection()
        return None if connection is None else (self._file, data_version(connection))

    def _identity(self) -> tuple[int, int] | None:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(self.directory / self.schema.file)  # noqa: PTH116  # called for every batch
            return status.st_dev, status.st_ino
        return None

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._file = None


def explained(
    read: Callable[Concatenate[AnyReading, Asked], Answer],
) -> Callable[Concatenate[AnyReading, Asked], Answer]:
    """Have a method raise StoreError for what SQLite raises; a damaged file is marked, for its writer to mend.

    A value that is not of its column's type is damage too: SQLite sees to types when it writes, not when it reads.
    """

    @wraps(read)
    def reading(self: AnyReading, /, *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        try:
            return read(self, *args, **kwargs)
        except (sqlite3.Error, UnicodeDecodeError, StoreError, TypeError) as error:
            told = _told(error, self.directory / self.schema.file)
            if isinstance(told, CorruptError):
                mark(self.directory, self.schema.file)
            raise told from None

    return reading


def _told(error: sqlite3.Error | UnicodeDecodeError | StoreError | TypeError, path: Path) -> StoreError:
    if isinstance(error, StoreError):
        return error
    if isinstance(error, TypeError):
        wrong = sentence("a value in it is not of its column's type")
        return CorruptError("read", path, wrong, sentence("It is mended at the next start"))
    return explain(error, "read", path)
