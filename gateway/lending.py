"""Readers' devices, lent to commands: whoever writes tags opens the reader itself, while the gateway leaves it alone.

    async with lend(settings, "counter-nfc", "tags write") as lent:
        ...                                  # open lent.device, and close it again

The running capture half closes its reader before it grants this, shows "lent to tags write by anna" instead of a fault,
and opens it again when the connection to the command ends: by the end of the context, by Ctrl-C, by kill -9. A command
that hangs loses it after the time that it asked for. Without a running gateway the device is the command's at once; a
gateway that is started meanwhile finds it in use, and reads it when it is free.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from gateway.capture import Capture
from gateway.config import ReaderSettings, Settings
from gateway.control import Answer, Handler, NobodyListensError, RequestError, Tell, hold
from gateway.language import _
from gateway.store.database import HeldError, only_one

USUAL_SECONDS: Final = 600.0
LONGEST_SECONDS: Final = 8 * 3600.0
"""A day's work at the bench; whoever hangs for longer than they have asked for loses the reader."""
KINDS: Final = ("nfc", "scanner")
"""Readers that have a device of their own to lend."""
LONGEST_WORD: Final = 40


@dataclass(frozen=True, slots=True)
class Lent:
    """A reader whose device is free to be opened."""

    name: str
    kind: str
    device: str
    """As in the configuration: `tty:/dev/serial/by-id/...:pn532`, `usb:054c:06c3`, a path."""


@asynccontextmanager
async def lend(
    settings: Settings, reader: str | None, command: str, seconds: float = USUAL_SECONDS
) -> AsyncIterator[Lent]:
    """Have the device of a reader while the context is open; None for the only one there is.

    Raises RequestError: there is no such reader, another command has it, or (within the context, whose body is then
    cancelled) it has been taken back. Raises StoreError when the state directory cannot be used.
    """
    request = {"ask": "reader-lend", "reader": reader, "command": command, "seconds": seconds}
    async with AsyncExitStack() as stack:
        try:
            granted = await stack.enter_async_context(hold(settings.gateway.sockets, request))
        except NobodyListensError:
            chosen = lendable(settings, reader)
            try:
                stack.enter_context(only_one(settings.gateway.state, f"reader-{chosen.name}"))
            except HeldError:
                raise RequestError(
                    _("reader {name} is lent to another command at present; try again when that is done").format(
                        name=chosen.name
                    )
                ) from None
            yield Lent(chosen.name, chosen.kind, chosen.device)
        else:
            yield Lent(granted["reader"], granted["kind"], granted["device"])


def lendable(settings: Settings, name: object) -> ReaderSettings:
    """Return the reader of this name that can be lent, or with None the only one. Raises RequestError."""
    readers = {each.name: each for each in settings.readers if each.kind in KINDS}
    names = ", ".join(readers) or _("none is configured")
    if name is None and len(readers) != 1:
        raise RequestError(_("say which reader: {names}").format(names=names))
    chosen = next(iter(readers.values())) if name is None else readers.get(str(name))
    if chosen is None:
        raise RequestError(_("no reader {name} that can be lent: {names}").format(name=name, names=names))
    return chosen


@dataclass(slots=True)
class Lending:
    """Lends the devices of the running capture half."""

    capture: Capture
    settings: Settings

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        return {"reader-lend": self.lend}

    async def lend(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Leave a reader's device to whoever asks, until they hang up. Raises RequestError when their time is over."""
        chosen, seconds = lendable(self.settings, request.get("reader")), _seconds(request.get("seconds"))
        async with self.capture.lend(chosen.name, f"{_word(request.get('command'))} by {request['who']}"):
            await tell({"reader": chosen.name, "kind": chosen.kind, "device": chosen.device})
            await asyncio.sleep(seconds)
        raise RequestError(
            _("reader {name} was lent for {seconds:g} seconds, as asked for; the gateway has taken it back").format(
                name=chosen.name, seconds=seconds
            )
        )


def _seconds(asked: object) -> float:
    if isinstance(asked, int | float) and 0 < asked <= LONGEST_SECONDS:
        return float(asked)
    raise RequestError(_("a reader is lent for up to {seconds:g} seconds").format(seconds=LONGEST_SECONDS))


def _word(command: object) -> str:
    """Return what a command calls itself, fit for a line of the log."""
    said = "".join(char for char in str(command or "") if char.isprintable())
    return said[:LONGEST_WORD] or "a command"
