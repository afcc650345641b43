"""The capture half with tags that sign: the counter is durable with the event, at the path and at the counter."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from gateway.control import RequestError
from gateway.core.authenticity import Authenticator
from gateway.core.decode.sun import TagKeys
from gateway.core.event import Interaction
from gateway.core.path import Fate, Outcome
from gateway.core.registry import BearerRule, Touchpoint, build
from gateway.core.sighting import Sighting, Tag
from gateway.log import security
from gateway.presenting import Presented, presented
from gateway.sources.source import SourceStatus
from gateway.store.database import StoreError
from gateway.store.sun_counters import load
from tests.core import salon
from tests.core.salon import scan
from tests.shop import Shop, until
from tests.simulators import frames, sun_links
from tests.simulators.sun_links import FILE_KEY, META_KEY, UID

WATCH = Touchpoint("watch", "product", "Watch", identifiers=(f"sun:{UID.hex()}",))
CARD_UID, CARD_KEY = bytes.fromhex("04a1a2a3a4a5a6"), b"the key of Ben's"
PAGE = "https://id.acme.example/01/09506000134352"
REFUSING = """CREATE TRIGGER refusing BEFORE INSERT ON sun_counter BEGIN SELECT RAISE(ABORT, 'no'); END"""
"""Stands for a disk that fails."""


def knows_the_tags(shop: Shop) -> None:
    """Have the shop verify the watch's tag and Ben's card, by the counters that its file holds."""
    path = shop.capture.path
    path.registry = build(1, (*salon.TOUCHPOINTS, WATCH), (*salon.RULES, BearerRule("sun", "")))
    path.authenticator = Authenticator(TagKeys({UID: FILE_KEY, CARD_UID: CARD_KEY}, META_KEY), counters=counters(shop))


def counters(shop: Shop) -> dict[str, int]:
    """Read the counters that are on the disk."""
    with closing(sqlite3.connect(shop.directory / "capture.db")) as connection:
        return load(connection)


def watch(counter: int) -> Sighting:
    """Return the scan of a phone that has read the watch's tag."""
    return scan(sun_links.encrypted(counter, PAGE))


def card(counter: int, key: bytes = CARD_KEY) -> Sighting:
    """Return a tap of Ben's card."""
    text = sun_links.encrypted(counter, "https://id.acme.example/c", uid=CARD_UID, key=key)
    return Sighting("nfc", Tag(CARD_UID, frames.message(frames.uri(text))))


