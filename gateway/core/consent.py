"""Whether an event may name its subject: a pure decision over what the ledger holds.

A refusal is a value with a reason, never an exception: the event goes out without its subject and the reason
stays in a local counter. Sources: GDPR art. 6(1)(a) and 7; W3C DPV, where only *given* and *renewed* are valid states.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.core.sighting import ClockQuality, Moment


class ConsentState(StrEnum):
    """The states of a consent (W3C DPV, `dpv:ConsentStatus`)."""

    GIVEN = "given"
    RENEWED = "renewed"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"
    REQUESTED = "requested"
    EXPIRED = "expired"


LATEST_MS = 1 << 62
"""Later than any clock says."""
VALID = frozenset({ConsentState.GIVEN, ConsentState.RENEWED})


class Reason(StrEnum):
    """Why a subject is not named; the names of local counters."""

    NO_KEY = "no-key"
    NO_PURPOSE = "no-purpose"
    NO_CONSENT = "no-consent"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    SIGNATURE = "bad-signature"
    STALE = "stale-ledger"
    CLOCK = "clock-unsynced"


@dataclass(frozen=True, slots=True)
class Consent:
    """One record of the ledger, as far as the decision needs it. Times in Unix milliseconds."""

    record_id: str
    revision: int
    state: ConsentState
    purposes: frozenset[str] | None
    """As words (`gateway.core.purpose`); None: all of them, whatever they are."""
    notice: str
    since_ms: int
    """When the present state began: granted at, or withdrawn at."""
    expires_ms: int | None
    verified: bool = True
    """Its signature is that of somebody who may say so. While a record is not, no purpose has consent."""

    @property
    def precedence(self) -> tuple[bool, int, bool, int, int, list[str]]:
        """What decides between two versions of one record: the higher revision wins, a withdrawal wins ties.

        What comes after that only keeps the order in which they were read from mattering.
        """
        ends = -(self.expires_ms or 0), sorted(self.purposes or ())
        return not self.verified, self.revision, self.state not in VALID, self.since_ms, *ends

    def concerns(self, purpose: str) -> bool:
        """Tell whether it has a say on this purpose."""
        return not self.verified or self.purposes is None or purpose in self.purposes


@dataclass(frozen=True, slots=True)
class Granted:
    """The subject may be named for this purpose."""

    record_id: str
    revision: int
    notice: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The subject may not be named."""

    reason: Reason


class Ledger(Protocol):
    """What is known of consents at this instant. The shell keeps it current; the core only reads."""

    def records(self, handle: str) -> Sequence[Consent]:
        """Every record that lists this handle, in any state; empty when there is none."""
        ...

    @property
    def stale_from_ms(self) -> int | None:
        """Unix milliseconds after which nothing in it counts any more; None when no centre has a say in it."""
        ...


def decide(ledger: Ledger, handle: str, purpose: str | None, now: Moment) -> Granted | Denied:
    """Decide for one handle and one purpose at `now`. When in doubt, no."""
    if purpose is None:
        return Denied(Reason.NO_PURPOSE)
    if now.quality is ClockQuality.UNSYNCED:
        return Denied(Reason.CLOCK)
    if ledger.stale_from_ms is not None and now.wall_ms >= ledger.stale_from_ms:
        return Denied(Reason.STALE)
    records = newest(ledger.records(handle))
    return _latest_word([record for record in records if record.concerns(purpose)], purpose, now)


def newest(records: Iterable[Consent]) -> list[Consent]:
    """Return each record once, in its highest revision; of two that are equal, the withdrawal."""
    kept: dict[str, Consent] = {}
    for record in records:
        known = kept.get(record.record_id)
        if known is None or record.precedence > known.precedence:
            kept[record.record_id] = record
    return list(kept.values())


def _latest_word(records: Sequence[Consent], purpose: str, now: Moment) -> Granted | Denied:
    """Let the subject's latest act on this purpose decide; of two at the same instant, the withdrawal.

    What the ledger holds was said before this sighting, even if a clock that was set back has it later.
    """
    if not records:
        return Denied(Reason.NO_CONSENT)
    if not all(record.verified for record in records):
        return Denied(Reason.SIGNATURE)
    last = max(records, key=_lateness)
    if last.state is ConsentState.WITHDRAWN:
        return Denied(Reason.WITHDRAWN)
    if last.state is ConsentState.EXPIRED or (last.expires_ms is not None and now.wall_ms >= last.expires_ms):
        return Denied(Reason.EXPIRED)
    if last.state not in VALID:
        return Denied(Reason.NO_CONSENT)
    return Granted(last.record_id, last.revision, last.notice, purpose)


def _lateness(record: Consent) -> tuple[int, bool, int, int]:
    """Order words by when they were said; of two at the same instant, what allows less counts."""
    ends = record.expires_ms
    return record.since_ms, record.state not in VALID, record.revision, -LATEST_MS if ends is None else -ends
