"""The brand's own links: made, signed, and told from those that somebody else made."""

import hashlib
import hmac
from base64 import urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.brandlink import BrandLink, LinkKeys, Standing, bare, read, sign
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


def test_keys_are_not_shown() -> None:
    """Neither in logs nor in tracebacks."""
    assert "secrets" not in repr(KEYS)
