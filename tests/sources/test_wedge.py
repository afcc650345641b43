"""The keyboard-wedge scanner, over a pseudo-terminal that hands over what evdev would."""

import asyncio
import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.core.sighting import Scan, Sighting
from gateway.sources import wedge, wedge_device
from gateway.sources.framing import LINE_LIMIT
from gateway.sources.wedge import WedgeSource
from gateway.sources.wedge_device import EV_LED, EVIOCSMASK
from gateway.sources.wedge_keys import EVENT
from gateway.sources.wedge_layout import LayoutName
from tests.simulators.wedge import CAPS, SHIFT, WedgeSimulator, chords, packet
from tests.sources.watch import Watch, take

pytestmark = pytest.mark.usefixtures("nothing_left")

LINK = "https://id.acme.example/01/09506000134352"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "by-id" / "usb-Acme_Scanner-event-kbd"


@pytest.fixture
def scanner(path: Path) -> Iterator[WedgeSimulator]:
    with WedgeSimulator(path) as scanner:
        yield scanner


def source(path: Path, watch: Watch, *, layout: LayoutName | None = None, capacity: int = 256) -> WedgeSource:
    return WedgeSource("counter", str(path), layout=layout, status=watch.status, dropped=watch.drop, capacity=capacity)


def scan_all(scanner: WedgeSimulator, texts: Sequence[str]) -> None:
    for text in texts:
        scanner.scan(text)


def test_the_simulator_says_when_nobody_reads(path: Path) -> None:
    """A full device is a TimeoutError, not a test that hangs."""
    with WedgeSimulator(path, timeout=0.01) as scanner, pytest.raises(TimeoutError, match="nobody reads"):
        scanner.scan("x" * 1000)


@pytest.mark.parametrize("layout", ["us", "de", "fr"])
async def test_a_scan_is_a_sighting_of_its_reader(scanner: WedgeSimulator, watch: Watch, layout: LayoutName) -> None:
    """A code comes out with its text and its symbology, whatever country the scanner is set to."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        scanner.scan(LINK, layout=layout)
        assert await take(reader, 1) == [Sighting("counter", Scan(LINK, "]Q1"))]


async def test_the_thread_shows_that_it_lives(
    scanner: WedgeSimulator, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while nobody scans; when the scanner is closed there is no thread to show anything."""
    monkeypatch.setattr(wedge, "BEAT_MS", 10)
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        first = reader.beat_at
        async with asyncio.timeout(10):
            while reader.beat_at == first:  # noqa: ASYNC110 -- another thread moves it
                await asyncio.sleep(0.01)
    assert reader.beat_at is None


@pytest.mark.parametrize("ending", ["\r", "\t", "\n", "\x1d"])
async def test_every_suffix_ends_a_scan(scanner: WedgeSimulator, watch: Watch, ending: str) -> None:
    """Enter, Tab, Ctrl+J, and Ctrl+] with the silence after it."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        scanner.scan(LINK, ending=ending)
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan(LINK, "]Q1")]
    assert not watch.dropped


async def test_every_scan_arrives_in_order(scanner: WedgeSimulator, watch: Watch) -> None:
    """200 of 200 scans arrive, typed faster than any scanner does."""
    texts = [f"{LINK}/21/{number:x}" for number in range(200)]
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        found, _ = await asyncio.gather(take(reader, len(texts)), asyncio.to_thread(scan_all, scanner, texts))
    assert [sighting.payload for sighting in found] == [Scan(text, "]Q1") for text in texts]
    assert not watch.dropped


async def test_a_given_layout_is_used(scanner: WedgeSimulator, watch: Watch) -> None:
    """With a layout in the configuration, a token without an AIM identifier is read by it at once."""
    async with source(scanner.path, watch, layout="de") as reader:
        await watch.until_up()
        scanner.scan("zebra-7", layout="de", symbology="")
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan("zebra-7")]


async def test_losses_are_counted_by_reason(scanner: WedgeSimulator, watch: Watch) -> None:
    """What could be several codes, has no end, misses events, is too long or types nothing is counted, not guessed."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        scanner.scan("zebra-7", layout="de", symbology="")
        scanner.scan("torn", ending="")
        await watch.until(lambda: watch.dropped["torn"] == 1)
        scanner.scan("over", ending="")
        scanner.overrun()
        scanner.press([(28,), (59,), (28,)])
        await asyncio.to_thread(scanner.scan, "x" * (LINE_LIMIT + 1))
        scanner.scan("whole")
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan("whole", "]Q1")]
    assert watch.dropped == {"ambiguous": 1, "torn": 1, "missed": 1, "undecodable": 1, "oversized": 1}


