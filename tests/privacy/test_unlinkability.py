"""Unlinkability on whole events: without keys nothing in them joins a customer's events; with the root they join.

Ten customers, each with a card and a beacon, come to two stores of the brand, before and after the turn of an epoch,
and all do the same: present the card, scan a product, answer a question, stay for a while. Every JSON value of every
event is compared, and every part of it between punctuation.

The statistic: events lie in contexts (site, epoch, purpose, kind of token), within which a pseudonym joins on purpose.
A value joins a customer's events if it stands in events of two contexts, and in nobody else's. What two values have in
common by chance alone is kept out: the stores' sequences do not overlap, and time stamps are compared as a whole. (When
events happened is not compared: whoever answers a question a second after presenting a card is likely the same.)
"""

import json
import re
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from gateway.core import draft
from gateway.core.downlink import ConsentRecord, ConsentState, digest
from gateway.core.event import Draft, EventType, gap
from gateway.core.pseudonym import derive
from gateway.core.sighting import Advertisement, Moment, Sighting
from tests.core import salon
from tests.privacy.halves import Halves, forget_new_files
from tests.privacy.link import Link
from tests.simulators import frames
from tests.simulators.centre_keys import CENTRE, GATEWAY
from tests.simulators.trust_service import Token, TrustService

ROOT = bytes(range(32))
TRUST = TrustService(ROOT)
SITES = ("zrh-1", "gva-1")
NEW_EPOCH_MS = salon.NEW_YEAR_MS
SPANS = [("2026Q4", 0, NEW_EPOCH_MS), ("2027Q1", NEW_EPOCH_MS, None)]
UUID = "a495bb10-c5b1-4b44-b512-1370f02d74de"
HOUR_MS = 3_600_000
APART = 1_000
"""More events than a store sees in these days."""
TIME = re.compile(r'"\d{4}-\d\d-\d\dT[^"]+Z"')
SHORT = 3
"""Characters: what is shorter is a number of things, not a name of one."""

Event = Mapping[str, Any]
Context = tuple[str, ...]


@dataclass(frozen=True)
class Customer:
    """Somebody with a card and a beacon."""

    name: str
    card: str
    minor: int
    revision: int
    """Of the consent record: how often it was changed. Each is that of several customers."""

    @property
    def tokens(self) -> tuple[Token, ...]:
        return ("link", salon.MEMBERS + self.card), ("ibeacon", f"{UUID}/7/{self.minor}")


def _customers(dice: Random) -> list[Customer]:
    return [Customer(f"c{n}", dice.randbytes(16).hex(), dice.randrange(1, 65_536), 1 + n % 3) for n in range(10)]


@dataclass
class Store:
    """One site on two days."""

    site: str
    customers: Sequence[Customer]
    dice: Random
    whose: dict[str, str] = field(default_factory=dict)
    """By event id, the customer."""

    def __post_init__(self) -> None:
        self.wall_ms, self.boot_ns = NEW_EPOCH_MS - 2 * HOUR_MS + self.dice.randrange(HOUR_MS), 10**12
        self.halves = Halves(self.now, derive(ROOT, "acme", self.site, SPANS), 24 * HOUR_MS, site=self.site)

    def now(self) -> Moment:
        return Moment(self.boot_ns, self.wall_ms)

    def wait(self, ms: int) -> None:
        self.wall_ms, self.boot_ns = self.wall_ms + ms, self.boot_ns + ms * 10**6

    def by(self, customer: Customer) -> Callable[[int, Draft], None]:
        """Return what notes that an event is of this customer."""
        return lambda sequence, _: self.whose.__setitem__(f"session-of-{self.site}-{sequence}", customer.name)

    def open(self) -> None:
        """The centre's set is fresh, and everybody agrees at the counter."""
        earlier = Draft(EventType.GAP, self.now(), gap("trimmed"), None, None)
        self.halves.append([earlier] * (APART * SITES.index(self.site)), lambda *_: None)
        link = Link(lambda: self.halves.database, self.now)
        at = datetime.fromtimestamp(self.wall_ms / 1000, UTC)
        state = ConsentState(tenant="acme", site="zrh-1", revision=1, count=0, digest=digest([]), at=at)
        link.take_state(CENTRE.sign(state.model_dump_json().encode()))
        for customer in self.dice.sample(self.customers, len(self.customers)):
            self.wait(self.dice.randrange(20_000, 60_000))
            self.grant(customer)

    def grant(self, customer: Customer) -> None:
        record = ConsentRecord(
            record_id=self.dice.randbytes(16).hex(),
            handles=tuple(TRUST.handle("acme", self.site, token) for token in customer.tokens),
            controller="acme",
            purposes=("personalisation", "customer-care"),
            legal_basis="consent",
            granted_at=datetime.fromtimestamp(self.wall_ms / 1000, UTC),
            notice_version="2026-03",
            language="en",
            jurisdiction="CH",
            source="store",
            state="given",
            revision=customer.revision,
            issuer_kid=GATEWAY.kid,
            tenant="acme",
            site=self.site,
        )
        told = draft.consent_granted(self.halves.say(record), record.revision, "nfc", self.now())
        self.halves.append([told], self.by(customer))

    def day(self) -> None:
        """Everybody comes once, in some order."""
        for customer in self.dice.sample(self.customers, len(self.customers)):
            self.wait(self.dice.randrange(40_000, 90_000))
            for text in (customer.tokens[0][1], salon.GTIN_LINK, "good"):
                self.wait(self.dice.randrange(500, 5_000))
                self.halves.see(salon.scan(text), self.by(customer))
            self.stay(customer)

    def stay(self, customer: Customer) -> None:
        frame = frames.ibeacon(bytes.fromhex(UUID.replace("-", "")), 7, customer.minor, -59)
        address = ":".join(f"{octet:02X}" for octet in self.dice.randbytes(6))
        for _ in range(6):
            self.wait(1_000)
            self.halves.see(Sighting("salon", Advertisement(address, -60, {0x004C: frame})), self.by(customer))
        self.wait(30_000)
        self.halves.pass_time(self.by(customer))

    def withdraw(self, customer: Customer) -> None:
        """Tell of a withdrawal; the outbox keeps what was captured before, as if it had been sent."""
        self.wait(self.dice.randrange(20_000, 60_000))
        told = draft.consent_withdrawn(GATEWAY.sign(self.dice.randbytes(40)), customer.revision + 1, "nfc", self.now())
        self.halves.append([told], self.by(customer))


