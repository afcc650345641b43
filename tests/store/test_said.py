"""What the centre says, as the uplink half writes it: a set that is whole or does not count, and nothing twice."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.contract import Topics
from gateway.core.downlink import ConsentState
from gateway.core.jws import Use
from gateway.store import said
from gateway.store.central import Central
from gateway.store.database import open_writer
from gateway.store.said import ConsentSet, Definition, Signed, supersedes
from gateway.store.schema import UPLINK
from tests.simulators.centre import Centre
from tests.simulators.centre_keys import CENTRE

NOW_MS = 1_795_000_000_000
TOPICS = Topics("acme", "zrh-1", "gw-1")
HANDLE = "h1." + "A" * 22


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_writer(tmp_path, UPLINK)) as connection:
        yield connection


@pytest.fixture
def consents(database: sqlite3.Connection) -> ConsentSet:
    return ConsentSet(database)


@pytest.fixture
def centre() -> Centre:
    return Centre(TOPICS)


def arrive(consents: ConsentSet, centre: Centre, *names: str) -> None:
    """Have records of the centre arrive."""
    records = [centre.records[name] for name in names]
    consents.take([Signed(record, f"signed {record.record_id} {record.revision}") for record in records])
    consents.saw(names)


def state(centre: Centre, at_ms: int = NOW_MS) -> ConsentState:
    """Return what the centre says of the set."""
    _, payload = CENTRE.believed(Use.CONSENT).verify(centre.state(at_ms).payload, Use.CONSENT)
    return ConsentState.model_validate_json(payload)


def settled(consents: ConsentSet) -> bool:
    """Compare to the end."""
    while (answer := consents.settle()) is None:
        pass
    return answer


def ids(database: sqlite3.Connection) -> list[str]:
    return [name for (name,) in database.execute("SELECT record_id FROM consent ORDER BY record_id")]


def in_force(consents: ConsentSet) -> tuple[int, bool] | None:
    """Return the revision of the set that stands in the file, and whether it counts."""
    here = consents.in_force()
    return None if here is None else (here.revision, here.confirmed)


def test_a_first_set_counts_when_it_is_whole(consents: ConsentSet, centre: Centre) -> None:
    """Not while a record is missing; and a comparison that was under way begins anew when one arrives."""
    for name in ("r1", "r2"):
        centre.grant(name, HANDLE, at_ms=NOW_MS)
    assert settled(consents) is False
    arrive(consents, centre, "r1")
    consents.say(state(centre), "jws")
    assert (settled(consents), in_force(consents)) == (False, (2, False))
    arrive(consents, centre, "r2")
    assert consents.settle() is None
    consents.saw(["r2"])
    assert not consents.busy
    assert (settled(consents), in_force(consents)) == (True, (2, True))
    assert not consents.open


def test_a_set_of_nobody_is_whole(consents: ConsentSet, centre: Centre) -> None:
    """A centre without customers says so, and that is complete."""
    consents.say(state(centre), "jws")
    assert settled(consents)


def test_the_old_set_counts_until_the_new_one_is_whole(consents: ConsentSet, centre: Centre) -> None:
    """A change that is on its way names nobody less for a moment; one that never comes does."""
    centre.grant("r1", HANDLE, at_ms=NOW_MS)
    arrive(consents, centre, "r1")
    consents.say(state(centre), "jws")
    assert settled(consents)
    centre.grant("r2", HANDLE, at_ms=NOW_MS)
    consents.say(state(centre, NOW_MS + 1), "jws")
    assert (settled(consents), in_force(consents)) == (False, (1, True))
    assert consents.open
    arrive(consents, centre, "r2")
    assert (settled(consents), in_force(consents)) == (True, (2, True))
    centre.grant("r3", HANDLE, at_ms=NOW_MS)
    consents.say(state(centre, NOW_MS + 2), "jws")
    consents.refuse()
    assert in_force(consents) == (3, False)
    consents.refuse()
    assert in_force(consents) == (3, False)


def test_a_sign_of_life_keeps_the_set_fresh(consents: ConsentSet, centre: Centre) -> None:
    """The same set said again is confirmed as it is, with the new time."""
    centre.grant("r1", HANDLE, at_ms=NOW_MS)
    arrive(consents, centre, "r1")
    consents.say(state(centre), "jws")
    assert settled(consents)
    consents.begin()
    consents.say(state(centre, NOW_MS + 60_000), "jws")
    here = consents.in_force()
    assert here is not None
    assert (here.at_ms, here.confirmed) == (NOW_MS + 60_000, True)


def test_what_is_not_in_a_whole_set_is_dropped(
    consents: ConsentSet, centre: Centre, database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its handles, a few at a time, and before the set counts; capture is told by a number that rises."""
    monkeypatch.setattr(said, "DROPPED", 2)
    monkeypatch.setattr(said, "COMPARED", 2)
    names = [f"r{number}" for number in range(9)]
    for name in names:
        centre.grant(name, HANDLE, at_ms=NOW_MS)
    arrive(consents, centre, *names)
    consents.say(state(centre), "jws")
    assert settled(consents)
    for name in names[:5]:
        centre.drop(name)
    consents.begin()
    consents.say(state(centre, NOW_MS + 1), "jws")
    consents.saw(names[5:])
    assert settled(consents)
    assert ids(database) == names[5:]
    assert database.execute("SELECT count(*) FROM consent_handle").fetchone() == (4,)
    with closing(Central(tmp_path)) as central:
        standing = central.standing()
    assert standing is not None
    assert (standing.revision, standing.removed) == (centre.revision, 5)


