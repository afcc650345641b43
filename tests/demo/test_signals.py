"""What the demo's devices send is what the decoders read, which are tested against published vectors."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.core import decode
from gateway.core.sighting import Advertisement, Identifier, Tag, Telemetry
from gateway.demo import signals

ADDRESS = "40:00:00:00:00:01"


@given(st.binary(min_size=16, max_size=16), st.integers(0, 65535), st.integers(0, 65535))
def test_an_ibeacon_is_decoded_as_one(uuid: bytes, major: int, minor: int) -> None:
    """UUID, major and minor come out as they went in."""
    beacon = decode.advertisement(Advertisement(ADDRESS, -60, signals.ibeacon(uuid, major, minor)))
    assert isinstance(beacon, decode.Beacon)
    assert beacon.identifier.kind == "ibeacon"
    assert beacon.identifier.value.replace("-", "") == f"{uuid.hex()}/{major}/{minor}"
    assert beacon.reference_rssi == -59


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=6, max_size=6))
def test_an_eddystone_uid_is_decoded_as_one(namespace: bytes, instance: bytes) -> None:
    """Namespace and instance come out as they went in."""
    frame = signals.eddystone_uid(namespace, instance)
    beacon = decode.advertisement(Advertisement(ADDRESS, -60, service=frame))
    assert isinstance(beacon, decode.Beacon)
    assert beacon.identifier == Identifier("eddystone-uid", f"{namespace.hex()}/{instance.hex()}")


def test_telemetry_is_decoded_as_such() -> None:
    """Battery, temperature, count and uptime come out as they went in."""
    frame = signals.eddystone_tlm(2950, 21.5, 10_000, 86_400)
    read = decode.advertisement(Advertisement(ADDRESS, -60, service=frame))
    assert read == Telemetry(battery_mv=2950, temperature_c=21.5, advertisements=10_000, uptime_s=86_400)


def test_a_link_on_a_tag_is_decoded_as_one() -> None:
    """The link that was written is the first thing that the tag is known as."""
    url = "https://id.acme.example/m/abc"
    assert decode.tag(Tag(b"\x04abcdef", signals.ndef_link(url)))[0] == Identifier("link", url)


@given(st.integers())
def test_a_strangers_phone_means_nothing(seed: int) -> None:
    """No passer-by's phone is taken for a beacon."""
    manufacturer, service = signals.phone(Random(seed))  # noqa: S311  # repeatable on purpose
    assert decode.advertisement(Advertisement(ADDRESS, -80, manufacturer, service)) is None


@given(st.integers())
def test_a_phones_address_is_a_resolvable_private_one(seed: int) -> None:
    """Its two first bits say so."""
    address = signals.private_address(Random(seed))  # noqa: S311  # repeatable on purpose
    assert (len(address), address[0] >> 6) == (6, 0b01)
