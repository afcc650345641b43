"""What every source has in common: a task that reads the device and heals it, a bounded queue, a status.

A source is entered, iterated and left in one task:

    async with ScannerSource("counter-scanner", device, status=show, dropped=count) as source:
        async for sighting in source: ...

The iterator ends only by being cancelled: trouble with a device is a status, and goes away without a person.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Self

from gateway.core.sighting import Payload, Sighting
from gateway.sentence import sentence

CAPACITY = 256
"""So many sightings wait for the path: minutes of scanning by hand, and some hundred kilobytes at worst."""

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 4.0
"""Seconds between attempts to open a device: a device that is plugged in again is read within five."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Whether a reader's device can be read."""

    reader: str
    up: bool
    reason: str | None = None
    """Why it is down. It may name the device, never what was read."""
    lent: bool = False
    """It is down because a command has the device, and nothing is wrong."""


class DeviceLostError(Exception):
    """The device cannot be opened, or is gone; the text is the reason of the status."""


def pauses(longest: float = LONGEST_PAUSE) -> Iterator[float]:
    """Yield the seconds to wait before each further attempt: doubling up to the longest."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, longest)


class Source(ABC):
    """A reader's device. A kind of device adds one method, `_read`.

    `status` is called when the status changes, `dropped` with the reason for each reading that becomes no sighting.
    Both run on the event loop and must not block.
    """

    longest_pause = LONGEST_PAUSE
    """Shorter for a device that may take two attempts to come back within five seconds."""

    def __init__(
        self,
        name: str,
        *,
        status: Callable[[SourceStatus], None],
        dropped: Callable[[str], None],
        capacity: int = CAPACITY,
    ) -> None:
        self._name = name
        self._status = status
        self._dropped = dropped
        self._reported: SourceStatus | None = None
        self._waiting: asyncio.Queue[Sighting] = asyncio.Queue(capacity)
        self._tasks = asyncio.TaskGroup()
        self._closing = False
        self._beat_at: float | None = None

    async def __aenter__(self) -> Self:
        """Start to read; the device may be missing."""
        await self._tasks.__aenter__()
        self._reading = self._tasks.create_task(self._keep_reading(), name=f"source {self._name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the device. What still waits in the queue is forgotten."""
        self._closing = True
        self._reading.cancel()
        # Without the body's exception, which the group would wrap; it goes on by itself.
        await self._tasks.__aexit__(None, None, None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sighting:
        """Return the next sighting; waits for ever when nothing is read."""
        return await self._waiting.get()

    @property
    def name(self) -> str:
        """The reader's name in the configuration."""
        return self._name

    @property
    def beat_at(self) -> float | None:
        """When the thread that reads the device last showed that it lives, by `monotonic`; None while there is none."""
        return self._beat_at

    @property
    def heard_at(self) -> float | None:
        """When a reader that hears whoever is near last heard anybody, by `monotonic`; None: never, or it does not."""
        return None

    def _beat(self) -> None:
        """Show that the thread of the device lives; for that thread."""
        self._beat_at = monotonic()

    @asynccontextmanager
    async def lent(self, to: str) -> AsyncIterator[None]:
        """Leave the device to a command while the context is open: closed before it, opened again after it."""
        before = self._reading
        before.cancel()
        try:
            await asyncio.wait({before})
            self._report(SourceStatus(self._name, up=False, reason=sentence("lent to {to}").format(to=to), lent=True))
            yield
        finally:
            if not self._closing:
                self._reading = self._tasks.create_task(self._read_again(before), name=f"source {self._name}")

    async def identify(self, seconds: int) -> bool:
        """Let the reader show where it is, by light or sound, for so many seconds; False: this kind cannot."""
        del seconds
        return False

    def accepted(self) -> None:  # noqa: B027 -- most readers can show nothing
        """Let the reader show, by light or sound, that what it read last is durable; must not block."""

    def forget_strangers(self) -> None:  # noqa: B027 -- most readers know nobody
        """Forget who was heard: fewer are wanted than a moment ago."""

    @abstractmethod
    async def _read(self) -> None:
        """Open the device, say `_up()`, and hand over payloads until it is gone. Raises DeviceLostError.

        Cancelled to close: it must leave nothing open.
        """

    async def _read_again(self, before: asyncio.Task[None]) -> None:
        await asyncio.wait({before})  # it may still be closing the device
        await self._keep_reading()

    async def _keep_reading(self) -> None:
        clock = asyncio.get_running_loop().time
        waits = pauses(self.longest_pause)
        while True:
            began = clock()
            try:
                await self._read()
            except DeviceLostError as lost:
                self._report(SourceStatus(self._name, up=False, reason=str(lost)))
            if clock() - began > LONGEST_PAUSE:  # a device that comes and goes is not a fresh one each time
                waits = pauses(self.longest_pause)
            await asyncio.sleep(next(waits))

    def _up(self) -> None:
        self._report(SourceStatus(self._name, up=True))

    def _report(self, status: SourceStatus) -> None:
        if status != self._reported:
            self._reported = status
            self._status(status)

    def _offer(self, payload: Payload) -> None:
        """Hand over without waiting, for a device that does not wait either: what finds no room is dropped."""
        try:
            self._waiting.put_nowait(Sighting(self._name, payload))
        except asyncio.QueueFull:
            self._dropped("overload")

    async def _put(self, payload: Payload) -> None:
        """Hand over when there is room, for a device that can wait."""
        await self._waiting.put(Sighting(self._name, payload))
