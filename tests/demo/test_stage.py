"""The whole demo, with the real gateway, a real broker and the real scanner driver, in which something goes wrong."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from gateway.demo import DemoError, broker, stage
from gateway.demo.boutique import boutique
from gateway.demo.show import Silent
from gateway.demo.stage import play

pytestmark = pytest.mark.timeout(180)  # a machine that others keep busy needs a minute for some of them
SECONDS = 5
PUBLISH = 0x30
"""MQTT 5.0, section 2.1.2: the packet type stands in the upper four bits of the first byte."""


class Repeating:
    """A line that carries the first tap twice."""

    def __init__(self) -> None:
        self.repeated = False

    def __call__(self, chunk: bytes) -> bytes:
        if self.repeated or chunk[0] & 0xF0 != PUBLISH or b"touchpoint.tap.v1" not in chunk:
            return chunk
        self.repeated = True
        return chunk * 2


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the demo a directory of its own for temporary files, and see that nothing is left in it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # pytest's own are too deep for sockets
        monkeypatch.setattr("tempfile.tempdir", name)
        yield Path(name)
        assert list(Path(name).iterdir()) == []


async def test_a_duplicate_on_the_line_is_noticed() -> None:
    """A publish that the line repeats is reported as a duplicate, and nothing else is."""
    line = Repeating()
    report = await play(Silent(), SECONDS, 3, tamper=line)
    assert line.repeated
    assert report.problems() == ["1 events arrived more than once"]
    assert report.as_json()["duplicates"] == 1


async def test_a_raw_identifier_in_a_file_is_noticed() -> None:
    """A token that lands in the state directory is found there, and the report does not repeat it."""
    token = boutique(Random(4)).anna.token.encode()  # noqa: S311  # the same seed has the same customers

    def intrude(state: Path) -> None:
        (state / "forgotten.log").write_bytes(b"read " + token)

    report = await play(Silent(), SECONDS, 4, intrude=intrude)
    assert all(problem.startswith("a raw identifier was found: Anna's ") for problem in report.problems())
    assert report.as_json()["raw_identifiers_found"] == len(report.problems()) > 0
    assert token.rpartition(b"/")[2].decode() not in str(report.as_json())


@pytest.mark.usefixtures("rooms")
async def test_says_when_the_gateway_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the gateway's own is passed on with its words, and nothing is left behind."""
    monkeypatch.setattr("gateway.demo.installation.CONFIGURATION", "[gateway]\nnonsense = true\n")
    with pytest.raises(DemoError, match=r"(?s)the gateway ended at once.*nonsense"):
        await play(Silent(), SECONDS, 3)


async def test_mosquitto_serves_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the broker in a wheel, the machine's own carries the day."""
    monkeypatch.setattr(broker, "find_spec", lambda _name: None)
    report = await play(Silent(), SECONDS, 5)
    assert (report.problems(), report.broker) == ([], "mosquitto")


async def test_says_when_there_is_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any broker the demo says which to install."""
    monkeypatch.setattr(broker, "find_spec", lambda _name: None)
    monkeypatch.setattr(broker, "mosquitto_program", lambda: None)
    with pytest.raises(DemoError, match="apt-get install mosquitto"):
        await play(Silent(), SECONDS, 3)


@pytest.mark.usefixtures("rooms")
async def test_nothing_is_left_when_it_is_cancelled() -> None:
    """Cancelled in the middle of the day, it takes its files along."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await play(Silent(), SECONDS, 3)


def test_sockets_have_room_wherever_temporary_files_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary directory too deep for sockets is left for /tmp."""
    monkeypatch.setattr("tempfile.tempdir", "/var/tmp")  # noqa: S108  # only its length matters
    assert stage.room() is None
    monkeypatch.setattr("tempfile.tempdir", "/" + "d" * 80)
    assert stage.room() == "/tmp"  # noqa: S108  # what it falls back to
