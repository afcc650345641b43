"""An NTAG 424 DNA without the chip, for the field of `nfc_field` and the chip of `pn532`.

    tag = signing(uid, "https://id.acme.example/t?picc_data={picc}&cmac={mac}", meta_key, file_key)
    field.place(tag)                         # each reading of its message has another counter, and another MAC
    tag = Ntag424(uid)                       # as delivered: no message, five keys of zeros
    link = tag.read_message()                # what a phone would see, without a reader

After the NXP data sheet NT4H2421Gx, rev. 3.0, and the specifications below it:

- activation and blocks: ISO/IEC 14443-3, 6.5; ISO/IEC 14443-4, 5.2 (ATS), 7.5 (block numbers, chaining of answers);
- application, files and their rights: 8.2.2, 8.2.3; NFC Forum Type 4 Tag 2.0, 5.1 (capabilities), 5.4;
- the counter of readings: 9.3.1; what is mirrored: 9.3.3, 9.3.4.1, 9.3.7; its MAC and session key: 9.3.8.1, 9.3.9.1;
- mutual authentication: 9.1.5, 9.1.7; secured commands: 9.1.8 to 9.1.10; ISOSelectFile, ISOReadBinary, ISOUpdateBinary:
  10.9; GetVersion: 10.5.2; ChangeKey: 10.6.1; ChangeFileSettings: 10.7.1; status words: 10.2.

Left out: LRP, encrypted file data, the limit of the counter, file 3, random UIDs, the chaining of long commands.
"""

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from tests.simulators.iso_dep import Blocks, parts
from tests.simulators.nfc_field import TypeATag
from tests.simulators.sun_links import aes_cmac, picc_data, sdm_mac

NDEF_APPLICATION: Final = bytes.fromhex("d2760000850101")
CAPABILITIES: Final = 0xE103
NDEF_FILE: Final = 0xE104
FREE, NEVER = 0xE, 0xF
"""Rights: without a key, and not at all (8.2.3.3)."""
OK, AUTHENTICATE_MORE = 0x9100, 0x91AF
INTEGRITY_ERROR, NO_SUCH_KEY, PERMISSION_DENIED, AUTHENTICATION_ERROR, ILLEGAL_COMMAND, LENGTH_ERROR = (
    *(0x911E, 0x9140, 0x919D, 0x91AE, 0x911C, 0x917E),
)
ISO_OK, NOT_FOUND, NOT_ALLOWED, SECURITY, WRONG_LENGTH, UNKNOWN_INS, UNKNOWN_CLA = (
    *(0x9000, 0x6A82, 0x6985, 0x6982, 0x6700, 0x6D00, 0x6E00),
)
VERSION: Final = (bytes.fromhex("04040230001105"), bytes.fromhex("04040201021105"))
ZEROS: Final = bytes(16)


