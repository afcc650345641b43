"""BLE readers in the capture half: what becomes of a customer's stay while the radio has its troubles."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.capture import Capture
from gateway.config import load
from gateway.config.settings import ReaderSettings
from gateway.core.event import EventType
from gateway.daemon.capture import capture, source, zones
from gateway.sources.ble import BleSource, UnhealedError
from tests.core import salon
from tests.shop import Shop, until
from tests.simulators import frames
from tests.simulators.bluez import Bluez, PrivateBus

BEACON = {0x004C: frames.ibeacon(salon.CLARA_UUID, 7, 9, -59)}
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."

[mqtt]
host = "127.0.0.1"

[[reader]]
name = "ceiling"
kind = "ble"
zone = "salon"
"""
SETTINGS = ReaderSettings(name="salon", kind="ble", zone="salon")


@pytest.fixture
def bus(directory: Path, monkeypatch: pytest.MonkeyPatch) -> PrivateBus:
    bus = PrivateBus(directory)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    return bus


@asynccontextmanager
async def working(shop: Shop) -> AsyncIterator[None]:
    """Run the half with the driver that the configuration asks for."""
    async with shop.open() as half:
        driven = source(SETTINGS, half)
        assert isinstance(driven, BleSource)
        running = asyncio.ensure_future(half.run([driven]))
        try:
            await until(lambda: half.readers.get("salon") is not None)
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_a_stay_goes_on_through_a_crash_of_bluetoothd(bus: PrivateBus, tmp_path: Path) -> None:
    """A minute without bluetoothd is no departure; the stay ends when the beacon is not heard by a working scan."""
    shop = Shop(tmp_path)
    shop.ledger.grant(salon.CLARA)
    with bus:
        async with Bluez(bus.address) as bluez, working(shop):
            half = shop.capture
            for second in range(3):
                shop.clock.ahead_s = second
                assert bluez.advertise("C4:00:00:00:00:07", -60, manufacturer=BEACON)
                await until(lambda second=second: half.counts["sightings"] == second + 1)  # type: ignore[misc]
            await bluez.crash()
            await until(lambda: not half.readers["salon"].up)
            shop.clock.ahead_s = 62
            assert half.path.next_deadline() is None
            await bluez.start()
            await until(lambda: half.readers["salon"].up)
            await until(lambda: len(shop.events()) == 1)
            shop.clock.ahead_s = 80
            await until(lambda: len(shop.events()) == 2)
    assert [event.kind for event in shop.events()] == [EventType.APPEARED, EventType.DISAPPEARED]


async def test_what_cannot_be_healed_ends_the_half_with_its_reason(
    bus: PrivateBus, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error, which names reader, adapter and BlueZ's word; the command says it, and systemd starts it again."""
    file = directory / "gateway.toml"
    file.write_text(CONFIGURATION)

    def hasty(settings: ReaderSettings, half: Capture) -> BleSource:
        return BleSource(settings.name, tries=1, status=half.show, dropped=half.dropped)

    monkeypatch.setattr("gateway.daemon.capture.source", hasty)
    with bus:
        async with Bluez(bus.address) as bluez:
            bluez.refuse("StartDiscovery")
            with pytest.raises(UnhealedError) as caught:
                await capture(load(file))
    assert (caught.value.filename, caught.value.strerror) == (
        "reader ceiling",
        "hci0 does not scan: org.bluez.Error.InProgress; given up after 1 tries, to be started again",
    )


def test_a_zone_takes_the_settings_of_its_first_reader() -> None:
    """Presence is judged by zone, as configured; a scanner has none."""
    readers = [
        ReaderSettings(name="left", kind="ble", zone="salon", enter_offset=4.0, exit_offset=-4.0, window=2.0),
        ReaderSettings(name="right", kind="ble", zone="salon"),
        ReaderSettings(name="code", kind="scanner", device="/dev/x", touchpoint="counter"),
    ]
    ((zone, settings),) = zones(readers).items()
    assert (zone, settings.enter_offset, settings.exit_offset, settings.window) == ("salon", 4.0, -4.0, 2.0)
