"""The path, as stories of a boutique: who did what at which second, and what leaves the store of it."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import pseudonym
from gateway.core.consent import Reason
from gateway.core.event import DATA, Draft, EventType
from gateway.core.path import ABSORBED, NOT_VALID, UNKNOWN, UNREADABLE, Fate, Outcome, Path
from gateway.core.registry import build
from gateway.core.sighting import Advertisement, ClockQuality, Identifier, Scan, Sighting, Tag
from tests.core import salon
from tests.core.salon import ANNA, BEN, CLARA, RING, RULES, TOUCHPOINTS, FakeLedger, at, present, scan, tap
from tests.simulators import frames

GTIN = "09506000134352"
GTIN_LINK = salon.GTIN_LINK
EVERYONE = (ANNA, BEN, CLARA)


def shop(*consenting: Identifier, training: bool = False) -> tuple[Path, FakeLedger]:
    """Open the boutique; these customers agreed to everything."""
    ledger = FakeLedger()
    for token in consenting:
        ledger.grant(token)
    return salon.path(ledger, training=training), ledger


def data(draft: Draft) -> dict[str, Any]:
    """Return the data of a draft, after the model of its type has accepted it."""
    DATA[draft.type].model_validate_json(draft.data)
    return dict(json.loads(draft.data))


def only(outcome: Outcome) -> tuple[EventType, dict[str, Any]]:
    """Return the type and the data of the one event that a sighting made."""
    assert (outcome.fate, outcome.reason) == (Fate.ACTED_ON, None)
    (draft,) = outcome.drafts
    return draft.type, data(draft)


def subject(outcome: Outcome) -> tuple[str, str] | None:
    """Return whom the one event of a sighting names, and how they were recognized."""
    named = only(outcome)[1]["subject"]
    return named and (named["pseudonym"], named["attribution"])


def name(token: Identifier, purpose: str = "personalisation", epoch: int = 0) -> str:
    """Return the pseudonym of a token."""
    return pseudonym.pseudonym(RING.epochs[epoch], purpose, token)


# --- at a reader ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sighting", "kind"),
    [
        (tap(), EventType.TAP),
        (scan(f"https://id.acme.example/01/{GTIN}/21/A7"), EventType.SCAN),
        (Sighting("scanner", Scan(GTIN[1:], "]E0")), EventType.SCAN),
        (tap("04ffffffffffff", ndef=frames.message(frames.uri(f"id.acme.example/01/{GTIN}", 4))), EventType.TAP),
    ],
)
def test_a_product_is_tapped_or_scanned(sighting: Sighting, kind: EventType) -> None:
    """Tag, Digital Link, barcode: the same touchpoint, at the reader's; and nobody is named."""
    path, _ = shop()
    told, event = only(path.see(sighting, at(0)))
    assert told is kind
    assert (event["touchpoint"]["id"], event["at"], event["subject"]) == ("vitrine-3", "counter", None)


def test_a_token_opens_a_visit() -> None:
    """The token's own event is direct, what follows at the reader is the visit's, until 30 s have passed."""
    path, _ = shop(ANNA)
    kind, event = only(path.see(present(ANNA), at(0)))
    assert (kind, event["touchpoint"]["id"]) == (EventType.SCAN, "counter")
    assert (event["subject"]["pseudonym"], event["subject"]["attribution"]) == (name(ANNA), "direct")
    assert subject(path.see(scan(GTIN_LINK), at(10))) == (name(ANNA), "visit")
    assert subject(path.see(tap(), at(11))) is None, "another reader knows nobody"
    assert subject(path.see(scan(GTIN_LINK), at(30))) is None


def test_without_consent_the_same_events_name_nobody() -> None:
    """The reason is counted and stays."""
    path, _ = shop()
    assert subject(path.see(present(ANNA), at(0))) is None
    assert subject(path.see(scan(GTIN_LINK), at(10))) is None
    assert path.subjects.denied == {Reason.NO_CONSENT: 2}


def test_the_next_token_takes_over() -> None:
    """Also when its bearer did not agree: what follows is not the first one's any more."""
    path, _ = shop(ANNA)
    path.see(present(ANNA), at(0))
    assert subject(path.see(present(BEN), at(5))) is None
    assert subject(path.see(scan(GTIN_LINK), at(6))) is None


