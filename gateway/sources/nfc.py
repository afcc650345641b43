"""An NFC reader, by nfcpy: a tag that is laid on it is one sighting, however it flickers.

One thread looks into the field every POLL_SECONDS and stays with a tag until it is gone. The rules:

1. A presentation is a tag's time on the reader, until it was away for AWAY_SECONDS. It is read once and makes one
   sighting. Another tag is another presentation, also without a gap between them.
2. A tag that is lifted before it was read is tried again when it is back; one that stays and cannot be read, TRIES
   times. A presentation that ends unread is dropped as `unreadable`, once, and the log says why, without saying which.
3. What is no NFC Forum tag (MIFARE Classic, a phone as a peer) is dropped as `unreadable` at once.
4. Whatever nfcpy raises means that the reader cannot be used; it is closed and opened again (see `Source`).

UIDs are kept for as long as rule 1 needs them.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final

from gateway.core.sighting import Tag
from gateway.log import log
from gateway.sources.nfc_frontend import Frontend, reason
from gateway.sources.nfc_message import is_there, lasting, message, refusal
from gateway.sources.source import CAPACITY, DeviceLostError, Source, SourceStatus

POLL_SECONDS: Final = 0.15
AWAY_SECONDS: Final = 2.0
TRIES: Final = 5
FIRST_LOOKS: Final = 3
"""At which a tag that lies there when the reader is given back may be missed once or twice."""
ACCEPTED_SECONDS: Final = 0.5
"""How long light and buzzer say that a tap was accepted."""
TAKEN_AWAY: Final = "it was taken away before it was read; hold it until the reader answers"
NOT_READABLE: Final = "it is damaged, half written or protected from reading; write it again or replace it"


class NfcSource(Source):
    """The tags on a reader at `device`: `usb`, `tty:USB0:pn532`, `tty:/dev/serial/by-id/...:pn532`.

    `moved` is called with True when a tag is on the reader and with False when it is gone, flickers included. Dropped,
    with these reasons: `unreadable`, and `overload` when the path does not keep up. What lies on the reader when a
    command gives it back was laid there by staff: it is passed over until it is gone.
    """

    longest_pause = 2.0  # an attempt takes up to a second, and one that begins as the reader wakes fails

    def __init__(
        self,
        name: str,
        device: str,
        *,
        moved: Callable[[bool], None] = lambda _: None,
        status: Callable[[SourceStatus], None],
        dropped: Callable[[str], None],
        capacity: int = CAPACITY,
    ) -> None:
        super().__init__(name, status=status, dropped=dropped, capacity=capacity)
        self._device = device
        self._moved = moved
        self._worker: _Worker | None = None

    async def identify(self, seconds: int) -> bool:
        """Shine for so many seconds; False if the reader has no light, or is not there."""
        return self._worker is not None and self._worker.shine(seconds)

    def accepted(self) -> None:
        """Shine for a moment."""
        if self._worker is not None:
            self._worker.shine(ACCEPTED_SECONDS)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        self._beat()
        lent = self._reported is not None and self._reported.lent
        looks = FIRST_LOOKS if lent else 0
        worker = _Worker(
            self._device, lambda heard: loop.call_soon_threadsafe(self._take, heard), self._beat, passed_over=looks
        )
        thread = threading.Thread(target=worker.run, args=(partial(_end, loop, ended),), name=f"nfc {self._name}")
        self._worker = worker
        thread.start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            worker.stop()
            with suppress(DeviceLostError):
                await ended
            raise
        finally:
            self._worker = self._beat_at = None
            thread.join()  # it has ended but for its last line

    def _take(self, heard: "_Heard") -> None:
        """Take what the thread has to say; on the event loop."""
        match heard:
            case Tag():
                self._offer(heard)
            case Unread(why):
                self._dropped("unreadable")
                log.info("reader %s: a tag was not read: %s", self._name, why)
            case Placed(there):
                self._moved(there)
            case Ready():
                self._up()


def _end(loop: asyncio.AbstractEventLoop, ended: "asyncio.Future[None]", lost: DeviceLostError | None) -> None:
    """Say from the thread that it has ended."""

    def say() -> None:
        if ended.done():  # cancelled a second time: nobody waits any more
            return
        if lost is None:
            ended.set_result(None)
        else:
            ended.set_exception(lost)

    loop.call_soon_threadsafe(say)


@dataclass(frozen=True, slots=True)
class Ready:
    """The reader is open."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A tag came to lie on the reader, or is gone."""

    there: bool


