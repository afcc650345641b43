"""The search for raw identifiers: proven before it is believed, and not blind in any place it looks at."""

from pathlib import Path

import pytest

from gateway.demo import evidence as module
from gateway.demo.evidence import PLANTED, Evidence
from gateway.demo.line import Line

SECRETS = [("Anna's token", b"Zm9vYmFyLWJhei1xdXV4-_"), ("a phone's address", bytes.fromhex("4c1122334455"))]


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    (tmp_path / "state").mkdir()
    return Evidence(tmp_path, Line(1), SECRETS)


def test_the_search_is_proven(evidence: Evidence, tmp_path: Path) -> None:
    """It finds everything that is planted in each directory, and what was planted is gone afterwards."""
    evidence.prove([tmp_path, tmp_path / "state"])
    assert evidence.proven
    assert not list(tmp_path.rglob(PLANTED))
    evidence.search_all()
    assert not evidence.found


def test_a_search_that_is_blind_is_not_proven(
    evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If files are not searched, the proof fails."""
    monkeypatch.setattr(module, "search_files", lambda _directory, _needles: [])
    evidence.prove([tmp_path])
    assert not evidence.proven


def test_finds_an_identifier_in_a_file(evidence: Evidence, tmp_path: Path) -> None:
    """It says whose it is, in which file and in what spelling, without saying what it is."""
    (tmp_path / "state" / "capture.db-wal").write_bytes(b"\0" + SECRETS[1][1].hex(":").upper().encode())
    evidence.search_files()
    assert evidence.found == {"a phone's address in state/capture.db-wal, as upper colon hex"}


def test_finds_an_identifier_on_the_line(evidence: Evidence) -> None:
    """Both ways are searched."""
    evidence.line.up += b".." + SECRETS[0][1] + b".."
    evidence.line.down += SECRETS[1][1]
    evidence.search_line()
    assert evidence.found == {"Anna's token on the line to the broker", "a phone's address on the line from the broker"}


def test_what_was_found_once_stays_found(evidence: Evidence, tmp_path: Path) -> None:
    """A file that is gone at the end is still a finding."""
    file = tmp_path / "capture.db-wal"
    file.write_bytes(SECRETS[0][1])
    evidence.search_files()
    file.unlink()
    evidence.search_all()
    assert len(evidence.found) == 1
