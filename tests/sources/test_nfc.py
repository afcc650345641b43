"""NFC readers, with the real nfcpy: its `udp` driver over a simulated field, its `pn532` driver over a chip."""

import asyncio
import logging
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import nfc
import nfc.clf.udp
import nfc.tag
import pytest

from gateway.core.sighting import Sighting, Tag
from gateway.sources import nfc as source_module
from gateway.sources.nfc import NfcSource
from gateway.sources.nfc_frontend import Frontend, reason
from gateway.sources.nfc_message import lasting, message, refusal
from tests.simulators.nfc_field import NfcField, Ntag21x, TypeATag
from tests.simulators.pn532 import Pn532
from tests.sources.watch import Watch, take

pytestmark = pytest.mark.usefixtures("nothing_left", "no_thread_left")

WITHOUT_PROGRAMS = """
import sys
started = []
sys.addaudithook(lambda event, _: started.append(event) if event in {"subprocess.Popen", "os.posix_spawn"} else None)
import gateway.daemon.capture
assert "nfc.clf" in sys.modules and not started, started
"""
UID = bytes.fromhex("04a1b2c3d4e5f6")
OTHER = bytes.fromhex("04112233445566")
CONTENT = b"\x04id.acme.example/01/09506000134352?s=1%2B2&q=ab"
LINK = bytes([0xD1, 1, len(CONTENT), ord("U")]) + CONTENT
"""A URI record, `https://` and what follows; the query has what ndeflib would change (NFC Forum RTD URI 1.0)."""

