"""The disk that forgets: it keeps what was synced and nothing else, or its power cuts would prove nothing."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.disk.mounts import PoweredDisk
from tests.simulators.forgetful_disk import SYNCS_FAIL

ROWS = 50


def test_what_was_synced_is_there_and_nothing_else(tmp_path: Path) -> None:
    """Readers see every write at once; after a cut there is the file as it was when it was synced."""
    with PoweredDisk(tmp_path, tmp_path / "disk") as disk:
        with (disk.path / "file").open("wb", buffering=0) as file:
            file.write(b"synced")
            os.fsync(file)
            file.write(b" and forgotten")
        assert (disk.path / "file").read_bytes() == b"synced and forgotten"
        disk.cut()
        disk.restore()
        assert (disk.path / "file").read_bytes() == b"synced"


def test_a_failed_sync_says_so_and_takes_nothing_to_the_medium(tmp_path: Path) -> None:
    """A sync that passes afterwards does not make up for it, as on Linux."""
    with PoweredDisk(tmp_path, tmp_path / "disk") as disk:
        with (disk.path / "file").open("wb", buffering=0) as file:
            file.write(b"lost")
            (disk.faults / SYNCS_FAIL).touch()
            with pytest.raises(OSError, match="Input/output error"):
                os.fsync(file)
            (disk.faults / SYNCS_FAIL).unlink()
            os.fsync(file)
        assert (disk.path / "file").read_bytes() == b"lost"
        disk.cut()
        disk.restore()
        assert (disk.path / "file").read_bytes() == b""


@pytest.mark.parametrize(("synchronous", "kept"), [("FULL", ROWS), ("NORMAL", 0)])
def test_a_power_cut_tells_a_durable_commit_from_another(tmp_path: Path, synchronous: str, kept: int) -> None:
    """With synchronous=NORMAL, commits that returned are gone: so the trials below could find a loss."""
    with PoweredDisk(tmp_path, tmp_path / "disk") as disk:
        with closing(sqlite3.connect(disk.path / "test.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE row (number)")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            for number in range(ROWS):
                connection.execute("INSERT INTO row VALUES (?)", (number,))
            disk.cut()
        disk.restore()
        with closing(sqlite3.connect(disk.path / "test.db")) as connection:
            assert connection.execute("SELECT count(*) FROM row").fetchone() == (kept,)
