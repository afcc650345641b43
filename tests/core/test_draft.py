"""Drafts say what the contract says, and survive it."""

import json
from typing import Any

import pytest

from gateway.core import draft
from gateway.core.draft import INTERACTION, Reader
from gateway.core.event import DATA, Authenticity, Channel, Draft, EventType
from gateway.core.health import HealthReport
from gateway.core.registry import Touchpoint, build
from gateway.core.sighting import ClockQuality, Telemetry
from gateway.core.subject import Named
from tests.core.salon import ANNA, COUNTER, EXIT, PILLAR, READERS, VITRINE, FakeLedger, at, subjects

NOW = at(5)
REGISTRY = build(1, [COUNTER, VITRINE])
VITRINE_REF = {
    "id": "vitrine-3",
    "kind": "display",
    "zone": "salon",
    "phase": "before",
    "product": {"gtin": "09506000134352", "reference": "REF-7", "serial": None},
    "campaign": "winter",
}


def named() -> Named:
    """Return Anna, named."""
    ledger = FakeLedger()
    ledger.grant(ANNA)
    found = subjects(ledger).name(ANNA, EventType.TAP, "direct", NOW)
    assert found is not None
    return found


def data(drafted: Draft) -> dict[str, Any]:
    """Return the data of a draft, after the model of its type has accepted it."""
    DATA[drafted.type].model_validate_json(drafted.data)
    return dict(json.loads(drafted.data))


def test_a_reader_without_a_zone_is_one_by_itself() -> None:
    """Presence needs a place."""
    assert Reader("salon-ble", "ble", zone="salon").place == "salon"
    assert Reader("salon-ble", "ble").place == "salon-ble"


def test_a_touchpoint_is_described_once_for_all_events() -> None:
    """With its product and campaign, where it has them."""
    assert draft.reference(VITRINE).model_dump() == VITRINE_REF
    assert draft.reference(VITRINE) is draft.reference(VITRINE)
    assert draft.reference(EXIT).product is None


@pytest.mark.parametrize("product", [{"gtin": "96385074"}, {"reference": "R"}, {"serial": "S"}])
def test_any_part_of_a_product_makes_one(product: dict[str, str]) -> None:
    """A GTIN, a reference or a serial alone is a product."""
    described = draft.reference(Touchpoint("p", "product", "P", **product)).product  # type: ignore[arg-type]  # by name
    assert described is not None
    assert described.model_dump(exclude_none=True) == product


def test_a_place_is_the_readers_touchpoint() -> None:
    """By what it stands at, or by its own name; what nobody registered is a reader and no more."""
    assert draft.place_of(READERS["nfc"], REGISTRY) == draft.reference(COUNTER)
    assert draft.place_of(Reader("vitrine-3", "nfc"), REGISTRY) == draft.reference(VITRINE)
    unknown = {"kind": "reader", "phase": None, "product": None, "campaign": None}
    at_desk = Reader("desk-nfc", "nfc", at="desk", zone="salon")
    assert draft.place_of(at_desk, REGISTRY).model_dump() == {"id": "desk", "zone": "salon", **unknown}
    assert draft.place_of(Reader("loose", "nfc"), REGISTRY).model_dump() == {"id": "loose", "zone": None, **unknown}


@pytest.mark.parametrize(
    ("channel", "kind"), [("nfc", EventType.TAP), ("ble", EventType.TAP), ("scanner", EventType.SCAN)]
)
def test_an_interaction_of_nobody(channel: Channel, kind: EventType) -> None:
    """The channel decides between tap and scan; nobody's event has no handle and no purpose."""
    reader = Reader("r", channel, at="counter")
    drafted = draft.interaction(reader, draft.reference(VITRINE), None, None, NOW, test=False)
    assert (drafted.type, drafted.at, drafted.handle, drafted.purpose) == (kind, NOW, None, None)
    assert INTERACTION[channel] is kind
    assert data(drafted) == {
        "touchpoint": VITRINE_REF,
        "at": "counter",
        "channel": channel,
        "reader": "r",
        "test": False,
        "subject": None,
        "authenticity": None,
        "clock": "synced",
    }


def test_an_interaction_of_somebody() -> None:
    """The subject is in the data; handle and purpose are beside it, for the decision before sending."""
    anna = named()
    drafted = draft.interaction(READERS["nfc"], draft.reference(VITRINE), None, anna, NOW, test=True)
    assert (drafted.handle, drafted.purpose) == (anna.handle, "personalisation")
    assert data(drafted)["subject"] == anna.subject.model_dump()
    assert data(drafted)["test"] is True
    assert anna.handle not in drafted.data


def test_an_answer_makes_a_response() -> None:
    """On any channel."""
    drafted = draft.interaction(READERS["nfc"], draft.reference(EXIT), "5", None, NOW, test=False)
    assert drafted.type is EventType.RESPONSE
    assert data(drafted)["value"] == "5"


