"""Saying READY, then how the half fares, and that it lives for as long as `gateway.core.watchdog` finds nothing wrong.

The task runs on the half's own event loop: one that is blocked says nothing, and is ended. What proves the store is a
write a minute, and only where a watchdog is set: without one nobody asks.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

from gateway.core.watchdog import ReaderSigns, Signs, fault
from gateway.daemon.notify import ALIVE, READY, notify, status, watchdog_seconds
from gateway.log import Message, log, told
from gateway.store.database import is_full

PROVE_SECONDS = 60.0
STATUS_SECONDS = 30.0


@dataclass(slots=True)
class Watchdog:
    """What is watched of a half.

    `prove` makes the store take a write, and raises sqlite3.Error when it does not; `readers` tells their signs, `tell`
    how the half fares, in words for `systemctl status`.
    """

    prove: Callable[[], Awaitable[object]]
    tell: Callable[[], str]
    readers: Callable[[], Sequence[ReaderSigns]] = tuple
    _store_at: float = field(default_factory=monotonic)

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Say READY, once the half has started if that is not yet so; then go on for ever."""
        if started is not None:
            await started.wait()
        seconds = watchdog_seconds(os.environ, os.getpid())
        notify(READY, status(self.tell()))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._say(STATUS_SECONDS if seconds is None else seconds / 2))
            if seconds is not None:
                tasks.create_task(self._keep_proving())

    async def _say(self, every: float) -> None:
        while True:
            self.say()
            await asyncio.sleep(every)

    def say(self) -> None:
        """Say how the half fares; that it lives only if nothing is wrong with it."""
        wrong = fault(Signs(monotonic(), self._store_at, self.readers()))
        if wrong is None:
            notify(ALIVE, status(self.tell()))
        else:
            notify(status(f"{wrong}; started again unless that passes"))
            extra = told(Message.WATCHDOG, "gateway")
            log.error("%s; systemd starts this half again unless that passes", wrong, extra=extra)

    async def _keep_proving(self) -> None:
        while True:
            await self.prove_once()
            await asyncio.sleep(PROVE_SECONDS)

    async def prove_once(self) -> None:
        """See that the store takes a write. A full disk has its own cures, and no restart is one."""
        try:
            await self.prove()
        except sqlite3.Error as error:
            if not is_full(error):
                return
        self._store_at = monotonic()


@asynccontextmanager
async def watched(watchdog: Watchdog, started: asyncio.Event | None = None) -> AsyncIterator[None]:
    """Watch over a half while the context is open, if systemd asks for it."""
    if not os.environ.get("NOTIFY_SOCKET"):
        yield
        return
    watching = asyncio.ensure_future(watchdog.run(started))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
