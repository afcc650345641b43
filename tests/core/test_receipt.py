"""A consent on paper: complete for whoever must prove it, readable and signed for whoever gave it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.downlink import ConsentRecord, Terms
from gateway.core.jws import SignatureError, Use
from gateway.core.receipt import SIGNED, receipt, record, verify
from gateway.core.record import Grant, Voice, erased, granted, withdrawn
from gateway.language import said, spoken_to
from tests.iso27560.validate import faults
from tests.simulators.centre_keys import CENTRE, GATEWAY

DAY = 86_400_000
NOW = 1_795_000_000_000
VOICE = Voice(GATEWAY.kid, "acme", "zrh-1", "Acme SA", "CH")
BARE = Terms(personal_data=("taps",), storage="here", retention="P1Y", recipients=(), withdrawal="present the card")
TERMS = Terms(
    notice_link="https://acme.example/privacy",
    personal_data=("taps", "scans"),
    storage="Geneva",
    retention="P1Y6M",
    recipients=("Analytics Ltd",),
    withdrawal="present the card",
    address="Rue du Rhone 1, Geneva",
    contact="privacy@acme.example",
)
HANDLES = ("h1.AAAAAAAAAAAAAAAAAAAAAA", "h1.BBBBBBBBBBBBBBBBBBBBBB")
BELIEVED = GATEWAY.believed(Use.CONSENT)


def given_now(terms: Terms = TERMS, purposes: frozenset[str] = frozenset({"personalisation"})) -> ConsentRecord:
    return granted((), HANDLES, Grant(purposes, "2026-03", "fr-CH", 365 * DAY, terms), VOICE, "rec-1", NOW)


STATES = {
    "given": given_now(),
    "without an end": given_now().model_copy(update={"expires_at": None}),
    "withdrawn": withdrawn(given_now(), VOICE, NOW + DAY),
    "erased": erased(withdrawn(given_now(), VOICE, NOW + DAY)),
    "of the centre": given_now().model_copy(update={"terms": None, "purposes": ("marketing",), "source": "central"}),
    "refused": given_now().model_copy(update={"state": "refused"}),
    "bare": given_now(BARE),
    "for half a day": given_now().model_copy(update={"expires_at": given_now().granted_at.replace(hour=23)}),
}


@pytest.mark.parametrize("name", STATES)
def test_a_record_has_every_field_of_the_specification(name: str) -> None:
    """By a schema that was written apart from the code."""
    assert faults(record(STATES[name], "a.b.c", BARE)) == []


def test_the_schema_finds_what_is_missing() -> None:
    """Each mandatory field, taken out, is missed."""
    whole = record(given_now(), "a.b.c", BARE)
    optional = {"pii_principal_other_ids", "terms_from", "revision", "source", "issuer", "signed"}
    missed = {name for name in whole if faults({key: value for key, value in whole.items() if key != name})}
    assert missed == set(whole) - optional
    (purpose,) = whole["pii_processing"]["purposes"]
    for name in purpose.keys() - {"purpose_type", "collection_method", "privacy_rights"}:
        less = {key: value for key, value in purpose.items() if key != name}
        assert faults({**whole, "pii_processing": {**whole["pii_processing"], "purposes": [less]}}), name
    assert faults({**whole, "events": []})


def test_a_record_says_under_which_terms_consent_was_given() -> None:
    """Those of the record; the configuration's stand in where it has none, and it says so."""
    own, other = record(given_now(), "a.b.c", BARE), record(STATES["of the centre"], "a.b.c", BARE)
    assert (own["terms_from"], other["terms_from"]) == ("record", "configuration")
    assert own["pii_processing"]["purposes"][0]["retention_period"] == "P1Y6M"
    assert [party["party_name"] for party in own["party_identification"]] == ["Acme SA", "Analytics Ltd"]
    assert other["pii_processing"]["purposes"][0]["purpose"] == "https://w3id.org/dpv#Marketing"
    assert (own["pii_principal_id"], own["pii_principal_other_ids"]) == (HANDLES[0], [HANDLES[1]])


def test_a_withdrawn_record_tells_both_events() -> None:
    """When it was given, for how long, and when it was withdrawn."""
    events = record(STATES["withdrawn"], "a.b.c", BARE)["events"]
    assert [(each["event_state"].rpartition("#")[2], each["validity_duration"]) for each in events] == [
        ("ConsentGiven", "P365D"),
        ("ConsentWithdrawn", "P0D"),
    ]
    assert record(STATES["without an end"], "a.b.c", BARE)["events"][0]["validity_duration"] == "until withdrawn"


@pytest.mark.parametrize("name", STATES)
def test_a_receipt_bears_a_signature_and_no_token(name: str) -> None:
    """Whoever has the gateway's public key can tell whether it was changed; nobody can follow a token with it."""
    text = receipt(STATES[name], BARE, GATEWAY)
    assert verify(text, BELIEVED) == GATEWAY.kid
    assert not any(handle in text for handle in HANDLES)
    with pytest.raises(SignatureError):
        verify(text.replace("rec-1 / 1", "rec-1 / 2").replace("rec-1 / 2\n", "rec-1 / 3\n"), BELIEVED)
    with pytest.raises(SignatureError):
        verify(text, CENTRE.believed(Use.CONSENT))


@pytest.mark.parametrize(
    ("language", "first"), [("de", "Einwilligung gegeben am 2026-11-18 11:06 UTC"), ("fr-CH", "Consentement donné le ")]
)
def test_a_receipt_is_in_the_language_of_its_customer(language: str, first: str) -> None:
    """All but names and links, and what is signed is what is read."""
    with spoken_to(language):
        text = receipt(STATES["given"], BARE, GATEWAY, said)
    assert text.startswith(first)
    assert not {"To", "Holds until 2027-11-18", "To withdraw"} & {line.partition(": ")[0] for line in text.splitlines()}
    assert verify(text, BELIEVED) == GATEWAY.kid


def test_a_receipt_can_be_read() -> None:
    """Who, what for, until when, and how to take it back."""
    lines = receipt(STATES["given"], BARE, GATEWAY).splitlines()
    assert lines[:-1] == [
        "Consent given on 2026-11-18 11:06 UTC",
        "To: Acme SA",
        "For: personalisation",
        "Notice 2026-03 (fr-CH) https://acme.example/privacy",
        "Holds until 2027-11-18",
        "To withdraw: present the card",
        "Questions: privacy@acme.example",
        "Reference rec-1 / 1",
    ]
    assert "Holds until withdrawn" in receipt(STATES["without an end"], BARE, GATEWAY)
    gone = receipt(STATES["erased"], BARE, GATEWAY)
    assert "For: nothing any more" in gone
    assert "To withdraw" not in gone


@given(st.text())
def test_what_is_no_receipt_is_refused(text: str) -> None:
    """Whatever it is."""
    for some in (text, f"x\n{SIGNED}{text}", f"{text}\n{SIGNED}a..{text}"):
        with pytest.raises(SignatureError):
            verify(some, BELIEVED)
