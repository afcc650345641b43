"""NTAG213, 215, 216: written so that a cut at any byte leaves the tag empty and writable, or finished.

Sources: NXP NTAG213/215/216, rev. 3.2: memory (8.5), lock bytes (8.5.2, 8.5.3), password (8.8), ACK and NAK (9.3),
GET_VERSION, READ, WRITE, PWD_AUTH (10.1, 10.2, 10.4, 10.7); NFC Forum Type 2 Tag 1.1: TLV blocks (2.3), capabilities
(6.1).

The length of the message is written 0 first and its own value last. Of the protection AUTH0 comes last: a chip may heed
it at once, and would then ask for a password that is not written yet.
"""

from dataclasses import dataclass
from typing import Any, Final

from gateway.provision.tags.chip import Protection
from gateway.provision.tags.fault import (
    differs,
    moved,
    password_unknown,
    read_only,
    refused,
    unprotected,
    wrong_chip,
)
from gateway.provision.tags.message import uri

READ, WRITE, PWD_AUTH, GET_VERSION = 0x30, 0xA2, 0x1B, 0x60
ACK: Final = b"\x0a"
PAGE: Final = 4
READ_OCTETS: Final = 16
DATA: Final = 16
"""Where the data area begins: page 4."""
NULL, LOCK_CONTROL, MEMORY_CONTROL, NDEF, TERMINATOR = 0x00, 0x01, 0x02, 0x03, 0xFE
LONG_LENGTH: Final = 0xFF
"""A length of three bytes: FF, then two (2.3)."""
NDEF_MAGIC, VERSION_1_0 = 0xE1, 0x10
NO_WRITING: Final = 0x0F
"""Low half of the fourth byte of the capabilities: read only."""
PASSWORD_FROM: Final = 0x02
"""AUTH0: the lock bits and the capabilities are protected too, else anybody could lock the tag for good."""
UNPROTECTED_FROM: Final = 0xFF
PROT, CFGLCK, AUTHLIM = 0x80, 0x40, 0x07
"""Bits of ACCESS: reading is protected; the configuration is locked; how often a wrong password may come."""
MIRROR: Final = 0xF0
FACTORY_PASSWORD: Final = bytes.fromhex("ffffffff0000")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie in a chip."""

    name: str
    size: int
    """Third byte of the capabilities: the data area in units of 8 bytes."""
    config: int
    """The page of CFG0; the dynamic lock bytes lie before it, CFG1, PWD and PACK behind it."""
    locks: bytes
    """Dynamic lock bytes that lock everything, with the bits that are reserved left at 0."""


LAYOUTS: Final = {
    0x0F: Layout("NTAG213", 0x12, 0x29, bytes.fromhex("ff0f3f00")),
    0x11: Layout("NTAG215", 0x3E, 0x83, bytes.fromhex("ff000f00")),
    0x13: Layout("NTAG216", 0x6D, 0xE3, bytes.fromhex("ff3f7f00")),
}
"""By the storage size in GET_VERSION."""


def layout(version: bytes) -> Layout | None:
    """Return the layout of the chip that says this version; None if it is no NTAG213, 215 or 216."""
    if len(version) != 8 or version[:6] != bytes.fromhex("000404020100"):  # noqa: PLR2004 -- 10.1
        return None
    return LAYOUTS.get(version[6])


def begin(area: bytes) -> int:
    """Return where in a data area the NDEF message TLV stands, or may stand: behind what describes the memory."""
    at = 0
    while at + 1 < len(area) and area[at] in {NULL, LOCK_CONTROL, MEMORY_CONTROL}:
        at += 1 if area[at] == NULL else 2 + area[at + 1]
    return at if at + 1 < len(area) and area[at] == NDEF else 0


def message_in(area: bytes) -> bytes | None:
    """Return the NDEF message in a data area; empty if there is none, None if it is cut off."""
    at = begin(area)
    if area[at] != NDEF:
        return b""
    start, length = at + 2, area[at + 1]
    if length == LONG_LENGTH:
        start, length = at + 4, int.from_bytes(area[at + 2 : at + 4], "big")
    return None if start + length > len(area) else area[start : start + length]


def image(area: bytes, message: bytes) -> bytes:
    """Return a data area that holds another message. Raises ValueError when it has no room."""
    at = begin(area)
    long = len(message) >= LONG_LENGTH
    length = bytes([LONG_LENGTH]) + len(message).to_bytes(2, "big") if long else bytes([len(message)])
    written = area[:at] + bytes([NDEF]) + length + message
    if len(written) > len(area):
        raise ValueError("the data area has no room for it")
    written += bytes([TERMINATOR])[: len(area) - len(written)]
    written += bytes(-len(written) % PAGE)
    return written + area[len(written) :]


class Type2:
    """A tag that nfcpy has activated; `password` is PWD and PACK. Raises TagError when it is no NTAG21x of these."""

    lockable = True
    keyed = True

    def __init__(self, tag: Any, password: bytes) -> None:  # noqa: ANN401 -- nfcpy has no types
        self._tag = tag
        self.uid = bytes(tag.identifier)
        self._password = password
        found = layout(self._exchange(bytes([GET_VERSION])))
        if found is None:
            raise wrong_chip()
        self._layout, self.name = found, found.name
        self._head = self._read(0)
        self._config = self._read_config()

    @property
    def room(self) -> int:
        """Bytes of the longest message: the data area without type, length and what stands before them."""
        space = self._size - (begin(self._area()) if self._formatted else 0)
        return space - 2 if space - 2 < LONG_LENGTH else space - 4

    @property
    def protection(self) -> Protection:
        """Who can write it: by lock bits, capabilities and AUTH0."""
        locks = self._head[10] & 0xF0 or self._head[11] or (self._config is not None and any(self._config[:2]))
        if locks or (self._formatted and self._head[15] & NO_WRITING == NO_WRITING):
            return Protection.LOCKED
        return Protection.KEYED if self._guarded else Protection.OPEN

    def made(self, link: str) -> bytes:
        """Return the message of a link."""
        return uri(link)

    def message(self) -> bytes:
        """Return the NDEF message; empty if there is none, or one that makes no sense."""
        return (message_in(self._area()) or b"") if self._formatted else b""

    def holds(self, message: bytes) -> bool:
        """Select it anew, and read."""
        self._select()
        self._head = self._read(0)
        return self.message() == message

    def admit(self) -> None:
        """Give the password, if it asks for one; one try more with that of delivery, where tries are not counted."""
        if self.protection is Protection.LOCKED:
            raise read_only()
        if not self._guarded or self._authenticated(self._password):
            return
        counted = self._config is None or self._config[8] & AUTHLIM
        if counted or not self._authenticated(FACTORY_PASSWORD):
            raise password_unknown()

    def write(self, message: bytes) -> None:
        """Write a message: its length is 0 until everything else is there."""
        if not self._formatted:
            self._write(3, bytes([NDEF_MAGIC, VERSION_1_0, self._layout.size, 0]))
            self._head = self._read(0)
        area = self._area()
        wanted = image(area, message)
        length_at = begin(area) + 1
        first = length_at // PAGE
        empty = wanted[:length_at] + b"\0" + wanted[length_at + 1 :]
        self._write_page(empty, first)
        for page in range(len(wanted) // PAGE):
            if page != first and wanted[page * PAGE :][:PAGE] != area[page * PAGE :][:PAGE]:
                self._write_page(wanted, page)
        self._write_page(wanted, first)

    def protect(self) -> None:
        """Write PWD, PACK, CFG1 and, last, AUTH0; then show that the password holds."""
        self.admit()
        config = self._layout.config
        zero, one = self._settings()
        self._write(config + 2, self._password[:4])
        self._write(config + 3, self._password[4:] + b"\0\0")
        self._write(config + 1, bytes([one[0] & ~(PROT | AUTHLIM)]) + one[1:])
        self._write(config, bytes([zero[0] & ~MIRROR, zero[1], 0, PASSWORD_FROM]))
        self._select()
        self._config = self._read_config()
        if not self._guarded or not self._authenticated(self._password):
            raise unprotected()

    def lock(self) -> None:
        """Lock every page: capabilities, dynamic lock bytes, static ones; a lock that was cut is finished so."""
        if self._sealed:  # the answer to the last write was lost
            return
        if self._guarded and not self._authenticated(self._password):
            raise password_unknown()
        self._write(3, self._head[12:15] + bytes([NO_WRITING]))
        self._write(self._layout.config - 1, self._layout.locks)
        self._write(2, b"\0\0\xff\xff")
        self._select()
        self._head, self._config = self._read(0), self._read_config()
        if not self._sealed:
            raise unprotected()

    def erase(self) -> None:
        """Empty it, take AUTH0 back first, then password and PACK."""
        self.write(b"")
        config = self._layout.config
        zero, one = self._settings()
        self._write(config, zero[:3] + bytes([UNPROTECTED_FROM]))
        self._write(config + 1, bytes([one[0] & ~PROT]) + one[1:])
        self._write(config + 2, FACTORY_PASSWORD[:4])
        self._write(config + 3, FACTORY_PASSWORD[4:] + b"\0\0")
        self._select()
        self._config = self._read_config()
        if self._guarded or not self.holds(b""):
            raise differs()

    @property
    def _formatted(self) -> bool:
        return self._head[12] == NDEF_MAGIC

    @property
    def _size(self) -> int:
        return 8 * (min(self._head[14], self._layout.size) if self._formatted else self._layout.size)

    @property
    def _sealed(self) -> bool:
        """Whether every page is locked."""
        locks = self._layout.locks[:3]
        return self._head[10:12] == b"\xff\xff" and self._config is not None and self._config[:3] == locks

    @property
    def _guarded(self) -> bool:
        """Whether it asks for a password: AUTH0 names a page that is there, or the configuration cannot be read."""
        return self._config is None or self._config[7] <= self._layout.config + 3

    def _settings(self) -> tuple[bytes, bytes]:
        """Return CFG0 and CFG1 as they are; raises TagError when they cannot be changed."""
        read = self._read(self._layout.config - 1)
        if read[8] & CFGLCK:
            raise unprotected()
        return read[4:8], read[8:12]

    def _area(self) -> bytes:
        """Return the data area as far as its message goes, the rest as zeros."""
        read, at = b"", DATA // PAGE
        while len(read) < self._size and not _whole(read):
            read += self._read(at)
            at += READ_OCTETS // PAGE
        return (read + bytes(self._size))[: self._size]

    def _authenticated(self, password: bytes) -> bool:
        """Give a password (10.7); the answer must be its PACK. A refusal leaves the tag idle: it is selected again."""
        answer = self._exchange(bytes([PWD_AUTH]) + password[:4])
        if answer == password[4:]:
            return True
        self._select()
        return False

    def _write_page(self, area: bytes, page: int) -> None:
        self._write(DATA // PAGE + page, area[page * PAGE :][:PAGE])

    def _write(self, page: int, octets: bytes) -> None:
        answer = self._exchange(bytes([WRITE, page]) + octets)
        if answer != ACK:
            raise refused(page, answer[0] if answer else 0)

    def _read_config(self) -> bytes | None:
        """Return the dynamic lock bytes, CFG0, CFG1 and PWD, which reads as zeros; None if reading is refused."""
        answer = self._exchange(bytes([READ, self._layout.config - 1]))
        if len(answer) == READ_OCTETS:
            return answer
        self._select()
        return None

    def _read(self, page: int) -> bytes:
        """Return four pages. Raises TagError when reading them asks for a password."""
        answer = self._exchange(bytes([READ, page]))
        if len(answer) != READ_OCTETS:
            raise password_unknown()
        return answer

    def _select(self) -> None:
        """Select the tag anew, and no other: nfcpy asks for its UID. Raises TagError when it is gone."""
        try:
            self._tag._target = self._tag.clf.sense(self._tag.target)  # noqa: SLF001 -- as nfcpy itself does after a NAK
        except OSError:
            raise
        except Exception:  # noqa: BLE001 -- CommunicationError, ValueError, IndexError, ...
            raise moved() from None
        if self._tag.target is None:
            raise moved()

    def _exchange(self, command: bytes) -> bytes:
        """Return the answer of the tag. Raises TagError when it does not answer, OSError when the reader is gone."""
        try:
            return bytes(self._tag.transceive(command))
        except OSError:
            raise
        except Exception:  # noqa: BLE001 -- TagCommandError, CommunicationError, RuntimeError, IndexError, ...
            raise moved() from None


def _whole(read: bytes) -> bool:
    """Tell whether what was read of a data area holds all of its message, with a page to spare."""
    at = begin(read) if read else 0
    if not read or len(read) < at + 4:
        return False
    return read[at] == NDEF and message_in(read) is not None
