"""Which tags were written here, for which touchpoint, and how far each has come: `inventory.db`, without any UID.

A tag is known by a keyed hash of its UID. What happens to it is on the disk before it happens: a tag that a power cut
leaves behind half done is listed as begun.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gateway.store.database import open_writer, transaction
from gateway.store.schema import INVENTORY


class State(StrEnum):
    """How far a tag has come."""

    BEGUN = "begun"
    """It may hold anything; it can be written again."""
    WRITTEN = "written"
    """Its link was read back; anybody can write over it."""
    PROTECTED = "protected"
    LOCKED = "locked"
    LOST = "lost"
    """It was taken away half done, and has not come back."""
    ERASED = "erased"


USED = frozenset({State.WRITTEN, State.PROTECTED, State.LOCKED})
"""A tag in these states belongs to its touchpoint."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a tag."""

    tag: str = field(repr=False)
    touchpoint: str
    answer: str | None
    link: str
    chip: str
    state: State
    at_ms: int
    """When it came to this state, by the wall clock."""


class Inventory:
    """The inventory, open for writing. Methods raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find(self, tag: str) -> Entry | None:
        """Return what is known of a tag."""
        row = self._connection.execute(f"{_SELECT} WHERE tag = ?", (tag,)).fetchone()
        return None if row is None else _entry(row)

    def all(self) -> list[Entry]:
        """Return every tag, by its touchpoint."""
        return [_entry(row) for row in self._connection.execute(f"{_SELECT} ORDER BY touchpoint, answer, at_ms")]

    def record(self, entry: Entry) -> None:
        """Set down what is known of a tag now; on the disk when this returns."""
        values = (entry.tag, entry.touchpoint, entry.answer, entry.link, entry.chip, entry.state.value, entry.at_ms)
        with transaction(self._connection) as connection:
            connection.execute("INSERT OR REPLACE INTO tag VALUES (?, ?, ?, ?, ?, ?, ?)", values)


_SELECT = "SELECT tag, touchpoint, answer, link, chip, state, at_ms FROM tag"


def _entry(row: tuple[str, str, str | None, str, str, str, int]) -> Entry:
    return Entry(*row[:5], State(row[5]), row[6])


@contextmanager
def inventory(directory: Path) -> Iterator[Inventory]:
    """Open the inventory of a state directory, or begin it. Raises StoreError."""
    with closing(open_writer(directory, INVENTORY)) as connection:
        yield Inventory(connection)
