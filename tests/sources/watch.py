"""What watches a source: its status, its losses, and what it leaves open."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.sighting import Sighting
from gateway.sources.source import Source, SourceStatus

DEADLINE = 10.0


@dataclass
class Watch:
    """Gathers what a source tells; `until` waits for it."""

    statuses: list[SourceStatus] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    def status(self, status: SourceStatus) -> None:
        self.statuses.append(status)

    def drop(self, reason: str) -> None:
        self.dropped[reason] += 1

    @property
    def up(self) -> bool:
        return bool(self.statuses) and self.statuses[-1].up

    @property
    def reason(self) -> str:
        return (self.statuses[-1].reason or "") if self.statuses else ""

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110 -- conditions are of all kinds; no event stands for them
                await asyncio.sleep(0.005)

    async def until_up(self) -> None:
        await self.until(lambda: self.up)

    async def until_down(self) -> None:
        await self.until(lambda: bool(self.statuses) and not self.up)


async def take(source: Source, count: int) -> list[Sighting]:
    """Return the next sightings of the source."""
    async with asyncio.timeout(DEADLINE):
        return [await anext(source) for _ in range(count)]


def descriptors() -> dict[str, str]:
    """Return what this process has open, by descriptor."""
    found = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            found[descriptor.name] = str(descriptor.readlink())
    return found
