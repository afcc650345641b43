"""The one thread that writes `capture.db`: commits at once when idle, and in groups under load.

While one commit waits for the disk, jobs gather; the next commit takes them all. So a lone tap is durable after one
sync, and a burst shares syncs. A patient job (presence, health, trims) waits up to a second for company, to spare the
SD card.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from gateway.store.database import (
    FullError,
    as_sqlite_says,
    forget_deleted,
    is_corrupt,
    is_full,
    is_unwritten,
    log_is_used_again,
    write_over,
)
from gateway.store.outbox import Outbox

Result = TypeVar("Result")

GROUP = 1_000
"""At most so many jobs share one commit."""


@dataclass(slots=True)
class _Job:
    run: Callable[[Outbox], Any]
    due: float
    """When it must be committed at the latest, on the thread's clock."""
    done: "asyncio.Future[Any]"
    alone: bool = False
    outcome: Any = None
    error: BaseException | None = field(default=None, repr=False)


class Writer:
    """`async with Writer(open_outbox) as writer: await writer.commit(lambda outbox: outbox.append(drafts))`.

    `open_outbox` runs on the thread, which alone uses the connection. `relieve` is called when the disk is full, and
    gives some space back if it can; `damaged` when a job has found the file damaged.
    """

    def __init__(
        self,
        open_outbox: Callable[[], Outbox],
        relieve: Callable[[], bool] = lambda: False,
        damaged: Callable[[], None] = lambda: None,
    ) -> None:
        self._open = open_outbox
        self._relieve = relieve
        self._damaged = damaged
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[Outbox] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name="store-writer")

    async def __aenter__(self) -> Self:
        """Start the thread and open the file. Raises StoreError."""
        self._thread.start()
        try:
            self.outbox = await self._opened
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commit what was handed over, empty the log and end the thread."""
        self._jobs.put(None)
        await asyncio.shield(asyncio.to_thread(self._thread.join))

    async def commit(self, job: Callable[[Outbox], Result], *, patience: float = 0.0) -> Result:
        """Run the job in a transaction and return its result once that is durable. Raises what the job or SQLite does.

        `patience` in seconds is how long it may wait for others to share the commit.
        """
        done: asyncio.Future[Result] = self._loop.create_future()
        self._jobs.put(_Job(job, time.monotonic() + patience, done))
        return await done

    async def between_commits(self, job: Callable[[Outbox], Result]) -> Result:
        """Run the job outside any transaction, as a checkpoint must be, and return its result. Raises what it does."""
        done: asyncio.Future[Result] = self._loop.create_future()
        self._jobs.put(_Job(job, time.monotonic(), done, alone=True))
        return await done

    def _work(self) -> None:
        try:
            outbox = self._open_with_relief()
        except Exception as error:  # noqa: BLE001  # it belongs to whoever enters
            self._loop.call_soon_threadsafe(_settle, self._opened, None, error)
            return
        self._loop.call_soon_threadsafe(_settle, self._opened, outbox, None)
        try:
            while self._write_next(outbox):
                pass
            with contextlib.suppress(sqlite3.Error):  # on a disk that fails the log stays; the next stop empties it
                forget_deleted(outbox.connection)
        finally:
            outbox.connection.close()

    def _open_with_relief(self) -> Outbox:
        try:
            return self._open()
        except FullError:
            if not self._relieve():
                raise
            return self._open()

    def _write_next(self, outbox: Outbox) -> bool:
        jobs, going_on = self._gather()
        if jobs:
            self._write(outbox, [job for job in jobs if not job.alone])
            for job in jobs:
                if job.alone:
                    _run_alone(outbox, job)
            self._loop.call_soon_threadsafe(_resolve, jobs)
        return going_on

    def _write(self, outbox: Outbox, jobs: list[_Job]) -> None:
        """Run the jobs in one transaction; if that fails, each in its own, so that none fails for another's sake."""
        error = _try(outbox, jobs) if jobs else None
        if error is not None and len(jobs) > 1:
            for job in jobs:
                self._write(outbox, [job])
        elif error is not None:
            jobs[0].error = self._insist(outbox, jobs, error)
            if is_unwritten(error):
                write_over(outbox.connection)
            if is_corrupt(error):
                self._damaged()

    def _insist(self, outbox: Outbox, jobs: list[_Job], error: Exception | None) -> Exception | None:
        """On a full disk make room, by what costs least first, and try again; return what is wrong in the end."""
        for make_room in (_reuse_log, self._give_up_ballast, self._evict):
            if error is not None and is_full(error) and make_room(outbox):
                error = _try(outbox, jobs)
        return error

    def _give_up_ballast(self, outbox: Outbox) -> bool:
        """Give SQLite room to work in; the outbox must do with its present size until the ballast is back."""
        relieved = self._relieve()
        if relieved:
            log_is_used_again(outbox.connection)
            outbox.hold_size()
        return relieved

    def _evict(self, outbox: Outbox) -> bool:
        evicting = _Job(lambda outbox: outbox.make_room(), 0.0, self._loop.create_future())
        return _try(outbox, [evicting]) is None and bool(evicting.outcome)

    def _gather(self) -> tuple[list[_Job], bool]:
        """Wait for a job; then take what else there is until the most urgent one is due."""
        first = self._jobs.get()
        if first is None:
            return [], False
        jobs, due = [first], first.due
        while len(jobs) < GROUP:
            try:
                job = self._jobs.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                break
            if job is None:
                return jobs, False
            jobs.append(job)
            due = min(due, job.due)
        return jobs, True


def _try(outbox: Outbox, jobs: list[_Job]) -> Exception | None:
    """Run the jobs in one transaction; return what went wrong, with nothing done."""
    try:
        with outbox.transaction():
            for job in jobs:
                job.outcome = job.run(outbox)
    except Exception as error:  # noqa: BLE001  # it belongs to whoever awaits the job
        outbox.resume()
        return error
    return None


def _reuse_log(outbox: Outbox) -> bool:
    return log_is_used_again(outbox.connection)


def _run_alone(outbox: Outbox, job: _Job) -> None:
    try:
        job.outcome = job.run(outbox)
    except Exception as error:  # noqa: BLE001  # it belongs to whoever awaits the job
        job.error = error


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        _settle(job.done, job.outcome, job.error)


def _settle(future: "asyncio.Future[Any]", outcome: object, error: BaseException | None) -> None:
    if future.done():  # whoever awaited it has gone
        return
    if error is not None:
        future.set_exception(as_sqlite_says(error))
    else:
        future.set_result(outcome)
