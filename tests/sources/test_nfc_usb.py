"""NFC readers on USB: nfcpy's own transport and drivers for the ACR122U and the RC-S380, over simulated devices."""

import threading
import time
from collections.abc import Iterator
from itertools import cycle

import pytest

from gateway.core.sighting import Sighting, Tag
from gateway.sources import nfc_frontend
from gateway.sources.nfc import NfcSource
from gateway.sources.nfc_frontend import Frontend
from tests.simulators.acr122u import Acr122u
from tests.simulators.nfc_field import Ntag21x, TypeATag
from tests.simulators.rcs380 import Rcs380
from tests.simulators.usb_bus import UsbBus, usb1
from tests.sources.watch import Watch, take

pytestmark = pytest.mark.usefixtures("nothing_left")

UID = bytes.fromhex("04a1b2c3d4e5f6")
OTHER = bytes.fromhex("04112233445566")
LINK = bytes.fromhex("d1010f5504") + b"id.acme.example/t/1"[:14]

Reader = Acr122u | Rcs380


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[UsbBus]:
    before = set(threading.enumerate())
    bus = UsbBus()
    monkeypatch.setattr("nfc.clf.transport.libusb", bus)
    yield bus
    assert bus.open == set(), "a device is claimed still"
    assert {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")} <= before


@pytest.fixture(params=[Acr122u, Rcs380], ids=["acr122u", "rcs380"])
def reader(request: pytest.FixtureRequest, bus: UsbBus) -> Reader:
    """A reader that is plugged in."""
    made: Reader = request.param()
    bus.plug(made)
    return made


def source(device: str, watch: Watch, moves: list[bool] | None = None) -> NfcSource:
    moved = [] if moves is None else moves
    return NfcSource("counter", device, moved=moved.append, status=watch.status, dropped=watch.drop)


@pytest.mark.parametrize("kind", [213, 215, 216])
@pytest.mark.parametrize("path", ["", "usb"])
async def test_a_tag_is_read(reader: Reader, watch: Watch, kind: int, path: str) -> None:
    """By vendor and product, or as the first that is found: UID and message come out as on every other reader."""
    async with source(path or reader.device, watch) as opened:
        await watch.until_up()
        reader.place(Ntag21x(kind, UID, LINK))
        assert await take(opened, 1) == [Sighting("counter", Tag(UID, LINK))]


async def test_a_short_uid_and_a_long_message(reader: Reader, watch: Watch) -> None:
    """Tags of one cascade level are told apart by their SAK; a message of many READs is whole."""
    moves: list[bool] = []
    long = LINK[:1] + bytes(range(256)) + bytes(150)
    async with source(reader.device, watch, moves) as opened:
        await watch.until_up()
        reader.place(TypeATag(bytes.fromhex("deadbeef"), sak=0x08, sens_res=b"\x04\x00"))
        await watch.until(lambda: watch.dropped == {"unreadable": 1})
        reader.place(Ntag21x(216, UID, long))
        assert await take(opened, 1) == [Sighting("counter", Tag(UID, long))]
        reader.remove()
        await watch.until(lambda: moves == [True, False])
        reader.place(Ntag21x(216, OTHER, LINK, protected_from=4))
        await watch.until(lambda: watch.dropped == {"unreadable": 2})


async def test_light_and_beep_of_the_acr122u(bus: UsbBus, watch: Watch) -> None:
    """Green while it waits, red with one beep for what was accepted, green again; dark when it is closed."""
    reader = Acr122u()
    bus.plug(reader)
    async with source(reader.device, watch) as opened:
        await watch.until_up()
        assert (reader.light, reader.beeps) == ("green", 0)
        opened.accepted()
        await watch.until(lambda: reader.light == "red")
        await watch.until(lambda: reader.light == "green")
        assert reader.beeps == 1
        assert await opened.identify(60)
        await watch.until(lambda: reader.light == "red")
    assert reader.light == ""


async def test_the_rcs380_has_no_light(bus: UsbBus, watch: Watch) -> None:
    """It says so."""
    reader = Rcs380()
    bus.plug(reader)
    async with source(reader.device, watch) as opened:
        await watch.until_up()
        assert not await opened.identify(1)


@pytest.mark.parametrize("occupied", [False, True])
async def test_unplugged_it_is_down_and_under_another_number_it_reads(
    bus: UsbBus, reader: Reader, watch: Watch, *, occupied: bool
) -> None:
    """Each plug gives another number; the reader is found by vendor and product."""
    async with source(reader.device, watch) as opened:
        await watch.until_up()
        if occupied:
            reader.place(Ntag21x(213, UID, LINK))
            await take(opened, 1)
        bus.unplug(reader)
        await watch.until_down()
        assert reader.device in watch.reason
        reader.place(Ntag21x(213, OTHER, LINK))
        bus.plug(reader)
        began = time.monotonic()
        assert await take(opened, 1) == [Sighting("counter", Tag(OTHER, LINK))]
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("occupied", [False, True])
async def test_a_reader_that_hangs_holds_nobody_up(reader: Reader, watch: Watch, *, occupied: bool) -> None:
    """nfcpy would wait for ever for an RC-S380 that hangs; here it is down, can be closed, and reads when it wakes."""
    async with source(reader.device, watch) as opened:
        await watch.until_up()
        if occupied:
            reader.place(Ntag21x(213, UID, LINK))
            await take(opened, 1)
        reader.mute = True
        await watch.until_down()
        assert "does not answer" in watch.reason or "is not there" in watch.reason
        reader.mute = False
        reader.place(Ntag21x(213, OTHER, LINK))
        assert await take(opened, 1) == [Sighting("counter", Tag(OTHER, LINK))]
        reader.mute = True


async def test_rubbish_is_a_fault_like_others(reader: Reader, watch: Watch) -> None:
    """Torn, empty and wrong transfers leave a reader down, with a reason and nothing of what it sent; then it reads."""
    cuts = cycle((7, 1, 0, 12))
    async with source(reader.device, watch) as opened:
        await watch.until_up()
        reader.spoil = lambda reply: reply[::-1][: next(cuts)] or bytes(20)
        await watch.until_down()
        reader.spoil = bytes
        reader.place(Ntag21x(213, UID, LINK))
        assert await take(opened, 1) == [Sighting("counter", Tag(UID, LINK))]


async def test_who_has_it_and_who_may_not(bus: UsbBus, reader: Reader, watch: Watch) -> None:
    """A reader that another program has, and one that this user may not open, each say so."""
    first = Watch()
    async with source(reader.device, first):
        await first.until_up()
        async with source(reader.device, watch):
            await watch.until_down()
            assert watch.reason == f"{reader.device} is in use by another program"
    refused = Watch()
    bus.forbidden = True
    async with source(reader.device, refused):
        await refused.until_down()
        assert "may not be opened: see the notes on readers" in refused.reason


def test_what_is_no_reader_is_passed_over(bus: UsbBus, reader: Reader) -> None:
    """`usb` takes the first that nfcpy knows; a keyboard and a hub before it are left alone."""
    stranger = Rcs380()
    stranger.vendor, stranger.product = 0x1D6B, 0x0002
    bus.numbers = {120: stranger, **bus.numbers}
    Frontend("usb").close()
    bus.unplug(reader)
    with pytest.raises(OSError, match="No such device"):
        Frontend("usb")


def test_whatever_libusb_raises_is_a_reason(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what nfcpy lets through while it opens a device."""

    def fail(*_: object) -> None:
        raise usb1.USBErrorPipe

    monkeypatch.setattr("tests.simulators.usb_bus._Device.open", fail)
    with pytest.raises(OSError, match="Input/output error") as failed:
        Frontend(reader.device)
    assert nfc_frontend.reason(reader.device, failed.value).endswith("does not answer: unplugged, or hung")
