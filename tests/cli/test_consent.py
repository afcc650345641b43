"""`touchpoint consent` and `touchpoint erase`: at the counter, as staff and scripts see them."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import handout
from gateway.cli.app import app
from gateway.core.pseudonym import derive
from tests.iso27560.validate import faults
from tests.test_desk import CONFIGURATION, TOKEN

OTHER = "https://id.acme.example/m/yC0mBqK7w1m0cVd3o9lS2Q"
IRI = "w3id.org"


@pytest.fixture
def store(directory: Path) -> Path:
    """A store with keys, in which nobody has said anything yet."""
    (directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    ring = derive(bytes(32), "acme", "zrh-1", [("2026Q4", 0, None)])
    (directory / "keys.json").write_text(ring.to_json(), encoding="utf-8")
    return directory


def run(store: Path, *words: str, tokens: str = TOKEN) -> Result:
    options = ["--config", str(store / "gateway.toml"), "--token-from-stdin"]
    return CliRunner().invoke(app, [*words, *options], input=f"{tokens}\n")


def test_a_customer_comes_agrees_asks_and_leaves(store: Path) -> None:
    """The whole life of a consent, in words that staff understand; no IRI and no token on the screen."""
    granted = run(store, "consent", "grant", "--notice", "2026-03", "--language", "fr-CH")
    assert granted.exit_code == 0
    assert re.match(r"Consent recorded for personalisation, notice 2026-03, until 20\d\d-", granted.stdout)
    assert "Pour retirer\N{NO-BREAK SPACE}: Présentez la même carte" in granted.stdout
    assert "\nSignature: " in granted.stdout
    shown = run(store, "consent", "show")
    assert shown.stdout.startswith("given here: personalisation, notice 2026-03, until 20")
    assert run(store, "consent", "grant").stdout.startswith("Consent renewed for personalisation, notice 1")
    told = run(store, "consent", "access")
    assert "RenewedConsentGiven" in told.stdout
    assert told.stdout.count("consent-granted") == 2
    assert "tp1.2026Q4." in told.stdout
    assert run(store, "consent", "withdraw").stdout == "Consent withdrawn. From now on no event names this customer.\n"
    assert run(store, "consent", "withdraw").stdout.startswith("No consent is recorded")
    assert run(store, "consent", "show").stdout == "withdrawn here: personalisation, notice 1\n"
    erased = run(store, "erase")
    assert erased.exit_code == 0
    assert "Kept: a tombstone without purposes, until 20" in erased.stdout
    assert "identifiers in every spelling: nothing was found." in erased.stdout
    for each in (granted, shown, told, erased):
        assert TOKEN not in each.output
        assert IRI not in each.output


def test_scripts_get_json(store: Path) -> None:
    """Each command; the export validates against a schema that was written apart."""
    granted = json.loads(run(store, "consent", "grant", "--json").stdout)
    assert (granted["state"], granted["purposes"], granted["tokens"]) == ("given", ["personalisation"], 1)
    assert [each["state"] for each in json.loads(run(store, "consent", "show", "--json").stdout)] == ["given"]
    (record,) = json.loads(run(store, "consent", "export").stdout)
    assert faults(record) == []
    assert len(json.loads(run(store, "consent", "access", "--json").stdout)["events"]) == 1
    assert json.loads(run(store, "consent", "withdraw", "--json").stdout)["withdrawn"] == 1
    assert json.loads(run(store, "erase", "--json").stdout)["proof"]["holds"]


def test_several_tokens_are_read(store: Path) -> None:
    """As many as were announced, or none at all."""
    granted = run(store, "consent", "grant", "--tokens", "2", tokens=f"{TOKEN}\n{OTHER}")
    assert "2 tokens." in granted.stdout
    assert run(store, "consent", "withdraw", tokens=OTHER).stdout.startswith("Consent withdrawn.")
    few = run(store, "consent", "grant", "--tokens", "3", tokens=f"{TOKEN}\n{OTHER}")
    assert (few.exit_code, few.stderr) == (2, "fewer than 3 tokens on standard input\n")
    none = run(store, "consent", "show", tokens="")
    assert (none.exit_code, none.stderr) == (2, "no token on standard input\n")


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (
            ["--purpose", "marketing"],
            1,
            "that is no purpose of this gateway; its configuration ([consent] purposes) has",
        ),
        (["--language", "no language"], 1, "--language takes a language tag like de or fr-CH"),
        (["--notice", ""], 1, "--notice takes 1 to 128 characters"),
        (["--days", "0"], 2, "--days takes a whole number from 1 to 3653"),
        (["--days", "4000"], 2, "--days takes a whole number from 1 to 3653"),
        (["--tokens", "33"], 2, "--tokens takes a whole number from 1 to 32"),
        (["--receipt", "r.pdf"], 2, "the name must end in .txt or .svg"),
        (["--receipt", "/nowhere/r.svg"], 2, "/nowhere is no directory"),
    ],
)
def test_what_cannot_be_is_said_clearly(store: Path, options: list[str], status: int, message: str) -> None:
    """By exit status and one sentence; nothing is recorded."""
    refused = run(store, "consent", "grant", *options)
    assert refused.exit_code == status
    assert message in " ".join(refused.stderr.split())
    assert "pydantic" not in refused.output
    assert run(store, "consent", "show").stdout == "No consent is recorded for this customer.\n"


def test_a_receipt_is_written_to_a_file(store: Path) -> None:
    """As text with the code in it, or as a picture; never over another file."""
    text, picture = store / "receipt.txt", store / "receipt.svg"
    assert run(store, "consent", "grant", "--receipt", str(text)).exit_code == 0
    assert text.read_text(encoding="utf-8").startswith("Consent given on ")
    assert "▀" in text.read_text(encoding="utf-8")
    assert run(store, "consent", "withdraw", "--receipt", str(picture)).exit_code == 0
    drawn = "".join(ET.fromstring(picture.read_text(encoding="utf-8")).itertext())  # noqa: S314  # our own
    assert "Consent withdrawn on " in drawn
    again = run(store, "consent", "grant", "--receipt", str(text))
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)


def test_a_consent_stands_though_its_receipt_cannot_be_written(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit status and a message tell it."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(handout, "write", full)
    granted = run(store, "consent", "grant", "--receipt", str(store / "r.svg"))
    assert granted.exit_code == 1
    assert "It is recorded, but the receipt could not be written" in granted.stderr
    assert run(store, "consent", "show").stdout.startswith("given here")


def test_an_erasure_that_cannot_be_proven_fails(store: Path) -> None:
    """What was found, where, in what spelling; never the token."""
    (store / "note").write_text(TOKEN, encoding="utf-8")
    erased = run(store, "erase")
    assert erased.exit_code == 1
    assert f"! {(store / 'note').resolve()}: token, raw" in erased.stdout
    assert TOKEN not in erased.output


def test_without_a_reader_that_works_the_message_says_so(store: Path) -> None:
    """A token is presented, not typed: without a running gateway no reader listens."""
    asked = CliRunner().invoke(app, ["consent", "grant", "--config", str(store / "gateway.toml")])
    assert (asked.exit_code, asked.stderr) == (1, "reader scanner is not working: the daemon is not running\n")


def test_a_code_is_drawn_as_it_is() -> None:
    """Two modules a character: light ones on a lit screen, dark ones on paper; an odd row stands alone."""
    code = [[True, False, True], [False, False, True], [True, True, False]]
    assert handout.blocks(code, lit=False) == "▀ █\n▀▀ "
    assert handout.blocks(code, lit=True) == "▄█ \n  ▀"


def test_a_code_needs_its_columns() -> None:
    """A narrower window shows the text and says how wide it must be."""
    assert "▀" in handout.sheet("text\n", lit=True, columns=200)
    assert handout.sheet("text\n", lit=True, columns=10) == (
        "text\n(The QR code needs 25 columns; --receipt FILE.svg draws it.)\n"
    )