@dataclass(frozen=True)
class Days:
    """What left both stores, and whose it is."""

    customers: Sequence[Customer]
    events: Sequence[Event]
    whose: Mapping[str, str]

    def named(self) -> list[Event]:
        return [event for event in self.events if event["data"].get("subject")]

    def of_consent(self) -> list[Event]:
        return [event for event in self.events if ".consent-" in event["type"]]

    def context(self, event: Event) -> Context:
        """Return within what a pseudonym may join."""
        subject, kind = event["data"]["subject"], "zone" in event["data"]
        _, epoch, _ = subject["pseudonym"].split(".")
        return event["source"], epoch, subject["consent"]["purpose"], str(kind)


@pytest.fixture(scope="module")
def days() -> Days:
    """Two days, one in each epoch, in each of two stores."""
    dice = Random(4)  # noqa: S311  # for repeatable days, not for secrets
    customers, events = _customers(dice), []
    whose: dict[str, str] = {}
    for site in SITES:
        store = Store(site, customers, dice)
        store.open()
        store.day()
        store.wait(NEW_EPOCH_MS - store.wall_ms + dice.randrange(HOUR_MS))
        store.day()
        store.withdraw(customers[0])
        events += [json.loads(text) for text in store.halves.waiting()]
        whose |= store.whose
        store.halves.close()
    forget_new_files()
    return Days(customers, events, whose)


def values(value: object) -> Iterator[str]:
    """Yield every value in JSON, as text, and every part of it between punctuation."""
    if isinstance(value, dict):
        for each in value.values():
            yield from values(each)
    elif isinstance(value, list):
        for each in value:
            yield from values(each)
    else:
        text = json.dumps(value)
        yield text
        if TIME.fullmatch(text):
            return
        yield from (part for part in re.split(r"[^A-Za-z0-9_]+", text) if len(part) >= SHORT)
        yield from (part for part in re.split(r'[.:/" ]+', text) if len(part) >= SHORT)


def joining(days: Days, events: Collection[Event]) -> dict[str, set[Context]]:
    """Return the values that join a customer's events, with the contexts that they join."""
    holders, contexts = defaultdict(set), defaultdict(set)
    for event in events:
        for value in set(values(dict(event))):
            holders[value].add(days.whose[event["id"]])
            contexts[value].add(days.context(event))
    return {value: contexts[value] for value in holders if len(holders[value]) == 1 and len(contexts[value]) > 1}


def test_every_kind_of_event_is_looked_at(days: Days) -> None:
    """Each customer has events of every kind that names a subject, in each of sixteen contexts."""
    kinds = {event["type"].split(".")[1] for event in days.named()}
    assert kinds == {"scan", "response", "appeared", "disappeared"}
    for customer in days.customers:
        mine = [event for event in days.named() if days.whose[event["id"]] == customer.name]
        assert len({days.context(event) for event in mine}) == len(SITES) * len(SPANS) * 3


def test_without_keys_nothing_joins_a_customers_events(days: Days) -> None:
    """No value in them, and no part of one, is one customer's alone in two contexts."""
    assert joining(days, days.named()) == {}


