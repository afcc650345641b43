"""How far each session was sent and delivered, and how the uplink fares: `uplink.db`."""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.core.event import GapReason
from gateway.store.database import CorruptError, StoreError, explain, transaction, visible
from gateway.store.reading import Reading, explained
from gateway.store.recovery import mark
from gateway.store.schema import UPLINK

_PROGRESS = "SELECT published, delivered, reserved, boot FROM progress WHERE session = ?"


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one session: the highest sequence that may have been published, and the highest known to be delivered.

    Both are recorded without a sync, which would cost more than publishing: a power cut may set them back. `reserved`
    is synced before anything behind it is published, so no more than that was, in the boot of the machine named here.
    """

    published: int = 0
    delivered: int = 0
    reserved: int = 0
    boot: str = ""

    def fixed(self, boot: str) -> int:
        """Return up to where rows may have been published, as it is known in this boot."""
        return self.published if boot == self.boot else max(self.published, self.reserved)


@dataclass(frozen=True, slots=True)
class Component:
    """How a component fares, and since when (Unix milliseconds)."""

    ok: bool
    reason: str | None
    since_ms: int


@contextmanager
def sqlite_explained(connection: sqlite3.Connection) -> Iterator[None]:
    """Raise StoreError for what SQLite raises; a damaged file is marked, and mended when it is opened anew."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
        told = explain(error, "use", path)
        if isinstance(told, CorruptError):
            mark(path.parent, path.name)
        raise told from None


def progress(connection: sqlite3.Connection, session: str) -> Progress:
    """Read how far a session has got. Raises StoreError."""
    with sqlite_explained(connection):
        row = connection.execute(_PROGRESS, (session,)).fetchone()
    return Progress(*row) if row else Progress()


def recorded(connection: sqlite3.Connection, session: str) -> bool:
    """Tell whether anything is known of a session. Raises StoreError."""
    with sqlite_explained(connection):
        return connection.execute("SELECT 1 FROM progress WHERE session = ?", (session,)).fetchone() is not None


def record(connection: sqlite3.Connection, session: str, now: Progress, *, durable: bool = True) -> None:
    """Write how far a session has got; refusals that are behind it are done with. Raises StoreError."""
    with sqlite_explained(connection), (transaction if durable else visible)(connection):
        connection.execute(
            "INSERT OR REPLACE INTO progress (session, published, delivered, reserved, boot) VALUES (?, ?, ?, ?, ?)",
            (session, now.published, now.delivered, now.reserved, now.boot),
        )
        connection.execute("DELETE FROM refused WHERE session <> ? OR sequence <= ?", (session, now.delivered))


def refuse(connection: sqlite3.Connection, session: str, sequences: Collection[int], reason: GapReason) -> None:
    """Ask capture to turn these rows into gaps: consent is no longer in force, or no broker takes them.

    Raises StoreError.
    """
    with sqlite_explained(connection), transaction(connection):
        rows = [(session, sequence, reason) for sequence in sequences]
        connection.executemany("INSERT OR IGNORE INTO refused (session, sequence, reason) VALUES (?, ?, ?)", rows)


def report(connection: sqlite3.Connection, component: str, state: Component) -> None:
    """Write how a component fares, if that has changed, and if the disk takes it. Raises CorruptError."""
    try:
        with sqlite_explained(connection):
            _report(connection, component, state)
    except CorruptError:
        raise
    except StoreError:
        return  # whoever reports a full or read-only disk must not fail for it


def _report(connection: sqlite3.Connection, component: str, state: Component) -> None:
    row = connection.execute("SELECT ok, reason FROM health WHERE component = ?", (component,)).fetchone()
    if row == (int(state.ok), state.reason):
        return
    with transaction(connection):
        connection.execute(
            "INSERT OR REPLACE INTO health (component, ok, reason, since_ms) VALUES (?, ?, ?, ?)",
            (component, int(state.ok), state.reason, state.since_ms),
        )


def components(connection: sqlite3.Connection) -> dict[str, Component]:
    """Read how each component of the uplink fares. Raises StoreError."""
    with sqlite_explained(connection):
        rows = connection.execute("SELECT component, ok, reason, since_ms FROM health").fetchall()
    return {component: Component(bool(ok), reason, since_ms) for component, ok, reason, since_ms in rows}


@dataclass(slots=True)
class Followed(Reading):
    """What capture sees of `uplink.db`, once there is one."""

    schema = UPLINK
    _seen: object = None

    @explained
    def changed(self) -> bool:
        """Tell whether the uplink has committed anything since the last call."""
        if (version := self.version()) in {None, self._seen}:
            return False
        self._seen = version
        return True

    @explained
    def progress(self, session: str) -> Progress:
        """Read how far a session has got."""
        connection = self.connection()
        return progress(connection, session) if connection is not None else Progress()

    @explained
    def consent_set(self) -> tuple[int, bool, int] | None:
        """Read how many consents the centre has, whether they are all here, and when it last said so (ms)."""
        connection = self.connection()
        row = connection and connection.execute("SELECT count, confirmed, at_ms FROM consent_set").fetchone()
        return (int(row[0]), bool(row[1]), int(row[2])) if row else None

    @explained
    def refused(self, session: str) -> dict[int, GapReason]:
        """Read which rows the uplink asks to be set aside, and why."""
        connection = self.connection()
        if connection is None:
            return {}
        return dict(connection.execute("SELECT sequence, reason FROM refused WHERE session = ?", (session,)))

    @explained
    def previous(self) -> tuple[str, int] | None:
        """Read the last session that was sent from, and the last sequence known of it."""
        connection = self.connection()
        if connection is None:
            return None
        row = connection.execute("SELECT session, published FROM progress ORDER BY rowid DESC LIMIT 1").fetchone()
        return (row[0], row[1]) if row else None
