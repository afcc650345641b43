"""NTAG 424 DNA: its link, signed anew at each reading where the store has the keys for it, and keys of its own.

Sources: NXP NT4H2421Gx, rev. 3.0: AuthenticateEV2First and session keys (9.1.5, 9.1.7), secure messaging (9.1.8 to
9.1.10), ChangeKey (10.6.1), ChangeFileSettings (10.7.1), GetVersion (10.5.2); NFC Forum Type 4 Tag 2.0, 5.4.

In this order, so that a cut leaves a tag that can be written again: the message, written in the open and read back;
keys 1 to 4; mirroring and rights of the file; key 0 last. Whatever was done is found out by trying the store's key,
then that of delivery.
"""

import os
import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gateway.core.decode.sun import cmac, truncated_mac
from gateway.provision.tags.apdu import exchange
from gateway.provision.tags.chip import Protection
from gateway.provision.tags.fault import (
    differs,
    never_locked,
    no_message_file,
    password_unknown,
    refused,
    refused_command,
    unprotected,
)
from gateway.provision.tags.message import uri
from gateway.provision.tags.signing import Signing

ZEROS: Final = bytes(16)
FACTORY_KEY: Final = ZEROS
NDEF_APPLICATION: Final = bytes.fromhex("d2760000850101")
NDEF_FILE: Final = b"\xe1\x04"
FILE_NUMBER: Final = 2
FILE_OCTETS: Final = 256
HARDWARE: Final = bytes.fromhex("0404")
"""GetVersion, first part: NXP, NTAG."""
LARGEST_UPDATE: Final = 64
"""Bytes of one ISOUpdateBinary, which then fits a frame of the tag."""
OK, MORE, ISO_OK = b"\x91\x00", b"\x91\xaf", b"\x90\x00"
GET_VERSION, AUTHENTICATE, ADDITIONAL, CHANGE_SETTINGS, CHANGE_KEY = 0x60, 0x71, 0xAF, 0x5F, 0xC4
KEY_VERSION: Final = b"\x01"
OPEN_RIGHTS: Final = bytes.fromhex("00e0ee")
"""FileOption and AccessRights as delivered: anybody reads and writes, key 0 changes the settings (8.2.3)."""
CLOSED_RIGHTS: Final = bytes.fromhex("00e0")
"""Anybody reads, key 0 does everything else."""
MIRRORED: Final = 0x40


@dataclass(slots=True)
class _Session:
    """What reader and tag share after AuthenticateEV2First."""

    encryption_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    transaction: bytes
    counter: int = 0

    def sealed(self, command: int, header: bytes, data: bytes) -> bytes:
        """Return the data of a command in full mode (9.1.10)."""
        label = b"\xa5\x5a" + self.transaction + self._count() + bytes(8)
        plain = data + b"\x80" + bytes(-(len(data) + 1) % 16)
        body = header + _cipher(self.encryption_key, _cipher(self.encryption_key, ZEROS, label), plain)
        return body + self._mac(command, body)

    def answered(self, answer: bytes) -> bool:
        """Take note of the answer of a command; tell whether the tag has made it."""
        self.counter += 1
        return answer == self._mac(0, b"")

    def _mac(self, code: int, body: bytes) -> bytes:
        return truncated_mac(self.mac_key, bytes([code]) + self._count() + self.transaction + body)

    def _count(self) -> bytes:
        return self.counter.to_bytes(2, "little")


def recognised(tag: Any) -> bool:  # noqa: ANN401 -- nfcpy has no types
    """Tell whether a Type 4 tag is an NTAG 424 DNA. Raises TagError, OSError."""
    answer = exchange(tag, 0x90, GET_VERSION, 0, b"", 256)
    return answer[-2:] == MORE and answer[:2] == HARDWARE


