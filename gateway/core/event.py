"""Everything that goes up: the events, their CloudEvents envelope, and the retained state message.

The models are the contract: schemas and the AsyncAPI document are generated from them (`gateway.core.contract`), and
consumers may parse with them (`Event.model_validate_json`). The hot path builds only the data model, as a `Draft`;
`encode` puts the envelope around its JSON text once session and sequence are known.

Every field is always present, null where there is nothing to say: consumers see stable columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import to_json

from gateway.core.sighting import ClockQuality, Moment

LATEST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last that RFC 3339 can write
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""The shape of a name that stands in a topic and in `source`: tenant, site, gateway."""


class Wire(BaseModel):
    """A message or a part of one: immutable, closed, coercing nothing, and silent about its input in errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )


def rfc3339(time_ms: int) -> str:
    """Unix time in milliseconds as RFC 3339 text in UTC; a clock gone astray is clamped to the years 1970 to 9999."""
    seconds, rest = divmod(min(max(time_ms, 0), LATEST_MS), 1000)
    return f"{_second(seconds)}.{rest:03}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """Write a second; most events share theirs with the one before."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def _real(text: str) -> str:
    """Refuse dates that no calendar has (`ValueError`, without the text)."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("not a date and time of the calendar") from None
    return text


Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""Within what every JSON reader holds exactly (RFC 7493, section 2.2)."""
Sequence = Annotated[int, Field(ge=1, le=2**53 - 1)]
"""The position of an event in its session, from 1."""
Gtin = Annotated[str, StringConstraints(pattern=r"^[0-9]{8,14}$")]
Jws = Annotated[str, StringConstraints(max_length=65536, pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]
"""JWS in compact serialisation (RFC 7515, section 7.1)."""
Timestamp = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"),
    AfterValidator(_real),
    Field(json_schema_extra={"format": "date-time"}),
]
"""RFC 3339 in UTC with milliseconds, as `rfc3339` writes it."""
Channel = Literal["nfc", "scanner", "ble"]
Phase = Literal["before", "during", "after"]
Authenticity = Literal["genuine-unreconciled", "replayed", "forged"]


class EventType(StrEnum):
    """What happened. On the wire: `touchpoint.{type}.v1`."""

    TAP = "tap"
    SCAN = "scan"
    APPEARED = "appeared"
    DISAPPEARED = "disappeared"
    RESPONSE = "response"
    BEACON_HEALTH = "beacon-health"
    CONSENT_GRANTED = "consent-granted"
    CONSENT_WITHDRAWN = "consent-withdrawn"
    CONSENT_APPLIED = "consent-applied"
    COMMAND_RESULT = "command-result"
    GAP = "gap"

    @property
    def wire(self) -> str:
        """The CloudEvents `type`."""
        return f"touchpoint.{self}.v1"

    @property
    def dataschema(self) -> str:
        """The CloudEvents `dataschema`: the `$id` of the JSON Schema of `data`."""
        return f"urn:touchpoint:schema:{self}:1"


class Product(Wire):
    """The product that a touchpoint shows or is."""

    gtin: Gtin | None
    reference: Text | None
    serial: Text | None


class TouchpointRef(Wire):
    """The touchpoint that the customer met."""

    id: Text
    kind: Text
    zone: Text | None
    phase: Phase | None
    product: Product | None
    campaign: Text | None


class ConsentProof(Wire):
    """On what ground the subject is named: the keyed proof of the consent record, its revision, notice and purpose."""

    proof: Text
    revision: Count
    notice: Text
    purpose: Text


class Subject(Wire):
    """The customer, pseudonymized; `attribution` says whether the token itself was read or a visit was open."""

    pseudonym: Text
    attribution: Literal["direct", "visit"]
    consent: ConsentProof


class Interaction(Wire):
    """A customer's act at a touchpoint: `tap` or `scan`."""

    touchpoint: TouchpointRef
    at: Text | None
    """The touchpoint at which the reader stands."""
    channel: Channel
    reader: Text
    test: bool
    subject: Subject | None
    authenticity: Authenticity | None
    """The verdict on the tag's SUN message (NXP AN12196); null without one, or without the key to tell."""
    clock: ClockQuality


class Response(Interaction):
    """A customer's answer at a feedback point."""

    value: Text


class Appeared(Wire):
    """A consenting customer's beacon came into a zone."""

    zone: Text
    at: Text | None
    channel: Channel
    reader: Text
    test: bool
    subject: Subject
    clock: ClockQuality


class Disappeared(Appeared):
    """A consenting customer's beacon left the zone; `dwell` is the stay in seconds."""

    dwell: Annotated[float, Field(ge=0)]


class BeaconHealth(Wire):
    """The state of one of the store's own beacons."""

    touchpoint: TouchpointRef
    zone: Text
    channel: Channel
    reader: Text
    test: bool
    status: Literal["ok", "low-battery", "silent", "moved"]
    battery_mv: Count | None
    temperature_c: float | None
    uptime_s: Annotated[float, Field(ge=0)] | None
    rssi: int | None
    """Received signal strength, dBm."""
    last_seen_s: Annotated[float, Field(ge=0)]
    """How long before this event it was last heard, in seconds."""
    clock: ClockQuality


class ConsentChange(Wire):
    """Consent granted or withdrawn in the store; `record` is the record signed by this gateway."""

    record: Jws
    revision: Count
    reader: Text | None
    """Where the token was presented; null when staff withdrew without it."""
    clock: ClockQuality


class Range(Wire):
    """Sequences of this session, both ends included."""

    first: Annotated[Sequence, Field(alias="from")]
    through: Sequence

    @classmethod
    def between(cls, first: int, through: int) -> Self:
        """Build a range in Python, where `from` is a keyword."""
        return cls.model_validate({"from": first, "through": through})

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.through < self.first:
            raise ValueError("`through` lies before `from`")
        return self