def test_staff_end_a_visit() -> None:
    """The end tag makes no event."""
    path, _ = shop(ANNA)
    path.see(present(ANNA), at(0))
    assert path.see(scan("goodbye"), at(5)) == Outcome(Fate.ACTED_ON)
    assert subject(path.see(scan(GTIN_LINK), at(6))) is None


def test_an_answer_has_its_own_purpose() -> None:
    """Consent to personalisation is none to feedback."""
    path, ledger = shop()
    ledger.grant(ANNA, 0, "personalisation")
    ledger.grant(BEN, 0, "feedback")
    assert subject(path.see(present(ANNA), at(0))) == (name(ANNA), "direct")
    kind, event = only(path.see(scan("good"), at(5)))
    assert (kind, event["value"], event["subject"]) == (EventType.RESPONSE, "5", None)
    assert subject(path.see(present(BEN), at(10))) is None
    assert subject(path.see(scan("bad"), at(15))) == (name(BEN, "feedback"), "visit")


def test_a_repeated_reading_is_absorbed() -> None:
    """Neither an event nor a longer visit comes of it."""
    path, _ = shop(ANNA)
    path.see(present(ANNA), at(0))
    assert path.see(present(ANNA), at(1)) is ABSORBED
    assert subject(path.see(scan(GTIN_LINK), at(30.5))) is None


def test_a_withdrawal_ends_visits_and_counts_at_once() -> None:
    """Even before `withdraw` is called no event names the subject; afterwards the visit is over, others' are not."""
    path, ledger = shop(ANNA, BEN)
    path.see(present(ANNA), at(0))
    path.see(present(BEN, "nfc"), at(0))
    path.see(present(BEN, "loose"), at(0))
    ledger.withdraw(ANNA, 1)
    assert subject(path.see(scan(GTIN_LINK), at(1))) is None
    path.withdraw({pseudonym.handle(RING, ANNA)})
    assert path.visits.tokens() == {"nfc": BEN, "loose": BEN}
    ledger.grant(ANNA, 2)
    assert subject(path.see(scan("good"), at(3))) is None, "a new consent does not reopen the visit"
    path.withdraw({pseudonym.handle(RING, BEN)})
    assert path.visits.tokens() == {}


@pytest.mark.parametrize(
    ("sighting", "outcome"),
    [
        (scan("autumn"), NOT_VALID),
        (scan("https://elsewhere.example/"), UNKNOWN),
        (tap("04ffffffffffff"), UNKNOWN),
        (scan(salon.MEMBERS), UNKNOWN),
        (scan("a\x00b"), UNREADABLE),
        (scan(""), UNREADABLE),
        (Sighting("nfc", Tag(b"")), UNREADABLE),
        (Sighting("salon", Advertisement("", -60, {0x004C: bytes.fromhex("10061a1e16ec7f61")})), UNKNOWN),
        (Sighting("salon", Advertisement("", -60, {0x004C: frames.ibeacon(bytes(16), 1, 2, -59)})), UNKNOWN),
        (
            Sighting("salon", Advertisement("", -60, {}, {"feaa": frames.eddystone_url(3, b"id.acme.example/q")})),
            UNKNOWN,
        ),
        (salon.telemetry(address="C4:00:00:00:00:99"), UNKNOWN),
    ],
)
def test_everything_else_is_dropped_for_a_reason(sighting: Sighting, outcome: Outcome) -> None:
    """Not valid any more, nobody's that we know, or not readable: counted and forgotten."""
    path, _ = shop()
    assert path.see(sighting, at(0)) is outcome
    assert outcome.fate is Fate.DROPPED
    path.expire(at(2))
    assert path.next_deadline() is None


def test_training_and_the_clock_are_said() -> None:
    """Consumers can tell trials and uncertain times from the rest."""
    path, _ = shop(training=True)
    event = only(path.see(tap(), at(0, ClockQuality.UNSYNCED)))[1]
    assert (event["test"], event["clock"]) == (True, "unsynced")
    event = only(shop()[0].see(tap(), at(0)))[1]
    assert (event["test"], event["clock"]) == (False, "synced")


