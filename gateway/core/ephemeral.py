"""Whose ephemeral identifier it is: a table of what the store's own beacons send about now (Eddystone-EID).

The rules:

1. For each beacon the identifiers of a window are in the table: a day to either side of where its counter should be,
   though no more than `SLOTS` of them. So resolving is one look-up, for a stranger's identifier too, and memory is
   bounded by the number of beacons.
2. The table follows the clock in steps of at most `STEP` identifiers, a fraction of a millisecond each.
3. A beacon that is heard in another slot than expected has drifted (150 ppm are allowed), or lost its clock with its
   battery (the specification has it go back by up to a day): its window moves along. With a clock that was never synced
   nothing is learnt.
4. What is learnt lives in memory. After a restart the configuration holds again, and its window with it: by drift
   alone it is left after 18 years at the earliest, so that keeping it would be worth no write to the SD card.
5. Encrypted telemetry (TLM version 1) is opened with the key of the beacon whose identifier the same address sent last.
   Its check has 16 bits: one forgery in 32,768 passes, which can make a beacon's health wrong and nothing else.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.core import eax
from gateway.core.decode import eddystone
from gateway.core.eid import BeaconKey
from gateway.core.sighting import ClockQuality, Identifier, Moment, SealedTelemetry, Telemetry

SECOND_NS: Final = 1_000_000_000
DRIFT_S: Final = 86_400
SLOTS: Final = 2048
STEP: Final = 256
REFRESH_NS: Final = 10 * SECOND_NS
ADDRESSES: Final = 256
"""MAC addresses kept in memory, at most."""
EID, BEACON = "eddystone-eid", "beacon"
"""Kinds of identifiers: as it was heard, and resolved (its value is the beacon's name)."""


@dataclass(slots=True)
class _Window:
    """The identifiers of a beacon that are in the table: those of the slots from `first` on."""

    beacon: BeaconKey
    ahead_s: int = 0
    """How far its counter is ahead of what the configuration says, seconds; as far as is known."""
    first: int = 0
    eids: deque[bytes] = field(default_factory=deque, repr=False)

    def counter(self, now: Moment) -> int:
        return self.beacon.counter(now.wall_ms) + self.ahead_s

    def wanted(self, now: Moment) -> range:
        """Return the slots that should be in the table."""
        middle = self.counter(now) >> self.beacon.exponent
        reach = min(SLOTS // 2, -(-DRIFT_S >> self.beacon.exponent))
        return range(middle - reach, middle + reach + 1)

    def learn(self, slot: int, now: Moment) -> None:
        """Move the window as far as the slot that was heard demands; each may be sent a slot late (randomized)."""
        expected, exponent = self.counter(now), self.beacon.exponent
        self.ahead_s += min(max(expected, slot << exponent), (slot + 2 << exponent) - 1) - expected


@dataclass(slots=True)
class Ephemeral:
    """Resolves the identifiers of the store's own beacons; every other stays what it is."""

    beacons: Iterable[BeaconKey] = field(default=(), repr=False)
    table: dict[bytes, tuple[_Window, int]] = field(default_factory=dict, repr=False)
    """Whose identifier it is, and of which slot."""
    _windows: list[_Window] = field(init=False, repr=False)
    _senders: dict[str, tuple[BeaconKey, int]] = field(default_factory=dict, repr=False)
    """Which beacon each MAC address was last, in which slot; the latest at the end: only ever a key in memory."""
    _due_ns: int = 0

    def __post_init__(self) -> None:
        self._windows = [_Window(beacon) for beacon in self.beacons]

    def resolve(self, heard: Identifier, address: str, now: Moment) -> Identifier:
        """Return the beacon of the store that sends this identifier about now, or the identifier as it was heard."""
        found = self.table.get(bytes.fromhex(heard.value)) if heard.kind == EID else None
        if found is None:
            return heard
        window, slot = found
        if now.quality is not ClockQuality.UNSYNCED:
            window.learn(slot, now)
        self._join(address, window.beacon, slot)
        return Identifier(BEACON, window.beacon.name)

    def open(self, address: str, sealed: SealedTelemetry) -> Telemetry | None:
        """Open encrypted telemetry; None if we have no key for it, or it is not what that beacon has sent."""
        sender = self._senders.get(address)
        if sender is None:
            return None
        beacon, slot = sender
        for at in (slot, slot + 1):  # it may have gone on since its identifier was heard
            plain = eax.decrypt(beacon.key, beacon.start(at) + sealed.salt, sealed.ciphertext, sealed.tag)
            if plain is not None:
                return eddystone.telemetry(plain)
        return None

    def expire(self, now: Moment) -> None:
        """Have the table follow the clock, by a step."""
        if not self._windows or now.boot_ns < self._due_ns:
            return
        left = STEP
        for window in self._windows:
            left -= self._follow(window, window.wanted(now), left)
        self._due_ns = now.boot_ns + (REFRESH_NS if left else 0)

    def next_deadline(self) -> int | None:
        """Return when `expire` must be called next (CLOCK_BOOTTIME, ns); None without beacons."""
        return self._due_ns if self._windows else None

    def _follow(self, window: _Window, wanted: range, most: int) -> int:
        """Take out what is not wanted any more and put in what is missing; return how many were put in."""
        while window.eids and window.first < wanted.start:
            self.table.pop(window.eids.popleft(), None)
            window.first += 1
        while window.eids and window.first + len(window.eids) > wanted.stop:
            self.table.pop(window.eids.pop(), None)
        if not window.eids:
            window.first = wanted[len(wanted) // 2]
        end = window.first + len(window.eids)
        after = range(end, min(wanted.stop, end + most))
        self._put(window, after, window.eids.append)
        before = range(window.first - 1, max(wanted.start, window.first - most + len(after)) - 1, -1)
        self._put(window, before, window.eids.appendleft)
        window.first -= len(before)
        return len(after) + len(before)

    def _put(self, window: _Window, slots: range, put: Callable[[bytes], None]) -> None:
        for slot, eid in zip(slots, window.beacon.eids(slots), strict=True):
            self.table[eid] = (window, slot)
            put(eid)

    def _join(self, address: str, beacon: BeaconKey, slot: int) -> None:
        """Remember which beacon this address is; the address not heard for longest gives way."""
        self._senders.pop(address, None)
        self._senders[address] = (beacon, slot)
        if len(self._senders) > ADDRESSES:
            del self._senders[next(iter(self._senders))]
