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
DERIVED = ["fac85461f1865c46ebad6079d6a5aec0", "5fee6425e0bc810684d7122942dae54d"]
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
    """Each tag has a key of its own, which depends on root and tenant; the common one is the same in every store."""
    uids = [bytes([4, *[number] * 6]) for number in range(3)]
    keys = [tagkeys.derive(root, tenant, uids) for root in (bytes(32), bytes(31)) for tenant in ("acme", "ajax")]
    assert all(list(each.tags) == uids for each in keys)
    assert len({key for each in keys for key in (each.meta, *each.tags.values())}) == 16
    assert tagkeys.derive(bytes(32), "acme", []).meta == keys[0].meta
    with pytest.raises(ValueError, match="a UID has 7 bytes"):
        tagkeys.derive(bytes(32), "acme", [bytes(4)])


def test_a_derivation_that_must_stay() -> None:
    """Tags in the field carry these keys: another derivation would be another product."""
    keys = tagkeys.derive(bytes(range(32)), "acme", [bytes.fromhex(UID)])
    assert keys.meta is not None
    assert [key.hex() for key in (keys.meta, *keys.tags.values())] == DERIVED


def test_a_list_of_uids() -> None:
    """One a line, as readers and suppliers write them; a line that is none is named by its number alone."""
    wanted = bytes.fromhex(UID)
    assert tagkeys.uids(f"{UID}\n\n04:DE:5F:1E:AC:C0:40\r\n04-de-5f-1e-ac-c0-40 \n") == [wanted] * 3
    with pytest.raises(ValueError, match=r"^line 2: a UID has 14 hexadecimal digits$"):
        tagkeys.uids(f"{UID}\nsecret")


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
