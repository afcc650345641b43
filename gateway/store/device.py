"""The public half of this gateway's own key: capture signs with the other, whoever reads its consents verifies."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.core.jws import Issuer, Issuers, SignatureError, Use
from gateway.sentence import sentence
from gateway.store.database import shared_by_both

PUBLIC = "device.pub"
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_EIGHTH = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_SMALL_ORDER = frozenset({0, 1, _P - 1, _EIGHTH, _P - _EIGHTH})
"""The y of all points whose order divides 8: under such a key anybody can make a signature that is taken for valid."""


def leave_public(directory: Path, key: Ed25519PublicKey) -> None:
    """Write the key as text, `x` of its JWK (RFC 8037), unless it stands there already. Raises OSError."""
    path, text = directory / PUBLIC, public_text(key)
    if not path.exists() or path.read_text(encoding="ascii").strip() != text:
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with shared_by_both():
            new.write_text(text + "\n", encoding="ascii")
        new.replace(path)


def public_text(key: Ed25519PublicKey) -> str:
    """Return a public key as `x` of its JWK: base64url, 43 characters."""
    return urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()


def public_key(text: str) -> Ed25519PublicKey:
    """Read a public key. Raises ValueError, also for octets that stand for no point, or one that all can sign for.

    The library takes any 32 octets; such a key would refuse every signature, or take a forged one.
    """
    octets = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    key = Ed25519PublicKey.from_public_bytes(octets)
    if public_text(key) != text or not _is_point(octets):
        raise ValueError("no Ed25519 public key")
    return key


def _is_point(octets: bytes) -> bool:
    """Tell whether octets stand for a point of edwards25519 that is not of small order (RFC 8032, section 5.1.3)."""
    y = int.from_bytes(octets, "little") & (1 << 255) - 1
    if y >= _P or y in _SMALL_ORDER:
        return False
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    return pow(square, (_P - 1) // 2, _P) == 1


@dataclass(slots=True)
class Device:
    """Verifies what this gateway has signed, under its name there (`kid`)."""

    directory: Path
    kid: str
    _issuers: Issuers | None = None

    def __call__(self, record: str) -> bytes:
        """Return the payload of a record. Raises SignatureError."""
        if self._issuers is None:
            self._issuers = self._read()
        try:
            return self._issuers.verify(record, Use.CONSENT)[1]
        except SignatureError:
            self._issuers = None  # the key may be another one by now
            raise

    def _read(self) -> Issuers:
        try:
            key = public_key((self.directory / PUBLIC).read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            raise SignatureError(sentence("the public key of this gateway cannot be read")) from None
        return Issuers([Issuer(self.kid, key, frozenset({Use.CONSENT}))])
