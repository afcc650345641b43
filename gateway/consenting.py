"""Consent at the counter: granted, withdrawn, shown and proven by presenting a token.

Whatever is asked is looked at before anybody presents anything, and recorded in one commit: the record, the event that
tells the centre and the entry of the audit log. What follows is carried through even if whoever asked leaves meanwhile.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from gateway.config.settings import DAYS
from gateway.control import Answer, Handler, RequestError, Tell
from gateway.core import draft
from gateway.core.downlink import ConsentRecord
from gateway.core.purpose import named, words
from gateway.core.receipt import receipt, record
from gateway.core.record import TOKENS, Grant, TooManyError, granted
from gateway.core.sighting import ClockQuality
from gateway.customers import Asked, Customers, Withdrawal, to_the_end
from gateway.language import _, later, said, spoken_to
from gateway.store.customer import Customer
from gateway.store.outbox import Outbox

DAY_MS = 86_400_000
_TAKES = {
    "language": later("--language takes a language tag like de or fr-CH"),
    "notice_version": later("--notice takes 1 to 128 characters"),
}
_NOBODY = ("h1." + 22 * "A",)
"""A handle with which a record is tried before there is one."""


@dataclass(slots=True)
class Consenting:
    """Answers what is asked about the consent of whoever presents a token."""

    customers: Customers

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        return {
            "consent-grant": self.grant,
            "consent-withdraw": self.withdraw,
            "consent-show": self.show,
            "consent-export": self.export,
            "consent-access": self.access,
        }

    async def grant(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Record the consent of whoever presents one or more tokens, and write the receipt."""
        wanted, number = self._wanted(request), _whole(request, "tokens", 1, TOKENS) or 1
        asked = await self.customers.asked(request, tell, number)
        return await to_the_end(self._grant(asked, wanted))

    def _wanted(self, request: Mapping[str, Any]) -> Grant:
        """Read what the customer agrees to. Raises RequestError for what cannot be recorded."""
        consent, now = self.customers.settings.consent, self.customers.capture.clock.now()
        if now.quality is ClockQuality.UNSYNCED:
            raise RequestError(
                _("the clock is not synced, so when consent was given cannot be recorded; see touchpoint status")
            )
        days = _whole(request, "days", 1, DAYS) or consent.days
        grant = Grant(
            self._purposes(request.get("purposes")),
            _text(request, "notice", consent.notice),
            _text(request, "language", consent.language),
            days * DAY_MS,
            self.customers.terms,
        )
        self._made((), _NOBODY, grant, now.wall_ms)
        return grant

    def _purposes(self, asked: object) -> frozenset[str]:
        known = frozenset(self.customers.settings.consent.purposes.values())
        if asked is None or asked == []:
            return known
        texts = asked if isinstance(asked, list) else [asked]
        for text in texts:
            if not words([str(text)]) & known:
                raise RequestError(
                    _("that is no purpose of this gateway; its configuration ([consent] purposes) has: {known}").format(
                        known=", ".join(sorted(known))
                    )
                )
        return words(str(text) for text in texts)

    def _made(self, known: Sequence[ConsentRecord], handles: Sequence[str], grant: Grant, now_ms: int) -> ConsentRecord:
        """Make the record. Raises RequestError, which says what cannot be recorded and quotes nothing."""
        try:
            return granted(known, handles, grant, self.customers.voice, uuid.uuid4().hex, now_ms)
        except TooManyError:
            raise RequestError(
                _("one consent covers {most} tokens at most, and nothing is recorded").format(most=TOKENS)
            ) from None
        except ValidationError as error:
            fields = [str(each["loc"][0]) for each in error.errors(include_input=False) if each["loc"]]
            said = [_(_TAKES[name]) for name in fields if name in _TAKES]
            raise RequestError(
                "; ".join(said)
                or _("this consent cannot be recorded: {names} is not what a record takes").format(
                    names=", ".join(fields)
                )
            ) from None
        except (OverflowError, ValueError):
            raise RequestError(_("the consent would end beyond the calendar; say fewer --days")) from None

    async def _grant(self, asked: Asked, wanted: Grant) -> Answer:
        def job(outbox: Outbox) -> tuple[ConsentRecord, Customer]:
            known = self.customers.customer(outbox, asked.handles)
            said = self._made(known.records, asked.handles, wanted, asked.now.wall_ms)
            signed = self.customers.put(outbox, said)
            outbox.append([draft.consent_granted(signed, said.revision, asked.by.reader, asked.now)])
            detail = {"purposes": sorted(wanted.purposes), "notice": wanted.notice, "language": wanted.language}
            asked.note(outbox, "consent-granted", {**detail, "tokens": len(asked.handles), "state": said.state})
            return said, known

        said, known = await self.customers.capture.writer.commit(job)
        self.customers.capture.ring()
        return {
            **_shown(said),
            "tokens": len(asked.handles),
            "unverified": known.unverified,
            "receipt": self._receipt(said),
        }

    def _receipt(self, consent: ConsentRecord) -> str:
        with spoken_to(consent.language):  # in which the notice was shown
            return receipt(consent, self.customers.terms, self.customers.capture.signer, said)

    async def withdraw(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Withdraw every consent of whoever presents a token: it holds for the very next sighting."""
        return await to_the_end(self._withdraw(await self.customers.asked(request, tell)))

    async def _withdraw(self, asked: Asked) -> Answer:
        def job(outbox: Outbox) -> Withdrawal:
            known = self.customers.customer(outbox, asked.handles)
            done = self.customers.tombstones(outbox, asked, known)
            asked.note(outbox, "consent-withdrawn", {"records": len(done.tombstones)})
            return done

        done = await self.customers.capture.writer.commit(job)
        possibly_sent = await self.customers.carry_through(done)
        return {
            "withdrawn": len(done.tombstones),
            "possibly_sent": possibly_sent,
            "receipts": [self._receipt(each) for each in done.tombstones],
        }

    async def show(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Show what is recorded for whoever presents a token."""
        known = await self.customers.known(await self.customers.asked(request, tell), None)
        return {"records": [_shown(each) for each in known.records], "unverified": known.unverified}

    async def export(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Write the records of whoever presents a token in the form of ISO/IEC TS 27560."""
        known = await self.customers.known(await self.customers.asked(request, tell), "consent-exported")
        return {"records": self._exported(known)}

    def _exported(self, known: Customer) -> list[dict[str, Any]]:
        return [record(each.record, each.signed, self.customers.terms) for each in known.statements]

    async def access(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Tell everything that this gateway holds about whoever presents a token (GDPR, art. 15)."""
        asked = await self.customers.asked(request, tell)
        known = await self.customers.known(asked, "consent-accessed")
        ids = {each.record_id for each in known.records}
        naming = await self.customers.outgoing(lambda outgoing: outgoing.naming(known.handles))
        saying = await self.customers.outgoing(
            lambda outgoing: outgoing.consents(lambda signed: self.customers.record_id(signed) in ids)
        )
        visits, zones = self._present(known)
        return {
            "records": self._exported(known),
            "unverified": known.unverified,
            "events": [each.event for each in sorted((*naming, *saying), key=lambda each: each.sequence)],
            "visits": visits,
            "presences": zones,
            "handles": sorted(known.handles),
            "pseudonyms": self.customers.pseudonyms(asked.by.tokens),
        }

    def _present(self, known: Customer) -> tuple[list[str], list[str]]:
        """Return the readers at which the customer has an open visit, and the zones in which a beacon is heard."""
        path = self.customers.capture.path
        visits = {
            reader for reader, token in path.visits.tokens().items() if self.customers.handle(token) in known.handles
        }
        zones = {zone for zone, token in path.presence.followed() if self.customers.handle(token) in known.handles}
        return sorted(visits), sorted(zones)


def _whole(request: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """Return a whole number of the request, None where it has none. Raises RequestError."""
    value = request.get(name)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise RequestError(
            _("--{name} takes a whole number from {least} to {most}").format(name=name, least=least, most=most)
        )
    return value


def _text(request: Mapping[str, Any], name: str, otherwise: str) -> str:
    value = request.get(name)
    return otherwise if value is None else str(value)


def _shown(said: ConsentRecord) -> Answer:
    """Return what a person may see of a record: words, and not the handles."""
    shown = said.model_dump(mode="json", exclude={"handles", "tenant", "site", "issuer_kid", "terms"})
    return {**shown, "purposes": named(said.purposes)}
