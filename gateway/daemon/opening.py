"""Opening `capture.db` for the capture half, in whatever state a power cut, a bad disk or a person has left it."""

import sqlite3
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateway.clock import Clock, boot_id
from gateway.config import Settings
from gateway.core.event import Draft, EventType, Previous, gap
from gateway.core.sighting import Moment
from gateway.log import Message, log, told
from gateway.sentence import sentence
from gateway.store.database import CorruptError, StoreError, explain, is_corrupt, open_writer
from gateway.store.ledger import read_all
from gateway.store.outbox import Outbox
from gateway.store.progress import Followed
from gateway.store.publishing import border
from gateway.store.recovery import mark, open_whole, set_aside, suspect
from gateway.store.salvage import take_over
from gateway.store.schema import CAPTURE
from gateway.store.touchpoints import load

PAGE = 4096
"""SQLite's default page size, octets."""


def open_outbox(settings: Settings, clock: Clock, followed: Followed) -> Outbox:
    """Open `capture.db` for writing; a new session opens with a gap that names the one before. Raises StoreError.

    A damaged file, or one that has gone back behind what was sent from it, is set aside first.
    """
    state = settings.gateway.state
    suspected = suspect(state, CAPTURE.file).exists()
    connection, kept = _open_file(state, clock.now().wall_ms, followed, thoroughly=suspected)
    outbox = Outbox(connection, settings.gateway.topics.source, boot_id())
    outbox.limit_pages = settings.gateway.limit_mb * 1024 * 1024 // PAGE
    outbox.published = lambda: followed.progress(outbox.session).fixed(outbox.boot)
    outbox.border = lambda: border(state)
    try:
        with outbox.transaction():
            if outbox.open(uuid.uuid4().hex, clock.now().wall_ms):
                _explain_session(outbox, clock.now(), followed, kept)
            elif suspected and (mended := outbox.mend()):
                log.error("capture.db: %d damaged events were replaced by gaps", len(mended))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        if is_corrupt(error):
            mark(state, CAPTURE.file)
        raise explain(error, "open", state / CAPTURE.file) from None
    return outbox


def _open_file(
    state: Path, now_ms: int, followed: Followed, *, thoroughly: bool
) -> tuple[sqlite3.Connection, Path | None]:
    """Open the file, whole or new; return also where a damaged one was set aside to."""
    connection, kept = open_whole(state, CAPTURE, now_ms, partial(_read, thoroughly=thoroughly))
    if kept is None and (sequence := _lost(connection, followed)):
        connection.close()
        log.error("capture.db: sequence %d was sent from it, and it knows nothing of it: it is an old copy", sequence)
        kept = set_aside(state, CAPTURE.file, now_ms)
        connection = open_writer(state, CAPTURE)
    if kept is not None:
        taken = take_over(connection, kept)
        extra = told(Message.STORE_SET_ASIDE, "store")
        log.error("capture.db: set aside as %s; taken over: %s", kept.name, taken or "nothing", extra=extra)
    return connection, kept


def _read(connection: sqlite3.Connection, *, thoroughly: bool) -> None:
    """Read what the half needs from its start on, and all consents if the file is under suspicion."""
    for table in ("session", "tally", "mark", "touchpoint"):  # also that each value is of its column's type
        if (found := connection.execute(f"PRAGMA quick_check({table})").fetchone()) != ("ok",):
            raise CorruptError("read", Path(CAPTURE.file), str(found[0]), sentence("It is set aside"))
    connection.execute("SELECT id FROM session").fetchone()
    connection.execute("SELECT seq FROM sqlite_sequence").fetchall()
    connection.execute("SELECT name, count FROM tally").fetchall()
    load(connection)
    if thoroughly:
        read_all(connection)
        _in_order(connection)


def _in_order(connection: sqlite3.Connection) -> None:
    """See that the rows stand in the order of their sequences. Raises CorruptError, sqlite3.Error."""
    if connection.execute("PRAGMA integrity_check(outbox)").fetchone() != ("ok",):
        raise CorruptError(
            "read", Path(CAPTURE.file), sentence("the outbox is out of order"), sentence("It is set aside")
        )


def _explain_session(outbox: Outbox, now: Moment, followed: Followed, kept: Path | None) -> None:
    """Open a new session with a gap, unless it is the first there ever was."""
    previous = None
    with suppress(StoreError):  # a damaged uplink.db knows of no session; its own half mends it
        previous = followed.previous()
    if previous is None and kept is None:
        return
    named = previous and Previous(session=previous[0], sequence=previous[1] or None)
    outbox.append([Draft(EventType.GAP, now, gap("new-session", previous=named), None, None)])


def _lost(connection: sqlite3.Connection, followed: Followed) -> int | None:
    """Return what the uplink published last, if the outbox does not know that it ever had it."""
    row = connection.execute("SELECT id FROM session").fetchone()
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    published = 0
    with suppress(StoreError):
        published = followed.progress(row[0]).published if row else 0
    return published if published > (last[0] if last else 0) else None
