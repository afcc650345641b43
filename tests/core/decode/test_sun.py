"""SUN messages: published figures, links that tags write, and whatever else comes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decode import link, sun
from gateway.core.decode.sun import Covers, Mirrors, TagKeys, Unproven, Verified, find, verify
from tests.simulators import sun_links
from tests.simulators.sun_links import FILE_KEY, META_KEY, PAGE, UID

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "ntag424.json").read_text(encoding="utf-8"))
KEYS = TagKeys({UID: FILE_KEY}, META_KEY)
WHOLE = Mirrors(covers=Covers.LINK)
uids = st.binary(min_size=7, max_size=7)
keys16 = st.binary(min_size=16, max_size=16)
counters = st.integers(0, 0xFFFFFF)


def judged(text: str, keys: TagKeys = KEYS, mirrors: Mirrors = sun.MIRRORS) -> Verified | Unproven | None:
    """Return what a text proves; None if it is no SUN message."""
    message = find(text, mirrors)
    return None if message is None else verify(message, keys)


@pytest.mark.parametrize("case", VECTORS["sun"], ids=lambda case: case["name"])
def test_published_messages(case: dict[str, Any]) -> None:
    """Messages that NXP and others have published are verified; one with a bit of its MAC flipped is forged."""
    text, mirrors = f"https://x.example/?{case['query']}", Mirrors(covers=Covers(case["covers"]))
    keys = TagKeys({bytes.fromhex(case["uid"]): bytes(16)}, bytes(16))
    proven = judged(text, keys, mirrors)
    assert isinstance(proven, Verified)
    assert (proven.uid.hex(), proven.counter) == (case["uid"], case["counter"])
    flipped = text[:-1] + format(int(text[-1], 16) ^ 1, "X")
    assert judged(flipped, keys, mirrors) is Unproven.FORGED


@given(uids, keys16, keys16, counters, st.sampled_from(["", "?a=1", "?a=1&b"]))
def test_what_a_tag_signs_is_verified(uid: bytes, key: bytes, meta: bytes, counter: int, query: str) -> None:
    """Under the right keys any message proves UID and counter; the link without it is the same at every reading."""
    text = sun_links.encrypted(counter, PAGE + query, uid=uid, key=key, meta=meta)
    message = find(text)
    assert message is not None
    assert message.bare == PAGE + query
    assert verify(message, TagKeys({uid: key}, meta)) == Verified(uid, counter, key)
    assert judged(sun_links.plain(counter, uid=uid, key=key), TagKeys({uid: key})) == Verified(uid, counter, key)


@given(st.integers(0, 47), st.integers(1, 15), st.sampled_from([sun_links.encrypted(7), sun_links.plain(7)]))
def test_a_changed_digit_proves_nothing(at: int, change: int, text: str) -> None:
    """Whatever digit of PICC data, UID, counter or MAC is changed, the message is not verified."""
    places = [place for place, each in enumerate(text) if each in "0123456789ABCDEF" and place > len(PAGE) + 1]
    place = places[at % len(places)]
    changed = text[:place] + format(int(text[place], 16) ^ change, "X") + text[place + 1 :]
    assert judged(changed) != Verified(UID, 7, FILE_KEY)


def test_a_link_that_is_signed_as_a_whole_cannot_be_changed() -> None:
    """With the MAC over the link, another path is forged; what stands behind the MAC is not proven."""
    text = sun_links.whole(5)
    message = find(text, WHOLE)
    assert message is not None
    assert message.whole
    assert judged(text, KEYS, WHOLE) == Verified(UID, 5, FILE_KEY)
    assert judged(text.replace("watch", "other"), KEYS, WHOLE) is Unproven.FORGED
    longer = find(f"{text}&t=other", WHOLE)
    assert longer is not None
    assert not longer.whole


def test_only_what_is_covered_is_proven() -> None:
    """With the MAC over nothing but UID and counter, any link can stand around the message: it is not whole."""
    message = find(sun_links.encrypted(5, "https://evil.example/"))
    assert message is not None
    assert isinstance(verify(message, KEYS), Verified)
    assert not message.whole


@pytest.mark.parametrize(
    "query",
    [
        f"picc_data={'0' * 32}&cmac=",
        f"picc_data={'0' * 31}&cmac={'0' * 16}",
        f"picc_data={'0' * 32}&cmac={'0' * 16}",
        f"picc_data={'g' * 32}&cmac={'0' * 16}",
        f"uid={'0' * 14}&ctr=00000&cmac={'0' * 16}",
        f"uid=&ctr=000001&cmac={'0' * 16}",
        f"uid={UID.hex()}&ctr=000001&cmac={'0' * 14}",
        f"uid={UID.hex()}&uid={UID.hex()}&ctr=000001&cmac={'0' * 16}",
    ],
)
def test_a_malformed_message_is_forged(query: str) -> None:
    """Too short, no hexadecimal, doubled: no tag writes that; and the link without it is known all the same."""
    message = find(f"{PAGE}?{query}&a=1")
    assert message is not None
    assert message.bare == f"{PAGE}?a=1"
    assert verify(message, KEYS) is Unproven.FORGED


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (sun_links.encrypted(5), TagKeys()),
        (sun_links.encrypted(5), TagKeys({UID: FILE_KEY})),
        (sun_links.encrypted(5), TagKeys({b"another": FILE_KEY}, META_KEY)),
        (sun_links.plain(5), TagKeys({b"another": FILE_KEY}, META_KEY)),
    ],
)
def test_without_its_key_a_message_is_neither_genuine_nor_forged(text: str, keys: TagKeys) -> None:
    """No key file, no common key, a tag of another store's stock."""
    assert judged(text, keys) is Unproven.NO_KEY


