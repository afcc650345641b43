"""The beacons around, as staff see them while they place and register them."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.nearby import GONE_NS, MOST, SAMPLES, SENDERS, Heard, Nearby, held
from gateway.core.sighting import Identifier, Telemetry

S = 1_000_000_000
MAC = "02:00:00:00:00:01"
STRANGER = Identifier("altbeacon", "0a" * 20)
OWN = Identifier("altbeacon", "0b" * 20)


def hear(nearby: Nearby, now_ns: int, rssi: int = -60, zone: str = "salon", address: str = MAC) -> None:
    """Hear a beacon that is nobody's here."""
    nearby.hear(STRANGER, None, address, f"ble-{zone}", zone, rssi, now_ns)


def only(nearby: Nearby, now_ns: int) -> Heard:
    """Return the only beacon around."""
    (found,) = nearby.heard(now_ns)
    return found


def test_the_level_is_the_median_of_ten_seconds() -> None:
    """One bad sample does not count, and neither does what is older than the window."""
    nearby = Nearby()
    for second, rssi in enumerate((-30, -60, -62, -95, -61)):
        hear(nearby, second * S, rssi)
    assert (only(nearby, 4 * S).rssi, only(nearby, 4 * S).median, only(nearby, 4 * S).samples) == (-61, -61, 5)
    assert only(nearby, 11 * S).samples == 4


def test_one_that_sends_seldom_has_its_last_sample() -> None:
    """A beacon that sends every twelve seconds is in the list all the time, with how long ago it was heard."""
    nearby = Nearby()
    hear(nearby, 0, -60)
    hear(nearby, 12 * S, -70)
    found = only(nearby, 23 * S)
    assert (found.rssi, found.median, found.samples, found.unheard_s) == (-70, -70, 1, 11.0)


def test_the_zone_is_where_it_is_heard_best() -> None:
    """Of two readers that hear it now, the one with the higher level; one that hears it no more does not count."""
    nearby = Nearby()
    hear(nearby, 0, -40, "entrance")
    hear(nearby, 0, -80, "salon")
    assert (only(nearby, 0).zone, only(nearby, 0).reader) == ("entrance", "ble-entrance")
    hear(nearby, 15 * S, -80, "salon")
    assert (only(nearby, 15 * S).zone, only(nearby, 15 * S).rssi) == ("salon", -80)


def test_a_sample_without_a_measurement_is_none() -> None:
    """It shows that the beacon is there, and not how strong it is: alone it puts no beacon into the list."""
    nearby = Nearby()
    hear(nearby, 0, 127)
    assert nearby.heard(0) == []
    hear(nearby, S, -60)
    hear(nearby, 2 * S, 127)
    assert (only(nearby, 2 * S).rssi, only(nearby, 2 * S).unheard_s) == (-60, 0.0)


def test_strangers_go_and_the_stores_own_stay() -> None:
    """30 s after it was last heard a stranger's beacon is forgotten; the store's has fallen silent, and shows it."""
    nearby = Nearby()
    hear(nearby, 0)
    nearby.hear(OWN, "pillar", MAC, "ble-salon", "salon", -70, 0)
    assert len(nearby.heard(GONE_NS)) == 2
    left = only(nearby, GONE_NS + S)
    assert (left.identifier, left.touchpoint, left.unheard_s, left.senders) == (OWN, "pillar", 31.0, 1)


def test_a_battery_belongs_to_what_the_address_sends() -> None:
    """Telemetry of an address that sends no beacon of the list is dropped."""
    nearby = Nearby()
    hear(nearby, 0)
    nearby.tell("02:00:00:00:00:02", Telemetry(2000, None, 1, 1.0))
    assert only(nearby, 0).battery_mv is None
    nearby.tell(MAC, Telemetry(2950, None, 1, 1.0))
    assert only(nearby, 0).battery_mv == 2950


def test_two_devices_with_one_identifier_are_counted() -> None:
    """Beacons fresh from the box often send the same; one that was exchanged ten seconds ago counts no more."""
    nearby = Nearby()
    hear(nearby, 0)
    hear(nearby, S, address="02:00:00:00:00:02")
    assert only(nearby, S).senders == 2
    assert only(nearby, 11 * S).senders == 1
    for number in range(2 * SENDERS):
        hear(nearby, 12 * S, address=f"02:00:00:00:01:{number:02X}")
    assert only(nearby, 12 * S).senders == SENDERS


