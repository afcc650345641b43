"""What the centre says of consents, applied to what this store holds: rows, visits, presences, records of its own."""

import asyncio
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from gateway.capture import Capture
from gateway.centre.places import BREATH, CONSENT, REMOVED, SENT, Places
from gateway.core import draft
from gateway.core.consent import VALID, Consent, ConsentState, Denied, decide, newest
from gateway.core.downlink import ConsentRecord
from gateway.core.jws import Issuers, SignatureError, Use
from gateway.core.sighting import ClockQuality, Moment
from gateway.store import audit, marks
from gateway.store.central import PAGE, Central, Change, Standing
from gateway.store.outbox import Outbox

CONFIRM_SECONDS = 30.0
"""So long what was withdrawn waits to be reported with the revision of a whole set."""


@dataclass(frozen=True, slots=True)
class _Said:
    """The ledger's records without a question of how fresh they are: what the centre withdraws while it syncs holds."""

    ledger: Any
    stale_from_ms: int | None = None

    def records(self, handle: str) -> Sequence[Consent]:
        """Return what is known of a handle."""
        known: Sequence[Consent] = self.ledger.records(handle)
        return known


@dataclass(frozen=True, slots=True)
class _Gone:
    """Whose unsent rows are withdrawn: all of them, or those for some purposes."""

    handles: frozenset[str] = field(default_factory=frozenset, repr=False)
    purposes: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.handles or self.purposes)


@dataclass(slots=True)
class Withdrawals:
    """Applies withdrawals, a page at a time. Raises sqlite3.Error, StoreError."""

    capture: Capture
    central: Central
    issuers: Issuers
    places: Places
    _withdrawn: int = 0
    """Records applied and not yet reported."""
    _rows: int = 0
    _held_since: float | None = None

    async def follow(self) -> bool:
        """Apply a page of what was withdrawn; True if there may be more."""
        position, page = self.central.consents(self.places.at[CONSENT])
        if position is None:
            return False
        if page:
            await self._withdraw(page, position)
        self.places.at[CONSENT] = position
        return True

    async def _withdraw(self, page: Sequence[Change], position: int) -> None:
        """Apply withdrawals: rows, visits, presences and records of this store that they outrank, in one commit."""
        handles, ids = {handle for change in page for handle in change.handles}, [change.record_id for change in page]

        def look(outbox: Outbox) -> tuple[set[tuple[str, str]], dict[str, Consent]]:
            return outbox.waiting(handles), _said_here(outbox, ids)

        waiting, here = await self.capture.writer.commit(look)
        concerned = {handle for handle, _ in waiting} | (self.capture.path.handles() & handles)
        words = await self._verified(
            change for change in page if change.record_id in here or not concerned.isdisjoint(change.handles)
        )
        outranked = [word.record_id for word in words if _outranks(word.word(), here.get(word.record_id))]
        gone = await self._gone({handle for word in words for handle in word.handles}, waiting)
        self._withdrawn += len(words)
        if gone or outranked:
            await self._apply(gone, {CONSENT: position}, outranked)

    async def _verified(self, changes: Iterable[Change]) -> list[ConsentRecord]:
        """Read records that are not in force, as they were signed; what nobody of ours signed is left out."""
        words = []
        for number, change in enumerate(changes):
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            try:
                _, payload = self.issuers.verify(change.record, Use.CONSENT)
                record = ConsentRecord.model_validate_json(payload)
            except (SignatureError, ValidationError):
                self.places.forged("a consent")
                continue
            if record.record_id == change.record_id and ConsentState(record.state) not in VALID:
                words.append(record)
        return words

    async def _gone(self, handles: Collection[str], waiting: Collection[tuple[str, str]]) -> _Gone:
        """Decide whose rows, visits and presences end: those of whom no record, of centre or store, says otherwise."""
        subjects, now = self.capture.path.subjects, _definite(self.capture.clock.now())
        said, asked = _Said(subjects.ledger), set(subjects.purposes.values())
        ends, some = set(), []
        concerned = ({handle for handle, _ in waiting} | self.capture.path.handles()) & set(handles)
        for number, handle in enumerate(sorted(concerned)):
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            theirs = asked | {purpose for known, purpose in waiting if known == handle and purpose}
            denied = {each for each in theirs if isinstance(decide(said, handle, each, now), Denied)}
            if denied == theirs:
                ends.add(handle)
            else:
                some += [(handle, each) for each in sorted(denied) if (handle, each) in waiting]
        return _Gone(frozenset(ends), tuple(some))

    async def _apply(self, gone: _Gone, places: dict[str, int], outranked: Sequence[str] = ()) -> None:
        """End what must end, and record in the same commit how far that goes and what may have been sent."""
        if gone.handles:
            self.capture.path.withdraw(gone.handles)
        delivered = self.capture.followed.progress(self.capture.writer.outbox.session).delivered

        def job(outbox: Outbox) -> int:
            if gone:
                outbox.trim(delivered)
            sequences = outbox.withdraw(gone.handles) if gone.handles else []
            for handle, purpose in gone.purposes:
                sequences += outbox.withdraw({handle}, purpose)
            sent = [sequence for sequence in sequences if sequence <= outbox.fixed()]
            _remember_sent(outbox, sent)
            for record_id in outranked:
                outbox.connection.execute("DELETE FROM consent_handle WHERE record_id = ?", (record_id,))
                outbox.connection.execute("DELETE FROM consent WHERE record_id = ?", (record_id,))
            for name, value in places.items():
                marks.write(outbox.connection, name, value)
            return len(sequences)

        self._rows += await self.capture.writer.commit(job)
        await self.capture.forget()
        self.capture.ring()

    async def drop(self, standing: Standing) -> None:
        """Treat whoever is no longer in the confirmed set like one without consent."""
        if standing.revision is None or standing.removed == self.places.at[REMOVED]:
            return
        after = ""
        while handles := await self.capture.writer.commit(partial(Outbox.handles, after=after, limit=PAGE)):
            after = handles[-1]
            await self._end_without_consent(handles)
        await self._end_without_consent(self.capture.path.handles())
        await self.places.record(REMOVED, standing.removed)

    async def _end_without_consent(self, handles: Collection[str]) -> None:
        waiting = await self.capture.writer.commit(lambda outbox: outbox.waiting(handles))
        if gone := await self._gone(handles, waiting):
            await self._apply(gone, {})

    async def report(self, standing: Standing) -> None:
        """Say which revision is in force, and what of withdrawn subjects may have been sent: once all is applied."""
        new = standing.revision is not None and standing.revision > self.places.at[marks.APPLIED]
        if not (new or self._withdrawn or self._rows):
            return
        if standing.revision is None and not self._waited():
            return
        self._held_since = None
        revision, now = standing.revision or self.places.at[marks.APPLIED], self.capture.clock.now()
        detail = {"revision": revision, "withdrawn": self._withdrawn, "rows": self._rows}

        def job(outbox: Outbox) -> None:
            outbox.append(draft.consent_applied(revision, _sent(outbox), now))
            marks.remove(outbox.connection, SENT)
            marks.write(outbox.connection, marks.APPLIED, revision)
            marks.write(outbox.connection, CONSENT, self.places.at[CONSENT])
            audit.append(outbox.connection, now.wall_ms, audit.GATEWAY, "consent-applied", detail)

        await self.capture.writer.commit(job)
        self._withdrawn, self._rows, self.places.at[marks.APPLIED] = 0, 0, revision
        self.capture.ring()

    def _waited(self) -> bool:
        """Tell whether a whole set was waited for long enough."""
        now = asyncio.get_running_loop().time()
        if self._held_since is None:
            self._held_since = now
        return now - self._held_since >= CONFIRM_SECONDS


