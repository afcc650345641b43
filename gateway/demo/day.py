"""A day at the boutique, in a few seconds: who does what, when, in words and in the bytes that a device reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

from gateway.core.sighting import Advertisement, Payload, Scan, Sighting
from gateway.demo import boutique as place
from gateway.demo.boutique import COUNTER, SALON, SCANNER, WINDOW, BeaconCustomer, Boutique, Passerby, product_link
from gateway.demo.signals import eddystone_tlm, eddystone_uid, ibeacon
from gateway.sentence import sentence


class Act(Enum):
    """What happens at a step besides, or instead of, something being read."""

    UNPLUG = "unplug"
    PLUG = "plug"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens."""

    at: float
    """Seconds from the opening of the store."""
    says: str | None = None
    """What a person reads about it, in English; None for what goes on in the background."""
    sighting: Sighting | None = None
    act: Act | None = None
    token: str | None = None
    """Whose consent is withdrawn."""


QR, GS1_QR = "]Q1", "]Q3"
OVERSIZED = 2_500
"""Characters: more than a scanner's line may hold."""
OUTAGE = 0.48
"""When the line is unplugged, as a part of the time."""
LONGEST_OUTAGE = 6.0
"""Seconds: well below the ten after which the gateway gives an attempt to connect up."""
LAST = 0.92
"""When the store closes, as a part of the time: what is under way then still arrives."""


def day(shop: Boutique, random: Random, seconds: float) -> list[Step]:
    """Return the steps of the day in order. The same shop, random numbers and length make the same day."""
    outage = _outage(shop, OUTAGE * seconds, min(0.24 * seconds, LONGEST_OUTAGE))
    steps = [*_story(shop, seconds), *outage, *_background(shop, random, seconds)]
    return sorted(steps, key=lambda step: step.at)


