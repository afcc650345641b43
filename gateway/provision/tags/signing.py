"""What an NTAG 424 DNA writes into its link at each reading (SUN): where, under which keys, and the proof of it.

Sources: NXP NT4H2421Gx, rev. 3.0: mirroring (9.3), ChangeFileSettings (10.7.1).
"""

from dataclasses import dataclass
from typing import Final

from gateway.core.decode import ndef, sun
from gateway.core.decode.sun import Covers, Mirrors, TagKeys
from gateway.language import _
from gateway.provision.tags.fault import Fault, TagError

OPTIONS: Final = bytes.fromhex("c1ff12")
"""SDMOptions: UID, counter, ASCII; SDMAccessRights: the counter to nobody, key 1 encrypts, key 2 signs."""
PICC_DIGITS, MAC_DIGITS = 32, 16
LENGTH_OCTETS: Final = 2
"""The length of the message stands before it in the file."""
LINK_AT: Final = 7
"""Where the link begins behind `https://`: after length, record header and prefix code."""


@dataclass(frozen=True, slots=True)
class Signing:
    """How the store's tags sign."""

    keys: TagKeys
    mirrors: Mirrors

    def key(self, number: int, uid: bytes) -> bytes | None:
        """Return SDMMetaReadKey (1) or SDMFileReadKey (2) of a tag; None for other numbers. Raises TagError."""
        if number not in {1, 2}:
            return None
        key = self.keys.meta if number == 1 else self.keys.tags.get(uid)
        if key is None:
            text = _(
                "The keys of this tag are not in the store's key file: order them from the trust service, [sun] keys."
            )
            raise TagError(Fault.NO_KEYS, text)
        return key

    def link(self, link: str, uid: bytes) -> str:
        """Return a link with places of zeros, into which the tag of this UID writes. Raises TagError."""
        self.key(1, uid)
        self.key(2, uid)
        if self.mirrors.covers is Covers.FILE_DATA:
            text = _('Tags with [sun] covers = "file-data" are not written here: choose "link" or "nothing".')
            raise TagError(Fault.NO_KEYS, text)
        places = f"{self.mirrors.picc}={'0' * PICC_DIGITS}&{self.mirrors.mac}={'0' * MAC_DIGITS}"
        return f"{link}{'&' if '?' in link else '?'}{places}"

    def settings(self, message: bytes) -> bytes:
        """Return what ChangeFileSettings has behind the access rights, for a message that `link` has made."""
        picc, mac = (_behind(message, name) for name in (self.mirrors.picc, self.mirrors.mac))
        covered = LINK_AT if self.mirrors.covers is Covers.LINK else mac
        return OPTIONS + b"".join(at.to_bytes(3, "little") for at in (picc, covered, mac))

    def proven(self, message: bytes) -> bool:
        """Tell whether a message that a tag has shown is signed as the gateway wants it."""
        shown = ndef.first(message)
        found = sun.find(shown.text, self.mirrors) if isinstance(shown, ndef.Uri) else None
        return found is not None and isinstance(sun.verify(found, self.keys), sun.Verified)


def _behind(message: bytes, name: str) -> int:
    """Return where in the file the value of a parameter begins."""
    return LENGTH_OCTETS + message.rindex(f"{name}=".encode()) + len(name) + 1
