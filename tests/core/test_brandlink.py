"""The brand's own links: made, signed, and told from those that somebody else made."""

import hashlib
import hmac
from base64 import urlsafe_b64decode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.brandlink import BrandLink, LinkKeys, Links, Standing, bare, identifiers, read, sign, vouched
from gateway.core.decode import gs1, link
from gateway.core.registry import Touchpoint
from gateway.core.sighting import Identifier

DOMAIN = "id.acme.example"
SECRET = bytes(range(32))
KEYS = LinkKeys({"1": SECRET, "2": SECRET[::-1]}, "2")
VITRINE = Touchpoint("vitrine-1", "display", "Display case 1")
DIVER = Touchpoint("diver", "product", "Diver 200", gtin="09521234000419", serial="88/A")
FAREWELL = Touchpoint("farewell", "feedback", "How was your visit?")


def test_a_touchpoint_has_one_link() -> None:
    """A product by GS1's rules, which name it to every GS1 resolver too; anything else in short."""
    assert bare(VITRINE, DOMAIN) == "https://id.acme.example/t/vitrine-1"
    assert bare(FAREWELL, DOMAIN, "très bien") == "https://id.acme.example/t/farewell/tr%C3%A8s%20bien"
    product = bare(DIVER, DOMAIN)
    assert product == "https://id.acme.example/01/09521234000419/21/88%2FA?t=diver"
    assert gs1.from_link(product)[0] == Identifier("gs1", "/01/09521234000419/21/88%2FA")


def test_a_link_is_made_where_one_is_missing() -> None:
    """Not where the touchpoint is known by something else, nor for what nobody scans; an answer asks for its own."""
    assert identifiers(VITRINE, DOMAIN) == ("link:https://id.acme.example/t/vitrine-1",)
    known = replace(VITRINE, identifiers=("nfc-uid:04a1b2c3d4e5f6",))
    assert identifiers(known, DOMAIN) == known.identifiers
    assert identifiers(Touchpoint("door", "beacon", "Door"), DOMAIN) == ()
    asked = replace(FAREWELL, identifiers=("#good", "text:poor#poor"))
    assert identifiers(asked, DOMAIN) == ("link:https://id.acme.example/t/farewell/good#good", "text:poor#poor")


def test_a_signature_is_80_bits_of_an_hmac_from_the_domain_on() -> None:
    """As whoever has the key computes it, with nothing but this docstring."""
    signed = sign(bare(VITRINE, DOMAIN), KEYS)
    unsigned, _, signature = signed.rpartition("&s=")
    assert unsigned == "https://id.acme.example/t/vitrine-1?k=2"
    expected = hmac.new(SECRET[::-1], b"id.acme.example/t/vitrine-1", hashlib.sha256).digest()[:10]
    assert urlsafe_b64decode(signature + "==") == expected


@pytest.mark.parametrize("touchpoint", [VITRINE, DIVER])
def test_a_signed_link_is_known_by_what_it_says(touchpoint: Touchpoint) -> None:
    """Whichever of the keys has signed it; the registry knows it without its signature."""
    for active in KEYS.secrets:
        signed = sign(bare(touchpoint, DOMAIN), LinkKeys(KEYS.secrets, active))
        assert link.canonical(signed) == signed
        expected = BrandLink(bare(touchpoint, DOMAIN), Standing.SIGNED, active, touchpoint.id)
        assert read(signed, DOMAIN, KEYS) == expected


def test_an_answer_is_read_with_its_touchpoint() -> None:
    """As it stands in the link."""
    found = read(sign(bare(FAREWELL, DOMAIN, "good"), KEYS), DOMAIN, KEYS)
    assert found is not None
    assert (found.touchpoint, found.answer, found.standing) == ("farewell", "good", Standing.SIGNED)


def test_what_somebody_else_made_is_told_apart() -> None:
    """Another touchpoint under a copied signature, a key that nobody knows, no signature, no key to check it with."""
    signed = sign(bare(VITRINE, DOMAIN), KEYS)
    assert standing(signed.replace("vitrine-1", "vitrine-2")) is Standing.FORGED
    assert standing(signed.replace("k=2", "k=1")) is Standing.FORGED
    assert standing(signed.replace("k=2", "k=3")) is Standing.UNKNOWN_KEY
    assert standing(bare(VITRINE, DOMAIN)) is Standing.UNSIGNED
    without = read(signed, DOMAIN, None)
    assert without == BrandLink(bare(VITRINE, DOMAIN), Standing.UNSIGNED, "2", "vitrine-1")


