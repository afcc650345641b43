"""Everything that comes down: receipts, commands, consent, registry entries and cues.

Commands, consent records, the consent state and cues travel as JWS compact (EdDSA, RFC 7515 and RFC 8037); the models
describe the payload, parsed only after its signature has been verified. What arrives is hostile until proven otherwise,
so every text, number and list is bounded, and errors do not show what they refuse (only an unknown command's name).
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from gateway.core import consent
from gateway.core.consent import Consent
from gateway.core.event import Count, Name, Phase, Product, Sequence, Text, Wire, rfc3339
from gateway.core.purpose import words

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def unix_ms(instant: datetime) -> int:
    """Unix time in milliseconds, rounded down."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def _only_rfc3339(value: object) -> object:
    """Refuse what pydantic would also take for a time: Unix time, in quotes or not, and ISO 8601 without seconds."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    raise ValueError("not a date and time of RFC 3339")


Instant = Annotated[
    AwareDatetime,
    Strict(strict=False),
    BeforeValidator(_only_rfc3339),
    PlainSerializer(lambda instant: rfc3339(unix_ms(instant)), return_type=str),
]
"""RFC 3339 with any offset; written in UTC with milliseconds."""
Label = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Level = Annotated[str, StringConstraints(pattern=r"^[^/+#\x00]{1,128}$")]
"""Text that stands as one level in a topic (MQTT 5.0, section 4.7)."""
Epoch = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
Handle = Annotated[str, StringConstraints(pattern=r"^h1\.[A-Za-z0-9_-]{22}$")]
Language = Annotated[str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
"""A language tag (BCP 47)."""
IdentifierText = Annotated[str, StringConstraints(max_length=2048, pattern=r"^[a-z0-9-]{1,32}:.")]
"""`kind:value`, and `#answer` after it at a feedback point."""
Duration = Annotated[str, StringConstraints(max_length=32, pattern=r"^P[0-9]{1,4}[YMWD]([0-9]{1,4}[MD]){0,2}$")]
"""A length of time in years, months, weeks and days (ISO 8601)."""
HttpsUrl = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https://[^\s/@]+(/\S*)?$")]


class Receipt(Wire):
    """The central consumer has stored everything of this session up to `through`."""

    session: Name
    through: Count


class Order(Wire):
    """What every command carries; `counter` rises with each command to this gateway and is never used twice."""

    id: Name
    gateway: Name
    counter: Sequence
    issued: Instant
    expires: Instant

    @model_validator(mode="after")
    def _lives(self) -> Self:
        if self.expires <= self.issued:
            raise ValueError("`expires` is not after `issued`")
        return self


class SyncConsent(Order):
    """Fetch the whole consent set again."""

    command: Literal["sync-consent"]


class Replay(Order):
    """Publish these sequences again; what is already trimmed is answered with a `gap`."""

    command: Literal["replay"]
    session: Name
    first: Annotated[Sequence, Field(alias="from")]
    through: Sequence

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.through < self.first:
            raise ValueError("`through` lies before `from`")
        return self


class ActivateEpoch(Order):
    """Make this epoch of the key ring the present one; it must be in the ring already."""

    command: Literal["activate-epoch"]
    epoch: Epoch


class Identify(Order):
    """Let a reader, or with null every reader, show where it is (light, sound) for some seconds."""

    command: Literal["identify"]
    reader: Label | None = None
    seconds: Annotated[int, Field(ge=1, le=300)]


class Report(Order):
    """Publish the state message now."""

    command: Literal["report"]


class SetLogLevel(Order):
    """Change the level of the gateway's own log until the next start."""

    command: Literal["set-log-level"]
    level: Literal["debug", "info", "warning", "error"]


class Restart(Order):
    """Stop cleanly and start again."""

    command: Literal["restart"]


Command = Annotated[
    SyncConsent | Replay | ActivateEpoch | Identify | Report | SetLogLevel | Restart,
    Field(discriminator="command"),
]
COMMAND: TypeAdapter[Command] = TypeAdapter(Command, config=ConfigDict(title="command", hide_input_in_errors=True))
"""Parses the closed list of commands: `COMMAND.validate_json(payload)`."""


class Terms(Wire):
    """What else was said about the processing when consent was given: the rest of the fields of ISO/IEC TS 27560."""

    notice_link: HttpsUrl | None = None
    """Where the notice can be read."""
    personal_data: Annotated[tuple[Label, ...], Field(min_length=1, max_length=32)]
    storage: Label
    retention: Duration
    recipients: Annotated[tuple[Label, ...], Field(max_length=32)]
    withdrawal: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    """How consent is withdrawn."""
    address: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    """The controller's, by post."""
    contact: Label | None = None
    """How the controller is reached."""


