"""What is logged, and how: text for people, fields and ids for journald."""

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.log import Message, begin, identifier, log, security

ROOT = Path(__file__).parent.parent
CATALOG = ROOT / "config" / "journald" / "touchpoint.catalog"


@pytest.fixture
def restored() -> Iterator[None]:
    """Leave logging as it was."""
    root, level = logging.getLogger(), log.level
    handlers, root_level = list(root.handlers), root.level
    root.handlers.clear()
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(root_level)
    log.setLevel(level)


def test_text_on_standard_error() -> None:
    """Without systemd a line has the logger's name and the message; security says that it is."""
    program = (
        "from gateway.log import begin, log, security; begin();"
        "log.info('up'); log.debug('x'); security.warning('forged')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == "touchpoint: up\ntouchpoint.security: forged\n"


@pytest.mark.usefixtures("restored")
def test_libraries_stay_at_warning(capfd: pytest.CaptureFixture[str]) -> None:
    """Some libraries print payloads below that."""
    begin("DEBUG")
    logging.getLogger("paho").info("payload")
    logging.getLogger("paho").warning("trouble")
    log.debug("ours")
    assert capfd.readouterr().err == "paho: trouble\ntouchpoint: ours\n"


@pytest.mark.parametrize(
    ("name", "expected"), [(log.name, "touchpoint"), (security.name, "touchpoint-security"), ("bleak", "bleak")]
)
def test_identifiers(name: str, expected: str) -> None:
    """What concerns security has an identifier of its own."""
    assert identifier(logging.LogRecord(name, 20, "", 1, "", None, None)) == expected


def test_ids_are_ids() -> None:
    """Each is 128 bits in hexadecimal, and no two are the same."""
    assert all(re.fullmatch("[0-9a-f]{32}", message) for message in Message)
    assert len(set(Message)) == len(Message.__members__)


def test_every_id_is_used() -> None:
    """None is there that nothing says."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "gateway").rglob("*.py"))
    unused = [message.name for message in Message if f"Message.{message.name}," not in source]
    assert unused == []


def test_every_id_is_explained(tmp_path: Path) -> None:
    """journald takes the catalogue, and finds each id in it."""
    there = tmp_path / "usr" / "lib" / "systemd" / "catalog"
    there.mkdir(parents=True)
    (tmp_path / "var" / "lib" / "systemd" / "catalog").mkdir(parents=True)
    (there / CATALOG.name).write_bytes(CATALOG.read_bytes())
    subprocess.run(["journalctl", f"--root={tmp_path}", "--update-catalog"], check=True, capture_output=True)
    listing = ["journalctl", f"--root={tmp_path}", "--list-catalog"]
    listed = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
    assert {line.split()[0] for line in listed.splitlines()} == set(Message)
    assert "(no description)" not in listed
