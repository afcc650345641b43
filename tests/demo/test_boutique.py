"""The boutique: its people and things, and what would identify them."""

from random import Random

import pytest

from gateway.bytesearch import Needles
from gateway.core import decode
from gateway.core.registry import Bearer, BearerRule, Known, build
from gateway.core.sighting import Identifier, Scan
from gateway.demo import boutique as place
from gateway.demo.boutique import Boutique, boutique
from gateway.store.registry_csv import parse

RULES = [BearerRule("link", place.TOKENS), BearerRule("ibeacon", f"{place.CUSTOMER_BEACONS}/")]


@pytest.fixture
def shop() -> Boutique:
    return boutique(Random(3))  # noqa: S311  # repeatable on purpose


def test_the_same_seed_makes_the_same_boutique(shop: Boutique) -> None:
    """Two boutiques of one seed are equal; another seed makes other people."""
    assert boutique(Random(3)) == shop  # noqa: S311  # repeatable on purpose
    assert boutique(Random(4)) != shop  # noqa: S311  # repeatable on purpose


def test_the_registry_knows_every_tag_of_the_store(shop: Boutique) -> None:
    """Each link that the store's own tags hold means a touchpoint."""
    registry = build(1, parse(place.REGISTRY), RULES)
    for link in place.TAGGED:
        found = registry.find(decode.tag(shop.tag(link)))
        assert found is not None
        assert isinstance(found[1], Known)


def test_the_customers_tokens_are_tokens(shop: Boutique) -> None:
    """By card, by code and by beacon, a customer is a bearer."""
    registry = build(1, parse(place.REGISTRY), RULES)
    kind, _, value = shop.clara.token.partition(":")
    presented = [decode.tag(shop.anna.tag), decode.scan(Scan(shop.ben.token, "]Q1")), [Identifier(kind, value)]]
    for candidates in presented:
        found = registry.find(candidates)
        assert found is not None
        assert isinstance(found[1], Bearer)


def test_foreign_and_hostile_codes_mean_nothing(shop: Boutique) -> None:
    """The registry knows neither of them."""
    registry = build(1, parse(place.REGISTRY), RULES)
    for text in (shop.foreign, shop.hostile):
        assert registry.find(decode.scan(Scan(text, "]Q1"))) is None


def test_those_who_agreed_are_asked_for_consent(shop: Boutique) -> None:
    """Anna, Ben and Clara agree; David and Erik do not."""
    assert shop.consenting() == [shop.anna.token, shop.ben.token, shop.clara.token]


def test_the_secrets_hold_everybody(shop: Boutique) -> None:
    """Tokens, cards, beacons, phones and foreign codes are among what is searched for, under labels that hide them."""
    raw = {value for _, value in shop.secrets()}
    assert {shop.anna.token.encode(), shop.anna.secret, shop.anna.card, shop.beacon, shop.erik.address} <= raw
    assert {address for passerby in shop.passersby for address in passerby.addresses} <= raw
    assert {shop.foreign.encode(), shop.hostile.encode(), *shop.tags.values()} <= raw
    needles = Needles(shop.secrets())
    assert not any(needles.find(label.encode()) for label, _ in shop.secrets())


def test_nothing_shows_a_secret_in_its_repr(shop: Boutique) -> None:
    """What is printed by accident gives nobody away."""
    assert Needles(shop.secrets()).find(repr(shop).encode()) == set()