def test_a_training_ends_by_itself() -> None:
    """At the moment that was set, without anybody's doing; presence and health go by it as taps do."""
    path, _ = shop()
    path.training_until_ns = at(10).boot_ns
    assert [only(path.see(tap(), at(seconds)))[1]["test"] for seconds in (0, 9.9, 20)] == [True, True, False]
    assert [path.testing(at(seconds)) for seconds in (9.9, 10)] == [True, False]


def test_a_new_epoch_gives_new_names() -> None:
    """At the turn of the epoch the same customer becomes somebody else."""
    path, _ = shop(ANNA)
    assert subject(path.see(present(ANNA), at(3_590))) == (name(ANNA), "direct")
    assert subject(path.see(scan(GTIN_LINK), at(3_600))) == (name(ANNA, epoch=1), "visit")


# --- in a zone --------------------------------------------------------------------------------------------------


def stay(path: Path, begin: float, end: float) -> list[Draft]:
    """Let Clara's beacon be heard near, twice a second, and return the events of it."""
    halves = range(int(begin * 2), int(end * 2) + 1)
    return [draft for half in halves for draft in path.see(salon.customer_beacon(), at(half / 2)).drafts]


def test_a_consenting_customer_appears_and_disappears() -> None:
    """The dwell is that of the beacon, not of the silence after it."""
    path, _ = shop(CLARA)
    assert path.see(salon.customer_beacon(), at(0)) is ABSORBED
    (came,) = stay(path, 0.5, 20)
    assert (came.type, came.at) == (EventType.APPEARED, at(1))
    assert (data(came)["zone"], data(came)["subject"]["pseudonym"]) == ("salon", name(CLARA))
    assert path.next_deadline() == at(30).boot_ns
    assert path.expire(at(29.9)) == ()
    (left,) = path.expire(at(30))
    assert (left.type, data(left)["dwell"]) == (EventType.DISAPPEARED, 20.0)
    assert data(left)["subject"] == data(came)["subject"]
    assert path.expire(at(31)) == ()
    assert path.next_deadline() is None


def test_nobody_disappears_while_the_scanner_is_down() -> None:
    """A scanner that hears nobody does not tell who has left; what other readers say of themselves changes nothing."""
    path, _ = shop(CLARA)
    stay(path, 0, 5)
    path.scanner("salon", at(6), up=False)
    assert (path.next_deadline(), path.expire(at(600))) == (None, ())
    path.scanner("scanner", at(600), up=True)
    path.scanner("nobody", at(600), up=True)
    assert path.expire(at(700)) == ()
    path.scanner("salon", at(700), up=True)
    (left,) = path.expire(at(710))
    assert (left.type, data(left)["dwell"]) == (EventType.DISAPPEARED, 5.0)


def test_a_departure_may_come_with_the_next_sighting() -> None:
    """When nobody called `expire` in time, the return of the beacon tells of its departure."""
    path, _ = shop(CLARA)
    stay(path, 0, 5)
    kind, event = only(path.see(salon.customer_beacon(), at(60)))
    assert (kind, event["dwell"]) == (EventType.DISAPPEARED, 5.0)


def test_without_consent_a_presence_is_nothing() -> None:
    """Neither an arrival nor a departure, also when consent comes in between."""
    path, ledger = shop()
    assert stay(path, 0, 5) == []
    assert path.subjects.denied == {Reason.NO_CONSENT: 1}
    ledger.grant(CLARA, 5)
    assert path.expire(at(60)) == ()


def test_without_a_key_a_presence_is_nothing() -> None:
    """And is counted like every refusal."""
    ledger = FakeLedger()
    ledger.grant(CLARA)
    path = salon.path(ledger, ring=None)
    assert stay(path, 0, 5) == []
    assert path.subjects.denied == {Reason.NO_KEY: 1}
    path.withdraw({"h1.anything"})
    assert path.expire(at(60)) == ()


