"""NFC Forum Type 4 tags with an NDEF application that is there already: DESFire and others, as they are bought.

Sources: NFC Forum Type 4 Tag 1.2 (mapping versions 2.0 and 3.0): capability container (5.1), detecting, reading and
writing (5.4), the way to read-only (5.5); ISO/IEC 7816-4: SELECT, READ BINARY, UPDATE BINARY.

The length of the message is written 0 first and its own value last: cut anywhere, the tag is empty and writable, or
finished. There is no password that these tags share: whoever should not write one has it locked.
"""

from dataclasses import dataclass
from typing import Any, Final

from gateway.provision.tags.apdu import exchange
from gateway.provision.tags.chip import Protection
from gateway.provision.tags.fault import (
    always_writable,
    differs,
    no_message_file,
    password_unknown,
    read_only,
    refused,
)
from gateway.provision.tags.message import uri

NDEF_APPLICATION: Final = bytes.fromhex("d2760000850101")
CAPABILITIES: Final = bytes.fromhex("e103")
HEAD_OCTETS: Final = 7
"""CCLEN, mapping version, MLe, MLc; file control TLVs follow."""
FILE_CONTROL, EXTENDED_FILE_CONTROL = 0x04, 0x06
SIZES: Final = {FILE_CONTROL: 2, EXTENDED_FILE_CONTROL: 4}
"""Octets of a file's size, and of the length that stands before its message."""
FREE, NEVER = 0x00, 0xFF
LARGEST: Final = 64
"""Bytes of one READ or UPDATE BINARY at most, which then fits a frame of any tag."""
LAST_OFFSET: Final = 0x7FFF
"""Of a READ or UPDATE BINARY with a short file identifier bit of 0."""
OK: Final = b"\x90\x00"


@dataclass(frozen=True, slots=True)
class Container:
    """What a capability container says of the file of the message."""

    read_octets: int
    """Bytes that one READ BINARY may ask for."""
    write_octets: int
    file: bytes
    size: int
    """Bytes of the file, the length included."""
    length_octets: int
    reading: int
    writing: int
    writing_at: int
    """Where in the container the right to write stands."""


def container(octets: bytes) -> Container | None:
    """Read a capability container; None if it describes no file of a message."""
    if len(octets) < HEAD_OCTETS or octets[2] >> 4 not in {2, 3}:
        return None
    most_read, most_written = int.from_bytes(octets[3:5], "big"), int.from_bytes(octets[5:7], "big")
    kind, length, value = octets[HEAD_OCTETS:][:1], octets[HEAD_OCTETS + 1 :][:1], octets[HEAD_OCTETS + 2 :]
    wide = SIZES.get(kind[0] if kind else 0)
    if wide is None or length != bytes([4 + wide]) or len(value) < 4 + wide or not (most_read and most_written):
        return None
    size = min(int.from_bytes(value[2 : 2 + wide], "big"), LAST_OFFSET)
    at = HEAD_OCTETS + 2 + 2 + wide
    return Container(most_read, most_written, value[:2], size, wide, octets[at], octets[at + 1], at + 1)


class Type4:
    """A tag that nfcpy has activated. Raises TagError when it is not prepared for messages."""

    name = "TYPE4"
    lockable = True
    keyed = False

    def __init__(self, tag: Any) -> None:  # noqa: ANN401 -- nfcpy has no types
        self._tag = tag
        self.uid = bytes(tag.identifier)
        self._container = self._described()

    @property
    def room(self) -> int:
        """Bytes of the longest message: the file without the length."""
        return max(self._container.size - self._container.length_octets, 0)

    @property
    def protection(self) -> Protection:
        """Who can write it, by its capability container."""
        return {FREE: Protection.OPEN, NEVER: Protection.LOCKED}.get(self._container.writing, Protection.KEYED)

    def made(self, link: str) -> bytes:
        """Return the message of a link."""
        return uri(link)

    def message(self) -> bytes:
        """Return its message; empty if its length makes no sense."""
        wide = self._container.length_octets
        self._select(self._container.file)
        length = int.from_bytes(self._read(0, wide), "big")
        if length > self.room:
            return b""
        step = min(self._container.read_octets, LARGEST)
        return b"".join(self._read(wide + at, min(step, length - at)) for at in range(0, length, step))

    def holds(self, message: bytes) -> bool:
        """Select everything anew, and read."""
        self._container = self._described()
        return self.message() == message

    def admit(self) -> None:
        """Refuse one that is locked, or that wants a key of somebody else."""
        if self.protection is Protection.LOCKED:
            raise read_only()
        if self.protection is Protection.KEYED:
            raise password_unknown()

    def write(self, message: bytes) -> None:
        """Write length 0, the message, its length."""
        wide, step = self._container.length_octets, min(self._container.write_octets, LARGEST)
        self._select(self._container.file)
        self._update(0, bytes(wide))
        for at in range(0, len(message), step):
            self._update(wide + at, message[at : at + step])
        self._update(0, len(message).to_bytes(wide, "big"))

    def protect(self) -> None:
        """Do nothing: there is no password to give it."""

    def lock(self) -> None:
        """Mark it read-only in its capability container, and see that it heeds that itself."""
        self._select(CAPABILITIES)
        if self._updated(self._container.writing_at, bytes([NEVER])) != OK:
            raise always_writable()
        self._container = self._described()
        self._select(self._container.file)
        length = self._read(0, self._container.length_octets)
        if self.protection is not Protection.LOCKED or self._updated(0, length) == OK:
            raise always_writable()

    def erase(self) -> None:
        """Empty it."""
        self.write(b"")
        if not self.holds(b""):
            raise differs()

    def _described(self) -> Container:
        """Select the application, and read its capability container."""
        if self._apdu(0xA4, 0x0400, NDEF_APPLICATION, 256)[-2:] != OK:
            raise no_message_file()
        self._select(CAPABILITIES)
        found = container(self._read(0, 15) + self._binary(15, 2)[:-2])
        if found is None:
            raise no_message_file()
        return found

    def _select(self, file: bytes) -> None:
        if self._apdu(0xA4, 0x000C, file, 0)[-2:] != OK:
            raise no_message_file()

    def _read(self, at: int, octets: int) -> bytes:
        answer = self._binary(at, octets)
        if answer[-2:] != OK or len(answer) != octets + 2:
            raise password_unknown()
        return answer[:-2]

    def _binary(self, at: int, octets: int) -> bytes:
        return self._apdu(0xB0, at, b"", octets)

    def _update(self, at: int, octets: bytes) -> None:
        if (status := self._updated(at, octets)) != OK:
            raise refused(at, int.from_bytes(status, "big"))

    def _updated(self, at: int, octets: bytes) -> bytes:
        return self._apdu(0xD6, at, octets, 0)[-2:]

    def _apdu(self, instruction: int, parameters: int, data: bytes, length: int) -> bytes:
        return exchange(self._tag, 0, instruction, parameters, data, length)