def _story(shop: Boutique, seconds: float) -> Iterator[Step]:
    """Yield what a person follows while the line works."""
    anna, ben, david = shop.anna, shop.ben, shop.david
    chrono = Scan(product_link(place.CHRONO, "CH-2206"), QR)
    scenes: list[tuple[float, str, str, Payload]] = [
        (0.05, sentence("Anna, who agreed, taps her card at the counter."), COUNTER, anna.tag),
        (0.09, sentence("Anna tries the Diver 200: its tag is tapped."), COUNTER, shop.tag(place.TAGGED[1])),
        (0.13, sentence("A visitor taps the window display."), WINDOW, shop.tag(place.WINDOW_DISPLAY)),
        (0.17, sentence("A visitor scans page 12 of the catalogue."), SCANNER, Scan(place.CATALOGUE, QR)),
        (0.18, sentence("... and scans it once more, by mistake."), SCANNER, Scan(place.CATALOGUE, QR)),
        (0.22, sentence("David, who never agreed, shows his code."), SCANNER, Scan(david.token, QR)),
        (0.26, sentence("Somebody scans a restaurant's menu."), SCANNER, Scan(shop.foreign, QR)),
        (0.29, sentence("Somebody scans a code that is meant to do harm."), SCANNER, Scan(shop.hostile, QR)),
        (
            0.31,
            sentence("... and one that is far too long."),
            SCANNER,
            Scan(shop.hostile * (OVERSIZED // len(shop.hostile)), QR),
        ),
        (0.34, sentence("Ben, who agreed, shows his code."), SCANNER, Scan(ben.token, QR)),
        (0.38, sentence("Ben scans the Chronograph."), SCANNER, chrono),
        (0.42, sentence("A visitor leaves feedback: a smile."), WINDOW, shop.tag(place.SMILE)),
        (0.79, sentence("Anna taps the Moonphase."), COUNTER, shop.tag(place.TAGGED[2])),
        (0.83, sentence("A visitor leaves feedback: a frown."), WINDOW, shop.tag(place.FROWN)),
        (0.87, sentence("A visitor scans the Diver 200."), SCANNER, Scan(product_link(place.DIVER, "D2-0418"), QR)),
    ]
    yield Step(0, sentence("The store opens. Through the window, passers-by's phones are heard."))
    for part, says, reader, payload in scenes:
        yield Step(part * seconds, says, Sighting(reader, payload))
    yield Step(LAST * seconds, sentence("The store closes."))


def _outage(shop: Boutique, begins: float, length: float) -> Iterator[Step]:
    """Yield what happens while the line is unplugged, one customer's change of mind included."""
    scenes: list[tuple[float, str, str, Payload]] = [
        (0.17, sentence("Ben shows his code again."), SCANNER, Scan(shop.ben.token, QR)),
        (0.29, sentence("Ben scans page 12 of the catalogue."), SCANNER, Scan(place.CATALOGUE, QR)),
        (0.42, sentence("A visitor taps the window display."), WINDOW, shop.tag(place.WINDOW_DISPLAY)),
        (0.54, sentence("Anna taps her card at the counter."), COUNTER, shop.anna.tag),
        (0.83, sentence("Ben shows his code once more: from now on he is nobody."), SCANNER, Scan(shop.ben.token, QR)),
    ]
    yield Step(begins, sentence("Somebody pulls the network plug. The store goes on."), act=Act.UNPLUG)
    for part, says, reader, payload in scenes:
        yield Step(begins + part * length, says, Sighting(reader, payload))
    says = sentence("Ben withdraws his consent: what waits about him must never leave.")
    yield Step(begins + 0.71 * length, says, act=Act.WITHDRAW, token=shop.ben.token)
    yield Step(begins + length, sentence("The plug is back. What waited leaves now."), act=Act.PLUG)


def _background(shop: Boutique, random: Random, seconds: float) -> Iterator[Step]:
    """Yield what is on the air all the time: customers' beacons, the store's own, and strangers' phones."""
    yield Step(0.10 * seconds, sentence("Clara, who agreed, walks in with her beacon; so does Erik, who did not."))
    for customer in (shop.clara, shop.erik):
        yield from _carried(customer, random, 0.10 * seconds, 0.40 * seconds)
    yield from _store_beacon(shop, random, LAST * seconds)
    for passerby in shop.passersby:
        yield from _walk_by(passerby, random, LAST * seconds)


def _carried(customer: BeaconCustomer, random: Random, start: float, end: float) -> Iterator[Step]:
    manufacturer = ibeacon(place.CUSTOMER_BEACONS.bytes, customer.major, customer.minor)
    for at in _every(0.2, start, end):
        yield _heard(at, Advertisement(_address(customer.address), random.randint(-62, -52), manufacturer))


def _store_beacon(shop: Boutique, random: Random, end: float) -> Iterator[Step]:
    for number, at in enumerate(_every(0.5, 0.1, end)):
        telemetry = eddystone_tlm(2950, 21.5, 10_000 + number, 86_400 + at)
        frame = telemetry if number % 4 == 3 else eddystone_uid(place.NAMESPACE, place.INSTANCE)  # noqa: PLR2004  # every fourth
        yield _heard(at, Advertisement(_address(shop.beacon), random.randint(-70, -60), service=frame))


def _walk_by(passerby: Passerby, random: Random, end: float) -> Iterator[Step]:
    """Yield what a phone sends that comes into earshot for a while and changes its address on the way."""
    start = random.uniform(0, end * 0.7)
    stop = min(end, start + random.uniform(0.1, 0.4) * end)
    for at in _every(0.3, start, stop):
        address = passerby.addresses[at > (start + stop) / 2]
        rssi = random.randint(-95, -70)
        yield _heard(at, Advertisement(_address(address), rssi, passerby.manufacturer, passerby.service))


def _heard(at: float, advertisement: Advertisement) -> Step:
    return Step(at, sighting=Sighting(SALON, advertisement))


def _address(octets: bytes) -> str:
    return octets.hex(":").upper()


def _every(interval: float, start: float, end: float) -> Iterator[float]:
    yield from (start + number * interval for number in range(int((end - start) / interval) + 1))
