"""What must not start, and what must not harm: a message that says what to do, and nothing lost."""

import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from gateway.store.database import seal
from tests.e2e.centre import Subscriber, until
from tests.e2e.conftest import Store

VITRINE = "https://id.acme.example/t/vitrine-1"
pytestmark = pytest.mark.timeout(120)


def test_a_wrong_configuration_ends_with_78(store: Store) -> None:
    """File, line, key, what is wrong and the nearest known key; no traceback."""
    file = store.directory / "gateway.toml"
    file.write_text(file.read_text("utf-8").replace("\nport =", "\nprot ="), encoding="utf-8")
    for command in ("run", "capture", "uplink", "check", "status"):
        ran = store.run(command)
        assert ran.returncode == 78, command
        assert "gateway.toml:10: mqtt.prot: unknown key; did you mean mqtt.port?" in ran.stderr
        assert "Traceback" not in ran.stderr


def test_a_second_daemon_is_refused(store: Store, subscriber: Subscriber) -> None:
    """It names the process that is running; the first goes on undisturbed."""
    store.start()
    until(subscriber.states, "the birth")
    assert "already running" in store.run("run").stderr
    for half in ("capture", "uplink"):
        ran = store.run(half)
        assert ran.returncode == 1
        assert (
            f"the {half} half is already running on it (process {(store.state / f'{half}.lock').read_text().strip()})"
            in ran.stderr
        )
        assert "Traceback" not in ran.stderr
    store.scan(VITRINE)
    until(lambda: subscriber.sequences() == [1], "the event")


@pytest.mark.parametrize(("half", "file"), [("capture", "capture.db"), ("uplink", "uplink.db")])
def test_a_database_of_a_newer_version_is_left_alone(store: Store, half: str, file: str) -> None:
    """The message says so and what to do; not a byte is changed."""
    store.start()
    store.stop()
    with sqlite3.connect(store.state / file) as database:
        seal(database, 99)
    database.close()
    before = (store.state / file).read_bytes()
    ran = store.run(half)
    assert ran.returncode == 1
    assert "it was written by a newer version of the gateway (schema 99" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert (store.state / file).read_bytes() == before


def test_a_state_directory_that_is_missing_or_not_ours(store: Store) -> None:
    """The message names the directory and what to do."""
    (store.state / "capture.db").unlink()
    for path in store.state.iterdir():
        path.unlink()
    store.state.rmdir()
    ran = store.run("capture")
    assert ran.returncode == 1
    assert f"Create the directory {store.state}" in ran.stderr
    store.state.write_text("a file", encoding="utf-8")
    ran = store.run("capture")
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    store.state.unlink()
    store.state.mkdir()


def test_a_full_or_read_only_state_directory(store: Store) -> None:
    """On a disk with no room, or one that is mounted read-only, the half says so at start."""
    assert os.geteuid() == 0, "mounts need root, as the tests in CI have it"
    for path in store.state.iterdir():
        path.unlink()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(store.state)], check=True)
    try:
        (store.state / "other").write_bytes(b"x" * 60_000)
        full = store.run("capture")
        subprocess.run(["mount", "-o", "remount,ro", str(store.state)], check=True)
        read_only = store.run("capture")
    finally:
        subprocess.run(["umount", str(store.state)], check=True)
    for ran in (full, read_only):
        assert ran.returncode == 1
        assert str(store.state) in ran.stderr
        assert "Traceback" not in ran.stderr
    assert "Free some space on that disk" in full.stderr or "space" in full.stderr
    assert "read-write" in read_only.stderr or "Read-only" in read_only.stderr


