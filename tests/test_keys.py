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
from gateway.core.pseudonym import KeyRing, derive

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
    with pytest.raises(keys.KeyFileError, match="root key") as refusal:
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
