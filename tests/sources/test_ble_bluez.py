"""The BlueZ without a radio, held against what BlueZ's documents and captures say; and what hears of its adapters."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from bleak import BleakScanner
from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from gateway.sources.ble_bluez import ADAPTER, BLUEZ, PROPERTIES, Adapter, News, RefusedError
from gateway.sources.ble_bluez import Bluez as Watching
from gateway.sources.source import DeviceLostError
from tests.simulators.bluez import Bluez, PrivateBus
from tests.sources.watch import Watch

HCI0 = "/org/bluez/hci0"


@pytest.fixture
def bus(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateBus]:
    with PrivateBus(directory) as started:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", started.address)
        yield started


@pytest.fixture
async def bluez(bus: PrivateBus) -> AsyncIterator[Bluez]:
    async with Bluez(bus.address) as running:
        yield running


@pytest.fixture
async def client(bus: PrivateBus) -> AsyncIterator[MessageBus]:
    del bus
    connection = await MessageBus(bus_type=BusType.SYSTEM).connect()
    yield connection
    connection.disconnect()
    await connection.wait_for_disconnect()  # type: ignore[no-untyped-call]


async def ask(client: MessageBus, member: str, signature: str = "", *body: object, interface: str = ADAPTER) -> str:
    """Call a method of the adapter; return the name of the error, or nothing."""
    call = Message(BLUEZ, HCI0, interface, member, signature=signature, body=list(body))
    reply = await client.call(call)
    return (reply.error_name or "") if reply.message_type is MessageType.ERROR else ""


async def test_discovery_is_refused_as_documented(bluez: Bluez, client: MessageBus) -> None:
    """doc/org.bluez.Adapter.rst: one session for each client; nothing while the adapter is off."""
    assert await ask(client, "StopDiscovery") == "org.bluez.Error.Failed"
    assert await ask(client, "StartDiscovery") == ""
    assert await ask(client, "StartDiscovery") == "org.bluez.Error.InProgress"
    assert bluez.scanning()
    assert await ask(client, "StopDiscovery") == ""
    assert not bluez.scanning()
    bluez.power(on=False)
    for member in ("StartDiscovery", "StopDiscovery"):
        assert await ask(client, member) == "org.bluez.Error.NotReady"
    assert await ask(client, "SetDiscoveryFilter", "a{sv}", {}) == "org.bluez.Error.NotReady"


async def test_switching_off_ends_every_session(bluez: Bluez, client: MessageBus) -> None:
    """After switching off and on nobody discovers, and StopDiscovery says so."""
    assert await ask(client, "StartDiscovery") == ""
    for on in (False, True):
        arguments = ("ssv", ADAPTER, "Powered", Variant("b", value=on))
        assert await ask(client, "Set", *arguments, interface=PROPERTIES) == ""
    assert not bluez.scanning()
    assert await ask(client, "StopDiscovery") == "org.bluez.Error.Failed"


async def test_a_filter_is_checked(bluez: Bluez, client: MessageBus) -> None:
    """Unknown keys and wrong types are invalid arguments."""
    del bluez
    assert await ask(client, "SetDiscoveryFilter", "a{sv}", {"RSSI": Variant("n", -127)}) == ""
    for wrong in ({"RSSI": Variant("s", "x")}, {"Colour": Variant("s", "red")}):
        assert await ask(client, "SetDiscoveryFilter", "a{sv}", wrong) == "org.bluez.Error.InvalidArguments"


async def test_a_client_that_leaves_discovers_no_more(bus: PrivateBus, bluez: Bluez, watch: Watch) -> None:
    """bluetoothd watches its clients on the bus."""
    del bus
    other = await MessageBus(bus_type=BusType.SYSTEM).connect()
    assert await ask(other, "StartDiscovery") == ""
    other.disconnect()
    await watch.until(lambda: not bluez.scanning())


async def test_a_device_is_removed(bluez: Bluez, client: MessageBus) -> None:
    """Once; another time it does not exist."""
    await ask(client, "StartDiscovery")
    bluez.advertise("C4:00:00:00:00:01", -60)
    device = f"{HCI0}/dev_C4_00_00_00_00_01"
    assert await ask(client, "RemoveDevice", "o", device) == ""
    assert await ask(client, "RemoveDevice", "o", device) == "org.bluez.Error.DoesNotExist"


@pytest.mark.parametrize(
    ("version", "adapter", "filters", "heard"),
    [
        ((5, 66), "LE only", {}, 4),
        ((5, 82), "LE only", {}, 2),
        ((5, 82), "dual mode", {}, 4),
        ((5, 82), "LE only", {"RSSI": -127}, 4),
        ((5, 88), "dual mode", {"DuplicateData": False}, 2),
        ((5, 88), "dual mode", {"RSSI": -127}, 4),
    ],
)
async def test_small_changes_of_rssi_are_published_as_captured(
    bus: PrivateBus, watch: Watch, version: tuple[int, int], adapter: str, filters: dict[str, Any], heard: int
) -> None:
    """By version, adapter and filter: -60, -67, -68, -61 dBm are four callbacks of bleak, or two of them."""
    async with Bluez(bus.address, version=version) as bluez:
        bluez.adapters[0].dual_mode = adapter == "dual mode"
        seen: list[int] = []
        options: Any = {"filters": filters}
        scanner = BleakScanner(lambda _, said: seen.append(said.rssi), bluez=options)
        async with Watching(lambda _: None) as watching, scanner:
            watching.use()
            for rssi in (-60, -67, -68, -61):
                bluez.advertise("C4:00:00:00:00:01", rssi, manufacturer={6: b"same"})
            bluez.advertise("C4:00:00:00:00:02", -50)
            await watch.until(lambda: -50 in seen)
    assert len(seen) - 1 == heard


async def test_adapters_are_found_and_heard_of(bluez: Bluez) -> None:
    """An adapter that comes, goes, or is switched is news; so is bluetoothd. A device is not."""
    heard: list[News] = []
    async with Watching(heard.append) as watching:
        (found,) = await watching.adapters()
        assert found == Adapter("hci0", bluez.adapters[0].address, powered=True)
        unplugged = bluez.unplug()
        bluez.plug(unplugged, 2)
        bluez.power(on=False, number=2)
        assert [each.name for each in await watching.adapters() if not each.powered] == ["hci2"]
        await bluez.crash()
        with pytest.raises(DeviceLostError, match="not running"):
            await watching.adapters()
        await bluez.start()
        await watching.adapters()
    assert [news.text for news in heard][:7] == [
        "hci0 was unplugged",
        "hci2 was plugged in",
        "hci2 was switched on",
        "hci2 was switched off",
        "bluetoothd is gone",
        "bluetoothd has come back",
        "hci2 was plugged in",
    ]


async def test_a_bluetoothd_that_hangs_is_not_waited_for(bluez: Bluez, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told apart from one that is gone, since nothing will tell when it is back."""
    monkeypatch.setattr("gateway.sources.ble_bluez.ANSWER_SECONDS", 0.1)
    async with Watching(lambda _: None) as watching:
        bluez.hang()
        with pytest.raises(RefusedError, match="does not answer"):
            await watching.adapters()
        await watching.power_cycle("hci0")
        bluez.wake()
        assert len(await watching.adapters()) == 1


async def test_without_a_bus_there_is_nothing_to_hear(
    directory: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: None
) -> None:
    """The bus that is not there is named; the one that goes is news."""
    del nothing_left
    bus, heard = PrivateBus(directory), list[News]()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    with pytest.raises(DeviceLostError, match="system bus cannot be reached"):
        await Watching(heard.append).__aenter__()
    with bus:
        async with Watching(heard.append) as watching:
            bus.stop()
            async with asyncio.timeout(5):
                while watching.connected:  # noqa: ASYNC110 -- the bus sets it
                    await asyncio.sleep(0.01)
            with pytest.raises(DeviceLostError):
                await watching.adapters()
    assert heard == [News("the D-Bus system bus is gone")]
