r"""What is derived from the store's tag key: nothing secret is kept of a tag, and no UID.

password = HMAC-SHA256(key, "touchpoint/v1/tag-password\0" || UID)[:6]              PWD, then PACK
tag      = base64url(HMAC-SHA256(key, "touchpoint/v1/tag-inventory\0" || UID)[:16]) its name in the inventory
key n    = HMAC-SHA256(key, "touchpoint/v1/tag-key\0" || n || UID)[:16]             AES-128, of an NTAG 424 DNA
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TagSecret:
    """The key of a store, from which those of its tags follow."""

    key: bytes = field(repr=False)

    def password(self, uid: bytes) -> bytes:
        """Return PWD (4 bytes) and PACK (2 bytes) of a tag."""
        return self._derived(b"tag-password", uid)[:6]

    def name(self, uid: bytes) -> str:
        """Return what a tag is called in the inventory."""
        return urlsafe_b64encode(self._derived(b"tag-inventory", uid)[:16]).rstrip(b"=").decode("ascii")

    def aes(self, number: int, uid: bytes) -> bytes:
        """Return a key of an NTAG 424 DNA that is not for its messages."""
        return self._derived(b"tag-key", bytes([number]) + uid)[:16]

    def _derived(self, use: bytes, of: bytes) -> bytes:
        return hmac.digest(self.key, b"touchpoint/v1/" + use + b"\0" + of, hashlib.sha256)
