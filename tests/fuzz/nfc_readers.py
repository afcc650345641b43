"""NFC readers that answer anything: the source's thread over nfcpy's own drivers, with each answer as the input says.

An input begins with the kind of reader, the number of answers that come as they should, and the number of looks into
the field. Then each answer takes an octet that says what becomes of it (see `Script`), and the octets that this needs;
what is left is also what the tag holds. There is no time in it: an answer that does not come is missed at once.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from gateway.sources import nfc_frontend
from gateway.sources.nfc import Unread, _Worker
from tests.simulators.acr122u import Acr122u
from tests.simulators.nfc_field import Ntag21x
from tests.simulators.pn532 import ACK, SYNTAX_ERROR, Chip, Frames, frame
from tests.simulators.rcs380 import Rcs380
from tests.simulators.usb_bus import UsbBus

if TYPE_CHECKING:
    from gateway.sources.source import DeviceLostError

LOOKS: Final = 8
UID: Final = bytes.fromhex("04a1b2c3d4e5f6")
TAG: Final = b"\x07" * 4 + bytes.fromhex("0308d101045402656e41fe")
"""Nothing becomes of the first answers; a text record in its TLV (NFC Forum Type 2 Tag 1.1, 2.3)."""
SEEDS: Final = tuple(
    bytes([kind, sound, 4]) + rest
    for kind in range(3)
    for sound in (0, 12, 40, 200)
    for rest in (
        b"",
        b"\x05" * 90,
        bytes(range(64)),
        b"\x01\x05hello\x00\x03\x02\x00\x81\x04",
        b"\x07\x07\x02\x1f\x06" * 9,
    )
)


class Script:
    """What becomes of each answer: it stays, is cut, is replaced, has a bit turned, grows, or does not come."""

    def __init__(self, data: bytes) -> None:
        self._sound, self._rest = data[1] if len(data) > 1 else 0, data[3:]

    def __call__(self, answer: bytes) -> bytes:
        if self._sound:
            self._sound -= 1
            return answer
        spoil = (self._cut, self._replace, self._turn, self._lengthen, lambda _: b"")
        which = self._take(1)[0] % 8
        return spoil[which](answer) if which < len(spoil) else answer

    def _cut(self, answer: bytes) -> bytes:
        return answer[: self._take(1)[0]]

    def _replace(self, _: bytes) -> bytes:
        return self._take(self._take(1)[0] % 64)

    def _turn(self, answer: bytes) -> bytes:
        at = self._take(1)[0] % (8 * len(answer) or 1)
        return bytes(octet ^ (1 << at % 8 if number == at // 8 else 0) for number, octet in enumerate(answer))

    def _lengthen(self, answer: bytes) -> bytes:
        return answer + self._take(self._take(1)[0] % 64)

    def _take(self, number: int) -> bytes:
        taken, self._rest = self._rest[:number], self._rest[number:]
        return taken.ljust(number, b"\xff")


class Port:
    """A serial port with a PN532 behind it, as nfcpy's transport uses pyserial's."""

    port, baudrate = "/dev/null", 115200
    timeout: float | None = None

    def __init__(self, chip: Chip, script: Script) -> None:
        self._chip, self._script, self._frames, self._waiting = chip, script, Frames(), b""

    def write(self, data: bytes) -> None:
        for body in self._frames.feed(bytes(data)):
            answer = self._chip.answer(body)
            self._waiting += self._script(ACK + (SYNTAX_ERROR if answer is None else frame(answer)))

    def read(self, number: int) -> bytes:
        taken, self._waiting = self._waiting[:number], self._waiting[number:]
        return taken

    def flushInput(self) -> None:  # noqa: N802 -- pyserial's name
        self._waiting = b""

    def flushOutput(self) -> None:  # noqa: N802 -- pyserial's name
        """There is nothing to flush."""

    def close(self) -> None:
        """There is nothing to close."""


class Hasty(_Worker):
    """The thread's work without its pauses, for so many looks."""

    def __init__(self, device: str, looks: int) -> None:
        super().__init__(device, self._note)
        self.said: list[object] = []
        self._looks = looks

    def _note(self, heard: object) -> None:
        self.said.append(heard)

    def _pause(self) -> bool:
        self._looks -= 1
        if self._looks <= 0:
            self.stop()
        self._woken.set()
        return super()._pause()


def read(data: bytes) -> None:
    """Open a reader, read what is on it, and close it. Raises DeviceLostError, and AssertionError for what is left."""
    lost: list[DeviceLostError | None] = []
    with _reader(data) as device:
        worker = Hasty(device, data[2] % LOOKS if len(data) > 2 else 1)
        worker.run(lost.append)
    assert len(lost) == 1
    assert len([each for each in worker.said if isinstance(each, Unread)]) <= LOOKS
    if lost[0] is not None:
        raise lost[0]


@contextmanager
def _reader(data: bytes) -> Iterator[str]:
    """Put a reader in the place of libusb1 or of pyserial."""
    script, tag = Script(data), Ntag21x(213, UID)
    tag.memory[12 : 12 + len(data[3:147])] = data[3:147]
    tag.memory[12:16] = bytes([0xE1, 0x10, 0x12, 0x00])
    kind = data[0] % 3 if data else 0
    if kind == 0:
        chip = Chip()
        chip.power_on()
        chip.place(tag)
        with _instead(nfc_frontend, "_Port", lambda *_, **__: Port(chip, script)), _instead(os, "system", lambda _: 1):
            yield "tty:USB0:pn532"
        return
    bus, reader = UsbBus(), Acr122u() if kind == 1 else Rcs380()
    bus.impatient = True
    bus.plug(reader)
    reader.place(tag)
    reader.spoil = script
    with _instead(importlib.import_module("nfc.clf.transport"), "libusb", bus):
        yield reader.device
    assert not bus.open, "the reader is claimed still"


def _instead(module: Any, name: str, other: Callable[..., object] | UsbBus) -> Any:  # noqa: ANN401 -- mock has no better
    return mock.patch.object(module, name, other)
