"""Naming the subject of an event: the consent decision, then the pseudonym and the proof, or a reason why not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.core import pseudonym
from gateway.core.consent import Denied, Granted, Ledger, Reason, decide
from gateway.core.event import ConsentProof, EventType, Subject
from gateway.core.pseudonym import Epoch, KeyRing
from gateway.core.sighting import Identifier, Moment
from gateway.sentence import sentence

Attribution = Literal["direct", "visit"]


@dataclass(frozen=True, slots=True)
class Named:
    """A subject that may leave the store, and under which handle and purpose that is decided again before sending."""

    subject: Subject
    handle: str = field(repr=False)
    purpose: str


@dataclass(slots=True)
class Subjects:
    """Who may be named. Without a key ring nobody is; refusals are counted by reason and go no further."""

    ring: KeyRing | None = field(repr=False)
    ledger: Ledger = field(repr=False)
    purposes: Mapping[EventType, str]
    """The purpose to which the subject of an event must have consented, by event type."""
    denied: Counter[Reason] = field(default_factory=Counter)
    activated: str | None = None
    """The epoch that the centre has made the present one; None: by the dates in the ring."""

    def handle(self, token: Identifier) -> str | None:
        """Return the handle under which the ledger knows the token's bearer; None without a key."""
        return None if self.ring is None else pseudonym.handle(self.ring, token)

    def epoch(self, now: Moment) -> Epoch | None:
        """Return the epoch whose key is in force."""
        return None if self.ring is None else self.ring.current(now.wall_ms, self.activated)

    def condition(self, now: Moment) -> dict[str, str | None]:
        """Tell what keeps every subject from being named, by component; None where nothing does.

        Raises what the ledger does.
        """
        stale_ms = self.ledger.stale_from_ms
        stale = stale_ms is not None and now.wall_ms >= stale_ms
        wrong = sentence("never, or for too long") if stale else None
        return {
            "keys": self._fault(now),
            "ledger": wrong and sentence("the consent set was not confirmed: {wrong}").format(wrong=wrong),
        }

    def _fault(self, now: Moment) -> str | None:
        if self.ring is None:
            return sentence("there is no key ring")
        epoch = self.epoch(now)
        if epoch is None:
            return sentence("no epoch of the key ring is in force")
        return (
            sentence("epoch {id} is overdue: it has ended, and no other follows it").format(id=epoch.id)
            if epoch.ended(now.wall_ms)
            else None
        )

    def name(
        self, token: Identifier, kind: EventType, attribution: Attribution, now: Moment, epoch: Epoch | None = None
    ) -> Named | None:
        """Name the bearer of `token` in an event of this type, if consent allows it now.

        `epoch` is given where something that began earlier goes on under its key (a presence).
        """
        named = self._name(token, kind, attribution, now, epoch or self.epoch(now))
        if isinstance(named, Denied):
            self.denied[named.reason] += 1
            return None
        return named

    def _name(
        self, token: Identifier, kind: EventType, attribution: Attribution, now: Moment, epoch: Epoch | None
    ) -> Named | Denied:
        handle = self.handle(token)
        if handle is None or epoch is None or not self._holds(epoch, now):
            return Denied(Reason.NO_KEY)
        decision = decide(self.ledger, handle, self.purposes.get(kind), now)
        if isinstance(decision, Denied):
            return decision
        return Named(_subject(token, attribution, epoch, decision), handle, decision.purpose)

    def _holds(self, epoch: Epoch, now: Moment) -> bool:
        """Tell whether the ring, which may be another one by now, has an epoch that may still be used."""
        return self.ring is not None and self.ring.epoch(epoch.id) == epoch and epoch.usable(now.wall_ms)


def _subject(token: Identifier, attribution: Attribution, epoch: Epoch, granted: Granted) -> Subject:
    return Subject(
        pseudonym=pseudonym.pseudonym(epoch, granted.purpose, token),
        attribution=attribution,
        consent=ConsentProof(
            proof=pseudonym.proof(epoch, granted.purpose, token.kind, granted.record_id),
            revision=granted.revision,
            notice=granted.notice,
            purpose=granted.purpose,
        ),
    )
