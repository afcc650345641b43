"""`touchpoint wipe`: nothing of a gateway is left, and that is shown."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from gateway import keys, wipe
from gateway.cli.app import app
from gateway.clock import Clock
from gateway.config import load
from gateway.core import tagkeys
from gateway.core.brandlink import LinkKeys
from gateway.core.decode.sun import TagKeys
from gateway.core.pseudonym import KeyRing, derive, handle
from gateway.core.sighting import Identifier
from gateway.daemon.capture import ask_desk, capture
from gateway.provision.tags.inventory import Entry, State, inventory
from gateway.store.database import open_writer
from gateway.store.recovery import set_aside
from gateway.store.schema import CAPTURE, UPLINK
from tests.shop import until

TOKENS = [f"https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2Rf{last}" for last in "ABC"]
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"
runtime = "run"
[mqtt]
host = "127.0.0.1"
ca = "mqtt/ca.pem"
certificate = "mqtt/gateway.pem"
key = "mqtt/gateway.key"
username = "gw-1"
password_file = "./mqtt/password"
[pseudonym]
keys = "./keys/ring.json"
[links]
domain = "id.acme.example"
signing_keys = "./keys/links.json"
[sun]
keys = "./keys/sun.json"
[ble]
beacons = "./keys/beacons.json"
[clock]
source = "trusted"
[[bearer]]
kind = "link"
prefix = "https://id.acme.example/m/"
"""
PEM = "-----BEGIN PRIVATE KEY-----\n" + b64encode(bytes(range(48))).decode() + "\n-----END PRIVATE KEY-----\n"
KEPT = ["gateway.toml", "mqtt/ca.pem", "mqtt/gateway.key", "mqtt/gateway.pem", "mqtt/password"]


