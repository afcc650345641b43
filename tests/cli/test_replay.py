"""`touchpoint replay`, where it goes wrong."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.app import app

CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"
runtime = "/run/t"
[mqtt]
host = "broker"
[pseudonym]
keys = "./keys.json"
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, and a place for temporary files that a test can look into."""
    (tmp_path / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path


def replay(directory: Path, recording: Path) -> Result:
    return CliRunner().invoke(app, ["replay", str(recording), "--fast", "--config", str(directory / "gateway.toml")])


def test_a_replay_that_fails_leaves_nothing(directory: Path) -> None:
    """The directory that was made for it goes with it; one that works stays and is named."""
    recording = directory / "day.jsonl"
    recording.write_text("nonsense\n", encoding="utf-8")
    (directory / "keys.json").write_text("no ring", encoding="utf-8")
    assert replay(directory, recording).exit_code == 78
    assert list((directory / "temporary").iterdir()) == []
    (directory / "keys.json").unlink()
    played = replay(directory, recording)
    (made,) = (directory / "temporary").iterdir()
    assert f"0 events in {made}" in played.stdout


@pytest.mark.parametrize(("recording", "said"), [(".", "is no file"), ("none", "no such file")])
def test_what_is_no_recording(directory: Path, recording: str, said: str) -> None:
    """A directory is told from what is not there."""
    path = directory / recording
    played = replay(directory, path)
    assert (played.exit_code, played.stderr) == (2, f"{path}: {said}\n")
