"""`touchpoint keys`: what it does to the files, and what it never shows."""

import asyncio
import json
import stat
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway import keys
from gateway.cli.app import app
from gateway.clock import Clock
from gateway.config import load
from gateway.control import ask
from gateway.core import tagkeys
from gateway.core.pseudonym import KeyRing, derive
from gateway.daemon.capture import capture
from gateway.store.audit import entries
from gateway.store.backlog import Backlog
from tests.shop import until

DAY_MS = 24 * 3_600_000
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"
[mqtt]
host = "127.0.0.1"
[pseudonym]
keys = "./keys.json"
[clock]
source = "trusted"
"""


@pytest.fixture
def home(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configured gateway without a ring, and a root key elsewhere."""
    (directory / "gateway" / "state").mkdir(parents=True)
    (directory / "gateway" / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    monkeypatch.setenv("TOUCHPOINT_CONFIG", str(directory / "gateway" / "gateway.toml"))
    keys.write_secret(directory / "root.key", keys.new_root())
    yield directory / "gateway"
    everything = b"".join(path.read_bytes() for path in (directory / "gateway").glob("state/*") if path.is_file())
    assert root(directory / "gateway") not in everything


def root(home: Path) -> bytes:
    """Return the root key."""
    return keys.read_root(home.parent / "root.key")


def run(*arguments: str, typed: str = "") -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["keys", *arguments], input=typed)


def ring(home: Path, *days: tuple[str, int, int | None]) -> KeyRing:
    """Lay a ring down; its epochs begin and end so many days from now."""
    now_ms = Clock().now().wall_ms
    spans = [
        (name, now_ms + begin * DAY_MS, None if end is None else now_ms + end * DAY_MS) for name, begin, end in days
    ]
    made = derive(root(home), "acme", "zrh-1", spans)
    keys.write_secret(home / "keys.json", made.to_json())
    return made


def shows_no_key(home: Path, result: Result, held: KeyRing) -> None:
    """No key stands in what was shown, in any spelling that a person would use."""
    for key in (root(home), held.consent_key, *(epoch.key for epoch in held.epochs)):
        for text in (key.hex(), b64encode(key).decode()[:40], urlsafe_b64encode(key).decode()[:40]):
            assert text not in result.output


# --- rotate -----------------------------------------------------------------------------------------------------


