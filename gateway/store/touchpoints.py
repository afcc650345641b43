"""The registry in `capture.db`: a row a touchpoint, with the version of the registry in which it last changed."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gateway.core.registry import Touchpoint
from gateway.store.database import CorruptError
from gateway.store.schema import CAPTURE


def load(connection: sqlite3.Connection) -> tuple[int, list[Touchpoint]]:
    """Return the version of the registry and its touchpoints, in the order of the file they came from.

    Raises CorruptError if one makes no sense, sqlite3.Error.
    """
    rows = connection.execute("SELECT version, definition FROM touchpoint ORDER BY position").fetchall()
    return max((version for version, _ in rows), default=0), [_touchpoint(definition) for _, definition in rows]


def replace(connection: sqlite3.Connection, touchpoints: Sequence[Touchpoint]) -> dict[str, int]:
    """Make these the registry; return how many were added, changed, removed and left as they were."""
    version, before = load(connection)
    known = {touchpoint.id: touchpoint for touchpoint in before}
    changed = [touchpoint for touchpoint in touchpoints if known.get(touchpoint.id) != touchpoint]
    kept = {touchpoint.id for touchpoint in touchpoints}
    connection.executemany(
        "INSERT OR REPLACE INTO touchpoint (id, position, version, definition) VALUES (?, 0, ?, ?)",
        [(touchpoint.id, version + 1, json.dumps(asdict(touchpoint))) for touchpoint in changed],
    )
    connection.executemany("DELETE FROM touchpoint WHERE id = ?", [(gone,) for gone in known.keys() - kept])
    connection.executemany(
        "UPDATE touchpoint SET position = ? WHERE id = ?", [(at, item.id) for at, item in enumerate(touchpoints)]
    )
    added = sum(touchpoint.id not in known for touchpoint in changed)
    return {
        "added": added,
        "changed": len(changed) - added,
        "removed": len(known.keys() - kept),
        "unchanged": len(touchpoints) - len(changed),
    }


def _touchpoint(definition: str) -> Touchpoint:
    try:
        fields = json.loads(definition)
        return Touchpoint(**{**fields, "identifiers": tuple(fields["identifiers"])})
    except (ValueError, LookupError, TypeError):
        raise CorruptError("read", Path(CAPTURE.file), "a touchpoint is damaged", "It is set aside") from None
