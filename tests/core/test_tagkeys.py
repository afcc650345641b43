"""The keys of SUN tags: their derivation by published figures, and their file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import tagkeys
from gateway.core.decode.sun import TagKeys

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ntag424.json").read_text(encoding="utf-8"))
UID, KEY = "04de5f1eacc040", "000102030405060708090a0b0c0d0e0f"
FILE: dict[str, Any] = {"version": 1, "tenant": "acme", "site": "zrh-1", "meta_key": KEY, "tags": {UID: KEY}}
keys16 = st.binary(min_size=16, max_size=16)


@pytest.mark.parametrize("case", VECTORS["an10922_aes128"])
def test_published_diversification(case: dict[str, Any]) -> None:
    """NXP's example of a key diversified from a master."""
    parts = [bytes.fromhex(case[name]) for name in ("master", "uid", "system")]
    key = tagkeys.diversified(parts[0], case["number"], *parts[1:])
    assert key.hex().upper() == case["key"]


@pytest.mark.parametrize(("uid", "system"), [(bytes(4), bytes(8)), (bytes(7), bytes(7)), (bytes(7), bytes(24))])
def test_what_would_be_padded_otherwise_is_refused(uid: bytes, system: bytes) -> None:
    """AN10922 pads a short input to two blocks, which a CMAC does not; such inputs are not needed."""
    with pytest.raises(ValueError, match="a system id 8 to 23"):
        tagkeys.diversified(bytes(16), 1, uid, system)


@given(st.dictionaries(st.binary(min_size=7, max_size=7), keys16), st.none() | keys16)
def test_what_is_written_is_read(tags: dict[bytes, bytes], meta: bytes | None) -> None:
    """Whatever the keys."""
    keys = TagKeys(tags, meta)
    assert tagkeys.from_json(tagkeys.to_json(keys, "acme", "zrh-1")) == ("acme", "zrh-1", keys)


def test_the_keys_of_a_stock() -> None:
    """Each tag has a key of its own, which depends on the master, the key's number and the system."""
    uids = [bytes([4, *[number] * 6]) for number in range(3)]
    keys = tagkeys.derive(bytes(16), 1, b"acme-brand", uids, None)
    others = tagkeys.derive(bytes(16), 2, b"acme-brand", uids, None)
    assert list(keys.tags) == uids
    assert len({*keys.tags.values(), *others.tags.values()}) == 6


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"version": 2}, "version"),
        ({"version": True}, "version"),
        ({"tenant": None}, "tenant"),
        ({"site": 1}, "site"),
        ({"meta_key": 1}, "meta_key"),
        ({"meta_key": "secret"}, "meta_key"),
        ({"tags": []}, "tags"),
        ({"tags": {"secret": KEY}}, "tags"),
        ({"tags": {UID: "secret"}}, "tags"),
        ({"tags": {UID: 1}}, "tags"),
    ],
)
def test_a_file_that_is_wrong_names_the_field(change: dict[str, Any], word: str) -> None:
    """And shows nothing of its content."""
    with pytest.raises(ValueError, match=word) as error:
        tagkeys.from_json(json.dumps({**FILE, **change}))
    assert not any(text in str(error.value) for text in ("secret", UID, KEY))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_what_is_no_object_is_refused(text: str) -> None:
    """Also by depth."""
    with pytest.raises(ValueError, match=r"not JSON|version"):
        tagkeys.from_json(text)
