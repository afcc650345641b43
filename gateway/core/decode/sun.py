"""SUN messages of NTAG 424 DNA: a link that the tag signs anew, with its counter, each time it is read.

    https://id.acme.example/t?picc_data={32 hex}&cmac={16 hex}                 UID and counter encrypted
    https://id.acme.example/t?picc_data={32 hex}&enc={hex}&cmac={16 hex}       and file data
    https://id.acme.example/t?uid={14 hex}&ctr={6 hex}&cmac={16 hex}           UID and counter in plain text

Sources: NXP NT4H2421Gx, section 9.3 (Secure Dynamic Messaging); NXP AN12196, sections 3.3 and 3.4.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from gateway.core.decode import link

KEY_OCTETS = BLOCK_OCTETS = 16
UID_OCTETS, COUNTER_OCTETS, MAC_OCTETS = 7, 3, 8
PICC_DATA_TAG = 0xC7
"""UID mirrored, counter mirrored, a UID of seven octets (NT4H2421Gx, table 21)."""
SESSION_MAC = bytes.fromhex("3cc300010080")
"""SV2 begins so (NT4H2421Gx, 9.3.9.1)."""
_HEX = re.compile(r"([0-9A-Fa-f]{2})+", re.ASCII)


class Covers(StrEnum):
    """What of the link the MAC is over: where SDMMACInputOffset points to."""

    NOTHING = "nothing"
    """At the MAC itself: only UID and counter are proven."""
    FILE_DATA = "file-data"
    """At the encrypted file data."""
    LINK = "link"
    """At the first character after `://`: the whole link is proven."""


@dataclass(frozen=True, slots=True)
class Mirrors:
    """The parameters of a link into which a tag writes."""

    picc: str = "picc_data"
    file_data: str = "enc"
    uid: str = "uid"
    counter: str = "ctr"
    mac: str = "cmac"
    covers: Covers = Covers.NOTHING

    @property
    def names(self) -> tuple[str, ...]:
        """Every parameter that a tag may write."""
        return self.picc, self.file_data, self.uid, self.counter, self.mac


MIRRORS = Mirrors()
"""The names that AN12196 uses."""


@dataclass(frozen=True, slots=True)
class Message:
    """A link that says it is a SUN message; nothing of it is proven."""

    bare: str | None
    """The link without what the tag has written, in canonical text: the same at every reading."""
    encrypted: bool
    """UID and counter are; else they stand there as text."""
    picc: bytes | None = field(repr=False)
    """Encrypted UID and counter; None if malformed."""
    plain: bytes | None = field(repr=False)
    """UID, and counter as the tag uses it (LSB first); None if malformed."""
    mac: bytes | None = field(repr=False)
    """None if malformed."""
    signed: bytes = field(repr=False)
    """What the MAC is over."""
    whole: bool
    """The MAC is over the link and ends it: whoever proves the MAC proves the link."""


@dataclass(frozen=True, slots=True)
class TagKeys:
    """The keys that verify the tags of a store's stock."""

    tags: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """SDMFileReadKey by UID."""
    meta: bytes | None = field(default=None, repr=False)
    """SDMMetaReadKey, which all tags share; None if none encrypts its UID."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a tag has proven."""

    uid: bytes = field(repr=False)
    counter: int
    """How many times it was read (SDMReadCtr)."""
    key: bytes = field(repr=False)
    """The key under which it did."""


class Unproven(StrEnum):
    """Why a message proves nothing."""

    FORGED = "forged"
    """No tag made it under the keys that are here."""
    NO_KEY = "no-key"
    """The key to tell is not here."""


