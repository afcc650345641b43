"""Model checking: random days of a store, and on none of them is a subject named without consent.

An independent oracle (`oracle.Paper`) keeps every word that the gateway must believe. Whatever goes out is looked at:
an event with a pseudonym must have been allowed by the oracle when it was captured, and be allowed when it is sent.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from gateway.core import consent, subject
from gateway.core.consent import Denied, Granted
from gateway.core.downlink import ConsentRecord, ConsentState, digest
from gateway.core.event import Draft
from gateway.core.pseudonym import derive
from gateway.core.sighting import ClockQuality, Identifier, Moment, Sighting
from gateway.store.database import transaction
from gateway.store.outbox import Outbox
from gateway.uplink import forward
from tests.core import salon
from tests.privacy.halves import Halves, Wire, forget_new_files
from tests.privacy.link import TOLERATED_MS, Link
from tests.privacy.oracle import Paper, Word
from tests.simulators.centre_keys import CENTRE, GATEWAY, STRANGER
from tests.simulators.trust_service import TrustService

SCHEDULES = int(os.environ.get("SCHEDULES", "40"))
STEPS = 60
HOUR_MS = 3_600_000
STALE_MS = 24 * HOUR_MS
ROOT = bytes(range(32))
SPANS = [
    ("2026Q4", 0, salon.NEW_YEAR_MS),
    ("2027Q1", salon.NEW_YEAR_MS, salon.NEW_YEAR_MS + 30 * HOUR_MS),
    ("2027Q2", salon.NEW_YEAR_MS + 30 * HOUR_MS, None),
]
"""Quarters of a few hours, so that a day crosses them."""
RING = derive(ROOT, "acme", "zrh-1", SPANS)
TRUST = TrustService(ROOT)
ANNA_PHONE = Identifier("link", f"{salon.MEMBERS}anna-phone-W2xYq8Rt5uI0")
CUSTOMERS = {
    "anna": (salon.ANNA, ANNA_PHONE),
    "ben": (salon.BEN,),
    "clara": (salon.CLARA, Identifier("link", f"{salon.MEMBERS}clara-card-Kd83nLw0PzXa")),
}
TOKENS = {token.text: token for tokens in CUSTOMERS.values() for token in tokens}
PAIRS = [(token.kind, token.value) for token in TOKENS.values()]
EVERY = ("personalisation", "customer-care")


@dataclass(frozen=True)
class Said:
    """What a record says, and when by the gateway's clock."""

    about: tuple[str, ...]
    state: Any
    life_ms: int | None
    skew_ms: int = 0


@dataclass(frozen=True)
class News:
    """A new version of a record at the centre: whose, which, what, and whether it comes down at once."""

    customer: str
    slot: int
    said: Said
    same: bool
    """A withdrawal may come in the same revision."""
    first: bool
    """It is about the customer's first token alone."""
    deliver: bool


