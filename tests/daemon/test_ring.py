"""The key ring under a running capture half: changed, vanished, broken, and back."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway import keys
from gateway.config import GatewaySettings, MqttSettings, PseudonymSettings, Settings
from gateway.core.pseudonym import KeyRing, derive
from gateway.daemon.ring import RingFile

Q4, Q1 = (keys.quarter(name) for name in ("2026Q4", "2027Q1"))
RING = derive(bytes(range(32)), "acme", "zrh-1", [Q4])
LATER = derive(bytes(range(32)), "acme", "zrh-1", [Q4, Q1])


@dataclass
class Watched:
    """A ring's file and what was made of it."""

    path: Path
    used: list[KeyRing | None] = field(default_factory=list)
    noted: list[tuple[str, list[str]]] = field(default_factory=list)

    def file(self) -> RingFile:
        """Return the watcher of a gateway that began with this file's ring."""

        async def note(who: str, epochs: list[str]) -> None:
            self.noted.append((who, epochs))

        settings = Settings(
            gateway=GatewaySettings(tenant="acme", site="zrh-1", id="gw-1"),
            mqtt=MqttSettings(host="localhost"),
            pseudonym=PseudonymSettings(keys=str(self.path)),
        )
        return RingFile(settings, self.used.append, note, keys.key_ring(settings))


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A gateway with a ring."""
    keys.write_secret(tmp_path / "keys.json", RING.to_json())
    return Watched(tmp_path / "keys.json")


async def test_a_ring_that_stays_is_left_alone(watched: Watched) -> None:
    """Nothing is done, however often one looks, or touches the file."""
    file = watched.file()
    assert await file.look() == ["2026Q4"]
    watched.path.touch()
    assert await file.look() == ["2026Q4"]
    assert (watched.used, watched.noted) == ([], [])


async def test_a_new_ring_is_used(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """As soon as somebody looks; it is noted who asked, and never a key."""
    caplog.set_level(logging.INFO)
    file = watched.file()
    keys.replace_secret(watched.path, LATER.to_json())
    assert await file.look("anna") == ["2026Q4", "2027Q1"]
    assert watched.used == [LATER]
    assert watched.noted == [("anna", ["2026Q4", "2027Q1"])]
    assert [record.getMessage() for record in caplog.records] == ["key ring: 2026Q4, 2027Q1"]


async def test_a_vanished_ring_is_none(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """From then on nobody is named; once it is back it counts again."""
    file = watched.file()
    assert keys.destroy(watched.path)
    assert await file.look() == []
    assert "no subject is named" in caplog.text
    keys.write_secret(watched.path, RING.to_json())
    assert await file.look() == ["2026Q4"]
    assert watched.used == [None, RING]
    assert watched.noted == [("gateway", []), ("gateway", ["2026Q4"])]


@pytest.mark.parametrize("content", ["", '{"version": 1', derive(bytes(32), "acme", "gva-1", [Q4]).to_json()])
async def test_a_wrong_ring_counts_as_none(watched: Watched, content: str, caplog: pytest.LogCaptureFixture) -> None:
    """Half a file, or another site's: said once, without its content, and mended by the right one."""
    file = watched.file()
    watched.path.write_text(content, encoding="utf-8")
    for _ in range(3):
        assert await file.look() == []
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert not content or content not in caplog.text
    keys.replace_secret(watched.path, LATER.to_json())
    assert await file.look() == ["2026Q4", "2027Q1"]
    assert watched.used == [None, LATER]


async def test_a_ring_that_may_not_be_read_counts_as_none(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system says: without a ring nobody is named."""
    file = watched.file()
    watched.path.touch()

    def refused(settings: Settings) -> None:
        raise PermissionError(13, "Permission denied", str(settings.pseudonym.path))

    monkeypatch.setattr("gateway.daemon.ring.key_ring", refused)
    assert await file.look() == []
    assert watched.used == [None]