def test_rotate_adds_the_coming_epoch(home: Path) -> None:
    """What a new ring would hold, in the old file's place, and for its owner alone."""
    path = home / "keys.json"
    this, coming = keys.quarters(Clock().now().wall_ms, 2)
    before = derive(root(home), "acme", "zrh-1", [keys.quarter("2020Q1"), keys.quarter(this)])
    keys.write_secret(path, before.to_json())
    result = run("rotate", "--root", str(home.parent / "root.key"), "--ring", str(path))
    assert result.exit_code == 0
    assert f"holds {this}, {coming}; added {coming}, left out 2020Q1." in result.stdout
    after = keys.read_ring(path)
    assert after == derive(root(home), "acme", "zrh-1", [keys.quarter(this), keys.quarter(coming)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in home.glob("keys*")] == ["keys.json"]
    shows_no_key(home, result, after)
    again = run("rotate", "--root", str(home.parent / "root.key"), "--ring", str(path))
    assert "added none, left out none." in again.stdout


def test_rotate_needs_the_right_root(home: Path) -> None:
    """Another root key changes nothing; nor does an epoch that is none."""
    held = ring(home, ("2026Q4", -1, 1))
    keys.write_secret(home / "other.key", keys.new_root())
    result = run("rotate", "--root", str(home / "other.key"), "--ring", str(home / "keys.json"))
    assert result.exit_code == 1
    assert "is not derived from this root key; nothing was written" in result.stderr
    result = run(
        "rotate", "--root", str(home.parent / "root.key"), "--ring", str(home / "keys.json"), "--epochs", "2026-4"
    )
    assert result.exit_code == 2
    assert keys.read_ring(home / "keys.json") == held


# --- retire -----------------------------------------------------------------------------------------------------


def test_retire_removes_what_ended_long_ago(home: Path) -> None:
    """An epoch stays for 72 hours after its end; what is removed is in no file any more."""
    held = ring(home, ("old", -90, -4), ("last", -4, -2), ("now", -2, 90))
    result = run("retire", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert (answer["removed"], answer["left"]) == (["the key of epoch old"], ["last", "now"])
    assert answer["gateway"] == "No gateway is running."
    assert answer["search"] == {"files": 2, "found": [], "unread": []}
    assert keys.read_ring(home / "keys.json").epochs == held.epochs[1:]
    shows_no_key(home, result, held)
    assert "removed nothing" in run("retire").stdout


@pytest.mark.parametrize("spell", [bytes, lambda key: key.hex().encode(), b64encode, urlsafe_b64encode])
def test_a_copy_of_a_retired_key_is_found(home: Path, spell: "type[bytes]") -> None:
    """Beside the ring or in the state directory, in whatever spelling; the command says in which file, and fails."""
    held = ring(home, ("old", -90, -4), ("now", -4, 90))
    copy = home / "state" / "forgotten"
    copy.write_bytes(b"x" + spell(held.epochs[0].key))
    result = run("retire")
    assert result.exit_code == 1
    assert f"{copy.resolve()} still holds the key of epoch old" in result.stderr
    shows_no_key(home, result, held)


def test_retire_one_epoch(home: Path) -> None:
    """Only after its name has been typed; it is said if it is the one in force."""
    held = ring(home, ("now", -1, 90), ("next", 90, 180))
    refused = run("retire", "--epoch", "now", typed="next\n")
    assert refused.exit_code == 1
    assert "which is in force: no event names a subject" in refused.stderr
    assert "nothing was changed" in refused.stderr
    assert keys.read_ring(home / "keys.json") == held
    assert run("retire", "--epoch", "now", typed="now\n").exit_code == 0
    assert keys.read_ring(home / "keys.json").epochs == held.epochs[1:]
    unknown = run("retire", "--epoch", "now", "--yes")
    assert unknown.exit_code == 1
    assert "the ring holds no epoch now, only next" in unknown.stderr


def test_without_a_synced_clock_nothing_has_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is years ahead would take every key; a named epoch goes all the same."""
    configuration = home / "gateway.toml"
    configuration.write_text(CONFIGURATION.replace("trusted", "system"), encoding="utf-8")
    monkeypatch.setattr("gateway.clock.kernel_says_synced", lambda: False)
    monkeypatch.setattr("gateway.clock._TIMESYNCD", home / "none")
    held = ring(home, ("old", -90, -4), ("now", -4, 90))
    result = run("retire")
    assert result.exit_code == 1
    assert "the clock is not synced" in result.stderr
    assert keys.read_ring(home / "keys.json") == held
    assert run("retire", "--epoch", "old", "--yes").exit_code == 0


def test_retire_all_destroys_the_ring(home: Path) -> None:
    """After the gateway's id has been typed: the keys are in no file, and no event names anybody."""
    held = ring(home, ("now", -1, 90))
    keys.write_secret(home / "keys.json.new", held.to_json())
    assert run("retire", "--all", typed="now\n").exit_code == 1
    assert keys.read_ring(home / "keys.json") == held
    result = run("retire", "--all", typed="gw-1\n")
    assert result.exit_code == 0
    assert "removed the consent key, the key of epoch now." in result.stdout
    assert "none holds any" in result.stdout
    assert list(home.glob("keys*")) == []
    shows_no_key(home, result, held)
    again = run("retire", "--all", "--yes")
    assert again.exit_code == 0
    assert "no key ring at" in again.stderr


def test_half_a_ring_is_destroyed_too(home: Path) -> None:
    """What an interrupted destruction has left goes with the next."""
    (home / "keys.json").write_text("{", encoding="utf-8")
    result = run("retire", "--all", "--yes")
    assert result.exit_code == 0
    assert "no whole key ring" in result.stderr
    assert list(home.glob("keys*")) == []


def test_what_cannot_be_retired(home: Path) -> None:
    """Contradictions, a ring that is not there, and one that belongs to systemd."""
    assert run("retire", "--all", "--epoch", "now").exit_code == 2
    result = run("retire")
    assert result.exit_code == 1
    assert "no key ring at" in result.stderr
    text = CONFIGURATION.replace("./keys.json", "touchpoint-keys")
    (home / "gateway.toml").write_text(text, encoding="utf-8")
    result = run("retire")
    assert result.exit_code == 1
    assert "LoadCredential=" in result.stderr


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Path]:
    """Run the capture half in this process; returns the directory of its sockets."""
    settings = load(home / "gateway.toml")
    working = asyncio.ensure_future(capture(settings))
    try:
        await until(lambda: working.done() or (home / "state" / "control.sock").exists())
        yield settings.gateway.sockets
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def in_force(sockets: Path) -> bool:
    """Ask the running gateway whether a key is in force."""
    return bool((await ask(sockets, {"ask": "status"}))["key"])


async def test_a_running_gateway_notices(home: Path) -> None:
    """At once when the command tells it, and by itself within a second; the audit log knows who did it."""
    held = ring(home, ("now", -1, 90))
    async with running(home) as sockets:
        assert await in_force(sockets)
        result = await asyncio.to_thread(run, "retire", "--all", "--yes")
        assert result.exit_code == 0
        assert "The running gateway holds no key, and names nobody." in result.stdout
        assert not await in_force(sockets)
        shown = await asyncio.to_thread(CliRunner().invoke, app, ["status"])
        assert "no key is in force: no subject is named in any event" in shown.stdout
        keys.write_secret(home / "keys.json", held.to_json())
        async with asyncio.timeout(10):
            while not await in_force(sockets):  # noqa: ASYNC110  # it is another half's clock that decides when
                await asyncio.sleep(0.05)
    with closing(Backlog(home / "state")) as backlog:
        connection = backlog.connection()
        assert connection is not None
        changes = [(each.who, each.detail) for each in entries(connection) if each.what == "keys-changed"]
    assert [detail for _, detail in changes] == ['{"epochs":[]}', '{"epochs":["now"]}']
    assert changes[0][0] != changes[1][0] == "gateway"


# --- show and device --------------------------------------------------------------------------------------------


def test_show_says_what_is_due(home: Path) -> None:
    """Which epoch is in force, which should be gone, which is missing; and no key."""
    held = ring(home, ("old", -90, -4), ("now", -4, 10))
    result = run("show")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines() if "in force" in line] == ["now"]
    assert "epoch old ended at" in result.stderr
    assert "epoch now ends at" in result.stderr
    shows_no_key(home, result, held)
    answer = json.loads(run("show", "--json").stdout)
    assert [each["id"] for each in answer["epochs"]] == ["old", "now"]
    assert len(answer["warnings"]) == 2
    assert answer["device"] is None


