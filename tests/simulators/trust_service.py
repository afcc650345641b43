"""The brand's trust service: it alone holds the root, and with it joins what no gateway and no consumer can join.

It is written from the key table of the contract and shares no code with the gateway:

    epoch key   = HKDF-SHA256(root, "touchpoint/v1/pseudonym\\0{tenant}\\0{site}\\0{epoch}")
    consent key = HKDF-SHA256(root, "touchpoint/v1/consent\\0{tenant}\\0{site}")
    use key     = HKDF-SHA256(epoch key, "touchpoint/v1/use\\0{purpose}\\0{identifier kind}")
    handle, pseudonym, proof = the first 16 octets of HMAC-SHA256 under one of them, base64url
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Token = tuple[str, str]
"""Kind and value of what a customer carries."""


@cache
def hkdf(key: bytes, info: str) -> bytes:
    """RFC 5869 with SHA-256, an empty salt and 32 octets of output: one block."""
    extracted = hmac.digest(bytes(32), key, hashlib.sha256)
    return hmac.digest(extracted, info.encode() + b"\1", hashlib.sha256)


def short(key: bytes, message: str) -> str:
    """The first 16 octets of a MAC, in base64url without padding."""
    return urlsafe_b64encode(hmac.digest(key, message.encode(), hashlib.sha256)[:16]).rstrip(b"=").decode()


@dataclass(frozen=True)
class TrustService:
    """Computes every name that a customer has anywhere."""

    root: bytes = field(repr=False)

    def consent_key(self, tenant: str, site: str) -> bytes:
        return hkdf(self.root, f"touchpoint/v1/consent\0{tenant}\0{site}")

    def epoch_key(self, tenant: str, site: str, epoch: str) -> bytes:
        return hkdf(self.root, f"touchpoint/v1/pseudonym\0{tenant}\0{site}\0{epoch}")

    def handle(self, tenant: str, site: str, token: Token) -> str:
        return "h1." + short(self.consent_key(tenant, site), "\0".join(token))

    def pseudonym(self, place: tuple[str, str, str], purpose: str, token: Token) -> str:
        """Name the bearer of a token for a purpose; `place` is tenant, site and epoch."""
        return f"tp1.{place[2]}." + short(self._use_key(place, purpose, token), token[1])

    def proof(self, place: tuple[str, str, str], purpose: str, token: Token, record_id: str) -> str:
        return short(self._use_key(place, purpose, token), f"record\0{record_id}")

    def _use_key(self, place: tuple[str, str, str], purpose: str, token: Token) -> bytes:
        return hkdf(self.epoch_key(*place), f"touchpoint/v1/use\0{purpose}\0{token[0]}")

    def bearer(self, event: Mapping[str, Any], customers: Mapping[str, Iterable[Token]]) -> str | None:
        """Return whose event this is; None for an event without a subject, or of a subject who is nobody here."""
        found = self.token(event, [token for tokens in customers.values() for token in tokens])
        return next((name for name, tokens in customers.items() if found in list(tokens)), None)

    def token(self, event: Mapping[str, Any], tokens: Iterable[Token]) -> Token | None:
        """Return by which token the subject of an event is named there."""
        subject = event["data"].get("subject")
        if subject is None:
            return None
        _, _, tenant, site, _ = event["source"].split(":")
        epoch, purpose = subject["pseudonym"].split(".")[1], subject["consent"]["purpose"]
        named = (t for t in tokens if self.pseudonym((tenant, site, epoch), purpose, t) == subject["pseudonym"])
        return next(named, None)
