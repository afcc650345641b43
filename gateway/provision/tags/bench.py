"""The reader at which tags are written: one tag after the other, each taken away before the next is looked for.

    async with lend(...) as lent:
        await at_bench(lent.device, lambda bench: bench.meet(work), told)

Everything here but `at_bench` runs in one thread. A reader that is pulled out is opened again when it is back. Whoever
stops has the tag that is on the reader finished first.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from gateway.language import _
from gateway.provision.tags.fault import Fault, TagError
from gateway.sources.nfc_frontend import Frontend, reason
from gateway.sources.nfc_message import refusal

T = TypeVar("T")
POLL_SECONDS: Final = 0.1
REOPEN_SECONDS: Final = 0.5
LOOKS_AWAY: Final = 3
"""A tag is away when it was not seen so many times in a row."""


class BenchError(Exception):
    """The reader cannot be used at all; the text says why, and what to do next."""


class StoppedError(Exception):
    """Somebody has stopped the command while it waited."""


class Bench:
    """An open reader. Raises BenchError when it cannot be opened."""

    def __init__(self, device: str, told: Callable[[str], None] = lambda _: None) -> None:
        self._device, self._told = device, told
        self._stop = threading.Event()
        self._seen = b""
        self._refused: TagError | None = None
        try:
            self._frontend: Frontend | None = Frontend(device)
        except Exception as error:  # noqa: BLE001 -- nfcpy: OSError, termios.error, Chipset.Error, IndexError, ...
            raise BenchError(_("The reader {reason}.").format(reason=reason(device, error))) from None

    def stop(self) -> None:
        """Have whoever waits here end with StoppedError; from any thread."""
        self._stop.set()

    def close(self) -> None:
        """Let go of the reader."""
        if self._frontend is not None:
            self._frontend.close()
            self._frontend = None

    def meet(self, work: Callable[[Any], T]) -> T:
        """Wait for a tag and do something with it. Raises TagError, StoppedError."""
        try:
            tag = self._looking(self._admit, self._pause)
            if self._refused is not None:
                raise self._refused
            return work(tag)
        except OSError:
            self._lose()
            text = _(
                "The reader was lost while the tag lay on it. Plug it in, put the SAME tag back, and hold it still."
            )
            raise TagError(Fault.READER, text) from None

    def wait_until_gone(self) -> None:
        """Wait until the tag of the last meeting is away, or another one lies there. Raises StoppedError."""
        uid, away = self._seen, 0

        def look(target: Any) -> bool:  # noqa: ANN401 -- nfcpy has no types
            nonlocal away
            away = 0 if _uid(target) == uid else LOOKS_AWAY
            return False

        def pause() -> bool:
            nonlocal away
            away += 1
            return self._wait(POLL_SECONDS) or away > LOOKS_AWAY

        self._looking(look, pause)

    def _admit(self, target: Any) -> bool:  # noqa: ANN401 -- nfcpy has no types
        """Take note of what lies there; go on with it if it is a tag."""
        self._seen = _uid(target)
        refused = refusal(target.sel_res[0]) if target.sel_res else None
        if refused is not None:
            text = _(
                "This is no NFC Forum tag (a MIFARE Classic card, or a phone). Take it away, and take another tag."
            )
            self._refused = TagError(Fault.NO_TAG, text)
        return refused is None

    def _pause(self) -> bool:
        return self._refused is not None or self._wait(POLL_SECONDS)

    def _looking(self, discover: Callable[[Any], bool], pause: Callable[[], bool]) -> Any:  # noqa: ANN401 -- nfcpy has no types
        """Look into the field until one of them says to end, across losses of the reader."""
        self._refused = None
        while True:
            frontend = self._frontend or self._reopened()
            try:
                found = frontend.find(discover, pause)
            except StoppedError:
                raise
            except Exception:  # noqa: BLE001 -- nfcpy: OSError, termios.error, Chipset.Error, IndexError, ...
                self._lose()
                continue
            return found

    def _lose(self) -> None:
        self.close()
        self._told(_("The reader does not answer: plug it in again."))

    def _reopened(self) -> Frontend:
        while True:
            self._wait(REOPEN_SECONDS)
            with suppress(Exception):  # it is not back yet
                self._frontend = Frontend(self._device)
                return self._frontend

    def _wait(self, seconds: float) -> bool:
        """Wait for so long, and return False. Raises StoppedError."""
        if self._stop.wait(seconds):
            raise StoppedError
        return False


async def at_bench(device: str, work: Callable[[Bench], T], told: Callable[[str], None] = lambda _: None) -> T:
    """Do something at a reader, in a thread; who cancels this waits until the tag on it is finished.

    Raises BenchError, and whatever `work` does.
    """
    bench = await asyncio.to_thread(Bench, device, told)
    working = asyncio.ensure_future(asyncio.to_thread(work, bench))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        bench.stop()
        with suppress(StoppedError):
            await working
        raise
    finally:
        bench.close()


def _uid(target: Any) -> bytes:  # noqa: ANN401 -- nfcpy has no types
    return bytes(target.sdd_res or target.rid_res or b"")
