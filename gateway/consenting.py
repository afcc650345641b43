"""Consent at the counter: granted, withdrawn, shown, proven and erased by presenting a token.

Whatever is asked is looked at before anybody presents anything, and recorded in one commit: the record, the event that
tells the centre and the entry of the audit log. What follows a withdrawal (visits end, rows become gaps, the centre is
told what may have been sent) is carried through even if whoever asked leaves meanwhile.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.bytesearch import SHORTEST, Proof, prove_absent
from gateway.capture import Capture
from gateway.config import ConsentSettings, Settings
from gateway.config.settings import DAYS
from gateway.control import Answer, Handler, RequestError, Tell
from gateway.core import draft, pseudonym
from gateway.core.downlink import ConsentRecord, Terms
from gateway.core.jws import Issuers, SignatureError, Use
from gateway.core.purpose import named, words
from gateway.core.receipt import receipt, record
from gateway.core.record import (
    TOKENS,
    Grant,
    TooManyError,
    Voice,
    erased,
    granted,
    in_force,
    instant,
    is_erased,
    withdrawn,
)
from gateway.core.sighting import ClockQuality, Identifier, Moment
from gateway.log import log
from gateway.presenting import Presented, presented
from gateway.store import audit, ledger, marks
from gateway.store.central import Central
from gateway.store.customer import Customer, File, Outgoing, customer, ended, forget
from gateway.store.database import StoreError
from gateway.store.outbox import Outbox

DAY_MS = 86_400_000
APPLIED = "consent-applied"
"""The mark that holds the revision of the centre's set which is in force here (`gateway.centre`)."""
_TAKES = {
    "language": "--language takes a language tag like de or fr-CH",
    "notice_version": "--notice takes 1 to 128 characters",
}

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asks, and at what moment a token was presented."""

    who: str
    now: Moment
    by: Presented = field(repr=False)
    handles: tuple[str, ...] = field(repr=False)


@dataclass(slots=True)
class Consenting:
    """Answers what is asked about the consent of whoever presents a token."""

    capture: Capture
    settings: Settings
    issuers: Issuers

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        return {
            "consent-grant": self.grant,
            "consent-withdraw": self.withdraw,
            "consent-show": self.show,
            "consent-export": self.export,
            "consent-access": self.access,
            "erase": self.erase,
        }

    async def grant(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Record the consent of whoever presents one or more tokens, and write the receipt."""
        wanted, number = self._wanted(request), _whole(request, "tokens", 1, TOKENS) or 1
        asked = await self._asked(request, tell, number)
        return await _carried_through(self._grant(asked, wanted))

    def _wanted(self, request: Mapping[str, Any]) -> Grant:
        """Read what the customer agrees to. Raises RequestError for what cannot be recorded."""
        consent, now = self.settings.consent, self.capture.clock.now()
        if now.quality is ClockQuality.UNSYNCED:
            raise RequestError(
                "the clock is not synced, so when consent was given cannot be recorded; see touchpoint status"
            )
        days = _whole(request, "days", 1, DAYS) or consent.days
        grant = Grant(
            self._purposes(request.get("purposes")),
            _text(request, "notice", consent.notice),
            _text(request, "language", consent.language),
            days * DAY_MS,
            _terms(consent),
        )
        self._made((), ("h1." + 22 * "A",), grant, now.wall_ms)
        return grant

    def _purposes(self, asked: object) -> frozenset[str]:
        known = frozenset(self.settings.consent.purposes.values())
        if asked is None or asked == []:
            return known
        texts = asked if isinstance(asked, list) else [asked]
        for text in texts:
            if not words([str(text)]) & known:
                raise RequestError(
                    "that is no purpose of this gateway; its configuration ([consent] purposes) has: "
                    + ", ".join(sorted(known))
                )
        return words(str(text) for text in texts)

    def _made(self, known: Sequence[ConsentRecord], handles: Sequence[str], grant: Grant, now_ms: int) -> ConsentRecord:
        """Make the record. Raises RequestError, which says what cannot be recorded and quotes nothing."""
        try:
            return granted(known, handles, grant, self._voice(), uuid.uuid4().hex, now_ms)
        except TooManyError:
            raise RequestError(f"one consent covers {TOKENS} tokens at most, and nothing is recorded") from None
        except ValidationError as error:
            fields = [str(each["loc"][0]) for each in error.errors(include_input=False) if each["loc"]]
            said = [_TAKES[name] for name in fields if name in _TAKES]
            raise RequestError(
                "; ".join(said) or f"this consent cannot be recorded: {', '.join(fields)} is not what a record takes"
            ) from None
        except (OverflowError, ValueError):
            raise RequestError("the consent would end beyond the calendar; say fewer --days") from None

    def _voice(self) -> Voice:
        gateway, consent = self.settings.gateway, self.settings.consent
        controller = consent.controller or gateway.tenant
        return Voice(self.capture.signer.kid, gateway.tenant, gateway.site, controller, consent.jurisdiction)

    async def _grant(self, asked: _Asked, wanted: Grant) -> Answer:
        def job(outbox: Outbox) -> tuple[ConsentRecord, Customer]:
            known = self._customer(outbox, asked.handles)
            said = self._made(known.records, asked.handles, wanted, asked.now.wall_ms)
            signed = self._put(outbox, said)
            outbox.append([draft.consent_granted(signed, said.revision, asked.by.reader, asked.now)])
            detail = {"purposes": sorted(wanted.purposes), "notice": wanted.notice, "language": wanted.language}
            _audit(outbox, asked, "consent-granted", {**detail, "tokens": len(asked.handles), "state": said.state})
            return said, known

        said, known = await self.capture.writer.commit(job)
        self.capture.ring()
        return {
            **_shown(said),
            "tokens": len(asked.handles),
            "unverified": known.unverified,
            "receipt": receipt(said, wanted.terms, self.capture.signer),
        }

    async def withdraw(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Withdraw every consent of whoever presents a token: it holds for the very next sighting."""
        asked = await self._asked(request, tell)
        return await _carried_through(self._withdraw(asked))

    async def _withdraw(self, asked: _Asked) -> Answer:
        def job(outbox: Outbox) -> tuple[list[ConsentRecord], Customer]:
            known = self._customer(outbox, asked.handles)
            gone = self._tombstones(outbox, asked, known)
            _audit(outbox, asked, "consent-withdrawn", {"records": len(gone)})
            return gone, known

        gone, known = await self.capture.writer.commit(job)
        possibly_sent = await self._applied(known, told=bool(gone))
        terms = _terms(self.settings.consent)
        return {
            "withdrawn": len(gone),
            "possibly_sent": len(possibly_sent),
            "receipts": [receipt(each, terms, self.capture.signer) for each in gone],
        }

    def _tombstones(self, outbox: Outbox, asked: _Asked, known: Customer) -> list[ConsentRecord]:
        """Put a tombstone on each record in force, and tell the centre, in one transaction."""
        gone = [withdrawn(each, self._voice(), asked.now.wall_ms) for each in known.records if in_force(each)]
        outbox.append(
            [
                draft.consent_withdrawn(self._put(outbox, each), each.revision, asked.by.reader, asked.now)
                for each in gone
            ]
        )
        return gone

    async def _applied(self, known: Customer, *, told: bool) -> list[int]:
        """Withdraw what waits, and tell the centre what may have been sent before."""
        possibly_sent = await self.capture.withdraw(known.handles)
        if told or possibly_sent:
            revision = await self.capture.writer.commit(lambda outbox: marks.number(outbox.connection, APPLIED))
            await self.capture.append(draft.consent_applied(revision, possibly_sent, self.capture.clock.now()))
        return possibly_sent

    async def show(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Show what is recorded for whoever presents a token."""
        known = await self._known(await self._asked(request, tell), None)
        return {"records": [_shown(each) for each in known.records], "unverified": known.unverified}

    async def export(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Write the records of whoever presents a token in the form of ISO/IEC TS 27560."""
        known = await self._known(await self._asked(request, tell), "consent-exported")
        return {"records": self._exported(known)}

    def _exported(self, known: Customer) -> list[dict[str, Any]]:
        terms = _terms(self.settings.consent)
        return [record(each.record, each.signed, terms) for each in known.statements]

    async def access(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Tell everything that this gateway holds about whoever presents a token (GDPR, art. 15)."""
        asked = await self._asked(request, tell)
        known = await self._known(asked, "consent-accessed")
        waiting = await self._outgoing(lambda outgoing: outgoing.naming(known.handles))
        ids = {each.record_id for each in known.records}
        about = await self._outgoing(lambda outgoing: outgoing.consents(lambda signed: _id(self, signed) in ids))
        visits, zones = self._present(known)
        return {
            "records": self._exported(known),
            "unverified": known.unverified,
            "events": [each.event for each in sorted((*waiting, *about), key=lambda each: each.sequence)],
            "visits": visits,
            "presences": zones,
            "handles": sorted(known.handles),
            "pseudonyms": self._pseudonyms(asked.by.tokens),
        }

    async def _outgoing(self, read: Callable[[Outgoing], Result]) -> Result:
        """Read on a connection and a thread of its own: a long backlog holds up no tap."""

        def reading() -> Result:
            with closing(Outgoing(self.settings.gateway.state)) as outgoing:
                return read(outgoing)

        return await asyncio.to_thread(reading)

    def _present(self, known: Customer) -> tuple[list[str], list[str]]:
        """Return the readers at which the customer has an open visit, and the zones in which a beacon is heard."""
        path = self.capture.path
        visits = {reader for reader, token in path.visits.tokens().items() if self._handle(token) in known.handles}
        zones = {zone for zone, token in path.presence.followed() if self._handle(token) in known.handles}
        return sorted(visits), sorted(zones)

    def _pseudonyms(self, tokens: Sequence[Identifier]) -> list[dict[str, str]]:
        """Return the names of the presented tokens under every key that this gateway has."""
        ring, purposes = self.capture.path.subjects.ring, sorted(set(self.settings.consent.purposes.values()))
        return [
            {"epoch": epoch.id, "purpose": purpose, "pseudonym": pseudonym.pseudonym(epoch, purpose, token)}
            for token in tokens
            for epoch in (ring.epochs if ring else ())
            for purpose in purposes
        ]

    async def erase(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Withdraw, and remove all that can be removed about whoever presents a token (GDPR, art. 17); prove it."""
        asked = await self._asked(request, tell)
        return await _carried_through(self._erase(asked))

    async def _erase(self, asked: _Asked) -> Answer:
        def job(outbox: Outbox) -> tuple[Customer, int]:
            known = self._customer(outbox, asked.handles)
            gone = self._tombstones(outbox, asked, known)
            _audit(outbox, asked, "erased", {"records": len(known.statements), "withdrawn": len(gone)})
            return known, len(gone)

        known, gone = await self.capture.writer.commit(job)
        ids = {each.record_id for each in known.records}
        granted_events = await self._outgoing(
            lambda outgoing: outgoing.consents(lambda signed: _id(self, signed) in ids)
        )
        removed, kept = await self.capture.writer.commit(
            lambda outbox: self._bury(outbox, asked, [each.sequence for each in granted_events if _grants(each.event)])
        )
        possibly_sent = await self._applied(known, told=bool(gone))
        await self.capture.forget()
        waiting = await self._outgoing(lambda outgoing: outgoing.consents(lambda signed: _id(self, signed) in ids))
        return {
            "withdrawn": gone,
            "removed": {"records": removed, "visits and presences": "all"},
            "possibly_sent": len(possibly_sent),
            "kept": [_kept(each) for each in kept],
            "waiting": len(waiting),
            "central": len(known.central_ids),
            "proof": await self._proof(asked.by.tokens),
        }

    def _bury(self, outbox: Outbox, asked: _Asked, told: Sequence[int]) -> tuple[int, list[ConsentRecord]]:
        """Turn grants that wait into gaps; leave of each record what outranks it until it is over, or nothing."""
        outbox.set_aside(dict.fromkeys(told, "withdrawn"))
        known = self._customer(outbox, asked.handles)
        here = {each.record.record_id for each in known.statements if not each.central}
        kept = [
            each
            for each in known.records
            if each.record_id in here and (each.expires_ms is None or each.expires_ms > asked.now.wall_ms)
        ]
        removed = forget(outbox.connection, here)
        for each in kept:
            self._put(outbox, each if is_erased(each) else erased(each))
        return removed, kept

    async def _proof(self, tokens: Sequence[Identifier]) -> dict[str, Any]:
        """Search every file of the state directory for the token and the names under which it left the store."""
        raw = [(label, octets) for token in tokens for label, octets in self._spelled(token)]
        names = [
            (f"pseudonym {each['epoch']} {each['purpose']}", each["pseudonym"].encode())
            for each in self._pseudonyms(tokens)
        ]
        long = [(label, octets) for label, octets in (*raw, *names) if len(octets) >= SHORTEST]
        state = self.settings.gateway.state
        found: Proof = await asyncio.to_thread(prove_absent, [state], long)
        return {
            "searched": [label for label, _ in long],
            "too_short": [label for label, octets in raw if len(octets) < SHORTEST],
            "files": found.files,
            "found": [{"file": str(each.path), "what": each.label, "as": each.encoding} for each in found.findings],
            "unread": [str(path) for path in found.unread],
            "holds": found.holds,
        }

    def _spelled(self, token: Identifier) -> Iterator[tuple[str, bytes]]:
        """Yield what of a token identifies the customer: all of it, what follows the brand's prefix, bytes in hex."""
        yield "token", token.value.encode()
        for rule in self.settings.bearers:
            rest = token.value.removeprefix(rule.prefix)
            if rule.kind == token.kind and rule.prefix and rest != token.value:
                yield "token without its prefix", rest.encode()
        try:
            yield "token as bytes", bytes.fromhex(token.value)
        except ValueError:
            return

    async def _asked(self, request: Mapping[str, Any], tell: Tell, tokens: int = 1) -> _Asked:
        by = await presented(self.capture, request, tell, tokens)
        handles = [handle for token in by.tokens if (handle := self._handle(token)) is not None]
        if len(handles) < len(by.tokens):
            raise RequestError(
                "this gateway has no key ring, so consent cannot be recorded; see touchpoint keys --help"
            )
        return _Asked(str(request.get("who") or audit.GATEWAY), self.capture.clock.now(), by, tuple(handles))

    def _handle(self, token: Identifier) -> str | None:
        return self.capture.path.subjects.handle(token)

    async def _known(self, asked: _Asked, deed: str | None) -> Customer:
        """Gather what is known of a customer; whoever is shown more than the store's own screen is written down."""

        def job(outbox: Outbox) -> Customer:
            if deed is not None:
                _audit(outbox, asked, deed, {})
            return self._customer(outbox, asked.handles)

        return await self.capture.writer.commit(job)

    def _customer(self, outbox: Outbox, handles: Sequence[str]) -> Customer:
        with self._files(outbox) as files:
            return customer(files, handles)

    @contextmanager
    def _files(self, outbox: Outbox) -> Iterator[list[File]]:
        """Open both files; one of the centre that cannot be read must not keep anybody from withdrawing."""
        own = self.capture.signer.believed(Use.CONSENT)
        files = [File(outbox.connection, lambda signed: own.verify(signed, Use.CONSENT)[1])]
        with ExitStack() as stack:
            try:
                central = stack.enter_context(closing(Central(self.settings.gateway.state))).connection()
            except StoreError as error:
                log.warning("consent: %s", error)
                central = None
            if central is not None:
                files.append(File(central, lambda signed: self.issuers.verify(signed, Use.CONSENT)[1], central=True))
            yield files

    def _put(self, outbox: Outbox, said: ConsentRecord) -> str:
        signed = self.capture.signer.sign(said.model_dump_json().encode())
        ledger.put(outbox.connection, said, signed)
        return signed


async def forget_ended(capture: Capture) -> int:
    """Delete what was kept of erased customers and is needed no more; return how many. Raises sqlite3.Error."""
    own, now_ms = capture.signer.believed(Use.CONSENT), capture.clock.now().wall_ms

    def job(outbox: Outbox) -> int:
        over = []
        for record_id, signed in ended(outbox.connection, now_ms):
            try:
                said = ConsentRecord.model_validate_json(own.verify(signed, Use.CONSENT)[1])
            except (SignatureError, ValidationError):
                continue
            if is_erased(said):
                over.append(record_id)
        return forget(outbox.connection, over) if over else 0

    return await capture.writer.commit(job)


async def _carried_through(work: Coroutine[Any, Any, Result]) -> Result:
    """Do all of it, even if whoever asked leaves in the middle."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _audit(outbox: Outbox, asked: _Asked, deed: str, detail: Mapping[str, Any]) -> None:
    audit.append(outbox.connection, asked.now.wall_ms, asked.who, deed, {**detail, "reader": asked.by.reader})


def _id(desk: Consenting, signed: str) -> str | None:
    """Return the record id of what this gateway has signed."""
    own = desk.capture.signer.believed(Use.CONSENT)
    try:
        return ConsentRecord.model_validate_json(own.verify(signed, Use.CONSENT)[1]).record_id
    except (SignatureError, ValidationError):
        return None


def _grants(event: Mapping[str, object]) -> bool:
    return event.get("type") == "touchpoint.consent-granted.v1"


def _whole(request: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """Return a whole number of the request, None where it has none. Raises RequestError."""
    value = request.get(name)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise RequestError(f"--{name} takes a whole number from {least} to {most}")
    return value


def _text(request: Mapping[str, Any], name: str, otherwise: str) -> str:
    value = request.get(name)
    return otherwise if value is None else str(value)


def _terms(consent: ConsentSettings) -> Terms:
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


def _shown(said: ConsentRecord) -> Answer:
    """Return what a person may see of a record: words, and not the handles."""
    shown = said.model_dump(mode="json", exclude={"handles", "tenant", "site", "issuer_kid", "terms"})
    return {**shown, "purposes": named(said.purposes)}


def _kept(said: ConsentRecord) -> dict[str, Any]:
    """Say what is left of a record, and until when."""
    until = None if said.expires_ms is None else instant(said.expires_ms).date().isoformat()
    return {"what": "tombstone", "revision": said.revision, "until": until}
