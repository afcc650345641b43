"""The capture half at work: what a sighting ends as, when it counts as accepted, and what the uplink may ask."""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.capture import report_forgery
from gateway.control import RequestError
from gateway.core import pseudonym
from gateway.core.consent import Consent, Reason
from gateway.core.event import Draft, EventType
from gateway.core.path import NOT_BELIEVED, Fate, Outcome
from gateway.core.sighting import Advertisement, ClockQuality, Identifier, Scan, Sighting
from gateway.log import Message, security
from gateway.sources.source import SourceStatus
from gateway.store import usage
from gateway.store.backlog import Backlog
from gateway.store.database import CorruptError, StoreError
from gateway.store.outbox import Outbox
from gateway.store.recovery import mark, suspect
from tests.core import salon
from tests.core.salon import ANNA, GTIN_LINK, present, scan, tap
from tests.shop import ClockToSet, Shop, Voice, until
from tests.simulators import frames
from tests.store.conftest import opened

AUCKLAND = ZoneInfo("Pacific/Auckland")
DORA = Identifier("ibeacon", salon.CLARA.value.replace("/7/9", "/7/10"))
DORAS = Sighting("salon", Advertisement("", -60, {0x004C: frames.ibeacon(salon.CLARA_UUID, 7, 10, -59)}))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop in which Anna and Clara have consented."""
    made = Shop(tmp_path)
    for token in (ANNA, salon.CLARA):
        made.ledger.grant(token)
    return made


@pytest.fixture
def long_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presence waits for company however slow this machine is."""
    monkeypatch.setattr("gateway.capture.PATIENCE_SECONDS", 60.0)


def kinds(shop: Shop) -> list[EventType]:
    return [event.kind for event in shop.events()]


