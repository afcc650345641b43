"""A boutique: its touchpoints and readers, its customers, and everything that would identify one of them."""

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from gateway.core.sighting import Tag
from gateway.demo.signals import ndef_link, phone, private_address

TENANT, SITE, GATEWAY = "acme", "zrh-1", "gw-1"
DOMAIN = "id.acme.example"
TOKENS = f"https://{DOMAIN}/m/"
CUSTOMER_BEACONS = UUID("5f3a1f0e-8c64-4f0b-9a38-6d2c1b7e4a90")
"""The iBeacon UUID that the brand's customer beacons share; which customer it is stands in major and minor."""

COUNTER, WINDOW, SCANNER, SALON = "counter-nfc", "window-nfc", "counter-scanner", "salon"
"""The readers: NFC at the counter and at the window display, a QR scanner, Bluetooth in the salon."""

DIVER, MOONPHASE, CHRONO = "09506000134352", "09506000134369", "09506000134376"
NAMESPACE, INSTANCE = bytes.fromhex("a1b2c3d4e5f60718293a"), bytes.fromhex("000000000001")
CATALOGUE = f"https://{DOMAIN}/c/spring-12"
SMILE, FROWN = f"https://{DOMAIN}/f/smile", f"https://{DOMAIN}/f/frown"
WINDOW_DISPLAY = f"https://{DOMAIN}/t/window"

REGISTRY = f"""id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers
counter,counter,the counter,salon,during,,,,,,,
window,display,the window display,salon,before,,,,,,,link:{WINDOW_DISPLAY}
diver,product,the Diver 200,salon,before,{DIVER},D200,,,,,gs1:/01/{DIVER}
moonphase,product,the Moonphase,salon,before,{MOONPHASE},MP38,,,,,gs1:/01/{MOONPHASE}
chrono,product,the Chronograph,salon,before,{CHRONO},CH42,,,,,gs1:/01/{CHRONO}
catalogue-12,catalogue,page 12 of the catalogue,,before,,,,spring,,,link:{CATALOGUE}
farewell,feedback,the feedback point at the door,salon,after,,,,,,,link:{SMILE}#smile link:{FROWN}#frown
door-beacon,beacon,the beacon at the door,salon,,,,,,,,eddystone-uid:{NAMESPACE.hex()}/{INSTANCE.hex()}
"""
"""The registry as staff would import it."""

Secret = tuple[str, bytes]
"""A label and the raw bytes of what must be in no file and on no wire."""


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody with a token: a link on a card or a phone, 128 random bits."""

    name: str
    agreed: bool
    secret: bytes = field(repr=False)
    card: bytes = field(repr=False)
    """The UID of the card's NFC chip."""

    @property
    def token(self) -> str:
        """The link that the customer presents."""
        return TOKENS + urlsafe_b64encode(self.secret).rstrip(b"=").decode()

    @property
    def tag(self) -> Tag:
        """The card, held to an NFC reader."""
        return Tag(self.card, ndef_link(self.token))

    def secrets(self) -> list[Secret]:
        """Return what identifies this customer."""
        characters = self.token.removeprefix(TOKENS).encode()
        return [
            (f"{self.name}'s link", self.token.encode()),
            (f"{self.name}'s token", characters),
            (f"{self.name}'s token in binary", self.secret),
            (f"the UID of {self.name}'s card", self.card),
        ]


@dataclass(frozen=True, slots=True)
class BeaconCustomer:
    """Somebody who carries one of the brand's beacons."""

    name: str
    agreed: bool
    major: int = field(repr=False)
    minor: int = field(repr=False)
    address: bytes = field(repr=False)

    @property
    def token(self) -> str:
        """The canonical identifier, as `consent grant --token-from-stdin` takes it."""
        return f"ibeacon:{CUSTOMER_BEACONS}/{self.major}/{self.minor}"

    def secrets(self) -> list[Secret]:
        """Return what identifies this customer."""
        numbers = self.major.to_bytes(2) + self.minor.to_bytes(2)
        return [
            (f"{self.name}'s beacon", CUSTOMER_BEACONS.bytes + numbers),
            (f"{self.name}'s beacon in text", self.token.removeprefix("ibeacon:").encode()),
            (f"the address of {self.name}'s beacon", self.address),
        ]


