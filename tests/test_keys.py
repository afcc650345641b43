"""Key files: written once and for their owner alone, read back, and never quoted in an error."""

import os
import stat
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import keys
from gateway.config import ConfigError, GatewaySettings, MqttSettings, PseudonymSettings, Settings
from gateway.config.settings import BleSettings
from gateway.core.pseudonym import KeyRing, derive
from gateway.store.device import public_text

ROOT = bytes(range(32))
RING = derive(ROOT, "acme", "zrh-1", [keys.quarter("2026Q4")])
LEAK = "c2VjcmV0LXNlY3JldC1zZWNyZXQ"


def settings(ring: Path | str, site: str = "zrh-1") -> Settings:
    """Return the settings of a gateway whose ring lies there."""
    return Settings(
        gateway=GatewaySettings(tenant="acme", site=site, id="gw-1"),
        mqtt=MqttSettings(host="localhost"),
        pseudonym=PseudonymSettings(keys=str(ring)),
    )


def written(path: Path, ring: KeyRing = RING) -> Path:
    """Write a ring as `touchpoint keys derive` does."""
    keys.write_secret(path, ring.to_json())
    return path


def ms(*date: int) -> int:
    """Return Unix milliseconds of a date."""
    return int(datetime(*date, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc,arg-type]  # year, month, day, time


def test_the_configured_ring_is_read(tmp_path: Path) -> None:
    """A ring written by us is the ring read by us."""
    assert keys.key_ring(settings(written(tmp_path / "keys.json"))) == RING


def test_without_a_ring_the_gateway_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file that is not there yet nor a credential that nobody passed is an error."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert keys.key_ring(settings(tmp_path / "keys.json")) is None
    assert keys.key_ring(settings("touchpoint-keys")) is None


def test_a_ring_may_be_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain name is looked up where systemd puts what it decrypted for this service."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    written(tmp_path / "touchpoint-keys")
    assert keys.key_ring(settings("touchpoint-keys")) == RING


def test_a_ring_of_another_site_is_refused(tmp_path: Path) -> None:
    """Both sites are named: pseudonyms under the wrong keys could not be told from right ones."""
    with pytest.raises(ConfigError) as refusal:
        keys.key_ring(settings(written(tmp_path / "keys.json"), site="gva-1"))
    assert "this ring is for acme/zrh-1, the gateway stands at acme/gva-1" in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (LEAK.encode(), "it is not JSON"),
        (RING.to_json().replace('"version": 1', '"version": 2').encode(), "version: this gateway reads version 1"),
        (
            f'{{"version": 1, "tenant": "acme", "site": "zrh-1", "consent_key": "{LEAK}"}}'.encode(),
            "consent_key: not 32",
        ),
        (b"\xff" + LEAK.encode(), "it is not text of the expected kind"),
    ],
)
def test_a_wrong_ring_is_refused_without_echo(tmp_path: Path, content: bytes, why: str) -> None:
    """The error names the file, the setting and the fault, and never what is in the file."""
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        keys.key_ring(settings(path))
    for part in (str(path), "pseudonym.keys", why, "touchpoint keys derive"):
        assert part in str(refusal.value)
    assert LEAK not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_a_ring_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """The words of the operating system are enough."""
    with pytest.raises(keys.KeyFileError, match="Is a directory"):
        keys.read_ring(tmp_path)


def test_a_root_key_survives_its_file(tmp_path: Path) -> None:
    """32 random bytes, another each time."""
    first, second = keys.new_root(), keys.new_root()
    assert first != second
    keys.write_secret(tmp_path / "root", first)
    root = keys.read_root(tmp_path / "root")
    assert len(root) == 32
    assert root == urlsafe_b64decode(f"{first}=")


@pytest.mark.parametrize(
    "content", [b"", LEAK.encode(), LEAK.encode() * 2, b"A" * 45, b"\xff" * 43, b"!" + b"A" * 43, b"A" * 42 + b"B"]
)
def test_a_wrong_root_key_is_refused_without_echo(tmp_path: Path, content: bytes) -> None:
    """Too short, too long, of another alphabet, or with a stray character."""
    path = tmp_path / "root"
    path.write_bytes(content)
    with pytest.raises(keys.KeyFileError, match=r"the key|a root key") as refusal:
        keys.read_root(path)
    assert str(path) in str(refusal.value)
    assert LEAK not in str(refusal.value)


