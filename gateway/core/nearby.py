"""Which beacons are heard around: what staff see while they place beacons and register them.

The rules:

1. A beacon is in the list while it was heard in the last 30 s; one of the store's stays, with when that was.
2. Its level is the median of the last 10 s at the reader that hears it best (dBm). One that sends more seldom has its
   last sample.
3. There are at most 200. When there are more, strangers' give way first, then whichever was not heard for longest.
4. Two devices that send the same identifier count as two `senders`: a new beacon often comes with the same as the next.
   One that changes its address counts as two for up to 10 s.
5. A beacon is held to an antenna if it is the store's not yet, was heard three times in 10 s, at -55 dBm or above, and
   10 dB above the next that is not.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Final

from gateway.core.health import NOT_AVAILABLE
from gateway.core.sighting import Identifier, Telemetry

SECOND_NS: Final = 1_000_000_000
WINDOW_NS: Final = 10 * SECOND_NS
GONE_NS: Final = 30 * SECOND_NS
MOST: Final = 200
SAMPLES: Final = 128
"""Samples of a beacon that a reader keeps, at most: of one that sends ten times a second, those of the window."""
SENDERS: Final = 16
"""Devices that are told apart, of those that send the same identifier."""
HELD_DBM: Final = -55
CLEAR_DB: Final = 10
ENOUGH: Final = 3


@dataclass(frozen=True, slots=True)
class Heard:
    """A beacon, as the reader hears it that hears it best."""

    identifier: Identifier
    touchpoint: str | None
    """The touchpoint that it marks; None if the registry does not know it."""
    reader: str
    zone: str
    rssi: int
    """The last sample, dBm."""
    median: int
    """The level (rule 2), dBm."""
    samples: int
    """How many the level is made of."""
    battery_mv: int | None
    unheard_s: float
    """How long ago it was last heard, in seconds, to a tenth."""
    senders: int
    """How many devices send it (rule 4)."""


@dataclass(slots=True)
class _AtReader:
    """What a reader has heard of a beacon."""

    zone: str
    samples: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    """When (CLOCK_BOOTTIME, ns) and how strong (dBm), the latest at the end; never empty once it is heard."""

    def add(self, rssi: int, now_ns: int) -> None:
        self.samples.append((now_ns, rssi))
        self.trim(now_ns)

    def trim(self, now_ns: int) -> None:
        """Drop what is older than the window, though not the last."""
        while len(self.samples) > 1 and now_ns - self.samples[0][0] > WINDOW_NS:
            self.samples.popleft()

    def level(self) -> int:
        return median_low(rssi for _, rssi in self.samples)

    def rank(self, now_ns: int) -> tuple[bool, int]:
        """Return by what to choose among readers: one that hears it now, then the one that hears it best."""
        self.trim(now_ns)
        return now_ns - self.samples[-1][0] <= WINDOW_NS, self.level()


@dataclass(slots=True)
class _Beacon:
    touchpoint: str | None
    heard_ns: int
    readers: dict[str, _AtReader] = field(default_factory=dict)
    senders: dict[str, int] = field(default_factory=dict, repr=False)
    """When each MAC address was last heard, the latest at the end: only ever a key in memory."""
    battery_mv: int | None = None

    def hear(self, address: str, reader: str, zone: str, rssi: int, now_ns: int) -> None:
        self.heard_ns = now_ns
        self.senders.pop(address, None)
        self.senders[address] = now_ns
        if len(self.senders) > SENDERS:
            del self.senders[next(iter(self.senders))]
        if rssi not in NOT_AVAILABLE:
            self.readers.setdefault(reader, _AtReader(zone)).add(rssi, now_ns)

    def seen(self, identifier: Identifier, now_ns: int) -> Heard | None:
        """Return how it is heard; None if nothing was measured yet."""
        if not self.readers:
            return None
        name, best = max(self.readers.items(), key=lambda each: each[1].rank(now_ns))
        return Heard(
            identifier,
            self.touchpoint,
            name,
            best.zone,
            best.samples[-1][1],
            best.level(),
            len(best.samples),
            self.battery_mv,
            round((now_ns - self.heard_ns) / 1e9, 1),
            max(sum(now_ns - last <= WINDOW_NS for last in self.senders.values()), 1),
        )


@dataclass(slots=True)
class Nearby:
    """The beacons around, for as long as somebody watches. No customer's is ever given to it."""

    _beacons: dict[Identifier, _Beacon] = field(default_factory=dict, repr=False)

    def hear(  # noqa: PLR0913, PLR0917  # the parts of one sighting
        self,
        identifier: Identifier,
        touchpoint: str | None,
        address: str,
        reader: str,
        zone: str,
        rssi: int,
        now_ns: int,
    ) -> None:
        """Take in one sighting (dBm, CLOCK_BOOTTIME ns) of a touchpoint's beacon, or of one that is not registered."""
        beacon = self._beacons.get(identifier)
        if beacon is None:
            self._make_room()
            beacon = self._beacons[identifier] = _Beacon(touchpoint, now_ns)
        beacon.touchpoint = touchpoint
        beacon.hear(address, reader, zone, rssi, now_ns)

    def tell(self, address: str, telemetry: Telemetry) -> None:
        """Give telemetry to the beacon that the same address sends; any other is dropped."""
        for beacon in self._beacons.values():
            if address in beacon.senders:
                beacon.battery_mv = telemetry.battery_mv

    def heard(self, now_ns: int) -> list[Heard]:
        """Return the beacons around, the strongest first; forget strangers' that are gone (rule 1)."""
        gone = [
            identifier
            for identifier, beacon in self._beacons.items()
            if beacon.touchpoint is None and now_ns - beacon.heard_ns > GONE_NS
        ]
        for identifier in gone:
            del self._beacons[identifier]
        found = (beacon.seen(identifier, now_ns) for identifier, beacon in self._beacons.items())
        return sorted((each for each in found if each), key=lambda each: (-each.median, each.identifier.text))

    def _make_room(self) -> None:
        """Let one go if there is no room for another (rule 3)."""
        if len(self._beacons) >= MOST:
            worth = {each: (beacon.touchpoint is not None, beacon.heard_ns) for each, beacon in self._beacons.items()}
            del self._beacons[min(worth, key=worth.__getitem__)]


def held(found: Sequence[Heard]) -> Heard | None:
    """Return which of these, the strongest first, somebody holds to an antenna to have it registered (rule 5)."""
    strangers = [each for each in found if each.touchpoint is None]
    if not strangers or strangers[0].samples < ENOUGH or strangers[0].median < HELD_DBM:
        return None
    if len(strangers) > 1 and strangers[0].median - strangers[1].median < CLEAR_DB:
        return None
    return strangers[0]