Simulator = NfcField | Pn532


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """Fail a test that leaves a thread behind."""
    before = set(threading.enumerate())
    yield
    assert {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")} <= before


@pytest.fixture
def field() -> Iterator[NfcField]:
    with NfcField() as field:
        yield field


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[Pn532]:
    with Pn532(tmp_path / "ttyPN532") as chip:
        yield chip


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag is away after 0.3 seconds."""
    monkeypatch.setattr(source_module, "AWAY_SECONDS", 0.3)


def source(device: str, watch: Watch, moves: list[bool] | None = None, *, capacity: int = 256) -> NfcSource:
    moved = [] if moves is None else moves
    return NfcSource("counter", device, moved=moved.append, status=watch.status, dropped=watch.drop, capacity=capacity)


def read(sightings: list[Sighting]) -> list[tuple[bytes, bytes]]:
    tags = [sighting.payload for sighting in sightings]
    return [(tag.uid, tag.ndef) for tag in tags if isinstance(tag, Tag)]


def waiting(reader: NfcSource) -> int:
    return reader._waiting.qsize()  # noqa: SLF001 -- nothing else tells that there is none


@pytest.mark.parametrize("kind", [213, 215, 216])
async def test_a_tag_in_the_field_is_a_sighting(field: NfcField, watch: Watch, kind: int) -> None:
    """An NTAG that is laid on the reader comes out with its UID and its NDEF message as it was written."""
    async with source(field.device, watch) as reader:
        await watch.until_up()
        field.place(Ntag21x(kind, UID, LINK))
        assert await take(reader, 1) == [Sighting("counter", Tag(UID, LINK))]


async def test_the_thread_shows_that_it_lives(field: NfcField, watch: Watch) -> None:
    """Also while nothing happens; when the reader is closed there is no thread to show anything."""
    async with source(field.device, watch) as reader:
        await watch.until_up()
        first = reader.beat_at
        async with asyncio.timeout(10):
            while reader.beat_at == first:  # noqa: ASYNC110 -- another thread moves it
                await asyncio.sleep(0.01)
    assert reader.beat_at is None


@pytest.mark.parametrize("kind", [213, 215, 216])
async def test_a_tag_on_a_serial_reader_is_the_same(chip: Pn532, watch: Watch, kind: int) -> None:
    """A PN532 on a serial port gives the same sighting."""
    async with source(chip.device, watch) as reader:
        await watch.until_up()
        chip.place(Ntag21x(kind, UID, LINK))
        assert await take(reader, 1) == [Sighting("counter", Tag(UID, LINK))]


@pytest.mark.parametrize("length", [0, 1, 254, 255, 480])
async def test_messages_of_every_length(chip: Pn532, watch: Watch, length: int) -> None:
    """A message is whole with a length field of one byte and of three; an empty one is none."""
    content = Random(length).randbytes(length)  # noqa: S311 -- content, not keys
    async with source(chip.device, watch) as reader:
        await watch.until_up()
        chip.place(Ntag21x(215, UID, content))
        assert read(await take(reader, 1)) == [(UID, content)]


async def test_a_tag_that_stays_is_one_sighting_and_its_removal_shows(field: NfcField, watch: Watch) -> None:
    """A tag that is left on the reader is read once; that it came and went is reported."""
    moves: list[bool] = []
    tag = Ntag21x(213, UID, LINK)
    async with source(field.device, watch, moves) as reader:
        await watch.until_up()
        field.place(tag)
        await take(reader, 1)
        seen = tag.read_count
        await watch.until(lambda: tag.read_count > seen + 3)  # looked at, page 0 only
        assert moves == [True]
        field.remove()
        await watch.until(lambda: moves == [True, False])
        assert waiting(reader) == 0


async def test_flicker_is_one_tap(field: NfcField, watch: Watch) -> None:
    """A tag that loses its power six times while it lies there makes one sighting."""
    moves: list[bool] = []
    async with source(field.device, watch, moves) as reader:
        await watch.until_up()
        field.place(Ntag21x(213, UID, LINK))
        await take(reader, 1)
        for number in range(1, 7):
            field.flicker()
            await watch.until(lambda wanted=1 + 2 * number: len(moves) >= wanted and moves[-1])  # type: ignore[misc]
        assert waiting(reader) == 0
    assert watch.dropped == {}


async def test_away_for_long_enough_it_is_another_tap(
    field: NfcField, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time counts from the removal: put back before, a tag is the same tap; after it, another."""
    monkeypatch.setattr(source_module, "AWAY_SECONDS", 60.0)
    moves: list[bool] = []
    tag = Ntag21x(213, UID, LINK)
    async with source(field.device, watch, moves) as reader:
        await watch.until_up()
        field.place(tag)
        await take(reader, 1)
        field.remove()
        await watch.until(lambda: moves == [True, False])
        field.place(tag)
        await watch.until(lambda: moves == [True, False, True])
        assert waiting(reader) == 0
        field.remove()
        await watch.until(lambda: moves == [True, False, True, False])
        monkeypatch.setattr(source_module, "AWAY_SECONDS", 0.0)
        polls = field.polls
        await watch.until(lambda: field.polls > polls + 1)
        field.place(tag)
        assert read(await take(reader, 1)) == [(UID, LINK)]


async def test_a_swap_without_a_gap_is_seen(field: NfcField, watch: Watch) -> None:
    """Another tag in place of the first, without an empty field between them, is another sighting."""
    async with source(field.device, watch) as reader:
        await watch.until_up()
        field.place(Ntag21x(213, UID, LINK))
        await take(reader, 1)
        field.place(Ntag21x(213, OTHER, LINK))
        assert read(await take(reader, 1)) == [(OTHER, LINK)]


async def test_a_mifare_classic_is_no_tag(field: NfcField, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """A MIFARE Classic is dropped once, however long it lies there; the log says what it is; the next tag is read."""
    caplog.set_level(logging.INFO)
    async with source(field.device, watch) as reader:
        await watch.until_up()
        field.place(TypeATag(bytes.fromhex("deadbeef"), sak=0x08, sens_res=b"\x04\x00"))
        await watch.until(lambda: watch.dropped["unreadable"] == 1)
        polls = field.polls
        await watch.until(lambda: field.polls > polls + 3)
        field.place(Ntag21x(213, UID, LINK))
        assert read(await take(reader, 1)) == [(UID, LINK)]
    assert watch.dropped == {"unreadable": 1}
    assert "MIFARE Classic" in caplog.text


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("reads", [0, 1, 3])
async def test_a_tag_that_is_lifted_too_early_is_counted(
    field: NfcField, watch: Watch, caplog: pytest.LogCaptureFixture, reads: int
) -> None:
    """A tag that is gone before it was read makes no sighting, also not by its UID; it counts once, explained."""
    caplog.set_level(logging.INFO)
    tag = Ntag21x(213, UID, LINK, reads=reads)
    async with source(field.device, watch) as reader:
        await watch.until_up()
        field.place(tag)
        polls = field.polls
        await watch.until(lambda: field.polls > polls + 8 and tag.read_count == reads)
        assert watch.dropped == {}
        field.remove()
        await watch.until(lambda: watch.dropped == {"unreadable": 1})
        assert waiting(reader) == 0
    assert "taken away before it was read" in caplog.text


async def test_a_torn_reading_that_is_made_good_is_a_sighting(field: NfcField, watch: Watch) -> None:
    """A tag that slips off and is back at once is read as if nothing had been."""
    torn = Ntag21x(213, UID, LINK, reads=2)
    async with source(field.device, watch) as reader:
        await watch.until_up()
        field.place(torn)
        await watch.until(lambda: torn.read_count == 2)
        field.place(Ntag21x(213, UID, LINK))
        assert read(await take(reader, 1)) == [(UID, LINK)]
    assert watch.dropped == {}


@pytest.mark.parametrize("first", [3, 4, 6])
async def test_a_tag_that_cannot_be_read_is_given_up(
    field: NfcField, watch: Watch, caplog: pytest.LogCaptureFixture, first: int
) -> None:
    """A tag that is protected from reading is no sighting, also not by its UID; it counts once while it lies there."""
    caplog.set_level(logging.INFO)
    async with source(field.device, watch) as reader:
        await watch.until_up()
        field.place(Ntag21x(213, UID, LINK, protected_from=first))
        await watch.until(lambda: watch.dropped == {"unreadable": 1})
        polls = field.polls
        field.place(Ntag21x(213, OTHER, LINK))
        assert read(await take(reader, 1)) == [(OTHER, LINK)]
        assert field.polls > polls
    assert watch.dropped == {"unreadable": 1}
    assert "protected from reading" in caplog.text


async def test_an_unformatted_tag_has_a_uid_and_no_message(field: NfcField, watch: Watch) -> None:
    """A tag without a capability container holds no message; whether its UID counts is for the configuration."""
    async with source(field.device, watch) as reader:
        await watch.until_up()
        field.place(Ntag21x(213, UID, formatted=False))
        assert read(await take(reader, 1)) == [(UID, b"")]


def test_whatever_a_tag_holds_is_a_message_or_unreadable(field: NfcField) -> None:
    """Arbitrary memory makes nfcpy raise all kinds of errors, and us none."""
    random = Random(5)  # noqa: S311 -- content, not keys
    frontend = Frontend(field.device)
    kinds = set()
    for _ in range(150):
        tag = Ntag21x(213, UID, LINK)
        tag.memory[16:] = random.randbytes(len(tag.memory) - 16)
        tag.memory[random.randrange(12, 24)] = random.choice([0x00, 0x01, 0x02, 0x03, 0xFE, 0xFF])
        field.place(tag)
        found = frontend.find(lambda _: True, lambda: False)
        kinds.add(type(message(found)))
    frontend.close()
    assert kinds == {bytes, type(None)}


@pytest.mark.parametrize(
    ("sak", "word"),
    [(0x08, "Classic"), (0x18, "Classic"), (0x88, "Classic"), (0x40, "peer"), (0x60, "peer"), (0x00, ""), (0x20, "")],
)
def test_what_is_refused_by_its_sak(sak: int, word: str) -> None:
    """MIFARE Classic and peer devices are refused with a reason; Type 2 and Type 4 tags are not."""
    said = refusal(sak)
    assert (said is None) if not word else (said is not None and word in said)


def test_a_random_uid_is_none() -> None:
    """A UID that is made anew each time identifies nobody, and is not handed on."""
    assert lasting(bytes.fromhex("08a1b2c3")) == b""
    assert lasting(bytes.fromhex("09a1b2c3")) == bytes.fromhex("09a1b2c3")
    assert lasting(bytes.fromhex("08a1b2c3d4e5f6")) == bytes.fromhex("08a1b2c3d4e5f6")


async def test_nothing_of_a_tag_is_logged(field: NfcField, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """No UID and no content is in any log record, ours or nfcpy's, at any level."""
    caplog.set_level(1)
    async with source(field.device, watch) as reader:
        await watch.until_up()
        field.place(Ntag21x(213, UID, LINK))
        await take(reader, 1)
        field.place(Ntag21x(213, OTHER, LINK, protected_from=4))
        await watch.until(lambda: watch.dropped == {"unreadable": 1})
    text = caplog.text.lower()
    assert "a tag was not read" in text
    assert not any(secret in text for secret in (UID.hex(), OTHER.hex(), UID.hex(" "), "acme", LINK.hex()))


async def test_what_the_path_cannot_keep_up_with_is_dropped(field: NfcField, watch: Watch) -> None:
    """A full queue drops the newest taps and counts them."""
    async with source(field.device, watch, capacity=1) as reader:
        await watch.until_up()
        field.place(Ntag21x(213, UID, LINK))
        await watch.until(lambda: waiting(reader) == 1)
        field.place(Ntag21x(213, OTHER, LINK))
        await watch.until(lambda: watch.dropped == {"overload": 1})
        assert read(await take(reader, 1)) == [(UID, LINK)]


@pytest.mark.parametrize("occupied", [False, True])
async def test_unplugged_it_is_down_and_plugged_in_again_it_reads(chip: Pn532, watch: Watch, *, occupied: bool) -> None:
    """An unplugged reader is reported, with or without a tag on it; plugged in again it reads within 5 s."""
    moves: list[bool] = []
    async with source(chip.device, watch, moves) as reader:
        await watch.until_up()
        if occupied:
            chip.place(Ntag21x(213, UID, LINK))
            await take(reader, 1)
        chip.unplug()
        await watch.until_down()
        assert str(chip.path) in watch.reason
        chip.remove()
        chip.plug()
        began = time.monotonic()
        await watch.until_up()
        assert time.monotonic() - began < 5
        chip.place(Ntag21x(213, OTHER, LINK))
        assert read(await take(reader, 1)) == [(OTHER, LINK)]
    assert moves == [True, False] * (1 + occupied)


async def test_a_reader_that_hangs_is_down_until_it_answers(chip: Pn532, watch: Watch) -> None:
    """A chip that is there and answers nothing is down; once it answers it is opened again."""
    async with source(chip.device, watch):
        await watch.until_up()
        chip.mute = True
        await watch.until_down()
        assert "does not answer" in watch.reason
        chip.mute = False
        await watch.until_up()


async def test_a_reader_that_is_missing_is_found_when_it_comes(tmp_path: Path, watch: Watch) -> None:
    """A reader that is missing at the start is reported once, in words, and read when it appears."""
    chip = Pn532(tmp_path / "ttyPN532")
    async with source(chip.device, watch) as reader:
        await watch.until_down()
        assert watch.reason == f"{chip.device} is not there: unplugged, or another path"
        with chip:
            await watch.until_up()
            chip.place(Ntag21x(213, UID, LINK))
            assert read(await take(reader, 1)) == [(UID, LINK)]
            assert [status.up for status in watch.statuses] == [False, True]


async def test_a_second_program_is_refused(chip: Pn532, watch: Watch) -> None:
    """A serial reader that is in use says so to whoever comes later, and goes on reading."""
    first = Watch()
    async with source(chip.device, first) as reader:
        await first.until_up()
        async with source(chip.device, watch):
            await watch.until_down()
            assert watch.reason == f"{chip.device} is in use by another program"
        chip.place(Ntag21x(213, UID, LINK))
        assert read(await take(reader, 1)) == [(UID, LINK)]


async def test_closing_at_any_turn_leaves_nothing(chip: Pn532, watch: Watch) -> None:
    """A source that is closed early, in whatever state of opening, leaves no port and no thread (seen by fixtures)."""
    for turns in range(10):
        async with source(chip.device, watch):
            for _ in range(turns):
                await asyncio.sleep(0)


@pytest.mark.parametrize("occupied", [False, True])
async def test_closing_does_not_wait_for_a_look(field: NfcField, watch: Watch, *, occupied: bool) -> None:
    """A source stops without finishing its pause, with a tag on the reader or without."""
    async with source(field.device, watch) as reader:
        await watch.until_up()
        if occupied:
            field.place(Ntag21x(213, UID, LINK))
            await take(reader, 1)
        began = time.monotonic()
    assert time.monotonic() - began < 1.0


async def test_light_and_sound_where_the_reader_has_them(
    field: NfcField, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was accepted, and where a reader is, shows for a while on one that can; the tag is read meanwhile."""
    light: list[bool] = []
    switch = nfc.clf.udp.Device
    monkeypatch.setattr(switch, "turn_on_led_and_buzzer", lambda _: light.append(True), raising=False)
    monkeypatch.setattr(switch, "turn_off_led_and_buzzer", lambda _: light.append(False), raising=False)
    async with source(field.device, watch) as reader:
        await watch.until_up()
        field.place(Ntag21x(213, UID, LINK))
        await take(reader, 1)
        reader.accepted()
        await watch.until(lambda: light == [True, False])
        field.remove()
        assert await reader.identify(60)
        await watch.until(lambda: light == [True, False, True])
        field.place(Ntag21x(213, OTHER, LINK))
        await take(reader, 1)
    assert not await reader.identify(1)


async def test_a_reader_without_a_light_says_so(field: NfcField, watch: Watch) -> None:
    """A reader that cannot show where it is answers that it cannot; an accepted tap does nothing."""
    async with source(field.device, watch) as reader:
        await watch.until_up()
        reader.accepted()
        assert not await reader.identify(1)


def test_reasons_show_no_text_of_an_error() -> None:
    """A reason has the device and our words; the text of an error, which could hold what was read, is left out."""
    assert reason("usb", RuntimeError(UID.hex())) == "usb cannot be used: RuntimeError"
    assert reason("usb", OSError(5, UID.hex())) == "usb does not answer: unplugged, or hung"
    assert reason("tty", termios.error(5, UID.hex())) == "tty does not answer: unplugged, or hung"
    assert reason("tty", termios.error(UID.hex())) == "tty cannot be used: error"


async def test_a_usb_reader_that_is_missing_is_a_reason(watch: Watch) -> None:
    """Without such a reader, or without libusb, the status says which of the two it is."""
    async with source("usb:ffff:ffff", watch):
        await watch.until_down()
    assert "libusb is missing" in watch.reason or "is not there" in watch.reason


def test_a_missing_libusb_is_named() -> None:
    """libusb1 raises the same for its library as a port does that is not there."""
    assert "apt install libusb-1.0-0" in reason("usb", FileNotFoundError(2, "cannot find a suitable libusb-1.0"))


def test_importing_nfcpy_starts_no_other_program() -> None:
    """nfcpy alone would ask gcc for an OpenSSL, and leave files in /tmp for a moment."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PROGRAMS], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
