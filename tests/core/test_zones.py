"""Presence by zone, and what a scanner that is down does to it."""

from gateway.core.presence import Came, Left, PresenceSettings
from gateway.core.sighting import Identifier
from gateway.core.zones import Zones

S = 1_000_000_000
P1M = -59
ANN = Identifier("ibeacon", "ann")


def present(zones: Zones, *places: str) -> None:
    """Have Ann come to these zones at 0 s; she was last heard there at 2 s."""
    for second in range(3):
        for place in places:
            zones.observe((place, ANN), P1M, P1M, second * S)


def test_zones_are_apart() -> None:
    """A beacon is in each zone that hears it near, and leaves each by itself."""
    zones = Zones()
    assert zones.next_deadline() is None
    present(zones, "salon", "window")
    zones.observe(("salon", ANN), P1M, P1M, 9 * S)
    assert zones.next_deadline() == 12 * S
    assert zones.expire(12 * S) == [Left(("window", ANN), 2 * S, 2.0)]
    assert zones.followed() == [("salon", ANN)]


def test_a_zone_has_its_own_settings() -> None:
    """One zone may take its time where another does not."""
    zones = Zones({"till": PresenceSettings(hold_enter=0)})
    assert zones.observe(("till", ANN), P1M, P1M, 0) == Came(("till", ANN), 0)
    assert zones.observe(("salon", ANN), P1M, P1M, 0) is None


def test_nobody_leaves_while_a_scanner_is_down() -> None:
    """Silence counts anew once every scanner of the zone is up; other zones go on."""
    zones = Zones()
    present(zones, "salon", "window")
    zones.scanner_down("salon", "left")
    zones.scanner_down("salon", "right")
    held = zones.held
    assert zones.next_deadline() == 12 * S
    assert zones.expire(100 * S) == [Left(("window", ANN), 2 * S, 2.0)]
    zones.scanner_up("salon", "left", 100 * S)
    zones.scanner_up("window", "front", 100 * S)
    assert (zones.expire(150 * S), zones.next_deadline()) == ([], None)
    zones.scanner_up("salon", "right", 150 * S)
    zones.scanner_up("salon", "right", 155 * S)
    assert zones.next_deadline() == 160 * S
    assert (held, zones.held) == (True, False)
    assert zones.expire(160 * S) == [Left(("salon", ANN), 2 * S, 2.0)]


def test_forgetting_goes_through_all_zones() -> None:
    """Whoever is withdrawn is dropped everywhere, without a departure."""
    zones = Zones()
    present(zones, "salon", "window")
    assert zones.forget(lambda stay: stay[1] == ANN) == [("salon", ANN), ("window", ANN)]
    assert zones.followed() == []