def every_byte(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


@contextmanager
def nothing_written(shop: Shop) -> Iterator[None]:
    """Hold the store's lock, so that no commit ends meanwhile; the start itself makes some, for others to share."""
    with closing(sqlite3.connect(shop.directory / "capture.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def be_present(shop: Shop, reader: Voice) -> None:
    """Let Clara's beacon be heard until she is present: two sightings, the second of which makes an event."""
    for number in (1, 2):
        shop.clock.ahead_s = 2 * number
        reader.say(salon.customer_beacon())
        await until(partial(seen, shop, number))


def seen(shop: Shop, number: int) -> bool:
    return shop.capture.counts["sightings"] == number


def waiting(shop: Shop, number: int) -> bool:
    return len(shop.events()) == number


# --- what a sighting ends as -----------------------------------------------------------------------------------


async def test_every_sighting_ends_as_a_number(shop: Shop) -> None:
    """Both balances hold in the file after a clean stop, whatever was read."""
    async with shop.running() as voices:
        said = [sighting for sighting in salon.SIGHTINGS if sighting.reader in voices]
        assert len(said) == 20
        for sighting in said:
            voices[sighting.reader].say(sighting)
        await until(partial(seen, shop, len(said)))
    report, tallies = shop.verified(), shop.tallies()
    assert tallies["sightings"] == len(said)
    assert report.numbers["appended"] == len(shop.events()) > 0
    assert {name: n for name, n in shop.capture.counts.items() if n} == {
        name: n for name, n in tallies.items() if name != "appended"
    }


async def test_a_reader_goes_on_when_its_event_is_durable(shop: Shop) -> None:
    """Whatever tells a customer "accepted" may rely on it: another process reads the event by then."""
    found: list[int] = []
    async with shop.running(asked=lambda: found.append(len(shop.events()))) as voices:
        await until(lambda: len(found) == 3)
        for number, text in enumerate((GTIN_LINK, "good", "bad"), 1):
            voices["scanner"].say(scan(text))
            await until(partial(lambda number: len(found) == 3 + number, number))
    assert found == [0, 0, 0, 1, 2, 3]
    assert kinds(shop) == [EventType.SCAN, EventType.RESPONSE, EventType.RESPONSE]


@pytest.mark.usefixtures("long_patience")
async def test_presence_holds_up_no_reader(shop: Shop) -> None:
    """Its events wait for company in a commit, and the readings after it are seen at once."""
    async with shop.running() as voices:
        with nothing_written(shop):
            await be_present(shop, voices["salon"])
            voices["salon"].say(salon.customer_beacon())
            await until(partial(seen, shop, 3))
            assert shop.events() == []
        voices["nfc"].say(tap())
        await until(partial(waiting, shop, 2))
    assert kinds(shop) == [EventType.APPEARED, EventType.TAP]


async def test_what_is_not_yet_durable_is_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """When so many events of presence and health wait for their commit, their reader waits too."""
    monkeypatch.setattr("gateway.capture.UNCOMMITTED", 1)
    shop.ledger.grant(DORA)
    async with shop.running() as voices:
        for seconds in (2, 4):
            shop.clock.ahead_s = seconds
            voices["salon"].say(salon.customer_beacon(), DORAS)
            await until(partial(seen, shop, seconds))
        assert shop.events(), "the first was durable before the second was seen"
    assert kinds(shop) == [EventType.APPEARED] * 2


async def test_every_event_is_announced(shop: Shop) -> None:
    """The uplink's doorbell rings after each commit."""
    async with shop.running() as voices:
        voices["nfc"].say(tap())
        await until(lambda: len(shop.rings) == 1)
        assert len(shop.events()) == 1


async def test_time_passes_without_a_sighting(shop: Shop) -> None:
    """A beacon that is heard no more has left, and says so by itself."""
    async with shop.running() as voices:
        await be_present(shop, voices["salon"])
        shop.clock.ahead_s = 60
        await until(partial(waiting, shop, 2))
    assert kinds(shop) == [EventType.APPEARED, EventType.DISAPPEARED]


async def test_nobody_leaves_while_the_scanner_is_down(shop: Shop) -> None:
    """A reader's status holds its zone; when it is up again, silence counts anew, and time passes by itself."""
    async with shop.running() as voices:
        await be_present(shop, voices["salon"])
        shop.capture.show(SourceStatus("salon", up=False, reason="unplugged"))
        shop.clock.ahead_s = 60
        assert shop.capture.path.next_deadline() is None
        shop.capture.show(SourceStatus("salon", up=True))
        shop.clock.ahead_s = 80
        await until(partial(waiting, shop, 2))
    assert kinds(shop) == [EventType.APPEARED, EventType.DISAPPEARED]


async def test_readers_are_part_of_the_condition(shop: Shop) -> None:
    """How each reader fares is left for the uplink; one that a command has borrowed is not down."""
    async with shop.running():
        shop.capture.show(SourceStatus("salon", up=False, reason="unplugged"))
        shop.capture.show(SourceStatus("scanner", up=False, reason="lent to a command", lent=True))
        with closing(Backlog(shop.directory)) as backlog:
            await until(lambda: backlog.condition().get("reader:salon") == "unplugged")
            assert backlog.condition()["reader:scanner"] is None
        shop.capture.show(SourceStatus("salon", up=True))
        assert shop.capture.condition()["reader:salon"] is None


async def test_last_events_name_nobody(shop: Shop) -> None:
    """Staff are shown when, what and where, the newest at the end; whom it was about is not kept."""
    async with shop.running() as voices:
        await be_present(shop, voices["salon"])
        await until(lambda: bool(shop.capture.last))
    (happened,) = shop.capture.last
    assert (happened.kind, happened.place) == ("appeared", "salon")
    assert "tp1." not in repr(shop.capture.last)


@pytest.mark.parametrize(
    ("outcome", "message", "text"),
    [
        (Outcome(Fate.ACTED_ON, verdict="forged"), Message.TAG_FORGED, "the message of a tag was forged"),
        (Outcome(Fate.ACTED_ON, verdict="replayed"), Message.TAG_FORGED, "the message of a tag was replayed"),
        (NOT_BELIEVED, Message.LINK_FORGED, "a link without a signature that counts here was dropped"),
    ],
)
def test_forgeries_are_a_matter_of_security(
    outcome: Outcome, message: Message, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What claims to be what it is not is logged with the reader's name, and nothing of what was read."""
    report_forgery(outcome, "counter")
    (record,) = caplog.records
    assert record.name == security.name
    assert record.__dict__["message_id"] == message
    assert record.__dict__["component"] == "reader:counter"
    assert record.getMessage().startswith(f"reader counter: {text}")


@pytest.mark.parametrize(
    "outcome", [Outcome(Fate.ACTED_ON, verdict="genuine-unreconciled"), Outcome(Fate.DROPPED, "unknown")]
)
def test_what_is_genuine_or_unknown_is_no_forgery(outcome: Outcome, caplog: pytest.LogCaptureFixture) -> None:
    """A stranger's tag is nobody's business."""
    report_forgery(outcome, "counter")
    assert not caplog.records


async def test_consents_that_are_not_believed_are_a_matter_of_security(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """How often a consent without a signature that counts was met is logged with the counters; of whom is not."""
    async with shop.open() as capture:
        capture.path.subjects.denied[Reason.SIGNATURE] = 3
        capture.path.subjects.denied[Reason.EXPIRED] = 1
        await capture.save()
    (record,) = [each for each in caplog.records if each.name == security.name]
    assert record.getMessage() == "3 times a consent bore no signature that counts here: nobody was named"


async def test_what_no_source_could_read_counts_too(shop: Shop) -> None:
    """A reading that never became a sighting is a number with a reason."""
    async with shop.open() as capture:
        capture.dropped("overlong")
        capture.dropped("overlong")
        await capture.save()
    assert shop.tallies() == {"sightings": 2, "dropped:overlong": 2}
    shop.verified()


async def test_refused_subjects_are_counted_by_reason(shop: Shop) -> None:
    """The reason stays in the store's own counters; the event goes out without a subject."""
    async with shop.running() as voices:
        voices["scanner"].say(present(salon.BEN), present(ANNA))
        await until(partial(waiting, shop, 2))
    assert shop.tallies()["denied:no-consent"] == 1
    assert "denied:withdrawn" not in shop.tallies()


# --- stopping --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("long_patience")
async def test_a_stop_counts_what_is_under_way_once(shop: Shop) -> None:
    """An event that still waits for company is committed on the way out, together with its numbers."""
    async with shop.running() as voices:
        with nothing_written(shop):
            await be_present(shop, voices["salon"])
            assert shop.tallies() == {}
    assert kinds(shop) == [EventType.APPEARED]
    assert shop.tallies() == {"sightings": 2, "absorbed": 1, "acted_on": 1, "appended": 1}


async def test_a_stop_writes_the_counters_that_no_event_carried(shop: Shop) -> None:
    """A day of unknown codes leaves its number."""
    async with shop.running() as voices:
        voices["scanner"].say(scan("nothing known"))
        await until(partial(seen, shop, 1))
        assert shop.tallies() == {}
    assert shop.tallies() == {"sightings": 1, "dropped:unknown": 1}


# --- a store that fails ----------------------------------------------------------------------------------------


def impatient(directory: Path) -> Outbox:
    """Open the outbox so that it does not wait for another's lock."""
    outbox = opened(directory)
    outbox.connection.execute("PRAGMA busy_timeout = 0")
    return outbox


async def test_a_store_that_fails_drops_the_event_and_goes_on(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The sighting is counted as such, the log says so once, and the next one is accepted when the trouble is over."""
    async with shop.running(open_outbox=impatient) as voices:
        with nothing_written(shop):
            voices["scanner"].say(scan("good"), scan("bad"), scan(GTIN_LINK))
            await until(lambda: shop.capture.counts["dropped:store"] == 3)
            assert shop.capture.condition()["store"] == "database is locked: events are not accepted"
        voices["nfc"].say(tap())
        await until(partial(waiting, shop, 1))
        await until(lambda: shop.capture.condition()["store"] is None)
    said = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(said) == 1
    assert said[0].startswith("capture.db: database is locked: ")
    assert shop.tallies() == {"sightings": 4, "dropped:store": 3, "acted_on": 1, "appended": 1}
    shop.verified()


async def test_after_a_failure_the_same_tap_counts_at_once(shop: Shop) -> None:
    """Nobody was told "accepted", so the tag is held there once more: that is no repetition."""
    async with shop.running(open_outbox=impatient) as voices:
        with nothing_written(shop):
            voices["nfc"].say(tap())
            await until(lambda: shop.capture.counts["dropped:store"] == 1)
        voices["nfc"].say(tap(), tap())
        await until(partial(seen, shop, 3))
    assert shop.tallies() == {"sightings": 3, "dropped:store": 1, "acted_on": 1, "absorbed": 1, "appended": 1}


async def test_after_consents_could_not_be_read_the_same_token_counts_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that could not be decided on is presented once more, and decided on then."""

    def unreadable(_ledger: salon.FakeLedger, _handle: str) -> list[Consent]:
        raise StoreError("read", shop.directory / "uplink.db", "disk I/O error", "Check the disk")

    async with shop.running() as voices:
        with monkeypatch.context() as patch:
            patch.setattr(salon.FakeLedger, "records", unreadable)
            voices["scanner"].say(present(ANNA))
            await until(lambda: shop.capture.counts["dropped:store"] == 1)
        voices["scanner"].say(present(ANNA))
        await until(partial(waiting, shop, 1))
    assert getattr(shop.events()[0].data, "subject", None) is not None


async def test_counters_that_cannot_be_written_are_told_too(shop: Shop) -> None:
    """A store that fails shows before there is an event to lose, and no longer when it works again."""
    async with shop.open(impatient) as capture:
        with nothing_written(shop):
            capture.dropped("overlong")
            await capture.save()
            assert "database is locked" in str(capture.condition()["store"])
        await capture.save()
        assert capture.condition()["store"] is None
    assert shop.tallies() == {"sightings": 1, "dropped:overlong": 1}


class Damaged(Outbox):
    """An outbox whose file is found damaged at the first event."""

    def append(self, drafts: Iterable[Draft]) -> int:
        """Find a page that is none."""
        del drafts
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def damaged(directory: Path) -> Outbox:
    whole = opened(directory)
    return Damaged(whole.connection, whole.source, whole.boot, session=whole.session)


@pytest.mark.parametrize("reader", ["nfc", "salon"])
async def test_a_damaged_file_ends_the_half_so_that_the_next_start_mends_it(shop: Shop, reader: str) -> None:
    """It is marked, and the half gives up instead of failing for ever."""
    async with shop.open(damaged) as capture:
        voice = Voice(capture, reader)
        working = asyncio.ensure_future(capture.run([voice]))
        if reader == "nfc":
            voice.say(tap())
        else:
            await be_present(shop, voice)
        async with asyncio.timeout(10):
            with pytest.raises(CorruptError, match=r"malformed\. It is mended at the next start"):
                await working
    assert suspect(shop.directory, "capture.db").exists()


async def test_a_file_that_the_uplink_found_damaged_ends_the_half_too(shop: Shop) -> None:
    """The uplink can only read, so it leaves a mark."""
    async with shop.open() as capture:
        working = asyncio.ensure_future(capture.run([]))
        mark(shop.directory, "capture.db")
        capture.bell.set()
        async with asyncio.timeout(10):
            with pytest.raises(CorruptError, match="the uplink cannot read it"):
                await working


# --- what the uplink asks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rung", [True, False])
async def test_what_is_delivered_is_trimmed(shop: Shop, rung: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """At the uplink's ring, and within a second if that was lost."""
    async with shop.running() as voices:
        voices["scanner"].say(scan("good"), scan("bad"), scan(GTIN_LINK))
        await until(partial(waiting, shop, 3))
        shop.uplink_says(3, 2)
        if rung:
            shop.capture.bell.set()
        await until(partial(waiting, shop, 1))
    assert shop.verified().numbers == {"appended": 3, "delivered": 2, "withdrawn": 0, "evicted": 0, "waiting": 1}


async def test_what_the_uplink_refused_becomes_a_gap(shop: Shop) -> None:
    """Its consent is gone, as the uplink found before it sent it; the uplink is told when it is done."""
    async with shop.running() as voices:
        voices["scanner"].say(scan("good"), scan("bad"))
        await until(partial(waiting, shop, 2))
        rings = len(shop.rings)
        shop.uplink_says(0, 0, 2)
        shop.capture.bell.set()
        await until(lambda: EventType.GAP in kinds(shop))
        await until(lambda: len(shop.rings) > rings)
    assert kinds(shop) == [EventType.RESPONSE, EventType.GAP]
    assert shop.verified().numbers["withdrawn"] == 1


async def test_what_could_not_be_trimmed_is_trimmed_later(shop: Shop) -> None:
    """A store that failed at that moment is asked again, though the uplink has nothing new to say."""
    async with shop.running(open_outbox=impatient) as voices:
        voices["nfc"].say(tap())
        await until(partial(waiting, shop, 1))
        with nothing_written(shop):
            shop.uplink_says(1, 0, 1)
            shop.capture.bell.set()
            await until(lambda: shop.capture._last_failure != "")  # noqa: SLF001  # shown in the log alone
        await until(lambda: kinds(shop) == [EventType.GAP])


async def test_a_withdrawal_reaches_what_waits_and_who_is_here(shop: Shop) -> None:
    """Unsent rows become gaps, the visit ends, what was said is in no file, and what may have been sent is listed."""
    handle = pseudonym.handle(salon.RING, ANNA)
    async with shop.running() as voices:
        voices["scanner"].say(present(ANNA), scan(GTIN_LINK), scan("good"))
        await until(partial(waiting, shop, 3))
        names = {subject.pseudonym for event in shop.events() if (subject := getattr(event.data, "subject", None))}
        shop.uplink_says(2, 1)
        shop.capture.writer.outbox.published = lambda: 2
        shop.ledger.withdraw(ANNA, 9)
        assert await shop.capture.withdraw([handle]) == [2]
        voices["scanner"].say(scan("bad"))
        await until(lambda: EventType.RESPONSE in kinds(shop))
        assert [event.kind for event in shop.events()] == [EventType.GAP, EventType.GAP, EventType.RESPONSE]
        assert not [
            path.name for path in shop.directory.iterdir() for name in names if name.encode() in path.read_bytes()
        ]
    assert len(names) == 2
    assert getattr(shop.events()[-1].data, "subject", None) is None
    assert shop.verified().numbers["withdrawn"] == 2


# --- lending a reader ------------------------------------------------------------------------------------------


async def test_a_borrowed_reader_gives_its_next_sighting_to_whoever_asked(shop: Shop) -> None:
    """One sighting, counted; it makes no event, and the next one takes the path again."""
    async with shop.running() as voices:
        lending = asyncio.ensure_future(shop.capture.borrow("scanner"))
        await asyncio.sleep(0)
        voices["nfc"].say(tap())
        voices["scanner"].say(present(ANNA), scan("good"))
        async with asyncio.timeout(10):
            sighting = await lending
        assert isinstance(sighting.payload, Scan)
        assert sighting.payload.text == ANNA.value
        await until(partial(waiting, shop, 2))
    assert Counter(kinds(shop)) == Counter([EventType.TAP, EventType.RESPONSE])
    assert shop.tallies()["sightings"] == shop.tallies()["acted_on"] == 3


async def test_a_reader_is_lent_to_one_command_at_a_time_and_taken_back(shop: Shop) -> None:
    """The second is refused with what to do; after the first has gone the reader is free."""
    async with shop.running() as voices:
        first = asyncio.ensure_future(shop.capture.borrow("scanner"))
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="lent to another command"):
            await shop.capture.borrow("scanner")
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        voices["scanner"].say(scan("good"))
        await until(partial(waiting, shop, 1))


# --- use of touchpoints ----------------------------------------------------------------------------------------


def used(shop: Shop) -> dict[tuple[str, str], int]:
    """Return how often each touchpoint was touched today, in Auckland."""
    today = usage.day_of(shop.clock.now().wall_ms, AUCKLAND)
    with closing(Backlog(shop.directory)) as backlog:
        connection = backlog.connection()
        assert connection is not None
        found = usage.load(connection)
    assert {use.day for use in found} <= {today}
    return {(use.touchpoint, use.touch): number for use, number in found.items()}


async def test_the_use_of_a_touchpoint_is_counted_with_its_event(shop: Shop) -> None:
    """By the store's day; a customer's card counts where it is presented; repetitions and unknown codes do not."""
    async with shop.running() as voices:
        shop.capture.time_zone = AUCKLAND
        voices["nfc"].say(tap(), tap())
        voices["scanner"].say(scan("good"), present(ANNA), scan("unknown"))
        await until(partial(seen, shop, 5))
        await until(partial(waiting, shop, 3))
    assert used(shop) == {("vitrine-3", "tap"): 1, ("exit", "response"): 1, ("counter", "scan"): 1}


async def test_what_is_touched_before_the_clock_is_set_gets_its_day_later(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one on which the clock is set."""
    monkeypatch.setattr(shop.clock, "source", "system")
    monkeypatch.setattr(ClockToSet, "_ask", lambda _: ClockQuality.UNSYNCED)
    async with shop.running() as voices:
        shop.capture.time_zone = AUCKLAND
        voices["nfc"].say(tap())
        await until(partial(waiting, shop, 1))
        with pytest.raises(AssertionError):
            used(shop)
        monkeypatch.setattr(shop.clock, "source", "trusted")
        shop.capture.bell.set()
        await until(lambda: shop.events()[0].data.model_dump()["clock"] == "synced")
    assert used(shop) == {("vitrine-3", "tap"): 1}


async def test_what_is_not_accepted_is_no_use(shop: Shop) -> None:
    """Event and number are one commit: both or neither."""
    async with shop.running(open_outbox=impatient) as voices:
        shop.capture.time_zone = AUCKLAND
        with nothing_written(shop):
            voices["nfc"].say(tap())
            await until(lambda: shop.capture.counts["dropped:store"] == 1)
        voices["nfc"].say(tap())
        await until(partial(waiting, shop, 1))
    assert used(shop) == {("vitrine-3", "tap"): 1}
