"""The keys of SUN tags while the capture half runs: new stock is verified as soon as its keys are in the file.

A file that cannot be read, or is another site's, counts as none: nothing is said of any tag until it is right again.
"""

from dataclasses import dataclass

from gateway.config import ConfigError, Settings
from gateway.core.authenticity import Authenticator
from gateway.core.decode.sun import TagKeys
from gateway.daemon.ring import Identity, identity
from gateway.keys import tag_keys
from gateway.log import log


@dataclass(slots=True)
class TagFile:
    """`look` every second and whenever somebody asks for it."""

    settings: Settings
    authenticator: Authenticator
    _seen: Identity | None = (0, 0, 0, 0)  # of no file: the first look reads it, whatever there is

    def look(self) -> None:
        """Read the keys if their file has changed."""
        seen = identity(self.settings.sun.path)
        if seen == self._seen:
            return
        self._seen = seen
        keys = self._read()
        if keys != self.authenticator.keys:
            self.authenticator.keys = keys
            log.info("keys of tags: %d", len(keys.tags))

    def _read(self) -> TagKeys:
        try:
            return tag_keys(self.settings)
        except ConfigError as error:
            log.error("%s", error)
            return TagKeys()
