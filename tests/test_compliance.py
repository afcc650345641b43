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


PROVISIONS = """
5.0-1 5.1-1 5.1-2 5.1-2A 5.1-3 5.1-4 5.1-5 5.2-1 5.2-2 5.2-3 5.3-1 5.3-2 5.3-3 5.3-4A 5.3-4B 5.3-5 5.3-6A 5.3-6B
5.3-7 5.3-8 5.3-9 5.3-10 5.3-11 5.3-12 5.3-13 5.3-14 5.3-15A 5.3-15B 5.3-16 5.4-1 5.4-2 5.4-3 5.4-4 5.5-1 5.5-2
5.5-3 5.5-4 5.5-5 5.5-6 5.5-7 5.5-8 5.6-1 5.6-2 5.6-3 5.6-4A 5.6-4B 5.6-5 5.6-6 5.6-7 5.6-8 5.6-9 5.7-1 5.7-2
5.8-1 5.8-2 5.8-3 5.9-1 5.9-2 5.9-3 5.10-1 5.11-1 5.11-2 5.11-3 5.11-4 5.12-1 5.12-2 5.12-3 5.13-1A 5.13-1B 6-1
6-2 6-3A 6-3B 6-4 6-5 6-6 6-7 6-8
"""
"""ETSI EN 303 645 V3.1.3, Table B.1."""


def test_every_point_has_its_line() -> None:
    """Each provision of the standard once, with a verdict; (a) to (m) and both parts of the annex."""
    text = (ROOT / "config" / "compliance" / "checklist.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([56][.-][^|]*) \|([^|]*)\|[^|]*\| ([^|]+) \|", text, re.MULTILINE)
    assert sorted(name for names, _, _ in rows for name in names.split(", ")) == sorted(PROVISIONS.split())
    for names, status, _ in rows:
        assert set(status.replace(",", " ").split()) <= {"M", "R", "if"}, names
    named = " ".join(re.findall(r"^\| (I{1,2} [^|]*)\|", text, re.MULTILINE))
    assert all(f"({letter})" in named for letter in "abcdefghijklm")
    assert all(f"({number})" in named for number in range(1, 9))


def test_the_door_signs_say_the_same_in_every_language() -> None:
    """Six paragraphs, and the same places to fill in."""
    parts = {sign.name: sign.read_text(encoding="utf-8").split("\n\n") for sign in SIGNS}
    assert {len(paragraphs) for paragraphs in parts.values()} == {7}
    assert {"".join(paragraphs).count("⟨") for paragraphs in parts.values()} == {5}
    assert len(SIGNS) == 3
