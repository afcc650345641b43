"""The dispatcher: what an advertisement, a tag and a scan may be known as."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import decode
from gateway.core.decode import Beacon
from gateway.core.sighting import Advertisement, Identifier, Scan, Tag, Telemetry
from tests.simulators import frames

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "advertisements.json").read_text(encoding="utf-8"))
GTIN = "09506000134352"
PRODUCT = Identifier("gs1", f"/01/{GTIN}")
ARTICLE = Identifier("gs1", f"/01/{GTIN}/21/A7")
LINK = f"https://id.acme.example/01/{GTIN}/21/A7"
UID = bytes.fromhex("04a2b3c4d5e680")
BY_UID = Identifier("nfc-uid", "04a2b3c4d5e680")

symbologies = st.sampled_from([None, "]Q1", "]Q3", "]d1", "]d2", "]C0", "]C1", "]e0", "]E0", "]E4", "]I1", "]A0"])


def heard(case: dict[str, Any]) -> Advertisement:
    """Return the advertisement of a vector."""
    manufacturer, service = case.get("manufacturer"), case.get("service")
    return Advertisement(
        address="C4:00:00:00:00:01",
        rssi=-60,
        manufacturer={int(manufacturer[0], 16): bytes.fromhex(manufacturer[1])} if manufacturer else {},
        service={service[0]: bytes.fromhex(service[1])} if service else {},
    )


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_published_advertisements(case: dict[str, Any]) -> None:
    """Frames of real devices decode to what their specifications say."""
    expect, found = case["expect"], decode.advertisement(heard(case))
    if expect is None:
        assert found is None
    elif "telemetry" in expect:
        assert found == Telemetry(**expect["telemetry"])
    else:
        assert isinstance(found, Beacon)
        assert (found.identifier.kind, found.identifier.value, found.tx_power) == tuple(expect.values())


def test_the_reference_is_at_one_metre() -> None:
    """iBeacon and AltBeacon send the power at 1 m, Eddystone the one at 0 m."""
    near = decode.advertisement(Advertisement("", -60, {0x004C: frames.ibeacon(bytes(16), 1, 2, -59)}))
    far = decode.advertisement(Advertisement("", -60, {}, {"feaa": frames.eddystone_eid(bytes(8), -18)}))
    assert isinstance(near, Beacon)
    assert isinstance(far, Beacon)
    assert (near.reference_rssi, far.reference_rssi) == (-59, -59)


def test_only_apple_sends_ibeacons_and_anyone_altbeacons() -> None:
    """The frame of an iBeacon under another company is none; an AltBeacon is one under Apple's too."""
    assert decode.advertisement(Advertisement("", -60, {0x0118: frames.ibeacon(bytes(16), 1, 2, -59)})) is None
    for company in (0x004C, 0x0118):
        found = decode.advertisement(Advertisement("", -60, {company: frames.altbeacon(bytes(20), -59)}))
        assert isinstance(found, Beacon)
        assert found.identifier == Identifier("altbeacon", "00" * 20)


def test_an_unreadable_eddystone_does_not_hide_an_ibeacon() -> None:
    """BlueZ accumulates what a device sends in turn: encrypted telemetry may stand beside the identifier."""
    found = decode.advertisement(
        Advertisement("", -60, {6: b"\1", 0x004C: frames.ibeacon(bytes(16), 1, 2, -59)}, {"feaa": b"\x20\x01"})
    )
    assert isinstance(found, Beacon)
    assert found.identifier.kind == "ibeacon"


@given(
    st.dictionaries(st.integers(0, 0xFFFF) | st.just(0x004C), st.binary(max_size=30), max_size=3),
    st.dictionaries(st.sampled_from(["feaa", "fd6f"]), st.binary(max_size=30), max_size=2),
)
def test_any_advertisement_is_calm(manufacturer: dict[int, bytes], service: dict[str, bytes]) -> None:
    """Whatever is on the air, decoding ends with a beacon, telemetry or nothing."""
    found = decode.advertisement(Advertisement("", -60, manufacturer, service))
    assert found is None or isinstance(found, Beacon | Telemetry)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (frames.uri(LINK.removeprefix("https://"), 4), (Identifier("link", LINK), ARTICLE, PRODUCT)),
        (frames.uri("HTTPS://X.example/A#b"), (Identifier("link", "https://x.example/A"),)),
        (frames.uri("+41 44 000 00 00", 5), ()),
        (frames.text(" vitrine 3 "), (Identifier("text", "vitrine 3"),)),
        (frames.text("a\x1db"), ()),
        (frames.text(" "), ()),
        (frames.text("x" * 2049), ()),
        (frames.record(frames.MEDIA, b"text/vcard", b"BEGIN:VCARD"), ()),
    ],
)
def test_a_tag_is_what_its_message_says_and_then_its_uid(record: bytes, expected: tuple[Identifier, ...]) -> None:
    """A link, what the link means, or a text; the UID is the last candidate, always."""
    assert decode.tag(Tag(UID, frames.message(record))) == (*expected, BY_UID)


