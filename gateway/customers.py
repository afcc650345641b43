"""One customer, from the token that is presented to everything that both files know: what each request begins with.

And how a withdrawal ends: what waits becomes gaps, and the centre is told what may have been sent. A mark stands from
the tombstone until that is done, so that the next start does what a crash has left.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.capture import Capture
from gateway.config import Settings
from gateway.control import RequestError, Tell
from gateway.core import draft, pseudonym
from gateway.core.downlink import ConsentRecord, Terms
from gateway.core.jws import Issuers, SignatureError, Use
from gateway.core.record import Voice, in_force, is_erased, withdrawn
from gateway.core.sighting import Identifier, Moment
from gateway.language import _
from gateway.log import log
from gateway.presenting import Presented, presented
from gateway.store import audit, ledger, marks
from gateway.store.central import Central
from gateway.store.customer import Customer, File, Outgoing, customer, ended, forget
from gateway.store.database import StoreError
from gateway.store.outbox import Outbox

WITHDRAWING = "withdrawing "
"""Marks that begin so hold the handles of customers whose withdrawal is recorded and not carried through yet."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and what was presented at what moment."""

    who: str
    now: Moment
    by: Presented = field(repr=False)
    handles: tuple[str, ...] = field(repr=False)

    def note(self, outbox: Outbox, deed: str, detail: Mapping[str, Any]) -> None:
        """Write it into the audit log, in the transaction of what was done."""
        audit.append(outbox.connection, self.now.wall_ms, self.who, deed, {**detail, "reader": self.by.reader})


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A withdrawal that is recorded: whose, the tombstones, and the mark that stands until it is carried through."""

    customer: Customer
    tombstones: tuple[ConsentRecord, ...] = field(repr=False)
    mark: str


@dataclass(slots=True)
class Customers:
    """Whoever presents a token, as this gateway knows them."""

    capture: Capture
    settings: Settings
    issuers: Issuers

    async def asked(self, request: Mapping[str, Any], tell: Tell, tokens: int = 1) -> Asked:
        """Wait for a customer's tokens. Raises RequestError."""
        by = await presented(self.capture, request, tell, tokens)
        handles = [handle for token in by.tokens if (handle := self.handle(token)) is not None]
        if len(handles) < len(by.tokens):
            raise RequestError(
                _("this gateway has no key ring, so consent cannot be recorded; see touchpoint keys --help")
            )
        return Asked(str(request.get("who") or audit.GATEWAY), self.capture.clock.now(), by, tuple(handles))

    def handle(self, token: Identifier) -> str | None:
        """Return the handle of a token; None without a key."""
        return self.capture.path.subjects.handle(token)

    async def known(self, asked: Asked, deed: str | None) -> Customer:
        """Gather what is known of a customer; whoever is shown more than the store's own screen is written down."""

        def job(outbox: Outbox) -> Customer:
            if deed is not None:
                asked.note(outbox, deed, {})
            return self.customer(outbox, asked.handles)

        return await self.capture.writer.commit(job)

    def customer(self, outbox: Outbox, handles: Sequence[str]) -> Customer:
        """Gather what is known, inside a transaction. Raises sqlite3.Error."""
        with self._files(outbox) as files:
            return customer(files, handles)

    @contextmanager
    def _files(self, outbox: Outbox) -> Iterator[list[File]]:
        """Open both files; one of the centre that cannot be read must not keep anybody from withdrawing."""
        ours = self.capture.signer.believed(Use.CONSENT)
        files = [File(outbox.connection, lambda signed: ours.verify(signed, Use.CONSENT)[1])]
        with ExitStack() as stack:
            try:
                central = stack.enter_context(closing(Central(self.settings.gateway.state))).connection()
            except StoreError as error:
                log.warning("consent: %s", error)
                central = None
            if central is not None:
                files.append(File(central, lambda signed: self.issuers.verify(signed, Use.CONSENT)[1], central=True))
            yield files

    def put(self, outbox: Outbox, said: ConsentRecord) -> str:
        """Sign a record, write it, and return it signed."""
        signed = self.capture.signer.sign(said.model_dump_json().encode())
        ledger.put(outbox.connection, said, signed)
        return signed

    def tombstones(self, outbox: Outbox, asked: Asked, known: Customer) -> "Withdrawal":
        """Put a tombstone on each record in force, and tell the centre, in one transaction."""
        gone = [withdrawn(each, self.voice, asked.now.wall_ms) for each in known.records if in_force(each)]
        outbox.append(
            [
                draft.consent_withdrawn(self.put(outbox, each), each.revision, asked.by.reader, asked.now)
                for each in gone
            ]
        )
        withdrawal = Withdrawal(known, tuple(gone), WITHDRAWING + uuid.uuid4().hex)
        marks.write(outbox.connection, withdrawal.mark, json.dumps(sorted(known.handles)))
        return withdrawal

    @property
    def voice(self) -> Voice:
        """In whose name records are made here."""
        gateway, consent = self.settings.gateway, self.settings.consent
        controller = consent.controller or gateway.tenant
        return Voice(self.capture.signer.kid, gateway.tenant, gateway.site, controller, consent.jurisdiction)

    @property
    def terms(self) -> Terms:
        """The terms under which consent is given at present."""
        consent = self.settings.consent
        return Terms(
            notice_link=consent.notice_link,
            personal_data=consent.personal_data,
            storage=consent.storage,
            retention=consent.retention,
            recipients=consent.recipients,
            withdrawal=consent.withdrawal,
            address=consent.address,
            contact=consent.contact,
        )

    async def outgoing(self, read: Callable[[Outgoing], Result]) -> Result:
        """Read on a connection and a thread of its own: a long backlog holds up no tap."""

        def reading() -> Result:
            with closing(Outgoing(self.settings.gateway.state)) as outgoing:
                return read(outgoing)

        return await asyncio.to_thread(reading)

    def pseudonyms(self, tokens: Sequence[Identifier]) -> list[dict[str, str]]:
        """Return the names of the presented tokens under every key that this gateway has."""
        ring, purposes = self.capture.path.subjects.ring, sorted(set(self.settings.consent.purposes.values()))
        return [
            {"epoch": epoch.id, "purpose": purpose, "pseudonym": pseudonym.pseudonym(epoch, purpose, token)}
            for token in tokens
            for epoch in (ring.epochs if ring else ())
            for purpose in purposes
        ]

    async def carry_through(self, withdrawal: Withdrawal) -> int | None:
        """Withdraw what waits and tell the centre; return how many events may have been sent before.

        None if that cannot be told yet, because the other half's file is damaged: it is done at the next start, and the
        tombstone holds until then.
        """
        told = bool(withdrawal.tombstones)
        try:
            sent = await _carry_through(self.capture, withdrawal.customer.handles, withdrawal.mark, told=told)
        except StoreError as error:
            log.warning("consent: %s; what waits is withdrawn at the next start", error)
            return None
        return len(sent)

    def record_id(self, signed: str) -> str | None:
        """Return the id of a record that this gateway has signed; None for any other text."""
        said = _own(self.capture, signed)
        return None if said is None else said.record_id


