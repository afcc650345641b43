"""`touchpoint backup`, `restore`: a new device takes over, and at the centre nothing is missing without a gap."""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from gateway import backup as backups
from gateway import keys
from gateway.age import decrypt, new_identity
from gateway.backup import BackupError
from gateway.bytesearch import Needles
from gateway.cli.app import app
from gateway.clock import Clock
from gateway.config import ConfigError, load
from gateway.core.pseudonym import derive
from gateway.daemon.capture import ask_desk, capture
from gateway.daemon.uplink import uplink
from gateway.handover import must_be_ours, restoring
from gateway.store.backlog import Backlog
from gateway.store.database import only_one, open_writer
from gateway.store.schema import CAPTURE
from gateway.wipe import handles

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"
[mqtt]
host = "127.0.0.1"
ca = "ca.pem"
username = "gw-1"
password_file = "./password"
[pseudonym]
keys = "./keys.json"
[clock]
source = "trusted"
[[bearer]]
kind = "link"
prefix = "https://id.acme.example/m/"
"""
REGISTRY = """id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers
page-16,catalogue,Page 16,,before,,,,,,,link:https://id.acme.example/t/page-16
"""
PAIR = new_identity()
PHRASE = "five words are better than one"


def ask(home: Path, request: dict[str, str]) -> None:
    """Ask the gateway that does not run."""

    async def tell(_: object) -> None:
        """Nobody listens."""

    asyncio.run(ask_desk(load(home / "gateway.toml"), request, tell))


@pytest.fixture
def old(directory: Path) -> Path:
    """A device with a registry, keys and a customer's consent."""
    home = directory / "old"
    (home / "state").mkdir(parents=True)
    (home / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    (home / "password").write_text("open sesame", encoding="utf-8")
    (home / "ca.pem").write_text("authority", encoding="utf-8")
    ring = derive(bytes(range(32)), "acme", "zrh-1", [("now", Clock().now().wall_ms - 1000, None)])
    keys.write_secret(home / "keys.json", ring.to_json())
    ask(home, {"ask": "registry-import", "csv": REGISTRY})
    ask(home, {"ask": "consent-grant", "token": TOKEN})
    (directory / "phrase").write_text(f"{PHRASE}\n", encoding="utf-8")
    (directory / "key").write_text(f"# a comment\n{PAIR[0]}\n", encoding="utf-8")
    return home


def run(*arguments: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def save(old: Path, *more: object) -> Path:
    """Back a device up with the passphrase."""
    file = old.parent / "backup.age"
    phrase = ("--passphrase-file", old.parent / "phrase")
    result = run("backup", file, "--config", old / "gateway.toml", *phrase, *more)
    assert result.exit_code == 0, result.output
    return file


def take_over(old: Path, file: Path, *more: object) -> Result:
    """Restore on a new device."""
    phrase = ("--passphrase-file", old.parent / "phrase")
    return run("restore", file, "--config", old.parent / "new" / "gateway.toml", *phrase, *more)


def events(home: Path) -> list[dict[str, object]]:
    """Return what waits on a device."""
    with closing(Backlog(home / "state")) as backlog:
        connection = backlog.connection()
        assert connection is not None
        rows = connection.execute("SELECT event FROM outbox ORDER BY sequence").fetchall()
    return [json.loads(event) for (event,) in rows]


def test_a_new_device_takes_over(old: Path) -> None:
    """Keys, registry and configuration are there; its session begins with a gap that names the old one."""
    with closing(Backlog(old / "state")) as backlog:
        session, last = backlog.session(), backlog.last()
    assert take_over(old, save(old)).exit_code == 0
    new = old.parent / "new"
    for name in ("keys.json", "password", "ca.pem", "gateway.toml", "state/device.key"):
        assert (new / name).read_bytes() == (old / name).read_bytes()
    assert (new / "keys.json").stat().st_mode & 0o77 == 0
    ask(new, {"ask": "status"})
    first = events(new)[0]
    assert (
        first["type"] == "com.touchpoint.gap.v1" or str(first["type"]).endswith("gap.v1") or "gap" in str(first["type"])
    )
    assert first["data"]["previous"]["session"] == session  # type: ignore[index]
    assert first["session"] != session
    assert last >= 0
    with closing(Backlog(new / "state")) as backlog:
        connection = backlog.connection()
        assert connection is not None
        assert connection.execute("SELECT id FROM touchpoint").fetchall() == [("page-16",)]
        assert connection.execute("SELECT count(*) FROM consent").fetchone() == (0,)
        assert "restored" in {what for (what,) in connection.execute("SELECT what FROM audit")}


def test_no_customer_is_in_a_backup(old: Path) -> None:
    """What is encrypted holds neither token nor handle; and what is written holds no key in plain text."""
    file = save(old)
    archive = decrypt(file.read_bytes(), passphrase=PHRASE)
    held = [("handle", each) for each in handles(old / "state")]
    assert held
    assert not Needles([*held, ("token", TOKEN.encode())]).find(archive)
    ring = keys.ring_secrets(keys.read_ring(old / "keys.json"))
    assert Needles(ring).find(archive), "the search would find what is there"
    assert not Needles([*ring, ("password", b"open sesame")]).find(file.read_bytes())
    assert file.stat().st_mode & 0o777 == 0o600


def hand_over(old: Path) -> Result:
    """Hand a device over."""
    phrase = ("--passphrase-file", old.parent / "phrase")
    return run("backup", old.parent / "backup.age", "--config", old / "gateway.toml", "--hand-over", *phrase)


def test_a_device_that_was_handed_over_does_not_start_again(old: Path) -> None:
    """Neither half starts (exit status 78), so nobody fights for the client id; the gap knows the last sequence."""
    with closing(open_writer(old / "state", CAPTURE)) as connection:
        connection.execute("DELETE FROM outbox")  # as when all is delivered
    with closing(Backlog(old / "state")) as backlog:
        last = backlog.last()
    assert last > 0
    assert hand_over(old).exit_code == 0
    for half in (capture, uplink):
        with pytest.raises(ConfigError, match="handed over"):
            asyncio.run(half(load(old / "gateway.toml")))
    assert take_over(old, old.parent / "backup.age").exit_code == 0
    ask(old.parent / "new", {"ask": "status"})
    assert events(old.parent / "new")[0]["data"]["previous"]["sequence"] == last  # type: ignore[index]


def test_who_has_something_to_send_is_not_handed_over(old: Path) -> None:
    """What waits would never be sent: it has to go first."""
    result = hand_over(old)
    assert result.exit_code == 1
    assert "wait to be sent" in result.stderr
    assert not (old.parent / "backup.age").exists()


def test_who_runs_is_not_handed_over(old: Path) -> None:
    """A gateway that runs goes on; nothing is written."""
    with only_one(old / "state", "capture"):
        result = run("backup", old.parent / "b.age", "--config", old / "gateway.toml", "--hand-over", "--to", PAIR[1])
    assert result.exit_code == 1
    assert "stop it first" in result.stderr
    assert not (old.parent / "b.age").exists()


def test_keys_that_systemd_holds_are_named(old: Path) -> None:
    """They are in no file that the command could read: it says which are not in the backup."""
    text = (old / "gateway.toml").read_text(encoding="utf-8")
    (old / "gateway.toml").write_text(text.replace('"./keys.json"', '"touchpoint.keys"'), encoding="utf-8")
    phrase = old.parent / "phrase"
    made = run("backup", old.parent / "b.age", "--config", old / "gateway.toml", "--passphrase-file", phrase)
    assert made.exit_code == 0, made.output
    assert "NOT in it" in made.stderr
    assert "pseudonym.keys (touchpoint.keys)" in made.stderr
    checked = run("check", "--config", old / "gateway.toml")
    assert "the credential touchpoint.keys" in checked.stdout


def test_what_is_there_is_not_written_over(old: Path) -> None:
    """A second restore is refused, and names what is there; with --force the databases are kept under another name."""
    file = save(old)
    assert take_over(old, file).exit_code == 0
    new = old.parent / "new"
    ask(new, {"ask": "registry-import", "csv": REGISTRY.replace("page-16", "page-18")})
    refused = take_over(old, file)
    assert refused.exit_code == 1
    assert str(new / "state" / "capture.db") in refused.stderr
    assert take_over(old, file, "--force").exit_code == 0
    assert list((new / "state").glob("capture.db.replaced-*"))
    assert not list(new.rglob(".*")), "nothing is left of what was staged"


KILLED = """
import os, signal, sys
from gateway import backup
from gateway.cli.app import app
real, left = backup._sync, [int(sys.argv.pop(1))]
def sync(directory):
    real(directory)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
backup._sync = sync
app()
"""
"""The command, killed once so many names are on the disk."""


def test_a_restore_that_is_killed_starts_nothing_until_it_is_done_again(old: Path) -> None:
    """Wherever it is cut, over a device that had another registry: no half starts, and the same restore ends it."""
    file, new = save(old), old.parent / "new"
    words = [
        "restore",
        str(file),
        "--config",
        str(new / "gateway.toml"),
        "--passphrase-file",
        str(old.parent / "phrase"),
    ]
    cuts = 0
    for at in range(1, 20):
        command = [sys.executable, "-c", KILLED, str(at), *words, "--force"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        cuts += 1
        whole = not restoring(new / "state").exists()
        if (new / "gateway.toml").exists() and not whole:
            with pytest.raises(ConfigError, match="a restore was cut off"):
                must_be_ours(load(new / "gateway.toml"))
        assert whole or take_over(old, file).exit_code == 0
        must_be_ours(load(new / "gateway.toml"))
        ask(new, {"ask": "registry-import", "csv": REGISTRY.replace("page-16", "page-18")})
    assert cuts > 5


def test_a_public_key_opens_it(old: Path) -> None:
    """Encrypted for a public key, it is restored with the secret one, and not without."""
    file = old.parent / "backup.age"
    assert run("backup", file, "--config", old / "gateway.toml", "--to", PAIR[1]).exit_code == 0
    target = ("--config", old.parent / "new" / "gateway.toml")
    assert run("restore", file, *target).exit_code == 2
    assert not (old.parent / "new").exists()
    assert run("restore", file, *target, "--identity", old.parent / "key").exit_code == 0


def test_another_passphrase_is_told(old: Path) -> None:
    """A wrong passphrase says so, and writes nothing; a short one is refused when the backup is made."""
    file = save(old)
    (old.parent / "phrase").write_text("something else entirely", encoding="utf-8")
    result = take_over(old, file)
    assert result.exit_code == 1
    assert "passphrase" in result.stderr
    assert not (old.parent / "new").exists()
    (old.parent / "phrase").write_text("short", encoding="utf-8")
    again = run(
        "backup", old.parent / "c.age", "--config", old / "gateway.toml", "--passphrase-file", old.parent / "phrase"
    )
    assert again.exit_code == 1
    assert "12" in again.stderr


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_no_backup_is_refused(old: Path, data: st.DataObject) -> None:
    """A changed octet, a missing end or arbitrary octets raise BackupError, or leave what is restored the same."""
    archive = backups.collect(load(old / "gateway.toml"), 1, ended=False)
    at = data.draw(st.integers(0, len(archive) - 1))
    changed = archive[:at] + bytes([archive[at] ^ data.draw(st.integers(1, 255))]) + archive[at + 1 :]
    with suppress(BackupError):
        assert backups.read(changed).parts == backups.read(archive).parts
    with pytest.raises(BackupError):
        backups.read(data.draw(st.binary(max_size=600)))
