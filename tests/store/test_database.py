"""Opening the files: durable, one writer each, and refused or set aside for a reason."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.registry import Touchpoint
from gateway.store.ballast import Ballast
from gateway.store.database import (
    CorruptError,
    HeldError,
    StoreError,
    data_version,
    only_one,
    open_reader,
    open_writer,
    transaction,
)
from gateway.store.recovery import look_through, mark, open_whole, suspect
from gateway.store.salvage import take_over
from gateway.store.schema import CAPTURE
from gateway.store.touchpoints import replace
from tests.store.conftest import opened, tap

ROOT = Path(__file__).parent.parent.parent


def test_a_commit_is_durable_and_deletes_are_thorough(tmp_path: Path) -> None:
    """Write-ahead log, synchronous FULL, secure_delete: on the connection that writes."""
    with closing(open_writer(tmp_path, CAPTURE)) as connection:
        found = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "secure_delete")
        ]
    assert found == ["wal", 2, 1]


def test_a_reader_sees_what_another_connection_commits(tmp_path: Path) -> None:
    """`data_version` changes with a commit of somebody else, and a missing file is None."""
    assert open_reader(tmp_path, CAPTURE) is None
    outbox = opened(tmp_path)
    reader = open_reader(tmp_path, CAPTURE)
    assert reader is not None
    with closing(outbox.connection), closing(reader):
        before = data_version(reader)
        with transaction(outbox.connection):
            outbox.append([tap()])
        assert data_version(reader) != before
        with pytest.raises(sqlite3.OperationalError):
            reader.execute("DELETE FROM outbox")


def test_only_one_process_holds_a_half_and_death_frees_it(tmp_path: Path) -> None:
    """The second is told who holds it; after kill -9 the next one gets it."""
    code = (
        "import sys, pathlib\nfrom gateway.store.database import only_one\n"
        "with only_one(pathlib.Path(sys.argv[1]), 'capture'):\n  print('held', flush=True)\n  sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(HeldError, match=rf"already running on it \(process {holder.pid}\)"),
            only_one(tmp_path, "capture"),
        ):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    with only_one(tmp_path, "capture"):
        pass


def test_what_is_no_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    """`open_writer` refuses it."""
    (tmp_path / "capture.db").write_text("not a database, " * 300, encoding="utf-8")
    with pytest.raises(CorruptError, match="file is not a database"):
        open_writer(tmp_path, CAPTURE)
    assert (tmp_path / "capture.db").read_text("utf-8").startswith("not a database")


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(StoreError, match=f"Create the directory {tmp_path}/none"):
        open_writer(tmp_path / "none", CAPTURE)


def test_a_damaged_file_is_set_aside_and_what_is_whole_taken_over(tmp_path: Path) -> None:
    """The touchpoints survive a page of the outbox that was hit; the damaged file is kept for an engineer."""
    outbox = opened(tmp_path)
    with transaction(outbox.connection):
        outbox.append([tap() for _ in range(200)])
        replace(outbox.connection, [Touchpoint("a", "display", "A")])
    (page,) = outbox.connection.execute("SELECT max(rootpage) FROM sqlite_schema WHERE name = 'outbox'").fetchone()
    outbox.connection.close()
    with (tmp_path / "capture.db").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    mark(tmp_path, "capture.db")

    connection, kept = open_whole(tmp_path, CAPTURE, 7)
    assert kept == tmp_path / "capture.db.damaged-7"
    with closing(connection):
        assert take_over(connection, kept) == {"consent": 0, "consent_handle": 0, "touchpoint": 1}
        assert connection.execute("SELECT id FROM touchpoint").fetchall() == [("a",)]
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    assert not suspect(tmp_path, "capture.db").exists()


def test_a_file_that_was_suspected_for_nothing_goes_on(tmp_path: Path) -> None:
    """It is looked through once, and the mark is taken off."""
    opened(tmp_path).connection.close()
    mark(tmp_path, "capture.db")
    with closing(open_writer(tmp_path, CAPTURE)) as connection:
        look_through(connection, tmp_path, "capture.db")
    assert not suspect(tmp_path, "capture.db").exists()


def test_the_ballast_gives_space_back_once(tmp_path: Path) -> None:
    """It is taken up when there is plenty, and given up when there is none."""
    ballast = Ballast(tmp_path / "ballast", 65536)
    assert ballast.restore()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 65536
    assert (ballast.drop(), ballast.drop()) == (True, False)
    assert not Ballast(tmp_path / "ballast", 1 << 60).restore()
