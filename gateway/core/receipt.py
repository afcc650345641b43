"""A consent on paper: the record of ISO/IEC TS 27560 for whoever must prove it, the receipt for whoever gave it.

The record has every mandatory field of the technical specification (as the W3C's guide "Consent Records and Receipts
as per ISO/IEC TS 27560:2023 using DPV" lists them) and the lawful basis that the GDPR adds; terms are those of the Data
Privacy Vocabulary. The receipt is text that a person can read, with a signature that a machine can verify: JWS with
detached content (RFC 7515, appendix F).
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from gateway.core.downlink import ConsentRecord, Terms, unix_ms
from gateway.core.event import rfc3339
from gateway.core.jws import Issuers, SignatureError, Signer, Use
from gateway.core.purpose import DPV, IRI, named
from gateway.sentence import sentence

SCHEMA = "ISO/IEC TS 27560:2023"
GDPR_CONSENT = "https://w3id.org/dpv/legal/eu/gdpr#A6-1-a"
"""The lawful basis: GDPR, art. 6(1)(a)."""
NOT_STATED = "not stated"
SIGNED = "Signature: "
_STATUS = {
    "given": "ConsentGiven",
    "renewed": "RenewedConsentGiven",
    "withdrawn": "ConsentWithdrawn",
    "refused": "ConsentRefused",
    "requested": "ConsentRequested",
    "expired": "ConsentExpired",
}
_STATED = {
    "given": sentence("Consent given on {on} UTC"),
    "renewed": sentence("Consent renewed on {on} UTC"),
    "withdrawn": sentence("Consent withdrawn on {on} UTC"),
    "refused": sentence("Consent refused on {on} UTC"),
    "requested": sentence("Consent requested on {on} UTC"),
    "expired": sentence("Consent expired on {on} UTC"),
}
_RIGHTS = ["A7-3", "A15", "A16", "A17", "A18", "A20", "A77"]
"""Articles of the GDPR: withdrawal, access, rectification, erasure, restriction, portability, complaint."""


def record(consent: ConsentRecord, signed: str, terms: Terms) -> dict[str, Any]:
    """Write a consent as a record of ISO/IEC TS 27560, as JSON takes it.

    `signed` is the consent as its issuer signed it; `terms` stand in where the consent carries none of its own.
    """
    terms_of = consent.terms or terms
    purposes = [
        {
            "purpose": IRI.get(word, word),
            "purpose_type": word,
            "lawful_basis": GDPR_CONSENT,
            "pii_information": [{"pii_type": each} for each in terms_of.personal_data],
            "pii_controllers": [consent.tenant],
            "collection_method": "presented or carried by the customer, read by a device in the store",
            "storage_locations": [terms_of.storage],
            "retention_period": terms_of.retention,
            "jurisdictions": [consent.jurisdiction],
            "recipient_third_parties": list(terms_of.recipients),
            "withdrawal_method": terms_of.withdrawal,
            "privacy_rights": [f"https://w3id.org/dpv/legal/eu/gdpr#{article}" for article in _RIGHTS],
        }
        for word in named(consent.purposes)
    ]
    return {
        "schema_version": SCHEMA,
        "record_id": consent.record_id,
        "pii_principal_id": consent.handles[0],
        "pii_principal_other_ids": list(consent.handles[1:]),
        "pii_processing": {
            "privacy_notice": {"version": consent.notice_version, "link": terms_of.notice_link},
            "language": consent.language,
            "purposes": purposes,
        },
        "party_identification": [_controller(consent, terms_of), *map(_recipient, terms_of.recipients)],
        "events": _events(consent),
        "terms_from": "configuration" if consent.terms is None else "record",
        "revision": consent.revision,
        "source": consent.source,
        "issuer": consent.issuer_kid,
        "signed": signed,
    }


def _controller(consent: ConsentRecord, terms: Terms) -> dict[str, Any]:
    return {
        "party_id": consent.tenant,
        "party_name": consent.controller,
        "party_address": terms.address or NOT_STATED,
        "party_contact": terms.contact or NOT_STATED,
        "party_role": f"{DPV}DataController",
        "party_type": f"{DPV}Organisation",
    }


def _recipient(name: str) -> dict[str, Any]:
    return {
        "party_id": name,
        "party_name": name,
        "party_address": NOT_STATED,
        "party_contact": NOT_STATED,
        "party_role": f"{DPV}Recipient",
        "party_type": f"{DPV}ThirdParty",
    }


def _events(consent: ConsentRecord) -> list[dict[str, Any]]:
    """Tell what the record knows of its life; a withdrawn one was given before."""
    last = _event(consent, consent.state, consent.since_ms)
    if consent.withdrawn_at is None or consent.withdrawn_at == consent.granted_at:
        return [last]
    return [_event(consent, "given", unix_ms(consent.granted_at)), last]


def _event(consent: ConsentRecord, state: str, at_ms: int) -> dict[str, Any]:
    return {
        "event_time": rfc3339(at_ms),
        "validity_duration": _duration(consent) if state in {"given", "renewed"} else "P0D",
        "entity_id": consent.handles[0],
        "event_type": f"{DPV}ExpressedConsent",
        "event_state": DPV + _STATUS[state],
    }


def _duration(consent: ConsentRecord) -> str:
    """Return how long a consent holds, in ISO 8601; without an end, until it is withdrawn."""
    if consent.expires_at is None:
        return "until withdrawn"
    lasts = max(consent.expires_at - consent.granted_at, timedelta())
    return f"P{lasts.days}D" if not lasts.seconds else f"P{lasts.days}DT{lasts.seconds}S"


def receipt(consent: ConsentRecord, terms: Terms, signer: Signer, say: Callable[[str], str] = str) -> str:
    """Write the receipt that the customer takes home: plain lines, the last its signature. It names no token.

    `say` says each line, a sentence in English, in the customer's language, before it is signed.
    """
    text = "\n".join(map(say, _lines(consent, consent.terms or terms)))
    header, _, signature = signer.sign(text.encode()).split(".")
    return f"{text}\n{SIGNED}{header}..{signature}\n"


def _lines(consent: ConsentRecord, terms: Terms) -> Iterator[str]:
    """Yield what a receipt says."""
    on = rfc3339(consent.since_ms)[:16].replace("T", " ")
    yield _STATED[consent.state].format(on=on)
    yield sentence("To: {controller}").format(controller=consent.controller)
    purposes = ", ".join(named(consent.purposes))
    yield sentence("For: {purposes}").format(purposes=purposes or sentence("nothing any more"))
    notice = (
        sentence("Notice {version} ({language}) {link}")
        if terms.notice_link
        else sentence("Notice {version} ({language})")
    )
    yield notice.format(version=consent.notice_version, language=consent.language, link=terms.notice_link)
    if consent.withdrawn_at is None:
        yield _holds(consent)
        yield sentence("To withdraw: {how}").format(how=terms.withdrawal)
    if terms.contact:
        yield sentence("Questions: {contact}").format(contact=terms.contact)
    yield sentence("Reference {id} / {revision}").format(id=consent.record_id, revision=consent.revision)


def _holds(consent: ConsentRecord) -> str:
    if consent.expires_at is None:
        return sentence("Holds until withdrawn")
    return sentence("Holds until {day}").format(day=rfc3339(unix_ms(consent.expires_at))[:10])


def verify(receipt: str, issuers: Issuers) -> str:
    """Return who signed a receipt, if nothing in it was changed since. Raises SignatureError."""
    text, mark, detached = receipt.rpartition(f"\n{SIGNED}")
    header, dots, signature = detached.strip().partition("..")
    if not mark or not dots:
        raise SignatureError(sentence("it bears no signature"))
    payload = urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
    return issuers.verify(f"{header}.{payload}.{signature}", Use.CONSENT)[0]