def test_a_blank_tag_is_known_by_its_uid() -> None:
    """A tag without a message still is a tag; one without a UID and a message is nothing."""
    assert decode.tag(Tag(UID)) == (BY_UID,)
    assert decode.tag(Tag(b"")) == ()


@given(st.binary(max_size=10), st.binary() | st.text().map(frames.text).map(frames.message))
def test_any_tag_is_calm(uid: bytes, message: bytes) -> None:
    """Whatever is on a tag, it ends as identifiers that can be written as UTF-8."""
    found = decode.tag(Tag(uid, message))
    assert all(identifier.text.encode() for identifier in found)
    assert bool(uid) == any(identifier.kind == "nfc-uid" for identifier in found)


@pytest.mark.parametrize(
    ("text", "symbology", "expected"),
    [
        (LINK, "]Q1", (Identifier("link", LINK), ARTICLE, PRODUCT)),
        (f"{LINK}\r\n", None, (Identifier("link", LINK), ARTICLE, PRODUCT)),
        (LINK, "]Q3", (Identifier("link", LINK), ARTICLE, PRODUCT)),
        (f"01{GTIN}21A7", "]d2", (ARTICLE, PRODUCT)),
        (f"\x1d01{GTIN}21A7\x1d", "]C1", (ARTICLE, PRODUCT)),
        (f"01{GTIN}", "]e0", (PRODUCT,)),
        (GTIN[1:], "]E0", (PRODUCT,)),
        (GTIN, "]I1", (PRODUCT,)),
        ("96385074", "]E4", (Identifier("gs1", "/01/00000096385074"),)),
        (GTIN[1:], None, (PRODUCT,)),
        (GTIN[1:], "]Q1", (Identifier("text", GTIN[1:]),)),
        ("9506000134353", "]E0", (Identifier("text", "9506000134353"),)),
        (" Größe 52 ", "]Q1", (Identifier("text", "Größe 52"),)),
        (f"01{GTIN}21A7", "]Q1", (Identifier("text", f"01{GTIN}21A7"),)),
    ],
)
def test_a_scan_is_what_its_symbol_and_text_say(
    text: str, symbology: str | None, expected: tuple[Identifier, ...]
) -> None:
    """The symbology tells element strings and GTINs apart from text that only looks like them."""
    assert decode.scan(Scan(text, symbology)) == expected


@pytest.mark.parametrize(
    ("text", "symbology"),
    [
        *[("", None), (" \t\r\n", "]Q1"), ("a\x00b", "]Q1"), ("a\x1bb", None), ("a\nb", None), ("a\x1db", "]Q1")],
        *[("a\ud800", "]Q1"), ("a\u202eb", None), ("a\ufeff", "]Q1"), ("x" * 2049, "]Q1"), ("0" * 100_000, None)],
        *[("free text", "]C1"), (f"01{GTIN[:-1]}9", "]d2")],
    ],
)
def test_what_no_printed_code_should_hold_is_nothing(text: str, symbology: str | None) -> None:
    """Empty, oversized, control and invisible characters, and symbols that break their own promise."""
    assert decode.scan(Scan(text, symbology)) == ()


@given(st.text() | st.text(st.sampled_from("0123456789\x1d:/.htpsA"), max_size=80), symbologies)
def test_any_scan_is_calm(text: str, symbology: str | None) -> None:
    """Whatever is scanned, it ends as identifiers that can be written as UTF-8, and that do not show in a repr."""
    for identifier in decode.scan(Scan(text, symbology)):
        assert identifier.text.encode()
        assert repr(identifier) == f"Identifier(kind='{identifier.kind}')"
