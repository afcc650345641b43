"""A PN532 on a serial port without the chip: a pseudo-terminal behind a path that stays the same.

    with Pn532(tmp_path / "ttyPN532") as reader:
        ...                                  # device "tty:{reader.path}:pn532", under nfcpy's own driver
        reader.place(Ntag21x(213, uid, message))
        reader.unplug()                      # the port hangs up and its path is gone
        reader.plug()                        # another port behind the same path
        reader.mute = True                   # the chip hangs: it is there and answers nothing
        reader.spoil = lambda reply: ...     # what it answers is torn, or rubbish

After NXP UM0701-02, PN532 User Manual, rev. 02: frames (6.2.1), commands (7.2, 7.3), error codes (7.1); registers of
the contactless interface unit after the PN532/C1 data sheet. It takes no time: every answer comes at once, also the
report that a tag did not answer.
"""

import os
import pty
import select
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

from tests.simulators.nfc_field import Tag

ACK: Final = bytes.fromhex("0000ff00ff00")
"""6.2.1.3."""
SYNTAX_ERROR: Final = bytes.fromhex("0000ff01ff7f8100")
"""6.2.1.5, application level error frame."""
FROM_HOST, TO_HOST = 0xD4, 0xD5
SUCCESS, TIMED_OUT = b"\x00", b"\x01"
RX_MODE, FIFO_DATA = 0x6303, 0x6339
RX_CRC_ENABLE: Final = 0x80
"""CIU_RxMode, bit 7: the chip checks the CRC of what it receives and takes it off."""


def crc_a(data: bytes) -> bytes:
    """Return CRC_A (ISO/IEC 14443-3, annex B)."""
    crc = 0x6363
    for octet in data:
        mixed = octet ^ (crc & 0xFF)
        mixed = (mixed ^ (mixed << 4)) & 0xFF
        crc = (crc >> 8) ^ (mixed << 8) ^ (mixed << 3) ^ (mixed >> 4)
    return crc.to_bytes(2, "little")


def frame(body: bytes) -> bytes:
    """Return a normal information frame, or an extended one for 255 bytes and more (6.2.1.1, 6.2.1.2)."""
    if len(body) < 0xFF:
        head = bytes([len(body), -len(body) & 0xFF])
    else:
        size = len(body).to_bytes(2, "big")
        head = b"\xff\xff" + size + bytes([-sum(size) & 0xFF])
    return b"\x00\x00\xff" + head + body + bytes([-sum(body) & 0xFF, 0])


