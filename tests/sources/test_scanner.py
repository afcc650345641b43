"""The serial scanner, with the real serial library over a pseudo-terminal."""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import serial

from gateway.core.sighting import Scan, Sighting
from gateway.sources.framing import LINE_LIMIT
from gateway.sources.scanner import ScannerSource
from tests.simulators.scanner import ScannerSimulator
from tests.sources.watch import Watch, take

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "by-id" / "usb-Acme_Scanner-if00"


@pytest.fixture
def scanner(path: Path) -> Iterator[ScannerSimulator]:
    with ScannerSimulator(path) as scanner:
        yield scanner


def source(path: Path, watch: Watch, *, name: str = "counter", capacity: int = 256) -> ScannerSource:
    return ScannerSource(name, path, status=watch.status, dropped=watch.drop, capacity=capacity)


def test_the_simulator_says_when_nobody_reads(path: Path) -> None:
    """A full port is a TimeoutError, not a test that hangs."""
    with ScannerSimulator(path, timeout=0.01) as scanner, pytest.raises(TimeoutError, match="nobody reads"):
        scanner.write(b"x" * 100_000)


async def test_a_scan_is_a_sighting_of_its_reader(scanner: ScannerSimulator, watch: Watch) -> None:
    """A scanned code comes out with its text and its symbology, under the reader's name."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        scanner.scan("https://id.acme.example/01/09506000134352")
        scan = Scan("https://id.acme.example/01/09506000134352", "]Q1")
        assert await take(reader, 1) == [Sighting("counter", scan)]


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n", "\t"])
async def test_every_scan_arrives_however_it_is_fragmented(path: Path, watch: Watch, ending: str) -> None:
    """1000 of 1000 scans arrive, in order, when the bytes come in random pieces."""
    texts = [f"https://id.acme.example/01/09506000134352/21/{number:x}" for number in range(1000)]

    def scan_all(scanner: ScannerSimulator) -> None:
        for text in texts:
            scanner.scan(text, ending=ending)

    with ScannerSimulator(path, fragments=Random(7)) as scanner:  # noqa: S311 -- pieces, not keys
        async with source(path, watch, capacity=len(texts)) as reader:
            await watch.until_up()
            _, sightings = await asyncio.gather(asyncio.to_thread(scan_all, scanner), take(reader, len(texts)))
    assert [sighting.payload for sighting in sightings] == [Scan(text, "]Q1") for text in texts]
    assert watch.dropped == Counter()


async def test_a_torn_line_is_dropped_in_silence(scanner: ScannerSimulator, watch: Watch) -> None:
    """A line whose end does not come is counted without waiting for the next one, which is read."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        scanner.write(b"]Q1https://half")
        await watch.until(lambda: watch.dropped == {"torn": 1})
        scanner.scan("whole")
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan("whole", "]Q1")]
    assert watch.dropped == {"torn": 1}


async def test_hostile_bytes_are_counted_and_scanning_goes_on(scanner: ScannerSimulator, watch: Watch) -> None:
    """An oversized line and bytes that are no text each count once; control characters do no harm."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        await asyncio.to_thread(scanner.write, b"x" * (4 * LINE_LIMIT) + b"\r\xff\xfe\r\x02\x03\x03\x11\x13\x1a\x04\r")
        scanner.scan("whole")
        sightings = await take(reader, 2)
    assert [sighting.payload for sighting in sightings] == [Scan("\x11\x13\x1a\x04"), Scan("whole", "]Q1")]
    assert watch.dropped == {"oversized": 1, "undecodable": 1}


async def test_a_gs_as_suffix_ends_a_scan_with_the_silence(scanner: ScannerSimulator, watch: Watch) -> None:
    """A scanner that is set to end codes with GS is read; one that ends them with nothing is torn, and counted."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        scanner.scan("with", ending="\x1d")
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan("with", "]Q1")]
        scanner.scan("without", ending="")
        await watch.until(lambda: watch.dropped["torn"] == 1)


async def test_what_was_scanned_before_it_was_opened_is_no_scan(
    scanner: ScannerSimulator, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes that a scanner kept for whoever opens it, and the rest of one, are passed over up to a silence."""
    real = serial.Serial

    def open_late(device: str, baud: int, *, exclusive: bool) -> serial.Serial:
        port = real(device, baud, exclusive=exclusive)
        scanner.write(b"]Q1minutes ago\r000134352\r]Q1to")
        return port

    monkeypatch.setattr(serial, "Serial", open_late)
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        scanner.scan("now")
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan("now", "]Q1")]
    assert not watch.dropped


async def test_what_the_path_cannot_keep_up_with_is_dropped(scanner: ScannerSimulator, watch: Watch) -> None:
    """A full queue drops the newest scans, counts them, and keeps the oldest."""
    async with source(scanner.path, watch, capacity=3) as reader:
        await watch.until_up()
        for number in range(10):
            scanner.scan(str(number))
        await watch.until(lambda: watch.dropped["overload"] == 7)
        texts = [sighting.payload for sighting in await take(reader, 3)]
    assert texts == [Scan("0", "]Q1"), Scan("1", "]Q1"), Scan("2", "]Q1")]


async def test_unplugged_it_is_down_and_plugged_in_again_it_scans(scanner: ScannerSimulator, watch: Watch) -> None:
    """An unplugged scanner is reported and the line it tore counted; a new port behind the path is read within 5 s."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        scanner.write(b"]Q1torn")
        scanner.unplug()
        await watch.until_down()
        assert str(scanner.path) in watch.reason
        scanner.plug()
        began = time.monotonic()
        await watch.until_up()
        assert time.monotonic() - began < 5
        scanner.scan("again")
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan("again", "]Q1")]


