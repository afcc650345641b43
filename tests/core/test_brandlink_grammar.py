"""The links of products, judged by GS1's own grammar in an independent implementation: EVRYTHNG's digital-link.js."""

import random
import subprocess
from pathlib import Path

import pytest

from gateway.core.brandlink import LinkKeys, bare, sign
from gateway.core.decode.gs1 import check_digit
from gateway.core.registry import Touchpoint

GRAMMAR = Path(__file__).parents[1] / "gs1"
CSET_82 = "!%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""GS1 General Specifications, figure 7.11-1, without the quotation mark, which this grammar wants bare."""
KEYS = LinkKeys({"1": bytes(32)}, "1")
DICE = random.Random(9506000134352)  # noqa: S311  # for links that are the same each time, not for secrets


def judged(links: list[str]) -> list[str]:
    """Return what the grammar says of each link."""
    if not (GRAMMAR / "node_modules").is_dir():
        pytest.fail("GS1's grammar is not installed: run `npm ci --ignore-scripts` in tests/gs1")
    ran = subprocess.run(
        ["node", "grammar.mjs"], cwd=GRAMMAR, input="\n".join(links), capture_output=True, text=True, check=True
    )
    return ran.stdout.split()


def product() -> Touchpoint:
    """Return a product with a random GTIN, and maybe a serial number."""
    digits = "".join(DICE.choices("0123456789", k=13))
    serial = "".join(DICE.choices(CSET_82, k=DICE.randint(1, 20))) if DICE.random() < 0.8 else None
    name = "".join(DICE.choices("abcdefghijklmnopqrstuvwxyz0123456789-_", k=DICE.randint(1, 64)))
    return Touchpoint(name, "product", "Watch", gtin=digits + check_digit(digits), serial=serial)


def test_every_link_of_a_product_is_a_gs1_digital_link() -> None:
    """With and without a serial number, signed and unsigned, whatever the serial number is made of."""
    links = [bare(product(), "id.acme.example") for _ in range(150)]
    assert set(judged([*links, *(sign(link, KEYS) for link in links)])) == {"valid"}


def test_the_grammar_tells_what_is_none() -> None:
    """A wrong check digit, a serial number that is too long, a character that does not belong there."""
    right = "https://id.acme.example/01/09506000134352/21/A1?t=diver"
    wrong = [right.replace("352/", "353/"), right.replace("A1", "A" * 21), right.replace("A1", "A%23")]
    assert judged([right, *wrong]) == ["valid", "invalid", "invalid", "invalid"]
