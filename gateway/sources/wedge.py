"""A QR and barcode scanner that is a USB keyboard ("keyboard wedge").

Opened by its device path (`/dev/input/by-id/...-event-kbd`), or a pattern of the shell that only it fits, and grabbed:
what it types goes nowhere else. Unplugged or missing, it is looked for until it is back. What it types becomes scans in
`wedge_keys`; a thread of its own reads it, since the kernel's buffer holds no more than some 30 ms of a fast scanner.
"""

import asyncio
import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from gateway.core.sighting import Scan
from gateway.log import log
from gateway.sources.framing import GAP, Discarded
from gateway.sources.source import CAPACITY, DeviceLostError, Source, SourceStatus
from gateway.sources.wedge_device import Keyboard, find, reason
from gateway.sources.wedge_keys import Keys
from gateway.sources.wedge_layout import LayoutName

GAP_MS: Final = int(1000 * GAP)
BEAT_MS: Final = 10_000
"""How often the thread shows that it lives while nobody scans."""
NOT_CLEAR: Final = "it is another by each layout; let the scanner send AIM identifiers, or set the reader's layout"


class WedgeSource(Source):
    """A scanner that types at `device`, by `layout` or by the one that its codes show.

    Dropped, with these reasons: `torn`, `missed`, `oversized`, `undecodable`, `ambiguous` (see `Keys`), and `overload`
    when the path does not keep up. It is up after an ending or a silence of GAP: what it typed when it was opened
    may be the rest of a code.
    """

    def __init__(
        self,
        name: str,
        device: str,
        *,
        layout: LayoutName | None = None,
        status: Callable[[SourceStatus], None],
        dropped: Callable[[str], None],
        capacity: int = CAPACITY,
    ) -> None:
        super().__init__(name, status=status, dropped=dropped, capacity=capacity)
        self._device = device
        self._layout = layout

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        with _bell() as bell, ThreadPoolExecutor(1, thread_name_prefix=f"wedge {self._name}") as thread:
            self._beat()
            following = loop.run_in_executor(thread, self._follow, loop, bell)
            try:
                await asyncio.shield(following)
            finally:
                os.eventfd_write(bell, 1)
                await asyncio.gather(following, return_exceptions=True)
                self._beat_at = None

    def _follow(self, loop: asyncio.AbstractEventLoop, bell: int) -> None:
        """Read the keyboard until the bell rings; on the thread. Raises DeviceLostError."""
        keys = Keys(self._layout)
        try:
            with Keyboard(find(self._device)) as keyboard:
                waiting = select.poll()
                waiting.register(keyboard, select.POLLIN)
                waiting.register(bell, select.POLLIN)
                self._follow_open(loop, keyboard, keys, _Waiting(waiting, bell, self._beat))
        except OSError as error:
            loop.call_soon_threadsafe(self._take, keys.reset())
            raise DeviceLostError(reason(self._device, error)) from error

    def _follow_open(
        self, loop: asyncio.AbstractEventLoop, keyboard: Keyboard, keys: Keys, waiting: "_Waiting"
    ) -> None:
        keys.join(time.monotonic())
        joined = False
        while True:
            typed = waiting.for_keys(GAP_MS if keys.pending else None)
            if waiting.rung:
                return
            if found := keys.feed(keyboard.read()) if typed else keys.silence():
                loop.call_soon_threadsafe(self._take, found)
            if not (joined or keys.joining):
                joined = True
                loop.call_soon_threadsafe(self._up)

    def _take(self, found: Sequence[Scan | Discarded]) -> None:
        for each in found:
            if isinstance(each, Scan):
                self._offer(each)
            else:
                self._dropped(each)
                if each is Discarded.AMBIGUOUS:
                    log.info("reader %s: a code was dropped: %s", self._name, NOT_CLEAR)


class _Waiting:
    """Waits for keys or the bell."""

    def __init__(self, poll: "select.poll", bell: int, beat: Callable[[], None]) -> None:
        self._poll = poll
        self._bell = bell
        self._beat = beat
        self.rung = False

    def for_keys(self, milliseconds: int | None) -> bool:
        """Tell whether the keyboard has something to say; False after so long, or when the bell rings."""
        ready = self._ready(milliseconds)
        while not ready and milliseconds is None:
            ready = self._ready(None)
        self.rung = self._bell in ready
        return bool(ready) and not self.rung

    def _ready(self, milliseconds: int | None) -> list[int]:
        self._beat()
        return [descriptor for descriptor, _ in self._poll.poll(BEAT_MS if milliseconds is None else milliseconds)]


@contextmanager
def _bell() -> Iterator[int]:
    """Lend a descriptor that a thread can wait for."""
    bell = os.eventfd(0)
    try:
        yield bell
    finally:
        os.close(bell)