def test_another_digest_is_another_set(consents: ConsentSet, centre: Centre, database: sqlite3.Connection) -> None:
    """As many records, but not those: nothing counts and nothing is dropped."""
    centre.grant("r1", HANDLE, at_ms=NOW_MS)
    arrive(consents, centre, "r1")
    other = Centre(TOPICS)
    other.grant("r2", HANDLE, at_ms=NOW_MS)
    consents.say(state(other), "jws")
    assert settled(consents) is False
    assert ids(database) == ["r1"]


def test_positions_rise_with_every_change(consents: ConsentSet, centre: Centre, database: sqlite3.Connection) -> None:
    """So that whoever has read up to one finds everything that came after it."""
    for name in ("r1", "r2"):
        centre.grant(name, HANDLE, at_ms=NOW_MS)
    arrive(consents, centre, "r1", "r2")
    centre.withdraw("r1", NOW_MS)
    arrive(consents, centre, "r1")
    assert database.execute("SELECT record_id, position FROM consent ORDER BY position").fetchall() == [
        ("r2", 2),
        ("r1", 3),
    ]


REVISIONS = st.tuples(st.integers(0, 3), st.sampled_from(["given", "renewed", "withdrawn", "refused"]))


@given(REVISIONS, REVISIONS)
def test_of_two_records_one_stands_whichever_comes_first(first: tuple[int, str], second: tuple[int, str]) -> None:
    """The higher revision, and of two that are equal the one that takes consent away."""
    centre = Centre(TOPICS)
    records = []
    for revision, what in (first, second):
        centre.grant("r1", HANDLE, at_ms=NOW_MS, revision=revision, state=what)
        records.append(centre.records["r1"])
    replaces = supersedes(records[1], (*first, "x")), supersedes(records[0], (*second, "x"))
    assert replaces != (True, True)
    assert supersedes(records[0], None)
    if first[0] == second[0] and first[1] == "given" and second[1] == "withdrawn":
        assert replaces == (True, False)


NAMED = st.sampled_from(["a", "b"])
DEFINED = st.builds(Definition, NAMED, st.integers(0, 3), st.sampled_from(["{}", "[]"]))
REMOVED = st.builds(Definition, NAMED, st.just(0), st.none())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(DEFINED | REMOVED, max_size=6))
def test_a_touchpoint_never_goes_back(database: sqlite3.Connection, definitions: list[Definition]) -> None:
    """Of any sequence of definitions the highest revision stands, unless it was removed after that."""
    database.execute("DELETE FROM touchpoint")
    said.define(database, definitions)
    for name in ("a", "b"):
        mine = [each for each in definitions if each.touchpoint == name]
        row = database.execute("SELECT revision, definition FROM touchpoint WHERE id = ?", (name,)).fetchone()
        if all(each.text is None for each in mine):
            assert row is None
            continue
        assert row[0] == max(each.revision for each in mine if each.text is not None)
        if mine[-1].text is None:
            assert row[1] is None
    assert not said.define(database, []), "nothing new"


def test_commands_are_kept_for_a_while(database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest, each with its counter, which never goes back."""
    monkeypatch.setattr(said, "KEPT_COMMANDS", 3)
    for counter in (5, 9, 7, 8):
        said.order(database, f"c-{counter}", "report", counter=counter, status="done")
    assert [row[0] for row in database.execute("SELECT id FROM command ORDER BY position")] == ["c-9", "c-7", "c-8"]
    assert said.counted(database) == 9
