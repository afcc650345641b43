"""What is said at the counter becomes the next revision of what was known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.core.consent import Consent, Denied, Granted, Reason, decide
from gateway.core.downlink import ConsentRecord, Terms
from gateway.core.purpose import DPV
from gateway.core.record import (
    HIGHEST,
    TOKENS,
    Grant,
    TooManyError,
    Voice,
    erased,
    granted,
    in_force,
    instant,
    is_erased,
    withdrawn,
)
from gateway.core.sighting import Moment

DAY = 86_400_000
NOW = 1_795_000_000_000
VOICE = Voice("acme.zrh-1.gw-1", "acme", "zrh-1", "Acme SA", "CH")
TERMS = Terms(personal_data=("taps",), storage="here", retention="P1Y", recipients=(), withdrawal="present the card")


def h(number: int) -> str:
    return f"h1.{number:022}"


A, B, C = h(1), h(2), h(3)


def grant(*purposes: str, notice: str = "1", days: int = 365) -> Grant:
    return Grant(frozenset(purposes or ("personalisation",)), notice, "en", days * DAY, TERMS)


def said(
    *known: ConsentRecord, handles: tuple[str, ...] = (A,), at: int = NOW, what: Grant | None = None
) -> ConsentRecord:
    return granted(known, handles, what or grant(), VOICE, f"new-{at}", at)


def central(**changes: object) -> ConsentRecord:
    """A record of the centre, for two tokens."""
    fields = {"record_id": "rec-1", "handles": (A, B), "source": "central", "revision": 7, "issuer_kid": "centre-1"}
    return said().model_copy(update={**fields, "terms": None, **changes})


def test_a_first_consent_is_a_new_record() -> None:
    """With IRIs as purposes, the terms, and everything that says who speaks."""
    record = said(what=grant("personalisation", "direct-marketing", notice="2026-03", days=2), handles=(A, B, A))
    assert (record.record_id, record.revision, record.state) == (f"new-{NOW}", 1, "given")
    assert record.handles == (A, B)
    assert record.purposes == (f"{DPV}DirectMarketing", f"{DPV}Personalisation")
    assert (record.since_ms, record.expires_ms) == (NOW, NOW + 2 * DAY)
    assert (record.source, record.issuer_kid, record.controller) == ("store", VOICE.kid, "Acme SA")
    assert (record.notice_version, record.language, record.terms) == ("2026-03", "en", TERMS)
    assert ConsentRecord.model_validate_json(record.model_dump_json()) == record


def test_a_record_of_the_centre_is_renewed_under_its_id_with_all_its_tokens() -> None:
    """The next revision, signed here; a token that is presented for the first time joins the others."""
    record = said(central(), handles=(A, C))
    assert (record.record_id, record.revision, record.state) == ("rec-1", 8, "renewed")
    assert record.handles == (A, B, C)
    assert (record.source, record.issuer_kid) == ("store", VOICE.kid)


def test_several_records_of_one_customer_become_one() -> None:
    """That of the centre goes on, with the tokens of all."""
    ours = central(record_id="rec-2", source="store", handles=(C,), revision=9)
    assert said(ours, central()).record_id == "rec-1"
    assert set(said(ours, central()).handles) == {A, B, C}


@pytest.mark.parametrize("state", ["withdrawn", "refused", "requested"])
def test_what_is_not_in_force_is_not_taken_up_again(state: str) -> None:
    """A new record, dated after it even if the clock was set back: the latest word decides."""
    at = instant(NOW) if state == "withdrawn" else None
    record = said(central(state=state, withdrawn_at=at), at=NOW - DAY)
    assert (record.record_id, record.revision, record.state) == (f"new-{NOW - DAY}", 1, "given")
    assert record.since_ms == NOW + 1


def test_a_consent_for_more_is_left_alone() -> None:
    """Whoever agrees to one purpose again has not taken back the other; a record of no known purpose is nobody's."""
    both = central(purposes=("personalisation", "marketing"))
    assert said(both).record_id == f"new-{NOW}"
    assert said(both, what=grant("personalisation", "marketing")).record_id == "rec-1"
    assert said(central(purposes=("unheard-of",))).record_id == f"new-{NOW}"
    assert said(central(state="expired")).record_id == "rec-1"


