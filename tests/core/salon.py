"""A small boutique on a day of the tests: readers, touchpoints, customers, and a ledger to write in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from gateway.core import pseudonym
from gateway.core.consent import Consent, ConsentState
from gateway.core.draft import Reader
from gateway.core.event import EventType
from gateway.core.path import Path
from gateway.core.registry import BearerRule, Touchpoint, build
from gateway.core.sighting import Advertisement, ClockQuality, Identifier, Moment, Scan, Sighting, Tag
from gateway.core.subject import Subjects
from gateway.core.visit import Debounce, Visits
from tests.simulators import frames

MORNING_MS = int(datetime(2026, 12, 31, 23, tzinfo=UTC).timestamp() * 1000)
"""Second 0 of every story: an hour before a new year, and a new epoch, begin."""
NEW_YEAR_MS = MORNING_MS + 3_600_000
RING = pseudonym.derive(bytes(range(32)), "acme", "zrh-1", [("2026Q4", 0, NEW_YEAR_MS), ("2027Q1", NEW_YEAR_MS, None)])
GTIN_LINK = "https://id.acme.example/01/09506000134352"
MEMBERS = "https://id.acme.example/m/"
ANNA, BEN = Identifier("link", f"{MEMBERS}anna-Zk3vX9c1QmS7tB0d"), Identifier("link", f"{MEMBERS}ben-LwRfA8uT5pQnEjYh")
CLARA_UUID = bytes.fromhex("a495bb10c5b14b44b5121370f02d74de")
CLARA = Identifier("ibeacon", "a495bb10-c5b1-4b44-b512-1370f02d74de/7/9")
"""A customer with a beacon."""
PURPOSES: Mapping[EventType, str] = MappingProxyType(
    {
        **dict.fromkeys((EventType.TAP, EventType.SCAN), "personalisation"),
        **dict.fromkeys((EventType.APPEARED, EventType.DISAPPEARED), "personalisation"),
        EventType.RESPONSE: "feedback",
    }
)

COUNTER = Touchpoint("counter", "counter", "Counter", zone="salon", phase="during")
VITRINE = Touchpoint(
    "vitrine-3", "display", "Vitrine 3", "salon", "before", "09506000134352", "REF-7", None, "winter",
    identifiers=("nfc-uid:04a2b3c4d5e680", "gs1:/01/09506000134352"),
)  # fmt: skip
EXIT = Touchpoint("exit", "feedback", "How was it?", identifiers=("text:good#5", "text:bad#1"))
OVER = Touchpoint("autumn", "catalogue", "Autumn", valid_until_ms=MORNING_MS, identifiers=("text:autumn",))
GOODBYE = Touchpoint("goodbye", "visit-end", "End of the visit", identifiers=("text:goodbye",))
PILLAR = Touchpoint("pillar", "beacon", "Pillar", identifiers=(f"altbeacon:{'0b' * 20}",))
TOUCHPOINTS = (COUNTER, VITRINE, EXIT, OVER, GOODBYE, PILLAR)
RULES = (BearerRule("link", MEMBERS), BearerRule("ibeacon", "a495bb10-c5b1-4b44-b512-1370f02d74de/"))

READERS: Mapping[str, Reader] = MappingProxyType(
    {
        reader.name: reader
        for reader in (
            Reader("nfc", "nfc", at="counter"),
            Reader("scanner", "scanner", at="counter"),
            Reader("loose", "nfc"),
            Reader("salon", "ble", zone="salon"),
            Reader("entrance", "ble", zone="entrance"),
        )
    }
)


def at(seconds: float, quality: ClockQuality = ClockQuality.SYNCED) -> Moment:
    """Return the moment so many seconds into the story."""
    return Moment(int(seconds * 1_000_000_000), MORNING_MS + int(seconds * 1000), quality)


@dataclass
class FakeLedger:
    """Consents by handle."""

    stale_from_ms: int | None = None
    consents: dict[str, list[Consent]] = field(default_factory=dict)

    def records(self, handle: str) -> Sequence[Consent]:
        """Return what was written about this handle."""
        return self.consents.get(handle, [])

    def write(self, token: Identifier, state: ConsentState, since_s: float = 0, *purposes: str) -> None:
        """Write the next word of the token's bearer: on all purposes, unless some are named."""
        told = self.consents.setdefault(pseudonym.handle(RING, token), [])
        about = frozenset(purposes or PURPOSES.values())
        told.append(Consent(f"rec-{len(told)}", len(told), state, about, "2026-03", at(since_s).wall_ms, None))

    def grant(self, token: Identifier, since_s: float = 0, *purposes: str) -> None:
        """Write a consent."""
        self.write(token, ConsentState.GIVEN, since_s, *purposes)

    def withdraw(self, token: Identifier, since_s: float = 0) -> None:
        """Write a withdrawal."""
        self.write(token, ConsentState.WITHDRAWN, since_s)


