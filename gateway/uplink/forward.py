"""Sending what waits, in order: say how far, read, decide once more, publish, go on.

One message is in flight, so order holds. How far will be published is recorded *before* those rows are read, and from
then on capture leaves them as they are: whatever is sent stands in the file, and whoever withdraws a row later knows
that it may have been seen. Nothing is kept in memory but a cursor: after a lost connection it starts again behind what
is known to be delivered, and the same rows go out again, unchanged.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from sqlite3 import Connection as Database
from typing import Literal

from pydantic import ValidationError

from gateway.core.consent import Denied, Ledger, Reason, decide
from gateway.core.downlink import Receipt
from gateway.core.event import EventType, encode, gap
from gateway.core.sighting import Moment
from gateway.store.backlog import Backlog, Row
from gateway.store.database import StoreError
from gateway.store.progress import Progress, progress, record, refuse
from gateway.store.publishing import border
from gateway.uplink.mqtt import TOO_LARGE, Connection, Message, MqttError, PublishRefusedError

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
HEADER = 512
"""Room for the topic and the properties of a PUBLISH packet, octets."""
POLL_SECONDS = 1.0
"""How long a lost ring of the doorbell can go unnoticed."""
SETTLE_SECONDS = 0.2
"""How long a delivery waits to be recorded together with the next publish."""
AHEAD = 500
"""So many waiting rows are announced at once, and so far ahead is what is announced reserved with a sync."""
RECEIPT_SECONDS = 30.0
"""How long to wait for a receipt before publishing again; doubled each time, up to ten minutes."""
RECEIPT_SECONDS_MAX = 600.0
PASSING = frozenset({Reason.STALE, Reason.CLOCK})
"""Refusals that pass by themselves."""


@dataclass(slots=True)
class Forwarder:
    """Forwards one outbox. `bell` is set when there may be something to send; `ring` tells capture of progress."""

    database: Database
    backlog: Backlog
    ledger: Ledger
    topic: str
    bell: asyncio.Event
    ring: Callable[[], None]
    now: Callable[[], Moment]
    delivery: Literal["puback", "receipt"] = "puback"
    batch: int = 500
    batch_bytes: int = 65_536
    source: str = ""
    """The CloudEvents source."""
    boot: str = ""
    """The id of this boot of the machine."""
    session: str | None = None
    resumed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when another session is taken up while connected."""
    progress: Progress = field(default_factory=Progress)
    receipts_refused: int = 0
    _cursor: int = 0
    """All up to here is published, or behind what is delivered."""
    _again: tuple[int, int] | None = None
    """What is asked for again: after this sequence, up to that one."""
    _trimmed: list[tuple[int, int]] = field(default_factory=list)
    """What of it is here no more: it is answered with a gap."""
    _sent: int = 0
    """The highest sequence that a message really carried; receipts cover no more."""
    _octets: int | None = None
    """What the broker was found to take at once, if less than `batch_bytes`."""
    _recorded: Progress = field(default_factory=Progress)
    _receipt_due_ns: int = 0
    _receipt_seconds: float = RECEIPT_SECONDS

    async def run(self, connection: Connection) -> None:
        """Forward over this connection until it is lost or the task is cancelled. Raises MqttError, StoreError."""
        self._resume()
        try:
            while True:
                self.bell.clear()
                if not await self._send_next(connection):
                    await self._pause()
        finally:
            with contextlib.suppress(StoreError):  # what ended it is the better reason
                self._take_back()
                self._record(durable=True)

    def _resume(self) -> None:
        """Take up a session behind what is known to be delivered."""
        if self.session != self.backlog.session():
            self.session, self._again, self._trimmed = self.backlog.session(), None, []
        self._recorded = progress(self.database, self.session) if self.session else Progress()
        published = min(self._recorded.fixed(self.boot), self.backlog.last())
        self.progress = replace(self._recorded, published=published, boot=self.boot)
        self._cursor = self.progress.delivered
        self._sent = self.progress.published
        self._expect_receipt()

    def _take_back(self) -> None:
        """Record how far it really got: what was announced and not sent may be changed again. Raises StoreError."""
        self.progress = replace(self.progress, published=self._sent)
        self._record()

    async def _pause(self) -> None:
        if not await self._rung(SETTLE_SECONDS):
            self._take_back()
            await self._rung(POLL_SECONDS - SETTLE_SECONDS)
        if self.backlog.session() != self.session:
            self._resume()
            self.resumed.set()
        elif self._receipt_is_late():
            self._cursor = self.progress.delivered
            self._receipt_seconds = min(self._receipt_seconds * 2, RECEIPT_SECONDS_MAX)
            self._expect_receipt()

    async def _rung(self, seconds: float) -> bool:
        """Wait so long for the doorbell."""
        try:
            async with asyncio.timeout(seconds):
                return await self.bell.wait()
        except TimeoutError:
            return False

    async def _send_next(self, connection: Connection) -> bool:
        """Send the next rows, one message; False when there is nothing to send now."""
        octets = min(self._octets or self.batch_bytes, connection.maximum_packet - HEADER)
        if await self._send_again(connection, octets):
            return True
        self._announce()
        waiting = self.backlog.rows(self._cursor, self.batch, octets, self.progress.published)
        if self.backlog.session() != self.session:  # the file was replaced: these rows are another session's
            self._resume()
            self.resumed.set()
            return True
        if not waiting:
            announced, self._cursor = self._cursor < self.progress.published, self.progress.published
            return announced
        rows = self._permitted(waiting)
        if not rows:
            return False
        through = rows[-1].through
        self._sent = max(self._sent, through)
        if not await self._published(connection, rows):
            return len(rows) > 1  # fewer at once; a single one waits until capture has set it aside
        self._cursor = max(self._cursor, through)  # a receipt may have come meanwhile
        if self.delivery == "puback":
            self.progress = replace(self.progress, delivered=through)
        return True

    def refusal(self, session: str, through: int) -> str | None:
        """Say why sequences cannot be published again; None if they can."""
        if session != self.session:
            return "that session is not the present one"
        return "not all of that was published" if through > self._sent else None

    def replay(self, first: int, through: int) -> None:
        """Publish these sequences again, unchanged; what is trimmed is answered with a gap. Raises StoreError."""
        oldest = self.backlog.first() or self._sent + 1
        if first < oldest:
            self._trimmed.append((first, min(through, oldest - 1)))
        if oldest <= through:
            after, until = self._again or (through, through)
            self._again = min(after, self.backlog.before(max(first, oldest))), max(until, through)
        self.bell.set()

    async def _send_again(self, connection: Connection, octets: int) -> bool:
        """Send the next of what is asked for again; False when there is nothing of it to send now."""
        while self._trimmed:
            await connection.publish(self._gap(*self._trimmed[0]))
            self._trimmed.pop(0)
        if self._again is None:
            return False
        after, until = self._again
        waiting = self.backlog.rows(after, self.batch, octets, until)
        if not waiting or self.backlog.session() != self.session:
            self._again = None
            return False
        rows = self._permitted(waiting)
        if not rows:
            return False
        if not await self._published(connection, rows):
            return len(rows) > 1
        self._again = (rows[-1].through, until) if rows[-1].through < until else None
        return True

    def _gap(self, first: int, through: int) -> Message:
        """Say what stands at sequences that are trimmed: whoever has stored them knows their ids already."""
        data = gap("trimmed", through=through if through > first else None)
        event = encode(
            EventType.GAP, self.now().wall_ms, data, source=self.source, session=self.session or "", sequence=first
        )
        return Message(self.topic, event.encode(), ONE)

    def _announce(self) -> None:
        """Record that the next rows are published, before they are read; capture changes them no more."""
        if self._cursor < self.progress.published or self.session is None:
            return
        through = min(self.backlog.last(), self._cursor + AHEAD)
        if through > self.progress.published and self.backlog.session() == self.session:
            self.progress = replace(self.progress, published=through)
            with border(self.backlog.directory):
                self._record()

    async def _published(self, connection: Connection, rows: Sequence[Row]) -> bool:
        """Publish rows as one message; False when they are too large for the broker and will go otherwise."""
        message = _message(self.topic, rows)
        try:
            if len(message.payload) + HEADER > connection.maximum_packet:
                raise PublishRefusedError(TOO_LARGE, "Packet too large")
            await connection.publish(message)
        except MqttError as error:
            if error.code != TOO_LARGE:
                raise
            self._shrink(rows, len(message.payload))
            if not isinstance(error, PublishRefusedError):
                raise
            return False
        return True

    def _shrink(self, rows: Sequence[Row], octets: int) -> None:
        """Send less at once from now on; a single event that no broker takes is set aside."""
        if len(rows) > 1:
            self._octets = octets // 2
        elif self.session is not None:
            refuse(self.database, self.session, [rows[0].sequence], "too-large")
            self.ring()

    def _permitted(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows up to the first whose subject may not be named now.

        What can only be cured by waiting (a stale ledger, a clock not yet synced) waits; the rest capture withdraws.
        """
        decide_once = cache(self._denied)
        denied = [
            (index, reason)
            for index, row in enumerate(rows)
            if (reason := decide_once(row.handle, row.purpose)) is not None
        ]
        gone = [rows[index].sequence for index, reason in denied if reason not in PASSING]
        if gone and self.session is not None:
            refuse(self.database, self.session, gone, "withdrawn")
            self.ring()
        return rows[: denied[0][0]] if denied else rows

    def _denied(self, handle: str | None, purpose: str | None) -> Reason | None:
        if handle is None:
            return None
        decision = decide(self.ledger, handle, purpose, self.now())
        return decision.reason if isinstance(decision, Denied) else None

    def _record(self, *, durable: bool = False) -> None:
        """Commit how far it got, and tell capture what it can trim. Raises StoreError."""
        if self.progress.published > self.progress.reserved:
            self.progress = replace(self.progress, reserved=self.progress.published + AHEAD)
            durable = True
        elif durable:
            self.progress = replace(self.progress, reserved=self.progress.published)
        if self.session is None or self.progress == self._recorded:
            return
        record(self.database, self.session, self.progress, durable=durable)
        if self.progress.delivered > self._recorded.delivered:
            self.ring()
        self._recorded = self.progress

    def receive_receipt(self, payload: bytes) -> None:
        """Take the consumer's word that it has stored events; what cannot be its word is counted and ignored."""
        try:
            receipt = Receipt.model_validate_json(payload)
        except ValidationError:
            self.receipts_refused += 1
            return
        if receipt.session != self.session or receipt.through > self._sent:
            self.receipts_refused += 1
            return
        if self.delivery == "receipt" and receipt.through > self.progress.delivered:
            self._cursor = max(self._cursor, receipt.through)
            self._receipt_seconds = RECEIPT_SECONDS
            self.progress = replace(self.progress, delivered=receipt.through)
            self._expect_receipt()

    def _expect_receipt(self) -> None:
        self._receipt_due_ns = self.now().boot_ns + int(self._receipt_seconds * 1e9)

    def _receipt_is_late(self) -> bool:
        if self.delivery != "receipt" or self._cursor == self.progress.delivered:
            self._expect_receipt()
            return False
        return self.now().boot_ns >= self._receipt_due_ns


def _message(topic: str, rows: Sequence[Row]) -> Message:
    """One event travels alone, several as a JSON array of the stored texts (CloudEvents 1.0, JSON batch format)."""
    if len(rows) == 1:
        return Message(topic, rows[0].event.encode(), ONE)
    return Message(topic, f"[{','.join(row.event for row in rows)}]".encode(), MANY)
