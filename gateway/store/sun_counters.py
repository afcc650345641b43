"""The counters of SUN tags in `capture.db`: of each the last that was accepted, so that no message counts twice.

A tag is known by a keyed hash of its UID. The counter is written with the event that its message makes, in one commit:
a crash leaves both or neither.
"""

import sqlite3

from gateway.core.authenticity import Spent

_SPEND = """INSERT INTO sun_counter (tag, counter) VALUES (?, ?)
            ON CONFLICT (tag) DO UPDATE SET counter = max(counter, excluded.counter)"""


def load(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the last counter accepted of each tag. Raises sqlite3.Error."""
    return {str(tag): int(counter) for tag, counter in connection.execute("SELECT tag, counter FROM sun_counter")}


def spend(connection: sqlite3.Connection, spent: Spent) -> None:
    """Write down that a tag has used a counter; it never goes back. Raises sqlite3.Error."""
    connection.execute(_SPEND, (spent.tag, spent.counter))
