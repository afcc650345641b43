"""The one thread that writes: at once when idle, together under load, and nothing lost on the way out."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.database import StoreError, forget_deleted
from gateway.store.outbox import Outbox
from gateway.store.writer import Writer
from tests.store.conftest import opened, tap

ROOT = Path(__file__).parent.parent.parent


def counting(outbox: Outbox, commits: list[str]) -> Outbox:
    outbox.connection.set_trace_callback(lambda statement: commits.append(statement) if statement == "COMMIT" else None)
    return outbox


async def test_jobs_that_come_together_share_a_commit(tmp_path: Path) -> None:
    """A burst of a hundred costs a few syncs, not a hundred; each job gets its own result."""
    commits: list[str] = []
    async with Writer(lambda: counting(opened(tmp_path), commits)) as writer:
        last = await asyncio.gather(*(writer.commit(lambda outbox: outbox.append([tap()])) for _ in range(100)))
    assert last == list(range(1, 101))
    assert len(commits) <= 20


async def test_a_patient_job_goes_with_an_urgent_one(tmp_path: Path) -> None:
    """Presence waits for company, and a tap is that company."""
    commits: list[str] = []
    async with Writer(lambda: counting(opened(tmp_path), commits)) as writer:
        patient = asyncio.ensure_future(writer.commit(lambda outbox: outbox.append([tap()]), patience=60))
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert await writer.commit(lambda outbox: outbox.append([tap()])) == 2
            assert await patient == 1
    assert len(commits) == 1


async def test_a_job_that_fails_fails_alone(tmp_path: Path) -> None:
    """Those that shared its commit are done all the same, and numbers stay without holes."""

    def fail(outbox: Outbox) -> None:
        outbox.append([tap()])
        raise sqlite3.IntegrityError

    async with Writer(lambda: opened(tmp_path)) as writer:
        jobs = [lambda outbox: outbox.append([tap()]), fail, lambda outbox: outbox.append([tap()])]
        results = await asyncio.gather(*(writer.commit(job) for job in jobs), return_exceptions=True)
    assert (results[0], type(results[1]), results[2]) == (1, sqlite3.IntegrityError, 2)


async def test_what_was_handed_over_is_committed_on_the_way_out(tmp_path: Path) -> None:
    """Also what was patient."""
    async with Writer(lambda: opened(tmp_path)) as writer:
        waiting = asyncio.ensure_future(writer.commit(lambda outbox: outbox.append([tap()]), patience=60))
        await asyncio.sleep(0)
    assert await waiting == 1
    assert (tmp_path / "capture.db-wal").exists() is False


async def test_a_file_that_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    """Entering raises, and no thread is left."""
    with pytest.raises(StoreError):
        async with Writer(lambda: opened(tmp_path / "none")):
            pass


async def test_whatever_stops_the_file_from_being_opened_is_said(tmp_path: Path) -> None:
    """Also what is no error of SQLite: the half must not wait for ever."""

    def fail() -> Outbox:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    async with asyncio.timeout(10):
        with pytest.raises(PermissionError):
            async with Writer(fail):
                pass
    assert not writing()


async def test_a_stop_while_the_file_is_opened_leaves_no_thread(tmp_path: Path) -> None:
    """A long look through a damaged file may be interrupted; the file is closed as it should be."""
    began, go_on = threading.Event(), threading.Event()

    def slowly() -> Outbox:
        began.set()
        go_on.wait()
        return opened(tmp_path)

    entering = asyncio.ensure_future(Writer(slowly).__aenter__())
    async with asyncio.timeout(10):
        await asyncio.to_thread(began.wait)
        entering.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await entering
    assert not writing()


def writing() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "store-writer"]


async def test_a_checkpoint_meets_a_file_that_another_program_holds(tmp_path: Path) -> None:
    """Nothing of it can be done now, which is said; the next job is served."""

    def impatient() -> Outbox:
        outbox = opened(tmp_path)
        outbox.connection.execute("PRAGMA busy_timeout = 0")
        return outbox

    async with Writer(impatient) as writer, asyncio.timeout(10):
        with closing(sqlite3.connect(tmp_path / "capture.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await writer.between_commits(lambda outbox: forget_deleted(outbox.connection)) is False
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                await writer.commit(lambda outbox: outbox.append([tap()]))
            other.execute("ROLLBACK")
        assert await writer.commit(lambda outbox: outbox.append([tap()])) == 1


async def test_a_job_between_commits_that_fails_fails_alone(tmp_path: Path) -> None:
    """The jobs that came with it are done, and it is told what it raised."""

    def fail(outbox: Outbox) -> None:
        outbox.connection.execute("SELECT nonsense")

    async with Writer(lambda: opened(tmp_path)) as writer:
        results = await asyncio.gather(
            writer.commit(lambda outbox: outbox.append([tap()])), writer.between_commits(fail), return_exceptions=True
        )
    assert (results[0], type(results[1])) == (1, sqlite3.OperationalError)


async def test_on_a_full_disk_the_ballast_goes_and_the_job_is_tried_again(tmp_path: Path) -> None:
    """The event that was worth least made room for this one."""
    calls: list[str] = []

    def limited() -> Outbox:
        outbox = opened(tmp_path)
        (pages,) = outbox.connection.execute("PRAGMA page_count").fetchone()
        outbox.connection.execute(f"PRAGMA max_page_count = {pages + 20}")
        return outbox

    def drop() -> bool:
        calls.append("dropped")
        return True

    async with Writer(limited, drop) as writer:
        for _ in range(30):
            await writer.commit(lambda outbox: outbox.append([tap() for _ in range(20)]))
    assert calls
    with closing(sqlite3.connect(tmp_path / "capture.db")) as connection:
        tally = dict(connection.execute("SELECT name, count FROM tally"))
    assert tally["appended"] == 600
    assert tally["evicted"] > 0


def test_kill_9_takes_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """A process that prints each number after its commit is killed: every number printed is in the file."""
    code = (
        "import asyncio, sys, pathlib\n"
        "from gateway.store.writer import Writer\n"
        "from tests.store.conftest import opened, tap\n"
        "async def main():\n"
        "  async with Writer(lambda: opened(pathlib.Path(sys.argv[1]))) as writer:\n"
        "    while True: print(await writer.commit(lambda outbox: outbox.append([tap()])), flush=True)\n"
        "asyncio.run(main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdout is not None
    with process.stdout:
        said = [int(process.stdout.readline()) for _ in range(200)]
        os.kill(process.pid, signal.SIGKILL)
        said += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.wait()
    with closing(sqlite3.connect(tmp_path / "capture.db")) as connection:
        held = [sequence for (sequence,) in connection.execute("SELECT sequence FROM outbox ORDER BY sequence")]
    assert said == list(range(1, len(said) + 1))
    assert held[: len(said)] == said
