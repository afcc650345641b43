"""The registry in `capture.db`: a row a touchpoint, with the version of the registry in which it last changed."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from gateway.core.downlink import RegistryEntry, unix_ms
from gateway.core.event import Product
from gateway.core.registry import Touchpoint
from gateway.sentence import sentence
from gateway.store import marks
from gateway.store.database import CorruptError
from gateway.store.schema import CAPTURE

STORE, CENTRE = "store", "centre"
"""Who decided last about a touchpoint."""

_PUT = """INSERT INTO touchpoint (id, position, version, definition, revision, origin)
          VALUES (?, (SELECT coalesce(max(position), -1) + 1 FROM touchpoint), ?, ?, ?, ?)
          ON CONFLICT (id) DO UPDATE SET version = excluded.version, definition = excluded.definition,
          revision = excluded.revision, origin = excluded.origin"""


def load(connection: sqlite3.Connection) -> tuple[int, list[Touchpoint]]:
    """Return the version of the registry and its touchpoints, in the order of the file they came from.

    Raises CorruptError if one makes no sense, sqlite3.Error.
    """
    rows = connection.execute("SELECT version, definition FROM touchpoint ORDER BY position").fetchall()
    return max((version for version, _ in rows), default=0), [_touchpoint(definition) for _, definition in rows]


def origins(connection: sqlite3.Connection) -> dict[str, str]:
    """Return who decided last about each touchpoint. Raises sqlite3.Error."""
    return dict(connection.execute("SELECT id, origin FROM touchpoint"))


def replace(connection: sqlite3.Connection, touchpoints: Sequence[Touchpoint], *, keep: bool = False) -> dict[str, int]:
    """Make these the registry, or with `keep` a part of it; return how many were added, changed, removed, unchanged.

    What is changed here keeps the revision of the centre on which it is based: only a newer one replaces it.
    """
    version, before = load(connection)
    known = {touchpoint.id: touchpoint for touchpoint in before}
    changed = [touchpoint for touchpoint in touchpoints if known.get(touchpoint.id) != touchpoint]
    gone = set() if keep else known.keys() - {touchpoint.id for touchpoint in touchpoints}
    for touchpoint in changed:
        _put(connection, touchpoint, version + 1, _standing(connection, touchpoint.id)[0], STORE)
    for each in gone:
        _remove(connection, each, _standing(connection, each)[0])
    if not keep:
        order = [(at, touchpoint.id) for at, touchpoint in enumerate(touchpoints)]
        connection.executemany("UPDATE touchpoint SET position = ? WHERE id = ?", order)
    added = sum(touchpoint.id not in known for touchpoint in changed)
    return {
        "added": added,
        "changed": len(changed) - added,
        "removed": len(gone),
        "unchanged": len(touchpoints) - len(changed),
    }


@dataclass(frozen=True, slots=True)
class Taken:
    """What the centre's word has changed: a touchpoint, and the names of the fields that are different."""

    id: str
    what: Literal["added", "changed", "removed"]
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what} {self.id}" + (f" ({', '.join(self.fields)})" if self.fields else "")


def reconcile(connection: sqlite3.Connection, name: str, revision: int, definition: Touchpoint | None) -> Taken | None:
    """Take what the centre says of a touchpoint, if it is newer than what is here; None if nothing changes.

    The higher revision wins; of two that are equal, what was decided in the store stays. `definition` None: removed.
    """
    known, origin = _standing(connection, name)
    version, before = load(connection)
    here = next((touchpoint for touchpoint in before if touchpoint.id == name), None)
    if definition is None:
        if revision < known or (revision == known and origin == STORE and here is not None):
            return None
        _remove(connection, name, revision)
        return None if here is None else Taken(name, "removed")
    if revision < known or (revision == known and (here is not None or marks.read(connection, _mark(name)))):
        return None
    _put(connection, definition, version + 1, revision, CENTRE)
    if here is None:
        return Taken(name, "added")
    fields = tuple(field for field, value in asdict(definition).items() if asdict(here)[field] != value)
    return Taken(name, "changed", fields) if fields else None


def from_entry(entry: RegistryEntry) -> Touchpoint:
    """Read the centre's definition."""
    product = entry.product or Product(gtin=None, reference=None, serial=None)
    return Touchpoint(
        id=entry.id,
        kind=entry.kind,
        name=entry.name,
        zone=entry.zone,
        phase=entry.phase,
        gtin=product.gtin,
        reference=product.reference,
        serial=product.serial,
        campaign=entry.campaign,
        valid_from_ms=None if entry.valid_from is None else unix_ms(entry.valid_from),
        valid_until_ms=None if entry.valid_until is None else unix_ms(entry.valid_until),
        identifiers=entry.identifiers,
    )


def _standing(connection: sqlite3.Connection, name: str) -> tuple[int, str]:
    """Return the revision of the centre on which a touchpoint, or its removal, is based, and who decided last."""
    row = connection.execute("SELECT revision, origin FROM touchpoint WHERE id = ?", (name,)).fetchone()
    return (row[0], row[1]) if row else (marks.number(connection, _mark(name)), STORE)


def _put(connection: sqlite3.Connection, touchpoint: Touchpoint, version: int, revision: int, origin: str) -> None:
    """Write a touchpoint at its place; a new one at the end."""
    marks.remove(connection, _mark(touchpoint.id))
    connection.execute(_PUT, (touchpoint.id, version, json.dumps(asdict(touchpoint)), revision, origin))


def _remove(connection: sqlite3.Connection, name: str, revision: int) -> None:
    """Remove a touchpoint; the same revision of the centre does not bring it back."""
    connection.execute("DELETE FROM touchpoint WHERE id = ?", (name,))
    marks.write(connection, _mark(name), revision)


def _mark(name: str) -> str:
    return f"touchpoint-removed:{name}"


def _touchpoint(definition: str) -> Touchpoint:
    try:
        fields = json.loads(definition)
        return Touchpoint(**{**fields, "identifiers": tuple(fields["identifiers"])})
    except (ValueError, LookupError, TypeError):
        raise CorruptError(
            "read", Path(CAPTURE.file), sentence("a touchpoint is damaged"), sentence("It is set aside")
        ) from None
