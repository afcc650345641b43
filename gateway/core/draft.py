"""Drafts of events: what the path has understood, put into the words of the contract."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, cast

from gateway.core.authenticity import REFUSED
from gateway.core.event import (
    Appeared,
    Authenticity,
    BeaconHealth,
    Channel,
    CommandResult,
    ConsentApplied,
    ConsentChange,
    Disappeared,
    Draft,
    EventType,
    Interaction,
    Phase,
    Product,
    Range,
    Response,
    TouchpointRef,
    Wire,
)
from gateway.core.health import HealthReport
from gateway.core.registry import Registry, Touchpoint
from gateway.core.sighting import Moment
from gateway.core.subject import Named


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader and where it stands: at a touchpoint, or in a zone."""

    name: str
    channel: Channel
    at: str | None = None
    zone: str | None = None

    def reading(self, channel: Channel) -> "Reader":
        """Return the reader as what this reading came by: a simulated one may play more than one kind."""
        return self if self.channel == channel else replace(self, channel=channel)

    @property
    def place(self) -> str:
        """The zone of a reader; one that has none is a zone by itself."""
        return self.zone or self.name


INTERACTION: Mapping[Channel, Literal[EventType.TAP, EventType.SCAN]] = {
    "nfc": EventType.TAP,
    "scanner": EventType.SCAN,
    "ble": EventType.TAP,
}
"""What an act at a reader is called, by channel."""
RANGES = 500
"""So many ranges stand in one `consent-applied`, which stays far below the size that brokers take."""


@lru_cache(maxsize=1024)
def reference(touchpoint: Touchpoint) -> TouchpointRef:
    """Describe a touchpoint in an event."""
    product = (touchpoint.gtin, touchpoint.reference, touchpoint.serial)
    return TouchpointRef(
        id=touchpoint.id,
        kind=touchpoint.kind,
        zone=touchpoint.zone,
        phase=cast("Phase | None", touchpoint.phase),
        product=Product(gtin=product[0], reference=product[1], serial=product[2]) if any(product) else None,
        campaign=touchpoint.campaign,
    )


def place_of(reader: Reader, registry: Registry) -> TouchpointRef:
    """Describe the touchpoint at which a reader stands; one that is not registered is known by its id alone."""
    known = registry.touchpoints.get(reader.at or reader.name)
    if known is not None:
        return reference(known)
    return TouchpointRef(
        id=reader.at or reader.name, kind="reader", zone=reader.zone, phase=None, product=None, campaign=None
    )


def interaction(  # noqa: PLR0913  # the parts of an event
    reader: Reader,
    touchpoint: TouchpointRef,
    answer: str | None,
    named: Named | None,
    now: Moment,
    *,
    test: bool,
    authenticity: Authenticity | None = None,
) -> Draft:
    """Draft a `tap` or `scan`, or with an answer a `response`. What is a test, forged or replayed counts as no use."""
    touched = None if test or authenticity in REFUSED else touchpoint.id
    fields: dict[str, Any] = {
        "touchpoint": touchpoint,
        "at": reader.at,
        "channel": reader.channel,
        "reader": reader.name,
        "test": test,
        "subject": None if named is None else named.subject,
        "authenticity": authenticity,
        "clock": now.quality,
    }
    if answer is not None:
        return _draft(EventType.RESPONSE, Response(**fields, value=answer), named, now, touched)
    return _draft(INTERACTION[reader.channel], Interaction(**fields), named, now, touched)


def presence(reader: Reader, dwell: float | None, named: Named, now: Moment, *, test: bool) -> Draft:
    """Draft an `appeared`, or with a dwell in seconds a `disappeared`."""
    fields: dict[str, Any] = {
        "zone": reader.place,
        "at": reader.at,
        "channel": reader.channel,
        "reader": reader.name,
        "test": test,
        "subject": named.subject,
        "clock": now.quality,
    }
    if dwell is None:
        return _draft(EventType.APPEARED, Appeared(**fields), named, now)
    return _draft(EventType.DISAPPEARED, Disappeared(**fields, dwell=round(dwell, 1)), named, now)


def healths(
    reports: Iterable[HealthReport], touchpoints: Mapping[str, Touchpoint], now: Moment, *, test: bool
) -> tuple[Draft, ...]:
    """Draft a `beacon-health` for each report, unless its touchpoint is in the registry (by id) no more."""
    known = [(report, touchpoints.get(report.touchpoint_id)) for report in reports]
    return tuple(health(report, each, now, test=test) for report, each in known if each is not None)


def health(report: HealthReport, touchpoint: Touchpoint, now: Moment, *, test: bool) -> Draft:
    """Draft a `beacon-health`."""
    told = report.telemetry
    data = BeaconHealth(
        touchpoint=reference(touchpoint),
        zone=report.zone,
        channel="ble",
        reader=report.reader,
        test=test,
        status=report.status,
        battery_mv=None if told is None else told.battery_mv,
        temperature_c=None if told is None else told.temperature_c,
        uptime_s=None if told is None else told.uptime_s,
        rssi=report.rssi,
        last_seen_s=report.last_seen_s,
        clock=now.quality,
    )
    return _draft(EventType.BEACON_HEALTH, data, None, now)


def consent_granted(record: str, revision: int, reader: str | None, now: Moment) -> Draft:
    """Draft a `consent-granted`: the record as this gateway signed it, and where the token was presented."""
    data = ConsentChange(record=record, revision=revision, reader=reader, clock=now.quality)
    return _draft(EventType.CONSENT_GRANTED, data, None, now)


def consent_withdrawn(record: str, revision: int, reader: str | None, now: Moment) -> Draft:
    """Draft a `consent-withdrawn`: the tombstone as this gateway signed it, and where the token was presented."""
    data = ConsentChange(record=record, revision=revision, reader=reader, clock=now.quality)
    return _draft(EventType.CONSENT_WITHDRAWN, data, None, now)


def consent_applied(revision: int, possibly_sent: Iterable[int], now: Moment) -> tuple[Draft, ...]:
    """Draft a `consent-applied`: the revision of the centre's set (0 for none), what was sent perhaps, by sequence.

    More than one, when more may have been sent than one can hold.
    """
    found = ranges(possibly_sent)
    parts = [found[at : at + RANGES] for at in range(0, max(len(found), 1), RANGES)]
    told = [ConsentApplied(revision=revision, possibly_sent=part, clock=now.quality) for part in parts]
    return tuple(_draft(EventType.CONSENT_APPLIED, data, None, now) for data in told)


def command_result(
    command_id: str, command: str, status: Literal["done", "refused", "failed"], reason: str | None, now: Moment
) -> Draft:
    """Draft a `command-result`. Raises ValueError for an id or a name that no command has."""
    data = CommandResult(command_id=command_id, command=command, status=status, reason=reason, clock=now.quality)
    return _draft(EventType.COMMAND_RESULT, data, None, now)


def ranges(sequences: Iterable[int]) -> tuple[Range, ...]:
    """Return the ranges that these sequences come to, in order."""
    found: list[tuple[int, int]] = []
    for sequence in sorted(set(sequences)):
        if found and sequence == found[-1][1] + 1:
            found[-1] = (found[-1][0], sequence)
        else:
            found.append((sequence, sequence))
    return tuple(Range.between(first, through) for first, through in found)


def _draft(kind: EventType, data: Wire, named: Named | None, now: Moment, touched: str | None = None) -> Draft:
    if named is None:
        return Draft(kind, now, data.model_dump_json(), None, None, touched)
    return Draft(kind, now, data.model_dump_json(), named.handle, named.purpose, touched)
