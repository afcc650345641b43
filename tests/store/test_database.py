"""Opening the files: durable, one writer each, and refused or set aside for a reason."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gateway.core.registry import Touchpoint
from gateway.store.ballast import Ballast
from gateway.store.database import (
    CorruptError,
    HeldError,
    StoreError,
    access_hint,
    as_sqlite_says,
    data_version,
    explain,
    is_corrupt,
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
        with outbox.transaction():
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


def test_a_directory_that_may_not_be_written_is_named() -> None:
    """Tried as another user, which only root can play, as whom the tests run in CI; nothing is left there."""
    assert os.geteuid() == 0, "another user can only be played by root"
    code = (
        "import os, sys, pathlib\n"
        "from gateway.store.database import StoreError, only_one, open_writer\n"
        "from gateway.store.schema import CAPTURE\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "def enter(directory):\n  with only_one(directory, 'capture'): pass\n"
        "for attempt in (enter, lambda directory: open_writer(directory, CAPTURE)):\n"
        "  try: attempt(pathlib.Path(sys.argv[1]))\n"
        "  except StoreError as error: print(error)"
    )
    with tempfile.TemporaryDirectory(prefix="tp-") as state:
        Path(state).chmod(0o755)
        said = subprocess.run(
            [sys.executable, "-c", code, state], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        assert not list(Path(state).iterdir())
    assert [line.split(":")[0] for line in said] == [f"cannot open {state}/capture.{kind}" for kind in ("lock", "db")]
    assert all(f"Give the user that the gateway runs as write access to {state}" in line for line in said)


def test_a_file_that_another_program_holds_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody looks in with a tool that locks it: the message says to close that."""
    monkeypatch.setattr("gateway.store.database.BUSY_MS", 1)
    opened(tmp_path).connection.close()
    with closing(sqlite3.connect(tmp_path / "capture.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="Another program holds it: close it"):
            open_writer(tmp_path, CAPTURE)


def test_files_are_for_the_user_and_the_group(tmp_path: Path) -> None:
    """Whatever the umask: the other half reads through the group, and nobody else does."""
    before = os.umask(0)
    try:
        with closing(opened(tmp_path).connection):
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) == {"capture.db", "capture.db-wal", "capture.db-shm"}
    assert not [name for name, mode in modes.items() if mode & 0o007]


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    """Whatever raises inside, nothing of it is there, and the next one works."""
    outbox = opened(tmp_path)
    with closing(outbox.connection) as connection:
        with suppress(KeyboardInterrupt), transaction(connection):
            connection.execute("INSERT INTO tally VALUES ('a', 1)")
            raise KeyboardInterrupt
        with transaction(connection):
            connection.execute("INSERT INTO tally VALUES ('b', 1)")
        assert connection.execute("SELECT name FROM tally").fetchall() == [("b",)]


def test_a_damaged_file_is_set_aside_and_what_is_whole_taken_over(tmp_path: Path) -> None:
    """The touchpoints survive a page of the outbox that was hit; the damaged file is kept for an engineer."""
    outbox = opened(tmp_path)
    with outbox.transaction():
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
        assert take_over(connection, kept) == {
            "consent": 0,
            "consent_handle": 0,
            "touchpoint": 1,
            "mark": 0,
            "sun_counter": 0,
            "usage": 0,
            "audit": 0,
        }
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


def test_what_stands_in_the_way_of_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is missing, is a file, lies on a disk that is read-only, or is fine: each has its own advice."""
    taken = tmp_path / "taken"
    taken.touch()
    assert access_hint(tmp_path / "none").startswith("Create the directory ")
    assert access_hint(taken) == f"{taken} is a file: move it away, and create a directory there"
    assert "has space and is healthy" in access_hint(tmp_path)
    mounted = os.statvfs(tmp_path)
    read_only = os.statvfs_result([*mounted[:8], mounted.f_flag | os.ST_RDONLY, mounted[9]])
    monkeypatch.setattr(os, "statvfs", lambda _path: read_only)
    assert access_hint(tmp_path).startswith(f"The disk of {tmp_path} is mounted read-only: mount it read-write")


def test_a_message_that_is_no_text_is_damage() -> None:
    """Of a damaged schema SQLite speaks in the damaged octets: that is told as damage, and quotes nothing."""
    garbled = UnicodeDecodeError("utf-8", b"secret \xcd", 7, 8, "invalid continuation byte")
    assert is_corrupt(garbled)
    told = as_sqlite_says(garbled)
    assert isinstance(told, sqlite3.DatabaseError)
    assert is_corrupt(told)
    assert "secret" not in str(explain(garbled, "read", Path("capture.db")))
    other = OSError("x")
    assert as_sqlite_says(other) is other
