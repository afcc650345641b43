"""What the files hold, and how older ones are brought up to date: whole, or not at all."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.store import schema as schemas
from gateway.store.database import Schema, StoreError, open_reader, open_writer, seal
from gateway.store.schema import CAPTURE, CAPTURE_STEPS, UPLINK, UPLINK_STEPS
from tests.store.conftest import opened, tap

if TYPE_CHECKING:
    from sqlite_utils import Database

EVERY = pytest.mark.parametrize("schema", [CAPTURE, UPLINK], ids=lambda schema: str(schema.file))


def schema_of(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Return every table and index as it was made, the record of migrations aside."""
    return connection.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE '%migrations%' ORDER BY name"
    ).fetchall()


def applied(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT migration_set, name FROM _sqlite_migrations ORDER BY id").fetchall()


def migrating(name: str, *steps: object) -> Schema:
    """Return the schema that these steps lead to."""
    return Schema("capture.db", len(steps), lambda connection: schemas._migrate(connection, name, steps))  # noqa: SLF001  # as schema.py does


@EVERY
def test_a_new_file_has_its_schema_and_the_record_of_it(tmp_path: Path, schema: Schema) -> None:
    """sqlite-utils keeps the record, so its own tools know the file; a second start changes nothing."""
    open_writer(tmp_path, schema).close()
    with closing(open_writer(tmp_path, schema)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.version,)
        assert [name for name, _ in applied(connection)] == [schema.file.removesuffix(".db")] * schema.version


@pytest.mark.parametrize(
    ("name", "steps", "schema"), [("capture", CAPTURE_STEPS, CAPTURE), ("uplink", UPLINK_STEPS, UPLINK)]
)
def test_every_earlier_version_becomes_the_present_one(
    tmp_path: Path, name: str, steps: tuple[object, ...], schema: Schema
) -> None:
    """From whatever version an installation comes, the file ends as a new one would be."""
    (tmp_path / "new").mkdir()
    with closing(open_writer(tmp_path / "new", schema)) as new:
        wanted = schema_of(new)
    for version in range(1, schema.version + 1):
        directory = tmp_path / str(version)
        directory.mkdir()
        old = Schema(schema.file, version, lambda connection, n=version: schemas._migrate(connection, name, steps[:n]))  # type: ignore[misc]  # noqa: SLF001  # a default binds n
        open_writer(directory, old).close()
        with closing(open_writer(directory, schema)) as connection:
            assert schema_of(connection) == wanted
            assert len(applied(connection)) == schema.version


def test_rows_survive_the_next_version(tmp_path: Path) -> None:
    """A change of schema is one more step; events that wait go on waiting."""

    def next_step(database: "Database") -> None:
        database.conn.execute("ALTER TABLE outbox ADD COLUMN colour TEXT")

    outbox = opened(tmp_path)
    with closing(outbox.connection), outbox.transaction():
        outbox.append([tap()])
    with closing(open_writer(tmp_path, migrating("capture", *CAPTURE_STEPS, next_step))) as connection:
        assert connection.execute("SELECT sequence, colour FROM outbox").fetchall() == [(1, None)]
        assert len(applied(connection)) == len(CAPTURE_STEPS) + 1


def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither half a change nor a record of it: the old version still opens the file."""

    def half_done(database: "Database") -> None:
        database.conn.execute("CREATE TABLE half (id INTEGER)")
        database.conn.execute("INSERT INTO half VALUES (1)")
        database.conn.execute("CREATE TABLE half (id INTEGER)")

    opened(tmp_path).connection.close()
    with pytest.raises(StoreError, match="table half already exists"):
        open_writer(tmp_path, migrating("capture", *CAPTURE_STEPS, half_done))
    with closing(open_writer(tmp_path, CAPTURE)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").fetchone() == (0,)
        assert len(applied(connection)) == len(CAPTURE_STEPS)


@EVERY
@pytest.mark.parametrize("open_file", [open_writer, open_reader])
def test_a_newer_file_is_refused_and_left_as_it_is(
    tmp_path: Path, schema: Schema, open_file: Callable[[Path, Schema], object]
) -> None:
    """By whoever opens it; the message says what to do."""
    with closing(open_writer(tmp_path, schema)) as connection:
        seal(connection, schema.version + 1)
    before = (tmp_path / schema.file).read_bytes()
    with pytest.raises(StoreError, match=rf"newer version .*schema {schema.version + 1}.*Install that version again"):
        open_file(tmp_path, schema)
    assert (tmp_path / schema.file).read_bytes() == before


def test_a_file_of_an_earlier_version_is_read_when_its_writer_has_brought_it_up_to_date(tmp_path: Path) -> None:
    """Until then it counts as not there yet."""
    first = migrating("capture", *CAPTURE_STEPS[:1])
    open_writer(tmp_path, first).close()
    assert open_reader(tmp_path, CAPTURE) is None
    open_writer(tmp_path, CAPTURE).close()
    reader = open_reader(tmp_path, CAPTURE)
    assert reader is not None
    reader.close()


def test_a_number_is_never_given_twice(tmp_path: Path) -> None:
    """AUTOINCREMENT: SQLite itself remembers the last sequence when no row is left."""
    with closing(open_writer(tmp_path, CAPTURE)) as connection:
        (made,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'outbox'").fetchone()
    assert "INTEGER PRIMARY KEY AUTOINCREMENT" in made
