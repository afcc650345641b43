"""The registry in the store: replaced as a whole, read as it was written."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.registry import Touchpoint
from gateway.store.database import CorruptError, open_writer, transaction
from gateway.store.schema import CAPTURE
from gateway.store.touchpoints import load, replace
from tests.core.salon import TOUCHPOINTS, VITRINE

text = st.text(min_size=1, max_size=8)
optional = st.none() | text
touchpoint = st.builds(
    Touchpoint,
    text, text, text, optional, optional, optional, optional, optional, optional,
    valid_from_ms=st.none() | st.integers(0, 1 << 42),
    valid_until_ms=st.none() | st.integers(0, 1 << 42),
    identifiers=st.lists(text, max_size=3).map(tuple),
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An empty store."""
    with closing(open_writer(tmp_path, CAPTURE)) as connection:
        yield connection


def imported(store: sqlite3.Connection, *wanted: Touchpoint) -> dict[str, int]:
    with transaction(store):
        return replace(store, wanted)


def changes(added: int, changed: int, removed: int, unchanged: int) -> dict[str, int]:
    return {"added": added, "changed": changed, "removed": removed, "unchanged": unchanged}


def test_an_import_says_what_it_changed(store: sqlite3.Connection) -> None:
    """Added, changed, removed and left alone; the version goes up when something changed."""
    a, b, c = (Touchpoint(name, "display", name.upper()) for name in "abc")
    assert load(store) == (0, [])
    assert imported(store, a, b) == changes(2, 0, 0, 0)
    assert load(store) == (1, [a, b])
    assert imported(store, a, b) == changes(0, 0, 0, 2)
    assert load(store)[0] == 1
    other = Touchpoint("b", "counter", "B")
    assert imported(store, c, other) == changes(1, 1, 1, 0)
    assert load(store) == (2, [c, other])


def test_the_order_of_the_file_is_kept(store: sqlite3.Connection) -> None:
    """Staff find in a list what they wrote, where they wrote it; order alone is no change."""
    imported(store, *TOUCHPOINTS)
    assert imported(store, *reversed(TOUCHPOINTS)) == changes(0, 0, 0, len(TOUCHPOINTS))
    assert load(store)[1] == list(reversed(TOUCHPOINTS))


def test_a_definition_that_makes_no_sense_is_damage(store: sqlite3.Connection) -> None:
    """It is not read as something else, and its text is not repeated."""
    imported(store, VITRINE)
    for definition in ("{", "[]", "{}", '{"identifiers": null}', '{"identifiers": [], "secret": 1}'):
        store.execute("UPDATE touchpoint SET definition = ?", (definition,))
        with pytest.raises(CorruptError, match="a touchpoint is damaged") as refused:
            load(store)
        assert "secret" not in str(refused.value)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(touchpoint, max_size=5, unique_by=lambda each: each.id), min_size=1, max_size=4))
def test_whatever_was_imported_last_is_what_there_is(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[Touchpoint]]
) -> None:
    """All of it and nothing else, field by field, and the numbers fit."""
    with closing(open_writer(tmp_path_factory.mktemp("store"), CAPTURE)) as store:
        before: list[Touchpoint] = []
        for wanted in files:
            numbers = imported(store, *wanted)
            assert load(store)[1] == wanted
            assert numbers["added"] + numbers["changed"] + numbers["unchanged"] == len(wanted)
            assert len(before) - numbers["removed"] + numbers["added"] == len(wanted)
            before = wanted