def test_after_a_withdrawal_a_presence_ends_without_an_event() -> None:
    """The departure says nothing, whether `withdraw` came in time or not."""
    for told in (True, False):
        path, ledger = shop(CLARA)
        assert len(stay(path, 0, 5)) == 1
        ledger.withdraw(CLARA, 5)
        if told:
            path.withdraw({pseudonym.handle(RING, CLARA)})
            assert path.next_deadline() is None
        assert path.expire(at(60)) == ()


def test_another_subjects_withdrawal_ends_nothing() -> None:
    """Clara stays when Anna withdraws."""
    path, _ = shop(CLARA)
    stay(path, 0, 5)
    path.withdraw({pseudonym.handle(RING, ANNA)})
    assert [draft.type for draft in path.expire(at(60))] == [EventType.DISAPPEARED]


def test_a_presence_keeps_the_epoch_in_which_it_began() -> None:
    """Its departure can be joined to its arrival across the turn."""
    path, _ = shop(CLARA)
    (came,) = stay(path, 3_595, 3_605)
    (left,) = path.expire(at(3_700))
    assert data(came)["subject"]["pseudonym"] == data(left)["subject"]["pseudonym"] == name(CLARA)
    (again,) = stay(path, 3_800, 3_805)
    assert data(again)["subject"]["pseudonym"] == name(CLARA, epoch=1)


# --- the store's own beacons ------------------------------------------------------------------------------------


def test_a_beacon_reports_its_health() -> None:
    """Sightings are absorbed; telemetry of the same address is its own, and news of it an event."""
    path, _ = shop()
    assert path.see(salon.store_beacon(), at(0)) is ABSORBED
    assert path.next_deadline() == at(10).boot_ns
    kind, event = only(path.see(salon.telemetry(), at(1)))
    assert (kind, event["touchpoint"]["id"], event["status"]) == (EventType.BEACON_HEALTH, "pillar", "ok")
    assert (event["battery_mv"], event["zone"]) == (3000, "salon")
    assert path.see(salon.telemetry(), at(2)) is ABSORBED
    assert only(path.see(salon.telemetry(2400), at(3)))[1]["status"] == "low-battery"


def test_a_beacon_moves_and_falls_silent() -> None:
    """Both are said when they happen."""
    path, _ = shop()
    path.see(salon.store_beacon(), at(0))
    for second in range(60, 69):
        path.see(salon.store_beacon(reader="entrance"), at(second))
    event = only(path.see(salon.store_beacon(reader="entrance"), at(120)))[1]
    assert (event["status"], event["zone"], event["reader"]) == ("moved", "entrance", "entrance")
    (silent,) = path.expire(at(120 + 900))
    assert data(silent)["status"] == "silent"


def test_a_beacon_that_is_no_touchpoint_any_more_is_not_reported() -> None:
    """The registry was replaced in between."""
    path, _ = shop()
    path.see(salon.store_beacon(), at(0))
    path.registry = build(2, [touchpoint for touchpoint in TOUCHPOINTS if touchpoint.id != "pillar"], RULES)
    assert path.see(salon.telemetry(), at(1)) is ABSORBED
    assert path.expire(at(1_000)) == ()


def test_the_next_deadline_is_the_first_of_all() -> None:
    """A reading that could be repeated, a visit, a presence and a beacon each have one."""
    path, _ = shop(ANNA, CLARA)
    path.see(present(ANNA), at(0))
    assert path.next_deadline() == at(2).boot_ns
    path.expire(at(2))
    assert path.next_deadline() == at(30).boot_ns
    path.see(salon.store_beacon(), at(1))
    assert path.next_deadline() == at(11).boot_ns
    path.see(salon.customer_beacon(), at(0.5))
    assert path.next_deadline() == at(10.5).boot_ns
    path.expire(at(12))
    assert path.next_deadline() == at(30).boot_ns
    path.expire(at(30))
    assert path.visits.tokens() == {}


# --- any day ----------------------------------------------------------------------------------------------------

steps = st.tuples(
    st.one_of(
        st.sampled_from(salon.SIGHTINGS),
        st.builds(
            Sighting, st.just("scanner"), st.builds(Scan, st.text(), st.sampled_from([None, "]Q1", "]d2", "]E0"]))
        ),
        st.builds(Sighting, st.just("nfc"), st.builds(Tag, st.binary(max_size=10), st.binary(max_size=40))),
    ),
    st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 31.0, 901.0]),
    st.sampled_from(ClockQuality),
)
days = st.lists(steps, max_size=30)
Day = Iterable[tuple[Sighting, float, ClockQuality]]


