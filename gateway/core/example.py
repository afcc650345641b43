"""One example of every message: what the AsyncAPI document shows, and what the validators are tried on."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from gateway.core.downlink import ConsentRecord, ConsentState, Cue, Identify, Receipt, RegistryEntry
from gateway.core.event import (
    Appeared,
    BeaconHealth,
    CommandResult,
    ComponentHealth,
    ConsentApplied,
    ConsentChange,
    ConsentProof,
    Disappeared,
    EventType,
    Gap,
    Interaction,
    Previous,
    Product,
    Range,
    Response,
    State,
    Subject,
    TouchpointRef,
    Wire,
    encode,
)
from gateway.core.sighting import ClockQuality

_TIME_MS = 1_795_256_130_123  # 2026-11-21T10:15:30.123Z
_NOW = datetime(2026, 11, 21, 10, 15, 30, tzinfo=UTC)
_SESSION = "7f0c1d5e9a"
_WATCH = Product(gtin="07612345678900", reference="REF-5711", serial=None)
_CASE = TouchpointRef(
    id="vitrine-3", kind="display", zone="salon", phase="before", product=_WATCH, campaign="autumn-2026"
)
_FEEDBACK = TouchpointRef(id="feedback-exit", kind="feedback", zone="exit", phase="after", product=None, campaign=None)
_BEACON = TouchpointRef(id="beacon-salon", kind="beacon", zone="salon", phase=None, product=None, campaign=None)
_PROOF = ConsentProof(proof="Zwc9aVeBCRCUq6q_RUgcLA", revision=7, notice="2026-03", purpose="personalisation")
_TOKEN = Subject(pseudonym="tp1.2026Q4.nRyA2zwztCIaA58SJJcoUQ", attribution="direct", consent=_PROOF)
_VISIT = _TOKEN.model_copy(update={"attribution": "visit"})
_STAY: dict[str, Any] = {
    "zone": "salon",
    "at": None,
    "channel": "ble",
    "reader": "salon-ble",
    "test": False,
    "subject": _TOKEN,
    "clock": ClockQuality.SYNCED,
}

_RECORD = ConsentRecord(
    record_id="rec-1",
    handles=("h1.N4M2MrQXSlyjs7HtgAyDKQ",),
    controller="acme",
    purposes=("personalisation",),
    legal_basis="consent",
    granted_at=_NOW,
    expires_at=_NOW.replace(year=2027),
    notice_version="2026-03",
    language="en",
    jurisdiction="CH",
    source="store",
    state="given",
    revision=7,
    issuer_kid="gw-1-2026",
    tenant="acme",
    site="zrh-1",
)
_WITHDRAWAL = _RECORD.model_copy(update={"state": "withdrawn", "withdrawn_at": _NOW, "revision": 8})


def jws(claims: Wire) -> str:
    """Shape a JWS around these claims, its signature all zeros: it verifies under no key."""
    header = b'{"alg":"EdDSA","kid":"centre-2026"}'
    return ".".join(_base64url(part) for part in (header, claims.model_dump_json().encode(), bytes(64)))


def _base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def _interaction(touchpoint: TouchpointRef, reader: str, subject: Subject | None) -> Interaction:
    return Interaction(
        touchpoint=touchpoint,
        at="counter",
        channel="scanner" if reader == "counter-scanner" else "nfc",
        reader=reader,
        test=False,
        subject=subject,
        authenticity=None,
        clock=ClockQuality.SYNCED,
    )


EVENTS: Mapping[EventType, Wire] = MappingProxyType(
    {
        EventType.TAP: _interaction(_CASE, "counter-nfc", _VISIT),
        EventType.SCAN: _interaction(_CASE, "counter-scanner", None),
        EventType.APPEARED: Appeared(**_STAY),
        EventType.DISAPPEARED: Disappeared(**_STAY, dwell=372.5),
        EventType.RESPONSE: Response(**dict(_interaction(_FEEDBACK, "counter-nfc", None)), value="very-satisfied"),
        EventType.BEACON_HEALTH: BeaconHealth(
            touchpoint=_BEACON,
            zone="salon",
            channel="ble",
            reader="salon-ble",
            test=False,
            status="low-battery",
            battery_mv=2410,
            temperature_c=21.5,
            uptime_s=8_640_000.0,
            rssi=-71,
            last_seen_s=0.0,
            clock=ClockQuality.HOLDOVER,
        ),
        EventType.CONSENT_GRANTED: ConsentChange(
            record=jws(_RECORD), revision=7, reader="counter-nfc", clock=ClockQuality.SYNCED
        ),
        EventType.CONSENT_WITHDRAWN: ConsentChange(
            record=jws(_WITHDRAWAL), revision=8, reader=None, clock=ClockQuality.SYNCED
        ),
        EventType.CONSENT_APPLIED: ConsentApplied(
            revision=8, possibly_sent=(Range.between(17, 19), Range.between(41, 41)), clock=ClockQuality.SYNCED
        ),
        EventType.COMMAND_RESULT: CommandResult(
            command_id="cmd-12",
            command="identify",
            status="refused",
            reason="no reader of this name",
            clock=ClockQuality.SYNCED,
        ),
        EventType.GAP: Gap(reason="new-session", through=None, previous=Previous(session="31bb20c6f4", sequence=9034)),
    }
)
"""The data of one event of each type."""

STATE = State(
    online=True,
    version="0.1.0",
    session=_SESSION,
    sequence=42,
    at="2026-11-21T10:15:30.123Z",
    health={
        "counter-nfc": ComponentHealth(ok=True, reason=None),
        "salon-ble": ComponentHealth(ok=False, reason="no adverts for 60 s"),
    },
    counters={"sightings": 1203, "absorbed": 1160},
    audit_head=None,
)

DOWN: Mapping[str, Wire] = MappingProxyType(
    {
        "receipt": Receipt(session=_SESSION, through=41),
        "command": Identify(
            id="cmd-12",
            gateway="gw-1",
            counter=12,
            issued=_NOW,
            expires=_NOW.replace(minute=20),
            command="identify",
            reader="counter-nfc",
            seconds=10,
        ),
        "consent-record": _RECORD.model_copy(update={"source": "central", "issuer_kid": "centre-2026"}),
        "consent-state": ConsentState(
            tenant="acme",
            site="zrh-1",
            revision=8,
            count=1,
            digest="47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
            at=_NOW,
        ),
        "registry-entry": RegistryEntry(
            id="vitrine-3",
            kind="display",
            name="Display case 3",
            zone="salon",
            phase="before",
            product=_WATCH,
            campaign="autumn-2026",
            valid_from=_NOW,
            identifiers=("gs1:/01/07612345678900", "link:https://id.acme.example/v/3"),
            revision=3,
        ),
        "cue": Cue(
            id="cue-5",
            touchpoint="vitrine-3",
            issued=_NOW,
            expires=_NOW.replace(minute=17),
            title="Welcome back",
            body="The watch you asked about is in case 3.",
            media="https://id.acme.example/media/5711.jpg",
        ),
    }
)
"""One message on the way down of each kind: the payload, before it is signed where it is."""


def event(kind: EventType) -> dict[str, Any]:
    """One whole event of this type."""
    data = EVENTS[kind].model_dump_json()
    text = encode(kind, _TIME_MS, data, source="urn:touchpoint:acme:zrh-1:gw-1", session=_SESSION, sequence=42)
    return dict(json.loads(text))
