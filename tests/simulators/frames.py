"""What beacons, tags and printed codes send, written from the specifications and not from the decoders.

Beacon frames are as bleak hands them over: manufacturer data without the company, service data without the UUID.
"""

from struct import pack

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

DOMAINS = {".com": 0, ".org": 1, ".edu": 2, ".net": 3, ".info": 4, ".biz": 5, ".gov": 6}
MESSAGE_BEGIN, MESSAGE_END, CHUNK, SHORT, HAS_ID = 0x80, 0x40, 0x20, 0x10, 0x08
EMPTY, WELL_KNOWN, MEDIA, ABSOLUTE_URI = 0, 1, 2, 3


def ibeacon(uuid: bytes, major: int, minor: int, power: int) -> bytes:
    """Return an iBeacon's manufacturer data (company 0x004C)."""
    return pack(">BB16sHHb", 0x02, 0x15, uuid, major, minor, power)


def altbeacon(beacon_id: bytes, power: int, reserved: int = 0) -> bytes:
    """Return an AltBeacon's manufacturer data."""
    return pack(">H20sbB", 0xBEAC, beacon_id, power, reserved)


def eddystone_uid(namespace: bytes, instance: bytes, power: int, reserved: bytes = b"\0\0") -> bytes:
    """Return an Eddystone-UID frame."""
    return pack(">Bb10s6s", 0x00, power, namespace, instance) + reserved


def eddystone_url(scheme: int, encoded: bytes, power: int = 0) -> bytes:
    """Return an Eddystone-URL frame."""
    return pack(">BbB", 0x10, power, scheme) + encoded


def eddystone_tlm(millivolts: int, temperature_256: int, advertisements: int, deciseconds: int) -> bytes:
    """Return an unencrypted Eddystone-TLM frame; the temperature in 1/256 degrees C."""
    return pack(">BBHhLL", 0x20, 0x00, millivolts, temperature_256, advertisements, deciseconds)


def eddystone_etlm(key: bytes, time: int, salt: bytes, plain: bytes) -> bytes:
    """Return an encrypted Eddystone-TLM frame; the time with its K lowest bits cleared, the telemetry in 12 octets.

    EAX from single blocks of AES, as the beacon's firmware has it: OMACs of nonce, header and ciphertext, each of which
    fits into one block behind its tweak.
    """

    def aes(block: bytes) -> bytes:
        return Cipher(AES(key), ECB()).encryptor().update(block)  # noqa: S305

    def doubled(value: int) -> int:
        return (value << 1 & (1 << 128) - 1) ^ (0x87 if value >> 127 else 0)

    def omac(tweak: int, data: bytes) -> bytes:
        once = doubled(int.from_bytes(aes(bytes(16)), "big"))
        if not data:
            return aes((tweak ^ once).to_bytes(16, "big"))
        last = int.from_bytes((data + b"\x80").ljust(16, b"\0"), "big") ^ doubled(once)
        return aes((int.from_bytes(aes(tweak.to_bytes(16, "big")), "big") ^ last).to_bytes(16, "big"))

    nonce = omac(0, time.to_bytes(4, "big") + salt)
    ciphertext = bytes(one ^ two for one, two in zip(aes(nonce), plain, strict=False))
    macs = zip(nonce, omac(1, b""), omac(2, ciphertext), strict=True)
    return b"\x20\x01" + ciphertext + salt + bytes(one ^ two ^ three for one, two, three in macs)[:2]


def eddystone_eid(eid: bytes, power: int) -> bytes:
    """Return an Eddystone-EID frame."""
    return pack(">Bb8s", 0x30, power, eid)


def record(tnf: int, kind: bytes, payload: bytes, *, id_: bytes | None = None, short: bool | None = None) -> bytes:
    """Return an NDEF record without its place in a message; short if it fits, unless told."""
    brief = len(payload) < 256 if short is None else short
    header = tnf | (SHORT if brief else 0) | (HAS_ID if id_ is not None else 0)
    length = pack(">B", len(payload)) if brief else pack(">L", len(payload))
    id_length = b"" if id_ is None else pack(">B", len(id_))
    return pack(">BB", header, len(kind)) + length + id_length + kind + (id_ or b"") + payload


def message(*records: bytes) -> bytes:
    """Return the NDEF message of these records."""
    last = len(records) - 1
    marks = [(MESSAGE_BEGIN if at == 0 else 0) | (MESSAGE_END if at == last else 0) for at in range(len(records))]
    return b"".join(bytes([each[0] | mark]) + each[1:] for each, mark in zip(records, marks, strict=True))


def uri(text: str, code: int = 0) -> bytes:
    """Return a URI record; `code` abbreviates what goes before the text."""
    return record(WELL_KNOWN, b"U", bytes([code]) + text.encode())


def text(content: str, language: str = "en", encoding: str = "utf-8") -> bytes:
    """Return a text record in UTF-8, or in any of Python's UTF-16."""
    status = len(language) | (0 if encoding == "utf-8" else 0x80)
    return record(WELL_KNOWN, b"T", bytes([status]) + language.encode() + content.encode(encoding))


def gtin(digits: str) -> str:
    """Put the check digit behind the other digits of a GTIN."""
    weighted = sum(int(digit) * weight for digit, weight in zip(digits[::-1], (3, 1) * 9, strict=False))
    return f"{digits}{(10 - weighted % 10) % 10}"
