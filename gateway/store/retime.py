"""Times put right: events of this boot that were stamped before the clock was synced.

A gateway without a real-time clock wakes up in the wrong year. Each row has its time on the boot-time clock as well,
so once the wall clock is synced, the distance of the two gives the true time. Rows of an earlier boot have no such
distance any more and stay `unsynced`.

Only rows that were never published are changed, and none is published meanwhile (`gateway.store.publishing`).
"""

from gateway.core.event import Event, encode
from gateway.core.sighting import ClockQuality, Moment
from gateway.store.checksum import checksum
from gateway.store.outbox import Outbox

AT_ONCE = 500
"""So many rows are corrected in one commit, so that a tap need not wait long."""

_UNSYNCED = """SELECT sequence, boot_ns, event FROM outbox
               WHERE quality = 'unsynced' AND boot = ? AND sequence > ? ORDER BY sequence LIMIT ?"""
_CORRECT = "UPDATE outbox SET wall_ms = ?, quality = ?, event = ?, crc = ? WHERE sequence = ?"


def correct_times(outbox: Outbox, now: Moment) -> int:
    """Correct the next rows by a synced clock; return how many. 0: there are no more, or the clock is not synced."""
    if now.quality is not ClockQuality.SYNCED:
        return 0
    rows = outbox.connection.execute(_UNSYNCED, (outbox.boot, outbox.fixed(), AT_ONCE)).fetchall()
    began_ms = now.wall_ms - now.boot_ns // 1_000_000
    for sequence, boot_ns, text in rows:
        wall_ms = began_ms + boot_ns // 1_000_000
        event = restamped(text, wall_ms)
        outbox.connection.execute(_CORRECT, (wall_ms, str(now.quality), event, checksum(event, sequence), sequence))
    return len(rows)


def restamped(text: str, wall_ms: int) -> str:
    """Return an event with another time (Unix milliseconds) and a synced clock; all else stays as it is."""
    event = Event.model_validate_json(text)
    data = event.data
    if "clock" in type(data).model_fields:  # a gap says nothing of the clock
        data = data.model_copy(update={"clock": ClockQuality.SYNCED})
    return encode(
        event.kind,
        wall_ms,
        data.model_dump_json(),
        source=event.source,
        session=event.session,
        sequence=int(event.sequence),
    )