def live(path: Path, day: Day) -> tuple[list[Outcome], list[Draft]]:
    """Live through a day as the shell does: what is due before each sighting comes first."""
    outcomes, drafts, now_s = list[Outcome](), list[Draft](), 0.0
    for sighting, pause_s, quality in day:
        now_s += pause_s
        drafts += path.expire(at(now_s, quality))
        outcome = path.see(sighting, at(now_s, quality))
        outcomes.append(outcome)
        drafts += outcome.drafts
        deadline = path.next_deadline()
        assert deadline is None or deadline > at(now_s).boot_ns
    drafts += path.expire(at(now_s + 100_000))
    return outcomes, drafts


@given(days)
def test_every_sighting_ends_as_one_outcome(day: list[tuple[Sighting, float, ClockQuality]]) -> None:
    """Absorbed, acted on, or dropped for a reason; only what was acted on makes events, and each is of the contract."""
    outcomes, drafts = live(shop(*EVERYONE)[0], day)
    assert len(outcomes) == len(day)
    for outcome in outcomes:
        assert (outcome.fate is Fate.DROPPED) == (outcome.reason is not None)
        assert outcome.fate is Fate.ACTED_ON or outcome.drafts == ()
    for draft in drafts:
        named = data(draft).get("subject")
        assert (draft.handle is not None) == (draft.purpose is not None) == (named is not None)


@given(days)
def test_without_consent_no_event_names_anybody(day: list[tuple[Sighting, float, ClockQuality]]) -> None:
    """Whatever happens: no subject, no handle, no presence."""
    _, drafts = live(shop()[0], day)
    assert all(data(draft).get("subject") is None and draft.handle is None for draft in drafts)
    assert {draft.type for draft in drafts}.isdisjoint({EventType.APPEARED, EventType.DISAPPEARED})


@given(days)
def test_only_who_agreed_is_named(day: list[tuple[Sighting, float, ClockQuality]]) -> None:
    """Anna agreed, the others did not: every subject is Anna, and never with an unsynced clock."""
    _, drafts = live(shop(ANNA)[0], day)
    mine = pseudonym.handle(RING, ANNA)
    for draft in drafts:
        assert draft.handle in {None, mine}
        assert draft.handle is None or draft.at.quality is not ClockQuality.UNSYNCED


@given(days)
def test_the_same_day_gives_the_same_events(day: list[tuple[Sighting, float, ClockQuality]]) -> None:
    """Byte for byte."""
    first, second = (live(shop(*EVERYONE)[0], day) for _ in range(2))
    assert first == second
    assert [draft.data for draft in first[1]] == [draft.data for draft in second[1]]


@given(days)
def test_no_token_in_an_event_or_a_repr(day: list[tuple[Sighting, float, ClockQuality]]) -> None:
    """Neither what leaves the store nor what a log might show holds a token, an address or a key."""
    path, _ = shop(*EVERYONE)
    outcomes, drafts = live(path, day)
    shown = repr(path) + repr(outcomes) + repr(drafts) + "".join(draft.data for draft in drafts) + repr(day)
    secrets = [*(token.value for token in EVERYONE), "anna-", "ben-", "C4:00:00:00:00", RING.consent_key.hex()]
    secrets += [repr(key)[2:-1] for key in (RING.consent_key, *(epoch.key for epoch in RING.epochs))]
    assert not [secret for secret in secrets if secret in shown]


def test_whoever_is_here_is_known_by_handle() -> None:
    """An open visit and a beacon that is heard; without a key nobody has a handle."""
    ledger = FakeLedger()
    for ring in (RING, None):
        chain = salon.path(ledger, ring)
        for sighting in (present(ANNA), salon.customer_beacon(), salon.store_beacon()):
            chain.see(sighting, at(1))
        assert chain.handles() == ({pseudonym.handle(RING, token) for token in (ANNA, CLARA)} if ring else set())
