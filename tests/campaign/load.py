"""Customers in a hurry: bursts of scans at several readers, hundreds a second.

Each reader's scans are numbered, and the number is the touchpoint that is scanned; so the events tell which scan they
are. Now and then a customer with consent presents her token first, so that the consent of what follows is looked up
again before it is sent.
"""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self

from tests.campaign.installation import LINK, POINTS, READERS, open_pipe
from tests.core import salon

RATE = 400.0
"""Scans a second, all readers together."""
BURST = 25
"""A burst is up to so many scans."""
TOKENS = 0.01
"""The share of scans that are a customer's token."""


@dataclass
class Load:
    """Writes what is due to the scanners' pipes; what finds no room is not scanned."""

    directory: Path
    dice: Random
    rate: float = RATE
    written: dict[str, int] = field(default_factory=lambda: dict.fromkeys(READERS, 0))
    """How many numbered scans each reader was given."""
    _pipes: dict[str, int] = field(default_factory=dict)
    _next: float = 0.0

    def __enter__(self) -> Self:
        self._pipes = {name: open_pipe(self.directory / name) for name in READERS}
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes.values():
            os.close(pipe)

    def tick(self) -> None:
        """Scan a burst, if one is due."""
        now = time.monotonic()
        if now < self._next:
            return
        burst = self.dice.randint(1, BURST)
        self._next = max(self._next, now - 0.1) + burst / self.rate
        for _ in range(burst):
            self._scan(self.dice.choice(READERS))

    def _scan(self, reader: str) -> None:
        if self.dice.random() < TOKENS:
            self._write(reader, salon.ANNA.value)
        elif self._write(reader, f"{LINK}{self.written[reader] % POINTS}"):
            self.written[reader] += 1

    def _write(self, reader: str, text: str) -> bool:
        line = json.dumps({"at": 0, "reader": reader, "scan": {"text": text}}) + "\n"
        try:
            return os.write(self._pipes[reader], line.encode()) > 0  # below PIPE_BUF: whole or not at all
        except BlockingIOError:
            return False
