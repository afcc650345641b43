"""Tags that sign, end to end: an NTAG 424 DNA under the real nfcpy, the path, and the events on the disk."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.config.settings import ReaderSettings
from gateway.core.authenticity import Authenticator
from gateway.core.decode import ndef
from gateway.core.decode.sun import TagKeys
from gateway.core.event import EventType, Interaction
from gateway.core.registry import Touchpoint, build
from gateway.core.sighting import Scan, Sighting
from gateway.daemon.capture import source
from gateway.sources import nfc as source_module
from tests.core import salon
from tests.shop import Shop, Voice, until
from tests.simulators.nfc_field import NfcField, Ntag21x
from tests.simulators.ntag424 import signing
from tests.simulators.pn532 import Pn532
from tests.simulators.sun_links import FILE_KEY, META_KEY, UID

WATCH = Touchpoint("watch", "product", "Watch", identifiers=(f"sun:{UID.hex()}",))
LINK = "https://id.acme.example/01/09506000134352?picc_data={picc}&cmac={mac}"
OTHER = bytes.fromhex("04112233445566")
GENUINE, REPLAYED, FORGED = "genuine-unreconciled", "replayed", "forged"

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture(params=["udp", "pn532"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NfcField | Pn532]:
    """A reader under each of nfcpy's drivers."""
    with NfcField() if request.param == "udp" else Pn532(tmp_path / "ttyPN532") as made:
        yield made


@asynccontextmanager
async def working(shop: Shop, reader: NfcField | Pn532) -> AsyncIterator[Voice]:
    """Run the half with the reader, and with a scanner that reads what a test says."""
    async with shop.open() as half:
        half.path.registry = build(1, (*salon.TOUCHPOINTS, WATCH), salon.RULES)
        half.path.authenticator = Authenticator(TagKeys({UID: FILE_KEY}, META_KEY))
        driven = source(ReaderSettings(name="nfc", kind="nfc", device=reader.device, touchpoint="counter"), half)
        scanner = Voice(half, "scanner")
        running = asyncio.ensure_future(half.run([driven, scanner]))
        try:
            await until(lambda: "nfc" in half.readers and half.readers["nfc"].up)
            yield scanner
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def told(shop: Shop) -> list[tuple[EventType, str, str | None]]:
    """Return type, touchpoint and verdict of each event."""
    return [
        (event.kind, event.data.touchpoint.id, event.data.authenticity)
        for event in shop.events()
        if isinstance(event.data, Interaction)
    ]


def scanned(message: bytes) -> Sighting:
    """Return the scan of a phone that shows the link of a message."""
    said = ndef.first(message)
    assert isinstance(said, ndef.Uri)
    return Sighting("scanner", Scan(said.text, "]Q1"))


async def test_each_tap_of_a_tag_is_genuine(
    reader: NfcField | Pn532, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tap reads the tag once, which advances its counter."""
    monkeypatch.setattr(source_module, "AWAY_SECONDS", 0.0)
    shop, tag = Shop(tmp_path), signing(UID, LINK, META_KEY, FILE_KEY)
    async with working(shop, reader):
        for tap in (1, 2):
            reader.place(tag)
            await until(lambda tap=tap: told(shop) == tap * [(EventType.TAP, "watch", GENUINE)])  # type: ignore[misc]
            assert tag.counter == tap
            reader.place(Ntag21x(213, OTHER))
            await until(lambda tap=tap: shop.capture.counts["dropped:unknown"] == tap)  # type: ignore[misc]
            shop.clock.ahead_s += 10
    assert shop.tallies()["sun:genuine-unreconciled"] == 2


async def test_a_copied_link_is_replayed_and_a_changed_one_forged(reader: NfcField | Pn532, tmp_path: Path) -> None:
    """A phone shows links of the tag at the scanner: one from before the tap, one that is changed, one that is new."""
    shop, tag = Shop(tmp_path), signing(UID, LINK, META_KEY, FILE_KEY)
    before = tag.read_message()
    async with working(shop, reader) as scanner:
        reader.place(tag)
        await until(lambda: len(told(shop)) == 1)
        new = tag.read_message()
        for message in (before, new[:-1] + (b"0" if new[-1:] != b"0" else b"1"), new, new):
            shop.clock.ahead_s += 10
            scanner.say(scanned(message))
            scans = len(told(shop))
            await until(lambda scans=scans: len(told(shop)) == scans + 1)  # type: ignore[misc]  # a default binds it
    assert told(shop) == [
        (EventType.TAP, "watch", GENUINE),
        (EventType.SCAN, "watch", REPLAYED),
        (EventType.SCAN, "vitrine-3", FORGED),
        (EventType.SCAN, "watch", GENUINE),
        (EventType.SCAN, "watch", REPLAYED),
    ]
    tallies = shop.tallies()
    assert [tallies[f"sun:{verdict}"] for verdict in (GENUINE, REPLAYED, FORGED)] == [2, 2, 1]


async def test_a_link_on_another_tag_is_forged(reader: NfcField | Pn532, tmp_path: Path) -> None:
    """Also one that the gateway has never seen: the tag that made it has another UID."""
    shop, tag = Shop(tmp_path), signing(UID, LINK, META_KEY, FILE_KEY)
    async with working(shop, reader):
        reader.place(Ntag21x(213, OTHER, tag.read_message()))
        await until(lambda: told(shop) == [(EventType.TAP, "vitrine-3", FORGED)])
