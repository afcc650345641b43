"""The reference consumer as a process, and what it has stored."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.witness import read_only

NAME = "centre.db"


@dataclass(frozen=True)
class Stored:
    """An event as the centre has it, in order of arrival."""

    sequence: int
    through: int
    text: str
    copies: int
    changed: int


@dataclass
class Centre:
    """Starts, freezes and kills the consumer; looks into its database from outside."""

    directory: Path
    port: int
    options: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; `is_listening` tells when it has subscribed."""
        module = [sys.executable, "-m", "tests.simulators.reference_consumer"]
        where = ["--port", str(self.port), "--database", str(self.directory / NAME)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*module, *where, *self.options], stdout=log, stderr=log)

    def is_listening(self) -> bool:
        """Tell whether it has ever subscribed."""
        return "subscribed" in self.said()

    def kill(self) -> None:
        """Kill it; what it had not acknowledged comes again."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def said(self) -> str:
        """Return its log."""
        return self._log.read_text(encoding="utf-8")

    def through(self) -> int:
        """Return how far the session is stored without a hole; 0 before anything came."""
        try:
            with closing(read_only(self.directory / NAME)) as connection:
                row = connection.execute("SELECT through FROM session").fetchone()
        except sqlite3.OperationalError:  # it has not made its tables yet
            return 0
        return int(row[0]) if row else 0

    def stored(self) -> list[Stored]:
        """Return everything that it has, in the order in which it came first."""
        with closing(read_only(self.directory / NAME)) as connection:
            rows = connection.execute("SELECT sequence, through, text, copies, changed FROM event ORDER BY arrival")
            return [Stored(*row) for row in rows]

    @property
    def _log(self) -> Path:
        return self.directory / "centre.log"
