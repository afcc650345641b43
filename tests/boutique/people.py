"""Who comes on a day: passers-by with phones, and customers with beacons, cards, consents, or nothing at all."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random

from gateway.core import pseudonym
from gateway.core.sighting import Identifier
from gateway.demo.boutique import BeaconCustomer, Customer, Secret
from gateway.demo.signals import phone, private_address
from tests.boutique.floor import GALLERY, Way, near, stroll, walk
from tests.boutique.store import RING, Agreed, Frame

PURPOSE = "personalisation"
ROTATION_S = 13 * 60.0, 17 * 60.0
"""A phone changes its random address about every 15 minutes (Core 5.4, Vol 3, Part C, 10.7)."""
PHONE_POWER = -62
BEACON_POWER = -59
LAST_S = 300.0
"""Everybody has left so long before the end."""
WALK_S = 60.0
"""The longest way through the store, with the one out, and some to spare."""


@dataclass(frozen=True)
class Phone:
    """A phone: what it sends under one address until it takes the next."""

    seed: int
    interval: float

    def identities(self, begins: float, ends: float) -> Iterator[tuple[float, str, Frame]]:
        """Yield from when on it sends what under which address."""
        dice, at = Random(self.seed), begins  # noqa: S311  # for repeatable days, not for secrets
        while at < ends:
            yield at, colons(private_address(dice)), phone(dice)
            at += dice.uniform(*ROTATION_S)

    def secrets(self, begins: float, ends: float) -> Iterator[Secret]:
        for _, address, (manufacturer, service) in self.identities(begins, ends):
            yield "the address of a phone", bytes.fromhex(address.replace(":", ""))
            yield from (("the signal of a phone", signal) for signal in (*manufacturer.values(), *service.values()))


@dataclass(frozen=True)
class Passerby:
    """Somebody in the street with a phone."""

    way: Way
    phone: Phone

    def secrets(self) -> Iterator[Secret]:
        return self.phone.secrets(self.way.begins, self.way.ends)


@dataclass(frozen=True)
class Visitor:
    """A customer who comes in, with a phone, and perhaps with tokens."""

    ways: tuple[Way, ...]
    """One for each time that the customer comes."""
    phone: Phone
    card: Customer | None
    beacon: BeaconCustomer | None
    interval: float
    """Of the beacon, seconds."""
    consented: bool = False
    until: float | None = None
    """When the consent ends, seconds from the start."""
    withdrawn: bool = False

    @cached_property
    def tokens(self) -> list[Identifier]:
        held = [] if self.card is None else [Identifier("link", self.card.token)]
        if self.beacon is not None:
            held.append(Identifier("ibeacon", self.beacon.token.removeprefix("ibeacon:")))
        return held

    @property
    def agreed(self) -> Agreed | None:
        """What stands in the ledger of this customer."""
        if not self.tokens or not (self.consented or self.withdrawn):
            return None
        return Agreed(tuple(pseudonym.handle(RING, token) for token in self.tokens), self.until, self.withdrawn)

    def named(self, token: Identifier, at: float) -> str | None:
        """Return the pseudonym by which an event may name the customer; `at` as the wall clock has it, seconds."""
        if not self.consented or (self.until is not None and at >= self.until):
            return None
        return pseudonym.pseudonym(RING.epochs[0], PURPOSE, token)

    def secrets(self) -> Iterator[Secret]:
        for way in self.ways:
            yield from self.phone.secrets(way.begins, way.ends)
        for who in (self.card, self.beacon):
            yield from () if who is None else who.secrets()


def passerby(dice: Random, seconds: float) -> Passerby:
    """Somebody who goes by; one in ten stays before the window for up to forty minutes."""
    linger = dice.uniform(300, min(2400, 0.5 * seconds)) if dice.random() < 0.1 else 0.0
    begins = dice.uniform(0, max(seconds - linger - LAST_S, 1.0))
    return Passerby(stroll(begins, dice, linger), _phone(dice))


def visitor(name: str, dice: Random, seconds: float) -> Visitor:
    """A customer who comes once or twice a day, to one to three places."""
    has_card, has_beacon = dice.random() < 0.6, dice.random() < 0.7
    word = dice.random()
    consented = word < 0.75
    halves = [(0.0, seconds / 2 - LAST_S), (seconds / 2, seconds - LAST_S)]
    ways = [_visit(dice, *half) for half in dice.sample(halves, dice.choice((1, 1, 2)))]
    return Visitor(
        ways=tuple(sorted(ways, key=lambda way: way.begins)),
        phone=_phone(dice),
        card=Customer(name, consented, dice.randbytes(16), b"\x04" + dice.randbytes(6)) if has_card else None,
        beacon=_carried(name, dice, agreed=consented) if has_beacon else None,
        interval=dice.choice((0.3, 0.5, 1.0)),
        consented=consented,
        until=seconds / 2 if word < 0.1 else None,
        withdrawn=word >= 0.9,
    )


def _carried(name: str, dice: Random, *, agreed: bool) -> BeaconCustomer:
    numbers = dice.randrange(1, 65_536), dice.randrange(1, 65_536)
    return BeaconCustomer(name, agreed, *numbers, private_address(dice))


def _visit(dice: Random, earliest: float, latest: float) -> Way:
    places = dice.choice((("salon",), ("atelier",), ("salon", "atelier"), ("atelier", "salon"), ("gallery", "salon")))
    longest = min(900.0, (latest - earliest) / 2 / len(places))
    stops = [(GALLERY if at == "gallery" else near(at, dice), dice.uniform(60, longest)) for at in places]
    whole = sum(seconds for _, seconds in stops) + WALK_S * len(stops)
    return walk(dice.uniform(earliest, max(latest - whole, earliest)), stops, dice)


def _phone(dice: Random) -> Phone:
    return Phone(dice.getrandbits(64), dice.choice((1.0, 2.0, 4.0)))


def colons(address: bytes) -> str:
    """Write a MAC address as BlueZ does."""
    return address.hex(":").upper()
