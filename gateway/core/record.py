"""What is said at the counter, as consent records: granted or renewed, withdrawn, erased.

Each function makes the next revision of what is known of one customer; who may say it, and under which signature, is
the shell's business.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.core.consent import VALID, ConsentState
from gateway.core.downlink import ConsentRecord, Terms
from gateway.core.purpose import IRI, words

TOKENS = 32
"""So many tokens one record names at most."""
HIGHEST = 2**53 - 1
"""The highest revision; a withdrawal wins a tie."""
_RENEWABLE = {*VALID, ConsentState.EXPIRED}


class TooManyError(Exception):
    """One record would have to name more tokens than it can."""


@dataclass(frozen=True, slots=True)
class Voice:
    """In whose name a record is made, where, and under which law."""

    kid: str
    tenant: str
    site: str
    controller: str
    jurisdiction: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a customer agrees to: purposes as words, the notice that was shown, for how long (ms), and the terms."""

    purposes: frozenset[str]
    notice: str
    language: str
    lasts_ms: int
    terms: Terms = field(repr=False)


def granted(  # the parts of one record
    known: Sequence[ConsentRecord], handles: Sequence[str], grant: Grant, voice: Voice, new_id: str, now_ms: int
) -> ConsentRecord:
    """Make the record of a consent: the next revision of what it renews, or a new one under `new_id`.

    `known`: each record of the customer in its latest revision. What is renewed is whatever is for these purposes or
    some of them; several become one, with the tokens of all. What was withdrawn stays so and is never taken up again.
    Raises TooManyError; ValidationError when a text is not what its field takes.
    """
    renews = [record for record in known if _renewed(record, grant.purposes)]
    first = max(
        renews, key=lambda record: (record.source == "central", record.revision, record.record_id), default=None
    )
    named = [handle for record in (first, *renews) if record for handle in record.handles]
    tokens = tuple(dict.fromkeys([*named, *handles]))
    if len(tokens) > TOKENS:
        raise TooManyError
    ended_ms = max((record.since_ms for record in known if ConsentState(record.state) not in VALID), default=-1)
    since_ms = max(now_ms, ended_ms + 1)
    return ConsentRecord(
        record_id=first.record_id if first else new_id,
        handles=tokens,
        controller=voice.controller,
        purposes=tuple(IRI[word] for word in sorted(grant.purposes)),
        legal_basis="consent",
        granted_at=instant(since_ms),
        expires_at=instant(since_ms + grant.lasts_ms),
        notice_version=grant.notice,
        language=grant.language,
        jurisdiction=voice.jurisdiction,
        source="store",
        state="renewed" if first else "given",
        revision=first.revision + 1 if first else 1,
        issuer_kid=voice.kid,
        tenant=voice.tenant,
        site=voice.site,
        terms=grant.terms,
    )


def _renewed(record: ConsentRecord, purposes: Collection[str]) -> bool:
    """Tell whether a grant for these purposes says all that the record says."""
    said = words(record.purposes)
    return ConsentState(record.state) in _RENEWABLE and bool(said) and said <= set(purposes)


def in_force(record: ConsentRecord) -> bool:
    """Tell whether there is something to withdraw, even if its time is over: a clock may be wrong."""
    return ConsentState(record.state) in VALID


def withdrawn(record: ConsentRecord, voice: Voice, now_ms: int) -> ConsentRecord:
    """Make the tombstone of a record: the next revision, signed here, never dated before what it withdraws."""
    return record.model_copy(
        update={
            "state": "withdrawn",
            "withdrawn_at": instant(max(now_ms, record.since_ms)),
            "revision": min(record.revision + 1, HIGHEST),
            "source": "store",
            "issuer_kid": voice.kid,
        }
    )


def erased(tombstone: ConsentRecord) -> ConsentRecord:
    """Leave of a tombstone what it takes to outrank what it ended: it concerns every purpose then and tells of none."""
    return tombstone.model_copy(
        update={"purposes": (), "granted_at": tombstone.withdrawn_at, "notice_version": "-", "terms": None}
    )


def is_erased(record: ConsentRecord) -> bool:
    """Tell whether it is kept only so that what it ended does not come back."""
    return record.state == "withdrawn" and not record.purposes


def instant(unix_ms: int) -> datetime:
    """Return Unix milliseconds as a date. Raises OverflowError, ValueError beyond the calendar."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
