"""Whether the store's own beacons are well: one report when there is something to say, and one a day.

The rules, for each beacon (the touchpoint that it marks):

1. First report: 10 s after it was first heard, so that its telemetry has a chance, and when its first telemetry comes.
   From then on one a day.
2. `low-battery` below 2500 mV; `ok` again from 2600 mV.
3. `silent`: not heard for 15 minutes, while no scanner was down. Said once; when the beacon is heard again, that is
   reported too.
4. `moved`: heard elsewhere ten times in a row and for a minute not in its own zone, while no scanner was down. Zones
   overlap: a beacon that both hear stays where it was; and a slow one, of whose packets a quarter may be lost, is
   missed by its own for a minute now and then. Said once; later reports give the new zone. A beacon's own zone is the
   one that hears it best in its first minute, since a wall seldom keeps the next zone from hearing it first; and the
   minute counts anew for one that was silent.
5. A change is reported at once. A report has one status; `moved` goes before `low-battery`, which its telemetry shows.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.core.sighting import Telemetry

SECOND_NS: Final = 1_000_000_000
FIRST_NS: Final = 10 * SECOND_NS
DAILY_NS: Final = 24 * 3600 * SECOND_NS
SILENT_NS: Final = 15 * 60 * SECOND_NS
MOVED_NS: Final = 60 * SECOND_NS
ELSEWHERE: Final = 10
"""Sightings in other zones, without one in its own, that it takes to have moved."""
NOT_AVAILABLE: Final = frozenset({127, -127, 0})
"""RSSI values that carry no measurement, as in `gateway.core.presence`."""
LOW_MV: Final = 2500
WELL_MV: Final = 2600
ADDRESSES: Final = 256
"""MAC addresses kept in memory, at most."""

Status = Literal["ok", "low-battery", "silent", "moved"]


@dataclass(frozen=True, slots=True)
class HealthReport:
    """How a beacon is, where it was heard last and by which reader."""

    touchpoint_id: str
    reader: str
    zone: str
    status: Status
    telemetry: Telemetry | None
    """The last that it sent."""
    rssi: int | None
    """Received signal strength in its zone, dBm; None when the last sighting had none."""
    last_seen_s: float = field(default=0.0, compare=False)
    """How long ago it was last heard anywhere, in seconds, to a tenth."""


@dataclass(slots=True)
class _Beacon:
    """What is remembered of a beacon."""

    touchpoint_id: str
    reader: str
    zone: str
    rssi: int
    heard_ns: int
    """When it was last heard anywhere."""
    here_ns: int
    """When it was last heard in its zone."""
    due_ns: int
    """When the next regular report is due."""
    settled_ns: int
    """Until then it is in whichever zone hears it best."""
    best: int
    """The strongest it was heard in its zone, dBm."""
    elsewhere: int = 0
    """How often it was heard in other zones since it was heard in its own, by scanners that were all up."""
    telemetry: Telemetry | None = None
    low: bool = False
    silent: bool = False

    def hear(self, reader: str, zone: str, rssi: int, now_ns: int, listening_ns: int | None) -> bool:
        """Take in a sighting, and tell whether the beacon has moved (rule 4); scanners listen since then, or not."""
        self.heard_ns = now_ns
        if self.silent:
            self.here_ns, self.elsewhere = now_ns, 0
        nearer = now_ns < self.settled_ns and _level(rssi) > self.best
        moved = zone != self.zone and not nearer and self._is_missing(now_ns, listening_ns)
        if moved or nearer or zone == self.zone:
            self.reader, self.zone, self.rssi, self.here_ns, self.elsewhere = reader, zone, rssi, now_ns, 0
            self.best = max(self.best, _level(rssi))
        return moved

    def _is_missing(self, now_ns: int, listening_ns: int | None) -> bool:
        """Take note that it was heard elsewhere, and tell whether its own zone should have heard it meanwhile."""
        if listening_ns is None:
            return False
        self.elsewhere += 1
        return self.elsewhere >= ELSEWHERE and now_ns - max(self.here_ns, listening_ns) >= MOVED_NS

    def take(self, telemetry: Telemetry) -> bool:
        """Take in telemetry, and tell whether it is news: the first, or another state of the battery (rule 2)."""
        before = self.low if self.telemetry else None
        self.telemetry = telemetry
        if telemetry.battery_mv is not None:
            self.low = telemetry.battery_mv < (WELL_MV if self.low else LOW_MV)
        return self.low is not before

    def is_due(self, now_ns: int) -> bool:
        """Tell whether a beacon that was heard now has a report due: it was silent, or it is time (rules 1 and 3)."""
        return self.silent or now_ns >= self.due_ns

    def deadline(self, listening_ns: int | None) -> int:
        """Return when time alone makes a report, of a beacon that is not silent; scanners listen since then, or not."""
        return min(self.due_ns, self.falls_silent(listening_ns)) if listening_ns is not None else self.due_ns

    def falls_silent(self, listening_ns: int) -> int:
        """Return when it is silent, if it is not heard until then."""
        return max(self.heard_ns, listening_ns) + SILENT_NS

    def report(self, now_ns: int, status: Literal["silent", "moved"] | None = None) -> HealthReport:
        """Make a report; the next regular one is due a day later."""
        self.due_ns = now_ns + DAILY_NS
        self.silent = status == "silent"
        return self.condition(now_ns, status)

    def condition(self, now_ns: int, status: Literal["silent", "moved"] | None) -> HealthReport:
        """Say how it is, which makes no report."""
        rssi = None if self.rssi in NOT_AVAILABLE else self.rssi
        state: Status = status or ("low-battery" if self.low else "ok")
        unheard_s = round((now_ns - self.heard_ns) / 1e9, 1)
        return HealthReport(self.touchpoint_id, self.reader, self.zone, state, self.telemetry, rssi, unheard_s)


@dataclass(slots=True)
class StoreBeacons:
    """The store's own beacons. One entry for each touchpoint that was heard: the registry bounds them."""

    _beacons: dict[str, _Beacon] = field(default_factory=dict, repr=False)
    _senders: dict[str, str] = field(default_factory=dict, repr=False)
    """The touchpoint that each MAC address named last, the latest at the end: only ever a key in memory."""
    _listening_ns: int | None = 0
    """Since when all scanners have been up; None while one is down."""

    def observe(
        self, touchpoint_id: str, address: str, reader: str, zone: str, rssi: int, now_ns: int
    ) -> HealthReport | None:
        """Take in one sighting of a touchpoint's beacon (dBm, CLOCK_BOOTTIME ns)."""
        self._join(address, touchpoint_id)
        beacon = self._beacons.get(touchpoint_id)
        if beacon is None:
            self._beacons[touchpoint_id] = _Beacon(
                touchpoint_id,
                reader,
                zone,
                rssi,
                heard_ns=now_ns,
                here_ns=now_ns,
                due_ns=now_ns + FIRST_NS,
                settled_ns=now_ns + MOVED_NS,
                best=_level(rssi),
            )
            return None
        if beacon.hear(reader, zone, rssi, now_ns, self._listening_ns):
            return beacon.report(now_ns, "moved")
        return beacon.report(now_ns) if beacon.is_due(now_ns) else None

    def part(self, address: str) -> None:
        """Forget whose telemetry this address sends: it has named somebody else."""
        self._senders.pop(address, None)

    def knows(self, address: str) -> bool:
        """Tell whether this address sent the identifier of a touchpoint lately."""
        return address in self._senders

    def telemetry(self, address: str, telemetry: Telemetry, now_ns: int) -> HealthReport | None:
        """Give telemetry to the beacon that the same address named last; a stranger's is dropped."""
        beacon = self._beacons.get(self._senders.get(address, ""))
        if beacon is None:
            return None
        beacon.heard_ns = now_ns
        news = beacon.take(telemetry)
        return beacon.report(now_ns) if news or beacon.is_due(now_ns) else None

    def readers(self) -> set[str]:
        """Return the readers by which beacons were heard, each beacon's last one in its zone."""
        return {beacon.reader for beacon in self._beacons.values()}

    def conditions(self, now_ns: int) -> dict[str, HealthReport]:
        """Say how each beacon is that was heard, by touchpoint: `ok`, `low-battery` or `silent`; no report is made."""
        return {
            name: beacon.condition(now_ns, "silent" if beacon.silent else None)
            for name, beacon in self._beacons.items()
        }

    def forget(self, touchpoint_id: str) -> None:
        """Forget the beacon of a touchpoint that has none any more."""
        self._beacons.pop(touchpoint_id, None)
        self._senders = {address: name for address, name in self._senders.items() if name != touchpoint_id}

    @property
    def listening_ns(self) -> int | None:
        """Since when all scanners have been up (CLOCK_BOOTTIME; 0: none was ever down); None while one is down."""
        return self._listening_ns

    def expire(self, now_ns: int) -> list[HealthReport]:
        """Return the reports that are due by now: first ones, daily ones, and beacons gone silent."""
        since = self._listening_ns
        due = [beacon for beacon in self._beacons.values() if not beacon.silent and now_ns >= beacon.deadline(since)]
        return [
            beacon.report(now_ns, "silent" if since is not None and now_ns >= beacon.falls_silent(since) else None)
            for beacon in due
        ]

    def next_deadline(self) -> int | None:
        """Return when `expire` must be called next (CLOCK_BOOTTIME, ns); None while nothing is pending."""
        loud = (beacon for beacon in self._beacons.values() if not beacon.silent)
        return min((beacon.deadline(self._listening_ns) for beacon in loud), default=None)

    def pause(self) -> None:
        """Count no silence, because a scanner is down, until `resume`."""
        self._listening_ns = None

    def resume(self, now_ns: int) -> None:
        """Count silence from now, if it was not counted: all scanners are up."""
        if self._listening_ns is None:
            self._listening_ns = now_ns

    def _join(self, address: str, touchpoint_id: str) -> None:
        """Remember whose telemetry this address sends; the address not heard for longest gives way."""
        self._senders.pop(address, None)
        self._senders[address] = touchpoint_id
        if len(self._senders) > ADDRESSES:
            del self._senders[next(iter(self._senders))]


def _level(rssi: int) -> int:
    """Return a signal strength to compare: one that carries no measurement is below all others."""
    return -128 if rssi in NOT_AVAILABLE else rssi