@pytest.fixture
def home(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gateway at which customers have consented, with all that it ever leaves behind."""
    for name in ("state", "run", "mqtt", "keys"):
        (directory / name).mkdir()
    (directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    monkeypatch.setenv("TOUCHPOINT_CONFIG", str(directory / "gateway.toml"))
    for name, text in (("ca.pem", "ca"), ("gateway.pem", "mine"), ("gateway.key", PEM), ("password", "open sesame")):
        (directory / "mqtt" / name).write_text(text, encoding="utf-8")
    ring = derive(bytes(range(32)), "acme", "zrh-1", [("now", Clock().now().wall_ms - 1000, None)])
    keys.write_secret(directory / "keys" / "ring.json", ring.to_json())
    beacon = {
        "name": "watch",
        "key": bytes(range(96, 112)).hex(),
        "exponent": 10,
        "counter": 1,
        "at": "2026-01-01T00:00:00Z",
    }
    keys.write_secret(directory / "keys" / "beacons.json", json.dumps({"version": 1, "beacons": [beacon]}))
    keys.write_secret(directory / "keys" / "links.json", LinkKeys.new(bytes(range(32, 64))).to_json())
    tags = TagKeys({bytes(range(7)): bytes(range(64, 80))}, bytes(range(80, 96)))
    keys.write_secret(directory / "keys" / "sun.json", tagkeys.to_json(tags, "acme", "zrh-1"))
    grant(directory, TOKENS[0])
    set_aside(directory / "state", CAPTURE.file, 1)
    grant(directory, TOKENS[1])
    open_writer(directory / "state", UPLINK).close()
    for name in ("ballast", "uplink.lock", "publishing.lock", "uplink.db.suspect"):
        (directory / "state" / name).touch()
    for name in ("control.sock", "capture.bell", "uplink.bell"):
        (directory / "run" / name).touch()
    return directory


def grant(home: Path, token: str) -> None:
    """Have a customer consent."""

    async def tell(_: object) -> None:
        """Nobody listens."""

    asyncio.run(ask_desk(load(home / "gateway.toml"), {"ask": "consent-grant", "token": token}, tell))


def ring(home: Path) -> KeyRing:
    """Read the ring."""
    return keys.read_ring(home / "keys" / "ring.json")


def run(*arguments: str, typed: str = "") -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["wipe", *arguments], input=typed)


def files(home: Path) -> list[str]:
    """Return what is there."""
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir())


def test_nothing_is_left(home: Path) -> None:
    """Keys, databases with their logs, copies set aside, ballast, sockets, locks; not the broker's credentials."""
    assert len(files(home)) > 15
    result = run("--json", typed="gw-1\n")
    assert result.exit_code == 0, result.output
    assert files(home) == KEPT
    answer = json.loads(result.stdout)
    assert (answer["left"], answer["search"]["found"], answer["search"]["unread"]) == ([], [], [])
    assert answer["search"]["for"] == 9, (
        "consent key, epoch, device key, links' key, two of tags, a beacon's, two handles"
    )
    assert answer["search"]["files"] == 0, "where anything lay there is no file any more"
    assert answer["removed"][0] == str(home / "keys" / "ring.json"), "keys first"


def test_what_writing_tags_has_left_goes_too(home: Path) -> None:
    """The inventory with its log, the key of the tags' passwords, and the key set of tags that sign."""
    settings = load(home / "gateway.toml")
    secret = keys.tag_secret(settings)
    with inventory(settings.gateway.state) as listed:  # open: its log is there, as after a kill
        listed.record(Entry("name", "vitrine-3", None, "https://id.acme.example/t/vitrine-3", "NTAG213", State.LOST, 0))
        assert {"state/inventory.db", "state/inventory.db-wal", "state/tags.key", "keys/sun.json"} <= set(files(home))
        result = run("--yes")
    assert result.exit_code == 0, result.output
    assert files(home) == KEPT
    assert secret.hex() not in result.output


def test_nothing_is_shown_that_was_secret(home: Path) -> None:
    """Neither a key nor a handle stands in what the command prints."""
    held = ring(home)
    secrets = [held.consent_key.hex(), b64encode(held.consent_key).decode()[:40], "h1."]
    result = run("--yes")
    assert result.exit_code == 0
    assert "removed " in result.stdout
    assert "none holds any" in result.stdout
    assert not [secret for secret in secrets if secret in result.output]


def test_credentials_go_when_they_are_asked_for(home: Path) -> None:
    """Key, certificate and password for the broker; its authority's certificate is no secret."""
    assert run("--yes", "--credentials").exit_code == 0
    assert files(home) == ["gateway.toml", "mqtt/ca.pem"]


@pytest.mark.parametrize("typed", ["", "y\n", "gw-2\n"])
def test_only_after_its_id_was_typed(home: Path, typed: str) -> None:
    """Anything else removes nothing."""
    before = files(home)
    result = run(typed=typed)
    assert result.exit_code == 1
    assert files(home) == sorted({*before, "state/uplink.lock"})
    assert str(home / "keys" / "ring.json") in result.stderr, "it was said what would go"


def test_what_was_hidden_elsewhere_is_found(home: Path) -> None:
    """A copy of a key or a list of handles where anything lay: it is named, stays, and the exit status is 1."""
    held = ring(home)
    (home / "keys" / "ring.bak").write_text(held.to_json(), encoding="utf-8")
    who = handle(held, Identifier("link", TOKENS[0]))
    (home / "state" / "notes.txt").write_text(f"see {who}", encoding="utf-8")
    (home / "mqtt" / "copy").write_text(PEM, encoding="utf-8")
    result = run("--yes", "--credentials")
    assert result.exit_code == 1
    for path, what in (
        ("keys/ring.bak", "the consent key"),
        ("keys/ring.bak", "the key of epoch now"),
        ("state/notes.txt", "a customer's handle"),
        ("mqtt/copy", "the broker's private key"),
    ):
        assert f"{(home / path).resolve()} still holds {what}" in result.stderr
    assert who not in result.output


def test_a_second_run_finds_nothing_to_do(home: Path) -> None:
    """And ends well."""
    assert run("--yes").exit_code == 0
    assert run("--yes").exit_code == 0
    assert files(home) == KEPT


@pytest.mark.parametrize("after", range(0, 9, 2))
def test_what_is_interrupted_is_finished_by_another_run(
    home: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Ctrl-C says what is still there, keys last of all."""
    removing = wipe.remove

    def interrupted(what: wipe.Belongings) -> Iterator[tuple[Path, str | None]]:
        for number, done in enumerate(removing(what)):
            if number == after:
                raise KeyboardInterrupt
            yield done

    monkeypatch.setattr(wipe, "remove", interrupted)
    result = run("--yes")
    assert result.exit_code == 130
    left = [line for line in result.stderr.splitlines() if line.startswith("/")]
    assert sorted(str(Path(line).relative_to(home)) for line in left) == [
        each for each in files(home) if each not in KEPT
    ]
    assert after == 0 or "keys/ring.json" not in files(home)
    monkeypatch.undo()
    monkeypatch.setenv("TOUCHPOINT_CONFIG", str(home / "gateway.toml"))
    assert run("--yes").exit_code == 0
    assert files(home) == KEPT


async def test_a_gateway_that_runs_is_left_alone(home: Path) -> None:
    """It says how to stop it; once it is stopped, it goes."""
    working = asyncio.ensure_future(capture(load(home / "gateway.toml")))
    await until(lambda: working.done() or (home / "run" / "control.sock").is_socket())
    try:
        result = await asyncio.to_thread(run, "--yes")
        assert result.exit_code == 1
        assert "capture half is already running" in result.stderr
        assert "nothing was removed" in result.stderr
        assert (home / "keys" / "ring.json").exists()
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
    assert (await asyncio.to_thread(run, "--yes")).exit_code == 0


def test_what_cannot_be_removed_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest goes all the same; the exit status is 1."""
    unlink = Path.unlink

    def refused(self: Path, *, missing_ok: bool = False) -> None:
        if self.name in {"ballast", "ring.json"}:
            raise PermissionError(13, "Permission denied", str(self))
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    result = run("--yes")
    assert result.exit_code == 1
    assert f"cannot remove {home / 'state' / 'ballast'}: Permission denied" in result.stderr
    assert f"cannot destroy {home / 'keys' / 'ring.json'}: Permission denied" in result.stderr
    assert files(home) == sorted([*KEPT, "keys/ring.json", "state/ballast"])
    assert set((home / "keys" / "ring.json").read_bytes()) == {0}, "overwritten all the same"


def test_credentials_of_systemd_are_named(home: Path) -> None:
    """Nobody but the unit knows where they lie."""
    text = CONFIGURATION.replace("./keys/ring.json", "touchpoint-keys")
    (home / "gateway.toml").write_text(text, encoding="utf-8")
    result = run("--yes")
    assert result.exit_code == 0
    assert "pseudonym.keys is a credential of systemd" in result.stderr


def test_a_gateway_that_never_ran(tmp_path: Path) -> None:
    """Without a state directory there is nothing to remove."""
    (tmp_path / "gateway.toml").write_text(CONFIGURATION.replace('runtime = "run"\n', ""), encoding="utf-8")
    result = run("--yes", "--config", str(tmp_path / "gateway.toml"))
    assert result.exit_code == 0, result.output
    assert "removed" not in result.stdout


@given(st.binary(max_size=60), st.integers(0, 200))
def test_a_handle_is_found_wherever_it_stands(around: bytes, before: int) -> None:
    """Also where one piece that is read ends and the next begins."""
    who = b"h1.0123456789abcdefghij_-"
    with pytest.MonkeyPatch.context() as patched, TemporaryDirectory() as state:
        patched.setattr(wipe, "CHUNK", 64)
        Path(state, "capture.db-wal").write_bytes(around + b"." * before + who + b"\0" + around)
        assert who in wipe.handles(Path(state))
