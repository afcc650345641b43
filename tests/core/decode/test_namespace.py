"""Which beacons are decoded at all: those of the registry and of the rules, told from strangers by their octets."""

from dataclasses import replace

import pytest

from gateway.core import decode
from gateway.core.decode.namespace import ANY, Namespaces, namespaces
from gateway.core.registry import BearerRule, build
from gateway.core.sighting import Advertisement
from tests.core import salon
from tests.simulators import frames

OURS, STRANGE = bytes(range(16)), bytes(range(16, 32))
UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def heard(wanted: Namespaces, **frame: bytes) -> bool:
    service = {"feaa": frame["eddystone"]} if "eddystone" in frame else {}
    manufacturer = {0x004C: frame["ibeacon"]} if "ibeacon" in frame else {}
    manufacturer |= {0x0118: frame["altbeacon"]} if "altbeacon" in frame else {}
    return decode.advertisement(Advertisement("", -60, manufacturer, service), wanted) is not None


@pytest.mark.parametrize("rule", [f"{UUID}/", f"{UUID}/7/9", UUID])
def test_a_uuid_is_told_by_its_octets(rule: str) -> None:
    """An iBeacon of another UUID is not decoded; of ours, whatever its major and minor."""
    wanted = namespaces([], [("ibeacon", rule)])
    assert heard(wanted, ibeacon=frames.ibeacon(OURS, 1, 2, -59))
    assert not heard(wanted, ibeacon=frames.ibeacon(STRANGE, 1, 2, -59))


@pytest.mark.parametrize("prefix", ["", "0001", UUID[:-1]])
def test_a_rule_that_is_shorter_than_a_namespace_wants_them_all(prefix: str) -> None:
    """What it means is decided later, by the registry."""
    assert namespaces([], [("ibeacon", prefix), ("ibeacon", f"{UUID}/")]).ibeacon is None


def test_every_format_has_its_namespace() -> None:
    """AltBeacon by its first 16 octets, Eddystone-UID by its ten; ephemeral ones only where they mean anything."""
    wanted = namespaces(
        [("altbeacon", OURS.hex() + "00000001"), ("eddystone-uid", f"{OURS[:10].hex()}/000000000001")], []
    )
    assert heard(wanted, altbeacon=frames.altbeacon(OURS + bytes(4), -59))
    assert not heard(wanted, altbeacon=frames.altbeacon(STRANGE + bytes(4), -59))
    assert heard(wanted, eddystone=frames.eddystone_uid(OURS[:10], bytes(6), -18))
    assert not heard(wanted, eddystone=frames.eddystone_uid(STRANGE[:10], bytes(6), -18))
    assert not heard(wanted, eddystone=frames.eddystone_eid(bytes(8), -18))
    assert heard(namespaces([], [("eddystone-eid", "")]), eddystone=frames.eddystone_eid(bytes(8), -18))


def test_ephemeral_identifiers_are_read_one_by_one() -> None:
    """Those that are registered, and those that the store's own beacons send about now; a stranger's is not."""
    wanted = replace(namespaces([("eddystone-eid", "11" * 8)], []), own={b"\x22" * 8: "what is known of it"})
    for octet, expected in ((0x11, True), (0x22, True), (0x33, False)):
        assert heard(wanted, eddystone=frames.eddystone_eid(bytes([octet]) * 8, -18)) == expected


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (b"id.acme.example/t/1", True),
        (b"ID.Acme.Example/t/1", True),
        (b"id.acme.example", True),
        (b"id.acme.example:443/t/1", True),
        (b"id.acme.example.evil\x00", False),
        (b"id.acme.example:8443/t/1", False),
        (b"stranger.example/t/1", False),
    ],
)
def test_of_links_only_those_of_a_known_host_are_read(encoded: bytes, *, expected: bool) -> None:
    """A stranger's Eddystone-URL is nobody's business, whatever it begins with."""
    wanted = namespaces([("link", "https://id.acme.example/t/1")], [("link", "https://id.acme.example/m/")])
    assert heard(wanted, eddystone=frames.eddystone_url(3, encoded)) == expected
    assert not heard(wanted, eddystone=frames.eddystone_url(2, encoded))
    assert heard(namespaces([("link", "https://id.acme.example")], []), eddystone=frames.eddystone_url(3, encoded)) == (
        expected
    )


def test_nothing_is_wanted_of_a_format_that_nobody_registered() -> None:
    """An empty registry decodes no beacon; telemetry is still looked at, since it names nobody."""
    none = build(1, []).namespaces
    assert none == Namespaces(frozenset(), frozenset(), frozenset(), frozenset(), ())
    assert heard(none, eddystone=frames.eddystone_tlm(3000, 0x1580, 1, 1))
    assert heard(ANY, ibeacon=frames.ibeacon(STRANGE, 1, 2, -59))


def test_the_registry_wants_its_own_and_its_rules() -> None:
    """Touchpoints' beacons and customers' alike."""
    registry = build(1, salon.TOUCHPOINTS, [BearerRule("ibeacon", f"{UUID}/")])
    assert registry.namespaces.ibeacon is not None
    assert OURS in registry.namespaces.ibeacon
