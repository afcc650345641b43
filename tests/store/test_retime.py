"""Times put right once the clock is synced: of this boot, never published, and nothing else about them."""

from pathlib import Path

import pytest

from gateway.core.event import Draft, Event, EventType, gap
from gateway.core.sighting import ClockQuality, Moment
from gateway.store.backlog import Backlog
from gateway.store.outbox import Outbox
from gateway.store.retime import AT_ONCE, correct_times
from tests.store.conftest import BOOT, DATA

BEGAN_MS = 1_790_000_000_000
"""When this boot began, as the synced clock knows."""
NOW = Moment(3_600_000_000_000, BEGAN_MS + 3_600_000)


def early(boot_s: int, kind: EventType = EventType.TAP, data: str = DATA) -> Draft:
    """Draft an event so many seconds after a boot that began in 1970."""
    at = Moment(boot_s * 1_000_000_000, boot_s * 1_000, ClockQuality.UNSYNCED)
    return Draft(kind, at, data.replace('"clock":"synced"', '"clock":"unsynced"'), None, None)


def append(outbox: Outbox, *drafts: Draft) -> None:
    with outbox.transaction():
        outbox.append(drafts)


def correct(outbox: Outbox, now: Moment = NOW) -> int:
    with outbox.transaction():
        return correct_times(outbox, now)


def stamps(directory: Path) -> list[tuple[str, str]]:
    """Return time and clock of each event that waits; reading checks that each is whole."""
    rows = Backlog(directory).rows(0, 10_000, 1 << 30)
    events = [Event.model_validate_json(row.event) for row in rows]
    return [(event.time, getattr(event.data, "clock", "-")) for event in events]


RIGHT = ("2026-09-21T14:13:25.000Z", "synced")
WRONG = ("1970-01-01T00:00:05.000Z", "unsynced")


def test_the_time_is_where_the_boot_time_clock_puts_it(outbox: Outbox, tmp_path: Path) -> None:
    """Five seconds after the boot, whenever that was; and the row says so too."""
    append(outbox, early(5))
    assert stamps(tmp_path) == [WRONG]
    assert correct(outbox) == 1
    assert stamps(tmp_path) == [RIGHT]
    assert outbox.connection.execute("SELECT wall_ms, quality FROM outbox").fetchone() == (BEGAN_MS + 5_000, "synced")
    assert correct(outbox) == 0


def test_what_was_published_stays_as_it_was_sent(outbox: Outbox, tmp_path: Path) -> None:
    """It may come again, and must come unchanged."""
    append(outbox, early(5), early(5))
    outbox.published = lambda: 1
    assert correct(outbox) == 1
    assert stamps(tmp_path) == [WRONG, RIGHT]


def test_another_boot_is_another_clock(outbox: Outbox, tmp_path: Path) -> None:
    """How long ago that was, nobody knows."""
    append(outbox, early(5))
    outbox.boot = "the next one"
    assert correct(outbox) == 0
    assert stamps(tmp_path) == [WRONG]


@pytest.mark.parametrize("quality", [ClockQuality.UNSYNCED, ClockQuality.HOLDOVER])
def test_only_a_synced_clock_corrects(outbox: Outbox, tmp_path: Path, quality: ClockQuality) -> None:
    """One that runs free is no better than it was."""
    append(outbox, early(5))
    assert correct(outbox, Moment(NOW.boot_ns, NOW.wall_ms, quality)) == 0
    assert stamps(tmp_path) == [WRONG]


def test_what_was_synced_keeps_its_time(outbox: Outbox, tmp_path: Path) -> None:
    """Even if the clock has been set since."""
    append(outbox, Draft(EventType.TAP, Moment(5_000_000_000, BEGAN_MS + 7_000), DATA, None, None))
    before = stamps(tmp_path)
    assert correct(outbox) == 0
    assert stamps(tmp_path) == before


def test_all_else_stays_as_it_is(outbox: Outbox, tmp_path: Path) -> None:
    """Sequence, id, data and subject; a gap has no clock to correct, but a time."""
    append(outbox, early(5), early(5, EventType.GAP, gap("new-session")))
    before = [row.event for row in Backlog(tmp_path).rows(0, 10, 1 << 30)]
    assert correct(outbox) == 2
    after = [row.event for row in Backlog(tmp_path).rows(0, 10, 1 << 30)]
    again = [text.replace(RIGHT[0], WRONG[0]).replace('"clock":"synced"', '"clock":"unsynced"') for text in after]
    assert again == before
    assert stamps(tmp_path)[1] == (RIGHT[0], "-")


def test_evicted_neighbours_are_corrected_as_the_gap_that_they_are(outbox: Outbox, tmp_path: Path) -> None:
    """A gap has the time of the first event that it stands for."""
    append(outbox, *(early(5) for _ in range(3)))
    with outbox.transaction():
        assert outbox.make_room() == 3
    assert correct(outbox) == 1
    assert stamps(tmp_path) == [(RIGHT[0], "-")]


def test_many_are_corrected_a_commit_at_a_time(outbox: Outbox, tmp_path: Path) -> None:
    """So that a tap can come between; an index leads to those that are left."""
    append(outbox, *(early(5) for _ in range(AT_ONCE + 7)))
    assert [correct(outbox) for _ in range(3)] == [AT_ONCE, 7, 0]
    assert set(stamps(tmp_path)) == {RIGHT}
    plan = outbox.connection.execute(
        "EXPLAIN QUERY PLAN SELECT 1 FROM outbox WHERE quality = 'unsynced' AND boot = ? AND sequence > 0", (BOOT,)
    ).fetchone()
    assert "outbox_unsynced" in plan[3]