def test_hostile_scans_are_counted_and_never_echoed(store: Store) -> None:
    """Undecodable, oversized, torn, full of escapes: numbers go up, and nothing of it is in any file."""
    (gateway,) = store.start()
    store.scanner.scan("A" * 5000 + "hostile-marker")
    store.scanner.write(b"\xff\xfehostile-marker\r")
    store.scanner.scan("\x1b]0;hostile-marker\x07")
    store.scanner.scan("https://id.acme.example/m/../../hostile-marker\0")
    store.scanner.scan("javascript:alert('hostile-marker')")
    store.scan(VITRINE)
    counters = store.ask("status")["counters"]
    dropped = {name: number for name, number in counters.items() if name.startswith("dropped:")}
    assert sum(dropped.values()) == 5
    assert dropped["dropped:oversized"] == dropped["dropped:undecodable"] == 1
    assert counters["sightings"] == 6
    gateway.send_signal(signal.SIGTERM)
    gateway.wait(10)
    store.processes.clear()
    assert store.files_holding("hostile-marker") == []


def test_a_scanner_that_is_unplugged_heals(store: Store) -> None:
    """Down with a reason, and up again within five seconds of being back."""
    store.start()
    store.scanner.unplug()
    until(lambda: not store.ask("status")["readers"]["counter-scanner"]["up"], "the scanner to be missed")
    assert any("counter-scanner" in problem for problem in store.ask("status")["problems"])
    store.scanner.plug()
    until(store.is_reading, "the scanner to be found again")
    store.scan(VITRINE)


def test_a_registry_with_errors_changes_nothing(store: Store, tmp_path: Path) -> None:
    """All errors by line and column; a good one counts for the very next scan."""
    header = "id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers\n"
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(header + "a,shelf,A,,,123,,,,,,\na,display,B,,,,,,,soon,,nonsense\n", encoding="utf-8")
    before = store.ask("touchpoints", "list")
    ran = store.run("touchpoints", "import", str(wrong))
    assert ran.returncode == 1
    for place in ("line 2", "kind", "gtin", "line 3", "id", "valid_from", "identifiers"):
        assert place in ran.stderr
    assert all(line.startswith(f"{wrong}: ") for line in ran.stderr.splitlines())
    assert ran.stderr.endswith("nothing was imported\n")
    assert store.ask("touchpoints", "list") == before
    wrong.write_text(header + "a,display,A,,,,,,,,,link:https://id.acme.example/m/Zk3v\n", encoding="utf-8")
    said = store.run("touchpoints", "import", str(wrong)).stderr
    assert "line 2: identifiers: identifier 1: is a customer's token" in said
    assert store.ask("touchpoints", "list") == before

    store.start()
    good = tmp_path / "good.csv"
    good.write_text(header + "new,display,New,,,,,,,,,link:https://id.acme.example/t/new\n", encoding="utf-8")
    assert store.ask("touchpoints", "import", "--yes", str(good))["added"] == 1
    store.scan("https://id.acme.example/t/new")


def test_keys_are_never_shown_and_never_overwritten(store: Store, tmp_path: Path) -> None:
    """Files that only their owner reads; no command prints what is in them."""
    root, ring = tmp_path / "root.key", tmp_path / "ring.json"
    said = store.run("keys", "show").stdout
    for words in (
        ["new", str(root)],
        ["derive", "--root", str(root), "--out", str(ring), "--tenant", "a", "--site", "b"],
    ):
        made = subprocess.run([*store.command("keys")[:4], *words], capture_output=True, text=True, check=True)
        again = subprocess.run([*store.command("keys")[:4], *words], capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert "is there already" in again.stderr
        said += made.stdout + again.stderr
    assert root.stat().st_mode & 0o777 == ring.stat().st_mode & 0o777 == 0o600
    held = json.loads(ring.read_text("utf-8"))
    live = json.loads((store.directory / "keys.json").read_text("utf-8"))
    secrets = [root.read_text("utf-8").strip(), held["consent_key"], live["consent_key"]]
    secrets += [epoch["key"] for epoch in (*held["epochs"], *live["epochs"])]
    assert not [secret for secret in secrets if secret in said]


def test_a_port_that_nobody_answers_is_named(store: Store) -> None:
    """`status` says which broker, and why."""
    store.port = 1
    store.configure()
    store.start()
    until(lambda: (store.ask("status")["broker"] or {"ok": True})["ok"] is False, "the refusal to be reported")
    assert "127.0.0.1:1: Connection refused" in store.ask("status")["broker"]["reason"]
    assert store.log.count("Connection refused") == 1