def test_a_presence_begins_and_ends() -> None:
    """With a dwell it is the end; tenths of a second are as exact as a radio can tell."""
    anna, reader = named(), READERS["salon"]
    came = draft.presence(reader, None, anna, at(5, ClockQuality.HOLDOVER), test=False)
    assert came.type is EventType.APPEARED
    assert data(came) == {
        "zone": "salon",
        "at": None,
        "channel": "ble",
        "reader": "salon",
        "test": False,
        "subject": anna.subject.model_dump(),
        "clock": "holdover",
    }
    left = draft.presence(reader, 61.25001, anna, NOW, test=True)
    assert left.type is EventType.DISAPPEARED
    assert data(left) == {**data(came), "test": True, "clock": "synced", "dwell": 61.3}
    assert came.handle == left.handle == anna.handle
    assert data(draft.presence(reader, 0.0, anna, NOW, test=False))["dwell"] == 0.0


@pytest.mark.parametrize("told", [None, Telemetry(2400, 21.5, 7, 100.5)])
def test_the_health_of_a_beacon(told: Telemetry | None) -> None:
    """What it said of itself, if it did; nobody is in it."""
    report = HealthReport("pillar", "salon", "salon", "low-battery" if told else "ok", told, -60, 1.5)
    drafted = draft.health(report, PILLAR, NOW, test=False)
    assert (drafted.type, drafted.handle, drafted.purpose) == (EventType.BEACON_HEALTH, None, None)
    assert data(drafted) == {
        "touchpoint": draft.reference(PILLAR).model_dump(),
        "zone": "salon",
        "channel": "ble",
        "reader": "salon",
        "test": False,
        "status": "low-battery" if told else "ok",
        "battery_mv": told and 2400,
        "temperature_c": told and 21.5,
        "uptime_s": told and 100.5,
        "rssi": -60,
        "last_seen_s": 1.5,
        "clock": "synced",
    }


def test_what_was_said_in_the_store_goes_up_as_it_was_signed() -> None:
    """With the reader at which the token was presented; about no subject, so that nothing holds it back."""
    for make, kind in (
        (draft.consent_granted, EventType.CONSENT_GRANTED),
        (draft.consent_withdrawn, EventType.CONSENT_WITHDRAWN),
    ):
        drafted = make("a.b.c", 3, "scanner", NOW)
        assert (drafted.type, drafted.handle, drafted.purpose) == (kind, None, None)
        assert data(drafted) == {"record": "a.b.c", "revision": 3, "reader": "scanner", "clock": "synced"}


def test_what_may_have_been_sent_is_told_in_ranges() -> None:
    """Neighbours are one range, whatever the order and however often they are named."""
    (drafted,) = draft.consent_applied(7, [5, 1, 2, 2, 3, 9], NOW)
    assert drafted.type is EventType.CONSENT_APPLIED
    assert data(drafted) == {
        "revision": 7,
        "possibly_sent": [{"from": 1, "through": 3}, {"from": 5, "through": 5}, {"from": 9, "through": 9}],
        "clock": "synced",
    }
    (nothing,) = draft.consent_applied(0, [], NOW)
    assert data(nothing)["possibly_sent"] == []


def test_more_ranges_than_one_event_holds_go_in_several() -> None:
    """Each stays far below what brokers take."""
    told = [data(each)["possibly_sent"] for each in draft.consent_applied(7, range(2, 2_402, 2), NOW)]
    assert [len(ranges) for ranges in told] == [500, 500, 200]
    assert [each["from"] for ranges in told for each in ranges] == list(range(2, 2_402, 2))


def test_what_became_of_a_command() -> None:
    """By its id and name; a name that no command has is refused."""
    drafted = draft.command_result("c-1", "report", "refused", "it has expired", NOW)
    assert drafted.type is EventType.COMMAND_RESULT
    assert data(drafted) == {
        "command_id": "c-1",
        "command": "report",
        "status": "refused",
        "reason": "it has expired",
        "clock": "synced",
    }
    with pytest.raises(ValueError, match="command_id"):
        draft.command_result("", "report", "done", None, NOW)


@pytest.mark.parametrize(
    ("test", "authenticity", "counts"),
    [(False, None, True), (False, "genuine-unreconciled", True), (False, "forged", False), (True, None, False)],
)
def test_what_counts_as_the_use_of_a_touchpoint(
    test: bool,  # noqa: FBT001  # a parameter of the test
    authenticity: Authenticity | None,
    counts: bool,  # noqa: FBT001  # as above
) -> None:
    """A tap, a scan, an answer; not what staff try out, nor what a forgery pretends."""
    for answer in (None, "good"):
        place = draft.reference(VITRINE)
        made = draft.interaction(READERS["nfc"], place, answer, None, NOW, test=test, authenticity=authenticity)
        assert made.touched == ("vitrine-3" if counts else None)
