"""What the centre has said, as capture reads it in `uplink.db`: page by page, from where it left off.

Each file has an id, and positions mean something only in their own file: in another one capture begins at 0 again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.store import marks
from gateway.store.reading import Reading, explained
from gateway.store.schema import UPLINK

PAGE = 500

_CONSENTS = """SELECT position, record_id, record FROM consent
               WHERE position > ? AND position <= ? AND state NOT IN ('given', 'renewed') ORDER BY position"""
_UNTIL = "SELECT max(position) FROM (SELECT position FROM consent WHERE position > ? ORDER BY position LIMIT ?)"
_HANDLES = "SELECT handle FROM consent_handle WHERE record_id = ?"
_TOUCHPOINTS = "SELECT position, id, revision, definition FROM touchpoint WHERE position > ? ORDER BY position LIMIT ?"
_COMMANDS = (
    "SELECT position, id, command, jws, status, reason FROM command WHERE position > ? ORDER BY position LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Change:
    """A consent that has changed and is not in force; into those that are the ledger looks by itself."""

    position: int
    record_id: str = field(repr=False)
    record: str = field(repr=False)
    """As it was signed."""
    handles: frozenset[str] = field(repr=False)
    """Under which it is filed: to see quickly whether it matters here."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A touchpoint as the centre defines it."""

    position: int
    id: str
    revision: int
    text: str | None
    """JSON; None if the centre has removed it."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """A command, and what has become of it in the uplink half."""

    position: int
    id: str
    command: str
    jws: str | None = field(repr=False)
    """For capture to carry out, as it was signed; None if the uplink half did all of it."""
    status: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the consent set stands."""

    file: str
    """The id of the file."""
    revision: int | None
    """Of the set; None while the records here do not come to what the centre said."""
    removed: int
    """How many records the centre has dropped, since there is this file."""


@dataclass(slots=True)
class Central(Reading):
    """A reader of what the centre has said. Every method raises StoreError."""

    schema = UPLINK

    @explained
    def standing(self) -> Standing | None:
        """Return where the consent set stands; None while there is no file."""
        connection = self.connection()
        if connection is None:
            return None
        confirmed = connection.execute("SELECT revision FROM consent_set WHERE confirmed = 1").fetchone()
        (removed,) = connection.execute("SELECT number FROM removed").fetchone()
        return Standing(marks.read(connection, "file") or "", confirmed[0] if confirmed else None, removed)

    @explained
    def consents(self, after: int, limit: int = PAGE) -> tuple[int | None, Sequence[Change]]:
        """Look at the next consents that have changed after a position, and return how far that is; None at the end."""
        connection = self.connection()
        if connection is None:
            return None, ()
        (until,) = connection.execute(_UNTIL, (after, limit)).fetchone()
        rows: list[Any] = [] if until is None else connection.execute(_CONSENTS, (after, until)).fetchall()
        changes = []
        for position, record_id, record in rows:
            handles = frozenset(handle for (handle,) in connection.execute(_HANDLES, (record_id,)))
            changes.append(Change(position, record_id, record, handles))
        return until, changes

    @explained
    def touchpoints(self, after: int, limit: int = PAGE) -> Sequence[Definition]:
        """Return the next definitions that have changed after a position."""
        connection = self.connection()
        return [Definition(*row) for row in connection.execute(_TOUCHPOINTS, (after, limit))] if connection else []

    @explained
    def commands(self, after: int, limit: int = PAGE) -> Sequence[Instruction]:
        """Return the next commands after a position."""
        connection = self.connection()
        return [Instruction(*row) for row in connection.execute(_COMMANDS, (after, limit))] if connection else []
