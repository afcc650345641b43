"""AES-EAX, of which `cryptography` has the parts and not the mode: CMAC of RFC 4493, counter mode of SP 800-38A.

M. Bellare, P. Rogaway, D. Wagner: The EAX Mode of Operation, FSE 2004, figures 3 and 4.
"""

from hmac import compare_digest

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.cmac import CMAC

_BLOCK = 16
_NONCE, _HEADER, _CIPHERTEXT = range(3)


def decrypt(key: bytes, nonce: bytes, ciphertext: bytes, tag: bytes, header: bytes = b"") -> bytes | None:
    """Return the plaintext; None if the tag is not the message's. A tag may be the first octets of the whole one."""
    start = _omac(key, _NONCE, nonce)
    macs = zip(start, _omac(key, _HEADER, header), _omac(key, _CIPHERTEXT, ciphertext), strict=True)
    whole = bytes(one ^ two ^ three for one, two, three in macs)
    if not compare_digest(whole[: len(tag)], tag):
        return None
    return Cipher(AES(key), CTR(start)).decryptor().update(ciphertext)


def _omac(key: bytes, tweak: int, data: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(tweak.to_bytes(_BLOCK, "big") + data)
    return mac.finalize()
