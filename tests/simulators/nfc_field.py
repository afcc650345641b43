"""NFC tags without tags: an RF field that nfcpy's own `udp` driver senses, and tags to lay into it.

    with NfcField() as field:
        ...                                  # nfc.ContactlessFrontend(field.device), or any reader's `device`
        tag = Ntag21x(213, uid, message)
        field.place(tag)
        field.remove()
        field.flicker()                      # the tag stays, and loses power for a moment

What is simulated, and after what:

- activation with a 7-byte or 4-byte UID: ISO/IEC 14443-3, 6.5 (frames without their CRC, which the driver omits);
- NTAG213, 215, 216: NXP data sheet NTAG213/215/216, rev. 3.2: memory organization (8.5), ACK and NAK (9.3),
  GET_VERSION (10.1), READ (10.2), protection of reading by a password (8.8: AUTH0, PROT);
- the NDEF message in its TLV behind the capability container: NFC Forum Type 2 Tag 1.1, 2.3 and 6.1;
- MIFARE Classic as far as it is told apart: NXP AN10833, SAK 08.

A datagram is `106A <hex>`, or `RFOFF` when the field goes away (nfcpy, `clf/udp.py`). An empty field answers a SENS_REQ
with `RFOFF`, else nfcpy would wait for a second. A reply that would come later than nfcpy waits is not sent: its driver
would take it for the answer to the next command. A real reader has neither habit.
"""

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable
from functools import reduce
from operator import xor
from typing import Final, Protocol, Self

SENS_REQ, ALL_REQ = b"\x26", b"\x52"
READ, GET_VERSION = 0x30, 0x60
NAK_ARGUMENT: Final = b"\x00"
"""NTAG21x, 9.3: NAK for an invalid argument (an address that is not there, or protected)."""
DEADLINES: Final = {READ: 0.004, GET_VERSION: 0.008, 0x1A: 0.008}
"""Seconds within which nfcpy wants the answer to a command, a little shortened; 30 ms for others."""
SCM_TIMESTAMPNS: Final = 35
"""Linux, asm-generic/socket.h: the kernel's time of arrival. Python has no name for it."""


class Tag(Protocol):
    """What can lie in a field."""

    uid: bytes
    sens_res: bytes
    sak: int

    def power_off(self) -> None:
        """Forget everything but the memory: the field is gone."""

    def select(self) -> None:
        """Become the tag that is spoken to (ISO/IEC 14443-3, state ACTIVE)."""

    def frame(self, data: bytes) -> bytes | None:
        """Return the answer to a frame, both without CRC; None for silence."""


def check_byte(data: Iterable[int]) -> bytes:
    """Return BCC, the exclusive or of four bytes (ISO/IEC 14443-3, 6.5.3.4)."""
    return bytes([reduce(xor, data)])


class TypeATag:
    """A tag that can be selected and answers nothing else; SAK 08 makes it a MIFARE Classic 1K."""

    def __init__(self, uid: bytes, sak: int = 0x00, sens_res: bytes = b"\x44\x00") -> None:
        self.uid, self.sak, self.sens_res = uid, sak, sens_res
        parts = [uid] if len(uid) == 4 else [b"\x88" + uid[:3], uid[3:]]  # 88: cascade tag, 6.5.4
        self._levels = [part + check_byte(part) for part in parts]
        self._selected = False

    def power_off(self) -> None:
        self._selected = False

    def select(self) -> None:
        self._selected = True

    def frame(self, data: bytes) -> bytes | None:
        if data in {SENS_REQ, ALL_REQ}:
            self._selected = False
            return self.sens_res
        if data[:1] in {b"\x93", b"\x95"}:
            return self._anticollision(data)
        return self.command(data) if self._selected and data else None

    def command(self, data: bytes) -> bytes | None:  # noqa: ARG002 -- silent: what follows is encrypted, or not understood
        return None

    def _anticollision(self, data: bytes) -> bytes | None:
        level = (data[0] - 0x93) // 2
        if level >= len(self._levels):
            return None
        if data[1:] == b"\x20":
            return self._levels[level]
        if data[1:] != b"\x70" + self._levels[level]:
            return None
        if level + 1 < len(self._levels):
            return b"\x04"  # UID not complete, 6.5.3.4
        self._selected = True
        return bytes([self.sak])


