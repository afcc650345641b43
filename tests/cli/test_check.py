"""`touchpoint check`."""

import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
import typer
from cryptography.hazmat.primitives import serialization
from typer.testing import CliRunner, Result

from gateway.cli.check import check
from gateway.clock import Clock
from gateway.config import Settings
from gateway.core import tagkeys
from gateway.core.decode.sun import TagKeys
from gateway.core.pseudonym import derive
from gateway.keys import write_secret
from tests.simulators.authority import Authority

TOP = '[gateway]\ntenant = "acme"\nsite = "zrh-1"\nid = "gw-1"\nstate = "."\nruntime = "/run/t"\n'
MQTT = '[mqtt]\nhost = "broker"\nca = "authority.pem"\n'
NO_POINT = urlsafe_b64encode((2).to_bytes(32, "little")).decode().rstrip("=")
"""Octets of which no point of the curve is made (RFC 8032, section 5.1.3): for y = 2 there is no x."""
KEYS = '[pseudonym]\nkeys = "./keys.json"\n'


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Signs what the gateway shows to the broker; also the broker's."""
    return Authority(tmp_path)


@pytest.fixture
def file(tmp_path: Path, authority: Authority) -> Path:
    assert authority.certificate == tmp_path / "authority.pem"
    return tmp_path / "gateway.toml"


def run(file: Path, text: str, *options: str) -> Result:
    """Run the command on this configuration."""
    app = typer.Typer()
    app.command()(check)
    file.write_text(text, encoding="utf-8")
    return CliRunner().invoke(app, ["--config", str(file), *options])


def ring(file: Path, site: str = "zrh-1", *, until_ms: int | None = None) -> Path:
    path = file.with_name("keys.json")
    write_secret(path, derive(bytes(32), "acme", site, [("2026Q4", 0, until_ms)]).to_json())
    return path


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
    result = run(file, TOP + MQTT.replace('ca = "authority.pem"\n', "") + KEYS)
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


def test_an_epoch_that_is_over(file: Path) -> None:
    """One that ended more than 72 hours ago should be gone, and none is in force."""
    ring(file, until_ms=1)
    result = run(file, TOP + MQTT + KEYS)
    assert result.exit_code == 0
    assert "warning  pseudonym: epoch 2026Q4 ended at 1970-01-01T00:00:00.001Z" in result.stdout
    assert "warning  pseudonym: no epoch is in force" in result.stdout


def test_an_epoch_without_a_next(file: Path) -> None:
    """Two weeks before the end of an epoch the next one should be there."""
    ring(file, until_ms=Clock().now().wall_ms + 3_600_000)
    result = run(file, TOP + MQTT + KEYS)
    assert result.exit_code == 0
    assert "and the ring holds none after it" in result.stdout


def test_keys_that_others_may_read(file: Path, authority: Authority) -> None:
    """Each secret that lies open is named by its setting and its file."""
    ring(file).chmod(0o640)
    authority.issue("mqtt", "gw-1")
    for name in ("password", "device.key"):
        file.with_name(name).write_text("secret", encoding="utf-8")
    own = 'username = "u"\npassword_file = "./password"\ncertificate = "mqtt.pem"\nkey = "mqtt.key"\n'
    result = run(file, TOP + MQTT + own + KEYS)
    assert result.exit_code == 0
    for setting in ("pseudonym.keys", "mqtt.password_file", "mqtt.key", "consent.device_key"):
        assert f"warning  {setting}: {file.parent}" in result.stdout
    assert "secret" not in result.output


@pytest.mark.parametrize(
    ("issuer", "wrong"),
    [
        ('kid = "centre-1"\n', "issuer.key"),
        (f'kid = "centre-1"\nkey = "{"A" * 42}"\n', "issuer.key"),
        (f'kid = "centre-1"\nkey = "{"A" * 42}!"\n', "issuer.key"),
        (f'kid = "centre-1"\nkey = "{"A" * 42}B"\n', "issuer centre-1"),
        (f'kid = "centre-1"\nkey = "{NO_POINT}"\n', "issuer centre-1"),
        (f'kid = "centre-1"\nkey = "{"A" * 43}"\n', "issuer centre-1"),
    ],
)
def test_an_issuer_without_a_key(file: Path, issuer: str, wrong: str) -> None:
    """Missing, too short, of another alphabet, not canonical, on no curve, or of no use: a problem with its place."""
    ring(file)
    result = run(file, TOP + MQTT + KEYS + "[[issuer]]\n" + issuer)
    assert result.exit_code == 78
    assert wrong in result.stderr


def test_an_issuer_with_a_key(file: Path) -> None:
    """The key of RFC 8037, appendix A.2."""
    ring(file)
    issuer = '[[issuer]]\nkid = "centre-1"\nkey = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"\n'
    assert run(file, TOP + MQTT + KEYS + issuer).exit_code == 0


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
    assert result.stderr.startswith("/etc/touchpoint/keys.json: Permission denied. Run it as root (sudo)")


OWN = 'certificate = "gw.pem"\nkey = "gw.key"\n'