customers = st.sampled_from(sorted(CUSTOMERS))
tokens = st.sampled_from(sorted(TOKENS))
purposes = st.sampled_from([EVERY, EVERY[:1], EVERY[1:]])
states = st.sampled_from(["given", "given", "renewed", "withdrawn", "withdrawn", "refused", "requested", "expired"])
lives_ms = st.sampled_from([None, 5_000, HOUR_MS, 30 * HOUR_MS])
steps_ms = st.sampled_from([1, 500, 3_000, 3_000, 12_000, 12_000, 40_000, HOUR_MS // 2, 9 * HOUR_MS, 26 * HOUR_MS])
skews_ms = st.sampled_from([0, 0, 0, -1_000, -HOUR_MS, 60_000, 2 * TOLERATED_MS])
news = st.builds(
    News,
    customers,
    st.integers(0, 1),
    st.builds(Said, purposes, states, lives_ms, skews_ms),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


def _handle(token: str) -> str:
    return TRUST.handle("acme", "zrh-1", (TOKENS[token].kind, TOKENS[token].value))


def _instant(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def _word(record: ConsentRecord) -> Word:
    """Write a record down for the oracle, who knows tokens and not handles."""
    return Word(
        record=record.record_id,
        revision=record.revision,
        state=record.state,
        tokens=frozenset(token for token in TOKENS if _handle(token) in record.handles),
        purposes=frozenset(record.purposes),
        since_ms=record.since_ms,
        until_ms=record.expires_ms,
        central=record.source == "central",
    )


class Store(RuleBasedStateMachine):
    """A day: what customers, staff, the centre, the clock, the line and the power do, in any order."""

    named: ClassVar[Counter[str]] = Counter()
    """How many events there were, with a subject and without, captured and sent, over all days: a model that never
    names anybody proves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.wall_ms, self.boot_ns, self.quality = salon.MORNING_MS, 10**12, ClockQuality.SYNCED
        self.halves = Halves(self.now, RING, STALE_MS)
        self.paper = Paper(STALE_MS)
        self.link = Link(lambda: self.halves.database, self.now)
        self.centre: dict[str, ConsentRecord] = {}
        self.sent: list[ConsentRecord] = []
        self.states: list[tuple[str, dict[str, ConsentRecord], int]] = []
        self.revision = 0
        self.allowed: dict[int, bool] = {}
        self.made = 0

    def now(self) -> Moment:
        return Moment(self.boot_ns, self.wall_ms, self.quality)

    def teardown(self) -> None:
        self.halves.close()

    @initialize(agreed=st.lists(tokens, unique=True), life_ms=lives_ms)
    def open_store(self, agreed: list[str], life_ms: int | None) -> None:
        """In the morning the centre has confirmed that it knows nobody; some customers have agreed here."""
        self.centre_states(late=False)
        for token in agreed:
            self.grant(token, EVERY, life_ms, both=True)

    @rule(agreed=st.lists(tokens, unique=True, min_size=1), life_ms=lives_ms, online=st.booleans())
    def all_is_well(self, agreed: list[str], life_ms: int | None, online: bool) -> None:  # noqa: FBT001  # drawn
        """The clock is right, the centre's set is whole; customers agree and come in, and perhaps the line works."""
        self.quality = ClockQuality.SYNCED
        self.link.reconnect()
        for record in self.centre.values():
            self.deliver(record)
        self.centre_states(late=False)
        for token in agreed:
            self.grant(token, EVERY, life_ms, both=True)
            self.present(token, "nfc")
            self.touch("nfc", "good")
        if online:
            self.wait(3_000)
            self.send(breaks_after=None, crash=False, acknowledged=True)

    # customers

    @rule(token=tokens, reader=st.sampled_from(["scanner", "nfc"]))
    def present(self, token: str, reader: str) -> None:
        """A customer presents a token, or comes near with it if it is a beacon."""
        known = TOKENS[token]
        self.see(salon.present(known, reader) if known.kind == "link" else salon.customer_beacon())

    @rule(reader=st.sampled_from(["scanner", "nfc"]), text=st.sampled_from(["good", "bad", salon.GTIN_LINK, "goodbye"]))
    def touch(self, reader: str, text: str) -> None:
        """Somebody scans a product or answers at the feedback point, perhaps in an open visit."""
        self.see(salon.scan(text, reader))

    @rule(readings=st.integers(2, 6), rssi=st.sampled_from([-60, -60, -95]))
    def stay(self, readings: int, rssi: int) -> None:
        """Clara's beacon is heard for some seconds."""
        for _ in range(readings):
            self.see(salon.customer_beacon(rssi))
            self.boot_ns, self.wall_ms = self.boot_ns + 10**9, self.wall_ms + 1_000

    @rule(token=tokens)
    def present_and_crash(self, token: str) -> None:
        """Capture crashes between a reading and its commit: nothing of it is ever sent."""
        self.halves.lose(salon.present(TOKENS[token]))

    def see(self, sighting: Sighting) -> None:
        self.halves.see(sighting, self.captured)

    def captured(self, sequence: int, draft: Draft) -> None:
        """Write down whether this event might name somebody, by the oracle."""
        data = json.loads(draft.data)
        subject = data.get("subject")
        self.named["captured with" if subject else "captured without"] += 1
        if subject is None:
            return
        assert self.covered(data), "an event was captured with a subject who did not agree"
        self.allowed[sequence] = True

    def covered(self, data: dict[str, Any]) -> bool:
        """Ask the oracle about the subject of an event, whom the trust service can name."""
        event = {"data": data, "source": "urn:touchpoint:acme:zrh-1:gw-1"}
        found = TRUST.token(event, PAIRS)
        assert found is not None, "the trust service cannot tell who it is"
        return self.allows(":".join(found), data["subject"]["consent"]["purpose"])

    def allows(self, token: str, purpose: str) -> bool:
        return self.paper.allows(token, purpose, self.wall_ms, synced=self.quality is not ClockQuality.UNSYNCED)

    # consent, in the store

    @rule(token=tokens, about=purposes, life_ms=lives_ms, both=st.booleans())
    def grant(self, token: str, about: tuple[str, ...], life_ms: int | None, both: bool) -> None:  # noqa: FBT001  # drawn
        """A customer agrees at the counter, with one token or with all of them."""
        mine = next(tokens for tokens in CUSTOMERS.values() if TOKENS[token] in tokens)
        self.made += 1
        held = tuple(each.text for each in mine) if both else (token,)
        record = self.record(f"store-{self.made}", held, Said(about, "given", life_ms), 1)
        self.halves.say(record)
        self.paper.note(_word(record))

    @rule(token=tokens, crash=st.booleans())
    def withdraw(self, token: str, crash: bool) -> None:  # noqa: FBT001  # drawn
        """A customer withdraws at the counter: a tombstone for each record that lists the token, whoever wrote it.

        Capture may crash between the tombstone and the rest: from the tombstone on nothing may be sent.
        """
        known = self.halves.ledger.records(_handle(token))
        held = {word.record: word for words in self.paper.words.values() for word in words if token in word.tokens}
        gone = {token}
        for record_id in sorted({record.record_id for record in known} & held.keys()):
            word, top = held[record_id], max(each.revision for each in self.paper.words[record_id])
            record = self.record(record_id, tuple(sorted(word.tokens)), Said((), "withdrawn", None), top + 1)
            record = record.model_copy(update={"source": "store"})
            self.halves.say(record)
            self.paper.note(_word(record))
            gone |= word.tokens
        if crash:
            self.halves.close_capture()
            self.halves.open_capture()
        else:
            self.halves.withdraw(_handle(each) for each in gone)

    def record(self, record_id: str, held: tuple[str, ...], said: Said, revision: int) -> ConsentRecord:
        """Write a record as the store or the centre does."""
        at_ms, central = self.wall_ms + said.skew_ms, record_id.startswith("centre-")
        return ConsentRecord(
            record_id=record_id,
            handles=tuple(_handle(token) for token in held),
            controller="acme",
            purposes=said.about,
            legal_basis="consent",
            granted_at=_instant(at_ms),
            expires_at=None if said.life_ms is None else _instant(at_ms + said.life_ms),
            notice_version="1",
            language="en",
            jurisdiction="CH",
            source="central" if central else "store",
            state=said.state,
            withdrawn_at=_instant(at_ms) if said.state == "withdrawn" else None,
            revision=revision,
            issuer_kid=CENTRE.kid if central else GATEWAY.kid,
            tenant="acme",
            site="zrh-1",
        )

    # consent, at the centre

    @rule(new=news)
    def centre_says(self, new: News) -> None:
        """The centre has a new version of a record, for one token of a customer or all; it comes down now, or later."""
        record_id = f"centre-{new.customer}-{new.slot}"
        before = self.centre.get(record_id)
        again = new.same and new.said.state == "withdrawn"
        revision = 1 if before is None else before.revision + (0 if again else 1)
        held = tuple(token.text for token in CUSTOMERS[new.customer][: 1 if new.first else None])
        record = self.record(record_id, held, new.said, revision)
        self.centre[record_id] = record
        self.sent.append(record)
        if new.deliver:
            self.deliver(record)

    @rule(data=st.data())
    def an_old_one_comes(self, data: st.DataObject) -> None:
        """Any version that the centre ever had comes down: late, again, or out of order."""
        if self.sent:
            self.deliver(data.draw(st.sampled_from(self.sent), label="which"))

    def deliver(self, record: ConsentRecord) -> None:
        """Carry a record down; the oracle notes what the gateway must take."""
        self.link.take(record.record_id, CENTRE.sign(record.model_dump_json().encode()))
        if record.since_ms <= self.wall_ms + TOLERATED_MS and self.quality is not ClockQuality.UNSYNCED:
            self.paper.note(_word(record))

    @rule(token=tokens, how=st.sampled_from(["stranger", "site", "topic"]))
    def forgery(self, token: str, how: str) -> None:
        """A consent comes that the centre never gave, or not to this store, or under another's name."""
        record = self.record("centre-forged", (token,), Said(EVERY, "given", None), 9)
        if how == "site":
            record = record.model_copy(update={"site": "gva-1"})
        signer = STRANGER if how == "stranger" else CENTRE
        topic = "another" if how == "topic" else record.record_id
        self.link.take(topic, signer.sign(record.model_dump_json().encode()))

    @rule(whole=st.sampled_from([True, True, True, False]), order=st.randoms(use_true_random=False))
    def sync(self, whole: bool, order: Any) -> None:  # noqa: ANN401, FBT001  # hypothesis' random numbers; drawn
        """The uplink reconnects: what is retained comes in any order, perhaps not all, then the state of the set."""
        self.link.reconnect()
        records = list(self.centre.values())
        order.shuffle(records)
        for record in records if whole else records[1:]:
            self.deliver(record)
        self.centre_states(late=False)

    @rule(late=st.booleans())
    def centre_states(self, late: bool) -> None:  # noqa: FBT001  # drawn
        """The centre says what its set comes to: as it is now, or (late) as it was once."""
        if not late or not self.states:
            self.revision += 1
            entries = sorted((r.record_id, r.revision, r.state) for r in self.centre.values())
            state = ConsentState(
                tenant="acme",
                site="zrh-1",
                revision=self.revision,
                count=len(entries),
                digest=digest(entries),
                at=_instant(self.wall_ms),
            )
            signed = CENTRE.sign(state.model_dump_json().encode())
            self.states.append((signed, dict(self.centre), self.wall_ms))
        signed, listed, at_ms = self.states[0 if late else -1]
        self.link.take_state(signed)
        self.note_state(listed, at_ms)

    def note_state(self, listed: dict[str, ConsentRecord], at_ms: int) -> None:
        """Note when the gateway holds the set confirmed, which it may only if its records are those listed."""
        before = self.paper.confirmed_ms
        row = self.halves.database.execute("SELECT at_ms, confirmed FROM consent_set").fetchone()
        self.paper.confirmed_ms = None if row is None or not row[1] else row[0]
        if self.paper.confirmed_ms not in {None, before}:
            assert self.paper.confirmed_ms == at_ms, "a set is confirmed at a time that the centre did not name"
            stored = self.halves.database.execute("SELECT record_id, revision, state FROM consent").fetchall()
            assert sorted(stored) == sorted((r.record_id, r.revision, r.state) for r in listed.values())
            self.paper.strike_all_but(listed)

    @rule(customer=customers, slot=st.integers(0, 1))
    def centre_drops(self, customer: str, slot: int) -> None:
        """The centre forgets a record, with or without a withdrawal: it is in no further set."""
        self.centre.pop(f"centre-{customer}-{slot}", None)

    # the clock, the power, the line

    @rule(step_ms=steps_ms)
    def wait(self, step_ms: int) -> None:
        """Time passes; who has left has left."""
        self.wall_ms += step_ms
        self.boot_ns += step_ms * 10**6
        self.halves.pass_time(self.captured)

    @rule(jump_ms=st.sampled_from([-26 * HOUR_MS, -HOUR_MS, -5_000, 5_000, HOUR_MS, 26 * HOUR_MS]))
    def clock_jumps(self, jump_ms: int) -> None:
        """Somebody sets the clock."""
        self.wall_ms += jump_ms

    @rule(quality=st.sampled_from([ClockQuality.SYNCED, ClockQuality.SYNCED, ClockQuality.SYNCED, *ClockQuality]))
    def clock_quality(self, quality: ClockQuality) -> None:
        """The clock is synced, or runs free, or has never been right."""
        self.quality = quality

    @rule(half=st.sampled_from(["capture", "uplink"]))
    def restart(self, half: str) -> None:
        """A half stops, or is killed while it does nothing, and starts again on the same files."""
        getattr(self.halves, f"close_{half}")()
        getattr(self.halves, f"open_{half}")()

    @rule(breaks_after=st.sampled_from([None, None, 0, 1, 2]), crash=st.booleans(), acknowledged=st.booleans())
    def send(self, breaks_after: int | None, crash: bool, acknowledged: bool) -> None:  # noqa: FBT001  # drawn
        """The uplink is online for a moment; the line breaks, the process crashes, a PUBACK is lost, or all is well."""
        wire = Wire(self.published, breaks_after, acknowledges=acknowledged)
        self.halves.send(wire, crash=crash)

    @rule()
    def catch_up(self) -> None:
        """Capture hears the doorbell."""
        self.halves.catch_up()

    def published(self, payload: bytes) -> None:
        """Look at everything that goes out."""
        content = json.loads(payload)
        for event in content if isinstance(content, list) else [content]:
            if not event["data"].get("subject"):
                self.named["sent without"] += 1
                continue
            self.named["sent with"] += 1
            assert self.allowed.get(int(event["sequence"])), "sent with a subject who had not agreed at capture"
            assert self.covered(event["data"]), "sent with a subject who does not agree now"


def _days(examples: int, *, fresh: bool = False, seed: bool = True) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=seed,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate] if fresh else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True)
def _files() -> Iterator[None]:
    """Databases in memory, gone afterwards."""
    Store.named.clear()
    yield
    forget_new_files()


@pytest.mark.timeout(max(60, SCHEDULES))
def test_nobody_is_named_without_consent_at_capture_and_at_send() -> None:
    """On every random day each published pseudonym had consent at both moments; and many are published at all."""
    run_state_machine_as_test(Store, settings=_days(SCHEDULES, seed="SCHEDULES" not in os.environ))
    print(f"{SCHEDULES} schedules of {STEPS} steps: {dict(Store.named)}")  # noqa: T201  # the figures of `make privacy`
    assert Store.named["sent with"] > SCHEDULES // 10
    assert Store.named["captured without"] > SCHEDULES


def _always(*_: Any) -> Granted:  # noqa: ANN401  # whatever is asked
    return Granted("rec", 1, "1", "personalisation")


def _forgetting(what: str) -> Callable[..., Granted | Denied]:
    """Decide as the gateway does, but take one reason to refuse for none."""

    def decide(ledger: Any, handle: str, purpose: str, now: Moment) -> Granted | Denied:  # noqa: ANN401  # a ledger
        decision = consent.decide(ledger, handle, purpose, now)
        passed = isinstance(decision, Denied) and decision.reason == what
        return Granted("rec", 1, "1", purpose) if passed else decision

    return decide


def _withdraw_nothing(*_: Any) -> list[int]:  # noqa: ANN401  # whatever is asked
    return []


MUTANTS = {
    "capture names everybody": (subject, "decide", _always),
    "no second decision": (forward, "decide", _always),
    "staleness is forgotten at capture": (subject, "decide", _forgetting("stale-ledger")),
    "withdrawals are forgotten at send": (forward, "decide", _forgetting("withdrawn")),
    "expiry is forgotten at send": (forward, "decide", _forgetting("expired")),
    "staleness is forgotten at send": (forward, "decide", _forgetting("stale-ledger")),
    "the clock is believed at send": (forward, "decide", _forgetting("clock-unsynced")),
    "an older revision counts": (consent, "newest", list),
}
QUICK = 3
"""So many of them are tried in the suite, all of them by `make privacy`."""


@pytest.mark.parametrize("mutant", list(MUTANTS)[: len(MUTANTS) if "SCHEDULES" in os.environ else QUICK])
def test_the_model_finds_a_decision_that_is_wrong(mutant: str) -> None:
    """Each mutant of the decision is caught within a few hundred days: the model can fail."""
    with patch.object(*MUTANTS[mutant]), pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(Store, settings=_days(400, fresh=True))


def test_a_row_that_stays_after_a_withdrawal_is_not_sent() -> None:
    """Even if capture withdrew no row at all, the decision at send would hold: the model passes without it."""
    with patch.object(Outbox, "withdraw", _withdraw_nothing):
        run_state_machine_as_test(Store, settings=_days(20, fresh=True))


def test_a_network_half_that_lies_gives_nobody_consent() -> None:
    """Whoever can write `uplink.db` can tie any handle to a record that the centre did sign: it lists others only."""
    day = Store()
    day.centre_says(News("anna", 0, Said(EVERY, "given", None), same=False, first=False, deliver=True))
    day.centre_states(late=False)
    ben = _handle(f"link:{salon.BEN.value}")
    with transaction(day.halves.database) as database:
        database.execute("INSERT INTO consent_handle (handle, record_id) VALUES (?, 'centre-anna-0')", (ben,))
        database.execute("UPDATE generation SET number = number + 1")
    anna = _handle(f"link:{salon.ANNA.value}")
    assert isinstance(consent.decide(day.halves.ledger, anna, "personalisation", day.now()), Granted)
    assert isinstance(consent.decide(day.halves.ledger, ben, "personalisation", day.now()), Denied)
    day.teardown()
