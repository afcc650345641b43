"""What the documents of security and compliance claim: what they name as proof is there."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from gateway.cli.app import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "SECURITY.md", *sorted((ROOT / "config" / "compliance").glob("*.md"))]
SIGNS = sorted((ROOT / "config" / "compliance").glob("door-sign.*.md"))
PATH = re.compile(r"`((?:gateway|tests|config|systemd|firmware-notes)/[\w./*-]+|[\w-]+\.(?:md|lock|toml))`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_as_proof_exists(document: Path) -> None:
    """Also those that a pattern stands for."""
    named = PATH.findall(document.read_text(encoding="utf-8"))
    assert not [path for path in named if not list(ROOT.glob(path.rstrip("/")))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_named_exists(document: Path) -> None:
    """`touchpoint ...` by its words, `make ...` by its targets."""
    text = document.read_text(encoding="utf-8")
    for words in re.findall(r"`touchpoint ([a-z -]+?)`", text):
        command = get_command(app)
        for word in words.split():
            command = getattr(command, "commands", {})[word]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([\w-]+)", text)) <= targets


def test_every_point_has_its_line() -> None:
    """Provisions 5.1 to 5.13 and 6 of the standard; (a) to (m) and both parts of the annex."""
    text = (ROOT / "config" / "compliance" / "checklist.md").read_text(encoding="utf-8")
    for section in range(1, 14):
        assert f"| 5.{section}-1" in text
    named = " ".join(re.findall(r"^\| (I{1,2} [^|]*)\|", text, re.MULTILINE))
    assert all(f"({letter})" in named for letter in "abcdefghijklm")
    assert all(f"({number})" in named for number in range(1, 9))


def test_the_door_signs_say_the_same_in_every_language() -> None:
    """Six paragraphs, and the same places to fill in."""
    parts = {sign.name: sign.read_text(encoding="utf-8").split("\n\n") for sign in SIGNS}
    assert {len(paragraphs) for paragraphs in parts.values()} == {7}
    assert {"".join(paragraphs).count("⟨") for paragraphs in parts.values()} == {5}
    assert len(SIGNS) == 3
