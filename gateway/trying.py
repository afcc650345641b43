"""Staff try a reader out: what it reads next is told as what it means here, and never as what it says.

The reading is taken out of the path, so that trying a reader out makes no event.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.capture import Capture
from gateway.config import ReaderSettings, Settings
from gateway.control import Answer, Handler, RequestError, Tell
from gateway.core.authenticity import Reading
from gateway.core.registry import Bearer, Known, Registry
from gateway.core.sighting import Advertisement, Sighting
from gateway.language import _, said

LONGEST_SECONDS: Final = 600.0


@dataclass(slots=True)
class Trying:
    """Tries out the readers of the running capture half."""

    capture: Capture
    settings: Settings

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        return {"reader-test": self.test}

    async def test(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Tell what the next reading of a reader means. Raises RequestError when there is none in time."""
        name = tried(self.settings, request["reader"]).name
        status = self.capture.readers.get(name)
        if status is None or not status.up:
            raise RequestError(
                _("reader {name} is not working: {reason}").format(
                    name=name, reason=said(status.reason) if status else _("it is not opened yet")
                )
            )
        return await self.read(name, lambda: self.capture.borrow(name), request, tell)

    async def read(
        self, name: str, reading: Callable[[], Awaitable[Sighting]], request: Mapping[str, Any], tell: Tell
    ) -> Answer:
        """Wait for a reading and tell what it means. Raises RequestError."""
        seconds = float(request["seconds"])
        if not 0 < seconds <= LONGEST_SECONDS:
            raise RequestError(_("a reader is tried out for up to {seconds:g} seconds").format(seconds=LONGEST_SECONDS))
        await tell({"try": name})
        try:
            async with asyncio.timeout(seconds):
                sighting = await reading()
        except TimeoutError:
            raise RequestError(
                _(
                    "nothing was read at {name} within {seconds:g} s; why a tag cannot be read stands in the gateway's "
                    "log"
                ).format(name=name, seconds=seconds)
            ) from None
        held = Reading(())
        if not isinstance(sighting.payload, Advertisement):
            held = self.capture.path.authenticator.read(sighting.payload)
        return {"reader": name, **meaning(self.capture.path.registry, held, self.settings.links.domain)}


def tried(settings: Settings, name: object) -> ReaderSettings:
    """Return the reader of this name, if one can hold something to it. Raises RequestError."""
    for each in settings.readers:
        if each.name == name and each.channel != "ble":
            return each
    names = ", ".join(each.name for each in settings.readers if each.channel != "ble") or _("none is configured")
    raise RequestError(_("no reader {name} to which a tag or code can be held: {names}").format(name=name, names=names))


def meaning(registry: Registry, reading: Reading, domain: str | None) -> Answer:
    """Tell what a reading means, by what kind of identifier, and nothing of what the identifier says.

    `domain` is the brand's own, which tells its links from others; `authenticity` the verdict on a SUN message.
    """
    said: Answer = {"means": "unknown", "by": None, "own_link": False, "authenticity": reading.verdict}
    if (found := registry.find(reading.candidates)) is None:
        for first in reading.candidates[:1]:
            own = first.kind == "link" and urlsplit(first.value).hostname == domain
            said |= {"by": first.kind, "own_link": own}
        return said
    identifier, known = found
    said["by"] = identifier.kind
    if isinstance(known, Known):
        place = known.touchpoint
        return {**said, "means": "touchpoint", "touchpoint": place.id, "name": place.name, "answer": known.answer}
    return {**said, "means": "customer" if isinstance(known, Bearer) else "badge"}
