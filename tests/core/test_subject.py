"""Naming a subject: consent first, then pseudonym and proof."""

from dataclasses import replace

import pytest

from gateway.core import pseudonym
from gateway.core.consent import Reason
from gateway.core.event import ConsentProof, EventType, Subject
from gateway.core.sighting import ClockQuality
from gateway.core.subject import Named
from tests.core.salon import ANNA, BEN, RING, FakeLedger, at, subjects

OLD, NEW = RING.epochs


def agreed() -> FakeLedger:
    """Return a ledger in which Anna agreed to everything."""
    ledger = FakeLedger()
    ledger.grant(ANNA)
    return ledger


def test_a_consenting_bearer_is_named() -> None:
    """With the pseudonym of the epoch and the purpose, and the proof of the record; the handle stays beside it."""
    named = subjects(agreed()).name(ANNA, EventType.TAP, "direct", at(1))
    assert named == Named(
        Subject(
            pseudonym=pseudonym.pseudonym(OLD, "personalisation", ANNA),
            attribution="direct",
            consent=ConsentProof(
                proof=pseudonym.proof(OLD, "personalisation", "link", "rec-0"),
                revision=0,
                notice="2026-03",
                purpose="personalisation",
            ),
        ),
        handle=pseudonym.handle(RING, ANNA),
        purpose="personalisation",
    )


def test_each_purpose_has_its_own_pseudonym() -> None:
    """What is told for feedback cannot be joined with what is told for personalisation."""
    who = subjects(agreed())
    tap, answer = (who.name(ANNA, kind, "visit", at(1)) for kind in (EventType.TAP, EventType.RESPONSE))
    assert tap is not None
    assert answer is not None
    assert (tap.purpose, answer.purpose) == ("personalisation", "feedback")
    assert tap.subject.pseudonym != answer.subject.pseudonym
    assert tap.subject.consent.proof != answer.subject.consent.proof


def test_the_epoch_is_that_of_now_unless_one_goes_on() -> None:
    """A new epoch gives a new name; what began before keeps the old one."""
    who, later = subjects(agreed()), at(3_600)
    assert who.epoch(at(3_599)) == OLD
    assert who.epoch(later) == NEW
    fresh = who.name(ANNA, EventType.APPEARED, "direct", later)
    going_on = who.name(ANNA, EventType.APPEARED, "direct", later, OLD)
    assert fresh is not None
    assert going_on is not None
    assert fresh.subject.pseudonym.startswith("tp1.2027Q1.")
    assert going_on.subject.pseudonym.startswith("tp1.2026Q4.")


def test_refusals_are_counted_by_reason() -> None:
    """A refusal is no name and one more in its counter."""
    who = subjects(agreed())
    assert who.name(BEN, EventType.TAP, "direct", at(1)) is None
    assert who.name(BEN, EventType.SCAN, "direct", at(2)) is None
    assert who.name(ANNA, EventType.GAP, "direct", at(3)) is None
    assert who.name(ANNA, EventType.TAP, "direct", at(4, ClockQuality.UNSYNCED)) is None
    assert who.denied == {Reason.NO_CONSENT: 2, Reason.NO_PURPOSE: 1, Reason.CLOCK: 1}


def test_without_a_ring_nobody_is_named() -> None:
    """A gateway without keys runs, and knows no handle and no epoch."""
    who = subjects(agreed(), ring=None)
    assert who.handle(ANNA) is None
    assert who.epoch(at(1)) is None
    assert who.name(ANNA, EventType.TAP, "direct", at(1)) is None
    assert who.denied == {Reason.NO_KEY: 1}


def test_outside_of_every_epoch_nobody_is_named() -> None:
    """A ring whose epochs are over, or have not begun, gives no name."""
    ended = pseudonym.derive(bytes(32), "acme", "zrh-1", [("2026Q3", 0, 1)])
    who = subjects(agreed(), ended)
    assert who.name(ANNA, EventType.TAP, "direct", at(1)) is None
    assert who.denied == {Reason.NO_KEY: 1}


def test_the_activated_epoch_is_the_present_one() -> None:
    """The centre may begin the next epoch before its time."""
    who = subjects(agreed())
    who.activated = NEW.id
    named = who.name(ANNA, EventType.TAP, "direct", at(1))
    assert named is not None
    assert named.subject.pseudonym.startswith("tp1.2027Q1.")


def test_the_key_of_an_epoch_long_over_is_never_used() -> None:
    """What began in it is told under its key for 72 hours, and no longer."""
    who, end_s = subjects(agreed()), 3_600
    last = end_s + pseudonym.GRACE_MS // 1000
    assert who.name(ANNA, EventType.DISAPPEARED, "direct", at(last - 1), OLD) is not None
    assert who.name(ANNA, EventType.DISAPPEARED, "direct", at(last), OLD) is None
    assert who.denied == {Reason.NO_KEY: 1}


def test_the_key_of_an_epoch_that_was_taken_away_is_never_used() -> None:
    """What began in an epoch goes on under its key only while the ring holds it; derived keys are forgotten with it."""
    who, later = subjects(agreed()), at(3_600)
    assert who.name(ANNA, EventType.DISAPPEARED, "direct", later, OLD) is not None
    who.ring = replace(RING, epochs=(NEW,))
    pseudonym.forget_keys()
    assert who.name(ANNA, EventType.DISAPPEARED, "direct", later, OLD) is None
    assert who.name(ANNA, EventType.DISAPPEARED, "direct", later, NEW) is not None
    assert who.denied == {Reason.NO_KEY: 1}


@pytest.mark.parametrize("hidden", [ANNA.value, pseudonym.handle(RING, ANNA), RING.consent_key.hex(), OLD.key.hex()])
def test_neither_token_nor_handle_nor_key_is_shown(hidden: str) -> None:
    """What names a customer within the store is in no repr."""
    who = subjects(agreed())
    assert hidden not in repr(who) + repr(who.name(ANNA, EventType.TAP, "direct", at(1)))


def test_what_keeps_everybody_from_being_named_is_told() -> None:
    """No ring, no epoch, an epoch that is overdue, a consent set that was not confirmed for too long."""
    who = subjects(agreed())
    assert who.condition(at(1)) == {"keys": None, "ledger": None}
    ended = pseudonym.derive(bytes(32), "acme", "zrh-1", [("2026Q3", 0, at(0).wall_ms)])
    assert subjects(agreed(), None).condition(at(1))["keys"] == "there is no key ring"
    late = subjects(agreed(), ended)
    assert late.condition(at(1))["keys"] == "no epoch of the key ring is in force"
    late.activated = "2026Q3"
    assert "2026Q3 is overdue" in str(late.condition(at(1))["keys"])
    stale = FakeLedger(stale_from_ms=at(1).wall_ms)
    assert subjects(stale).condition(at(0))["ledger"] is None
    assert "not confirmed" in str(subjects(stale).condition(at(1))["ledger"])