class Frames:
    """Cuts what the host sends into the bodies of its frames; its ACKs are passed over."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while (body := self._next()) is not None:
            if body:
                yield body

    def _next(self) -> bytes | None:
        _, start, rest = self._buffer.partition(b"\x00\xff")
        if not start or len(rest) < 2:
            return None
        if rest[:2] == b"\x00\xff":  # ACK: the host cancels, 6.2.1.3
            self._buffer = rest[2:]
            return b""
        extended = rest[:2] == b"\xff\xff"
        if extended and len(rest) < 5:
            return None
        at, size = (5, int.from_bytes(rest[2:4], "big")) if extended else (2, rest[0])
        if len(rest) < at + size + 2:
            return None
        self._buffer = rest[at + size + 2 :]
        return rest[at : at + size]


class Chip:
    """A PN532 with at most one tag on its antenna, without a port. `commands` counts what the host has asked."""

    def __init__(self) -> None:
        self.commands = 0
        self._tag: Tag | None = None
        self._lock = threading.Lock()
        self._registers: dict[int, int] = {}
        self._handlers: dict[int, Callable[[bytes], bytes]] = {
            0x00: bytes,  # Diagnose, communication line test: the same again (7.2.1)
            0x02: lambda _: bytes.fromhex(
                "32010607"
            ),  # GetFirmwareVersion: PN532 1.6, ISO 14443 A, B, ISO 18092 (7.2.2)
            0x06: self._read_registers,
            0x08: self._write_registers,
            0x10: lambda _: b"",  # SetSerialBaudRate (7.2.8); a pseudo-terminal has no speed
            0x12: lambda _: b"",  # SetParameters (7.2.9)
            0x14: lambda _: b"",  # SAMConfiguration (7.2.10)
            0x16: lambda _: SUCCESS,  # PowerDown (7.2.11)
            0x32: self._configure_field,
            0x42: self._communicate,
            0x4A: self._list_targets,
        }

    def place(self, tag: Tag) -> None:
        """Put a tag on the antenna."""
        with self._lock:
            tag.power_off()
            self._tag = tag

    def remove(self) -> None:
        """Take the tag away."""
        with self._lock:
            self._tag = None

    def power_on(self) -> None:
        """Begin with the registers as after a reset."""
        self._registers = {RX_MODE: RX_CRC_ENABLE}

    def answer(self, body: bytes) -> bytes | None:
        """Return the body of the answer to a command, both with their direction in front; None if it knows none."""
        self.commands += 1
        handler = self._handlers.get(body[1]) if len(body) > 1 else None
        if handler is None:
            return None
        with self._lock:
            return bytes([TO_HOST, body[1] + 1]) + handler(body[2:])

    def _read_registers(self, data: bytes) -> bytes:
        """ReadRegister (7.2.4)."""
        addresses = (int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
        return bytes(self._registers.get(address, 0) for address in addresses)

    def _write_registers(self, data: bytes) -> bytes:
        """WriteRegister (7.2.5)."""
        for at in range(0, len(data), 3):
            self._registers[int.from_bytes(data[at : at + 2], "big")] = data[at + 2]
        return b""

    def _configure_field(self, data: bytes) -> bytes:
        """RFConfiguration (7.3.1); item 1, bit 0 of its value: the field."""
        if data[0] == 0x01 and not data[1] & 1 and self._tag is not None:
            self._tag.power_off()
        return b""

    def _list_targets(self, data: bytes) -> bytes:
        """InListPassiveTarget (7.3.5): one target at 106 kbps type A, or the one whose UID the host names."""
        self._registers[FIFO_DATA] = 0x26  # SENS_REQ: what the chip has sent last when nobody answers
        named = data[2:].removeprefix(b"\x88")  # with the cascade tag
        if data[1] != 0 or self._tag is None or named not in {b"", self._tag.uid}:
            return b"\x00"
        self._tag.power_off()
        self._tag.select()
        self._registers[RX_MODE] |= RX_CRC_ENABLE
        tag = self._tag
        return bytes([1, 1]) + tag.sens_res[::-1] + bytes([tag.sak, len(tag.uid)]) + tag.uid

    def _communicate(self, data: bytes) -> bytes:
        """InCommunicateThru (7.3.9): a frame to the tag and its answer; a NAK of four bits comes as a byte."""
        heard = None if self._tag is None else self._tag.frame(data)
        if heard is None:
            return TIMED_OUT
        keep_crc = len(heard) > 1 and not self._registers[RX_MODE] & RX_CRC_ENABLE
        return SUCCESS + heard + (crc_a(heard) if keep_crc else b"")


class Pn532(Chip):
    """A chip on a port at `path`. When `mute` it answers nothing; `spoil` makes something else of each answer."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.mute = False
        self.spoil: Callable[[bytes], bytes] = bytes
        self._ends: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    @property
    def device(self) -> str:
        return f"tty:{self.path}:pn532"

    def plug(self) -> None:
        """Make a port and show it at `path`; nothing if there is one."""
        if self._ends:
            return
        chip_end, host_end = pty.openpty()
        tty.setraw(host_end)
        ending, end = os.pipe()
        self._ends = (chip_end, host_end, ending, end)
        self.power_on()
        self._thread = threading.Thread(target=self._serve, args=(chip_end, ending), name="pn532")
        self._thread.start()
        self.path.symlink_to(os.ttyname(host_end))

    def unplug(self) -> None:
        """Hang the port up and take the path away; nothing if there is none."""
        if not self._ends:
            return
        self.path.unlink()
        os.write(self._ends[-1], b".")
        self._thread.join()
        for descriptor in self._ends:
            os.close(descriptor)
        self._ends = ()

    def _serve(self, chip_end: int, ending: int) -> None:
        frames = Frames()
        while ending not in select.select([chip_end, ending], [], [])[0]:
            for body in frames.feed(os.read(chip_end, 4096)):
                if not self.mute and body[0] == FROM_HOST:
                    answer = self.answer(body)
                    os.write(chip_end, self.spoil(ACK + (SYNTAX_ERROR if answer is None else frame(answer))))