@pytest.mark.parametrize(
    "text",
    [
        PAGE,
        f"{PAGE}?cmac={'0' * 16}",
        f"{PAGE}?picc_data={'0' * 32}",
        f"{PAGE}?uid=7&ctr=1",
        f"{PAGE}?uid=7&cmac=1",
        f"{PAGE}?xpicc_data=1&xcmac=2",
        f"{PAGE}#?picc_data=1&cmac=2",
        f"{PAGE}?picc_data={'0' * 3000}&cmac=1",
    ],
)
def test_other_links_are_no_messages(text: str) -> None:
    """A link that lacks a part, or only looks like one, is a link like any other."""
    assert find(text) is None


def test_parameters_may_have_other_names() -> None:
    """As they are configured."""
    mirrors = Mirrors(picc="p", mac="m")
    text = sun_links.encrypted(5).replace("picc_data", "p").replace("cmac", "m")
    assert find(text) is None
    assert judged(text, KEYS, mirrors) == Verified(UID, 5, FILE_KEY)


@given(st.text(max_size=200) | st.text(st.sampled_from("?&=#:/picc_dataenuidtrm0123456789ABCDEFé\ud800"), max_size=200))
def test_any_text_is_calm(text: str) -> None:
    """Whatever is read, it ends as a verdict or as no message, and shows nothing of itself."""
    for covers in Covers:
        query = text.replace("#", "")
        message = find(f"https://x.example/?{query}&cmac={'0' * 16}&picc_data={'0' * 32}", Mirrors(covers=covers))
        assert message is not None
        assert message.bare is None or link.canonical(message.bare) == message.bare
        assert verify(message, KEYS) is Unproven.FORGED
        find(text, Mirrors(covers=covers))


def test_nothing_of_a_message_shows() -> None:
    """Neither UID nor keys nor MAC is in a repr."""
    message = find(sun_links.plain(5))
    assert message is not None
    shown = f"{message!r} {verify(message, KEYS)!r} {KEYS!r}".lower()
    assert not any(octets.hex() in shown or repr(octets)[2:-1] in shown for octets in (UID, FILE_KEY, META_KEY))