class Ntag424:
    """A tag that nfcpy has activated, and that was recognised. Raises TagError when it has no NDEF application."""

    name = "NTAG424"
    lockable = False
    keyed = True

    def __init__(self, tag: Any, keys: tuple[bytes, ...], signing: Signing | None) -> None:  # noqa: ANN401 -- nfcpy
        self._tag, self._keys, self._signing = tag, keys, signing
        self.uid = bytes(tag.identifier)
        self._session: _Session | None = None
        self._select()
        self._key = next((key for key in (keys[0], FACTORY_KEY) if self._authenticate(0, key)), None)

    @property
    def room(self) -> int:
        """Bytes of the longest message: the file without the length."""
        return FILE_OCTETS - 2

    @property
    def protection(self) -> Protection:
        """Who can write it: with the key 0 of delivery anybody."""
        return Protection.OPEN if self._key == FACTORY_KEY else Protection.KEYED

    def made(self, link: str) -> bytes:
        """Return the message of a link, with places for what the tag writes if it is to sign. Raises TagError."""
        return uri(link if self._signing is None else self._signing.link(link, self.uid))

    def message(self) -> bytes:
        """Return its message; in a session nothing is mirrored and no reading counted (9.3.1, 9.3.3)."""
        self._select_file()
        if self._key is not None:
            self._authenticate(0, self._key)
        return self._message()

    def holds(self, message: bytes) -> bool:
        """Read it anew."""
        return self.message() == message

    def admit(self) -> None:
        """Open a session with its key 0."""
        self._select()
        if self._key is None or not self._authenticate(0, self._key):
            raise password_unknown()

    def write(self, message: bytes) -> None:
        """Open the file, and write: length 0, message, length."""
        self.admit()
        self._change_settings(OPEN_RIGHTS)
        self._select_file()
        self._update(0, bytes(2))
        for at in range(0, len(message), LARGEST_UPDATE):
            self._update(2 + at, message[at : at + LARGEST_UPDATE])
        self._update(0, len(message).to_bytes(2, "big"))

    def protect(self) -> None:
        """Give it its keys, 1 to 4, mirroring and rights, key 0; then have it sign, which spends a reading."""
        mirrored = b"" if self._signing is None else self._signing.settings(self.message())
        for number, key in enumerate(self._keys[1:], 1):
            self._replace(number, key)
        self.admit()
        self._change_settings(bytes([MIRRORED if mirrored else 0]) + CLOSED_RIGHTS + mirrored)
        if self._key != self._keys[0]:
            self._secured(CHANGE_KEY, b"\0", self._keys[0] + KEY_VERSION, ends=True)
            self._key = self._keys[0]
        self.admit()
        self._select_file()
        if self._signing is not None and not self._signing.proven(self._message()):
            raise unprotected()

    def lock(self) -> None:
        """Refuse: it is protected by its keys."""
        raise never_locked()

    def erase(self) -> None:
        """Empty it, and give it back the keys of delivery, key 0 last."""
        self.write(b"")
        for number in range(1, len(self._keys)):
            self._replace(number, FACTORY_KEY, old=self._keys[number])
        self.admit()
        if self._key != FACTORY_KEY:
            self._secured(CHANGE_KEY, b"\0", FACTORY_KEY + b"\0", ends=True)
            self._key = FACTORY_KEY
        if not self.holds(b""):
            raise differs()

    def _select_file(self) -> None:
        """Select the file of the message, which ends the session."""
        self._select()
        self._apdu(0x00, 0xA4, 0x000C, NDEF_FILE, 0)

    def _message(self) -> bytes:
        """Read the length and the message, in pieces that fit a frame."""
        length = min(int.from_bytes(self._read(0, 2), "big"), self.room)
        pieces = range(0, length, LARGEST_UPDATE)
        read = b"".join(self._read(2 + at, min(LARGEST_UPDATE, length - at)) for at in pieces)
        self._session = None  # what was read has moved its counter
        return read

    def _replace(self, number: int, key: bytes, old: bytes = FACTORY_KEY) -> None:
        """Give it another key in place of an old one, unless it has it already."""
        self._select()
        if self._authenticate(number, key):
            return
        self.admit()
        mixed = bytes(a ^ b for a, b in zip(key, old, strict=True))
        checksum = (zlib.crc32(key) ^ 0xFFFFFFFF).to_bytes(4, "little")  # CRC32NK, 10.6.1
        self._secured(CHANGE_KEY, bytes([number]), mixed + KEY_VERSION + checksum)

    def _change_settings(self, settings: bytes) -> None:
        self._secured(CHANGE_SETTINGS, bytes([FILE_NUMBER]), settings)

    def _secured(self, command: int, header: bytes, data: bytes, *, ends: bool = False) -> None:
        """Send a command in full mode. Raises TagError when the tag refuses it, or did not make the answer."""
        session = self._session
        if session is None:
            raise password_unknown()
        answer, status = self._native(command, session.sealed(command, header, data))
        if status != OK or not (ends or session.answered(answer)):
            raise refused_command(command, int.from_bytes(status, "big"))

    def _authenticate(self, number: int, key: bytes) -> bool:
        """Open a session (9.1.5); False if the tag has another key."""
        self._session = None
        challenge, status = self._native(AUTHENTICATE, bytes([number, 0]))
        if status != MORE or len(challenge) != len(ZEROS):
            return False
        theirs, ours = _cipher(key, ZEROS, challenge, decrypt=True), os.urandom(16)
        answer, status = self._native(ADDITIONAL, _cipher(key, ZEROS, ours + theirs[1:] + theirs[:1]))
        told = _cipher(key, ZEROS, answer, decrypt=True) if status == OK and len(answer) == 2 * len(ZEROS) else b""
        if told[4:20] != ours[1:] + ours[:1]:
            return False
        self._session = _Session(*_session_keys(key, ours, theirs), told[:4])
        return True

    def _select(self) -> None:
        self._session = None
        if self._apdu(0x00, 0xA4, 0x040C, NDEF_APPLICATION, 0)[-2:] != ISO_OK:
            raise no_message_file()

    def _read(self, at: int, length: int) -> bytes:
        answer = self._apdu(0x00, 0xB0, at, b"", length)
        if answer[-2:] != ISO_OK:
            raise password_unknown()
        return answer[:-2]

    def _update(self, at: int, octets: bytes) -> None:
        status = self._apdu(0x00, 0xD6, at, octets, 0)[-2:]
        if status != ISO_OK:
            raise refused(at, int.from_bytes(status, "big"))

    def _native(self, command: int, data: bytes = b"") -> tuple[bytes, bytes]:
        answer = self._apdu(0x90, command, 0, data, 256)
        return answer[:-2], answer[-2:]

    def _apdu(self, kind: int, instruction: int, parameters: int, data: bytes, length: int) -> bytes:
        return exchange(self._tag, kind, instruction, parameters, data, length)


def _cipher(key: bytes, vector: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
    made = Cipher(AES(key), CBC(vector))
    worker = made.decryptor() if decrypt else made.encryptor()
    return worker.update(data) + worker.finalize()


def _session_keys(key: bytes, ours: bytes, theirs: bytes) -> tuple[bytes, bytes]:
    """Return SesAuthENCKey and SesAuthMACKey (9.1.7)."""
    mixed = bytes(a ^ b for a, b in zip(ours[2:8], theirs[:6], strict=True))
    vector = b"\x00\x01\x00\x80" + ours[:2] + mixed + theirs[6:] + ours[8:]
    return cmac(key, b"\xa5\x5a" + vector), cmac(key, b"\x5a\xa5" + vector)
