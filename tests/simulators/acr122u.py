"""An ACS ACR122U on the USB bus of `tests/simulators/usb_bus.py`, under nfcpy's own `acr122` driver.

A smart card reader to the host, with a PN532 behind it. After:

- USB CCID 1.1: messages of ten bytes and their data (6.1, 6.2), PC_to_RDR_XfrBlock (6.1.4), PC_to_RDR_IccPowerOn
  (6.1.1), RDR_to_PC_DataBlock (6.2.1);
- ACS, ACR122U Application Programming Interface, V2.04: pseudo-APDUs (6.0): Direct Transmit (6.1), Bi-Color LED and
  Buzzer Control (6.2), Get Firmware Version, Set PICC Operating Parameter; 63 00 for what fails.

`light` is red or green, and what was switched on last; `switched` counts how often. The beep takes no time here.
"""

import struct
from typing import TYPE_CHECKING, Final

from tests.simulators.pn532 import Chip

if TYPE_CHECKING:
    from collections.abc import Callable

XFR_BLOCK, ICC_POWER_ON, DATA_BLOCK = 0x6F, 0x62, 0x80
HEAD: Final = 10
FAILED: Final = b"\x63\x00"
ATR: Final = bytes.fromhex("3b00")
"""The answer to a reset, without historical bytes (ISO/IEC 7816-3, 8.2); the host does not look at it."""


class Acr122u(Chip):
    """A reader with firmware 2.14."""

    vendor, product = 0x072F, 0x2200
    names = ("ACS", "ACR122U PICC Interface")
    device = "usb:072f:2200"

    def __init__(self) -> None:
        super().__init__()
        self.mute = False
        self.spoil: Callable[[bytes], bytes] = bytes
        self.light = ""
        self.beeps = 0
        self.power_on()

    def take(self, transfer: bytes) -> list[bytes]:
        """Answer one CCID message."""
        kind, length, slot, sequence = struct.unpack_from("<BIBB", transfer)
        data = transfer[HEAD : HEAD + length]
        if kind == ICC_POWER_ON:
            return [_data_block(slot, sequence, ATR)]
        if kind == XFR_BLOCK:
            return [_data_block(slot, sequence, self._apdu(data))]
        return []

    def _apdu(self, data: bytes) -> bytes:
        """Answer a pseudo-APDU: class FF, instruction 00."""
        if len(data) < 5 or data[:2] != b"\xff\x00":
            return FAILED
        match data[2]:
            case 0x00:
                answer = self.answer(data[5 : 5 + data[4]])
                return FAILED if answer is None else answer + b"\x90\x00"
            case 0x40:
                return self._switch(data)
            case 0x48:
                return b"ACR122U214"
            case 0x51:
                return bytes([0x90, data[3]])
            case _:
                return FAILED

    def _switch(self, data: bytes) -> bytes:
        """Bi-Color LED and Buzzer Control: state and mask in P2, T1, T2, repetitions and the buzzer's link after Lc."""
        state = data[3]
        if state & 0x0C == 0x0C:  # both are updated
            self.light = {0x01: "red", 0x02: "green", 0x03: "orange"}.get(state & 0x03, "")
        if data[8] & 0x01 and data[7]:
            self.beeps += 1
        return bytes([0x90, state & 0x03])


def _data_block(slot: int, sequence: int, data: bytes) -> bytes:
    return struct.pack("<BIBBBBB", DATA_BLOCK, len(data), slot, sequence, 0, 0, 0) + data
