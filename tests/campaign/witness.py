"""What counts as accepted: what somebody else could read in the files.

An event is accepted when a second connection, opened read-only by this process, has seen its row in `capture.db`:
SQLite shows a row to others only after the commit has synced it, and neither half knows that anybody looked. The
witness keeps the text of each row that it saw, and the highest sequence ever given. It closes its connection before the
fault strikes, so that it holds no lock or log open over a restart.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Witness:
    """Looks into the files of a gateway from outside."""

    state: Path
    last: int = 0
    """The highest sequence that was accepted."""
    texts: dict[int, str] = field(default_factory=dict)
    """By sequence, the text of each row that was seen before it was trimmed."""
    accepted: dict[str, int] = field(default_factory=dict)
    """By reader, the number of the last scan that was accepted."""
    waiting: int = 0
    """How many rows were in the outbox."""
    wrong: list[str] = field(default_factory=list)
    _connection: sqlite3.Connection | None = None
    _seen: int = 0

    def look(self) -> None:
        """Take note of every row that is new."""
        if self._connection is None:
            self._connection = read_only(self.state / "capture.db")
        self._connection.execute("BEGIN")
        (last,) = self._connection.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'"
        ).fetchone()
        (self.waiting,) = self._connection.execute("SELECT count(*) FROM outbox").fetchone()
        rows = self._connection.execute("SELECT sequence, event FROM outbox WHERE sequence > ?", (self._seen,))
        new = rows.fetchall()
        self._connection.execute("COMMIT")
        if last < self.last:
            self.wrong.append(f"the outbox went back from sequence {self.last} to {last}")
        self.last = last
        for sequence, text in new:
            self._note(sequence, text)

    def look_away(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _note(self, sequence: int, text: str) -> None:
        self._seen = max(self._seen, sequence)
        self.texts[sequence] = text
        if (scan := scan_of(text)) is not None:
            self.accepted[scan[0]] = scan[1]

    def progress(self) -> tuple[int, int]:
        """Return how far the uplink has published, and how far it counts as delivered."""
        with closing(read_only(self.state / "uplink.db")) as connection:
            row = connection.execute("SELECT published, delivered FROM progress").fetchone()
        return row or (0, 0)

    def broker_is_missed(self) -> bool:
        """Tell whether the uplink says that it has no broker."""
        with closing(read_only(self.state / "uplink.db")) as connection:
            row = connection.execute("SELECT ok FROM health WHERE component = 'broker'").fetchone()
        return bool(row and not row[0])


def read_only(path: Path) -> sqlite3.Connection:
    """Open a database as an outsider does."""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10)


def scan_of(text: str) -> tuple[str, int] | None:
    """Return the reader of an event, and the number of its scan modulo the touchpoints; None if it has none."""
    data = json.loads(text)["data"]
    name = (data.get("touchpoint") or {}).get("id", "")
    return (data["reader"], int(name.removeprefix("p-"))) if name.startswith("p-") else None
