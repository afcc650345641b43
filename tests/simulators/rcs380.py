"""A Sony RC-S380 on the USB bus of `tests/simulators/usb_bus.py`, under nfcpy's own `rcs380` driver.

Sony publishes no description of the chip, NFC Port-100. This is after what the Linux kernel's driver sends and expects
(`drivers/nfc/port100.c`): frames (`struct port100_frame`), the ACK before each answer, command codes, status of
InCommRF, the protocol settings ADD_CRC and CHECK_CRC. Initiator at 106 kbps type A only; a PN532 does the anticollision
by itself, this chip leaves it to the host.
"""

import struct
import threading
from typing import TYPE_CHECKING, Final

from tests.simulators.nfc_field import ALL_REQ, SENS_REQ, Tag
from tests.simulators.pn532 import ACK, crc_a

if TYPE_CHECKING:
    from collections.abc import Callable

FROM_HOST, TO_HOST = 0xD6, 0xD7
RECEIVE_TIMEOUT: Final = struct.pack("<I", 0x80)
CRC_ERROR: Final = struct.pack("<I", 0x04)
"""Status of InCommRF; nfcpy, `clf/rcs380.py`, has the names."""
CHECK_CRC: Final = 0x02
"""Protocol settings are pairs of a number and a value; port100.c, PORT100_IN_PROT_CHECK_CRC."""
ERROR: Final = bytes.fromhex("0000ffffff")


def frame(body: bytes) -> bytes:
    """Return an extended frame; its length is little-endian, other than the PN532's."""
    size = struct.pack("<H", len(body))
    return b"\x00\x00\xff\xff\xff" + size + bytes([-sum(size) & 0xFF]) + body + bytes([-sum(body) & 0xFF, 0])


class Rcs380:
    """A reader with firmware 1.11 and at most one tag on it."""

    vendor, product = 0x054C, 0x06C3
    names = ("SONY", "RC-S380/P")
    device = "usb:054c:06c3"

    def __init__(self) -> None:
        self.mute = False
        self.spoil: Callable[[bytes], bytes] = bytes
        self._tag: Tag | None = None
        self._lock = threading.Lock()
        self._protocol: dict[int, int] = {}
        self._handlers: dict[int, Callable[[bytes], bytes]] = {
            0x00: lambda _: b"\x00",  # InSetRF
            0x02: self._set_protocol,
            0x04: self._communicate,
            0x06: self._switch_field,
            0x20: lambda _: b"\x11\x01",  # GetFirmwareVersion, minor before major
            0x22: lambda _: b"\x00\x01",  # GetPDDataVersion
            0x2A: lambda _: b"\x00",  # SetCommandType
        }

    def place(self, tag: Tag) -> None:
        """Put a tag on it."""
        with self._lock:
            tag.power_off()
            self._tag = tag

    def remove(self) -> None:
        """Take the tag away."""
        with self._lock:
            self._tag = None

    def take(self, transfer: bytes) -> list[bytes]:
        """Answer one frame: an ACK, then the answer, each a transfer. The host's ACK ends what was begun."""
        if transfer == ACK:
            return []
        size = struct.unpack_from("<H", transfer, 5)[0]
        body = transfer[8 : 8 + size]
        handler = self._handlers.get(body[1]) if body[0] == FROM_HOST else None
        if handler is None:
            return [ACK, ERROR]
        with self._lock:
            return [ACK, frame(bytes([TO_HOST, body[1] + 1]) + handler(body[2:]))]

    def _set_protocol(self, data: bytes) -> bytes:
        """InSetProtocol."""
        self._protocol.update(zip(data[::2], data[1::2], strict=True))
        return b"\x00"

    def _switch_field(self, data: bytes) -> bytes:
        """SwitchRF."""
        if not data[0] and self._tag is not None:
            self._tag.power_off()
        return b"\x00"

    def _communicate(self, data: bytes) -> bytes:
        """InCommRF: a time-out in 0.1 ms and a frame; status, bits in the last byte, and the tag's answer."""
        sent = data[2:]
        heard = None if self._tag is None else self._tag.frame(sent)
        if heard is None:
            return RECEIVE_TIMEOUT + b"\x00"
        bare = sent in {SENS_REQ, ALL_REQ, b"\x93\x20", b"\x95\x20"}  # ISO/IEC 14443-3, 6.5: answered without a CRC
        nak = len(heard) == 1 and sent[:1] not in {b"\x93", b"\x95"}
        if self._protocol.get(CHECK_CRC):
            return (CRC_ERROR if nak else bytes(4)) + b"\x08" + heard
        return bytes(4) + b"\x08" + heard + (b"" if bare or nak else crc_a(heard))
