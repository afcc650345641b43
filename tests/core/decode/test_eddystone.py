"""Eddystone: four frames, told apart by their first byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decode import eddystone
from gateway.core.decode.beacon import Beacon
from gateway.core.sighting import Identifier, SealedTelemetry, Telemetry
from tests.simulators import frames

powers = st.integers(-128, 127)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
paths = st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) != "#"], max_size=8)


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=6, max_size=6), powers, st.sampled_from([b"", b"\0\0"]))
def test_every_uid_is_read(namespace: bytes, instance: bytes, power: int, reserved: bytes) -> None:
    """Namespace and instance are the identity, with or without the reserved bytes; 41 dB are lost over a metre."""
    frame = frames.eddystone_uid(namespace, instance, power, reserved)
    identifier = Identifier("eddystone-uid", f"{namespace.hex()}/{instance.hex()}")
    assert eddystone.decode(frame) == Beacon(identifier, power, power - 41)


@given(st.binary(min_size=8, max_size=8), powers)
def test_every_eid_is_read(eid: bytes, power: int) -> None:
    """The ephemeral identifier is taken as it is."""
    assert eddystone.decode(frames.eddystone_eid(eid, power)) == Beacon(
        Identifier("eddystone-eid", eid.hex()), power, power - 41
    )


@given(
    scheme=st.sampled_from(list(enumerate(("http://www.", "https://www.", "http://", "https://")))),
    name=names,
    domain=st.sampled_from(sorted(frames.DOMAINS)),
    path=st.none() | paths,
    power=powers,
)
def test_every_url_is_read(scheme: tuple[int, str], name: str, domain: str, path: str | None, power: int) -> None:
    """Scheme and domain are expanded from their codes, with a slash and without."""
    code = frames.DOMAINS[domain] + (7 if path is None else 0)
    frame = frames.eddystone_url(scheme[0], name.encode() + bytes([code]) + (path or "").encode(), power)
    url = scheme[1] + name + domain + ("" if path is None else f"/{path}")
    assert eddystone.decode(frame) == Beacon(Identifier("link", url), power, power - 41)


def test_a_url_is_canonical() -> None:
    """A link is the same identifier whether a beacon, a tag or a code says it."""
    beacon = eddystone.decode(frames.eddystone_url(3, b"ID.Acme.Example/P#top"))
    assert isinstance(beacon, Beacon)
    assert beacon.identifier == Identifier("link", "https://id.acme.example/P")


@pytest.mark.parametrize(
    ("scheme", "encoded"),
    [(4, b"a.example"), (3, b""), (3, b"a b"), (3, b"a\x0e"), (3, b"a\x7f"), (3, b"a\xff"), (3, b"/a"), (3, b"u@h")],
)
def test_what_is_no_url_is_none(scheme: int, encoded: bytes) -> None:
    """An unknown scheme, a reserved code, a blank or a missing host: refused."""
    assert eddystone.decode(frames.eddystone_url(scheme, encoded)) is None


@given(
    millivolts=st.integers(1, 0xFFFF),
    temperature=st.integers(-0x7FFF, 0x7FFF),
    advertisements=st.integers(0, 0xFFFFFFFF),
    deciseconds=st.integers(0, 0xFFFFFFFF),
)
def test_every_telemetry_is_read(millivolts: int, temperature: int, advertisements: int, deciseconds: int) -> None:
    """Temperature is a signed 8.8 fixed-point number, the uptime counts tenths of a second."""
    frame = frames.eddystone_tlm(millivolts, temperature, advertisements, deciseconds)
    assert eddystone.decode(frame) == Telemetry(millivolts, temperature / 256, advertisements, deciseconds / 10)


def test_telemetry_may_have_no_battery_and_no_thermometer() -> None:
    """A beacon on mains says 0 mV, one without a thermometer 0x8000: neither is a measurement."""
    assert eddystone.decode(frames.eddystone_tlm(0, -0x8000, 7, 10)) == Telemetry(None, None, 7, 1.0)


@given(st.binary(min_size=12, max_size=12), st.binary(min_size=2, max_size=2), st.binary(min_size=2, max_size=2))
def test_encrypted_telemetry_is_taken_apart(ciphertext: bytes, salt: bytes, tag: bytes) -> None:
    """Version 1 says nothing without the key."""
    assert eddystone.decode(b"\x20\x01" + ciphertext + salt + tag) == SealedTelemetry(ciphertext, salt, tag)


@pytest.mark.parametrize(
    "frame",
    [b"", b"\x20", b"\x20\x00" + bytes(16), b"\x20\x01" + bytes(12), b"\x20\x02" + bytes(12), b"\x40" + bytes(17)],
)
def test_unknown_frames_are_none(frame: bytes) -> None:
    """Telemetry of another version or length, reserved frames and no frame at all say nothing here."""
    assert eddystone.decode(frame) is None


@given(st.sampled_from([0x00, 0x10, 0x20, 0x30, 0x40]), st.binary(max_size=30))
def test_any_bytes_are_calm(frame: int, rest: bytes) -> None:
    """Whatever follows a frame's first byte, decoding ends with a value."""
    found = eddystone.decode(bytes([frame]) + rest)
    assert found is None or isinstance(found, Telemetry | SealedTelemetry) == (frame == 0x20)


@given(st.binary(max_size=30))
def test_a_frame_of_another_length_is_none(rest: bytes) -> None:
    """UID, TLM and EID have their lengths."""
    for frame, lengths in ((0x00, {18, 20}), (0x20, {14, 18}), (0x30, {10})):
        if 1 + len(rest) not in lengths:
            assert eddystone.decode(bytes([frame]) + rest) is None
