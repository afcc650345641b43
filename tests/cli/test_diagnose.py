"""`touchpoint diagnose`: what support needs, and nobody's data."""

import asyncio
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from gateway import keys
from gateway.bytesearch import Needles
from gateway.cli import diagnose
from gateway.cli.app import app
from gateway.clock import Clock
from gateway.config import load
from gateway.core.pseudonym import derive, handle
from gateway.core.sighting import Identifier
from gateway.daemon.capture import ask_desk
from gateway.wipe import traces

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
BADGE = "3d7c7b9c-2f0e-4b58-9a43-4d7f0c2a9e11/900/7"
CONFIGURATION = f"""
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"
[mqtt]
host = "127.0.0.1"
port = 9
[pseudonym]
keys = "./keys.json"
[clock]
source = "trusted"
[[reader]]
name = "salon"
kind = "ble"
zone = "salon"
adapter = "AA:BB:CC:00:11:22"
[[bearer]]
kind = "link"
prefix = "https://id.acme.example/m/"
[[badge]]
kind = "ibeacon"
prefix = "{BADGE}"
"""


@pytest.fixture
def home(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gateway at which a customer has consented."""
    (directory / "state").mkdir()
    (directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    monkeypatch.setenv("TOUCHPOINT_CONFIG", str(directory / "gateway.toml"))
    ring = derive(bytes(range(32)), "acme", "zrh-1", [("now", Clock().now().wall_ms - 1000, None)])
    keys.write_secret(directory / "keys.json", ring.to_json())

    async def tell(_: object) -> None:
        """Nobody listens."""

    settings = load(directory / "gateway.toml")
    asyncio.run(ask_desk(settings, {"ask": "consent-grant", "token": TOKEN}, tell))
    return directory


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["diagnose", *arguments])


def parts(archive: Path) -> dict[str, bytes]:
    """Unpack an archive."""
    with tarfile.open(archive) as opened:
        return {each.name: file.read() for each in opened if (file := opened.extractfile(each)) is not None}


def test_the_archive_holds_what_support_needs_and_no_personal_data(home: Path) -> None:
    """Every part is there; an independent search finds neither token nor handle, key, badge or address in it."""
    result = run("--out", str(home / "a.tar.gz"), "--json")
    assert result.exit_code == 0, result.output
    held = parts(home / "a.tar.gz")
    names = {name.removeprefix("touchpoint-diagnosis/") for name in held}
    assert {
        "doctor.json",
        "status.json",
        "configuration.json",
        "versions.json",
        "log.txt",
        "audit-verify.json",
    } <= names
    assert json.loads(held["touchpoint-diagnosis/status.json"])["running"] is False
    assert json.loads(held["touchpoint-diagnosis/doctor.json"])["findings"]
    ring = keys.read_ring(home / "keys.json")
    own = handle(ring, Identifier("link", TOKEN))
    planted = [
        ("token", TOKEN.encode()),
        ("secret of the token", b"Zk3vX9c1QmS7tB0dLw2RfA"),
        ("handle", own.encode()),
        ("badge", BADGE.encode()),
        ("address", bytes.fromhex("aabbcc001122")),
        *keys.ring_secrets(ring),
        *traces(load(home / "gateway.toml"), credentials=True),
    ]
    assert ("a customer's handle", own.encode()) in planted
    assert not Needles(planted).find(b"\n".join(held.values()))
    assert json.loads(result.stdout)["searched_for"] >= 3
    assert (home / "a.tar.gz").stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_if_anything_was_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handle that got into the log is named by its label and file; there is no archive then."""
    own = handle(keys.read_ring(home / "keys.json"), Identifier("link", TOKEN))
    monkeypatch.setattr(diagnose, "LOG", {"log.txt": ("echo", own)})
    result = run("--out", str(home / "a.tar.gz"))
    assert result.exit_code == 1
    assert "log.txt: a customer's handle" in result.stderr
    assert own not in result.output
    assert not (home / "a.tar.gz").exists()


@pytest.mark.parametrize("broken", ["[gateway", "[gateway]\ntenant = 7\n", None])
def test_a_broken_configuration_leaves_an_archive_of_what_is_wrong(
    home: Path, monkeypatch: pytest.MonkeyPatch, broken: str | None
) -> None:
    """That is when support is asked; without keys to search for, no log is in it."""
    own = handle(keys.read_ring(home / "keys.json"), Identifier("link", TOKEN))
    monkeypatch.setattr(diagnose, "LOG", {"log.txt": ("echo", own)})
    monkeypatch.chdir(home)
    configuration = home / "gateway.toml"
    configuration.unlink() if broken is None else configuration.write_text(broken, encoding="utf-8")
    result = run()
    assert result.exit_code == 0, result.output
    assert "touchpoint check" in result.stderr
    held = parts(home / "touchpoint-diagnosis.tar.gz")
    names = {name.removeprefix("touchpoint-diagnosis/") for name in held}
    assert names == {"doctor.json", "versions.json", "units.txt", "kernel.txt"}
    findings = json.loads(held["touchpoint-diagnosis/doctor.json"])["findings"]
    assert any(each["check"] == "configuration" and each["verdict"] == "wrong" for each in findings)
    assert not Needles([("handle", own.encode())]).find(b"".join(held.values()))


@pytest.mark.parametrize("forbidden", ["gateway.toml", "keys.json"])
def test_nothing_is_written_if_this_user_may_not_read_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, forbidden: str
) -> None:
    """A configuration is not called broken then, and a key that cannot be searched for may be in it: root is asked."""
    opened = Path.open

    def refuse(path: Path, *how: Any, **more: Any) -> Any:  # noqa: ANN401 -- as Path.open is called
        if path.name == forbidden:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr(Path, "open", refuse)
    result = run("--out", str(home / "a.tar.gz"))
    assert result.exit_code == 1
    assert f"{forbidden}: Permission denied. Run it as root" in result.stderr
    assert not (home / "a.tar.gz").exists()


def test_another_archive_is_not_written_over(home: Path) -> None:
    """What is there stays, unless asked otherwise."""
    (home / "a.tar.gz").touch()
    result = run("--out", str(home / "a.tar.gz"))
    assert result.exit_code == 1
    assert "--force" in result.stderr


@given(
    st.binary(min_size=6, max_size=6), st.sampled_from([":", "-", "_"]), st.booleans(), st.sampled_from(["", " ", "/"])
)
def test_addresses_are_struck_out(address: bytes, separator: str, upper: bool, around: str) -> None:  # noqa: FBT001
    """However an address is spelled between separators, it is gone."""
    text = address.hex(separator)
    spelled = (around + (text.upper() if upper else text) + around).encode()
    assert diagnose.struck(b"device" + b" " + spelled + b" ") == b"device " + around.encode() + diagnose.STRUCK + (
        around.encode() + b" "
    )


@given(st.binary(max_size=200))
def test_what_looks_like_an_address_is_always_struck(content: bytes) -> None:
    """After striking nothing is left that would be taken for one."""
    assert "x: a device's address" not in diagnose.found_in({"x": diagnose.struck(content)}, [])


def test_the_same_parts_give_the_same_archive() -> None:
    """An archive has no times of its own."""
    held = {"b": b"2", "a": b"1"}
    assert diagnose.packed(held) == diagnose.packed(dict(reversed(held.items())))
    with tarfile.open(fileobj=io.BytesIO(diagnose.packed(held))) as opened:
        assert opened.getnames() == ["touchpoint-diagnosis/a", "touchpoint-diagnosis/b"]