def test_show_without_a_ring(home: Path) -> None:
    """The device key is shown all the same; the exit status says that something is missing."""
    keys.device_key(load(home / "gateway.toml"))
    result = run("show")
    assert result.exit_code == 1
    assert "no key ring at" in result.stderr
    assert "thumbprint" in result.stdout


def test_device_shows_the_public_half_alone(home: Path) -> None:
    """As a JWK with its thumbprint, for the centre to verify what was consented to in this store."""
    assert run("device").exit_code == 1
    settings = load(home / "gateway.toml")
    private = keys.device_key(settings)
    x = keys.device_public(settings)
    answer = json.loads(run("device", "--json").stdout)
    assert answer["jwk"] == {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "acme.zrh-1.gw-1"}
    assert answer["thumbprint"] == keys.thumbprint(str(x))
    result = run("device")
    assert str(x) in result.stdout
    assert urlsafe_b64encode(private.private_bytes_raw()).decode()[:40] not in result.output


def test_keys_of_tags_are_derived_and_added_to(home: Path) -> None:
    """The file is its owner's alone, and grows with the stock; what does not fit is refused, and nothing is shown."""
    out, uids = home / "sun.json", home.parent / "uids.txt"
    options = ("--root", str(home.parent / "root.key"), "--out", str(out), "--tenant", "acme", "--uids", str(uids))
    for number, stock in ((1, "04:de:5f:1e:ac:c0:40"), (2, "04958CAA5C5E80\n")):
        uids.write_text(stock, encoding="utf-8")
        result = run("tags", *options, "--site", "zrh-1")
        assert (result.exit_code, result.output) == (0, f"{out}: the keys of {number} tags of acme/zrh-1.\n")
    both = [bytes.fromhex("04de5f1eacc040"), bytes.fromhex("04958caa5c5e80")]
    assert keys.read_tag_keys(out) == ("acme", "zrh-1", tagkeys.derive(root(home), "acme", both))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    before = out.read_bytes()
    result = run("tags", *options, "--site", "gva-1")
    assert (result.exit_code, out.read_bytes()) == (1, before)
    assert "is another site's, or derived from another root key; nothing was written" in result.output
    uids.write_text("none of them", encoding="utf-8")
    result = run("tags", *options, "--site", "zrh-1")
    assert "is no list of UIDs: line 1: a UID has 14 hexadecimal digits" in result.output
    assert (result.exit_code, out.read_bytes()) == (1, before)
