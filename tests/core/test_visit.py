"""Debounce and visits, as timelines in seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sighting import Identifier
from gateway.core.visit import Debounce, Visits

ANNA, BEN = Identifier("link", "https://id.acme.example/m/anna"), Identifier("link", "https://id.acme.example/m/ben")
COUNTER, ENTRANCE = "counter-nfc", "entrance-nfc"


def ns(seconds: float) -> int:
    """Return nanoseconds."""
    return int(seconds * 1_000_000_000)


def test_a_tag_left_lying_is_one_reading() -> None:
    """Each repetition holds the next one off, until there was a pause."""
    debounce = Debounce(2)
    times = [0, 0.5, 2.4, 4.3, 6.3, 6.4]
    assert [debounce.repeats(COUNTER, ANNA, ns(at)) for at in times] == [False, True, True, True, False, True]


def test_what_lies_between_makes_two_readings() -> None:
    """The same tag after another one was meant to be read again."""
    debounce = Debounce(2)
    readings = [(0, ANNA), (0.5, BEN), (1, ANNA), (1.5, ANNA)]
    assert [debounce.repeats(COUNTER, who, ns(at)) for at, who in readings] == [False, False, False, True]


def test_each_reader_has_its_own_readings() -> None:
    """A tag carried from reader to reader is read at each."""
    debounce = Debounce(2)
    assert [debounce.repeats(reader, ANNA, 0) for reader in (COUNTER, ENTRANCE, COUNTER)] == [False, False, True]


def test_a_token_left_on_a_reader_opens_no_second_visit() -> None:
    """Its visit ends by time though it still lies there; taken away for long enough, it is presented anew."""
    debounce, visits = Debounce(2), Visits(30)
    for at in range(61):
        if not debounce.repeats(COUNTER, ANNA, ns(at)):
            visits.open(COUNTER, ANNA, ns(at))
    assert visits.token(COUNTER, ns(29)) == ANNA
    assert visits.token(COUNTER, ns(30)) is None
    assert not debounce.repeats(COUNTER, ANNA, ns(62))


def test_a_reading_that_was_not_accepted_is_repeated_by_none() -> None:
    """The next one at that reader is new; other readers keep theirs, and where nothing was read nothing happens."""
    debounce = Debounce(2)
    for reader in (COUNTER, ENTRANCE):
        debounce.repeats(reader, ANNA, 0)
    debounce.forget(COUNTER)
    debounce.forget(COUNTER)
    assert [debounce.repeats(reader, ANNA, ns(1)) for reader in (COUNTER, ENTRANCE)] == [False, True]


def test_a_reading_is_forgotten_when_nothing_can_repeat_it() -> None:
    """No token stays in memory for longer than it is needed."""
    debounce = Debounce(2)
    assert debounce.next_deadline() is None
    debounce.repeats(COUNTER, ANNA, ns(0))
    debounce.repeats(ENTRANCE, BEN, ns(1))
    assert debounce.next_deadline() == ns(2)
    debounce.expire(ns(2))
    assert debounce.next_deadline() == ns(3)
    debounce.expire(ns(3))
    assert debounce.next_deadline() is None


def test_debounce_can_be_off() -> None:
    """With 0 seconds every reading counts, also two at the same instant."""
    debounce = Debounce(0)
    assert [debounce.repeats(COUNTER, ANNA, 0) for _ in range(3)] == [False, False, False]


@given(st.lists(st.tuples(st.integers(0, 3000), st.sampled_from([ANNA, BEN]))))
def test_readings_that_count_are_apart(readings: list[tuple[int, Identifier]]) -> None:
    """Two readings in a row that both count differ, or lie at least the debounce apart."""
    debounce, now_ms, counted, previous = Debounce(2), 0, [], None
    for pause_ms, who in readings:
        now_ms += pause_ms
        if not debounce.repeats(COUNTER, who, now_ms * 1_000_000):
            counted.append(who)
            assert previous is None or previous[0] != who or now_ms - previous[1] >= 2000
        previous = (who, now_ms)
    assert bool(counted) == bool(readings)


def test_a_visit_lasts_its_time_from_the_token() -> None:
    """Using a visit does not prolong it."""
    visits = Visits(30)
    visits.open(COUNTER, ANNA, ns(100))
    assert visits.token(COUNTER, ns(100)) == ANNA
    assert visits.token(COUNTER, ns(129.9)) == ANNA
    assert visits.token(COUNTER, ns(130)) is None
    assert visits.token(COUNTER, ns(129.9)) is None, "an ended visit is forgotten"


def test_a_visit_belongs_to_its_reader() -> None:
    """Nobody is recognized elsewhere for having been at the counter."""
    visits = Visits(30)
    visits.open(COUNTER, ANNA, 0)
    assert visits.token(ENTRANCE, 1) is None


def test_the_next_token_takes_over() -> None:
    """A new token ends the visit before it and counts its own time."""
    visits = Visits(30)
    visits.open(COUNTER, ANNA, ns(0))
    visits.open(COUNTER, BEN, ns(20))
    assert visits.tokens() == {COUNTER: BEN}
    assert visits.token(COUNTER, ns(49)) == BEN


def test_a_visit_can_be_ended() -> None:
    """Ending is final, and ending what is not open is nothing."""
    visits = Visits(30)
    visits.open(COUNTER, ANNA, 0)
    visits.end(COUNTER)
    visits.end(ENTRANCE)
    assert visits.token(COUNTER, 1) is None
    assert visits.tokens() == {}


def test_tokens_are_not_kept_past_their_visits() -> None:
    """The deadline names the next end, and expiring forgets what has ended by then."""
    visits = Visits(30)
    assert visits.next_deadline() is None
    visits.open(COUNTER, ANNA, ns(0))
    visits.open(ENTRANCE, BEN, ns(10))
    assert visits.next_deadline() == ns(30)
    visits.expire(ns(29.9))
    assert visits.tokens() == {COUNTER: ANNA, ENTRANCE: BEN}
    visits.expire(ns(30))
    assert visits.tokens() == {ENTRANCE: BEN}
    assert visits.next_deadline() == ns(40)


@pytest.mark.parametrize("holder", [Debounce(2), Visits(30)])
def test_a_token_is_not_shown(holder: Debounce | Visits) -> None:
    """Neither memory gives a customer away in a repr."""
    if isinstance(holder, Visits):
        holder.open(COUNTER, ANNA, 0)
    else:
        holder.repeats(COUNTER, ANNA, 0)
    assert "anna" not in repr(holder)


actions = st.lists(
    st.tuples(
        st.sampled_from(["open", "end", "expire", "read"]),
        st.sampled_from([COUNTER, ENTRANCE]),
        st.sampled_from([ANNA, BEN]),
        st.integers(0, 20),
    )
)


@given(actions)
def test_visits_follow_their_rules(story: list[tuple[str, str, Identifier, int]]) -> None:
    """Any story: a reading belongs to the last token at its reader, unless it was ended or is 30 s old."""
    visits, now_s, told = Visits(30), 0, dict[str, tuple[Identifier, int]]()
    for act, reader, who, pause_s in story:
        now_s += pause_s
        match act:
            case "open":
                visits.open(reader, who, ns(now_s))
                told[reader] = (who, now_s)
            case "end":
                visits.end(reader)
                told.pop(reader, None)
            case "expire":
                visits.expire(ns(now_s))
                assert (visits.next_deadline() or ns(now_s) + 1) > ns(now_s)
            case _:
                token, since_s = told.get(reader, (None, 0))
                assert visits.token(reader, ns(now_s)) == (token if now_s - since_s < 30 else None)
