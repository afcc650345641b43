"""What a tag of ISO/IEC 14443-4 has below its commands: activation, blocks, and the parts of a command."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

ATS: Final = bytes.fromhex("067777710280")
"""Frames of up to 128 bytes to the tag (FSCI 7)."""


@dataclass
class Blocks:
    """The block layer: ISO/IEC 14443-4, 7."""

    answer: Callable[[bytes], bytes]
    size: int = 0
    """Longest frame that the reader takes (FSD), 0 before RATS."""
    number: int = 1
    sent: bytes = b""
    rest: bytes = b""

    def take(self, data: bytes) -> bytes | None:
        if data[0] == 0xE0:  # RATS, 5.1
            self.size, self.number, self.rest = (16, 24, 32, 40, 48, 64, 96, 128, 256)[min(data[1] >> 4, 8)], 1, b""
            return ATS
        return self._block(data) if self.size else None

    def _block(self, data: bytes) -> bytes | None:
        same = data[0] & 1 == self.number
        match data[0] & 0xF6:
            case 0x02:  # I-block; rule D: the number toggles
                self.number ^= 1
                return self._send(self.answer(data[1:]))
            case 0xA2 | 0xB2 if same:  # R-block; rule 11
                return self.sent
            case 0xB2:  # R(NAK); rule 12
                return bytes([0xA2 | self.number])
            case 0xA2:  # R(ACK); rule 13
                self.number ^= 1
                return self._send(self.rest)
            case 0xC2:  # S(DESELECT), 8
                self.size = 0
                return data
            case _:
                return None

    def _send(self, answer: bytes) -> bytes:
        room = self.size - 3
        self.rest = answer[room:]
        self.sent = bytes([(0x12 if self.rest else 0x02) | self.number]) + answer[:room]
        return self.sent


def parts(command: bytes) -> tuple[bytes, int]:
    """Return the data of a short command, and how much it expects (ISO/IEC 7816-4, 5.1)."""
    if len(command) <= 5:
        return b"", command[4] if len(command) == 5 else 0
    end = 5 + command[4]
    return command[5:end], command[end] if len(command) > end else 0
