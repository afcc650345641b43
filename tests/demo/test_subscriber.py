"""The witness's counting: it notices what is wrong with what arrives, and believes nobody's word but the wire's."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.subscriber import MANY, ONE, Tally


def event(sequence: int, kind: str = "tap", session: str = "s1", **data: object) -> dict[str, Any]:
    return {
        "source": "urn:touchpoint:acme:zrh-1:gw-1",
        "id": f"{session}-{sequence}",
        "type": f"touchpoint.{kind}.v1",
        "sequence": f"{sequence:020}",
        "session": session,
        "data": data,
    }


def gap(sequence: int, reason: str = "withdrawn", through: int | None = None) -> dict[str, Any]:
    return event(sequence, "gap", reason=reason, through=through, previous=None)


def tally(*events: dict[str, Any]) -> Tally:
    counted = Tally()
    for each in events:
        counted.take(json.dumps(each).encode(), ONE)
    return counted


def test_counts_what_arrives() -> None:
    """Events are counted by type, and those that name a subject apart."""
    counted = tally(event(1, subject={"pseudonym": "tp1.x"}), event(2, "scan", subject=None), event(3, "beacon-health"))
    assert counted.totals() == {
        "received": 3,
        "duplicates": 0,
        "holes": 0,
        "malformed": 0,
        "subjects": 1,
        "gaps": {},
        "types": {"touchpoint.tap.v1": 1, "touchpoint.scan.v1": 1, "touchpoint.beacon-health.v1": 1},
    }


def test_a_batch_is_as_good_as_its_events() -> None:
    """Events that travel together count as if each had come alone, and the new ones are handed on."""
    counted = tally(event(1))
    new = counted.take(json.dumps([event(1), event(2), event(3)]).encode(), MANY)
    assert [each["id"] for each in new] == ["s1-2", "s1-3"]
    assert (counted.received, counted.duplicates, counted.holes) == (3, 1, 0)


def test_notices_a_duplicate() -> None:
    """The same source and id twice is one event and one duplicate, whatever the content."""
    counted = tally(event(1), event(2), event(1, "scan"))
    assert (counted.received, counted.duplicates) == (2, 1)


def test_the_same_id_of_another_source_is_another_event() -> None:
    """Source and id together are the identity (CloudEvents 1.0)."""
    other = {**event(1, session="s2"), "source": "urn:touchpoint:acme:zrh-1:gw-2"}
    counted = tally(event(1), {**other, "id": "s1-1"})
    assert (counted.received, counted.duplicates) == (2, 0)


@pytest.mark.parametrize(("sequences", "holes"), [((1, 2, 4), 1), ((3,), 2), ((1, 2, 3), 0), ((3, 1, 2), 0), ((), 0)])
def test_notices_a_hole(sequences: tuple[int, ...], holes: int) -> None:
    """A sequence from 1 on that did not come is a hole, in whatever order the others came."""
    assert tally(*(event(sequence) for sequence in sequences)).holes == holes


def test_a_hole_of_one_session_is_not_filled_by_another() -> None:
    """Sequences are counted by session."""
    assert tally(event(1), event(3), event(1, session="s2"), event(2, session="s2")).holes == 1


def test_a_gap_explains_what_is_missing() -> None:
    """A gap stands for its own sequence and for all up to `through`; it is no event that was received."""
    counted = tally(event(1), gap(2), gap(3, "evicted", through=6), event(7))
    assert (counted.received, counted.holes) == (2, 0)
    assert counted.gaps == {"withdrawn": 1, "evicted": 4}


def test_a_gap_explains_no_more_than_it_says() -> None:
    """A hole behind a gap stays a hole."""
    assert tally(event(1), gap(2, through=3), event(5)).holes == 1


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (b"{", ONE),
        (b"\xff", ONE),
        (b"[]", ONE),
        (b"{}", MANY),
        (b"{}", ONE),
        (json.dumps(event(1)).encode(), None),
        (json.dumps(event(1)).encode(), "application/json"),
        (json.dumps({**event(1), "sequence": "x"}).encode(), ONE),
        (json.dumps([1]).encode(), MANY),
    ],
)
def test_what_is_no_event_is_malformed(payload: bytes, content_type: str | None) -> None:
    """A message that cannot be read, or of another content type, is counted as malformed."""
    counted = Tally()
    assert counted.take(payload, content_type) == []
    assert counted.malformed == 1
    assert counted.duplicates == 0


@given(st.binary(max_size=200), st.sampled_from([ONE, MANY, None]))
def test_no_message_stops_the_witness(payload: bytes, content_type: str | None) -> None:
    """Whatever arrives, it goes on counting."""
    counted = Tally()
    counted.take(payload, content_type)
    counted.take(json.dumps(event(1)).encode(), ONE)
    assert counted.received == 1


@given(st.permutations(range(1, 12)), st.sets(st.integers(1, 11)))
def test_every_missing_event_is_a_hole_or_explained(order: list[int], withdrawn: set[int]) -> None:
    """However they come: received + explained = sequences, and no hole is left."""
    counted = tally(*(gap(each) if each in withdrawn else event(each) for each in order))
    assert counted.received + counted.gaps["withdrawn"] == 11
    assert (counted.holes, counted.duplicates) == (0, 0)
