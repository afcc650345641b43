"""How far something was carried, by name, in either file: a few short texts that must survive a restart."""

import sqlite3
from typing import Final

APPLIED: Final = "consent-applied"
"""The mark that holds the revision of the centre's consent set that is in force here."""


def read(connection: sqlite3.Connection, name: str) -> str | None:
    """Return what was last written under this name; None before the first time. Raises sqlite3.Error."""
    row = connection.execute("SELECT value FROM mark WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def number(connection: sqlite3.Connection, name: str) -> int:
    """Return the number last written under this name; 0 before the first time. Raises sqlite3.Error."""
    return int(read(connection, name) or 0)


def write(connection: sqlite3.Connection, name: str, value: str | int) -> None:
    """Write it, inside the transaction of whoever asks. Raises sqlite3.Error."""
    connection.execute("INSERT OR REPLACE INTO mark (name, value) VALUES (?, ?)", (name, str(value)))


def remove(connection: sqlite3.Connection, name: str) -> None:
    """Forget it. Raises sqlite3.Error."""
    connection.execute("DELETE FROM mark WHERE name = ?", (name,))