async def test_scans_before_the_unplugging_are_kept(scanner: ScannerSimulator, watch: Watch) -> None:
    """What had arrived when the scanner was unplugged is still delivered; what it began is torn."""
    async with source(scanner.path, watch) as reader:
        await watch.until_up()
        scanner.scan("first")
        assert len(await take(reader, 1)) == 1
        scanner.write(b"second\rbegun")
        await watch.until(lambda: reader._waiting.qsize() == 1)  # noqa: SLF001 -- nothing else tells that it arrived
        scanner.unplug()
        await watch.until_down()
        assert [sighting.payload for sighting in await take(reader, 1)] == [Scan("second")]
    assert watch.dropped == {"torn": 1}


async def test_a_scanner_that_is_missing_is_found_when_it_comes(path: Path, watch: Watch) -> None:
    """A device that is missing at the start is reported once, and read when it appears."""
    async with source(path, watch) as reader:
        await watch.until_down()
        assert watch.reason == f"{path} is not there: unplugged, or another path"
        with ScannerSimulator(path) as scanner:
            await watch.until_up()
            scanner.scan("here")
            assert [sighting.payload for sighting in await take(reader, 1)] == [Scan("here", "]Q1")]
            assert [status.up for status in watch.statuses] == [False, True]


async def test_a_second_program_is_refused(scanner: ScannerSimulator, watch: Watch) -> None:
    """A port that is read already is not read twice: the second says why, and takes over when it is free."""
    second = Watch()
    async with source(scanner.path, second) as later:
        await second.until_up()
        async with source(scanner.path, watch):
            await watch.until_down()
            assert watch.reason == f"{scanner.path} is in use by another program"
            scanner.scan("first come")
            assert len(await take(later, 1)) == 1


async def test_a_file_that_is_no_port_is_a_reason(tmp_path: Path, watch: Watch) -> None:
    """A path that leads to something else is trouble with the device, not a crash."""
    plain = tmp_path / "plain"
    plain.write_bytes(b"secret\r")
    async with source(plain, watch):
        await watch.until_down()
    assert watch.reason.startswith(f"{plain} cannot be opened: Could not configure port")
    assert "secret" not in watch.reason


async def test_closing_at_any_turn_leaves_nothing(scanner: ScannerSimulator, watch: Watch) -> None:
    """A source that is closed early, in whatever state of opening, leaves nothing open (seen by the fixture)."""
    for turns in range(20):
        async with source(scanner.path, watch):
            for _ in range(turns):
                await asyncio.sleep(0)


async def test_a_port_that_opens_too_late_is_closed(
    scanner: ScannerSimulator, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that is closed while its device is slow to open waits for the port and closes it."""
    opening, release, ports = threading.Event(), threading.Event(), []
    real = serial.Serial

    def open_slowly(device: str, baud: int, *, exclusive: bool) -> serial.Serial:
        opening.set()
        release.wait(5)
        ports.append(real(device, baud, exclusive=exclusive))
        return ports[0]

    monkeypatch.setattr(serial, "Serial", open_slowly)
    async with source(scanner.path, watch):
        await watch.until(opening.is_set)
        asyncio.get_running_loop().call_later(0.05, release.set)
    assert [port.is_open for port in ports] == [False]


async def test_a_cancelled_reader_closes_its_port(scanner: ScannerSimulator, watch: Watch) -> None:
    """Cancelling the task that iterates closes the port, and another source may have it."""

    async def read_for_ever() -> None:
        async with source(scanner.path, watch) as reader:
            async for _ in reader:
                pass

    reading = asyncio.ensure_future(read_for_ever())
    await watch.until_up()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    heir = Watch()
    async with source(scanner.path, heir):
        await heir.until_up()


async def test_an_error_in_the_loop_body_comes_out_as_it_is(scanner: ScannerSimulator, watch: Watch) -> None:
    """What the body of the context raises is not wrapped in a group."""

    async def fail_inside() -> None:
        async with source(scanner.path, watch):
            await watch.until_up()
            raise LookupError("body")

    with pytest.raises(LookupError, match="body"):
        await fail_inside()


async def test_no_processor_time_is_spent_on_a_missing_device(path: Path, watch: Watch) -> None:
    """The wait for a device that is not there is no busy loop."""
    async with source(path, watch):
        await watch.until_down()
        before = os.times()
        await asyncio.sleep(0.6)
        after = os.times()
    assert after.user + after.system - before.user - before.system < 0.2
