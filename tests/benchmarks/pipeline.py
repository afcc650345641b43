"""A bare two-process pipeline: pipes -> SQLite, then SQLite -> MQTT. What the gateway is held against for latency.

    python -m tests.benchmarks.pipeline capture DIRECTORY PIPE ...
    python -m tests.benchmarks.pipeline uplink DIRECTORY PORT

It does what must be done and no more: JSON in, JSON out, one durable commit for whatever has come, a doorbell, a
durable mark of what is about to be published and what was acknowledged, one message in flight, and the trim folded
into the next commit. No decoding, no registry, no consent, no pseudonyms, no counters.
"""

import json
import os
import selectors
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.benchmarks.bare import bare_publisher
from tests.benchmarks.outbox import draft
from tests.benchmarks.sightings import written

MANY = "application/cloudevents-batch+json"
EVENTS, MARKS = "event TEXT NOT NULL", "published INTEGER NOT NULL, delivered INTEGER NOT NULL"
TOGETHER = 80
"""About what 64 KiB hold."""


def capture(directory: Path, pipes: list[str]) -> None:
    """Commit an event for every line that comes."""
    database, event = _open(directory / "events.db", EVENTS), json.loads(written(draft()))
    marks = _open(directory / "marks.db", MARKS)
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.settimeout(0)
    for lines in _ready(pipes):
        (through,) = marks.execute("SELECT coalesce(max(delivered), 0) FROM rows").fetchone()
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO rows (event) VALUES (?)", [(_event(event, line),) for line in lines])
        database.execute("DELETE FROM rows WHERE sequence <= ?", (through,))
        database.execute("COMMIT")
        with suppress(OSError):
            bell.sendto(b".", str(directory / "bell"))


def uplink(directory: Path, port: int) -> None:
    """Publish what is committed, batch after batch."""
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.bind(str(directory / "bell"))
    bell.settimeout(1)
    database, marks = _open(directory / "events.db", EVENTS), _open(directory / "marks.db", MARKS)
    through = 0
    with bare_publisher(port) as publisher:
        while True:
            statement = "SELECT sequence, event FROM rows WHERE sequence > ? ORDER BY sequence LIMIT ?"
            batch = database.execute(statement, (through, TOGETHER)).fetchall()
            if batch:
                marks.execute("INSERT OR REPLACE INTO rows VALUES (1, ?, ?)", (batch[-1][0], through))
                publisher.publish(f"[{','.join(event for _, event in batch)}]".encode(), MANY)
                through = batch[-1][0]
            else:
                with suppress(TimeoutError):
                    bell.recv(1)


def _open(path: Path, column: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=5)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")
    database.execute(f"CREATE TABLE IF NOT EXISTS rows (sequence INTEGER PRIMARY KEY AUTOINCREMENT, {column})")
    return database


def _ready(pipes: list[str]) -> Iterator[list[bytes]]:
    """Yield the lines that have come, from all pipes; each is kept open, so that writers may come and go."""
    selector = selectors.DefaultSelector()
    for pipe in pipes:
        selector.register(os.open(pipe, os.O_RDWR | os.O_NONBLOCK), selectors.EVENT_READ)
    while True:
        yield [line for key, _ in selector.select() for line in os.read(key.fd, 65_536).splitlines()]


def _event(event: dict[str, Any], line: bytes) -> str:
    event["data"]["reader"] = json.loads(line)["reader"]
    return json.dumps(event, separators=(",", ":"))


if __name__ == "__main__":
    if sys.argv[1] == "capture":
        capture(Path(sys.argv[2]), sys.argv[3:])
    else:
        uplink(Path(sys.argv[2]), int(sys.argv[3]))
