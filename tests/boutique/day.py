"""A day of the boutique: a recording of it, line by line, and the truth that made it.

The same seed makes the same day. Lines are made as they are read, so that a long day costs no memory; what was counted
on the way (`Truth.strangers`) is complete when the last has been read.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from math import dist
from random import Random

from gateway.core.sighting import Advertisement, Payload, Sighting
from gateway.demo.boutique import CUSTOMER_BEACONS, SCANNER, Secret
from gateway.demo.signals import ibeacon, private_address
from gateway.sources.recording import ClockStep, Condition, Recorded
from tests.boutique.acts import Act, acts_of
from tests.boutique.floor import SCANNERS, Spot, Way, walls_db
from tests.boutique.people import BEACON_POWER, PHONE_POWER, Passerby, Visitor, colons, passerby, visitor
from tests.boutique.radio import Link, instants
from tests.boutique.store import START_MS, Frame, OwnBeacon, own_beacons, told, vectors

Line = Recorded | Condition | ClockStep
STEPS = (0.45, 75.0), (0.7, -40.0)
"""When the wall clock is set, as a part of the day, and by how many seconds."""
OUTAGES = ("salon", 0.3, 60.0), ("atelier", 0.6, 240.0), (SCANNER, 0.35, 120.0)
"""Which reader is down, from which part of the day on, for how many seconds."""
DIES, TIRES, MOVES = 0.25, 0.4, 0.5
"""When a beacon of the store falls silent, another's battery is low, and a third is taken to the far end."""
SILENT_S = 1_500.0
FAR_END: Spot = (28.0, 10.0)
VISITORS = 0.3
"""So many of the people come in."""
BRIEF_S = 20.0
"""Whoever is with a scanner for less may be seen or not."""


@dataclass(frozen=True)
class Stay:
    """A consenting customer with a beacon was near a scanner."""

    zone: str
    pseudonym: str
    begins: float
    ends: float
    unknown: float = 0.0
    """So many seconds later it may have ended: the scanner was down then, and nobody can know."""

    @property
    def seconds(self) -> float:
        return self.ends - self.begins

    @property
    def brief(self) -> bool:
        """Whether it may be seen or not."""
        return self.seconds < BRIEF_S


@dataclass
class Truth:
    """What the gateway should find."""

    stays: list[Stay] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    health: dict[str, list[str]] = field(default_factory=dict)
    """What is to be said of each of the store's beacons, in order, without repetitions."""
    strangers: Counter[str] = field(default_factory=Counter)
    """Sightings that are to be dropped, by reason."""


