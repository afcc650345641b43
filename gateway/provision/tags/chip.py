"""A tag on the reader, whatever its chip: what `tags` commands do with it."""

from enum import StrEnum
from typing import Protocol


class Protection(StrEnum):
    """Who can write a tag."""

    OPEN = "open"
    """Anybody."""
    KEYED = "keyed"
    """Whoever has its password or keys."""
    LOCKED = "locked"
    """Nobody, for good."""


class Chip(Protocol):
    """A tag that can be written. Everything raises TagError; OSError when the reader is gone."""

    name: str
    uid: bytes
    lockable: bool
    """Whether it can be made read-only for good."""
    keyed: bool
    """Whether it can be protected without being locked."""

    @property
    def room(self) -> int:
        """Bytes of the longest message that it holds."""

    @property
    def protection(self) -> Protection:
        """Who can write it, as it was found."""

    def made(self, link: str) -> bytes:
        """Return the message with which it carries a link."""

    def message(self) -> bytes:
        """Return its NDEF message; empty if it has none."""

    def holds(self, message: bytes) -> bool:
        """Read it anew, and tell whether it holds this message."""

    def admit(self) -> None:
        """Show it that we may write; raises TagError if we may not."""

    def write(self, message: bytes) -> None:
        """Write a message. Cut anywhere, the tag holds the one before, none, or this one."""

    def protect(self) -> None:
        """Have it written by nobody else from now on."""

    def lock(self) -> None:
        """Have it written by nobody at all from now on."""

    def erase(self) -> None:
        """Make it a tag without message and protection, as delivered."""
