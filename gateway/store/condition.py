"""How keys, consents, store and readers fare, left by capture in its file for the uplink half and the CLI to tell."""

import json
import sqlite3
from collections.abc import Mapping

from gateway.store import marks

_MARK = "condition"
_READER = "reader:"


def of_reader(name: str) -> str:
    """Return what the component is called that a reader is."""
    return f"{_READER}{name}"


def is_of_reader(component: str) -> bool:
    """Tell whether a component is a reader."""
    return component.startswith(_READER)


def tell(connection: sqlite3.Connection, wrong: Mapping[str, str | None]) -> None:
    """Write what is wrong by component, None where nothing is. Raises sqlite3.Error."""
    marks.write(connection, _MARK, json.dumps(wrong))


def read(connection: sqlite3.Connection) -> dict[str, str | None]:
    """Return what was told last. Raises sqlite3.Error."""
    try:
        told = json.loads(marks.read(connection, _MARK) or "{}")
        return {str(name): None if wrong is None else str(wrong) for name, wrong in told.items()}
    except (ValueError, AttributeError, RecursionError):
        return {}
