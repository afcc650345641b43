"""The consent decision: when in doubt, no."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.consent import VALID, Consent, ConsentState, Denied, Granted, Reason, decide, newest
from gateway.core.sighting import ClockQuality, Moment

HANDLE = "h1.N4M2MrQXSlyjs7HtgAyDKQ"
NOW = Moment(boot_ns=0, wall_ms=1_000_000)
GIVEN = Consent(
    record_id="rec-1",
    revision=7,
    state=ConsentState.GIVEN,
    purposes=frozenset({"personalisation"}),
    notice="2026-03",
    since_ms=500_000,
    expires_ms=2_000_000,
)
GRANTED = Granted("rec-1", 7, "2026-03", "personalisation")

instants = st.integers(999_990, 1_000_010)
consents = st.builds(
    Consent,
    record_id=st.sampled_from(["a", "b", "c"]),
    revision=st.integers(1, 3),
    state=st.sampled_from(ConsentState),
    purposes=st.none() | st.frozensets(st.sampled_from(["personalisation", "analytics"])),
    notice=st.just("2026-03"),
    since_ms=instants,
    expires_ms=st.none() | instants,
    verified=st.sampled_from([True, True, True, False]),
)


def test_of_one_record_the_higher_revision_counts() -> None:
    """A newer revision replaces an older one whatever its dates say; of two that are equal, the withdrawal."""
    given, withdrawn = replace(GIVEN, revision=7), replace(GIVEN, revision=7, state=ConsentState.WITHDRAWN)
    older = replace(withdrawn, revision=6, since_ms=900_000)
    assert isinstance(decide(FakeLedger([older, given]), HANDLE, "personalisation", NOW), Granted)
    assert decide(FakeLedger([given, withdrawn]), HANDLE, "personalisation", NOW) == Denied(Reason.WITHDRAWN)
    assert newest([given, withdrawn, older]) == [withdrawn]


def test_what_nobody_has_signed_stands_in_the_way() -> None:
    """It may be a withdrawal that somebody has tampered with: no purpose has consent until it is whole again."""
    forged = replace(GIVEN, record_id="another", purposes=frozenset(), verified=False)
    assert decide(FakeLedger([GIVEN, forged]), HANDLE, "personalisation", NOW) == Denied(Reason.SIGNATURE)


@dataclass
class FakeLedger:
    """A ledger with the same records for its one handle."""

    consents: Sequence[Consent] = ()
    stale_from_ms: int | None = None

    def records(self, handle: str) -> Sequence[Consent]:
        """Return the records of the handle."""
        return self.consents if handle == HANDLE else ()


def decided(*consents: Consent, purpose: str | None = "personalisation", now: Moment = NOW) -> Granted | Denied:
    """Decide on these records."""
    return decide(FakeLedger(consents), HANDLE, purpose, now)


@pytest.mark.parametrize("state", [ConsentState.GIVEN, ConsentState.RENEWED])
def test_a_consent_in_force_is_granted(state: ConsentState) -> None:
    """The grant says on which record, revision and notice it rests, and for which purpose."""
    assert decided(replace(GIVEN, state=state)) == GRANTED
    assert decided(replace(GIVEN, state=state, expires_ms=None)) == GRANTED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": ConsentState.WITHDRAWN}, Reason.WITHDRAWN),
        ({"state": ConsentState.REFUSED}, Reason.NO_CONSENT),
        ({"state": ConsentState.REQUESTED}, Reason.NO_CONSENT),
        ({"state": ConsentState.EXPIRED}, Reason.EXPIRED),
        ({"expires_ms": NOW.wall_ms}, Reason.EXPIRED),
        ({"purposes": frozenset({"analytics"})}, Reason.NO_CONSENT),
        ({"purposes": frozenset()}, Reason.NO_CONSENT),
    ],
)
def test_anything_else_is_denied_with_its_reason(change: dict[str, object], reason: Reason) -> None:
    """Withdrawn, refused, only requested, expired, or for another purpose."""
    assert decided(replace(GIVEN, **change)) == Denied(reason)  # type: ignore[arg-type]  # fields by name


def test_a_timeline() -> None:
    """Given, expired by time, renewed, withdrawn, given again: each word counts from its instant."""
    story = [
        replace(GIVEN, revision=1, since_ms=100, expires_ms=200),
        replace(GIVEN, revision=2, record_id="rec-2", since_ms=250, expires_ms=None, state=ConsentState.RENEWED),
        replace(GIVEN, revision=3, record_id="rec-2", since_ms=300, state=ConsentState.WITHDRAWN),
        replace(GIVEN, revision=4, record_id="rec-3", since_ms=400, expires_ms=500),
    ]

    def at(wall_ms: int) -> Granted | Denied:
        return decided(*[record for record in story if record.since_ms <= wall_ms], now=Moment(0, wall_ms))

    assert at(99) == Denied(Reason.NO_CONSENT)
    assert at(100) == Granted("rec-1", 1, "2026-03", "personalisation")
    assert at(199) == Granted("rec-1", 1, "2026-03", "personalisation")
    assert at(200) == Denied(Reason.EXPIRED)
    assert at(250) == Granted("rec-2", 2, "2026-03", "personalisation")
    assert at(300) == Denied(Reason.WITHDRAWN)
    assert at(400) == Granted("rec-3", 4, "2026-03", "personalisation")
    assert at(500) == Denied(Reason.EXPIRED)


def test_what_the_ledger_holds_was_said_before() -> None:
    """A clock that was set back makes no word uncertain: a grant counts, and so does the withdrawal after it."""
    grant = replace(GIVEN, since_ms=NOW.wall_ms + 10)
    withdrawal = replace(GIVEN, state=ConsentState.WITHDRAWN, since_ms=NOW.wall_ms + 20)
    assert decided(grant) == GRANTED
    assert decided(grant, withdrawal) == Denied(Reason.WITHDRAWN)


def test_without_a_record_or_a_purpose_there_is_no_consent() -> None:
    """A stranger's handle, or an event type that no purpose covers."""
    assert decided() == Denied(Reason.NO_CONSENT)
    assert decide(FakeLedger([GIVEN]), "h1.stranger", "personalisation", NOW) == Denied(Reason.NO_CONSENT)
    assert decided(GIVEN, purpose=None) == Denied(Reason.NO_PURPOSE)


