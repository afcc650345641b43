"""Presence: timelines of one beacon, and what must hold for any of them."""

import math
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.presence import Came, Change, Left, Presence, PresenceSettings
from gateway.core.sighting import Identifier

S = 1_000_000_000
P1M = -59
"""The reference RSSI at 1 m, dBm."""
NEAR, BETWEEN, FAR = P1M, P1M - 10, P1M - 30


def hear(presence: Presence[str], rssi: int, times: range, key: str = "ann") -> list[Change[str]]:
    """Hear a beacon at each of the times (s), and return the changes."""
    changes = (presence.observe(key, rssi, P1M, second * S) for second in times)
    return [change for change in changes if change]


def present(*keys: str, **parts: float) -> Presence[str]:
    """Return a presence in which these keys came at 0 s and were last heard at 2 s."""
    presence: Presence[str] = Presence(PresenceSettings(**parts))  # type: ignore[arg-type]  # capacity is whole
    for key in keys:
        assert hear(presence, NEAR, range(3), key) == [Came(key, 0)]
    return presence


class TestArrival:
    """Rule 2."""

    def test_comes_after_the_hold(self) -> None:
        """A near beacon has come once it was near for a second; the stay began with the first sighting."""
        presence: Presence[str] = Presence()
        assert presence.observe("ann", NEAR, P1M, 7 * S) is None
        assert presence.observe("ann", NEAR, P1M, 8 * S - 1) is None
        assert presence.observe("ann", NEAR, P1M, 8 * S) == Came("ann", 7 * S)
        assert presence.observe("ann", NEAR, P1M, 9 * S) is None

    @pytest.mark.parametrize(("offset", "comes"), [(-7, True), (-8, False)])
    def test_enter_offset_is_included(self, offset: int, comes: bool) -> None:  # noqa: FBT001  # parametrized
        """The level must be at or above the offset from the beacon's own reference."""
        assert bool(hear(Presence(), P1M + offset, range(5))) is comes

    def test_hold_begins_anew_when_the_level_falls(self) -> None:
        """Near, far and near again: the hold counts from the second approach."""
        presence: Presence[str] = Presence(PresenceSettings(window=0))
        assert hear(presence, NEAR, range(1)) == []
        assert hear(presence, FAR, range(1, 2)) == []
        assert hear(presence, NEAR, range(2, 4)) == [Came("ann", 2 * S)]

    def test_each_beacon_has_its_own_reference(self) -> None:
        """The same signal strength is near for a weak transmitter and far for a strong one."""
        weak: Presence[str] = Presence()
        strong: Presence[str] = Presence()
        assert [weak.observe("ann", -75, -75, second * S) for second in range(2)] == [None, Came("ann", 0)]
        assert [strong.observe("ann", -75, -60, second * S) for second in range(2)] == [None, None]

    def test_one_strong_packet_is_noise(self) -> None:
        """The median of the window, not a single packet, decides."""
        presence: Presence[str] = Presence()
        hear(presence, FAR, range(4))
        assert hear(presence, NEAR, range(4, 6)) == []

    def test_window_is_a_time(self) -> None:
        """Samples older than the window no longer count."""
        presence: Presence[str] = Presence()
        hear(presence, FAR, range(4))
        assert hear(presence, NEAR, range(9, 11)) == [Came("ann", 9 * S)]

    def test_readers_of_a_zone_share_a_key(self) -> None:
        """Two readers that hear the same beacon at the same time make one arrival."""
        presence: Presence[str] = Presence()
        changes = [presence.observe("ann", rssi, P1M, s * S) for s in range(4) for rssi in (NEAR, NEAR - 5)]
        assert [change for change in changes if change] == [Came("ann", 0)]

    def test_forgotten_approach_does_not_count(self) -> None:
        """Near for a moment in the morning and again in the evening: the evening's stay begins in the evening."""
        presence: Presence[str] = Presence()
        hear(presence, NEAR, range(1))
        assert hear(presence, NEAR, range(36_000, 36_002)) == [Came("ann", 36_000 * S)]


