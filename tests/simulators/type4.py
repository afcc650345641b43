"""An NFC Forum Type 4 tag without the chip, as DESFire and others are: an NDEF application, and nothing of a password.

    tag = Type4(uid, size=1024)                  # mapping version 2.0, empty
    tag = Type4(uid, extended=True)              # 3.0: a file that says its size in four octets
    tag.message                                  # what its file holds, by its length

After NFC Forum Type 4 Tag 1.2: capability container (5.1), file control TLVs, ReadBinary and UpdateBinary (5.4).
"""

from tests.simulators.iso_dep import Blocks, parts
from tests.simulators.nfc_field import TypeATag

APPLICATION = bytes.fromhex("d2760000850101")
CAPABILITIES, NDEF = 0xE103, 0xE104
DESFIRE_VERSION = bytes.fromhex("04010101000105")
OK, NOT_FOUND, SECURITY, WRONG_LENGTH, UNKNOWN_INS, UNKNOWN_CLA = 0x9000, 0x6A82, 0x6982, 0x6700, 0x6D00, 0x6E00
MORE = 0x91AF


class Type4(TypeATag):
    """The tag. `heeds`: it refuses writing by the right in its container; `fixed`: the container cannot be written."""

    def __init__(  # noqa: PLR0913 -- what such tags differ in
        self,
        uid: bytes,
        *,
        size: int = 512,
        most_read: int = 59,
        most_written: int = 52,
        extended: bool = False,
        writing: int = 0,
        heeds: bool = True,
        fixed: bool = False,
        application: bytes = APPLICATION,
    ) -> None:
        super().__init__(uid, sak=0x20, sens_res=b"\x44\x03")
        self.wide, self.heeds, self.fixed, self.application = 4 if extended else 2, heeds, fixed, application
        self.most = most_read, most_written
        control = bytes([0x06, 8] if extended else [0x04, 6]) + NDEF.to_bytes(2, "big")
        control += size.to_bytes(self.wide, "big") + bytes([0, writing])
        head = bytes([0x30 if extended else 0x20]) + most_read.to_bytes(2, "big") + most_written.to_bytes(2, "big")
        container = (2 + len(head) + len(control)).to_bytes(2, "big") + head + control
        self.files = {CAPABILITIES: bytearray(container), NDEF: bytearray(size)}
        self.power_off()

    def power_off(self) -> None:
        super().power_off()
        self._blocks = Blocks(self.apdu)
        self._file: int | None = None

    @property
    def message(self) -> bytes:
        """What the file holds."""
        file = self.files[NDEF]
        return bytes(file[self.wide :][: int.from_bytes(file[: self.wide], "big")])

    @property
    def locked(self) -> bool:
        """Whether the container says that nobody writes."""
        return self.files[CAPABILITIES][-1] == 0xFF

    def command(self, data: bytes) -> bytes | None:
        return self._blocks.take(data)

    def apdu(self, command: bytes) -> bytes:
        """Return the answer to a command (ISO/IEC 7816-4, 5.1), with its status word."""
        data, length = parts(command)
        body, status = b"", UNKNOWN_CLA
        if command[:2] == b"\x90\x60":
            body, status = DESFIRE_VERSION, MORE
        elif command[0] == 0:
            body, status = self._iso(command, data, length)
        return body + status.to_bytes(2, "big")

    def _iso(self, command: bytes, data: bytes, length: int) -> tuple[bytes, int]:
        offset = int.from_bytes(command[2:4], "big")
        match command[1]:
            case 0xA4 if command[2] == 4:
                self._file = None
                return b"", OK if data == self.application else NOT_FOUND
            case 0xA4 if int.from_bytes(data, "big") in self.files:
                self._file = int.from_bytes(data, "big")
                return b"", OK
            case 0xA4:
                return b"", NOT_FOUND
            case 0xB0 if self._file is not None:
                return self._read(self.files[self._file], offset, length)
            case 0xD6 if self._file is not None:
                return b"", self._update(self._file, offset, data)
            case _:
                return b"", UNKNOWN_INS

    def _read(self, file: bytearray, offset: int, length: int) -> tuple[bytes, int]:
        if offset >= len(file) or length > self.most[0]:
            return b"", WRONG_LENGTH
        return bytes(file[offset : offset + length]), OK

    def _update(self, number: int, offset: int, data: bytes) -> int:
        file = self.files[number]
        if self.fixed if number == CAPABILITIES else self.heeds and self.locked:
            return SECURITY
        if offset + len(data) > len(file) or len(data) > self.most[1]:
            return WRONG_LENGTH
        file[offset : offset + len(data)] = data
        return OK