class ConsentApplied(Wire):
    """The consent revision now in force, and which events of withdrawn subjects may already have been sent."""

    revision: Count
    possibly_sent: tuple[Range, ...]
    clock: ClockQuality


class CommandResult(Wire):
    """What became of a command."""

    command_id: Text
    command: Text
    status: Literal["done", "refused", "failed"]
    reason: Text | None
    clock: ClockQuality


GapReason = Literal["withdrawn", "evicted", "new-session", "too-large", "corrupt", "trimmed"]


class Previous(Wire):
    """The session before this one and the last sequence known of it."""

    session: Name
    sequence: Sequence | None


class Gap(Wire):
    """What stands at a sequence whose event is not there (any more), so that no hole is unexplained."""

    reason: GapReason
    through: Sequence | None
    """The last sequence when neighbours were folded into this gap; null when it stands for itself alone."""
    previous: Previous | None

    @model_validator(mode="after")
    def _only_a_new_session_has_a_previous(self) -> Self:
        if self.previous is not None and self.reason != "new-session":
            raise ValueError("`previous` belongs to the reason `new-session`")
        return self


def gap(reason: GapReason, *, through: int | None = None, previous: Previous | None = None) -> str:
    """JSON text of a gap's data, the same for the same arguments: it replaces a row withdrawn or evicted in place."""
    return Gap(reason=reason, through=through, previous=previous).model_dump_json()


DATA: Mapping[EventType, type[Wire]] = MappingProxyType(
    {
        EventType.TAP: Interaction,
        EventType.SCAN: Interaction,
        EventType.APPEARED: Appeared,
        EventType.DISAPPEARED: Disappeared,
        EventType.RESPONSE: Response,
        EventType.BEACON_HEALTH: BeaconHealth,
        EventType.CONSENT_GRANTED: ConsentChange,
        EventType.CONSENT_WITHDRAWN: ConsentChange,
        EventType.CONSENT_APPLIED: ConsentApplied,
        EventType.COMMAND_RESULT: CommandResult,
        EventType.GAP: Gap,
    }
)
"""The model of `data` by type."""

_BY_WIRE = {kind.wire: kind for kind in EventType}


class Event(Wire):
    """The whole event: CloudEvents 1.0 with the sequence extension, JSON format."""

    specversion: Literal["1.0"]
    id: Text
    source: Annotated[str, StringConstraints(pattern=f"^urn:touchpoint:{NAME}:{NAME}:{NAME}$")]
    type: Annotated[str, StringConstraints(pattern=rf"^touchpoint\.({'|'.join(EventType)})\.v1$")]
    time: Timestamp
    sequence: Annotated[str, StringConstraints(pattern=r"^[0-9]{20}$")]
    session: Name
    datacontenttype: Literal["application/json"]
    dataschema: Text
    data: SerializeAsAny[Wire]

    @property
    def kind(self) -> EventType:
        """What happened."""
        return _BY_WIRE[self.type]

    @field_validator("data", mode="plain")
    @classmethod
    def _fits_type(cls, data: object, info: ValidationInfo) -> Wire:
        if wire := info.data.get("type"):
            return DATA[_BY_WIRE[wire]].model_validate_json(to_json(data))
        raise ValueError("cannot be read without a valid type")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.id != f"{self.session}-{int(self.sequence)}":
            raise ValueError("`id` is not `{session}-{sequence}`")
        if self.dataschema != self.kind.dataschema:
            raise ValueError("`dataschema` does not belong to `type`")
        return self


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before it has a place in the outbox."""

    type: EventType
    at: Moment
    data: str = field(repr=False)  # JSON text of the data model
    handle: str | None = field(repr=False)  # under which a withdrawal finds the row
    purpose: str | None  # for which consent is decided again before sending
    touched: str | None = None  # the touchpoint whose use it counts as; None while staff try things out


def encode(kind: EventType, time_ms: int, data: str, *, source: str, session: str, sequence: int) -> str:
    """Put the envelope around `data` (JSON text), byte for byte as `Event` would dump it, without building it.

    `source` and `session` are names checked where they enter; nothing here needs escaping.
    """
    return (
        f'{{"specversion":"1.0","id":"{session}-{sequence}","source":"{source}","type":"touchpoint.{kind}.v1",'
        f'"time":"{rfc3339(time_ms)}","sequence":"{sequence:020}","session":"{session}",'
        f'"datacontenttype":"application/json","dataschema":"urn:touchpoint:schema:{kind}:1","data":{data}}}'
    )


class Retention(IntEnum):
    """How long an event is worth keeping when space runs out: the lowest goes first, `CONTROL` never."""

    HEALTH = 0
    PRESENCE = 1
    INTERACTION = 2
    CONTROL = 3


_RETENTION = (
    {EventType.BEACON_HEALTH: Retention.HEALTH}
    | dict.fromkeys((EventType.APPEARED, EventType.DISAPPEARED), Retention.PRESENCE)
    | dict.fromkeys((EventType.TAP, EventType.SCAN, EventType.RESPONSE), Retention.INTERACTION)
)


def retention(kind: EventType) -> Retention:
    """How long events of this type are kept."""
    return _RETENTION.get(kind, Retention.CONTROL)


class ComponentHealth(Wire):
    """Whether a component works, and if not, why."""

    ok: bool
    reason: Text | None


class State(Wire):
    """The retained state message: birth, death (as the Will) and the reports between."""

    online: bool
    version: Text
    session: Name | None
    sequence: Count | None
    """The last sequence appended."""
    at: Timestamp | None
    health: dict[Text, ComponentHealth]
    counters: dict[Text, Count]
    audit_head: Text | None
    """The head of the audit log's hash chain."""
