"""NFC readers in the capture half: from a tag on the reader to an event on the disk, and the light after it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import nfc.clf.udp
import pytest

from gateway.config.settings import ReaderSettings
from gateway.core.event import EventType
from gateway.core.registry import BearerRule, build
from gateway.daemon.capture import source
from gateway.sources.nfc import NfcSource
from tests.core import salon
from tests.shop import Shop, until
from tests.simulators.nfc_field import NfcField, Ntag21x, TypeATag

CONTENT = b"\x04" + salon.ANNA.value.removeprefix("https://").encode()
CARD = bytes([0xD1, 1, len(CONTENT), ord("U")]) + CONTENT
"""Anna's card: a URI record (NFC Forum RTD URI 1.0; 04 is `https://`)."""


@pytest.fixture
def field() -> Iterator[NfcField]:
    with NfcField() as field:
        yield field


def all_of(directory: Path) -> bytes:
    """Return what the files of a directory hold."""
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


@asynccontextmanager
async def working(shop: Shop, field: NfcField) -> AsyncIterator[NfcSource]:
    """Run the half with the driver that the configuration asks for."""
    async with shop.open() as half:
        driven = source(ReaderSettings(name="nfc", kind="nfc", device=field.device, touchpoint="counter"), half)
        assert isinstance(driven, NfcSource)
        running = asyncio.ensure_future(half.run([driven]))
        try:
            await until(lambda: "nfc" in half.readers and half.readers["nfc"].up)
            yield driven
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_a_tap_lights_up_once_its_event_is_durable(
    field: NfcField, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader shows that a tap was accepted when another process can read its event, and not for what is unknown."""
    shop, shown = Shop(tmp_path), list[int]()
    device = nfc.clf.udp.Device
    monkeypatch.setattr(device, "turn_on_led_and_buzzer", lambda _: shown.append(len(shop.events())), raising=False)
    monkeypatch.setattr(device, "turn_off_led_and_buzzer", lambda _: None, raising=False)
    async with working(shop, field):
        field.place(Ntag21x(213, bytes.fromhex("04112233445566")))
        await until(lambda: shop.capture.counts["dropped:unknown"] == 1)
        field.place(Ntag21x(213, bytes.fromhex("04a1b2c3d4e5f6"), CARD))
        await until(lambda: len(shown) > 0)
    assert shown == [1]
    assert [event.kind for event in shop.events()] == [EventType.TAP]


async def test_no_light_before_the_commit(field: NfcField, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk keeps a commit waiting, a tap that was read and decided on shows nothing; then it does."""
    shop, shown = Shop(tmp_path), list[bool]()
    device, held, go_on = nfc.clf.udp.Device, threading.Event(), threading.Event()
    monkeypatch.setattr(device, "turn_on_led_and_buzzer", lambda _: shown.append(True), raising=False)
    monkeypatch.setattr(device, "turn_off_led_and_buzzer", lambda _: None, raising=False)

    def slow_disk(_: object) -> None:
        held.set()
        go_on.wait()

    async with working(shop, field):
        waiting = asyncio.ensure_future(shop.capture.writer.commit(slow_disk))
        await until(held.is_set)
        field.place(Ntag21x(213, bytes.fromhex("04a1b2c3d4e5f6"), CARD))
        await until(lambda: shop.capture.counts["acted_on"] == 1)
        polls = field.polls
        field.remove()
        await until(lambda: field.polls > polls + 3)  # the reader goes on looking, and would have shone
        assert (shown, shop.events()) == ([], [])
        go_on.set()
        await until(lambda: bool(shown))
        await waiting
    assert len(shop.events()) == 1


async def test_a_uid_counts_where_the_configuration_says_so(
    field: NfcField, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tag without a message is known by its UID if the registry or a [[bearer]] knows it, and by nothing else. The
    UID is in no log, no file and no event, whichever it is."""
    shop, stranger, ours, member = Shop(tmp_path), "04112233445566", "04a2b3c4d5e680", "04ccddeeff0011"
    caplog.set_level(1)
    async with working(shop, field):
        rules = (*salon.RULES, BearerRule("nfc-uid", "04cc"))
        shop.capture.path.registry = build(2, salon.TOUCHPOINTS, rules)
        field.place(Ntag21x(213, bytes.fromhex(stranger)))
        await until(lambda: shop.capture.counts["dropped:unknown"] == 1)
        field.place(Ntag21x(213, bytes.fromhex(ours)))
        await until(lambda: shop.capture.counts["acted_on"] == 1)
        field.place(Ntag21x(213, bytes.fromhex(member)))
        await until(lambda: shop.capture.counts["acted_on"] == 2)
    assert [event.model_dump()["data"]["touchpoint"]["id"] for event in shop.events()] == ["vitrine-3", "counter"]
    written = all_of(tmp_path)
    for uid in (stranger, member, ours):
        assert uid.encode() not in written.lower()
        assert bytes.fromhex(uid) not in written
        assert uid not in caplog.text.lower()


async def test_a_tag_that_cannot_be_read_is_counted(field: NfcField, tmp_path: Path) -> None:
    """It is a sighting that was dropped, and no event."""
    shop = Shop(tmp_path)
    async with working(shop, field):
        field.place(TypeATag(bytes.fromhex("deadbeef"), sak=0x08))
        await until(lambda: shop.capture.counts["dropped:unreadable"] == 1)
    assert (shop.tallies()["sightings"], shop.events()) == (1, [])