class TestDeparture:
    """Rules 3 to 5."""

    def test_leaves_after_the_hold(self) -> None:
        """A beacon that stays far for 8 s has left when the level first was far."""
        presence = present("ann")
        assert hear(presence, FAR, range(10, 18)) == []
        assert hear(presence, FAR, range(18, 19)) == [Left("ann", 10 * S, 10.0)]

    def test_stays_between_the_offsets(self) -> None:
        """Hysteresis: what is too weak to enter is strong enough to stay."""
        presence = present("ann")
        assert hear(presence, BETWEEN, range(3, 60)) == []

    def test_recovery_ends_the_hold(self) -> None:
        """A body that stood between for a few seconds is no departure."""
        presence = present("ann", window=0)
        assert hear(presence, FAR, range(3, 10)) == []
        assert hear(presence, NEAR, range(10, 11)) == []
        assert hear(presence, FAR, range(11, 18)) == []

    def test_silence_is_a_departure(self) -> None:
        """Not heard for ten seconds: it left when it was heard last."""
        presence = present("ann")
        assert presence.next_deadline() == 12 * S
        assert presence.expire(12 * S - 1) == []
        assert presence.expire(12 * S) == [Left("ann", 2 * S, 2.0)]
        assert presence.next_deadline() is None

    def test_falling_then_silent(self) -> None:
        """Far and then lost before the hold is over: it left when it first was far."""
        presence = present("ann", window=0)
        hear(presence, FAR, range(5, 8))
        assert presence.expire(60 * S) == [Left("ann", 5 * S, 5.0)]

    def test_absent_beacon_is_forgotten_without_a_departure(self) -> None:
        """A beacon that never came near leaves no trace."""
        presence: Presence[str] = Presence()
        hear(presence, FAR, range(3))
        assert presence.expire(60 * S) == []
        assert presence.next_deadline() is None

    def test_late_sighting_returns_the_departure(self) -> None:
        """A sighting after the loss, before anyone called `expire`, is a new stay's and not the old one's."""
        presence = present("ann")
        assert hear(presence, NEAR, range(3600, 3604)) == [Left("ann", 2 * S, 2.0), Came("ann", 3601 * S)]

    def test_slow_beacon_is_given_ten_intervals(self) -> None:
        """A beacon that sends every 5 s is lost only after about 50 s."""
        presence: Presence[str] = Presence()
        hear(presence, NEAR, range(0, 301, 5))
        deadline = presence.next_deadline()
        assert deadline is not None
        assert 345 * S < deadline <= 350 * S

    def test_fading_away_is_a_departure(self) -> None:
        """A beacon heard ever more rarely is followed for 102.4 s of silence at most, ten of the longest intervals."""
        presence = present("ann")
        silences = []
        for _ in range(20):
            deadline = presence.next_deadline()
            assert deadline is not None
            assert presence.observe("ann", NEAR, P1M, deadline - 1) is None
            silences.append((presence.next_deadline() or 0) - (deadline - 1))
        assert max(silences) == silences[-1] == 102.4 * S

    def test_comes_back(self) -> None:
        """Left by the level and near again: a second stay."""
        presence = present("ann", window=0)
        hear(presence, FAR, range(3, 12))
        assert hear(presence, NEAR, range(12, 14)) == [Came("ann", 12 * S)]


class TestNoMeasurement:
    """Rule 6."""

    @pytest.mark.parametrize("rssi", [127, -127, 0])
    def test_renews_only(self, rssi: int) -> None:
        """A sighting without a signal strength keeps a stay alive and ends none."""
        presence = present("ann")
        assert hear(presence, rssi, range(3, 60)) == []
        assert presence.expire(60 * S) == []

    def test_never_enters(self) -> None:
        """Zero is the strongest of numbers, and yet no approach."""
        assert hear(Presence(), 0, range(60)) == []