async def test_what_was_being_typed_when_it_was_opened_is_no_code(
    scanner: WedgeSimulator, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a code that began before the grab is passed over; the reader is up after a silence."""
    opened = threading.Event()

    def answer(descriptor: int, request: int, argument: int | bytes) -> int:
        answer = scanner.ioctl(descriptor, request, argument)
        if request == EVIOCSMASK:  # the last
            opened.set()
        return answer

    monkeypatch.setattr(wedge_device, "ioctl", answer)
    async with source(scanner.path, watch) as reader:
        await asyncio.to_thread(opened.wait, 5)
        scanner.press([*chords("000134352"), (28,)])
        await watch.until_up()
        scanner.scan(LINK)
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan(LINK, "]Q1")]
    assert not watch.dropped


async def test_caps_locks_light_is_put_out(scanner: WedgeSimulator, watch: Watch) -> None:
    """Scanners that look at the light find it out, so that they type letters as they are."""
    async with source(scanner.path, watch):
        await watch.until_up()
        events = [each[2:] for each in EVENT.iter_unpack(scanner.lights())]
    assert events == [(EV_LED, 1, 0), (0, 0, 0)]


def test_an_idle_keyboard_has_nothing_to_read(scanner: WedgeSimulator) -> None:
    """A read that finds nothing returns nothing, and does not wait."""
    with wedge_device.Keyboard(str(scanner.path)) as keyboard:
        assert keyboard.read() == b""


async def test_what_the_path_cannot_keep_up_with_is_dropped(scanner: WedgeSimulator, watch: Watch) -> None:
    """A full queue drops the newest scans, counts them, and keeps the oldest."""
    async with source(scanner.path, watch, capacity=3) as reader:
        await watch.until_up()
        for number in range(10):
            scanner.scan(str(number))
        await watch.until(lambda: watch.dropped["overload"] == 7)
        texts = [sighting.payload for sighting in await take(reader, 3)]
    assert texts == [Scan("0", "]Q1"), Scan("1", "]Q1"), Scan("2", "]Q1")]


async def test_unplugged_it_is_down_and_plugged_in_again_it_scans(scanner: WedgeSimulator, watch: Watch) -> None:
    """An unplugged scanner is reported, its Shift and CapsLock let go; a new device behind the path is read in 5 s."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        scanner.scan("first")
        scanner.events(packet(CAPS, 1, time.monotonic()) + packet(SHIFT, 1, time.monotonic()))
        assert len(await take(reader, 1)) == 1
        scanner.scan("torn", ending="")
        scanner.unplug()
        await watch.until_down()
        assert watch.reason == f"{scanner.path} is gone: unplugged"
        scanner.plug()
        began = time.monotonic()
        await watch.until_up()
        assert time.monotonic() - began < 5
        scanner.scan("again")
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan("again", "]Q1")]


async def test_a_scanner_that_is_missing_is_found_when_it_comes(path: Path, watch: Watch) -> None:
    """A device that is missing at the start is reported once, and read when it appears."""
    async with source(path, watch) as reader:
        await watch.until_down()
        assert watch.reason == f"{path} is not there: unplugged, or another path"
        with WedgeSimulator(path) as scanner:
            await watch.until_up()
            scanner.scan("here")
            assert [sighting.payload for sighting in await take(reader, 1)] == [Scan("here", "]Q1")]
            assert [status.up for status in watch.statuses] == [False, True]


async def test_a_pattern_finds_the_one_device_that_fits(scanner: WedgeSimulator, watch: Watch) -> None:
    """A scanner without a serial number of its own may be given as a pattern; with two that fit, neither is taken."""
    pattern = scanner.path.parent / "*Scanner*-event-kbd"
    async with source(pattern, watch) as reader:
        await watch.until_up()
        scanner.scan(LINK)
        assert len(await take(reader, 1)) == 1
    second = Watch()
    (scanner.path.parent / "usb-Other_Scanner-event-kbd").touch()
    async with source(pattern, second):
        await second.until_down()
    assert second.reason == f"{pattern} fits several devices: take the whole path of one"


async def test_a_second_program_is_refused(scanner: WedgeSimulator, watch: Watch) -> None:
    """A keyboard that somebody has grabbed is not read: the reason says so, and it is taken when it is free."""
    scanner.refused = errno.EBUSY
    async with source(scanner.path, watch) as reader:
        await watch.until_down()
        assert watch.reason == f"{scanner.path} is in use by another program"
        scanner.refused = None
        await watch.until_up()
        scanner.scan(LINK)
        assert len(await take(reader, 1)) == 1


async def test_two_sources_do_not_share_a_device(scanner: WedgeSimulator, watch: Watch) -> None:
    """The second to come waits until the first has let go."""
    second = Watch()
    async with source(scanner.path, watch):
        await watch.until_up()
        async with source(scanner.path, second):
            await second.until_down()
            assert second.reason.endswith("in use by another program")


async def test_a_file_that_is_no_keyboard_is_a_reason(tmp_path: Path, watch: Watch) -> None:
    """A path that leads to something else is trouble with the device, not a crash, and nothing of it is told."""
    plain = tmp_path / "plain"
    plain.write_bytes(b"secret")
    async with source(plain, watch):
        await watch.until_down()
    assert watch.reason == f"{plain} is no keyboard: take the path that ends in -event-kbd"
    assert plain.read_bytes() == b"secret"


async def test_a_device_that_fails_is_opened_again(
    scanner: WedgeSimulator, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the kernel that nobody expected is a reason too."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        with monkeypatch.context() as failing:
            failing.setattr(wedge_device.Keyboard, "read", _fail)
            scanner.scan("lost")
            await watch.until_down()
            assert watch.reason == f"{scanner.path} cannot be read: {os.strerror(errno.ENOMEM)}"
        await watch.until_up()
        scanner.scan(LINK)
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan(LINK, "]Q1")]


def _fail(*_: object) -> bytes:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


async def test_closing_at_any_turn_leaves_nothing(scanner: WedgeSimulator, watch: Watch) -> None:
    """A source that is closed early, in whatever state of opening, leaves nothing open (seen by the fixture)."""
    for turns in range(20):
        async with source(scanner.path, watch):
            for _ in range(turns):
                await asyncio.sleep(0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("wedge")]


async def test_no_processor_time_is_spent_on_a_missing_device(path: Path, watch: Watch) -> None:
    """The wait for a device that is not there is no busy loop."""
    async with source(path, watch):
        await watch.until_down()
        before = os.times()
        await asyncio.sleep(0.6)
        after = os.times()
    assert after.user + after.system - before.user - before.system < 0.2