class Ntag21x(TypeATag):
    """An NTAG213, 215 or 216 that holds an NDEF message.

    `reads` is how many READs it answers before it is taken away; `protected_from` the page from which reading needs the
    password (AUTH0, with PROT set); `formatted=False` leaves the capability container empty.
    """

    PAGES: Final = {213: 45, 215: 135, 216: 231}
    CAPACITY: Final = {213: 0x12, 215: 0x3E, 216: 0x6D}
    """Third byte of the capability container: the data area, in units of 8 bytes (8.5)."""
    STORAGE: Final = {213: 0x0F, 215: 0x11, 216: 0x13}
    """Storage size in GET_VERSION (10.1)."""

    def __init__(
        self,
        kind: int,
        uid: bytes,
        message: bytes = b"",
        *,
        reads: int | None = None,
        protected_from: int | None = None,
        formatted: bool = True,
    ) -> None:
        super().__init__(uid)
        self.kind, self.reads, self.protected_from = kind, reads, protected_from
        self.read_count = 0
        self.memory = bytearray(4 * self.PAGES[kind])
        self.memory[0:10] = uid[:3] + check_byte(b"\x88" + uid[:3]) + uid[3:] + check_byte(uid[3:]) + b"\x48"  # 8.5.1
        if formatted:
            self.memory[12:16] = bytes([0xE1, 0x10, self.CAPACITY[kind], 0x00])
            self.write_message(message)

    def write_message(self, message: bytes) -> None:
        """Put an NDEF message TLV and a terminator at the start of the data area (Type 2 Tag 1.1, 2.3)."""
        length = bytes([len(message)]) if len(message) < 0xFF else struct.pack(">BH", 0xFF, len(message))
        tlv = b"\x03" + length + message + b"\xfe"
        if len(tlv) > 8 * self.CAPACITY[self.kind]:
            raise ValueError(f"an NTAG{self.kind} has no room for {len(message)} bytes")
        self.memory[16 : 16 + len(tlv)] = tlv

    def command(self, data: bytes) -> bytes | None:
        if data == bytes([GET_VERSION]):
            return bytes([0x00, 0x04, 0x04, 0x02, 0x01, 0x00, self.STORAGE[self.kind], 0x03])
        if data[0] == READ and len(data) == 2:
            return self._read(data[1])
        return self._refuse()

    def _read(self, page: int) -> bytes | None:
        """Four pages; past the last that may be read it goes on at page 0 (10.2)."""
        end = self.PAGES[self.kind] if self.protected_from is None else self.protected_from
        if page >= end:
            return self._refuse()
        if self.reads is not None and self.read_count >= self.reads:
            return None
        self.read_count += 1
        pages = [(page + offset) % end for offset in range(4)]
        return b"".join(bytes(self.memory[4 * each : 4 * each + 4]) for each in pages)

    def _refuse(self) -> bytes:
        self._selected = False  # after a NAK it is idle again (9.3)
        return NAK_ARGUMENT


class NfcField:
    """A field on a UDP port of this machine, with at most one tag in it. `polls` counts the looks into it."""

    def __init__(self) -> None:
        self.polls = 0
        self._tag: Tag | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, SCM_TIMESTAMPNS, 1)
        self._ending, self._end = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="nfc field")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._end, b".")
        self._thread.join()
        self._socket.close()
        os.close(self._ending)
        os.close(self._end)

    @property
    def device(self) -> str:
        return f"udp:127.0.0.1:{self._socket.getsockname()[1]}"

    def place(self, tag: Tag) -> None:
        """Put a tag into the field, in place of the one that is there."""
        with self._lock:
            tag.power_off()
            self._tag = tag

    def remove(self) -> None:
        """Take the tag away."""
        with self._lock:
            self._tag = None

    def flicker(self) -> None:
        """Have the tag lose its power, and be back at once."""
        with self._lock:
            if self._tag is not None:
                self._tag.power_off()

    def _serve(self) -> None:
        sources = [self._socket.fileno(), self._ending]
        while self._ending not in select.select(sources, [], [])[0]:
            data, ancillary, _, address = self._socket.recvmsg(2048, 64)
            arrived = next(struct.unpack("ll", value[:16]) for _, kind, value in ancillary if kind == SCM_TIMESTAMPNS)
            with self._lock:
                answer, deadline = self._answer(data)
            late = time.clock_gettime(time.CLOCK_REALTIME) - arrived[0] - arrived[1] * 1e-9 > deadline
            if answer is not None and not late:
                self._socket.sendto(answer, address)

    def _answer(self, data: bytes) -> tuple[bytes | None, float]:
        if data.startswith(b"RFOFF"):
            if self._tag is not None:
                self._tag.power_off()
            return None, 0.0
        technology, _, digits = data.partition(b" ")
        frame = bytes.fromhex(digits.decode("ascii"))
        self.polls += frame == SENS_REQ
        heard = self._tag.frame(frame) if self._tag is not None and technology == b"106A" else None
        if heard is None:
            return b"RFOFF" if frame in {SENS_REQ, ALL_REQ} else None, 1.0
        return b"106A " + heard.hex().encode(), DEADLINES.get(frame[0], 0.03)