def test_a_root_key_that_is_not_there_says_so(tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(keys.KeyFileError, match=r"root: No such file or directory$"):
        keys.read_root(tmp_path / "root")


def test_a_secret_is_its_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask allows."""
    before = os.umask(0)
    try:
        keys.write_secret(tmp_path / "root", LEAK)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o600
    assert (tmp_path / "root").read_text(encoding="utf-8") == f"{LEAK}\n"


def test_a_secret_is_never_written_over(tmp_path: Path) -> None:
    """A lost root key is lost for ever."""
    path = tmp_path / "root"
    path.write_text("first", encoding="utf-8")
    with pytest.raises(keys.KeyFileError, match="is there already"):
        keys.write_secret(path, LEAK)
    assert path.read_text(encoding="utf-8") == "first"


def test_a_secret_that_cannot_be_created_says_why(tmp_path: Path) -> None:
    """A directory that is not there, for instance."""
    with pytest.raises(keys.KeyFileError, match="No such file or directory"):
        keys.write_secret(tmp_path / "nowhere" / "root", LEAK)


def test_a_secret_half_written_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves no file that looks like a key."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device", descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(keys.KeyFileError, match="No space left on device"):
        keys.write_secret(tmp_path / "root", LEAK)
    assert list(tmp_path.iterdir()) == []


def test_a_quarter_has_its_bounds() -> None:
    """In UTC, up to the first millisecond of the next."""
    assert keys.quarter("2026Q4") == ("2026Q4", ms(2026, 10, 1), ms(2027, 1, 1))
    assert keys.quarter("2027Q1") == ("2027Q1", ms(2027, 1, 1), ms(2027, 4, 1))
    assert keys.quarter("2028Q2") == ("2028Q2", ms(2028, 4, 1), ms(2028, 7, 1))


@pytest.mark.parametrize(
    "epoch",
    [
        "",
        "2026",
        "2026Q0",
        "2026Q5",
        "2026q4",
        "2026-4",
        "2026Q04",
        "1999Q4",
        "3000Q1",
        "20260Q4",
        "next year",
        "\u0662\u0660\u0662\u0666Q4",
    ],
)
def test_what_is_no_quarter_is_refused(epoch: str) -> None:
    """The message shows what one looks like."""
    with pytest.raises(ValueError, match=r"is not a quarter like 2026Q4$"):
        keys.quarter(epoch)


def test_quarters_follow_each_other() -> None:
    """The present one and the ones after it, across the year."""
    assert keys.quarters(ms(2026, 12, 31), 3) == ["2026Q4", "2027Q1", "2027Q2"]
    assert keys.quarters(ms(2027, 1, 1), 1) == ["2027Q1"]
    assert keys.quarters(ms(2027, 1, 1) - 1, 1) == ["2026Q4"]


@given(st.integers(ms(2000, 1, 1), ms(2990, 1, 1)), st.integers(1, 8))
def test_the_quarters_of_any_time_are_without_a_gap(now_ms: int, count: int) -> None:
    """The first holds now, and each ends where the next begins."""
    spans = [keys.quarter(epoch) for epoch in keys.quarters(now_ms, count)]
    assert len(spans) == count
    assert spans[0][1] <= now_ms < spans[0][2]
    assert all(before[2] == after[1] for before, after in pairwise(spans))


# --- keys that come and go --------------------------------------------------------------------------------------

HOUR = 3_600_000
Q3, Q4, Q1 = (keys.quarter(name) for name in ("2026Q3", "2026Q4", "2027Q1"))
NOW = ms(2026, 11, 23)


def test_a_ring_is_renewed() -> None:
    """The coming epoch is added; one that ended more than 72 hours ago is left out; what is there stays as it is."""
    ring = derive(ROOT, "acme", "zrh-1", [Q3, Q4])
    renewed = keys.rotated(ring, ROOT, [Q1, Q4], NOW)
    assert renewed == derive(ROOT, "acme", "zrh-1", [Q4, Q1])
    assert keys.rotated(ring, ROOT, [Q4], Q3[2] + 72 * HOUR - 1) == ring
    assert keys.rotated(renewed, ROOT, [Q4, Q1], NOW) == renewed


def test_another_root_renews_no_ring() -> None:
    """Pseudonyms of half a ring could not be joined with the other half's."""
    with pytest.raises(keys.KeyFileError, match="acme/zrh-1 is not derived from this root key"):
        keys.rotated(RING, bytes(32), [Q1], NOW)


@pytest.mark.parametrize(
    ("spans", "now_ms", "said"),
    [
        ([Q4], NOW, []),
        ([Q4, Q1], Q4[2] - HOUR, []),
        ([Q4], Q4[2] - 14 * 24 * HOUR - 1, []),
        (
            [Q4],
            Q4[2] - 14 * 24 * HOUR,
            ["epoch 2026Q4 ends at 2027-01-01T00:00:00.000Z and the ring holds none after it"],
        ),
        ([Q4], Q4[2], ["no epoch is in force"]),
        ([], NOW, ["no epoch is in force"]),
        ([Q3, Q4], Q3[2] + 72 * HOUR - 1, []),
        ([Q3, Q4], Q3[2] + 72 * HOUR, ["epoch 2026Q3 ended at 2026-10-01T00:00:00.000Z, more than 72 hours ago"]),
        ([("open", 0, None)], NOW, []),
    ],
)
def test_what_is_due_is_said(spans: list[tuple[str, int, int | None]], now_ms: int, said: list[str]) -> None:
    """An epoch that should be gone, one that is missing soon, and one that is missing now."""
    warnings = keys.ring_warnings(derive(ROOT, "acme", "zrh-1", spans), now_ms)
    assert all(text in warning for text, warning in zip(said, warnings, strict=True))


def test_a_secret_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """By another file, for its owner alone; nothing else is left in the directory."""
    path = written(tmp_path / "keys.json")
    path.chmod(0o640)
    before = path.stat().st_ino
    keys.replace_secret(path, "new")
    assert path.read_text(encoding="utf-8") == "new\n"
    assert path.stat().st_ino != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_secret_was_is_overwritten(tmp_path: Path) -> None:
    """Whoever still has the old file open, or another name for it, reads nothing in it any more."""
    path = written(tmp_path / "keys.json")
    (tmp_path / "backup").hardlink_to(path)
    keys.replace_secret(path, "new")
    assert set((tmp_path / "backup").read_bytes()) == {0}


def test_a_link_to_a_secret_stays_a_link(tmp_path: Path) -> None:
    """The file that it leads to is replaced."""
    (tmp_path / "real").mkdir()
    path = written(tmp_path / "real" / "keys.json")
    (tmp_path / "link").symlink_to(path)
    keys.replace_secret(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert path.read_text(encoding="utf-8") == "new\n"


def test_what_was_interrupted_is_cleared_away(tmp_path: Path) -> None:
    """A file that an interrupted change has left holds keys too: it goes with the next change."""
    path = written(tmp_path / "keys.json")
    written(tmp_path / "keys.json.new")
    keys.replace_secret(path, "new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one is whole, and nothing of the new one is left."""
    path = written(tmp_path / "keys.json")

    def refused(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self), None, str(target))

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(keys.KeyFileError, match=r"cannot write .*keys\.json: Permission denied"):
        keys.replace_secret(path, LEAK)
    assert keys.read_ring(path) == RING
    assert list(tmp_path.iterdir()) == [path]


def test_a_destroyed_file_is_overwritten_and_gone(tmp_path: Path) -> None:
    """Under all its names; a second time there is nothing to do."""
    path = written(tmp_path / "keys.json")
    (tmp_path / "backup").hardlink_to(path)
    (tmp_path / "link").symlink_to(path)
    assert keys.destroy(tmp_path / "link")
    assert set((tmp_path / "backup").read_bytes()) == {0}
    assert [each.name for each in tmp_path.iterdir()] == ["backup"]
    assert not keys.destroy(path)


def test_what_cannot_be_destroyed_says_why(tmp_path: Path) -> None:
    """A directory, for instance."""
    with pytest.raises(keys.KeyFileError, match=r"cannot destroy .*: Is a directory"):
        keys.destroy(tmp_path)


def test_who_else_may_read_a_file(tmp_path: Path) -> None:
    """Group or others, or change it; a file that is not there is read by nobody."""
    path = written(tmp_path / "keys.json")
    assert not keys.others_may_read(path)
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        assert keys.others_may_read(path)
    assert not keys.others_may_read(tmp_path / "none")


def test_names_of_keys_can_be_shown() -> None:
    """What is searched for is named without being shown."""
    named = keys.ring_secrets(RING)
    assert [name for name, _ in named] == ["the consent key", "the key of epoch 2026Q4"]
    assert keys.ring_secrets(RING, RING.epochs[0]) == named[1:]
    assert dict(named)["the consent key"] == RING.consent_key


# --- the device key ---------------------------------------------------------------------------------------------


def test_the_thumbprint_is_that_of_the_standard() -> None:
    """The key and the thumbprint of RFC 8037, appendices A.2 and A.3."""
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert keys.thumbprint(x) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def of_state(directory: Path) -> Settings:
    """Return the settings of a gateway with this state directory."""
    return settings(directory / "keys.json").model_copy(
        update={"gateway": GatewaySettings(tenant="acme", site="zrh-1", id="gw-1", state=directory)}
    )


def test_the_public_half_is_there_after_the_first_start(tmp_path: Path) -> None:
    """From the key, or for those who may not read it from what was left for them; before, there is none."""
    here = of_state(tmp_path)
    assert keys.device_public(here) is None
    assert list(tmp_path.iterdir()) == []
    x = public_text(keys.device_key(here).public_key())
    assert keys.device_public(here) == x
    (tmp_path / "device.key").unlink()
    assert keys.device_public(here) == x


def test_the_key_may_lie_where_the_other_half_cannot_reach(tmp_path: Path) -> None:
    """In the private directory, if there is one; its public half lies in the state directory all the same."""
    state, private = tmp_path / "state", tmp_path / "private"
    state.mkdir()
    private.mkdir()
    here = of_state(state)
    apart = here.model_copy(update={"gateway": here.gateway.model_copy(update={"private": private})})
    x = public_text(keys.device_key(apart).public_key())
    assert [path.name for path in private.iterdir()] == ["device.key"]
    assert [path.name for path in state.iterdir()] == ["device.pub"]
    assert keys.device_public(apart) == x
    assert (state / "device.pub").stat().st_mode & 0o777 == 0o660


def test_a_public_half_that_is_none_says_so(tmp_path: Path) -> None:
    """And does not show what stands there instead."""
    (tmp_path / "device.pub").write_text(LEAK, encoding="ascii")
    with pytest.raises(keys.KeyFileError, match=r"cannot read the public key .*device\.pub") as refusal:
        keys.device_public(of_state(tmp_path))
    assert LEAK not in str(refusal.value)


def test_where_secrets_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the names of their settings; a credential that nobody passed lies nowhere."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    here = of_state(tmp_path)
    assert keys.key_files(here) == {
        "pseudonym.keys": tmp_path / "keys.json",
        "consent.device_key": tmp_path / "device.key",
        "tags.key": tmp_path / "tags.key",
    }
    files = {"ca": "/a", "certificate": "/c", "key": "/k", "password_file": "/p"}
    mqtt = MqttSettings.model_validate({"host": "h", "username": "u", **files})
    named = here.model_copy(update={"mqtt": mqtt, "pseudonym": PseudonymSettings(keys="ring")})
    assert keys.key_files(named) == {
        "consent.device_key": tmp_path / "device.key",
        "tags.key": tmp_path / "tags.key",
        "mqtt.key": Path("/k"),
        "mqtt.key.next": Path("/k.next"),
        "mqtt.password_file": Path("/p"),
    }


def with_beacons(file: Path | None) -> Settings:
    """Return the settings of a gateway whose beacons' keys lie there."""
    return Settings(
        gateway=GatewaySettings(tenant="acme", site="zrh-1", id="gw-1"),
        mqtt=MqttSettings(host="localhost"),
        ble=BleSettings(beacons=None if file is None else str(file)),
    )


BEACON = '{"name": "mirror", "key": "%s", "exponent": 10, "counter": 5, "at": "2026-11-21T10:00:00Z"}'


def test_keys_of_beacons_are_read(tmp_path: Path) -> None:
    """And known as a secret of this gateway; without the setting there are none."""
    assert keys.beacon_keys(with_beacons(None)) == ()
    file = tmp_path / "beacons.json"
    file.write_text('{"version": 1, "beacons": [%s]}' % (BEACON % ("0a" * 16)), encoding="utf-8")
    (beacon,) = keys.beacon_keys(with_beacons(file))
    assert (beacon.name, beacon.key) == ("mirror", b"\x0a" * 16)
    assert keys.key_files(with_beacons(file))["ble.beacons"] == file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"\xff", "it is not text of the expected kind"),
        (b'{"version": 1, "beacons": [' + (BEACON % LEAK).encode() + b"]}", "beacon 1: key must be 32 hexadecimal"),
    ],
)
def test_keys_of_beacons_that_cannot_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    """The file, the setting and what is wrong; never what stands there."""
    file = tmp_path / "beacons.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        keys.beacon_keys(with_beacons(file))
    assert f"{file}: ble.beacons: cannot read the keys of the store's beacons: {said}" in str(caught.value)
    assert LEAK not in str(caught.value)
