"""What the boutique's devices send: advertisements and NFC messages, built by the formats' own rules."""

import struct
from random import Random

HTTPS = 0x04
"""The URI record's code for `https://` (NFC Forum RTD URI 1.0, section 3.2.2)."""
APPLE, MICROSOFT = 0x004C, 0x0006
EDDYSTONE = "feaa"
EXPOSURE, FAST_PAIR = "fd6f", "fe2c"


def ndef_link(url: str) -> bytes:
    """Return an NDEF message of one short URI record (NFC Forum NDEF 1.0, section 3.2). The link begins with https."""
    payload = bytes([HTTPS]) + url.removeprefix("https://").encode("ascii")
    return bytes([0xD1, 0x01, len(payload)]) + b"U" + payload


def ibeacon(uuid: bytes, major: int, minor: int, power: int = -59) -> dict[int, bytes]:
    """Return the manufacturer data of an iBeacon; `power` is what is received at 1 m, dBm."""
    return {APPLE: b"\x02\x15" + uuid + struct.pack(">HHb", major, minor, power)}


def eddystone_uid(namespace: bytes, instance: bytes, power: int = -18) -> dict[str, bytes]:
    """Return the service data of an Eddystone-UID frame; `power` is what is received at 0 m, dBm."""
    return {EDDYSTONE: struct.pack(">Bb", 0x00, power) + namespace + instance + bytes(2)}


def eddystone_tlm(battery_mv: int, temperature_c: float, advertisements: int, uptime_s: float) -> dict[str, bytes]:
    """Return the service data of a plain Eddystone-TLM frame."""
    temperature = round(temperature_c * 256)
    return {EDDYSTONE: struct.pack(">BBHhII", 0x20, 0, battery_mv, temperature, advertisements, round(uptime_s * 10))}


def private_address(random: Random) -> bytes:
    """Return a resolvable private address, as phones use: it begins with the bits 01 (Core 5.4, Vol 6, B, 1.3.2)."""
    first, *rest = random.randbytes(6)
    return bytes([first & 0x3F | 0x40, *rest])


def phone(random: Random) -> tuple[dict[int, bytes], dict[str, bytes]]:
    """Return manufacturer and service data as some stranger's phone or watch sends them all day."""
    return random.choice(
        [
            ({APPLE: b"\x10\x07" + random.randbytes(7)}, {}),  # Continuity, nearby info
            ({APPLE: b"\x12\x19" + random.randbytes(25)}, {}),  # Find My
            ({MICROSOFT: b"\x01\x09\x20\x02" + random.randbytes(23)}, {}),  # Swift Pair
            ({}, {EXPOSURE: random.randbytes(20)}),
            ({}, {FAST_PAIR: random.randbytes(9)}),
        ]
    )
