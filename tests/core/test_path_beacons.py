"""The path of beacons that are ours: under identifiers that change, with encrypted telemetry, and staff's badges."""

import pytest

from gateway.core import pseudonym
from gateway.core.eid import BeaconKey
from gateway.core.ephemeral import Ephemeral
from gateway.core.event import EventType
from gateway.core.path import ABSORBED, BADGE, UNKNOWN, UNVERIFIED, Path
from gateway.core.registry import BadgeRule, Touchpoint, build
from gateway.core.sighting import Advertisement, Identifier, Sighting
from tests.core import salon
from tests.core.salon import CLARA, RULES, TOUCHPOINTS, at
from tests.simulators import frames

KEY = BeaconKey("mirror", bytes(range(16)), 10, salon.MORNING_MS - 5_000_000)
MIRROR = Touchpoint("mirror-2", "beacon", "Mirror", identifiers=("beacon:mirror",))
MAC = "C4:00:00:00:00:0E"
TLM = frames.eddystone_tlm(2400, 0x1580, 77, 1000)


def shop(*touchpoints: Touchpoint, badges: tuple[BadgeRule, ...] = ()) -> tuple[Path, salon.FakeLedger]:
    """Open the boutique with a beacon that sends ephemeral identifiers."""
    ledger = salon.FakeLedger()
    path = salon.path(ledger)
    path.registry = build(1, (*TOUCHPOINTS, *touchpoints), RULES, badges)
    path.ephemeral = Ephemeral([KEY])
    while path.next_deadline() == at(0).boot_ns:
        path.expire(at(0))
    return path, ledger


def service(frame: bytes, address: str = MAC) -> Sighting:
    return Sighting("salon", Advertisement(address, -60, {}, {"feaa": frame}))


def sent(seconds: int) -> Sighting:
    """Return what the beacon on the mirror sends at this second."""
    slot = KEY.counter(at(seconds).wall_ms) >> KEY.exponent
    return service(frames.eddystone_eid(next(KEY.eids(range(slot, slot + 1))), -18))


def etlm(seconds: int, key: bytes = KEY.key) -> Sighting:
    """Return its encrypted telemetry."""
    time = KEY.counter(at(seconds).wall_ms) >> KEY.exponent << KEY.exponent
    return service(frames.eddystone_etlm(key, time, b"\x12\x34", TLM[2:]))


def test_a_beacon_under_changing_identifiers_is_one_touchpoint() -> None:
    """The registry names it by the name of its key; a day of identifiers is one beacon, whose health is reported."""
    path, _ = shop(MIRROR)
    for seconds in range(0, 86_400, 600):
        path.expire(at(seconds))
        outcome = path.see(sent(seconds), at(seconds))
        assert outcome is ABSORBED or [draft.type for draft in outcome.drafts] == [EventType.BEACON_HEALTH]
    (silent,) = path.expire(at(86_400 + 900))
    assert '"mirror-2"' in silent.data
    assert '"silent"' in silent.data


def test_ephemeral_identifiers_of_strangers_are_not_even_decoded() -> None:
    """Nor is ours, as long as no touchpoint is named after it."""
    path, _ = shop(MIRROR)
    stranger = service(frames.eddystone_eid(b"stranger", -18))
    assert path.see(stranger, at(0)) is UNKNOWN
    assert path.wanted().own == path.ephemeral.table
    unnamed, _ = shop()
    assert unnamed.see(sent(0), at(0)) is UNKNOWN


def test_encrypted_telemetry_is_told_as_plain_telemetry_is() -> None:
    """Of a beacon of ours, with its key; a low battery shows."""
    path, _ = shop(MIRROR)
    assert path.see(etlm(0), at(0)) is UNKNOWN
    path.see(sent(0), at(0))
    (draft,) = path.see(etlm(1), at(1)).drafts
    assert (draft.type, '"low-battery"' in draft.data) == (EventType.BEACON_HEALTH, True)
    assert path.see(etlm(2, bytes(16)), at(2)) is UNVERIFIED


