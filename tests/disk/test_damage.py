"""Damaged files: whatever is hit, the half comes up again by itself, loses no more than it must, and says what.

Each test damages a copy of the same installation: 180 events that wait, 60 consents, 60 touchpoints.
"""

import asyncio
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.capture import Capture
from gateway.config import Settings
from gateway.core.event import Event, EventType, Gap
from gateway.core.registry import Touchpoint
from gateway.daemon.uplink import open_progress
from gateway.store import ledger, touchpoints
from gateway.store.backlog import Backlog
from gateway.store.database import CorruptError, StoreError, open_writer
from gateway.store.outbox import Outbox
from gateway.store.progress import Followed, Progress, components, progress, record
from gateway.store.recovery import mark, suspect
from gateway.store.schema import CAPTURE, UPLINK
from tests.disk.conftest import accept, capture_on, configured, drafted, publish, verified
from tests.store.conftest import consent, signed

PAGE = 4096
WAITING, PUBLISHED = 180, 10
STARTS = 2
"""So many times may a half begin anew: once to find the damage, once to mend it."""

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    """An installation as it was left by a clean stop."""
    with tempfile.TemporaryDirectory(prefix="tp-") as made:
        asyncio.run(_install(Path(made)))
        yield Path(made) / "s"


async def _install(directory: Path) -> None:
    async with capture_on(configured(directory, directory / "s")) as half:
        for kind in (EventType.TAP, EventType.APPEARED, EventType.BEACON_HEALTH):
            await half.append([drafted(kind) for _ in range(WAITING // 3)])
        await half.writer.commit(_register)
    publish(directory / "s", PUBLISHED)


def _register(outbox: Outbox) -> None:
    points = [Touchpoint(f"point-{number}", "display", "Vitrine" * 20) for number in range(60)]
    touchpoints.replace(outbox.connection, points)
    for number in range(60):
        given = consent(f"record-{number}", f"h1.{number:022}")
        ledger.put(outbox.connection, given, signed(given))


@pytest.fixture
def settings(directory: Path, original: Path) -> Settings:
    """The configuration of a copy."""
    shutil.copytree(original, directory / "s")
    return configured(directory, directory / "s")


def restore(settings: Settings, original: Path) -> None:
    """Put the copy back as it was."""
    shutil.rmtree(settings.gateway.state)
    shutil.copytree(original, settings.gateway.state)


def pages(file: Path) -> int:
    """Return how many pages a file has."""
    return file.stat().st_size // PAGE


def invert(file: Path, page: int) -> None:
    """Turn every bit of a page round."""
    content = bytearray(file.read_bytes())
    at = slice(page * PAGE, (page + 1) * PAGE)
    content[at] = bytes(255 - octet for octet in content[at])
    file.write_bytes(content)


def flip(file: Path, dice: random.Random) -> None:
    """Turn three bits round, anywhere."""
    content = bytearray(file.read_bytes())
    for _ in range(3):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)


async def comes_up(settings: Settings) -> int:
    """Start the half again and again, as the daemon does, until it works; return how many starts failed.

    It works when it accepts an event, answers about every customer, and its whole outbox can be sent.
    """
    for failed in range(STARTS + 1):
        try:
            async with capture_on(settings) as half:
                await _use(half)
        except (StoreError, sqlite3.DatabaseError):
            continue
        return failed
    pytest.fail("it does not come up")


async def _use(half: Capture) -> None:
    assert await accept(half)
    lookup = half.path.subjects.ledger
    for number in range(60):
        lookup.records(f"h1.{number}")
    with closing(Backlog(half.followed.directory)) as backlog:
        after = 0
        while rows := backlog.rows(after, 1_000, 1 << 30):
            after = rows[-1].through


def waiting(state: Path) -> list[Event]:
    """Return the events that wait."""
    with closing(Backlog(state)) as backlog:
        return [Event.model_validate_json(row.event) for row in backlog.rows(0, 10_000, 1 << 30)]


def session(state: Path) -> str:
    """Return the id of the session."""
    with closing(Backlog(state)) as backlog:
        return backlog.session() or ""


def counted(state: Path) -> tuple[int, int]:
    """Count consents and touchpoints."""
    with closing(open_writer(state, CAPTURE)) as connection:
        return ledger.read_all(connection), len(touchpoints.load(connection)[1])


async def judged(settings: Settings, last: str) -> str:
    """Bring the half up, and tell whether it went on, put gaps in, or began a new session; all else is wrong."""
    state = settings.gateway.state
    await comes_up(settings)
    assert not suspect(state, CAPTURE.file).exists()
    verified(state)
    events = waiting(state)
    set_aside = [path for path in state.glob("capture.db.damaged-*") if path.name[-1].isdigit()]
    if not set_aside:
        assert session(state) == last
        assert counted(state) == (60, 60)
        return "gaps" if any(event.kind is EventType.GAP for event in events) else "whole"
    assert names_the_last(events[0], last)
    consents, points = counted(state)
    assert consents in {0, 60}
    assert points in {0, 60}
    return "new session"


def names_the_last(event: Event, last: str) -> bool:
    """Tell whether an event is the gap that opens a session after `last`."""
    data = event.data
    named = data.previous if isinstance(data, Gap) and data.reason == "new-session" else None
    return named is not None and (named.session, named.sequence) == (last, PUBLISHED)


async def test_any_page_of_the_outbox_may_be_damaged(settings: Settings, original: Path) -> None:
    """Each page in turn: the service comes up; what SQLite cannot read is set aside, never half of a ledger taken."""
    file, last = settings.gateway.state / CAPTURE.file, session(original)
    outcomes = []
    for page in range(pages(file)):
        restore(settings, original)
        invert(file, page)
        outcomes.append(await judged(settings, last))
    assert outcomes.count("new session") > pages(original / CAPTURE.file) / 2


async def test_bits_that_flip_cost_no_more_than_the_events_they_hit(settings: Settings, original: Path) -> None:
    """SQLite does not notice a changed text; the row's own sum does, and a gap says so."""
    file, last = settings.gateway.state / CAPTURE.file, session(original)
    dice, outcomes = random.Random(3), []  # noqa: S311  # for repeatable damage, not for secrets
    for _ in range(60):
        restore(settings, original)
        flip(file, dice)
        outcomes.append(await judged(settings, last))
    assert outcomes.count("gaps") > outcomes.count("new session")


async def test_a_damaged_event_becomes_a_gap_that_says_so(settings: Settings) -> None:
    """Its number stays, the events around it are sent, and the balance holds."""
    state = settings.gateway.state
    with closing(open_writer(state, CAPTURE)) as connection:
        connection.execute("UPDATE outbox SET event = replace(event, 'vitrine-1', 'vitrine-2') WHERE sequence = 20")
    assert await comes_up(settings) == 1
    events = waiting(state)
    assert [event.kind for event in events[18:21]] == [EventType.TAP, EventType.GAP, EventType.TAP]
    assert events[19].data == Gap(reason="corrupt", through=None, previous=None)
    assert verified(state).numbers["evicted"] == 1


def replace(file: Path, before: bytes, after: bytes) -> None:
    """Change octets where they stand, behind SQLite's back."""
    content = file.read_bytes()
    assert before in content
    file.write_bytes(content.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"since_ms" INTEGER NOT NULL', b'"since_mr" INTEGER NOT NULL'),
        (b"CREATE TABLE sqlite_sequence(name,seq)", b"CREATE TABLE sqlite_sequence(name.seq)"),
        (b"(sequence) WHERE fate <> 0", b"(sequence) WHERE fate >> 0"),
    ],
)
async def test_a_damaged_schema_is_noticed_although_sqlite_takes_it(
    settings: Settings, original: Path, before: bytes, after: bytes
) -> None:
    """A column of another name would fail at each start, or at the first customer."""
    replace(settings.gateway.state / CAPTURE.file, before, after)
    assert await judged(settings, session(original)) == "new session"


async def test_damage_does_not_pass_for_a_newer_gateways_file(settings: Settings, original: Path) -> None:
    """A newer file is left alone for good; a version that a bit has changed is not one."""
    file = settings.gateway.state / CAPTURE.file
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {CAPTURE.version + 64}")
    assert await judged(settings, session(original)) == "new session"


async def test_a_value_of_another_type_is_damage(settings: Settings, original: Path) -> None:
    """SQLite sees to the types of columns when it writes, not when it reads."""
    file = settings.gateway.state / CAPTURE.file
    replace(file, b"DEFAULT 'store') STRICT", b"DEFAULT 'store')       ")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE touchpoint SET version = 'seven' WHERE id = 'point-7'")
    replace(file, b"DEFAULT 'store')       ", b"DEFAULT 'store') STRICT")
    assert await judged(settings, session(original)) == "new session"


def cut_off(file: Path) -> None:
    """Cut a file off in the middle."""
    with file.open("r+b") as opened:
        opened.truncate(pages(file) // 2 * PAGE)


def empty(file: Path) -> None:
    """Leave nothing but the name."""
    file.write_bytes(b"")


def foreign_log(file: Path) -> None:
    """Put the log of another database beside it."""
    other = file.with_name("other.db")
    with closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE something (else_)")
        connection.execute("INSERT INTO something VALUES (1)")
        shutil.copy(f"{other}-wal", f"{file}-wal")
    other.unlink()


@pytest.mark.parametrize("damage", [cut_off, empty, Path.unlink, foreign_log], ids=lambda damage: damage.__name__)
async def test_a_file_may_be_short_or_gone_or_have_another_ones_log(
    settings: Settings, original: Path, damage: Damage
) -> None:
    """It comes up; a session that lost what was sent from it gives way to a new one, which names it."""
    file = settings.gateway.state / CAPTURE.file
    damage(file)
    await comes_up(settings)
    first = waiting(settings.gateway.state)[0]
    assert names_the_last(first, session(original)) or len(waiting(settings.gateway.state)) > WAITING


async def test_a_log_that_is_missing_is_found_out_if_anything_was_sent_from_it(
    settings: Settings, original: Path
) -> None:
    """The file alone is older than what the uplink knows: it is set aside, so that no number is given twice."""
    state = settings.gateway.state
    publish(state, WAITING + 50)
    assert await comes_up(settings) == 0
    assert session(state) != session(original)
    assert list(state.glob("capture.db.damaged-*"))


def test_any_page_of_the_uplinks_file_may_be_damaged(settings: Settings, original: Path) -> None:
    """It comes up at the second start at the latest, and what waits counts as possibly sent."""
    state = settings.gateway.state
    for page in range(pages(state / UPLINK.file)):
        restore(settings, original)
        invert(state / UPLINK.file, page)
        assert uplink_comes_up(state).published in {PUBLISHED, WAITING}


def uplink_comes_up(state: Path) -> Progress:
    """Open `uplink.db` again and again, as the daemon does, until it works; return how far it was sent."""
    for _ in range(STARTS + 1):
        with closing(Backlog(state)) as backlog:
            try:
                with closing(open_progress(state, backlog, 1)) as connection:
                    components(connection)
                    record(connection, session(state), progress(connection, session(state)))
                    return progress(connection, session(state))
            except CorruptError:
                continue
    pytest.fail("it does not come up")


async def test_without_the_uplinks_file_everything_that_waits_counts_as_sent(settings: Settings) -> None:
    """So it is sent again, as it is: nothing of it is evicted or rewritten."""
    state = settings.gateway.state
    (state / UPLINK.file).unlink()
    with closing(Backlog(state)) as backlog, closing(open_progress(state, backlog, 0)):
        pass
    with closing(Followed(state)) as followed:
        assert followed.progress(session(state)) == Progress(published=WAITING, delivered=0)
    async with capture_on(settings) as half:
        assert await half.writer.commit(lambda outbox: outbox.make_room()) == 0


async def test_a_damaged_uplink_file_does_not_end_the_capture_half(settings: Settings) -> None:
    """It goes on accepting, blames the right file, and lets the other half mend it."""
    state = settings.gateway.state
    for page in range(1, pages(state / UPLINK.file)):
        invert(state / UPLINK.file, page)
    async with capture_on(settings) as half:
        assert await accept(half)
        with pytest.raises(StoreError):
            half.followed.progress(half.writer.outbox.session)
    assert suspect(state, UPLINK.file).exists()
    assert not suspect(state, CAPTURE.file).exists()


async def test_a_file_that_cannot_be_set_aside_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do, and without a traceback; nothing of it is changed."""
    empty_handed = OSError(30, "Read-only file system")

    def refuse(*_: object) -> None:
        raise empty_handed

    invert(settings.gateway.state / CAPTURE.file, 0)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreError, match=r"cannot set aside .*Read-only"):
        async with capture_on(settings):
            pass


async def test_a_file_that_is_suspected_for_nothing_goes_on(settings: Settings, original: Path) -> None:
    """It is looked through once; the session and everything in it stay."""
    mark(settings.gateway.state, CAPTURE.file)
    assert await judged(settings, session(original)) == "whole"