def every_byte(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


def verdicts(shop: Shop) -> list[str | None]:
    """Return the verdict of each event that waits."""
    return [event.data.authenticity for event in shop.events() if isinstance(event.data, Interaction)]


async def test_a_message_counts_once_also_after_a_restart(tmp_path: Path) -> None:
    """Its counter is on the disk when its event is; the half that starts anew knows it; verdicts are counted."""
    shop = Shop(tmp_path)
    for told in (["genuine-unreconciled"], ["genuine-unreconciled", "replayed"]):
        async with shop.running() as readers:
            knows_the_tags(shop)
            readers["scanner"].say(watch(5))
            await until(lambda told=told: verdicts(shop) == told)  # type: ignore[misc]  # a default binds it
            assert list(counters(shop).values()) == [5]
    assert (shop.tallies()["sun:genuine-unreconciled"], shop.tallies()["sun:replayed"]) == (1, 1)
    assert shop.tallies()["sightings"] == shop.tallies()["acted_on"] == 2


async def test_what_was_not_accepted_may_be_shown_again(tmp_path: Path) -> None:
    """A disk that fails takes neither the event nor the counter; the same message is genuine afterwards."""
    shop = Shop(tmp_path)
    async with shop.open() as half:
        knows_the_tags(shop)
        outcome = half.path.see(watch(5), shop.clock.now())
        with closing(sqlite3.connect(tmp_path / "capture.db", isolation_level=None)) as other:
            other.execute(REFUSING)
            assert (await half.commit(outcome)).reason == "store"
            other.execute("DROP TRIGGER refusing")
        half.path.debounce.forget("scanner")
        assert (await half.commit(half.path.see(watch(5), shop.clock.now()))).fate is Fate.ACTED_ON
        assert half.path.see(watch(5), shop.clock.now()).drafts == ()
    assert verdicts(shop) == ["genuine-unreconciled"]
    assert list(counters(shop).values()) == [5]


async def test_a_counter_without_an_event_is_kept_too(tmp_path: Path) -> None:
    """A tag that flickers on the reader has signed again: that message is spent as well."""
    shop = Shop(tmp_path)
    async with shop.running() as readers:
        knows_the_tags(shop)
        readers["scanner"].say(watch(5), watch(6))
        await until(lambda: list(counters(shop).values()) == [6])
    assert (len(shop.events()), shop.tallies()["absorbed"]) == (1, 1)


async def test_a_reader_accepts_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its light, or whatever it has, says nothing of a copy and of a forgery, though each makes an event."""
    shop, accepted = Shop(tmp_path), list[int]()
    async with shop.running() as readers:
        knows_the_tags(shop)
        monkeypatch.setattr(readers["scanner"], "accepted", lambda: accepted.append(len(shop.events())))
        forged = scan(sun_links.encrypted(9, PAGE, key=META_KEY))
        for number, sighting in enumerate((watch(5), forged, watch(5), watch(6)), 1):
            shop.clock.ahead_s += 10
            readers["scanner"].say(sighting)
            await until(lambda number=number: len(shop.events()) == number)  # type: ignore[misc]  # a default binds it
        await until(lambda: len(accepted) > 1)
    assert verdicts(shop) == ["genuine-unreconciled", "forged", "replayed", "genuine-unreconciled"]
    assert accepted == [1, 4]


async def test_nothing_of_a_tag_is_in_the_file(tmp_path: Path) -> None:
    """Neither its UID nor its message; the counter stands under a keyed hash."""
    shop = Shop(tmp_path)
    async with shop.running() as readers:
        knows_the_tags(shop)
        readers["scanner"].say(watch(5))
        readers["nfc"].say(card(3), card(3, META_KEY))
        await until(lambda: len(shop.events()) == 2 and shop.capture.counts["sun:forged"] == 1)
        written = every_byte(tmp_path).lower()
    for uid in (UID, CARD_UID):
        assert uid not in written
        assert uid.hex().encode() not in written
    assert b"picc_data" not in written


@asynccontextmanager
async def counter(directory: Path) -> AsyncIterator[Shop]:
    """A shop with an NFC reader at which cards are presented to commands."""
    shop = Shop(directory)
    async with shop.open() as half:
        knows_the_tags(shop)
        half.show(SourceStatus("nfc", up=True))
        yield shop


async def shown(shop: Shop, *sightings: Sighting, tokens: int = 1) -> Presented:
    """Present these to a command at the NFC reader."""

    async def tell(answer: object) -> None:
        del answer

    asking = asyncio.ensure_future(presented(shop.capture, {"reader": "nfc", "seconds": 5}, tell, tokens))
    for sighting in sightings:
        await until(lambda: "nfc" in shop.capture._borrowed and not shop.capture._borrowed["nfc"].done())  # noqa: SLF001
        shop.capture._lend(sighting)  # noqa: SLF001  # as the source does
    return await asking


async def test_a_card_that_signs_is_presented_at_the_counter_once(tmp_path: Path) -> None:
    """Its counter is durable before the command goes on; a copy of the message presents nobody afterwards."""
    async with counter(tmp_path) as shop:
        assert [token.text for token in (await shown(shop, card(3))).tokens] == [f"sun:{CARD_UID.hex()}"]
        assert list(counters(shop).values()) == [3]
        with pytest.raises(RequestError, match="is replayed, and nothing is recorded"):
            await shown(shop, card(3))
        assert shop.capture.path.see(card(3), shop.clock.now()).verdict == "replayed"


async def test_a_forged_card_presents_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also if its UID, which anybody can copy, would be somebody's token; the security log has it, without the UID."""
    async with counter(tmp_path) as shop:
        shop.capture.path.registry = build(1, (), (BearerRule("nfc-uid", ""),))
        with pytest.raises(RequestError, match="is forged"):
            await shown(shop, card(3, META_KEY))
        assert counters(shop) == {}
    (logged,) = [record for record in caplog.records if record.name == security.name]
    assert logged.getMessage() == "reader nfc: the message of a tag was forged: it names nobody"


async def test_a_card_is_not_presented_if_its_counter_cannot_be_kept(tmp_path: Path) -> None:
    """The command fails; the same message is accepted when the disk works again."""
    async with counter(tmp_path) as shop:
        with closing(sqlite3.connect(tmp_path / "capture.db", isolation_level=None)) as other:
            other.execute(REFUSING)
            with pytest.raises((sqlite3.Error, StoreError)):
                await shown(shop, card(3))
            other.execute("DROP TRIGGER refusing")
        assert len((await shown(shop, card(3))).tokens) == 1


async def test_the_same_card_again_is_told_and_not_spent(tmp_path: Path) -> None:
    """While a command waits for another token, a card that is left on the reader is no copy."""
    async with counter(tmp_path) as shop:
        anna = Sighting("nfc", Tag(b"", frames.message(frames.uri(salon.ANNA.value))))
        found = await shown(shop, card(3), card(3), card(4), anna, tokens=2)
        assert [token.kind for token in found.tokens] == ["sun", "link"]
        assert list(counters(shop).values()) == [3]


def test_an_outcome_shows_no_tag() -> None:
    """What is spent is hidden in a repr."""
    authenticator = Authenticator(TagKeys({UID: FILE_KEY}, META_KEY))
    spent = authenticator.read(watch(5).payload).spent  # type: ignore[arg-type]  # a scan
    assert spent is not None
    assert spent.tag not in repr(Outcome(Fate.ACTED_ON, spent=spent))
