"""The public half of this gateway's own key: capture signs with the other, whoever reads its consents verifies."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.core.jws import Issuer, Issuers, SignatureError, Use

PUBLIC = "device.pub"


def leave_public(directory: Path, key: Ed25519PublicKey) -> None:
    """Write the key as text, `x` of its JWK (RFC 8037), unless it stands there already. Raises OSError."""
    path, text = directory / PUBLIC, public_text(key)
    if not path.exists() or path.read_text(encoding="ascii").strip() != text:
        new = path.with_suffix(".new")
        new.write_text(text + "\n", encoding="ascii")
        new.replace(path)


def public_text(key: Ed25519PublicKey) -> str:
    """Return a public key as `x` of its JWK: base64url, 43 characters."""
    return urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()


def public_key(text: str) -> Ed25519PublicKey:
    """Read a public key. Raises ValueError."""
    return Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)))


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
            raise SignatureError("the public key of this gateway cannot be read") from None
        return Issuers([Issuer(self.kid, key, frozenset({Use.CONSENT}))])
