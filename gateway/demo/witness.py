"""The brand's centre: runs the subscriber as a process of its own, and follows what it counts."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from gateway.demo import DemoError, subscriber
from gateway.demo.boutique import SITE, TENANT
from gateway.demo.report import Arrived
from gateway.sentence import sentence

TOPIC = f"touchpoint/v1/{TENANT}/{SITE}/+/event"
START_SECONDS = 10.0
STOP_SECONDS = 3.0
LINE = 4 << 20

Event = Mapping[str, Any]
"""An event as the subscriber passes it on: parsed JSON."""
Arrival = Callable[["Arrived", Sequence[Event]], None]


class WitnessError(DemoError):
    """The subscriber could not count."""


class Witness:
    """The subscriber at work. `follow` keeps `arrived` up to date."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.arrived = Arrived()

    async def follow(self, show: Arrival) -> None:
        """Take in the counts as they come and show them, until the subscriber ends."""
        while (line := await self._line()) is not None:
            new = line.pop("new", [])
            self.arrived = Arrived(**{field.name: line[field.name] for field in fields(Arrived)})
            show(self.arrived, new)

    async def _line(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        line = await self._process.stdout.readline()
        return json.loads(line) if line else None

    async def ready(self) -> None:
        """Wait until the subscription stands. Raises WitnessError."""
        try:
            async with asyncio.timeout(START_SECONDS):
                if await self._line() is None:
                    raise WitnessError(sentence("the subscriber ended at once"))
        except TimeoutError:
            raise WitnessError(sentence("the subscriber could not subscribe at the broker")) from None

    def finish(self) -> None:
        """Ask for the last totals; `follow` ends when they have come."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def end(self) -> None:
        """End the process, if it has not ended by itself."""
        self.finish()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def witness(broker_port: int, log: Path) -> AsyncIterator[Witness]:
    """Run the subscriber while the context is open. Raises WitnessError."""
    command = (sys.executable, "-P", subscriber.__file__, "127.0.0.1", str(broker_port), TOPIC)
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=errors, limit=LINE, start_new_session=True
        )
    watching = Witness(process)
    try:
        await watching.ready()
        yield watching
    finally:
        await watching.end()
