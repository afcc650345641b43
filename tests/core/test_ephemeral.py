"""The store's own beacons under identifiers that change: clocks that drift, are lost, or were never set."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.eid import BeaconKey
from gateway.core.ephemeral import ADDRESSES, DRIFT_S, REFRESH_NS, SLOTS, STEP, Ephemeral
from gateway.core.sighting import ClockQuality, Identifier, Moment, SealedTelemetry, Telemetry
from tests.simulators import frames

MAC = "C4:00:00:00:00:01"
ZERO_MS = 1_795_000_000_000
KEY = bytes(range(16))
VITRINE = BeaconKey("vitrine-3", KEY, 10, ZERO_MS)
OURS = Identifier("beacon", "vitrine-3")


def at(seconds: float, quality: ClockQuality = ClockQuality.SYNCED) -> Moment:
    """Return a moment so long after the beacons' counters stood at 0."""
    return Moment(int(seconds * 1e9), ZERO_MS + int(seconds * 1000), quality)


def sent(counter: int, beacon: BeaconKey = VITRINE) -> Identifier:
    """Return what the beacon sends when its counter stands there."""
    slot = counter >> beacon.exponent
    return Identifier("eddystone-eid", next(beacon.eids(range(slot, slot + 1))).hex())


def filled(now: Moment, *beacons: BeaconKey) -> Ephemeral:
    """Return a resolver whose table is whole."""
    resolver = Ephemeral(beacons or (VITRINE,))
    follow(resolver, now)
    return resolver


def follow(resolver: Ephemeral, now: Moment) -> int:
    """Let the table catch up, and return in how many steps."""
    for step in range(1, 10_000):
        before = len(resolver.table)
        resolver.expire(now)
        assert abs(len(resolver.table) - before) <= max(STEP, SLOTS + 1)
        if resolver.next_deadline() != now.boot_ns:
            return step
    raise AssertionError("the table is never whole")


def test_a_beacon_of_ours_is_known_and_a_strangers_is_not() -> None:
    """Within its day of grace to either side; other kinds of identifiers are left alone."""
    now = at(1_000_000)
    resolver = filled(now)
    assert resolver.resolve(sent(1_000_000), MAC, now) == OURS
    stranger, beyond = Identifier("eddystone-eid", "00" * 8), sent(1_000_000 + DRIFT_S + 3000)
    assert resolver.resolve(stranger, MAC, now) is stranger
    assert resolver.resolve(beyond, MAC, now) is beyond
    other = Identifier("ibeacon", "not hexadecimal")
    assert resolver.resolve(other, MAC, now) is other


def test_without_beacons_there_is_nothing_to_do() -> None:
    """No table, no deadline."""
    resolver = Ephemeral()
    resolver.expire(at(0))
    assert (resolver.table, resolver.next_deadline()) == ({}, None)


