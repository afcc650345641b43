"""How often each touchpoint is used, in `capture.db`: a number for each touchpoint, day and kind of touch.

Acts are counted, not people. A row says which touchpoint of the store, on which day, whether tap, scan or response, and
how many: no subject, handle, pseudonym, token, reader or answer, and no time of day. So nothing joins two touches, or a
touch to whoever made it, and rows lie in the order of their key, not of what happened. An act counts the same whether
its customer is named or not, therefore a withdrawal or an erasure has nothing to take back here. Whoever reads the file
learns what anybody standing in the store can count.

Numbers are written in the commit of the events that they count, a row for each: a crash leaves both or neither.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from gateway.core.event import Draft, EventType
from gateway.core.sighting import ClockQuality

KEPT_DAYS: Final = 400
"""A year, and enough to set the month beside the same one of the year before."""
TOUCHES: Final = (EventType.TAP, EventType.SCAN, EventType.RESPONSE)
_UNDATED = ""
"""The day of what is touched while the clock is not set."""

_COUNT = """INSERT INTO usage (touchpoint, day, touch, count) VALUES (?, ?, ?, ?)
            ON CONFLICT (touchpoint, day, touch) DO UPDATE SET count = count + excluded.count"""
_DATE = """INSERT INTO usage (touchpoint, day, touch, count) SELECT touchpoint, ?, touch, count FROM usage WHERE day = ?
           ON CONFLICT (touchpoint, day, touch) DO UPDATE SET count = count + excluded.count"""


class Use(NamedTuple):
    """That a touchpoint was touched: where, on which day (as 2026-11-21), and how."""

    touchpoint: str
    day: str
    touch: str


def day_of(unix_ms: int, zone: tzinfo | None) -> str:
    """Return the day of a time, as 2026-11-21, in a time zone; None is the device's."""
    return datetime.fromtimestamp(unix_ms / 1000, zone).date().isoformat()


def touches(drafts: Iterable[Draft], zone: tzinfo | None) -> Counter[Use]:
    """Return what these events count as. The day of those from before the clock was set is not known yet."""
    return Counter(Use(each.touched, _day(each, zone), str(each.type)) for each in drafts if each.touched is not None)


def count(connection: sqlite3.Connection, found: Counter[Use]) -> None:
    """Add to the numbers, inside the transaction of whoever asks. Raises sqlite3.Error."""
    connection.executemany(_COUNT, [(*use, number) for use, number in found.items()])


def date(connection: sqlite3.Connection, today: str) -> None:
    """Count what was touched while the clock was not set as of today, now that it is. Raises sqlite3.Error.

    A gateway without a real-time clock gets the time within minutes of its start, wherever it has a network.
    """
    connection.execute(_DATE, (today, _UNDATED))
    connection.execute("DELETE FROM usage WHERE day = ?", (_UNDATED,))


def prune(connection: sqlite3.Connection, before: str) -> None:
    """Forget the days before this one. Raises sqlite3.Error."""
    connection.execute("DELETE FROM usage WHERE day < ? AND day <> ?", (before, _UNDATED))


def load(connection: sqlite3.Connection, since: str = "") -> Counter[Use]:
    """Return the numbers from a day on. Raises sqlite3.Error."""
    rows = connection.execute("SELECT touchpoint, day, touch, count FROM usage WHERE day >= ?", (since,))
    return Counter({Use(str(touchpoint), str(day), str(touch)): int(number) for touchpoint, day, touch, number in rows})


def last_days(connection: sqlite3.Connection) -> dict[str, str]:
    """Return when each touchpoint was last touched, as a day; empty text: before the clock was set.

    Raises sqlite3.Error.
    """
    return dict(connection.execute("SELECT touchpoint, max(day) FROM usage GROUP BY touchpoint"))


def _day(draft: Draft, zone: tzinfo | None) -> str:
    return _UNDATED if draft.at.quality is ClockQuality.UNSYNCED else day_of(draft.at.wall_ms, zone)