def test_certificates_that_are_good(file: Path, authority: Authority) -> None:
    """A key beside its certificate, or in the same file."""
    issued = authority.issue("gw", "gw-1")
    assert run(file, TOP + MQTT + OWN + KEYS).exit_code == 0
    with issued.certificate.open("ab") as together:
        together.write(issued.key.read_bytes())
    assert run(file, TOP + MQTT + 'certificate = "gw.pem"\n' + KEYS).exit_code == 0


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("authority.pem", None, "mqtt.ca: there is no file "),
        ("authority.pem", b"", "mqtt.ca: {path} holds no certificate; name a file in PEM"),
        ("gw.pem", None, "mqtt.certificate: there is no file {path}; put it there, or name another"),
        ("gw.pem", b"-----BEGIN", "mqtt.certificate: {path} holds no certificate"),
        ("gw.key", None, "mqtt.key: there is no file "),
        ("gw.key", b"s3cret", "mqtt.key: {path} holds no private key; name a file in PEM"),
    ],
)
def test_a_file_of_tls_that_cannot_be_used(
    file: Path, authority: Authority, name: str, content: bytes | None, said: str
) -> None:
    """Its key and its file are named, with what to do, and nothing that stands in it; the others are in order."""
    authority.issue("gw", "gw-1")
    path = file.with_name(name)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    result = run(file, TOP + MQTT + OWN + KEYS)
    assert result.exit_code == 78
    assert result.stderr.startswith(f"{file}: " + said.format(path=path))
    assert result.stderr.count("\n") == 1
    assert "s3cret" not in result.output


def test_every_file_of_tls_is_looked_at(file: Path) -> None:
    """A directory in the place of a file, and what is not there."""
    file.with_name("gw.key").mkdir()
    answer = json.loads(run(file, TOP + MQTT.replace("authority", "none") + OWN + KEYS, "--json").stdout)
    wrong = {problem["key"]: problem["wrong"].partition(" /")[0] for problem in answer["problems"]}
    assert wrong == {
        "mqtt.ca": "there is no file",
        "mqtt.certificate": "there is no file",
        "mqtt.key": f"{file.with_name('gw.key')} is a directory".partition(" /")[0],
    }
    assert all(problem["hint"] for problem in answer["problems"])


def test_a_file_of_tls_that_this_user_may_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says is passed on, with who needs the right."""

    def refused(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    result = run(file, TOP + MQTT + KEYS)
    assert (
        f"mqtt.ca: {file.with_name('authority.pem')} cannot be read: Permission denied; give the user" in result.stderr
    )


def test_a_key_of_another_certificate(file: Path, authority: Authority) -> None:
    """The broker would refuse every connection."""
    authority.issue("gw", "gw-1")
    authority.issue("other", "gw-2")
    result = run(file, TOP + MQTT + OWN.replace("gw.key", "other.key") + KEYS)
    assert result.exit_code == 78
    assert "mqtt.key: the private key in " in result.stderr
    assert f"is not that of {file.with_name('gw.pem')}; name the pair" in result.stderr


def test_a_certificate_without_any_key(file: Path, authority: Authority) -> None:
    """The key is neither in the certificate's file nor named."""
    authority.issue("gw", "gw-1")
    result = run(file, TOP + MQTT + 'certificate = "gw.pem"\n' + KEYS)
    assert "mqtt.certificate: " in result.stderr
    assert "holds no private key; name it with mqtt.key" in result.stderr


def test_a_key_with_a_passphrase(file: Path, authority: Authority) -> None:
    """Nobody is there to type it: said at once, and not asked for."""
    issued = authority.issue("gw", "gw-1")
    key = serialization.load_pem_private_key(issued.key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"s3cret")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    issued.key.write_bytes(pem)
    result = run(file, TOP + MQTT + OWN + KEYS)
    assert "mqtt.key: the private key in " in result.stderr
    assert "is encrypted; store it without a passphrase" in result.stderr


def test_a_state_directory_that_cannot_be_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning each, with what to do: it may be this user alone who cannot."""
    ring(file)
    file.with_name("taken").write_text("", encoding="utf-8")
    result = run(file, TOP.replace('state = "."', 'state = "taken"') + MQTT + KEYS)
    assert result.exit_code == 0
    taken = file.with_name("taken")
    assert f"warning  gateway: the state directory cannot be written: {taken} is a file: move it away" in result.stdout
    monkeypatch.setattr("os.access", lambda _path, mode, **_options: not mode & os.W_OK)
    assert "cannot be written: Give the user that the gateway runs as" in run(file, TOP + MQTT + KEYS).stdout


def test_keys_of_tags(file: Path) -> None:
    """A file that is named and missing is said; another site's, or one that is none, is a problem and not shown."""
    sun, keys = '[sun]\nkeys = "./sun.json"\n', file.with_name("sun.json")
    ring(file)
    result = run(file, TOP + MQTT + KEYS + sun)
    assert (result.exit_code, "warning  sun: no keys of tags at" in result.stdout) == (0, True)
    stock = TagKeys({bytes(7): bytes(range(16))})
    write_secret(keys, tagkeys.to_json(stock, "acme", "zrh-1"))
    result = run(file, TOP + MQTT + KEYS + sun)
    assert (result.exit_code, "sun" in result.output) == (0, False)
    for text, why in ((tagkeys.to_json(stock, "acme", "gva-2"), "these keys are for acme/gva-2"), ("{}", "version")):
        keys.write_text(text, encoding="utf-8")
        result = run(file, TOP + MQTT + KEYS + sun)
        assert (result.exit_code, why in result.stderr) == (78, True)
        assert bytes(range(16)).hex() not in result.output


def test_parameters_of_tags_have_names_of_their_own(file: Path) -> None:
    """Two of the same name could not be told apart in a link."""
    result = run(file, TOP + MQTT + KEYS + '[sun]\nuid = "m"\nmac = "m"\n')
    assert result.exit_code == 78
    assert "sun.mac" in result.stderr
    assert "name in common" in result.stderr
