"""Eddystone-EID: identifiers by published vectors and by the specification, and the file of the beacons' keys."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.eid import MOST, BeaconKey, from_json

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "advertisements.json").read_text(encoding="utf-8"))
NOON_MS = 1_795_262_400_000
ENTRY = {"name": "vitrine-3", "key": "0102030405060708090A111213141516", "exponent": 10, "counter": 65280}
ENTRY["at"] = "2026-11-21T12:00:00Z"


def file(*entries: object, version: object = 1) -> str:
    """Return the text of a file of keys."""
    return json.dumps({"version": version, "beacons": entries})


def aes(key: bytes, block: bytes) -> bytes:
    """Return AES-128 of a block."""
    return Cipher(AES(key), ECB()).encryptor().update(block)  # noqa: S305


@pytest.mark.parametrize("case", VECTORS["eid"]["cases"], ids=lambda case: f"at {case['time']} s")
def test_published_identifiers(case: dict[str, Any]) -> None:
    """The first 8 octets, for the whole of a slot."""
    beacon = BeaconKey("a", bytes.fromhex(case["identity_key"]), case["exponent"], 0)
    slot = beacon.counter(case["time"] * 1000) >> beacon.exponent
    assert [eid.hex() for eid in beacon.eids(range(slot, slot + 1))] == [case["eid"]]


@pytest.mark.parametrize(("exponent", "counter"), [(0, 5), (4, 65_535), (10, 0xFFFF_FFFF), (15, 0x1234_5678)])
def test_identifiers_by_the_specification(exponent: int, counter: int) -> None:
    """Temporary key and identifier, block by block as the tables of the specification have them."""
    identity = bytes(range(16))
    upper, cleared = counter >> 16, counter >> exponent << exponent
    temporary = aes(identity, bytes(11) + b"\xff" + bytes(2) + upper.to_bytes(2, "big"))
    expected = aes(temporary, bytes(11) + bytes([exponent]) + cleared.to_bytes(4, "big"))[:8]
    slot = counter >> exponent
    assert next(BeaconKey("a", identity, exponent, 0).eids(range(slot, slot + 1))) == expected


@given(exponent=st.integers(0, 15), first=st.integers(-(2**33), 2**33), number=st.integers(0, 300))
def test_many_at_a_time_are_the_same_as_one_by_one(exponent: int, first: int, number: int) -> None:
    """Across roll-overs of the temporary key and of the counter, for any slot."""
    beacon, slots = BeaconKey("a", bytes(range(16)), exponent, 0), range(first, first + number)
    found = list(beacon.eids(slots))
    assert len(found) == number
    for at in {0, number // 2, number - 1} if number else ():
        assert found[at : at + 1] == list(beacon.eids(slots[at : at + 1]))


def test_a_file_is_read() -> None:
    """What stood in the counter when, is when it stood at zero; a zone may be any."""
    east = {**ENTRY, "name": "b", "key": "ff" * 16, "at": "2026-11-21T13:00:00+01:00", "counter": 0}
    first, second = from_json(file(ENTRY, east))
    assert first == BeaconKey("vitrine-3", bytes.fromhex(str(ENTRY["key"])), 10, NOON_MS - 65_280_000)
    assert (second.zero_ms, second.counter(NOON_MS + 2500)) == (NOON_MS, 2)


def test_no_key_shows() -> None:
    """Not in the repr, nor in the text of an error."""
    assert "0102" not in repr(from_json(file(ENTRY)))
    with pytest.raises(ValueError, match=r"beacon 1: exponent must be a number from 0 to 15$"):
        from_json(file({**ENTRY, "exponent": "0102"}))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it needs version 1 and a list of beacons"),
        (file(version=2), "it needs version 1"),
        ('{"version": 1, "beacons": {}}', "a list of beacons"),
        (json.dumps({"version": 1, "beacons": [ENTRY] * (MOST + 1)}), "more than 1000"),
        (file("x"), "beacon 1: is no object"),
        (file(ENTRY, {**ENTRY, "name": "b"}), "the same key"),
        (file(ENTRY, {**ENTRY, "key": "00" * 16}), "the same name"),
        (file({**ENTRY, "name": "a b"}), "beacon 1: name must be"),
        (file({**ENTRY, "key": "0102"}), "beacon 1: key must be 32 hexadecimal digits"),
        (file({**ENTRY, "key": 7}), "beacon 1: key must be"),
        (file({**ENTRY, "exponent": 16}), "from 0 to 15"),
        (file({**ENTRY, "exponent": True}), "from 0 to 15"),
        (file({**ENTRY, "counter": -1}), "from 0 to 4294967295"),
        (file({**ENTRY, "at": "2026-11-21T12:00:00"}), "at must be a time like"),
        (file({**ENTRY, "at": "noon"}), "at must be a time like"),
        (file({**ENTRY, "at": None}), "at must be a time like"),
        (file({key: value for key, value in ENTRY.items() if key != "at"}), "at must be a time like"),
    ],
)
def test_what_is_wrong_in_a_file(text: str, wrong: str) -> None:
    """Which beacon and which field, and what would be right."""
    with pytest.raises(ValueError, match=wrong):
        from_json(text)
