"""Recorded sightings as JSON lines."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.sighting import Advertisement, Payload, Scan, Sighting, Tag
from gateway.sources import recording
from gateway.sources.recording import ClockStep, Condition, Recorded

CARD = "4242deadbeef"

BLE = {"address": "C4:00:00:00:00:01", "rssi": -61}

TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
ADVERTISEMENTS = st.builds(
    Advertisement,
    address=st.binary(min_size=6, max_size=6).map(lambda mac: mac.hex(":").upper()),
    rssi=st.integers(-128, 127),
    manufacturer=st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=27), max_size=3),
    service=st.dictionaries(st.integers(0, 0xFFFF).map("{:04x}".format), st.binary(max_size=27), max_size=3),
)
TAGS = st.builds(Tag, uid=st.binary(min_size=1, max_size=10), ndef=st.binary(max_size=200))
SCANS = st.builds(Scan, text=TEXT, symbology=st.none() | st.sampled_from(["]Q1", "]Q3", "]d2", "]C1", "]E0"]))
RECORDED = st.builds(
    Recorded,
    at=st.floats(0, 1e6),
    sighting=st.builds(Sighting, reader=TEXT.filter(bool), payload=ADVERTISEMENTS | TAGS | SCANS),
)
CONDITIONS = st.builds(Condition, at=st.floats(0, 1e6), reader=TEXT.filter(bool), up=st.booleans())
STEPS = st.builds(ClockStep, at=st.floats(0, 1e6), seconds=st.floats(-1e6, 1e6))


def line(**changes: object) -> str:
    return json.dumps({"at": 1.5, "reader": "salon"} | changes)


def payload(text: str | bytes) -> Payload:
    said = recording.parse(text)
    assert isinstance(said, Recorded)
    return said.sighting.payload


def complaint(text: str | bytes) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        recording.parse(text)
    return str(caught.value)


def test_an_advertisement_is_read() -> None:
    """`ble` gives bytes by company identifier and by service UUID in lower case."""
    ble = {**BLE, "manufacturer": {"004C": "0215"}, "service": {"FEAA": "00e3"}}
    expected = Advertisement("C4:00:00:00:00:01", -61, {0x004C: b"\x02\x15"}, {"feaa": b"\x00\xe3"})
    assert recording.parse(line(ble=ble)) == Recorded(1.5, Sighting("salon", expected))


def test_a_tag_is_read() -> None:
    """`nfc` gives the UID and the raw NDEF message, which may be missing."""
    assert payload(line(nfc={"uid": "04a2", "ndef": "D101"})) == Tag(b"\x04\xa2", b"\xd1\x01")
    assert payload(line(nfc={"uid": "04a2"})) == Tag(b"\x04\xa2")


def test_a_scan_is_read() -> None:
    """`scan` gives the text and the AIM identifier, which may be missing; bytes and a line end do not matter."""
    text = line(scan={"text": "https://id.acme.example/", "symbology": "]Q1"}).encode() + b"\n"
    assert payload(text) == Scan("https://id.acme.example/", "]Q1")
    assert payload(line(scan={"text": "plain"})) == Scan("plain")


def test_a_reader_that_fails_and_a_clock_that_is_set_are_read() -> None:
    """`up` says whether a reader's device can be read; `clock`, without a reader, by how much the clock was set."""
    assert recording.parse(line(up=False)) == Condition(1.5, "salon", up=False)
    assert recording.parse('{"at": 1.5, "clock": -90}') == ClockStep(1.5, -90)


@given(said=RECORDED | CONDITIONS | STEPS)
@settings(max_examples=200)
def test_what_is_formatted_is_parsed_back(said: Recorded | Condition | ClockStep) -> None:
    """A formatted line is one line, and parses to what it was made of."""
    text = recording.format(said)
    assert not set(text) & set("\r\n")
    assert recording.parse(text) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"at": -1, "scan": {"text": CARD}}, "at: "),
        ({"at": "1", "scan": {"text": CARD}}, "at: "),
        ({"at": float("inf"), "scan": {"text": CARD}}, "at: "),
        ({"at": 1e10, "scan": {"text": CARD}}, "at: "),
        ({"at": 10**400, "scan": {"text": CARD}}, ""),
        ({"reader": "", "scan": {"text": CARD}}, "reader: "),
        ({"scan": {"text": [CARD]}}, "scan.text: "),
        ({"scan": {"text": "x", "symbology": CARD}}, "scan.symbology: "),
        ({"scan": {"text": "x", CARD: 1}}, "scan.(key): "),
        ({CARD: 1, "scan": {"text": "x"}}, "(key): "),
        ({"nfc": {"uid": CARD + "z"}}, "nfc.uid: "),
        ({"nfc": {"uid": ""}}, "nfc.uid: "),
        ({"nfc": {"uid": "04", "ndef": CARD + "0"}}, "nfc.ndef: "),
        ({"ble": {**BLE, "address": CARD}}, "ble.address: "),
        ({"ble": {**BLE, "rssi": -500}}, "ble.rssi: "),
        ({"ble": {**BLE, "manufacturer": {CARD: "00"}}}, "ble.manufacturer.(key)"),
        ({"ble": {**BLE, "service": {"feaa": CARD + "zz"}}}, "ble.service.(key): "),
        ({}, "exactly one of ble, nfc, scan, up and clock"),
        ({"scan": {"text": CARD}, "nfc": {"uid": CARD}}, "exactly one of ble, nfc, scan, up and clock"),
        ({"scan": {"text": CARD}, "up": True}, "exactly one of ble, nfc, scan, up and clock"),
        ({"reader": None, "scan": {"text": CARD}}, "reader: "),
        ({"reader": CARD, "clock": 1}, "reader: "),
        ({"reader": None, "clock": 1e10}, "clock: "),
        ({"up": CARD}, "up: "),
    ],
)
def test_a_bad_line_is_told_by_place_without_its_content(changes: dict[str, Any], said: str) -> None:
    """The complaint begins with the key and says what is wrong there, and never what stands there."""
    told = complaint(line(**changes))
    assert told.startswith(said)
    assert CARD not in told


@pytest.mark.parametrize("text", ["", CARD, "[]", "null", '{"at": 1, "reader": "' + CARD, b"\xff\xfe", "[" * 5000])
def test_a_line_that_is_no_json_object_is_told_without_its_content(text: str | bytes) -> None:
    """Broken JSON, other JSON, no UTF-8 and deep nesting are complaints like any other."""
    assert CARD not in complaint(text)


@given(text=st.text(max_size=200) | st.binary(max_size=200))
@settings(max_examples=200)
def test_any_line_parses_or_raises_a_value_error(text: str | bytes) -> None:
    """Nothing but ValueError comes out of a hostile line."""
    try:
        assert isinstance(recording.parse(text), Recorded | Condition | ClockStep)
    except ValueError as error:
        assert type(error) is ValueError  # noqa: PT017 -- a valid line is allowed too