def test_one_record_names_so_many_tokens() -> None:
    """And no more: nothing is recorded then."""
    many = central(handles=tuple(h(number) for number in range(TOKENS)))
    assert len(said(many, handles=(h(0),)).handles) == TOKENS
    with pytest.raises(TooManyError):
        said(many, handles=(h(99),))


def test_what_no_field_takes_is_refused() -> None:
    """By the model; the text of the error quotes nothing."""
    with pytest.raises(ValidationError) as refused:
        said(what=Grant(frozenset({"personalisation"}), "", "no language", DAY, TERMS))
    assert "no language" not in str(refused.value)
    with pytest.raises((ValueError, OverflowError)):
        said(what=grant(days=10_000_000))


def test_a_withdrawal_is_the_next_revision_of_the_same_record() -> None:
    """It is never dated before what it withdraws, and signed here."""
    tombstone = withdrawn(central(), VOICE, NOW - DAY)
    assert (tombstone.record_id, tombstone.revision, tombstone.state) == ("rec-1", 8, "withdrawn")
    assert (tombstone.since_ms, tombstone.handles, tombstone.source) == (NOW, (A, B), "store")
    assert ConsentRecord.model_validate_json(tombstone.model_dump_json()) == tombstone
    assert withdrawn(central(revision=HIGHEST), VOICE, NOW).revision == HIGHEST
    assert in_force(central())
    assert not in_force(tombstone)


def test_of_an_erased_consent_the_tombstone_stays_bare() -> None:
    """It tells of no purpose and no notice, and outranks what it ended for every purpose."""
    bare = erased(withdrawn(central(), VOICE, NOW + 5))
    assert (bare.purposes, bare.notice_version, bare.terms, bare.since_ms) == ((), "-", None, NOW + 5)
    assert ConsentRecord.model_validate_json(bare.model_dump_json()) == bare
    assert bare.word().concerns("anything")
    assert is_erased(bare)
    assert not is_erased(withdrawn(central(), VOICE, NOW))
    assert not is_erased(central())


class _Ledger:
    """Everything that was ever said, as a ledger keeps it that lost nothing."""

    stale_from_ms = None

    def __init__(self, records: list[ConsentRecord]) -> None:
        self._records = records

    def records(self, handle: str) -> list[Consent]:
        return [record.word() for record in self._records if handle in record.handles]


@given(st.lists(st.tuples(st.sampled_from(["grant", "withdraw", "erase"]), st.integers(-5, 5)), max_size=12))
def test_the_last_gesture_decides_whatever_the_clock_did(gestures: list[tuple[str, int]]) -> None:
    """Grants, withdrawals and erasures in any order, with a clock that jumps: what was said last holds."""
    latest: dict[str, ConsentRecord] = {}
    every: list[ConsentRecord] = []
    for number, (gesture, jump) in enumerate(gestures):
        now = NOW + jump * 1_000
        if gesture == "grant":
            new = [granted(list(latest.values()), (A,), grant(), VOICE, f"new-{number}", now)]
        else:
            new = [withdrawn(record, VOICE, now) for record in latest.values() if in_force(record)]
            new = [erased(record) for record in new] if gesture == "erase" else new
        every += new
        latest.update({record.record_id: record for record in new})
    decision = decide(_Ledger(every), A, "personalisation", Moment(0, NOW))
    if not gestures or all(gesture != "grant" for gesture, _ in gestures):
        assert decision == Denied(Reason.NO_CONSENT)
    elif gestures[-1][0] == "grant":
        assert isinstance(decision, Granted)
    else:
        assert decision == Denied(Reason.WITHDRAWN)