def cipher(key: bytes, vector: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
    """Encrypt or decrypt with AES-128 in CBC mode, without padding (9.1.4)."""
    made = Cipher(AES(key), CBC(vector))
    worker = made.decryptor() if decrypt else made.encryptor()
    return worker.update(data) + worker.finalize()


def truncated(mac: bytes) -> bytes:
    """Return the octets of a MAC that are sent: the second, the fourth, ... (9.1.3)."""
    return mac[1::2]


def padded(data: bytes) -> bytes:
    """Pad to whole blocks by 80, 00, ... (ISO/IEC 9797-1, method 2; 9.1.4)."""
    return data + b"\x80" + bytes(-(len(data) + 1) % 16)


def unpadded(data: bytes) -> bytes:
    """Take the padding off."""
    return data.rstrip(b"\0")[:-1]


def key_checksum(key: bytes) -> bytes:
    """Return CRC32NK, which goes with a key that replaces another (10.6.1; IEEE 802.3, not inverted, LSB first)."""
    return (zlib.crc32(key) ^ 0xFFFFFFFF).to_bytes(4, "little")


def session_keys(key: bytes, rnd_a: bytes, rnd_b: bytes) -> tuple[bytes, bytes]:
    """Return SesAuthENCKey and SesAuthMACKey (9.1.7)."""
    mixed = bytes(a ^ b for a, b in zip(rnd_a[2:8], rnd_b[:6], strict=True))
    vector = b"\x00\x01\x00\x80" + rnd_a[:2] + mixed + rnd_b[6:] + rnd_a[8:]
    return aes_cmac(key, b"\xa5\x5a" + vector), aes_cmac(key, b"\x5a\xa5" + vector)


@dataclass
class Session:
    """What reader and tag share after AuthenticateEV2First (9.1.5)."""

    number: int
    """Of the key with which it was opened."""
    encryption_key: bytes
    mac_key: bytes
    transaction: bytes
    counter: int = 0
    """CmdCtr: the commands since."""

    def vector(self, label: bytes) -> bytes:
        """Return the IV of a command (A5 5A) or of an answer (5A A5), 9.1.4."""
        plain = label + self.transaction + self.counter.to_bytes(2, "little") + bytes(8)
        return cipher(self.encryption_key, ZEROS, plain)

    def mac(self, code: int, body: bytes) -> bytes:
        """Return the MAC of a command, or of an answer by its status (9.1.9)."""
        head = bytes([code]) + self.counter.to_bytes(2, "little") + self.transaction
        return truncated(aes_cmac(self.mac_key, head + body))

    def sealed(self, command: int, header: bytes, data: bytes) -> bytes:
        """Return the data of a command in full mode, as a reader sends it (9.1.10)."""
        body = header + cipher(self.encryption_key, self.vector(b"\xa5\x5a"), padded(data))
        return body + self.mac(command, body)


@dataclass(frozen=True)
class Mirroring:
    """Settings of Secure Dynamic Messaging, offsets from the beginning of the file (10.7.1)."""

    meta: int
    """SDMMetaRead: the key that encrypts UID and counter, or FREE for plain text."""
    key: int
    """SDMFileRead: the key that signs."""
    mac_input_at: int
    mac_at: int
    picc_at: int = 0
    uid_at: int = 0
    counter_at: int = 0

    def settings(self) -> bytes:
        """Return SDMOptions, SDMAccessRights and offsets as ChangeFileSettings has them: UID, counter, ASCII."""
        places = [self.uid_at, self.counter_at] if self.meta == FREE else [self.picc_at]
        rights = bytes([0xF0 | NEVER, self.meta << 4 | self.key])
        return b"\xc1" + rights + b"".join(at.to_bytes(3, "little") for at in (*places, self.mac_input_at, self.mac_at))

    @classmethod
    def parse(cls, settings: bytes) -> "Mirroring":
        """Read them. Raises ValueError for what is left out here."""
        meta, key = settings[2] >> 4, settings[2] & 0xF
        offsets = [int.from_bytes(settings[at : at + 3], "little") for at in range(3, len(settings), 3)]
        if settings[0] != 0xC1 or key > 4 or len(offsets) != (4 if meta == FREE else 3):
            raise ValueError("settings that this simulator leaves out")
        if meta == FREE:
            return cls(meta, key, offsets[2], offsets[3], uid_at=offsets[0], counter_at=offsets[1])
        return cls(meta, key, offsets[1], offsets[2], picc_at=offsets[0])


class Ntag424(TypeATag):
    """The tag, with the keys and files of its delivery; `counter` is how often its message was read (SDMReadCtr)."""

    def __init__(self, uid: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        super().__init__(uid, sak=0x20, sens_res=b"\x44\x03")
        self._random = random
        self.keys = [ZEROS] * 5
        self.versions = [0] * 5
        self.files = {CAPABILITIES: bytearray.fromhex("001720010000ff0406e104010000000506e10500808283" + "00" * 9)}
        self.files[NDEF_FILE] = bytearray(256)
        self.rights = bytes.fromhex("e0ee")
        """ReadWrite and Change, Read and Write: keys by number (8.2.3.3)."""
        self.mirroring: Mirroring | None = None
        self.counter = 0
        self.power_off()

    def power_off(self) -> None:
        super().power_off()
        self._blocks = Blocks(self.apdu)
        self._selected_file: int | None = None
        self._reading = False
        self._padding = b""
        self._session: Session | None = None
        self._told = 0
        self._challenged: tuple[int, bytes] | None = None

    def command(self, data: bytes) -> bytes | None:
        return self._blocks.take(data)

    def apdu(self, command: bytes) -> bytes:
        """Return the answer to a command (ISO/IEC 7816-4, 5.1), with its status word."""
        data, length = parts(command)
        if (command[0], command[1]) != (0x00, 0xB0):
            self._reading = False  # 9.3.1: after any other command the next reading counts
        if command[0] == 0x90:
            body, status = self._native(command[1], data)
        elif command[0] == 0x00:
            body, status = self._iso(command, data, length)
        else:
            body, status = b"", UNKNOWN_CLA
        return body + status.to_bytes(2, "big")

    def write_message(self, message: bytes) -> None:
        """Put an NDEF message into the file, behind its length (Type 4 Tag 2.0, 4.1)."""
        self.files[NDEF_FILE][: 2 + len(message)] = len(message).to_bytes(2, "big") + message

    def read_message(self) -> bytes:
        """Return the message as one more reading shows it."""
        self.apdu(bytes.fromhex("00a4040007") + NDEF_APPLICATION)
        self.apdu(bytes.fromhex("00a4000c02e104"))
        length = int.from_bytes(self.apdu(bytes.fromhex("00b0000002"))[:2], "big")
        return self.apdu(bytes([0x00, 0xB0, 0x00, 0x02, length]))[:length]

    # ISO/IEC 7816-4 commands (10.9)

    def _iso(self, command: bytes, data: bytes, length: int) -> tuple[bytes, int]:
        offset = int.from_bytes(command[2:4], "big")
        match command[1]:
            case 0xA4:
                return b"", self._select(command[2], data)
            case 0xB0 if self._selected_file is not None:
                return self._read(self._selected_file, offset, length)
            case 0xD6 if self._selected_file is not None:
                return b"", self._update(self._selected_file, offset, data)
            case 0xB0 | 0xD6:
                return b"", NOT_ALLOWED
            case _:
                return b"", UNKNOWN_INS

    def _select(self, by: int, name: bytes) -> int:
        """10.9.1: the application by its name, a file by its number; either ends a session (9.1.5)."""
        self._session = None
        if by == 0x04:
            self._selected_file = None
            return ISO_OK if name == NDEF_APPLICATION else NOT_FOUND
        number = int.from_bytes(name, "big")
        if number not in self.files:
            return NOT_FOUND
        self._selected_file = number
        return ISO_OK

    def _read(self, number: int, offset: int, length: int) -> tuple[bytes, int]:
        """10.9.2; in a session nothing is mirrored and nothing counted (9.3.1, 9.3.3)."""
        content = bytes(self.files[number])
        if offset >= len(content):
            return b"", WRONG_LENGTH
        if number == NDEF_FILE and self.mirroring is not None and self._session is None:
            if not self._reading:
                self.counter, self._padding, self._reading = self.counter + 1, self._random(5), True
            content = self._mirrored(content, self.mirroring)
        return content[offset : offset + (length or 256)], ISO_OK

    def _mirrored(self, content: bytes, how: Mirroring) -> bytes:
        """9.3.3 and 9.3.4.1: UID and counter; 9.3.7: the MAC over what it then reads from its input offset on."""
        shown = bytearray(content)

        def put(at: int, text: str) -> None:
            shown[at : at + len(text)] = text.upper().encode("ascii")

        if how.meta == FREE:
            put(how.uid_at, self.uid.hex())
            put(how.counter_at, f"{self.counter:06x}")
        else:
            put(how.picc_at, picc_data(self.uid, self.counter, self.keys[how.meta], self._padding).hex())
        signed = bytes(shown[how.mac_input_at : how.mac_at])
        put(how.mac_at, sdm_mac(self.uid, self.counter, self.keys[how.key], signed).hex())
        return bytes(shown)

    def _update(self, number: int, offset: int, data: bytes) -> int:
        """10.9.3: in plain mode, where the rights leave it free (8.2.3.3)."""
        free = FREE in {self.rights[0] >> 4, self.rights[1] & 0xF}
        if number != NDEF_FILE or not free:
            return SECURITY
        if offset + len(data) > len(self.files[number]):
            return WRONG_LENGTH
        self.files[number][offset : offset + len(data)] = data
        return ISO_OK

    # Native commands, wrapped (10.2)

    def _native(self, code: int, data: bytes) -> tuple[bytes, int]:
        challenged, self._challenged = self._challenged, None
        told, self._told = self._told, 0
        match code:
            case 0x60:
                return self._version(0)
            case 0xAF if told:
                return self._version(told)
            case 0x71:
                return self._challenge(data)
            case 0xAF if challenged is not None:
                return self._authenticated(challenged, data)
            case 0x5F | 0xC4 if self._session is not None:
                return self._secured(self._session, code, data)
            case _:
                return b"", ILLEGAL_COMMAND

    def _version(self, part: int) -> tuple[bytes, int]:
        """10.5.2, in three parts."""
        if part < len(VERSION):
            self._told = part + 1
            return VERSION[part], AUTHENTICATE_MORE
        return self.uid + bytes.fromhex("cf39d449802022"), OK

    def _challenge(self, data: bytes) -> tuple[bytes, int]:
        """9.1.5, first part: RndB under the key."""
        self._session = None
        if not data or data[0] >= len(self.keys):
            return b"", NO_SUCH_KEY
        challenge = self._random(16)
        self._challenged = (data[0], challenge)
        return cipher(self.keys[data[0]], ZEROS, challenge), AUTHENTICATE_MORE

    def _authenticated(self, challenged: tuple[int, bytes], data: bytes) -> tuple[bytes, int]:
        """9.1.5, second part: RndA and RndB, turned by an octet; the answer brings the transaction and RndA, turned."""
        number, rnd_b = challenged
        if len(data) != 32:
            return b"", LENGTH_ERROR
        key = self.keys[number]
        told = cipher(key, ZEROS, data, decrypt=True)
        rnd_a, turned = told[:16], told[16:]
        if turned != rnd_b[1:] + rnd_b[:1]:
            return b"", AUTHENTICATION_ERROR
        transaction = self._random(4)
        self._session = Session(number, *session_keys(key, rnd_a, rnd_b), transaction)
        return cipher(key, ZEROS, transaction + rnd_a[1:] + rnd_a[:1] + bytes(12)), OK

    def _secured(self, session: Session, code: int, data: bytes) -> tuple[bytes, int]:
        """9.1.10: one octet of header, encrypted data, MAC; whatever is wrong with it ends the session."""
        header, sealed, mac = data[:1], data[1:-8], data[-8:]
        self._session = None
        if not sealed or len(sealed) % 16 or session.mac(code, header + sealed) != mac:
            return b"", INTEGRITY_ERROR
        plain = cipher(session.encryption_key, session.vector(b"\xa5\x5a"), sealed, decrypt=True)
        session.counter += 1
        change = self._change_key if code == 0xC4 else self._change_settings
        status = change(session, header[0], unpadded(plain))
        if status != OK:
            return b"", status
        if (code, header[0]) == (0xC4, session.number):
            return b"", OK  # 10.6.1: the key of the session itself is another now, and the session over
        self._session = session
        return session.mac(status & 0xFF, b""), OK

    def _change_key(self, session: Session, number: int, plain: bytes) -> int:
        """10.6.1: key 0 as it is; another under its old value, with a checksum; only with key 0."""
        if session.number != 0:
            return PERMISSION_DENIED
        if number >= len(self.keys):
            return NO_SUCH_KEY
        if len(plain) != (17 if number == 0 else 21):
            return LENGTH_ERROR
        new = plain[:16] if number == 0 else bytes(a ^ b for a, b in zip(plain[:16], self.keys[number], strict=True))
        if number != 0 and key_checksum(new) != plain[17:]:
            return INTEGRITY_ERROR
        self.keys[number], self.versions[number] = new, plain[16]
        return OK

    def _change_settings(self, session: Session, number: int, plain: bytes) -> int:
        """10.7.1, of file 2: with the key that its rights name; with mirroring the counter begins at 0 (9.3.1)."""
        if number != 2 or session.number != self.rights[0] & 0xF:
            return PERMISSION_DENIED
        if len(plain) < 3:
            return LENGTH_ERROR
        self.rights = plain[1:3]
        self.mirroring, self.counter = (Mirroring.parse(plain[3:]), 0) if plain[0] & 0x40 else (None, self.counter)
        return OK


@dataclass(frozen=True)
class Template:
    """A link with places into which a tag writes, as an NDEF message and as offsets into its file."""

    link: str
    """With `{picc}` or `{uid}` and `{counter}`, and `{mac}`."""
    covers_link: bool = False
    places: dict[str, int] = field(init=False, default_factory=dict)
    message: bytes = field(init=False)

    def __post_init__(self) -> None:
        rest = self.link.removeprefix("https://")
        for name, length in (("picc", 32), ("uid", 14), ("counter", 6), ("mac", 16)):
            if f"{{{name}}}" in rest:
                # NLEN, header, two lengths, type and prefix stand before the text
                self.places[name] = 7 + len(
                    rest.partition(f"{{{name}}}")[0].format(picc="0" * 32, uid="0" * 14, counter="0" * 6)
                )
                rest = rest.replace(f"{{{name}}}", "0" * length)
        content = b"\x04" + rest.encode()
        object.__setattr__(self, "message", bytes([0xD1, 0x01, len(content), ord("U")]) + content)

    def mirroring(self, meta: int, key: int) -> Mirroring:
        """Return the settings for it."""
        at = self.places
        mac_input = 7 if self.covers_link else at["mac"]
        return Mirroring(meta, key, mac_input, at["mac"], at.get("picc", 0), at.get("uid", 0), at.get("counter", 0))


def signing(uid: bytes, link: str, meta_key: bytes, file_key: bytes, *, covers_link: bool = False) -> Ntag424:
    """Return a tag that signs its link: key 1 encrypts UID and counter, key 2 signs; nobody can change it."""
    template = Template(link, covers_link)
    tag = Ntag424(uid)
    tag.keys[1:3] = [meta_key, file_key]
    tag.write_message(template.message)
    tag.mirroring = template.mirroring(1 if "picc" in template.places else FREE, 2)
    tag.rights = bytes.fromhex("00e0")
    return tag