def test_encrypted_telemetry_without_a_key_is_counted() -> None:
    """Of a beacon of ours that is known by another frame."""
    path, _ = shop()
    path.see(salon.store_beacon(), at(0))
    sealed = frames.eddystone_etlm(bytes(16), 0, b"\0\0", TLM[2:])
    assert path.see(service(sealed, "C4:00:00:00:00:0B"), at(1)) is UNVERIFIED


def test_telemetry_follows_the_identifier_that_the_address_sent_last() -> None:
    """An address that was a beacon of ours, and now is a customer's, tells nothing of our beacon's health."""
    path, _ = shop()
    address = "C4:00:00:00:00:07"
    pillar = Advertisement(address, -60, {0x0118: frames.altbeacon(b"\x0b" * 20, -59)})
    path.see(Sighting("salon", pillar), at(0))
    path.see(salon.customer_beacon(), at(1))
    assert path.see(service(TLM, address), at(2)) is UNKNOWN
    path.see(Sighting("salon", pillar), at(3))
    (draft,) = path.see(service(TLM, address), at(4)).drafts
    assert '"low-battery"' in draft.data


UID = Touchpoint("sign", "beacon", "Sign", identifiers=("eddystone-uid:" + "aa" * 10 + "/" + "bb" * 6,))
URL = Touchpoint("link", "beacon", "Link", identifiers=("link:https://id.acme.example/q",))


@pytest.mark.parametrize(
    ("frame", "owner"),
    [
        (frames.eddystone_uid(b"\xaa" * 10, b"\xbb" * 6, -18), "sign"),
        (frames.eddystone_url(3, b"id.acme.example/q"), "link"),
        (frames.eddystone_uid(b"\xaa" * 10, b"\xcc" * 6, -18), None),
        (frames.eddystone_url(3, b"id.acme.example/r"), None),
        (frames.eddystone_url(3, b"stranger.example/q"), None),
    ],
)
def test_telemetry_is_taken_of_the_stores_own_beacons_only(frame: bytes, owner: str | None) -> None:
    """Whatever they are known by; nothing is taken of a stranger, even one in our namespace or at our host."""
    path, _ = shop(UID, URL)
    path.see(service(frame), at(0))
    outcome = path.see(service(TLM), at(1))
    if owner is None:
        assert outcome is UNKNOWN
    else:
        (draft,) = outcome.drafts
        assert f'"{owner}"' in draft.data


def test_a_badge_is_nothing_but_a_number() -> None:
    """No presence, no visit, no event, not even with consent; whoever else is of that namespace is a customer."""
    path, ledger = shop(badges=(BadgeRule("ibeacon", "a495bb10-c5b1-4b44-b512-1370f02d74de/7/"),))
    ledger.grant(CLARA)
    for second in range(20):
        assert path.see(salon.customer_beacon(), at(second)) is BADGE
    assert path.expire(at(100)) == ()
    assert path.handles() == set()
    other = Advertisement("C4:00:00:00:00:08", -60, {0x004C: frames.ibeacon(salon.CLARA_UUID, 8, 9, -59)})
    assert path.see(Sighting("salon", other), at(101)) is ABSORBED
    assert path.presence.followed() == [("salon", Identifier("ibeacon", CLARA.value.replace("/7/9", "/8/9")))]


def test_a_badge_at_a_reader_opens_no_visit() -> None:
    """Held to a reader it is no token and no tag; the visit of whoever was there goes on."""
    path, ledger = shop(badges=(BadgeRule("link", f"{salon.MEMBERS}staff-"), BadgeRule("nfc-uid", "0badbadbadbad0")))
    ledger.grant(salon.ANNA)
    path.see(salon.present(salon.ANNA, "nfc"), at(0))
    assert path.see(salon.present(Identifier("link", f"{salon.MEMBERS}staff-7"), "nfc"), at(1)) is BADGE
    assert path.see(salon.tap("0badbadbadbad0"), at(2)) is BADGE
    (draft,) = path.see(salon.tap(), at(3)).drafts
    assert pseudonym.pseudonym(salon.RING.epochs[0], "personalisation", salon.ANNA) in draft.data
