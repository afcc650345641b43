"""How often touchpoints are used: numbers by day, in the store's time zone, that tell of nobody."""

from collections import Counter
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.event import Draft, EventType
from gateway.core.sighting import ClockQuality, Moment
from gateway.store import usage
from gateway.store.outbox import Outbox
from gateway.store.usage import Use
from tests.store.conftest import DATA

ZURICH = ZoneInfo("Europe/Zurich")
NEW_YEARS_EVE_MS = 1_798_756_200_000  # 2026-12-31T22:30:00Z: in Zurich 23:30


def touched(
    where: str | None = "vitrine", at_ms: int = NEW_YEARS_EVE_MS, quality: ClockQuality = ClockQuality.SYNCED
) -> Draft:
    return Draft(EventType.TAP, Moment(0, at_ms, quality), DATA, "h1.secret-handle", "personalisation", where)


def counted(outbox: Outbox, *drafts: Draft) -> None:
    with outbox.transaction():
        usage.count(outbox.connection, usage.touches(drafts, ZURICH))


def test_touches_are_counted_by_the_stores_own_day(outbox: Outbox) -> None:
    """Half an hour before midnight and half an hour after it are two days there, whatever UTC says."""
    counted(outbox, touched(), touched())
    counted(outbox, touched(), touched(at_ms=NEW_YEARS_EVE_MS + 3_600_000))
    assert usage.load(outbox.connection) == {
        Use("vitrine", "2026-12-31", "tap"): 3,
        Use("vitrine", "2027-01-01", "tap"): 1,
    }
    assert usage.last_days(outbox.connection) == {"vitrine": "2027-01-01"}
    assert usage.load(outbox.connection, "2027-01-01").total() == 1


def test_the_day_on_which_the_clock_changes_is_one_day() -> None:
    """Of 25 hours in October."""
    october_25_ms = 1_792_879_200_000  # 2026-10-25T00:00:00+02:00
    days = {usage.day_of(october_25_ms + hour * 3_600_000, ZURICH) for hour in range(25)}
    assert days == {"2026-10-25"}
    assert usage.day_of(october_25_ms + 25 * 3_600_000, ZURICH) == "2026-10-26"


def test_what_is_no_touch_is_not_counted(outbox: Outbox) -> None:
    """Health, presence and tests name no touchpoint that was used."""
    counted(outbox, touched(None))
    assert not usage.load(outbox.connection)


def test_before_the_clock_is_set_the_day_is_open(outbox: Outbox) -> None:
    """It is the one on which the clock is set; pruning leaves it alone."""
    counted(outbox, touched(), touched(at_ms=1_000, quality=ClockQuality.UNSYNCED))
    assert usage.load(outbox.connection)[Use("vitrine", "", "tap")] == 1
    with outbox.transaction():
        usage.prune(outbox.connection, "2026-12-31")
        usage.date(outbox.connection, "2026-12-31")
    assert usage.load(outbox.connection) == {Use("vitrine", "2026-12-31", "tap"): 2}


@pytest.mark.parametrize(("before", "left"), [("2026-12-31", 1), ("2027-01-01", 0)])
def test_old_days_are_forgotten(outbox: Outbox, before: str, left: int) -> None:
    """The day named is the first that stays."""
    counted(outbox, touched())
    with outbox.transaction():
        usage.prune(outbox.connection, before)
    assert usage.load(outbox.connection).total() == left


def test_a_row_holds_nothing_of_a_customer(outbox: Outbox) -> None:
    """Neither what the customer is known by nor the time of day: the columns are all there is."""
    counted(outbox, touched())
    assert outbox.connection.execute("SELECT * FROM usage").fetchall() == [("vitrine", "2026-12-31", "tap", 1)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=30), st.integers(0, 40))
def test_in_whatever_order_the_numbers_are_the_same(acts: list[tuple[str, int]], since: int) -> None:
    """One by one or together: each act is one, on its day."""
    first = date(2026, 1, 1)
    drafts = [touched(where, 1_767_268_800_000 + day * 86_400_000) for where, day in acts]
    found = usage.touches(drafts, ZURICH)
    assert found == sum((usage.touches([each], ZURICH) for each in drafts), Counter())
    late = [each for each in found.elements() if each.day >= (first + timedelta(days=since)).isoformat()]
    assert len(late) == sum(day >= since for _, day in acts)