@dataclass(frozen=True, slots=True)
class Passerby:
    """Somebody who only walks by, with a phone that advertises under one random address and then another."""

    addresses: tuple[bytes, bytes] = field(repr=False)
    manufacturer: dict[int, bytes] = field(repr=False)
    service: dict[str, bytes] = field(repr=False)

    def secrets(self) -> list[Secret]:
        """Return what identifies this phone."""
        signals = [*self.manufacturer.values(), *self.service.values()]
        return [
            *(("the address of a passer-by's phone", address) for address in self.addresses),
            *(("the signal of a passer-by's phone", signal) for signal in signals),
        ]


@dataclass(frozen=True, slots=True)
class Boutique:
    """Everybody and everything in it. The same random numbers make the same boutique."""

    anna: Customer
    ben: Customer
    david: Customer
    clara: BeaconCustomer
    erik: BeaconCustomer
    passersby: tuple[Passerby, ...]
    beacon: bytes = field(repr=False)
    """The MAC address of the store's own beacon."""
    tags: dict[str, bytes] = field(repr=False)
    """UIDs of the store's own NFC tags, by the link that each holds."""
    foreign: str = field(repr=False)
    """A code of somebody else's."""
    hostile: str = field(repr=False)
    """A code that somebody made to do harm."""

    def tag(self, link: str) -> Tag:
        """Return one of the store's own tags, held to a reader."""
        return Tag(self.tags[link], ndef_link(link))

    def consenting(self) -> list[str]:
        """Return the tokens of those who agree before the day begins."""
        return [who.token for who in (self.anna, self.ben, self.david, self.clara, self.erik) if who.agreed]

    def secrets(self) -> list[Secret]:
        """Return every raw identifier of the day, customers' and strangers'."""
        customers = (self.anna, self.ben, self.david)
        people: list[Customer | BeaconCustomer | Passerby] = [*customers, self.clara, self.erik, *self.passersby]
        return [
            *(secret for person in people for secret in person.secrets()),
            ("the address of the store's beacon", self.beacon),
            *(("the UID of a store's tag", uid) for uid in self.tags.values()),
            ("somebody else's code", self.foreign.encode()),
            ("the hostile code", self.hostile.encode()),
        ]


def product_link(gtin: str, serial: str) -> str:
    """Return the GS1 Digital Link of one piece."""
    return f"https://{DOMAIN}/01/{gtin}/21/{serial}"


TAGGED = (WINDOW_DISPLAY, product_link(DIVER, "D2-0417"), product_link(MOONPHASE, "MP-0031"), SMILE, FROWN)
"""The links that the store's own NFC tags hold."""


def boutique(random: Random, passersby: int = 36) -> Boutique:
    """Fill a boutique with people."""
    return Boutique(
        anna=_customer("Anna", random, agreed=True),
        ben=_customer("Ben", random, agreed=True),
        david=_customer("David", random, agreed=False),
        clara=_beacon_customer("Clara", random, agreed=True),
        erik=_beacon_customer("Erik", random, agreed=False),
        passersby=tuple(_passerby(random) for _ in range(passersby)),
        beacon=private_address(random),
        tags={link: _nfc_uid(random) for link in TAGGED},
        foreign=f"https://menu.example/table/7?guest={random.randbytes(6).hex()}",
        hostile=f"\x1b]0;{random.randbytes(6).hex()}\x07'; DROP TABLE outbox; --",
    )


def _customer(name: str, random: Random, *, agreed: bool) -> Customer:
    return Customer(name, agreed, random.randbytes(16), _nfc_uid(random))


def _beacon_customer(name: str, random: Random, *, agreed: bool) -> BeaconCustomer:
    major, minor = random.randrange(1, 65536), random.randrange(1, 65536)
    return BeaconCustomer(name, agreed, major, minor, private_address(random))


def _passerby(random: Random) -> Passerby:
    return Passerby((private_address(random), private_address(random)), *phone(random))


def _nfc_uid(random: Random) -> bytes:
    """Return a UID of seven bytes; 04 is NXP's manufacturer code (ISO/IEC 7816-6)."""
    return b"\x04" + random.randbytes(6)