@pytest.mark.parametrize("stale_from_ms", [NOW.wall_ms, NOW.wall_ms - 1, 0])
def test_a_stale_ledger_grants_nothing(stale_from_ms: int) -> None:
    """From its instant on, nothing in the ledger counts."""
    assert decide(FakeLedger([GIVEN], stale_from_ms), HANDLE, "personalisation", NOW) == Denied(Reason.STALE)


def test_a_fresh_ledger_counts_until_its_last_millisecond() -> None:
    """One millisecond before it is stale, the ledger still counts."""
    assert decide(FakeLedger([GIVEN], NOW.wall_ms + 1), HANDLE, "personalisation", NOW) == GRANTED


def test_without_the_time_of_day_nothing_is_granted() -> None:
    """An unsynced clock cannot tell what has expired; one that ran on since it was synced can."""
    assert decided(GIVEN, now=replace(NOW, quality=ClockQuality.UNSYNCED)) == Denied(Reason.CLOCK)
    assert decided(GIVEN, now=replace(NOW, quality=ClockQuality.HOLDOVER)) == GRANTED


@pytest.mark.parametrize("order", [1, -1])
def test_a_withdrawal_wins_a_tie(order: int) -> None:
    """Of two acts in the same millisecond the withdrawal counts, whatever their order and revisions."""
    tie = [replace(GIVEN, revision=9), replace(GIVEN, record_id="rec-2", revision=1, state=ConsentState.WITHDRAWN)]
    assert decided(*tie[::order]) == Denied(Reason.WITHDRAWN)


@given(st.lists(consents, max_size=5), st.none() | instants, st.sampled_from(ClockQuality), st.randoms())
def test_never_granted_in_doubt(
    records: list[Consent], stale_from_ms: int | None, quality: ClockQuality, random: Random
) -> None:
    """A grant has a valid, unexpired record for its purpose, and no later or simultaneous word against it."""
    now = Moment(0, 1_000_000, quality)
    decision = decide(FakeLedger(records, stale_from_ms), HANDLE, "personalisation", now)
    random.shuffle(records)
    assert isinstance(decide(FakeLedger(records, stale_from_ms), HANDLE, "personalisation", now), type(decision))
    if isinstance(decision, Denied):
        return
    assert quality is not ClockQuality.UNSYNCED
    assert stale_from_ms is None or now.wall_ms < stale_from_ms
    about = [record for record in newest(records) if record.concerns("personalisation")]
    assert all(record.verified for record in about)
    latest = max(record.since_ms for record in about)
    last_words = [record for record in about if record.since_ms == latest]
    assert all(record.state in VALID for record in last_words)
    assert any(
        (record.record_id, record.revision) == (decision.record_id, decision.revision)
        and (record.expires_ms is None or record.expires_ms > now.wall_ms)
        for record in last_words
    )


@given(st.lists(consents, min_size=1, max_size=5))
def test_a_withdrawal_as_the_last_word_always_counts(records: list[Consent]) -> None:
    """Whatever was said before or at the same instant, after a withdrawal nothing is granted."""
    latest = max(record.since_ms for record in records)
    withdrawal = replace(GIVEN, state=ConsentState.WITHDRAWN, since_ms=latest)
    assert isinstance(decided(*records, withdrawal), Denied)