class TestPause:
    """Rule 7."""

    def test_nobody_is_lost_while_the_scanner_is_down(self) -> None:
        """An outage of an hour ends no stay; the silence counts from its end."""
        presence = present("ann")
        presence.pause()
        assert presence.next_deadline() is None
        assert presence.expire(3600 * S) == []
        presence.resume(3600 * S)
        assert presence.next_deadline() == 3610 * S
        assert presence.expire(3610 * S) == [Left("ann", 2 * S, 2.0)]

    def test_heard_again_after_an_outage(self) -> None:
        """The stay goes on, and the outage is not taken for the beacon's interval."""
        presence = present("ann")
        presence.pause()
        presence.resume(3600 * S)
        assert hear(presence, NEAR, range(3601, 3602)) == []
        assert presence.next_deadline() == 3611 * S

    def test_holds_count_anew(self) -> None:
        """One near sighting before and one after an outage are no hold."""
        presence: Presence[str] = Presence()
        hear(presence, NEAR, range(1))
        presence.pause()
        presence.resume(3600 * S)
        assert hear(presence, NEAR, range(3601, 3603)) == [Came("ann", 3601 * S)]


class TestBounds:
    """Memory is bounded, and a stay is never lost on the way."""

    def test_absent_key_gives_way(self) -> None:
        """When full, the absent key that was not heard for longest goes."""
        presence = present("ann", capacity=3, window=0)
        hear(presence, FAR, range(3, 4), "bob")
        hear(presence, NEAR, range(4, 5), "cem")
        hear(presence, NEAR, range(5, 6), "bob")
        assert hear(presence, NEAR, range(5, 7), "dan") == [Came("dan", 5 * S)]
        assert hear(presence, NEAR, range(6, 7), "bob") == [Came("bob", 5 * S)]
        assert hear(presence, NEAR, range(6, 7), "cem") == []
        assert presence.overflow == 1
        assert [left.key for left in presence.expire(60 * S)] == ["ann", "bob", "dan"]

    def test_samples_are_bounded(self) -> None:
        """Of a beacon heard very often, the last 64 samples of the window count: 33 near ones outweigh 31 far ones."""
        presence: Presence[str] = Presence(PresenceSettings(hold_enter=0))
        assert [presence.observe("ann", FAR, P1M, ms) for ms in range(1000)] == [None] * 1000
        changes = [presence.observe("ann", NEAR, P1M, ms) for ms in range(1000, 1033)]
        assert changes == [None] * 32 + [Came("ann", 1032)]

    def test_present_keys_stay(self) -> None:
        """When all are present a newcomer is ignored and counted."""
        presence = present("ann", "bob", capacity=2)
        assert hear(presence, NEAR, range(3, 6), "cem") == []
        assert presence.overflow == 3
        assert [left.key for left in presence.expire(60 * S)] == ["ann", "bob"]

    def test_forget(self) -> None:
        """A withdrawal ends a stay without a departure, and tells which stays it ended."""
        presence = present("ann", "bob")
        hear(presence, FAR, range(1), "cem")
        assert presence.forget(lambda key: key in {"ann", "cem"}) == ["ann"]
        assert presence.expire(60 * S) == [Left("bob", 2 * S, 2.0)]

    def test_repr_hides_the_customer(self) -> None:
        """Neither the state nor a change shows whose beacon it is."""
        presence: Presence[tuple[str, Identifier]] = Presence()
        key = ("hall", Identifier("ibeacon", "secret/1/2"))
        presence.observe(key, NEAR, P1M, 0)
        came = presence.observe(key, NEAR, P1M, S)
        assert came is not None
        assert "secret" not in f"{presence!r} {came!r}"
        assert "ann" not in repr(present("ann"))


steps = st.tuples(
    st.sampled_from(["observe", "observe", "observe", "expire", "pause", "resume"]),
    st.sampled_from("abcd"),
    st.integers(-128, 127),
    st.integers(0, 12 * S),
)


