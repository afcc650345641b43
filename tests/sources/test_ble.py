"""Beacons by the real bleak, from a BlueZ on a private message bus."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.decode.namespace import ANY, Namespaces
from gateway.core.sighting import Advertisement
from gateway.sources import ble
from gateway.sources.ble import BleSource, UnhealedError, choose
from gateway.sources.ble_bluez import Adapter
from tests.simulators.bluez import Bluez, BluezError, PrivateBus
from tests.sources.watch import Watch, take

UUID = bytes.fromhex("f7826da64fa24e988024bc5b71e0893e")
OURS = Namespaces(
    ibeacon=frozenset({UUID}), altbeacon=frozenset(), eddystone_uid=frozenset(), eddystone_eid=frozenset(), links=()
)
A, B, C = "C4:00:00:00:00:0A", "C4:00:00:00:00:0B", "C4:00:00:00:00:0C"
FEAA = "0000feaa-0000-1000-8000-00805f9b34fb"
TLM = {FEAA: bytes.fromhex("20000bb8158000000064000003e8")}


def ibeacon(minor: int = 1, uuid: bytes = UUID) -> dict[int, bytes]:
    return {0x004C: b"\x02\x15" + uuid + b"\x00\x07" + minor.to_bytes(2, "big") + b"\xc5"}


@pytest.fixture(autouse=True)
def left_clean(nothing_left: None) -> None:
    """No test leaves a descriptor, a task or an unseen error."""


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
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what a test would only wait for."""
    for module in ("ble", "ble_bluez"):
        monkeypatch.setattr(f"gateway.sources.{module}.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("gateway.sources.ble.STOP_SECONDS", 0.1)
    monkeypatch.setattr("gateway.sources.source.LONGEST_PAUSE", 0.2)


@asynccontextmanager
async def reading(
    watch: Watch,
    adapter: str = "",
    *,
    wanted: Callable[[], Namespaces] = lambda: OURS,
    silence: float = ble.SILENCE_SECONDS,
    tries: int = ble.TRIES,
    capacity: int = 256,
) -> AsyncIterator[BleSource]:
    """Read; the first status has been told."""
    source = BleSource(
        "ceiling",
        adapter,
        wanted=wanted,
        silence=silence,
        tries=tries,
        status=watch.status,
        dropped=watch.drop,
        capacity=capacity,
    )
    async with source:
        await watch.until(lambda: bool(watch.statuses))
        yield source


async def heard(bluez: Bluez, source: BleSource, number: int = 0) -> None:
    """Show that what is sent now comes out."""
    assert bluez.advertise(B, -50, manufacturer=ibeacon(99), number=number)
    (sighting,) = await take(source, 1)
    assert isinstance(sighting.payload, Advertisement)
    assert sighting.payload.manufacturer == ibeacon(99)


# -- what comes in -----------------------------------------------------------------------------------------------------


async def test_every_sample_of_ours_comes_out(bluez: Bluez, watch: Watch) -> None:
    """Each advertisement is a sighting, also with the same data and the same signal strength as the last."""
    async with reading(watch) as source:
        for rssi in (-60, -61, -61, -59):
            bluez.advertise(A, rssi, manufacturer=ibeacon())
        read = await take(source, 4)
    assert [sighting.reader for sighting in read] == ["ceiling"] * 4
    assert [sighting.payload for sighting in read] == [
        Advertisement(A, rssi, ibeacon()) for rssi in (-60, -61, -61, -59)
    ]


async def test_strangers_are_forgotten_when_they_are_wanted_no_more(bluez: Bluez, watch: Watch) -> None:
    """Neither their frame nor a sample of it comes out any more; ours does."""
    wanted, stranger = [ANY], ibeacon(uuid=bytes(16))
    async with reading(watch, wanted=lambda: wanted[0]) as source:
        assert bluez.advertise(A, -60, manufacturer=stranger)
        await take(source, 1)
        wanted[0] = OURS
        source.forget_strangers()
        assert bluez.advertise(A, -61, manufacturer=stranger)
        assert bluez.advertise(A, -70)
        await watch.until(lambda: watch.dropped["unknown"] == 2)
        await heard(bluez, source)


@pytest.mark.parametrize("version", [(5, 66), (5, 82), (5, 88)])
async def test_every_sample_whatever_the_version_of_bluez(
    bus: PrivateBus, watch: Watch, version: tuple[int, int]
) -> None:
    """The filter keeps samples that differ by less than BlueZ's threshold, on an LE-only adapter too."""
    async with Bluez(bus.address, version=version) as bluez:
        bluez.adapters[0].dual_mode = False
        async with reading(watch) as source:
            for rssi in range(-60, -50):
                bluez.advertise(A, rssi, manufacturer=ibeacon())
            read = await take(source, 10)
    assert [sighting.payload.rssi for sighting in read if isinstance(sighting.payload, Advertisement)] == [
        *range(-60, -50)
    ]


async def test_strangers_are_a_number(bluez: Bluez, watch: Watch) -> None:
    """What is of no namespace of ours, or no beacon at all, is counted and goes no further."""
    async with reading(watch) as source:
        bluez.advertise(A, -60, manufacturer=ibeacon(uuid=bytes(16)))
        bluez.advertise(C, -60, manufacturer={0x0006: b"\x01\x09\x20"})
        bluez.advertise("C4:00:00:00:00:0D", -60)
        bluez.advertise("C4:00:00:00:00:0E", -60, service=TLM)
        await heard(bluez, source)
    assert watch.dropped == {"unknown": 4}


async def test_telemetry_does_not_hide_the_beacon(bluez: Bluez, watch: Watch) -> None:
    """BlueZ accumulates what an address has sent; what is handed over is what it has sent now."""
    async with reading(watch) as source:
        for data in ({"manufacturer": ibeacon()}, {"service": TLM}, {"manufacturer": ibeacon()}, {"service": TLM}):
            bluez.advertise(A, -60, **data)
        read = [sighting.payload for sighting in await take(source, 4)]
    beacon, telemetry = Advertisement(A, -60, ibeacon()), Advertisement(A, -60, service={"feaa": TLM[FEAA]})
    assert read == [beacon, telemetry, beacon, telemetry]


async def test_an_advertisement_without_data_is_a_sample_of_the_beacon(bluez: Bluez, watch: Watch) -> None:
    """A scan response says nothing but how strong it is: the beacon's, and not its telemetry's."""
    async with reading(watch) as source:
        bluez.advertise(A, -60, manufacturer=ibeacon())
        bluez.advertise(A, -60, service=TLM)
        bluez.advertise(A, -63)
        read = [sighting.payload for sighting in await take(source, 3)]
    assert read[2] == Advertisement(A, -63, ibeacon())


async def test_what_is_wanted_may_change(bluez: Bluez, watch: Watch) -> None:
    """Another registry counts from the next advertisement on."""
    wanted = [OURS]
    async with reading(watch, wanted=lambda: wanted[0]) as source:
        wanted[0] = Namespaces(frozenset(), frozenset(), frozenset(), frozenset(), ())
        bluez.advertise(A, -60, manufacturer=ibeacon())
        await watch.until(lambda: watch.dropped["unknown"] == 1)
        wanted[0] = OURS
        await heard(bluez, source)


async def test_only_so_many_addresses_are_remembered(
    bluez: Bluez, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an address that was forgotten, all that BlueZ has of it counts as new: its beacon and what it sends now."""
    monkeypatch.setattr(ble, "SENDERS", 1)
    async with reading(watch) as source:
        bluez.advertise(A, -60, manufacturer=ibeacon())
        bluez.advertise(B, -60, manufacturer=ibeacon(2))
        bluez.advertise(A, -60, service=TLM)
        read = [sighting.payload for sighting in await take(source, 4)]
    assert [each.manufacturer for each in read if isinstance(each, Advertisement)] == [
        ibeacon(),
        ibeacon(2),
        ibeacon(),
        {},
    ]


async def test_several_adapters_have_a_reader_each(bus: PrivateBus, watch: Watch) -> None:
    """A reader hears its own adapter, and goes on when the other's is switched off."""
    other = Watch()
    async with (
        Bluez(bus.address, adapters=2) as bluez,
        reading(watch, "hci0") as source,
        reading(other, "hci1") as second,
    ):
        await heard(bluez, source, 0)
        await heard(bluez, second, 1)
        bluez.power(on=False, number=1)
        await other.until_down()
        await heard(bluez, source, 0)
        bluez.power(on=True, number=1)
        await other.until_up()
        await heard(bluez, second, 1)
        await bluez.crash()
        await bluez.start()
        await watch.until(lambda: bluez.scanning(0) and bluez.scanning(1))
        await heard(bluez, source, 0)
        await heard(bluez, second, 1)


# -- what heals --------------------------------------------------------------------------------------------------------


async def test_an_adapter_is_switched_off_and_on(bluez: Bluez, watch: Watch) -> None:
    """The reader is down meanwhile, and says why."""
    async with reading(watch) as source:
        bluez.power(on=False)
        await watch.until(lambda: "switched off (or blocked" in watch.reason)
        bluez.power(on=True)
        await watch.until_up()
        await heard(bluez, source)


async def test_bluetoothd_is_killed_and_comes_back(bluez: Bluez, watch: Watch) -> None:
    """As long as it is gone the reader is down; then it reads again, with nothing of the old one's devices."""
    async with reading(watch) as source:
        await heard(bluez, source)
        await bluez.crash()
        await watch.until(lambda: "not running" in watch.reason)
        await bluez.start()
        await watch.until_up()
        await heard(bluez, source)


async def test_bluetoothd_is_restarted(bluez: Bluez, watch: Watch) -> None:
    """A restart in an orderly way is noticed as well."""
    async with reading(watch) as source:
        await bluez.restart()
        await watch.until(lambda: bluez.scanning() and watch.up)
        await heard(bluez, source)


async def test_an_adapter_comes_back_under_another_number(bluez: Bluez, watch: Watch) -> None:
    """An adapter is followed by its own address, whatever the kernel calls it."""
    async with reading(watch, "hci0") as source:
        unplugged = bluez.unplug()
        await watch.until(lambda: "is not there" in watch.reason)
        bluez.plug(unplugged, 3)
        await watch.until_up()
        await heard(bluez, source, 3)


@pytest.mark.usefixtures("quick")
async def test_bluetoothd_hangs(bluez: Bluez, watch: Watch) -> None:
    """Silence shows it. What is not answered is given up and asked anew, with a new connection."""
    async with reading(watch, silence=0.2) as source:
        await heard(bluez, source)
        bluez.hang()
        await watch.until(lambda: "does not answer" in watch.reason)
        bluez.wake()
        await watch.until_up()
        await heard(bluez, source)


@pytest.mark.usefixtures("quick")
async def test_the_scan_is_not_answered(bluez: Bluez, watch: Watch) -> None:
    """Everything but StartDiscovery is answered."""
    bluez.refuse("StartDiscovery", None)
    async with reading(watch) as source:
        assert watch.reason == "hci0: bluetoothd does not answer"
        bluez.accept("StartDiscovery")
        await watch.until_up()
        await heard(bluez, source)


@pytest.mark.usefixtures("quick")
async def test_the_scan_begins_without_an_answer(bluez: Bluez, watch: Watch) -> None:
    """bluetoothd has a session that bleak knows nothing of, and says InProgress: a new connection ends that."""
    bluez.mumble("StartDiscovery")
    async with reading(watch) as source:
        assert watch.reason == "hci0: bluetoothd does not answer"
        bluez.accept("StartDiscovery")
        await watch.until_up()
        await heard(bluez, source)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", ["InProgress", "Failed"])
async def test_bluetoothd_refuses_for_a_while(bluez: Bluez, watch: Watch, error: str) -> None:
    """The reader is down with BlueZ's word for it, and up once the scan is accepted."""
    bluez.refuse("StartDiscovery", BluezError(error, "C4:00:00:00:00:0A is in the way"))
    async with reading(watch) as source:
        assert watch.reason == f"hci0 does not scan: org.bluez.Error.{error}"
        await watch.until(lambda: bluez.calls.count(("/org/bluez/hci0", "StartDiscovery")) >= 3)
        bluez.accept("StartDiscovery")
        await watch.until_up()
        await heard(bluez, source)


@pytest.mark.usefixtures("quick")
async def test_what_cannot_be_healed_ends_the_source(bluez: Bluez, watch: Watch) -> None:
    """After so many tries it ends, with a reason and the reader's name: systemd starts the process again."""
    bluez.refuse("StartDiscovery")
    with pytest.raises(ExceptionGroup) as caught:
        async with reading(watch, tries=3) as source:
            await take(source, 1)
    assert caught.group_contains(UnhealedError, match="given up after 3 tries.*reader ceiling", depth=1)


@pytest.mark.usefixtures("quick")
async def test_the_message_bus_goes_and_comes_back(bus: PrivateBus, bluez: Bluez, watch: Watch) -> None:
    """Without a bus there is no bluetoothd to ask; with one it goes on."""
    async with reading(watch) as source:
        bus.stop()
        await watch.until(lambda: "D-Bus" in watch.reason)
        await bluez.crash()
        bus.start()
        await bluez.start()
        await watch.until_up()
        await heard(bluez, source)


async def test_silence_starts_the_scan_again(bluez: Bluez, watch: Watch) -> None:
    """Nobody is heard any more: the reader is down, until a new scan hears somebody."""
    async with reading(watch, silence=0.2) as source:
        await heard(bluez, source)
        bluez.stall(cure="StartDiscovery")
        await watch.until_down()
        assert "hears nobody any more" in watch.reason
        await watch.until(bluez.scanning)
        await heard(bluez, source)
        assert watch.up


async def test_an_adapter_that_stays_silent_is_switched_off_and_on(bluez: Bluez, watch: Watch) -> None:
    """If a new scan does not help, a controller that begins anew may."""
    async with reading(watch, silence=0.1) as source:
        await heard(bluez, source)
        bluez.stall(cure="Powered")
        await watch.until(bluez.scanning)
        await heard(bluez, source)
        assert watch.up


async def test_a_quiet_place_is_up(bluez: Bluez, watch: Watch) -> None:
    """Where nothing is heard after all that, there may be nothing to hear."""
    async with reading(watch, silence=0.05) as source:
        await heard(bluez, source)
        await watch.until_down()
        await watch.until_up()
        assert bluez.calls.count(("/org/bluez/hci0", "StartDiscovery")) == 4
        await heard(bluez, source)


async def test_nobody_ever_heard_is_no_trouble(bluez: Bluez, watch: Watch) -> None:
    """Where nothing was heard yet, silence is no sign of anything."""
    async with reading(watch, silence=0.01):
        await asyncio.sleep(0.1)
    assert [status.up for status in watch.statuses] == [True]
    assert bluez.calls.count(("/org/bluez/hci0", "StartDiscovery")) == 1


async def test_a_defect_is_not_hidden(bluez: Bluez, watch: Watch) -> None:
    """An error while an advertisement is taken in ends the source with that error; bleak's bus would swallow it."""

    def fail() -> Namespaces:
        raise ZeroDivisionError

    async def receive() -> None:
        async with reading(watch, wanted=fail) as source:
            bluez.advertise(A, -60, manufacturer=ibeacon())
            await take(source, 1)

    with pytest.raises(ExceptionGroup) as caught:
        await receive()
    assert caught.group_contains(ZeroDivisionError)


async def test_too_much_is_coalesced_by_beacon(bluez: Bluez, watch: Watch) -> None:
    """While nobody takes them, the last sample of each beacon is kept, and the others are counted."""
    async with reading(watch, capacity=2) as source:
        for rssi in (-60, -61, -62, -63):
            bluez.advertise(A, rssi, manufacturer=ibeacon(1))
        bluez.advertise(B, -70, manufacturer=ibeacon(2))
        await watch.until(lambda: watch.dropped["coalesced"] == 3)
        read = [sighting.payload for sighting in await take(source, 2)]
    assert read == [Advertisement(A, -63, ibeacon(1)), Advertisement(B, -70, ibeacon(2))]


async def test_no_address_is_ever_shown(bluez: Bluez, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a log line nor a status holds an address, of a device or of the adapter, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    async with reading(watch, bluez.adapters[0].address) as source:
        await heard(bluez, source)
        unplugged = bluez.unplug()
        await watch.until(lambda: "is not there" in watch.reason)
        bluez.plug(unplugged)
        await watch.until_up()
    shown = caplog.text + "".join(str(status) for status in watch.statuses)
    for address in (A, B, unplugged.address):
        assert address not in shown
        assert address.replace(":", "_") not in shown


def test_an_adapter_is_chosen_by_what_it_was_then_by_the_setting() -> None:
    """Its own address goes before its number; without a setting any adapter will do."""
    first, second = Adapter("hci0", "00:AA", powered=True), Adapter("hci1", "00:BB", powered=True)
    both = [first, second]
    assert choose(both, "hci1", None) is second
    assert choose(both, "hci1", "00:AA") is first
    assert choose(both, "00:bb", None) is second
    assert choose(both, "", None) is first
    assert choose(both, "hci7", None) is None
    assert "00:AA" not in repr(first)