def subjects(ledger: FakeLedger, ring: pseudonym.KeyRing | None = RING) -> Subjects:
    """Return who may be named by this ledger."""
    return Subjects(ring, ledger, PURPOSES, Counter())


LONG_FROM_NOW_NS = 1 << 62


def path(ledger: FakeLedger, ring: pseudonym.KeyRing | None = RING, *, training: bool = False) -> Path:
    """Return the path of this boutique on a new day."""
    registry = build(1, TOUCHPOINTS, RULES)
    return Path(
        READERS,
        registry,
        subjects(ledger, ring),
        Visits(30),
        Debounce(2),
        training_until_ns=LONG_FROM_NOW_NS if training else 0,
    )


def scan(text: str, reader: str = "scanner") -> Sighting:
    """Return a scan of a QR code."""
    return Sighting(reader, Scan(text, "]Q1"))


def present(token: Identifier, reader: str = "scanner") -> Sighting:
    """Return the scan of a customer's token."""
    return scan(token.value, reader)


def tap(uid: str = "04a2b3c4d5e680", reader: str = "nfc", ndef: bytes = b"") -> Sighting:
    """Return a tap of a tag, by default the one in the vitrine."""
    return Sighting(reader, Tag(bytes.fromhex(uid), ndef))


def customer_beacon(rssi: int = -60, reader: str = "salon") -> Sighting:
    """Return an advertisement of Clara's beacon, by default from near."""
    frame = frames.ibeacon(CLARA_UUID, 7, 9, -59)
    return Sighting(reader, Advertisement("C4:00:00:00:00:07", rssi, {0x004C: frame}))


def store_beacon(rssi: int = -60, reader: str = "salon") -> Sighting:
    """Return an advertisement of the beacon on the pillar."""
    frame = frames.altbeacon(b"\x0b" * 20, -59)
    return Sighting(reader, Advertisement("C4:00:00:00:00:0B", rssi, {0x0118: frame}))


def telemetry(millivolts: int = 3000, address: str = "C4:00:00:00:00:0B") -> Sighting:
    """Return telemetry, by default of the beacon on the pillar."""
    return Sighting(
        "salon", Advertisement(address, -60, {}, {"feaa": frames.eddystone_tlm(millivolts, 0x1500, 9, 100)})
    )


SIGHTINGS = (
    *(present(token, reader) for token in (ANNA, BEN) for reader in ("scanner", "nfc", "loose")),
    *(scan(text) for text in (GTIN_LINK, "good", "bad", "autumn", "goodbye", "nothing known", "a\x00b")),
    *(tap(), tap("04ffffffffffff"), tap(reader="loose")),
    *(customer_beacon(rssi, reader) for rssi in (-60, -95, 127) for reader in ("salon", "entrance")),
    *(store_beacon(), store_beacon(reader="entrance"), telemetry(), telemetry(2400)),
    Sighting("salon", Advertisement("", -60, {0x004C: bytes.fromhex("10061a1e16ec7f61")})),
)
"""What may happen on any day."""
