"""Signed messages: JWS compact serialisation with Ed25519 (RFC 7515; RFC 8037, `alg` EdDSA), issuers by `kid`.

A payload is looked at only after its signature has been verified with the key that this gateway knows under the
message's `kid`; whatever else a header says, a key of its own or `alg: none`, is never used.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt import PyJWS
from jwt.exceptions import PyJWTError

from gateway.sentence import sentence

LONGEST = 65_536
"""Octets of a signed message; longer ones are refused unread."""
_ALGORITHM = "EdDSA"
_JWS = PyJWS(algorithms=[_ALGORITHM])
_REST = 2
"""A JWS in compact form has a payload and a signature after its header (RFC 7515, section 3.1)."""
_HEADERS = 64
_LONGEST_HEADER = 1_024


@lru_cache(maxsize=_HEADERS)
def _kid(header: str) -> str:
    """Return whose key a header names: all that an issuer signs begins with the same one.

    Raises PyJWTError, ValueError, RecursionError.
    """
    if len(header) > _LONGEST_HEADER:
        raise ValueError(sentence("the header is too long"))
    return str(_JWS.get_unverified_header(f"{header}..").get("kid"))


class Use(StrEnum):
    """What an issuer may sign."""

    CONSENT = "consent"
    COMMAND = "command"
    CUE = "cue"


class SignatureError(Exception):
    """A message that no issuer of ours has signed; the text says what is wrong and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Somebody whose signature counts, and for what."""

    kid: str
    key: Ed25519PublicKey = field(repr=False)
    may: frozenset[Use] = frozenset(Use)


class Issuers:
    """The issuers that this gateway believes."""

    def __init__(self, issuers: Iterable[Issuer] = ()) -> None:
        self._by_kid = {issuer.kid: issuer for issuer in issuers}

    def any_for(self, use: Use) -> bool:
        """Tell whether anybody may sign this."""
        return any(use in issuer.may for issuer in self._by_kid.values())

    def verify(self, token: str | bytes, use: Use) -> tuple[str, bytes]:
        """Return the `kid` and the payload of a message that its issuer may sign. Raises SignatureError."""
        if len(token) > LONGEST:
            raise SignatureError(sentence("it is too long"))
        text = token if isinstance(token, str) else token.decode("latin-1")
        header, *rest = text.split(".")
        try:
            kid = _kid(header)
        except (PyJWTError, ValueError, RecursionError):
            raise SignatureError(sentence("it is no JWS in compact form")) from None
        if len(rest) != _REST:
            raise SignatureError(sentence("it is no JWS in compact form"))
        issuer = self._by_kid.get(kid)
        if issuer is None:
            raise SignatureError(sentence("its issuer is unknown"))
        if use not in issuer.may:
            raise SignatureError(sentence("its issuer may not sign a {use}").format(use=use))
        try:
            payload = _JWS.decode(text, issuer.key, algorithms=[_ALGORITHM])
        except (PyJWTError, ValueError, RecursionError):
            raise SignatureError(sentence("its signature is not valid")) from None
        return issuer.kid, bytes(payload)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs in somebody's name."""

    kid: str
    key: Ed25519PrivateKey = field(repr=False)

    def sign(self, payload: bytes) -> str:
        """Return the payload signed, in compact form."""
        return _JWS.encode(payload, self.key, algorithm=_ALGORITHM, headers={"kid": self.kid, "typ": None})

    def believed(self, *uses: Use) -> Issuers:
        """Return the issuers that believe this signer, and nobody else, in these uses."""
        return Issuers([Issuer(self.kid, self.key.public_key(), frozenset(uses))])
