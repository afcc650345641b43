"""`touchpoint doctor`: what is wrong, on one screen."""

import json
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
[mqtt]
host = "127.0.0.1"
port = 9
"""


@pytest.fixture
def home(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gateway that was never started."""
    (directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    monkeypatch.setenv("TOUCHPOINT_CONFIG", str(directory / "gateway.toml"))
    return directory


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_what_is_wrong_comes_first_with_its_fix(home: Path) -> None:
    """No state directory, no broker, nothing runs: exit status 1, each with a fix, without colour for a pipe."""
    result = run()
    assert result.exit_code == 1, result.output
    assert result.stdout.startswith("wrong")
    assert f"install -d -m 2770 -o root {home}/state" in result.stdout or "-> install -d" in result.stdout
    assert "systemctl start touchpoint-capture" in result.stdout
    assert "need a person." in result.stdout.splitlines()[-1]
    assert "\x1b" not in result.stdout
    assert not (home / "state").exists(), "looking changes nothing"


def test_for_scripts_there_is_json(home: Path) -> None:
    """Each finding with check, verdict, what, means and fix; `ok` says whether anybody is needed."""
    del home
    result = run("--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert answer["ok"] is False
    assert {frozenset(each) for each in answer["findings"]} == {frozenset({"check", "verdict", "what", "means", "fix"})}
    assert {"wrong", "fine"} <= {each["verdict"] for each in answer["findings"]}


def test_a_wrong_configuration_is_a_finding(home: Path) -> None:
    """What stands wrong in the file is said among the rest, and the machine is looked at all the same."""
    (home / "gateway.toml").write_text("[gateway]\ntenant = 3\n", encoding="utf-8")
    answer = json.loads(run("--json").stdout)
    assert "configuration" in [each["check"] for each in answer["findings"] if each["verdict"] == "wrong"]
    assert "clock" in {each["check"] for each in answer["findings"]}