@pytest.mark.parametrize("planted", ["record", "revision", "pseudonym"])
def test_what_would_join_is_found(days: Days, planted: str) -> None:
    """A record id beside the proof, a revision that nobody else's record has, or one pseudonym for all is found."""
    events = json.loads(json.dumps(days.named()))
    victim = days.customers[3].name
    for event in events:
        if days.whose[event["id"]] == victim:
            subject = event["data"]["subject"]
            if planted == "record":
                subject["consent"]["proof"] += "-4711"
            elif planted == "revision":
                subject["consent"]["revision"] = 99
            else:
                subject["pseudonym"] = f"{subject['pseudonym'][:11]}the-same-everywhere"
    assert joining(days, events)


def test_within_a_context_a_pseudonym_joins(days: Days) -> None:
    """One customer has one pseudonym and one proof in a context, and no two customers share one."""
    holders: dict[tuple[Context, str], set[str]] = defaultdict(set)
    for event in days.named():
        holders[days.context(event), event["data"]["subject"]["pseudonym"]].add(days.whose[event["id"]])
    assert all(len(who) == 1 for who in holders.values())
    assert len(holders) == len(days.customers) * len(SITES) * len(SPANS) * 3


def test_with_the_root_the_trust_service_joins_them(days: Days) -> None:
    """It tells of every event whose it is, across sites, epochs, purposes and tokens; with another root, of none."""
    customers = {customer.name: customer.tokens for customer in days.customers}
    told = {event["id"]: TRUST.bearer(event, customers) for event in days.named()}
    assert told == {event["id"]: days.whose[event["id"]] for event in days.named()}
    stranger = TrustService(bytes(32))
    assert {stranger.bearer(event, customers) for event in days.named()} == {None}


def test_the_trust_service_ties_an_event_to_its_record(days: Days) -> None:
    """The proof in an event is that of the record which consent-granted carried, and of no other."""
    records: dict[tuple[str, str], str] = {}
    for event in days.of_consent():
        if event["type"] == "touchpoint.consent-granted.v1":
            records[event["source"], days.whose[event["id"]]] = _payload(event)["record_id"]
    tokens = [token for customer in days.customers for token in customer.tokens]
    for event in days.named():
        subject, token = event["data"]["subject"], TRUST.token(event, tokens)
        assert token is not None
        place = ("acme", event["source"].split(":")[3], subject["pseudonym"].split(".")[1])
        record = records[event["source"], days.whose[event["id"]]]
        assert subject["consent"]["proof"] == TRUST.proof(place, subject["consent"]["purpose"], token, record)


def _payload(event: Event) -> dict[str, Any]:
    part = event["data"]["record"].split(".")[1]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_nothing_of_a_consent_record_stands_in_another_event(days: Days) -> None:
    """The signed record travels in consent-granted by contract; what is one customer's in it is in no other event."""
    granted = [event for event in days.of_consent() if event["type"] == "touchpoint.consent-granted.v1"]
    holders: dict[str, set[str]] = defaultdict(set)
    for event in granted:
        for value in {*values(_payload(event)), *values(event["data"])}:
            holders[value].add(days.whose[event["id"]])
    private = {value for value, who in holders.items() if len(who) == 1}
    assert len(private) >= len(days.customers) * len(SITES) * len(("record id", "handle", "handle", "JWS"))
    others = {value for event in days.named() for value in values(dict(event))}
    assert private & others == set()
    assert not [value for value in private if value.strip('"').startswith("h1.") and value.strip('"') in str(others)]


def test_a_withdrawal_shows_nothing_else(days: Days) -> None:
    """Beside the signed record a consent-withdrawn holds what every other one holds."""
    shown = [replace_record(event) for event in days.of_consent() if "withdrawn" in event["type"]]
    assert len(shown) == len(SITES)
    assert all(data.keys() == {"record", "revision", "reader", "clock"} for data in shown)


def replace_record(event: Event) -> dict[str, Any]:
    """Return the data of an event of consent without the record."""
    return {**event["data"], "record": None}


def test_the_statistic_spares_what_everybody_shares(days: Days) -> None:
    """A value of several customers joins nobody, however often it comes: the test would not pass for want of values."""
    counted: dict[str, set[str]] = defaultdict(set)
    for event in days.named():
        for value in set(values(dict(event))):
            counted[value].add(days.whose[event["id"]])
    assert len(counted) > 20 * len(days.customers)
    assert {'"2026-03"', '"personalisation"', "1", "2", "3"} <= {v for v, who in counted.items() if len(who) > 1}
    renamed = replace(days, whose=dict.fromkeys(days.whose, "everybody"))
    assert joining(renamed, days.named())
