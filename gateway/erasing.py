"""Erasure at the counter (GDPR, art. 17): what is held about whoever presents a token goes, a search proves it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.bytesearch import SHORTEST, prove_absent
from gateway.control import Answer, Handler, Tell
from gateway.core.downlink import ConsentRecord
from gateway.core.record import erased, instant, is_erased
from gateway.core.sighting import Identifier
from gateway.customers import Asked, Customers, Withdrawal, to_the_end
from gateway.store.customer import Waiting, forget
from gateway.store.outbox import Outbox


@dataclass(slots=True)
class Erasing:
    """Answers the one request."""

    customers: Customers

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        return {"erase": self.erase}

    async def erase(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Withdraw, remove all that can be removed about whoever presents a token, and prove it."""
        asked = await self.customers.asked(request, tell)
        done, removed, kept, possibly_sent = await to_the_end(self._erase(asked))
        waiting = await self._saying(done)
        return {
            "withdrawn": len(done.tombstones),
            "removed": removed,
            "possibly_sent": possibly_sent,
            "kept": [_kept(each) for each in kept],
            "waiting": len(waiting),
            "central": len(done.customer.central_ids),
            "proof": await self._proof(asked.by.tokens),
        }

    async def _erase(self, asked: Asked) -> tuple[Withdrawal, int, list[ConsentRecord], int | None]:
        def withdraw(outbox: Outbox) -> Withdrawal:
            known = self.customers.customer(outbox, asked.handles)
            done = self.customers.tombstones(outbox, asked, known)
            detail = {"records": len(known.statements), "withdrawn": len(done.tombstones)}
            asked.note(outbox, "erased", detail)
            return done

        writer = self.customers.capture.writer
        done = await writer.commit(withdraw)
        grants = [each.sequence for each in await self._saying(done) if _grants(each)]
        removed, kept = await writer.commit(lambda outbox: self._bury(outbox, asked, grants))
        possibly_sent = await self.customers.carry_through(done)
        await self.customers.capture.forget()
        return done, removed, kept, possibly_sent

    async def _saying(self, done: Withdrawal) -> list[Waiting]:
        """Return the events on their way to the centre that carry a record of this customer."""
        ids = {each.record_id for each in done.customer.records}
        return await self.customers.outgoing(
            lambda outgoing: outgoing.consents(lambda signed: self.customers.record_id(signed) in ids)
        )

    def _bury(self, outbox: Outbox, asked: Asked, grants: Sequence[int]) -> tuple[int, list[ConsentRecord]]:
        """Turn grants that wait into gaps; leave of each record what outranks it until it is over, or nothing.

        Returns how many records are gone altogether, and the tombstones that stay.
        """
        outbox.set_aside(dict.fromkeys(grants, "withdrawn"))
        known = self.customers.customer(outbox, asked.handles)
        here = {each.record.record_id for each in known.statements if not each.central}
        kept = [
            each if is_erased(each) else erased(each)
            for each in known.records
            if each.record_id in here and (each.expires_ms is None or each.expires_ms > asked.now.wall_ms)
        ]
        forget(outbox.connection, here)
        for each in kept:
            self.customers.put(outbox, each)
        return len(here) - len(kept), kept

    async def _proof(self, tokens: Sequence[Identifier]) -> dict[str, Any]:
        """Search every file of the state directory for the token and the names under which it left the store."""
        raw = [(label, octets) for token in tokens for label, octets in self._spelled(token)]
        names = [
            (f"pseudonym {each['epoch']} {each['purpose']}", each["pseudonym"].encode())
            for each in self.customers.pseudonyms(tokens)
        ]
        long = [(label, octets) for label, octets in (*raw, *names) if len(octets) >= SHORTEST]
        state = self.customers.settings.gateway.state
        found = await asyncio.to_thread(prove_absent, [state], long)
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
        for rule in self.customers.settings.bearers:
            rest = token.value.removeprefix(rule.prefix)
            if rule.kind == token.kind and rule.prefix and rest != token.value:
                yield "token without its prefix", rest.encode()
        try:
            yield "token as bytes", bytes.fromhex(token.value)
        except ValueError:
            return


def _grants(waiting: Waiting) -> bool:
    return waiting.event.get("type") == "touchpoint.consent-granted.v1"


def _kept(said: ConsentRecord) -> dict[str, Any]:
    """Say what is left of a record, and until when."""
    until = None if said.expires_ms is None else instant(said.expires_ms).date().isoformat()
    return {"what": "tombstone", "revision": said.revision, "until": until}