def find(text: str, mirrors: Mirrors = MIRRORS) -> Message | None:
    """Take a link apart that says it is a SUN message; None for every other text.

    It says so by its MAC, with the encrypted PICC data, or with UID and counter, beside it; whatever these hold.
    """
    if f"{mirrors.mac}=" not in text or len(text) > link.LONGEST:
        return None
    text = text.partition("#")[0]
    before, _, query = text.partition("?")
    parameters = [each.partition("=")[::2] for each in query.split("&")]
    names = [name for name, _ in parameters]
    encrypted = mirrors.picc in names
    if mirrors.mac not in names or not (encrypted or {mirrors.uid, mirrors.counter} <= set(names)):
        return None
    written = {name: value for name, value in parameters if name in mirrors.names and names.count(name) == 1}
    rest = "&".join(each for each, name in zip(query.split("&"), names, strict=True) if name not in mirrors.names)
    uid, counter = _octets(written, mirrors.uid, UID_OCTETS), _octets(written, mirrors.counter, COUNTER_OCTETS)
    return Message(
        bare=link.canonical(f"{before}?{rest}" if rest else before),
        encrypted=encrypted,
        picc=_octets(written, mirrors.picc, BLOCK_OCTETS),
        plain=None if uid is None or counter is None else uid + counter[::-1],
        mac=_octets(written, mirrors.mac, MAC_OCTETS),
        signed=_signed(text, mirrors),
        whole=mirrors.covers is Covers.LINK and names[-1] == mirrors.mac,
    )


def verify(message: Message, keys: TagKeys) -> Verified | Unproven:
    """Verify a message, in constant time as far as its MAC goes. It says nothing about whether it is a copy."""
    told = _told(message, keys)
    if isinstance(told, Unproven):
        return told
    key = keys.tags.get(told[:UID_OCTETS])
    if key is None:
        return Unproven.NO_KEY
    right = truncated_mac(session_key(key, told), message.signed)
    if message.mac is None or not hmac.compare_digest(right, message.mac):
        return Unproven.FORGED
    return Verified(told[:UID_OCTETS], int.from_bytes(told[UID_OCTETS:], "little"), key)


def session_key(key: bytes, uid_and_counter: bytes) -> bytes:
    """Return SesSDMFileReadMACKey: CMAC over SV2, zero-padded to the block (NT4H2421Gx, 9.3.9.1)."""
    vector = SESSION_MAC + uid_and_counter
    return cmac(key, vector + bytes(-len(vector) % BLOCK_OCTETS))


def truncated_mac(key: bytes, message: bytes) -> bytes:
    """Return SDMMAC: the second, fourth, ... sixteenth octet of the CMAC (NT4H2421Gx, 9.3.8.1 and 9.1.3)."""
    return cmac(key, message)[1::2]


def cmac(key: bytes, message: bytes) -> bytes:
    """Return AES-CMAC (NIST SP 800-38B)."""
    made = CMAC(AES(key))
    made.update(message)
    return made.finalize()


def _told(message: Message, keys: TagKeys) -> bytes | Unproven:
    """Return UID and counter as the message has them; or why it has none that can be read."""
    if not keys.tags or (message.encrypted and keys.meta is None):
        return Unproven.NO_KEY
    if not message.encrypted:
        return Unproven.FORGED if message.plain is None else message.plain
    data = None if message.picc is None else _decrypted(message.picc, keys.meta or b"")
    # Another tag means another key, or something else than UID and counter.
    if data is None or data[0] != PICC_DATA_TAG:
        return Unproven.FORGED
    return data[1 : 1 + UID_OCTETS + COUNTER_OCTETS]


def _decrypted(picc: bytes, key: bytes) -> bytes:
    """Return PICCData: tag, UID, counter (LSB first), random padding (NT4H2421Gx, 9.3.4.1)."""
    decryptor = Cipher(AES(key), CBC(bytes(BLOCK_OCTETS))).decryptor()
    return decryptor.update(picc) + decryptor.finalize()


def _octets(written: Mapping[str, str], name: str, length: int) -> bytes | None:
    """Return the octets of a parameter; None if it is missing or of another length."""
    text = written.get(name, "")
    return bytes.fromhex(text) if len(text) == 2 * length and _HEX.fullmatch(text) else None


def _signed(text: str, mirrors: Mirrors) -> bytes:
    """Return what the MAC is over: the text as the tag wrote it, up to where the MAC begins."""
    if mirrors.covers is Covers.NOTHING:
        return b""
    whole = mirrors.covers is Covers.LINK
    begin = text.find("://") + len("://") if whole else _value_at(text, mirrors.file_data)
    return text[begin : _value_at(text, mirrors.mac)].encode("utf-8", "surrogatepass")


def _value_at(text: str, name: str) -> int:
    """Return where the value of a parameter begins; the end of the text if there is no such parameter."""
    found = re.search(rf"[?&]{re.escape(name)}=", text)
    return len(text) if found is None else found.end()
