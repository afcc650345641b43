"""BLE readers in the capture half: what becomes of a customer's stay while the radio has its troubles."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
import typer

from gateway.capture import Capture
from gateway.cli.command import failures_explained
from gateway.config import EXIT_CONFIG, load
from gateway.config.settings import ReaderSettings
from gateway.core.event import EventType
from gateway.daemon.capture import capture, source, zones
from gateway.daemon.run import EXIT_FAILED
from gateway.sources.ble import BleSource, UnhealedError
from tests.core import salon
from tests.shop import Shop, Voice, until
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
async def working(shop: Shop, *readers: ReaderSettings) -> AsyncIterator[Voice]:
    """Run the half with the drivers that the configuration asks for, and a scanner that reads what it is told to."""
    async with shop.open() as half:
        driven = [source(each, half) for each in readers or (SETTINGS,)]
        assert all(isinstance(each, BleSource) for each in driven)
        scanner = Voice(half, "scanner")
        running = asyncio.ensure_future(half.run([*driven, scanner]))
        try:
            await until(lambda: all(each.name in half.readers for each in driven))
            yield scanner
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


async def test_two_adapters_have_a_zone_each(bus: PrivateBus, tmp_path: Path) -> None:
    """Somebody is where the beacon is near, whoever else hears it from far; the two fail and heal on their own."""
    shop = Shop(tmp_path)
    shop.ledger.grant(salon.CLARA)
    places = [
        ReaderSettings(name=zone, kind="ble", zone=zone, adapter=f"hci{number}")
        for number, zone in enumerate(("salon", "entrance"))
    ]

    def told() -> list[tuple[EventType, str]]:
        return [(event.kind, event.data.model_dump()["zone"]) for event in shop.events()]

    async def heard(bluez: Bluez, second: int, *levels: int) -> None:
        shop.clock.ahead_s = second
        for number, rssi in enumerate(levels):
            before = shop.capture.counts["sightings"]
            assert bluez.advertise("C4:00:00:00:00:07", rssi, manufacturer=BEACON, number=number)
            await until(lambda before=before: shop.capture.counts["sightings"] > before)  # type: ignore[misc]

    with bus:
        async with Bluez(bus.address, adapters=2) as bluez, working(shop, *places):
            for second in range(3):
                await heard(bluez, second, -60, -90)
            await until(lambda: told() == [(EventType.APPEARED, "salon")])
            for second in range(3, 25):
                await heard(bluez, second, -90, -60)
            await until(lambda: len(told()) == 3)
            bluez.power(on=False, number=1)
            await until(lambda: not shop.capture.readers["entrance"].up)
            assert shop.capture.readers["salon"].up
            for second in range(26, 60):
                await heard(bluez, second, -90)
            await shop.capture.save()
    assert told() == [(EventType.APPEARED, "salon"), (EventType.APPEARED, "entrance"), (EventType.DISAPPEARED, "salon")]


async def test_a_flood_of_advertisements_costs_no_scan(bus: PrivateBus, tmp_path: Path) -> None:
    """Of 5,000 a second, from more beacons than there is room for, what is too much is counted; no scan is lost."""
    shop, scans = Shop(tmp_path), 20
    with bus:
        async with Bluez(bus.address) as bluez, working(shop) as scanner:
            counts = shop.capture.counts
            flooding = asyncio.ensure_future(flood(bluez))
            try:
                await until(lambda: counts["sightings"] > 1000)
                for number in range(scans):
                    shop.clock.ahead_s = 3 * number
                    scanner.say(salon.scan("good"))
                    await until(lambda number=number: len(shop.events()) == number + 1)  # type: ignore[misc]
                heard = counts["sightings"]
                await until(lambda: counts["sightings"] > heard)
            finally:
                flooding.cancel()
                with suppress(asyncio.CancelledError):
                    await flooding
    assert [event.kind for event in shop.events()] == [EventType.RESPONSE] * scans
    assert counts["sightings"] == sum(number for name, number in counts.items() if name != "sightings")
    assert counts["dropped:unknown"] > 0


async def flood(bluez: Bluez) -> None:
    """Send 100 advertisements every 20 ms: of strangers, and of 1,000 beacons in our namespace."""
    for number in count():
        for each in range(100 * number, 100 * number + 100):
            address = f"C4:00:00:00:{each % 1000 // 256:02X}:{each % 256:02X}"
            stranger = {0x004C: bytes([0x10, 0x05, each % 256])}
            ours = {0x004C: frames.ibeacon(salon.CLARA_UUID, 7, each % 1000, -59)}
            bluez.advertise(address, -60, manufacturer=ours if each % 2 else stranger)
        await bluez.settle()
        await asyncio.sleep(0.02)


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


def test_what_cannot_be_healed_ends_the_command_so_that_systemd_starts_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With status 1, which is a failure to be repeated, not 78, a mistake in the configuration; and one line why."""
    with pytest.raises(typer.Exit) as caught, failures_explained():
        raise UnhealedError("ceiling", "hci0 does not scan: org.bluez.Error.InProgress", 20)
    assert caught.value.exit_code == EXIT_FAILED != EXIT_CONFIG
    assert capsys.readouterr().err == (
        "reader ceiling: hci0 does not scan: org.bluez.Error.InProgress; given up after 20 tries, to be started again\n"
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
