"""The registry in the store: replaced as a whole, read as it was written."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.downlink import RegistryEntry
from gateway.core.registry import Touchpoint
from gateway.store.database import CorruptError, open_writer, transaction
from gateway.store.schema import CAPTURE
from gateway.store.touchpoints import from_entry, load, reconcile, replace
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


# --- the centre's word


def known(store: sqlite3.Connection) -> list[str]:
    return [each.id for each in load(store)[1]]


def test_the_centre_adds_changes_and_removes(store: sqlite3.Connection) -> None:
    """What it changes is told by its fields; the same again is nothing; the version of the registry rises."""
    with transaction(store):
        assert str(reconcile(store, "a", 1, Touchpoint("a", "display", "A"))) == "added a"
        assert str(reconcile(store, "a", 2, Touchpoint("a", "display", "B", zone="z"))) == "changed a (name, zone)"
        assert reconcile(store, "a", 2, Touchpoint("a", "display", "C")) is None
        assert reconcile(store, "a", 3, Touchpoint("a", "display", "B", zone="z")) is None
        assert load(store)[0] == 3
        assert reconcile(store, "a", 2, None) is None
        assert str(reconcile(store, "a", 3, None)) == "removed a"
        assert reconcile(store, "a", 3, None) is None
    assert known(store) == []


def test_what_was_changed_in_the_store_stays_until_the_centre_says_something_newer(store: sqlite3.Connection) -> None:
    """An import keeps the revision on which it is based: equal stays, higher wins, and so it is with removals."""
    with transaction(store):
        for name in ("a", "b"):
            reconcile(store, name, 5, Touchpoint(name, "display", name))
        replace(store, [Touchpoint("a", "display", "ours"), Touchpoint("c", "display", "ours too")])
        assert reconcile(store, "a", 5, Touchpoint("a", "display", "theirs")) is None
        assert reconcile(store, "a", 5, None) is None
        assert reconcile(store, "b", 5, Touchpoint("b", "display", "b")) is None
        assert reconcile(store, "c", 0, Touchpoint("c", "display", "theirs")) is None
        assert known(store) == ["a", "c"]
        assert str(reconcile(store, "a", 6, Touchpoint("a", "display", "theirs"))) == "changed a (name)"
        assert str(reconcile(store, "b", 6, Touchpoint("b", "display", "b"))) == "added b"
        assert str(reconcile(store, "c", 1, None)) == "removed c"
    assert known(store) == ["a", "b"]


def test_an_unchanged_import_leaves_the_centre_its_touchpoints(store: sqlite3.Connection) -> None:
    """They stay the centre's: it may remove them at the same revision."""
    with transaction(store):
        reconcile(store, "a", 5, Touchpoint("a", "display", "A"))
        assert replace(store, [Touchpoint("a", "display", "A")])["unchanged"] == 1
        assert str(reconcile(store, "a", 5, None)) == "removed a"


def test_a_definition_of_the_centre_reads_as_a_touchpoint() -> None:
    """Product and validity stand where the store keeps them."""
    entry = RegistryEntry.model_validate_json(
        """{"id": "a", "kind": "display", "name": "A", "zone": "z", "phase": "before", "campaign": "c", "revision": 1,
            "product": {"gtin": "09506000134352", "reference": "r", "serial": null},
            "valid_from": "1970-01-01T00:00:01Z", "valid_until": "1970-01-01T00:00:02Z", "identifiers": ["text:a"]}"""
    )
    assert from_entry(entry) == Touchpoint(
        "a", "display", "A", "z", "before", "09506000134352", "r", None, "c", 1_000, 2_000, ("text:a",)
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.none() | st.sampled_from("xyz")), max_size=8))
@settings(max_examples=50)
def test_the_highest_revision_wins_in_any_order(words: list[tuple[int, str | None]]) -> None:
    """Whatever comes again or late: in the end the newest definition is in force, or nothing."""
    with tempfile.TemporaryDirectory() as directory, closing(open_writer(Path(directory), CAPTURE)) as store:
        with transaction(store):
            for revision, name in words:
                reconcile(store, "a", revision, None if name is None else Touchpoint("a", "display", name))
        found = load(store)[1]
    highest = max((revision for revision, _ in words), default=-1)
    said = {name for revision, name in words if revision == highest}
    assert (found[0].name if found else None) in (said | {None})