class ConsentRecord(Wire):
    """A consent, central or given in the store (ISO/IEC TS 27560, W3C DPV). The higher revision replaces the lower."""

    record_id: Level
    handles: Annotated[tuple[Handle, ...], Field(min_length=1, max_length=32)]
    """Of all the subject's tokens at this site."""
    controller: Label
    purposes: Annotated[tuple[Label, ...], Field(max_length=32)]
    legal_basis: Label
    granted_at: Instant
    """When consent was given, or else when the present state began."""
    expires_at: Instant | None = None
    notice_version: Label
    language: Language
    jurisdiction: Label
    source: Literal["central", "store"]
    state: Literal["given", "renewed", "withdrawn", "refused", "requested", "expired"]
    withdrawn_at: Instant | None = None
    """Exactly when `state` is `withdrawn`."""
    revision: Count
    """Counts the states of this record and nothing else. It stands in events: a number of a customer's own would join
    that customer's events across purposes and epochs."""
    issuer_kid: Label
    tenant: Name
    site: Name
    terms: Terms | None = None

    @model_validator(mode="after")
    def _withdrawn_at_some_time(self) -> Self:
        if (self.state == "withdrawn") != (self.withdrawn_at is not None):
            raise ValueError("`withdrawn_at` belongs to the state `withdrawn`, and that to it")
        return self

    @property
    def since_ms(self) -> int:
        """When its state began (Unix milliseconds)."""
        return unix_ms(self.withdrawn_at or self.granted_at)

    @property
    def expires_ms(self) -> int | None:
        """When it ends (Unix milliseconds)."""
        return None if self.expires_at is None else unix_ms(self.expires_at)

    def word(self) -> Consent:
        """Return what the decision about its subject needs of it. A withdrawal without purposes concerns them all."""
        state = consent.ConsentState(self.state)
        return Consent(
            record_id=self.record_id,
            revision=self.revision,
            state=state,
            purposes=words(self.purposes) if self.purposes or state in consent.VALID else None,
            notice=self.notice_version,
            since_ms=self.since_ms,
            expires_ms=self.expires_ms,
        )


class ConsentState(Wire):
    """What the whole consent set of a site must come to: no subject leaves until count and digest match."""

    tenant: Name
    site: Name
    revision: Count
    count: Count
    digest: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
    """Of the records in force: see `digest`."""
    at: Instant
    """When the centre said so; from then on the set is fresh for as long as the configuration allows."""


class Digest:
    """The digest of a consent set, a part at a time: see `digest`."""

    def __init__(self) -> None:
        self._whole = sha256()

    def add(self, entries: Iterable[tuple[str, int, str]]) -> None:
        """Add the next entries, in their order."""
        for record_id, revision, state in entries:
            self._whole.update(f"{record_id}\0{revision}\0{state}\n".encode())

    def text(self) -> str:
        """Return the digest of all that was added."""
        return urlsafe_b64encode(self._whole.digest()).rstrip(b"=").decode()


def digest(entries: Iterable[tuple[str, int, str]]) -> str:
    r"""Return the digest of a consent set: SHA-256, base64url without padding.

    `entries` are record id, revision and state of every record, sorted by the UTF-8 octets of the id; hashed is
    `{record id}\0{revision}\0{state}\n` for each.
    """
    whole = Digest()
    whole.add(entries)
    return whole.text()


class RegistryEntry(Wire):
    """The definition of a touchpoint."""

    id: Name
    kind: Literal[
        "display", "counter", "entrance", "product", "catalogue", "service", "feedback", "beacon", "visit-end"
    ]
    name: Label
    zone: Label | None = None
    phase: Phase | None = None
    product: Product | None = None
    campaign: Label | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    identifiers: Annotated[tuple[IdentifierText, ...], Field(max_length=64)]
    revision: Count


class Cue(Wire):
    """What to show or do at a touchpoint now."""

    id: Name
    touchpoint: Name
    issued: Instant
    expires: Instant
    title: Label
    body: Text
    media: HttpsUrl | None = None

    @model_validator(mode="after")
    def _lives(self) -> Self:
        if self.expires <= self.issued:
            raise ValueError("`expires` is not after `issued`")
        return self
