"""The audit log: a chain that shows whatever is changed in it, and lets only the oldest entries go."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store import audit
from gateway.store.outbox import Outbox

DAY_MS = 86_400_000


def written(outbox: Outbox, number: int, first_ms: int = 0) -> None:
    """Write so many entries, a day apart."""
    with outbox.transaction():
        for day in range(number):
            audit.append(outbox.connection, first_ms + day * DAY_MS, "anna", "registry-import", {"added": day})


def wrong(outbox: Outbox, seen: str | None = None) -> list[str]:
    return list(audit.problems(outbox.connection, seen))


def test_an_empty_log_is_in_order_and_has_no_head(outbox: Outbox) -> None:
    """Nothing was done yet."""
    assert (audit.head(outbox.connection), wrong(outbox)) == (None, [])


def test_the_chain_can_be_computed_by_anybody(outbox: Outbox) -> None:
    """SHA-256 over the hash before and the canonical JSON of the entry: done here by hand."""
    with outbox.transaction():
        audit.append(outbox.connection, 5, "anna", "consent-granted", {"b": "ü", "a": 1})
        audit.append(outbox.connection, 6, audit.GATEWAY, "stop")
    before = "0" * 64
    entries = ((1, 5, "anna", "consent-granted", '{"a":1,"b":"ü"}'), (2, 6, "gateway", "stop", "{}"))
    for number, at_ms, who, what, detail in entries:
        entry = {"at_ms": at_ms, "detail": detail, "number": number, "what": what, "who": who}
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        before = sha256((before + text).encode()).hexdigest()
    assert audit.head(outbox.connection) == f"2:{before}"
    assert [entry.what for entry in audit.entries(outbox.connection)] == ["consent-granted", "stop"]
    assert wrong(outbox) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET who = 'bert' WHERE number = 3",
        "UPDATE audit SET at_ms = at_ms + 1 WHERE number = 3",
        "UPDATE audit SET detail = '{}' WHERE number = 3",
        "UPDATE audit SET hash = 'x' WHERE number = 3",
        "DELETE FROM audit WHERE number = 3",
        "DELETE FROM audit WHERE number = 5",
        "DELETE FROM audit WHERE number < 3",
        "DELETE FROM audit",
        "INSERT INTO audit SELECT 6, at_ms, who, what, detail, hash FROM audit WHERE number = 5",
        "INSERT INTO mark VALUES ('audit-start', '3 ab')",
        "INSERT INTO mark VALUES ('audit-start', 'nonsense')",
    ],
)
def test_whatever_is_changed_shows(outbox: Outbox, change: str) -> None:
    """An entry that was altered, taken out or put in, and a beginning that was cut off."""
    written(outbox, 5)
    outbox.connection.execute(change)
    assert wrong(outbox)


def test_a_chain_that_was_written_anew_shows_by_its_head(outbox: Outbox) -> None:
    """Whoever can compute hashes can write another chain, but not one with the head that the centre has seen."""
    written(outbox, 3)
    seen = audit.head(outbox.connection)
    assert wrong(outbox, seen) == []
    outbox.connection.execute("DELETE FROM audit")
    written(outbox, 4, first_ms=1)
    assert wrong(outbox) == []
    assert wrong(outbox, seen) == ["entry 3 is not the one that was seen earlier"]


@pytest.mark.parametrize("seen", ["", ":", "x:y", "-1:y", "²:y", "9" * 5_000 + ":y", "7:y", "0:" + "0" * 64])
def test_a_head_that_is_none_is_refused(outbox: Outbox, seen: str) -> None:
    """Text that is no head, and the head of an entry that was never written."""
    written(outbox, 3)
    assert wrong(outbox, seen)


def test_old_entries_go_and_say_so(outbox: Outbox) -> None:
    """The oldest go; the chain goes on from the hash that was kept; a head from before is no contradiction."""
    written(outbox, 10)
    old = audit.head(outbox.connection)
    with outbox.transaction():
        assert audit.prune(outbox.connection, 10 * DAY_MS, 4 * DAY_MS) == 6
    kept = list(audit.entries(outbox.connection))
    assert [entry.number for entry in kept] == [7, 8, 9, 10, 11]
    assert (kept[-1].what, kept[-1].detail) == ("audit-pruned", '{"through":6}')
    assert wrong(outbox, old) == wrong(outbox, "1:whatever") == []


def test_nothing_goes_while_nothing_is_old(outbox: Outbox) -> None:
    """No entry is made for it either."""
    written(outbox, 3)
    with outbox.transaction():
        assert audit.prune(outbox.connection, 3 * DAY_MS, 400 * DAY_MS) == 0
    assert audit.last(outbox.connection)[0] == 3


def test_everything_may_be_old(outbox: Outbox) -> None:
    """Numbers and chain go on after it, also when it happens again."""
    for year in (0, 2, 4):
        written(outbox, 3, first_ms=year * 365 * DAY_MS)
        with outbox.transaction():
            assert audit.prune(outbox.connection, (year + 2) * 365 * DAY_MS, 365 * DAY_MS) == (3 if year == 0 else 4)
        assert wrong(outbox) == []
    assert [entry.number for entry in audit.entries(outbox.connection)] == [12]


def test_an_entry_of_a_clock_that_went_wrong_goes_with_its_neighbours(outbox: Outbox) -> None:
    """One from 1970 between newer ones stays as long as they do: the chain has no hole."""
    written(outbox, 2, first_ms=1_000 * DAY_MS)
    written(outbox, 1)
    written(outbox, 1, first_ms=1_002 * DAY_MS)
    with outbox.transaction():
        assert audit.prune(outbox.connection, 1_003 * DAY_MS, 365 * DAY_MS) == 0
    assert wrong(outbox) == []


@given(st.text(), st.text(), st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=4))
def test_any_text_can_stand_in_it(who: str, what: str, detail: dict[str, object]) -> None:
    """The hash covers it as it was written; two different entries never have the same canonical text."""
    first = audit._hash("0", 1, 2, who, what, audit._canonical(detail))  # noqa: SLF001  # the chain's own arithmetic
    assert first != audit._hash("0", 1, 2, who + "x", what, audit._canonical(detail))  # noqa: SLF001  # as above
