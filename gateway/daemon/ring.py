"""The key ring while the capture half runs: when its file has changed or vanished, the path goes on with what is there.

A ring that cannot be read, or is another site's, counts as none: no subject is named until it is right again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config import ConfigError, Settings
from gateway.core.pseudonym import KeyRing
from gateway.keys import key_ring
from gateway.log import Message, log, told
from gateway.store.audit import GATEWAY

Identity = tuple[int, int, int, int]
"""Device, inode, time of the last change (ns), octets."""


@dataclass(slots=True)
class RingFile:
    """`look` every second and whenever somebody asks for it.

    When it is another ring, `use` is given it, and then `note` who asked and the ids of its epochs, for the audit log.
    """

    settings: Settings
    use: Callable[[KeyRing | None], None]
    note: Callable[[str, list[str]], Awaitable[None]]
    _ring: KeyRing | None = field(repr=False)
    _seen: Identity | None = (0, 0, 0, 0)  # of no file: the first look reads it, whatever there is

    async def look(self, who: str = GATEWAY) -> list[str]:
        """Read the ring if its file has changed; return the ids of its epochs. Raises what `note` does."""
        seen = identity(self.settings.pseudonym.path)
        if seen != self._seen:
            self._seen = seen
            await self._take(self._read(), who)
        return _ids(self._ring)

    def _read(self) -> KeyRing | None:
        try:
            return key_ring(self.settings)
        except ConfigError as error:
            log.error("%s", error)
        except OSError as error:
            log.error("the key ring cannot be read: %s", error.strerror)
        return None

    async def _take(self, ring: KeyRing | None, who: str) -> None:
        if ring == self._ring:
            return
        self._ring = ring
        self.use(ring)
        if ring is None:
            extra = told(Message.KEYS_MISSING, "keys")
            log.warning("there is no key ring any more: no subject is named in any event", extra=extra)
        else:
            log.info("key ring: %s", ", ".join(_ids(ring)) or "no epoch")
        await self.note(who, _ids(ring))


def _ids(ring: KeyRing | None) -> list[str]:
    return [] if ring is None else [epoch.id for epoch in ring.epochs]


def identity(path: Path | None) -> Identity | None:
    """Return what tells a file from what it was before; None if there is none."""
    try:
        status = None if path is None else path.stat()
    except OSError:
        return None
    return status and (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
