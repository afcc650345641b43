"""What waits for the path, of many beacons at once: bounded, and fair to each of them when there is too much.

While there is room every sample is kept. When there is none, of each beacon only its latest sample is: an identifier
that is heard too often gives way, one that is heard seldom is not lost.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

BATCH = 32
"""So many are handed out before others get their turn: a tap waits for some hundred microseconds at most."""
LINGER_SECONDS = 0.05
"""What comes within so short a time is handed out together: a wake-up costs more than a sample, and a stay is judged by
seconds."""


class CoalescingQueue(Generic[K, V]):
    """Holds at most `capacity` values by key; `dropped` is told `coalesced` or `overload` for each that is not kept."""

    def __init__(self, capacity: int, dropped: Callable[[str], None]) -> None:
        self._capacity = capacity
        self._dropped = dropped
        self._waiting: deque[tuple[K, V]] = deque()
        self._filled = asyncio.Event()
        self._handed_out = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, key: K, value: V) -> None:
        """Add a value, at the cost of an older one of the same key if need be."""
        self._waiting.append((key, value))
        if len(self._waiting) > self._capacity:
            self._make_room()
        self._filled.set()

    async def get(self) -> V:
        """Return what has waited longest; wait if there is nothing."""
        self._handed_out += 1
        if self._handed_out % BATCH == 0:
            await asyncio.sleep(0)
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
            await asyncio.sleep(LINGER_SECONDS)
        return self._waiting.popleft()[1]

    def _make_room(self) -> None:
        before = len(self._waiting)
        self._waiting = deque(dict(self._waiting).items())
        for _ in range(before - len(self._waiting)):
            self._dropped("coalesced")
        if len(self._waiting) > self._capacity:
            self._waiting.pop()
            self._dropped("overload")
