"""A scanner that types, in the capture half: from the keys to an event on the disk."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

import gateway.config.settings
from gateway.config.settings import ReaderSettings
from gateway.core.event import EventType
from gateway.daemon.capture import source
from gateway.sources.scanner import ScannerSource
from gateway.sources.wedge import WedgeSource
from tests.core import salon
from tests.shop import Shop, until
from tests.simulators.wedge import WedgeSimulator


@pytest.fixture(autouse=True)
def keyboards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the input devices stand in a directory of the test."""
    monkeypatch.setattr(gateway.config.settings, "KEYBOARDS", f"{tmp_path}/input/")


async def test_a_code_that_is_typed_is_a_scan_on_the_disk(tmp_path: Path) -> None:
    """A scanner under /dev/input, set to Germany: a known code is an event, what could be several codes is counted."""
    shop = Shop(tmp_path)
    with WedgeSimulator(tmp_path / "input" / "by-id" / "usb-Acme-event-kbd") as scanner:
        async with shop.open() as half:
            settings = ReaderSettings(name="scanner", kind="scanner", device=str(scanner.path), touchpoint="counter")
            driven = source(settings, half)
            assert isinstance(driven, WedgeSource)
            running = asyncio.ensure_future(half.run([driven]))
            await until(lambda: "scanner" in half.readers and half.readers["scanner"].up)
            scanner.scan("zebra", layout="de", symbology="")
            scanner.scan(salon.ANNA.value, layout="de")
            await until(lambda: len(shop.events()) > 0)
            assert half.counts["dropped:ambiguous"] == 1
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    assert [event.kind for event in shop.events()] == [EventType.SCAN]


async def test_any_other_scanner_is_serial(tmp_path: Path) -> None:
    """A path elsewhere is a serial port."""
    async with Shop(tmp_path).open() as half:
        settings = ReaderSettings(name="scanner", kind="scanner", device="/dev/ttyACM0", touchpoint="counter")
        assert isinstance(source(settings, half), ScannerSource)