@dataclass(frozen=True, slots=True)
class Unread:
    """A presentation ended without a reading."""

    why: str


_Heard = Ready | Placed | Unread | Tag


@dataclass(slots=True)
class _Presentation:
    """A tag's time on the reader."""

    left: float
    """When it was there last, by `monotonic`."""
    done: bool = False
    """It was read, or given up."""
    tries: int = 0


class _Worker:
    """What the thread does. `stop` and `shine` are for other threads."""

    def __init__(
        self,
        device: str,
        tell: Callable[[_Heard], object],
        beat: Callable[[], None] = lambda: None,
        *,
        passed_over: int = 0,
    ) -> None:
        self._device = device
        self._tell = tell
        self._beat = beat
        self._passed_over = passed_over
        """What is met at so many looks from now on is not read."""
        self._woken = threading.Event()
        self._stopping = False
        self._shine_until = 0.0
        self._shining = False
        self._can_shine = False
        self._frontend: Frontend | None = None
        self._recent: dict[bytes, _Presentation] = {}
        self._current: _Presentation | None = None

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    def shine(self, seconds: float) -> bool:
        """Shine for so long from now on; False if the reader cannot."""
        if self._can_shine:
            self._shine_until = monotonic() + seconds
            self._woken.set()
        return self._can_shine

    def run(self, end: Callable[[DeviceLostError | None], None]) -> None:
        """Read until stopped, or until the reader is lost; then say so."""
        lost = None
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 -- nfcpy: OSError, termios.error, Chipset.Error, IndexError, TypeError, ...
            lost = DeviceLostError(reason(self._device, error))
        end(lost)

    def _run(self) -> None:
        self._frontend = frontend = Frontend(self._device)
        try:
            self._can_shine = frontend.shines
            self._tell(Ready())
            while not self._stopping:
                tag = frontend.find(self._meet, self._pause)
                if tag is not None:
                    self._attend(tag)
        finally:
            self._can_shine = False
            frontend.close()

    def _pause(self) -> bool:
        """Wait until it is time to look again; True to end."""
        self._beat()
        self._passed_over = max(0, self._passed_over - 1)
        self._woken.wait(POLL_SECONDS)
        self._woken.clear()
        if self._stopping:
            return True
        self._switch_light()
        self._expire(monotonic())
        return False

    def _switch_light(self) -> None:
        wanted = monotonic() < self._shine_until
        if wanted != self._shining and self._frontend is not None:
            self._frontend.shine(on=wanted)
            self._shining = wanted

    def _expire(self, now: float) -> None:
        """End the presentations of tags that stayed away."""
        for uid, presentation in list(self._recent.items()):
            if now - presentation.left > AWAY_SECONDS:
                del self._recent[uid]
                if not presentation.done:
                    self._tell(Unread(TAKEN_AWAY))

    def _meet(self, target: Any) -> bool:  # noqa: ANN401 -- nfcpy has no types
        """Take note of what is in the field; tell whether to read it."""
        uid = bytes(target.sdd_res or target.rid_res or b"")
        presentation = self._recent.setdefault(lasting(uid), _Presentation(0.0))
        presentation.left = monotonic()
        presentation.done = presentation.done or self._passed_over > 0
        self._current = presentation
        refused = refusal(target.sel_res[0]) if target.sel_res else None
        if refused is not None:
            self._give_up(presentation, refused)
        return refused is None

    def _attend(self, tag: Any) -> None:  # noqa: ANN401 -- nfcpy has no types
        """Read the tag unless that is done, and stay with it until it is gone; without success, return at once."""
        presentation = self._current
        if presentation is None or not (presentation.done or self._read(tag, presentation)):
            return
        self._tell(Placed(there=True))
        try:
            while is_there(tag):
                presentation.left = monotonic()
                if self._pause():
                    break
        finally:
            self._tell(Placed(there=False))

    def _read(self, tag: Any, presentation: _Presentation) -> bool:  # noqa: ANN401 -- nfcpy has no types
        """Read the tag; True if there is nothing more to try."""
        read = message(tag)
        if read is not None:
            presentation.done = True
            self._tell(Tag(lasting(bytes(tag.identifier)), read))
        elif is_there(tag):
            presentation.tries += 1
            if presentation.tries >= TRIES:
                self._give_up(presentation, NOT_READABLE)
        return presentation.done

    def _give_up(self, presentation: _Presentation, why: str) -> None:
        if not presentation.done:
            presentation.done = True
            self._tell(Unread(why))
