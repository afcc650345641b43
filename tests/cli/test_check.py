"""`touchpoint check`."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from gateway.cli.check import check
from gateway.config import Settings
from gateway.core.pseudonym import derive

TOP = '[gateway]\ntenant = "acme"\nsite = "zrh-1"\nid = "gw-1"\nstate = "."\nruntime = "/run/t"\n'
MQTT = '[mqtt]\nhost = "broker"\nca = "/ca.pem"\n'
KEYS = '[pseudonym]\nkeys = "./keys.json"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


def run(file: Path, text: str, *options: str) -> Result:
    """Run the command on this configuration."""
    app = typer.Typer()
    app.command()(check)
    file.write_text(text, encoding="utf-8")
    return CliRunner().invoke(app, ["--config", str(file), *options])


def ring(file: Path, site: str = "zrh-1") -> None:
    text = derive(bytes(32), "acme", site, [("2026Q4", 0, 1)]).to_json()
    file.with_name("keys.json").write_text(text, encoding="utf-8")


def test_all_well(file: Path) -> None:
    """A configuration with its key ring: nothing but ok."""
    ring(file)
    result = run(file, TOP + MQTT + KEYS)
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok", "ok"]
    assert "gateway acme/zrh-1/gw-1, 0 readers, broker broker:8883" in result.stdout
    assert "key ring with 2026Q4" in result.stdout
    assert result.stderr == ""


def test_warnings_do_not_stop(file: Path) -> None:
    """Without a key ring and without encryption the gateway starts; both are said."""
    result = run(file, TOP + MQTT.replace('ca = "/ca.pem"\n', "") + KEYS)
    assert result.exit_code == 0
    assert "warning  mqtt: without ca" in result.stdout
    assert "warning  pseudonym: no key ring" in result.stdout


def test_problems(file: Path) -> None:
    """Every problem is on standard error, and the exit status tells systemd not to try again."""
    result = run(file, TOP + MQTT + "prot = 1\nbatch = 0\n")
    assert result.exit_code == 78
    assert f"{file}:10: mqtt.prot: unknown key; did you mean mqtt.port?" in result.stderr
    assert f"{file}:11: mqtt.batch: " in result.stderr
    assert result.stdout == ""


def test_problems_as_json(file: Path) -> None:
    """For scripts: the same, by part."""
    result = run(file, TOP + MQTT + "prot = 1\n", "--json")
    assert result.exit_code == 78
    answer = json.loads(result.stdout)
    assert (answer["ok"], answer["file"], answer["warnings"]) == (False, str(file), [])
    hint = "did you mean mqtt.port?"
    assert answer["problems"] == [
        {"file": str(file), "line": 10, "key": "mqtt.prot", "wrong": "unknown key", "hint": hint}
    ]


def test_ring_of_another_site(file: Path) -> None:
    """Pseudonyms of another site would mix two stores."""
    ring(file, site="gva-2")
    result = run(file, TOP + MQTT + KEYS)
    assert result.exit_code == 78
    assert "this ring is for acme/gva-2, the gateway stands at acme/zrh-1" in result.stderr


def test_broken_ring_is_not_echoed(file: Path) -> None:
    """A key file that is none: named, not shown."""
    file.with_name("keys.json").write_text('{"consent_key": "c2VjcmV0"}', encoding="utf-8")
    result = run(file, TOP + MQTT + KEYS)
    assert result.exit_code == 78
    assert "pseudonym.keys" in result.stderr
    assert "c2VjcmV0" not in result.stderr


def test_password_file(file: Path) -> None:
    """A missing password file is a problem."""
    result = run(file, TOP + MQTT + 'username = "u"\npassword_file = "./password"\n')
    assert result.exit_code == 78
    assert "mqtt.password_file" in result.stderr


def test_what_the_system_refuses(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key ring in a directory that this user may not enter is explained, without a traceback."""

    def refused(_settings: Settings) -> None:
        raise PermissionError(13, "Permission denied", "/etc/touchpoint/keys.json")

    monkeypatch.setattr("gateway.keys.key_ring", refused)
    result = run(file, TOP + MQTT + KEYS)
    assert result.exit_code == 1
    assert result.stderr == "/etc/touchpoint/keys.json: Permission denied\n"
