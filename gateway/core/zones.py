"""Who is in each zone: presence by zone, with the settings of each, and on hold while a scanner there is down.

A zone may have several scanners. While one of them is down nobody is lost in the zone: whoever is near it alone would
seem to have left.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.core.presence import Change, Presence, PresenceSettings
from gateway.core.sighting import Identifier

Stay = tuple[str, Identifier]
"""A zone and the customer's beacon that is in it."""
DEFAULTS = PresenceSettings()


@dataclass(slots=True)
class Zones:
    """As one `Presence`, which see; each zone has its own capacity."""

    settings: Mapping[str, PresenceSettings] = field(default_factory=dict)
    """By zone; the others have the defaults."""
    _zones: dict[str, Presence[Stay]] = field(default_factory=dict, repr=False)
    _down: dict[str, set[str]] = field(default_factory=dict)

    def observe(self, stay: Stay, rssi: int, reference_rssi: int, now_ns: int) -> Change[Stay] | None:
        """Take in one sighting (dBm, CLOCK_BOOTTIME ns) and return the change that it makes."""
        return self._zone(stay[0]).observe(stay, rssi, reference_rssi, now_ns)

    def expire(self, now_ns: int) -> list[Change[Stay]]:
        """Forget who is lost by now, and return the departures among them."""
        return [change for zone in self._zones.values() for change in zone.expire(now_ns)]

    def next_deadline(self) -> int | None:
        """Return when `expire` must be called next (CLOCK_BOOTTIME, ns); None while nothing can be lost."""
        deadlines = (zone.next_deadline() for zone in self._zones.values())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def followed(self) -> list[Stay]:
        """Return the stays that are followed, present or not."""
        return [stay for zone in self._zones.values() for stay in zone.followed()]

    def forget(self, predicate: Callable[[Stay], bool]) -> list[Stay]:
        """Drop the stays that the predicate names, without a departure, and return those that were present."""
        return [stay for zone in self._zones.values() for stay in zone.forget(predicate)]

    def scanner_down(self, zone: str, scanner: str) -> None:
        """Hold the zone: nobody is lost there until all its scanners are up."""
        self._down.setdefault(zone, set()).add(scanner)
        self._zone(zone).pause()

    def scanner_up(self, zone: str, scanner: str, now_ns: int) -> None:
        """Count holds and silences from now, if this was the last scanner of the zone that was down."""
        down = self._down.get(zone, set())
        if scanner in down:
            down.remove(scanner)
            if not down:
                self._zone(zone).resume(now_ns)

    @property
    def held(self) -> bool:
        """Whether a scanner is down anywhere."""
        return any(self._down.values())

    def _zone(self, zone: str) -> Presence[Stay]:
        known = self._zones.get(zone)
        if known is None:
            known = self._zones[zone] = Presence(self.settings.get(zone, DEFAULTS))
        return known