class Timeline:
    """Play steps, and check after each what must hold after any."""

    def __init__(self) -> None:
        self.presence: Presence[str] = Presence(PresenceSettings(capacity=3))
        self.here: dict[str, int] = {}
        self.now = 0

    def step(self, action: str, key: str, rssi: int, wait: int) -> None:
        """Play one step."""
        self.now += wait
        match action:
            case "observe":
                change = self.presence.observe(key, rssi, P1M, self.now)
                self.note([change] if change else [])
            case "expire":
                self.note(self.presence.expire(self.now))
                deadline = self.presence.next_deadline()
                assert deadline is None or deadline > self.now
            case "pause":
                self.presence.pause()
            case _:
                self.presence.resume(self.now)

    def note(self, changes: list[Change[str]]) -> None:
        """Check that arrivals and departures alternate, and that stays lie in the past and have a length."""
        for change in changes:
            assert change.at_ns <= self.now
            if isinstance(change, Came):
                assert change.key not in self.here
                self.here[change.key] = change.at_ns
            else:
                assert change.dwell_s == (change.at_ns - self.here.pop(change.key)) / S >= 0
        assert len(self.here) <= 3


@settings(max_examples=200)
@given(st.lists(steps, max_size=120))
def test_any_timeline(played: list[tuple[str, str, int, int]]) -> None:
    """Arrivals and departures alternate, dwell is never negative, no deadline is overdue, nobody is lost silently."""
    timeline = Timeline()
    for step in played:
        timeline.step(*step)
    timeline.presence.resume(timeline.now)
    timeline.step("expire", "", 0, 10_000_000 * S)
    assert timeline.here == {}
    assert timeline.presence.next_deadline() is None


def fading(seed: int, interval: float, metres: float) -> Iterator[tuple[float, int]]:
    """Simulate what is heard of a beacon: 6 m away for 60 s, 480 s at a distance, then 6 m away for 60 s more.

    Path loss exponent 2.2, shadowing 3 dB (autoregressive, 8 s), fading 4 dB a packet, a quarter of the packets lost,
    and a body that takes 10 dB for 4 s, once in 50 s. Yields time (s) and RSSI (dBm).
    """
    rng = random.Random(seed)  # noqa: S311  # a simulation
    shadow, blocked, now, memory = 0.0, 0.0, 0.0, math.exp(-interval / 8)
    while now < 600:
        now += interval + rng.random() * 0.01
        shadow = memory * shadow + math.sqrt(1 - memory**2) * rng.gauss(0, 3)
        if blocked <= 0 and rng.random() < 0.02 * interval:
            blocked = rng.expovariate(1 / 4)
        blocked -= interval
        distance = metres if 60 <= now < 540 else 6.0
        rssi = P1M - 22 * math.log10(distance) + shadow + rng.gauss(0, 4) - (10 if blocked > 0 else 0)
        if rng.random() > 0.25 and rssi > -95:
            yield now, round(rssi)


def live(seed: int, interval: float) -> list[tuple[float, Change[str]]]:
    """Follow the simulated beacon as a gateway does, and return each change with when it became certain (s)."""
    presence: Presence[str] = Presence()
    changes: list[tuple[float, Change[str]]] = []
    for now, rssi in fading(seed, interval, 1.5):
        lost = presence.expire(int(now * S))
        change = presence.observe("ann", rssi, P1M, int(now * S))
        changes += [(now, each) for each in (*lost, change) if each]
    return changes


@pytest.mark.parametrize("interval", [0.1, 0.3, 1.0])
def test_fading(interval: float) -> None:
    """In simulated fading: on average at most 0.2 false departures in 8 minutes, and mostly there within 8 s."""
    days = [live(seed, interval) for seed in range(10 if interval < 0.3 else 40)]
    false_exits = [sum(isinstance(c, Left) and 60 < now < 540 for now, c in day) for day in days]
    arrivals = sorted(
        min((now for now, c in day if isinstance(c, Came) and now >= 60), default=60) - 60 for day in days
    )
    assert sum(false_exits) / len(days) <= 0.2
    assert arrivals[len(arrivals) // 2] <= 8
    assert all(isinstance(a, Came) != isinstance(b, Came) for day in days for (_, a), (_, b) in pairwise(day))