def _definite(now: Moment) -> Moment:
    """Return a moment at which a record can be judged: while the clock is not synced, nothing has expired."""
    return replace(now, wall_ms=0, quality=ClockQuality.HOLDOVER) if now.quality is ClockQuality.UNSYNCED else now


def _said_here(outbox: Outbox, ids: Sequence[str]) -> dict[str, Consent]:
    """Return those of these records that this store has a version of its own of."""
    rows = outbox.connection.execute(
        """SELECT record_id, revision, state, since_ms, expires_ms FROM consent
           WHERE record_id IN (SELECT value FROM json_each(?))""",
        (json.dumps(ids),),
    )
    return {row[0]: Consent(row[0], row[1], ConsentState(row[2]), None, "", row[3], row[4]) for row in rows}


def _outranks(word: Consent, here: Consent | None) -> bool:
    return here is not None and newest([here, word]) == [word]


def _remember_sent(outbox: Outbox, sequences: Collection[int]) -> None:
    """Add to what may have been sent of withdrawn subjects, until it is reported."""
    if sequences:
        known = draft.ranges(_sent(outbox) | set(sequences))
        marks.write(outbox.connection, SENT, json.dumps([(each.first, each.through) for each in known]))


def _sent(outbox: Outbox) -> set[int]:
    """Return the sequences that may have been sent and are not reported yet."""
    known = json.loads(marks.read(outbox.connection, SENT) or "[]")
    return {sequence for first, through in known for sequence in range(first, through + 1)}
