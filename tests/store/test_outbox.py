"""The durable queue: numbers without holes, and every row accounted for."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.event import Event, EventType, Gap
from gateway.store.backlog import Backlog
from gateway.store.database import forget_deleted
from gateway.store.outbox import Outbox
from gateway.store.verify import verify
from tests.store.conftest import opened, tap

ANNA, BEN = "h1.anna", "h1.ben"


def rows(outbox: Outbox) -> list[tuple[int, str]]:
    return outbox.connection.execute("SELECT sequence, event FROM outbox ORDER BY sequence").fetchall()


def tally(outbox: Outbox) -> dict[str, int]:
    return dict(outbox.connection.execute("SELECT name, count FROM tally"))


def test_sequences_go_on_through_trims_rollbacks_and_restarts(tmp_path: Path) -> None:
    """A number is given once in the life of a session, even when nothing is left of the queue."""
    outbox = opened(tmp_path)
    with outbox.transaction():
        assert outbox.append([tap(), tap()]) == 2
        outbox.trim(2)
    with pytest.raises(ZeroDivisionError):
        _append_and_fail(outbox)
    outbox.resume()
    outbox.connection.close()
    again = opened(tmp_path)
    with closing(again.connection), again.transaction():
        assert again.session == "session-1"
        assert again.append([tap()]) == 3


def _append_and_fail(outbox: Outbox) -> None:
    with outbox.transaction():
        outbox.append([tap()])
        raise ZeroDivisionError


def test_a_withdrawn_row_keeps_its_number_its_id_and_its_time(outbox: Outbox) -> None:
    """Only what it said is gone."""
    with outbox.transaction():
        outbox.append([tap(ANNA, 1_000), tap(BEN), tap(ANNA, 3_000), tap()])
        assert outbox.withdraw([ANNA, "h1.nobody"]) == [1, 3]
    events = [Event.model_validate_json(event) for _, event in rows(outbox)]
    assert [event.kind for event in events] == [EventType.GAP, EventType.TAP, EventType.GAP, EventType.TAP]
    assert events[0].data == Gap(reason="withdrawn", through=None, previous=None)
    assert [event.id for event in events] == [f"session-1-{number}" for number in (1, 2, 3, 4)]
    assert events[2].time == "1970-01-01T00:00:03.000Z"
    assert tally(outbox) == {"appended": 4, "withdrawn": 2}


def test_trimming_counts_as_delivered_what_was_not_withdrawn(outbox: Outbox) -> None:
    """A gap is delivered too, but it stands for no event."""
    with outbox.transaction():
        outbox.append([tap(ANNA), tap(), tap()])
        outbox.withdraw([ANNA])
        outbox.trim(2)
    assert [sequence for sequence, _ in rows(outbox)] == [3]
    assert tally(outbox) == {"appended": 3, "withdrawn": 1, "delivered": 1}


def test_what_the_uplink_refused_is_set_aside_for_its_reason(outbox: Outbox) -> None:
    """Withdrawn, or too large for any broker; a row that is gone already is not counted twice."""
    with outbox.transaction():
        outbox.append([tap(ANNA), tap(), tap()])
        assert outbox.set_aside({1: "withdrawn", 2: "too-large"}) == [1, 2]
        assert outbox.set_aside({1: "withdrawn", 2: "too-large", 9: "withdrawn"}) == []
    reasons = [Event.model_validate_json(event).data for _, event in rows(outbox)][:2]
    assert [gap.reason for gap in reasons if isinstance(gap, Gap)] == ["withdrawn", "too-large"]
    assert tally(outbox) == {"appended": 3, "withdrawn": 1, "evicted": 1}


def test_the_least_worthy_goes_first_and_neighbours_fold(outbox: Outbox) -> None:
    """Health, then presence, then taps; consent never; published rows never; the numbers add up."""
    health, presence, consent = EventType.BEACON_HEALTH, EventType.APPEARED, EventType.CONSENT_WITHDRAWN
    kinds = [EventType.TAP, health, health, presence, EventType.TAP, consent, EventType.TAP]
    with outbox.transaction():
        outbox.append([tap(kind=kind) for kind in kinds])
        outbox.published = lambda: 1
        assert [outbox.make_room() for _ in range(4)] == [2, 1, 2, 0]
    found = [(sequence, "gap.v1" in event) for sequence, event in rows(outbox)]
    assert found == [(1, False), (2, True), (6, False), (7, True)]
    assert '"through":5' in rows(outbox)[1][1]
    assert tally(outbox) == {"appended": 7, "evicted": 5}


def test_what_was_rolled_back_may_still_go(outbox: Outbox) -> None:
    """An eviction that the disk did not take has not happened: the same events go at the next attempt."""
    with outbox.transaction():
        outbox.append([tap() for _ in range(5)])
    with pytest.raises(ZeroDivisionError):
        _make_room_and_fail(outbox)
    outbox.resume()
    with outbox.transaction():
        assert (outbox.make_room(), outbox.make_room()) == (5, 0)
    assert tally(outbox) == {"appended": 5, "evicted": 5}


def _make_room_and_fail(outbox: Outbox) -> None:
    with outbox.transaction():
        assert outbox.make_room() == 5
        raise ZeroDivisionError


def test_the_limit_holds(outbox: Outbox, tmp_path: Path) -> None:
    """However much is appended, the pages in use stay where they were told to, and nothing is unexplained."""
    outbox.limit_pages = 200
    for _ in range(60):
        with outbox.transaction():
            outbox.append([tap() for _ in range(50)])
    (pages,) = outbox.connection.execute("PRAGMA page_count").fetchone()
    assert pages <= 200 * 1.2
    with closing(Backlog(tmp_path)) as backlog:
        report = verify(backlog)
        assert report.problems == []
        assert report.numbers["appended"] == 3000 == report.numbers["evicted"] + report.numbers["waiting"]
        assert report.numbers["evicted"] > 0


def test_withdrawn_text_is_in_no_file(tmp_path: Path) -> None:
    """Once the log is emptied, nothing of the row is left."""
    outbox = opened(tmp_path)
    with outbox.transaction():
        outbox.append([tap(ANNA)])
    assert any(b"vitrine-1" in path.read_bytes() for path in tmp_path.iterdir())
    with outbox.transaction():
        outbox.withdraw([ANNA])
    assert forget_deleted(outbox.connection)
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"vitrine-1" not in left
    assert ANNA.encode() not in left
    outbox.connection.close()


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.sampled_from([None, ANNA, BEN]), max_size=5)),
        st.tuples(st.just("trim"), st.integers(0, 40)),
        st.tuples(st.just("withdraw"), st.sampled_from([ANNA, BEN])),
        st.tuples(st.just("evict"), st.integers(0, 40)),
        st.tuples(st.just("refuse"), st.integers(1, 40)),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=100)
@given(operations)
def test_the_balance_always_holds(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]) -> None:
    """appended = delivered + withdrawn + evicted + waiting, and no number is missing without a gap."""
    directory = tmp_path_factory.mktemp("outbox")
    outbox = opened(directory)
    with closing(outbox.connection):
        for name, value in steps:
            with outbox.transaction():
                _apply(outbox, name, value)
        with closing(Backlog(directory)) as backlog:
            assert verify(backlog).problems == []


def _apply(outbox: Outbox, name: str, value: Any) -> None:  # noqa: ANN401  # what the step needs
    if name == "append":
        outbox.append([tap(handle) for handle in value])
    elif name == "trim":
        outbox.trim(min(value, outbox.last))
    elif name == "withdraw":
        outbox.withdraw([value])
    elif name == "refuse":
        outbox.set_aside({value: "withdrawn"})
    else:
        outbox.published = lambda: value
        outbox.make_room()