@dataclass
class Day:
    """Plan it, read `lines`, compare with `truth`."""

    seed: int
    seconds: float
    people: int
    truth: Truth = field(default_factory=Truth)

    def __post_init__(self) -> None:
        dice = Random(self.seed)  # noqa: S311  # for repeatable days, not for secrets
        inside = round(self.people * VISITORS)
        self.own = own_beacons(dice)
        self.visitors = [visitor(f"customer {number}", dice, self.seconds) for number in range(inside)]
        self.passersby = [passerby(dice, self.seconds) for _ in range(self.people - inside)]
        self.outages = [(reader, part * self.seconds, part * self.seconds + down) for reader, part, down in OUTAGES]
        self.truth.acts = acts_of(self.visitors, self.seconds, self.outages, self.set_by, Random(dice.random()))  # noqa: S311
        self.truth.stays = [stay for who in self.visitors for stay in self._stays(who)]
        self.truth.health = {beacon.id: ["ok"] for beacon in self.own}
        self._fates = [beacon.id for beacon in self.own[3:] if beacon.telemetry][:1]
        plain = [beacon.id for beacon in self.own if not beacon.telemetry]
        self._fates += [plain[0], next(b.id for b in self.own if b.id in plain[1:] and b.zone == "salon")]
        tired, dead, moved = self._fates
        self.truth.health[tired] += ["low-battery"]
        self.truth.health[dead] += ["silent", "ok"]
        self.truth.health[moved] += ["moved"]

    def set_by(self, at: float) -> float:
        """Return how far the wall clock has been set by then, seconds."""
        return sum(seconds for part, seconds in STEPS if at >= part * self.seconds)

    def wall_ms(self, at: float) -> int:
        """Return what the wall clock says, Unix milliseconds."""
        return START_MS + round(self.set_by(at) * 1000) + int(at * 1e9) // 1_000_000

    def boot_s(self, wall_ms: int) -> float:
        """Return when the wall clock said so, seconds from the start; of two such times the earlier."""
        wall = (wall_ms - START_MS) / 1000
        ends = [part * self.seconds for part, _ in STEPS] + [float("inf")]
        eras = zip([0.0, *ends], ends, strict=False)
        return next(wall - self.set_by(begins) for begins, end in eras if wall - self.set_by(begins) <= end)

    def secrets(self) -> list[Secret]:
        """Return everything that would identify somebody."""
        everybody: list[Visitor | Passerby] = [*self.visitors, *self.passersby]
        found = [secret for who in everybody for secret in who.secrets()]
        return found + [("a stranger's code or tag", each) for act in self.truth.acts for each in act.thing.foreign]

    def lines(self) -> Iterator[Line]:
        """Yield the recording."""
        self.truth.strangers.clear()
        for act in self.truth.acts:
            if act.thing.dropped is not None:
                self.truth.strangers[act.thing.dropped] += len(act.readings)
        makers: list[Iterator[Line]] = [self._own(beacon) for beacon in self.own]
        makers += [self._carried(who, way) for who in self.visitors for way in who.ways]
        makers += [self._phone(who.phone.seed, who, way) for who in self.visitors for way in who.ways]
        makers += [self._phone(who.phone.seed, who, who.way) for who in self.passersby]
        makers += [self._vectors(), self._presented(), self._incidents()]
        return merge(*makers, key=lambda line: line.at)

    def _stays(self, who: Visitor) -> Iterator[Stay]:
        if who.beacon is None:
            return
        token = who.tokens[-1]
        for way in who.ways:
            for zone in SCANNERS:
                for begins, ends in way.inside(zone):
                    known = self._knowable(zone, begins, ends)
                    named = who.named(token, known[1] + self.set_by(known[1]))
                    if named is not None and known[1] > known[0]:
                        yield Stay(zone, named, *known)

    def _knowable(self, zone: str, begins: float, ends: float) -> tuple[float, float, float]:
        """Leave out of a stay what began or ended while its scanner was down."""
        unknown = 0.0
        for reader, down, up in self.outages:
            if reader == zone:
                begins = up if down <= begins < up else begins
                ends, unknown = (down, up - down) if down < ends <= up else (ends, unknown)
        return begins, ends, unknown

    def _heard(self, at: float, links: dict[str, Link], spot: Spot, address: str, frame: Frame) -> Iterator[Recorded]:
        """Yield what each scanner that is up receives of one packet."""
        for scanner, link in links.items():
            place = SCANNERS[scanner]
            rssi = link.receive(at, dist(spot, place), walls_db(spot, place))
            if rssi is not None and not self._down(scanner, at):
                yield _line(at, scanner, Advertisement(address, rssi, *frame))

    def _down(self, reader: str, at: float) -> bool:
        return any(name == reader and begins <= at < ends for name, begins, ends in self.outages)

    def _own(self, beacon: OwnBeacon) -> Iterator[Recorded]:
        """One of the store's beacons, all day. What it tells before it was heard is nobody's."""
        dice, links = self._air(beacon.id, beacon.power)
        address, known = colons(private_address(dice)), False
        for number, at in enumerate(instants(beacon.interval, 0, self.seconds, dice)):
            spot = self._hangs(beacon, at)
            if spot is None:
                continue
            telling = beacon.telemetry and number % 10 == 9
            frame = self._told(beacon, at) if telling else beacon.sends[number % len(beacon.sends)]
            for line in self._heard(at, links, spot, address, frame):
                if telling and not known:
                    self.truth.strangers["unknown"] += 1
                known = known or not telling
                yield line

    def _hangs(self, beacon: OwnBeacon, at: float) -> Spot | None:
        """Return where a beacon hangs; None while its battery is empty."""
        _, dead, moved = self._fates
        if beacon.id == dead and 0 <= at - DIES * self.seconds < SILENT_S:
            return None
        return FAR_END if beacon.id == moved and at >= MOVES * self.seconds else beacon.spot

    def _told(self, beacon: OwnBeacon, at: float) -> Frame:
        if beacon.sends[0] in vectors().values():
            return vectors()["Eddystone-TLM"]
        low = beacon.id == self._fates[0] and at >= TIRES * self.seconds
        return told(2_450 if low else 2_900, 1_000_000 + at)

    def _carried(self, who: Visitor, way: Way) -> Iterator[Recorded]:
        """A customer's beacon; it has one address and one frame."""
        if who.beacon is None:
            return
        dice, links = self._air(f"{who.beacon.name} {way.begins}", BEACON_POWER)
        frame: Frame = ibeacon(CUSTOMER_BEACONS.bytes, who.beacon.major, who.beacon.minor, BEACON_POWER), {}
        address = colons(who.beacon.address)
        for at in instants(who.interval, way.begins, way.ends, dice):
            yield from self._heard(at, links, way.at(at), address, frame)

    def _phone(self, seed: int, who: Visitor | Passerby, way: Way) -> Iterator[Recorded]:
        """A phone: chatter under an address that changes. Nobody's business."""
        dice, links = self._air(f"{seed} {way.begins}", PHONE_POWER)
        identities = list(who.phone.identities(way.begins, way.ends))
        for at in instants(who.phone.interval, way.begins, way.ends, dice):
            _, address, frame = next(each for each in reversed(identities) if each[0] <= at)
            for line in self._heard(at, links, way.at(at), address, frame):
                self.truth.strangers["unknown"] += 1
                yield line

    def _vectors(self) -> Iterator[Recorded]:
        """Real advertisements of devices that are not the store's, from next door, every minute."""
        ours = [frame for beacon in self.own for frame in beacon.sends]
        strangers = [frame for frame in vectors().values() if frame not in ours]
        dice, links = self._air("next door", PHONE_POWER)
        addresses = [colons(private_address(dice)) for _ in strangers]
        for at in instants(60.0, 0, self.seconds, dice):
            for address, frame in zip(addresses, strangers, strict=True):
                for line in self._heard(at, links, (-6.0, 6.0), address, frame):
                    self.truth.strangers["unknown"] += 1
                    yield line

    def _presented(self) -> Iterator[Recorded]:
        """What is held to NFC readers and to the scanner."""
        read = [(at, act) for act in self.truth.acts for at in act.readings]
        for at, act in sorted(read, key=lambda each: each[0]):
            yield _line(at, act.reader, act.thing.payload)

    def _incidents(self) -> Iterator[Line]:
        incidents: list[Line] = [ClockStep(part * self.seconds, seconds) for part, seconds in STEPS]
        for reader, begins, ends in self.outages:
            incidents += [Condition(begins, reader, up=False), Condition(ends, reader, up=True)]
        incidents.append(Condition(self.seconds, SCANNER, up=True))
        return iter(sorted(incidents, key=lambda line: line.at))

    def _air(self, name: str, power: int) -> tuple[Random, dict[str, Link]]:
        """Return dice of this advertiser's own, so that nobody's day changes with another's, and its links."""
        dice = Random(f"{self.seed} {name}")  # noqa: S311  # for repeatable days, not for secrets
        return dice, {scanner: Link(power, dice) for scanner in SCANNERS}


def _line(at: float, reader: str, payload: Payload) -> Recorded:
    return Recorded(round(at, 3), Sighting(reader, payload))
