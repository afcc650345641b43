"""The audit log: who did what and when, without identities, as a chain that cannot be changed unnoticed.

The hash of an entry is the SHA-256, in hexadecimal, of the hash before it and the canonical JSON (keys sorted, no
white space, UTF-8) of its number, time, doer, deed and detail. Whoever has seen the head of the chain, the hash of its
last entry, can tell later whether anything before it was changed or taken out; the centre sees it in the state message.
Entries older than the configuration keeps them go, oldest first; the hash before the first that is left stays.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from gateway.sentence import sentence
from gateway.store import marks

GENESIS = "0" * 64
"""The hash before the first entry ever."""
START = "audit-start"
"""The mark: number and hash of the last entry that has gone."""
PRUNED = "audit-pruned"
GATEWAY = "gateway"
"""Who did what nobody asked for."""

_ENTRIES = "SELECT number, at_ms, who, what, detail, hash FROM audit WHERE number > ? ORDER BY number"
_LAST = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
_INSERT = "INSERT INTO audit (number, at_ms, who, what, detail, hash) VALUES (?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Entry:
    """What was done: its number from 1, when (Unix milliseconds), by whom, what, and JSON about it."""

    number: int
    at_ms: int
    who: str
    what: str
    detail: str
    hash: str

    def follows(self, before: str) -> bool:
        """Tell whether it is what was written after the entry of this hash."""
        return self.hash == _hash(before, self.number, self.at_ms, self.who, self.what, self.detail)


def append(
    connection: sqlite3.Connection, at_ms: int, who: str, what: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Add an entry, in the transaction of what it tells of. `detail` holds no identity. Raises sqlite3.Error.

    `who` is the user that asked (`request["who"]`), the `kid` of a command's issuer, or GATEWAY.
    """
    number, before = last(connection)
    text = _canonical(detail or {})
    entry = (number + 1, at_ms, who, what, text)
    connection.execute(_INSERT, (*entry, _hash(before, *entry)))


def last(connection: sqlite3.Connection) -> tuple[int, str]:
    """Return number and hash of the last entry there ever was: the head of the chain. Raises sqlite3.Error."""
    row = connection.execute(_LAST).fetchone()
    return (int(row[0]), str(row[1])) if row else start(connection)


def start(connection: sqlite3.Connection) -> tuple[int, str]:
    """Return number and hash of the last entry that has gone by its age. Raises sqlite3.Error."""
    number, _, before = (marks.read(connection, START) or f"0 {GENESIS}").partition(" ")
    return (int(number) if number.isdecimal() else 0), before


def head(connection: sqlite3.Connection) -> str | None:
    """Return the head of the chain as it is published, `{number}:{hash}`; None while it is empty."""
    number, newest = last(connection)
    return f"{number}:{newest}" if number else None


def entries(connection: sqlite3.Connection, after: int = 0) -> Iterator[Entry]:
    """Yield the entries after a number, oldest first. Raises sqlite3.Error."""
    for row in connection.execute(_ENTRIES, (after,)):
        yield Entry(*row)


def prune(connection: sqlite3.Connection, now_ms: int, keep_ms: int) -> int:
    """Let the oldest entries go that are older than `keep_ms`; return how many. Raises sqlite3.Error.

    Only from the beginning on: an entry of a clock that went wrong goes with its neighbours, not before them.
    """
    kept = "SELECT number FROM audit WHERE at_ms >= ? ORDER BY number LIMIT 1"
    row = connection.execute(kept, (now_ms - keep_ms,)).fetchone()
    until = row[0] if row else last(connection)[0] + 1
    gone = connection.execute(
        "SELECT number, hash FROM audit WHERE number < ? ORDER BY number DESC LIMIT 1", (until,)
    ).fetchone()
    if gone is None:
        return 0
    marks.write(connection, START, f"{gone[0]} {gone[1]}")
    number = connection.execute("DELETE FROM audit WHERE number < ?", (until,)).rowcount
    append(connection, now_ms, GATEWAY, PRUNED, {"through": gone[0]})
    return number


def problems(connection: sqlite3.Connection, seen: str | None = None) -> Iterator[str]:
    """Say what is wrong with the chain: nothing, if it is as it was written. Raises sqlite3.Error.

    Ask within a `snapshot`: old entries may go meanwhile. `seen` is a head that was seen earlier (`{number}:{hash}`):
    its entry must still be there, unless it was too old.
    """
    began, before = start(connection)
    number, pruned, hashes = began, 0, {began: before}
    for entry in entries(connection):
        if entry.number != number + 1:
            yield sentence("entry {number} is missing").format(number=number + 1)
        if not entry.follows(before):
            yield sentence("entry {number} is not what was written, or not after what stands before it").format(
                number=entry.number
            )
        if entry.what == PRUNED:
            pruned = _through(entry.detail)
        number, before = entry.number, entry.hash
        hashes[number] = before
    if began != pruned:
        yield sentence("entries up to {began} are gone, and no entry says that they were old").format(began=began)
    if number < _sequence(connection):
        yield sentence("entries {number} to {sequence} are missing at the end").format(
            number=number + 1, sequence=_sequence(connection)
        )
    if seen is not None:
        yield from _unlike(seen, began, hashes)


def _unlike(seen: str, began: int, hashes: Mapping[int, str]) -> Iterator[str]:
    text, _, known = seen.partition(":")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < len(str(1 << 63)) else 0
    if number < 1:
        yield sentence("the head to compare with is no `number:hash`")
    elif number >= began and hashes.get(number) != known:
        yield sentence("entry {number} is not the one that was seen earlier").format(number=number)


def _sequence(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    return int(row[0]) if row else 0


def _through(detail: str) -> int:
    try:
        return int(json.loads(detail)["through"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _hash(  # the parts of one entry
    before: str, number: int, at_ms: int, who: str, what: str, detail: str
) -> str:
    entry = {"number": number, "at_ms": at_ms, "who": who, "what": what, "detail": detail}
    return sha256(f"{before}{_canonical(entry)}".encode()).hexdigest()