@pytest.mark.parametrize("exponent", range(16))
def test_the_table_is_bounded_and_filled_in_small_steps(exponent: int) -> None:
    """By the number of beacons and the slots of a window, however short its periods are."""
    now = at(1_000_000)
    resolver = Ephemeral([replace(VITRINE, exponent=exponent), BeaconKey("b", bytes(16), exponent, ZERO_MS)])
    steps = follow(resolver, now)
    whole = 2 * (2 * min(SLOTS // 2, -(-DRIFT_S // 2**exponent)) + 1)
    assert len(resolver.table) == whole <= 2 * (SLOTS + 1)
    assert steps <= whole // STEP + 2
    assert resolver.next_deadline() == now.boot_ns + REFRESH_NS
    resolver.expire(replace(now, boot_ns=now.boot_ns + 1, wall_ms=0))
    assert len(resolver.table) == whole


def test_the_present_is_in_the_table_first() -> None:
    """One step after the start a beacon that keeps time is known."""
    now, beacon = at(1_000_000), replace(VITRINE, exponent=0)
    resolver = Ephemeral([beacon])
    resolver.expire(now)
    assert resolver.resolve(sent(1_000_001, beacon), MAC, now) == OURS


@pytest.mark.parametrize("drift", [-80_000, -2000, 5000, 80_000])
def test_a_clock_that_drifts_is_followed(drift: int) -> None:
    """Each time that it is heard its window moves along, so that it may drift without end."""
    now = at(10_000_000)
    resolver = filled(now)
    for times in range(1, 6):
        assert resolver.resolve(sent(10_000_000 + times * drift), MAC, now) == OURS
        now = replace(now, boot_ns=now.boot_ns + REFRESH_NS)
        follow(resolver, now)
    lost = sent(10_000_000)
    assert (resolver.resolve(lost, MAC, now) is lost) == (abs(5 * drift) > DRIFT_S)


def test_a_clock_that_was_never_synced_teaches_nothing() -> None:
    """Ours may be years off: once it is synced, the window stands where it should."""
    resolver = filled(at(2_000_000))
    wrong = at(2_000_000, ClockQuality.UNSYNCED)
    assert resolver.resolve(sent(2_050_000), MAC, wrong) == OURS
    later = at(2_100_000)
    follow(resolver, later)
    assert resolver.resolve(sent(2_100_000 - 80_000), MAC, later) == OURS


def test_our_clock_may_jump() -> None:
    """From 1970 to today and back: the table is made anew, in steps, and holds no more than before."""
    resolver = Ephemeral([VITRINE])
    for number, seconds in enumerate((-(10**9), 1_000_000, 1_050_000, -(10**9), 1_000_000)):
        now = replace(at(seconds), boot_ns=number * REFRESH_NS)
        follow(resolver, now)
        assert len(resolver.table) == 2 * -(-DRIFT_S // 1024) + 1
        assert resolver.resolve(sent(seconds), MAC, now) == OURS


def sealed(counter: int, plain: bytes, key: bytes = KEY, salt: bytes = b"\x12\x34") -> SealedTelemetry:
    """Return telemetry as a beacon encrypts it."""
    frame = frames.eddystone_etlm(key, counter >> 10 << 10, salt, plain)
    return SealedTelemetry(frame[2:14], frame[14:16], frame[16:])


PLAIN = frames.eddystone_tlm(2900, 0x1580, 77, 1000)[2:]
TOLD = Telemetry(2900, 21.5, 77, 100.0)


def test_encrypted_telemetry_is_opened() -> None:
    """With the key of the beacon that this address was, in its slot or, as it may have gone on, the next."""
    now = at(1_000_000)
    resolver = filled(now)
    assert resolver.open(MAC, sealed(1_000_000, PLAIN)) is None
    resolver.resolve(sent(1_000_000), MAC, now)
    assert resolver.open(MAC, sealed(1_000_000, PLAIN)) == TOLD
    assert resolver.open(MAC, sealed(1_001_000, PLAIN)) == TOLD
    assert resolver.open("C4:00:00:00:00:02", sealed(1_000_000, PLAIN)) is None


def test_encrypted_telemetry_of_somebody_else_is_not() -> None:
    """Another key, another time, or a bit that has changed."""
    now = at(1_000_000)
    resolver = filled(now)
    resolver.resolve(sent(1_000_000), MAC, now)
    good = sealed(1_000_000, PLAIN)
    flipped = bytes([good.ciphertext[0] ^ 1]) + good.ciphertext[1:]
    for wrong in (sealed(1_000_000, PLAIN, bytes(16)), sealed(900_000, PLAIN), replace(good, ciphertext=flipped)):
        assert resolver.open(MAC, wrong) is None


def test_addresses_are_bounded() -> None:
    """The latest are kept: a beacon that changes its address with its identifier fills no memory."""
    now = at(1_000_000)
    resolver = filled(now)
    for number in (*range(ADDRESSES), 0, ADDRESSES):
        resolver.resolve(sent(1_000_000), f"mac-{number}", now)
    unknown = [n for n in range(ADDRESSES + 1) if resolver.open(f"mac-{n}", sealed(1_000_000, PLAIN)) is None]
    assert unknown == [1]


def test_nothing_shows() -> None:
    """No key, no identifier, no address in the repr."""
    now = at(1_000_000)
    resolver = filled(now)
    resolver.resolve(sent(1_000_000), MAC, now)
    shown = repr(resolver) + repr(sealed(1_000_000, PLAIN)) + repr(next(iter(resolver.table.values())))
    for secret in (MAC, KEY.hex(), repr(KEY), sent(1_000_000).value, repr(bytes.fromhex(sent(1_000_000).value))):
        assert secret not in shown


@settings(max_examples=60, deadline=None)
@given(
    st.integers(6, 15),
    st.lists(st.tuples(st.integers(-3000, 3000), st.integers(1, 40_000), st.booleans()), min_size=1, max_size=30),
)
def test_a_beacon_that_is_heard_often_enough_is_never_lost(exponent: int, day: list[tuple[int, int, bool]]) -> None:
    """Whatever small steps its clock makes, and however late its identifiers change; the table stays as it should."""
    beacon = replace(VITRINE, exponent=exponent)
    seconds, ahead = 10_000_000, 0
    resolver = filled(at(seconds), beacon)
    for step, wait, late in day:
        seconds, ahead = seconds + wait, ahead + step
        follow(resolver, at(seconds))
        slot = (seconds + ahead >> exponent) - late
        eid = Identifier("eddystone-eid", next(beacon.eids(range(slot, slot + 1))).hex())
        assert resolver.resolve(eid, MAC, at(seconds)) == OURS
        assert len(resolver.table) == 2 * min(SLOTS // 2, -(-DRIFT_S // 2**exponent)) + 1


@given(st.text(max_size=20), st.binary(min_size=12, max_size=12), st.binary(min_size=2, max_size=2))
def test_any_telemetry_is_calm(address: str, ciphertext: bytes, salt: bytes) -> None:
    """It opens or not, and raises nothing."""
    resolver = filled(at(1_000_000))
    resolver.resolve(sent(1_000_000), MAC, at(1_000_000))
    for known in (MAC, address):
        told = resolver.open(known, SealedTelemetry(ciphertext, salt, b"\0\0"))
        assert told is None or told.advertisements >= 0
