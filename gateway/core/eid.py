"""Identifiers of Eddystone-EID, which only whoever has the beacon's identity key can tell from any other's.

google/eddystone, eddystone-eid/eid-computation.md. A beacon counts seconds, in 32 bits. Every 2^K seconds, a slot here,
it sends another identifier: AES-128 of the counter, the K lowest bits cleared, under a temporary key, which is AES-128
of the upper 16 bits of the counter under the identity key. The identifier is the first 8 octets.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from gateway.sentence import sentence

EID_OCTETS = 8
LONGEST_EXPONENT = 15
COUNTER_BITS = 32
VERSION = 1
MOST = 1000
"""Beacons in a file, at most."""
_BLOCK = 16
_SALT = 0xFF
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class BeaconKey:
    """What a resolver knows of a beacon of the store."""

    name: str
    key: bytes = field(repr=False)
    """The identity key, 16 octets."""
    exponent: int
    """K, 0 to 15: it sends another identifier every 2^K seconds."""
    zero_ms: int
    """When its counter stood at 0, or would have (Unix time, milliseconds)."""

    def counter(self, wall_ms: int) -> int:
        """Return where its counter would be at a Unix time, had it kept time (seconds)."""
        return (wall_ms - self.zero_ms) // 1000

    def start(self, slot: int) -> bytes:
        """Return the counter at the start of a slot, as it stands in what the beacon encrypts."""
        return (slot << self.exponent & (1 << COUNTER_BITS) - 1).to_bytes(4, "big")

    def eids(self, slots: range) -> Iterator[bytes]:
        """Return the identifier of each of these slots; what shares a temporary key is encrypted in one go."""
        for top, group in groupby(map(self.start, slots), lambda start: start[:2]):
            temporary = _encrypt(self.key, bytes(11) + bytes([_SALT, 0, 0]) + top)
            sealed = _encrypt(temporary, b"".join(bytes(11) + bytes([self.exponent]) + start for start in group))
            yield from (sealed[at : at + EID_OCTETS] for at in range(0, len(sealed), _BLOCK))


def _encrypt(key: bytes, blocks: bytes) -> bytes:
    return Cipher(AES(key), ECB()).encryptor().update(blocks)  # noqa: S305  # what the specification says


def from_json(text: str) -> tuple[BeaconKey, ...]:
    """Read the keys of the store's beacons. Raises ValueError, which says where it is wrong, never what stands there.

    `{"version": 1, "beacons": [{"name", "key", "exponent", "counter", "at"}]}`: the key in 32 hexadecimal digits; the
    beacon's counter, in seconds, and when it stood there (RFC 3339), as they were when the beacon was registered.
    """
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(sentence("it is not JSON")) from None
    if not isinstance(read, dict) or read.get("version") != VERSION or not isinstance(read.get("beacons"), list):
        raise ValueError(sentence("it needs version {version} and a list of beacons").format(version=VERSION))
    if len(read["beacons"]) > MOST:
        raise ValueError(sentence("it holds more than {most} beacons").format(most=MOST))
    found = tuple(_beacon(at, each) for at, each in enumerate(read["beacons"], 1))
    for what, values in (("name", {each.name for each in found}), ("key", {each.key for each in found})):
        if len(values) < len(found):
            raise ValueError(sentence("two beacons have the same {what}").format(what=what))
    return found


def _beacon(at: int, read: object) -> BeaconKey:
    if not isinstance(read, dict):
        raise ValueError(sentence("beacon {at}: is no object").format(at=at))  # noqa: TRY004  # to whoever reads files it is the same
    return BeaconKey(
        name=_text(at, read, "name", _NAME, sentence("1 to 64 letters, digits, '.', '_' or '-'")),
        key=bytes.fromhex(_text(at, read, "key", _KEY, sentence("32 hexadecimal digits"))),
        exponent=_number(at, read, "exponent", LONGEST_EXPONENT),
        zero_ms=_time(at, read) - 1000 * _number(at, read, "counter", (1 << COUNTER_BITS) - 1),
    )


def _text(at: int, read: dict[str, Any], name: str, shape: re.Pattern[str], words: str) -> str:
    value = read.get(name)
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise ValueError(sentence("beacon {at}: {name} must be {words}").format(at=at, name=name, words=words))
    return value


def _number(at: int, read: dict[str, Any], name: str, most: int) -> int:
    value = read.get(name)
    if type(value) is not int or not 0 <= value <= most:  # to isinstance, true is the integer 1
        raise ValueError(
            sentence("beacon {at}: {name} must be a number from 0 to {most}").format(at=at, name=name, most=most)
        )
    return value


def _time(at: int, read: dict[str, Any]) -> int:
    try:
        when = datetime.fromisoformat(read["at"])
        return (when - _EPOCH) // _MILLISECOND
    except (KeyError, TypeError, ValueError, OverflowError):  # TypeError: no text, or a time without its zone
        raise ValueError(sentence("beacon {at}: at must be a time like 2026-11-21T10:00:00Z").format(at=at)) from None