async def _carry_through(capture: Capture, handles: Collection[str], mark: str, *, told: bool) -> list[int]:
    possibly_sent = await capture.withdraw(handles)
    now = capture.clock.now()

    def job(outbox: Outbox) -> None:
        marks.remove(outbox.connection, mark)
        if told or possibly_sent:
            revision = marks.number(outbox.connection, marks.APPLIED)
            outbox.append(draft.consent_applied(revision, possibly_sent, now))

    await capture.writer.commit(job)
    capture.ring()
    return possibly_sent


async def resume(capture: Capture) -> None:
    """Do at a start what a crash has left of withdrawals, and forget what is over. Raises sqlite3.Error."""
    rows = f"SELECT name, value FROM mark WHERE name LIKE '{WITHDRAWING}%'"  # noqa: S608  # no input
    for mark, handles in await capture.writer.commit(lambda outbox: outbox.connection.execute(rows).fetchall()):
        log.warning("consent: a withdrawal that was cut short is carried through")
        await _carry_through(capture, frozenset(json.loads(handles)), mark, told=True)
    await forget_ended(capture)


async def forget_ended(capture: Capture) -> int:
    """Delete what was kept of erased customers and is needed no more; return how many. Raises sqlite3.Error."""
    now_ms = capture.clock.now().wall_ms

    def job(outbox: Outbox) -> int:
        known = [(record_id, _own(capture, signed)) for record_id, signed in ended(outbox.connection, now_ms)]
        over = [record_id for record_id, said in known if said is not None and is_erased(said)]
        return forget(outbox.connection, over) if over else 0

    return await capture.writer.commit(job)


def _own(capture: Capture, signed: str) -> ConsentRecord | None:
    """Read what this gateway has signed; None for any other text."""
    try:
        payload = capture.signer.believed(Use.CONSENT).verify(signed, Use.CONSENT)[1]
        return ConsentRecord.model_validate_json(payload)
    except (SignatureError, ValidationError):
        return None


async def to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Do all of it, even if whoever asked leaves in the middle."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
