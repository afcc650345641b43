"""NFC readers in the capture half: from a tag on the reader to an event on the disk, and the light after it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import nfc.clf.udp
import pytest

from gateway.config.settings import ReaderSettings
from gateway.core.event import EventType
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


async def test_a_tag_that_cannot_be_read_is_counted(field: NfcField, tmp_path: Path) -> None:
    """It is a sighting that was dropped, and no event."""
    shop = Shop(tmp_path)
    async with working(shop, field):
        field.place(TypeATag(bytes.fromhex("deadbeef"), sak=0x08))
        await until(lambda: shop.capture.counts["dropped:unreadable"] == 1)
    assert (shop.tallies()["sightings"], shop.events()) == (1, [])