def test_registering_shows_at_once() -> None:
    """The next sighting is that of a touchpoint."""
    nearby = Nearby()
    hear(nearby, 0)
    nearby.hear(STRANGER, "pillar", MAC, "ble-salon", "salon", -60, S)
    assert only(nearby, S).touchpoint == "pillar"


def test_a_crowd_is_bounded_and_costs_no_own_beacon() -> None:
    """Of more than 200 the strangers' that were not heard for longest give way; samples are bounded too."""
    nearby = Nearby()
    nearby.hear(OWN, "pillar", MAC, "ble-salon", "salon", -90, 0)
    for number in range(1000):
        other = Identifier("altbeacon", f"{number:040x}")
        nearby.hear(
            other, None, f"02:00:00:01:{number // 256:02X}:{number % 256:02X}", "ble-salon", "salon", -50, number
        )
    found = nearby.heard(1000)
    assert len(found) == MOST
    assert OWN in {each.identifier for each in found}
    assert Identifier("altbeacon", f"{800:040x}") not in {each.identifier for each in found}
    for number in range(10_000):
        nearby.hear(OWN, "pillar", MAC, "ble-salon", "salon", -90, 1000 + number)
    assert max(each.samples for each in nearby.heard(11_000)) == SAMPLES


def test_nothing_of_a_beacon_shows_in_repr() -> None:
    """Neither an address nor an identifier."""
    nearby = Nearby()
    hear(nearby, 0)
    assert MAC not in repr(nearby)
    assert STRANGER.value not in repr(nearby) + repr(nearby.heard(0))


class TestHeld:
    """Rule 5."""

    @staticmethod
    def around(*levels: int, times: int = 3) -> list[Heard]:
        """Return strangers' beacons that were heard at these levels."""
        nearby = Nearby()
        for number, rssi in enumerate(levels):
            for each in range(times):
                nearby.hear(Identifier("text", str(number)), None, str(number), "ble", "salon", rssi, each * S)
        return nearby.heard(times * S)

    def test_at_hand(self) -> None:
        """One that is strong, heard three times, and far above the next."""
        found = held(self.around(-70, -45, -60))
        assert found is not None
        assert found.identifier == Identifier("text", "1")

    def test_alone(self) -> None:
        """Without another it need only be strong."""
        assert held(self.around(-55)) is not None

    def test_not_sure(self) -> None:
        """Nobody's, when two are as strong, when it is too far away, heard too seldom, or there is none."""
        assert held(self.around(-45, -54)) is None
        assert held(self.around(-56)) is None
        assert held(self.around(-40, times=2)) is None
        assert held([]) is None

    def test_an_own_beacon_beside_it_does_not_matter(self) -> None:
        """What is registered already is not meant, however near it is."""
        nearby = Nearby()
        for second in range(3):
            hear(nearby, second * S, -50)
            nearby.hear(OWN, "pillar", MAC, "ble-salon", "salon", -30, second * S)
        found = held(nearby.heard(3 * S))
        assert found is not None
        assert found.identifier == STRANGER


@given(
    st.lists(
        st.tuples(
            st.integers(0, 300),
            st.sampled_from([None, "pillar"]),
            st.integers(0, 20),
            st.sampled_from(["salon", "entrance"]),
            st.integers(-127, 127),
            st.integers(0, 20 * S),
        ),
        max_size=80,
    )
)
def test_any_air_makes_a_list(air: list[tuple[int, str | None, int, str, int, int]]) -> None:
    """Whatever is heard, in steps of whatever length: sorted, bounded, levels within what was heard."""
    nearby, now = Nearby(), 0
    for beacon, touchpoint, sender, zone, rssi, later in air:
        now += later
        nearby.hear(Identifier("text", str(beacon)), touchpoint, str(sender), f"ble-{zone}", zone, rssi, now)
        nearby.tell(str(sender), Telemetry(3000, None, 0, 0.0))
        found = nearby.heard(now)
        assert len(found) <= MOST
        assert [each.median for each in found] == sorted((each.median for each in found), reverse=True)
        assert all(-126 <= each.median <= 126 and each.median and each.samples and each.senders for each in found)
        assert held(found) is None or held(found) in found