def test_with_keys_a_link_counts_with_its_signature() -> None:
    """Or without one, where that is accepted for now, or where it is no form of ours; never with a wrong one."""
    signed, plain, other = sign(bare(VITRINE, DOMAIN), KEYS), bare(VITRINE, DOMAIN), f"https://{DOMAIN}/watches"
    forged = signed.replace("vitrine-1", "vitrine-2")
    counting = {
        unsigned: [counts(each, KEYS, unsigned=unsigned) for each in (signed, plain, other, forged)]
        for unsigned in (False, True)
    }
    assert counting == {False: [True, False, True, False], True: [True, True, True, False]}
    assert counts(plain, None, unsigned=False)
    assert counts(forged, None, unsigned=False)


LINKS = Links(DOMAIN, KEYS)


def as_known(*texts: str, links: Links = LINKS) -> list[str]:
    """Return what is left of links that a tag with a UID holds."""
    candidates = (*(Identifier("link", text) for text in texts), Identifier("nfc-uid", "04"))
    return [each.value for each in links.known_as(candidates)]


def test_what_was_read_is_known_without_its_signature() -> None:
    """What does not count identifies nothing; with a wrong signature nor does the tag that it stands on."""
    plain = bare(VITRINE, DOMAIN)
    assert as_known(sign(plain, KEYS)) == [plain, "04"]
    assert as_known(plain) == ["04"]
    assert as_known(plain, links=Links(DOMAIN, KEYS, unsigned=True)) == [plain, "04"]
    assert as_known(sign(plain, KEYS).replace("-1", "-2")) == []
    assert as_known("https://other.example/") == ["https://other.example/", "04"]
    assert as_known(plain, links=Links()) == [plain, "04"]


@pytest.mark.parametrize("gtin", ["4006381333931", "40170725", "036000291452"])
def test_a_short_gtin_makes_a_link_of_fourteen_digits(gtin: str) -> None:
    """Signed like any other; a resolver's short spelling names the same touchpoint, and counts unsigned no more."""
    watch = replace(DIVER, gtin=gtin)
    link, short = bare(watch, DOMAIN), bare(watch, DOMAIN).replace(gtin.zfill(14), gtin)
    assert f"/01/{gtin.zfill(14)}" in link
    assert standing(sign(link, KEYS)) is Standing.SIGNED
    assert as_known(link) == as_known(short) == ["04"]
    assert as_known(short, links=Links(DOMAIN)) == [short, link, "04"]


def counts(text: str, keys: LinkKeys | None, *, unsigned: bool) -> bool:
    found = read(text, DOMAIN, keys)
    assert found is not None
    return vouched(found, keys, unsigned=unsigned)


def standing(text: str) -> Standing:
    found = read(text, DOMAIN, KEYS)
    assert found is not None
    return found.standing


@pytest.mark.parametrize(
    "text",
    [
        "https://id.acme.example.evil/t/a",
        "https://evil.example/t/a?d=https://id.acme.example/",
        "http://id.acme.example/t/a",
    ],
)
def test_other_domains_are_not_ours(text: str) -> None:
    """However much they look like it; and no signed link is written without TLS."""
    assert read(text, DOMAIN, KEYS) is None


def test_a_link_of_another_form_names_no_touchpoint() -> None:
    """The brand's website, say; or a customer's card."""
    found = read("https://id.acme.example/m/4711", DOMAIN, KEYS)
    assert found == BrandLink("https://id.acme.example/m/4711", Standing.UNSIGNED)


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    """Whatever stands in it: it is no link of ours, or one that nobody has signed."""
    found = read(f"https://{DOMAIN}/{text}", DOMAIN, KEYS)
    assert found is None or found.standing is not Standing.SIGNED


def test_a_new_key_signs_and_the_old_ones_stay_valid() -> None:
    """What is printed stays printed for years."""
    first = LinkKeys.new(SECRET)
    second = LinkKeys.new(SECRET[::-1], LinkKeys({**first.secrets, "a": SECRET}, "1"))
    assert (first.active, second.active, sorted(second.secrets)) == ("1", "2", ["1", "2", "a"])
    old = read(sign(bare(VITRINE, DOMAIN), first), DOMAIN, second)
    assert old is not None
    assert old.standing is Standing.SIGNED


def test_keys_are_written_and_read_again() -> None:
    """As a file of JSON."""
    assert LinkKeys.from_json(KEYS.to_json()) == KEYS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"active": "1", "keys": []}',
        '{"active": "1", "keys": {"1": 5}}',
        '{"active": "1", "keys": {"1": "c2hvcnQ"}}',
        KEYS.to_json().replace('"active": "2"', '"active": "3"'),
        KEYS.to_json().replace('"1":', '"one key":'),
        KEYS.to_json().replace('"active": "2"', '"active": []'),
        "[" * 100_000,
    ],
)
def test_a_file_that_holds_no_keys_is_refused_without_showing_it(text: str) -> None:
    """It may be any secret, given by mistake."""
    with pytest.raises(ValueError, match=r"^it is no file of link keys$"):
        LinkKeys.from_json(text)


def test_keys_are_not_shown() -> None:
    """Neither in logs nor in tracebacks."""
    assert "secrets" not in repr(KEYS)
