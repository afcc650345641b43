"""Keys, handles, pseudonyms and proofs: HMAC-SHA256 under keys that HKDF (RFC 5869) derives from one root.

The root belongs to the brand's trust service and never lies on a gateway. A gateway holds a ring: the consent key of
its site, which does not rotate, and the keys of a few epochs, which do. What each key is for is part of its
derivation, so that pseudonyms of two purposes, epochs or sites cannot be joined without the root.
"""

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import NoneType
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.core.sighting import Identifier
from gateway.sentence import sentence

KEY_OCTETS = 32
SHORT_OCTETS = 16
"""Handles, pseudonyms and proofs are the first 128 bits of their MAC."""
VERSION = 1
GRACE_MS = 72 * 3_600_000
"""So long after its end the key of an epoch is used for what began in it; then never again."""
_EPOCH_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
"""What can stand between the dots of a pseudonym."""
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Epoch:
    """The key of one span of time; pseudonyms of two epochs cannot be joined without the root."""

    id: str
    key: bytes = field(repr=False)
    from_ms: int
    until_ms: int | None
    """The first Unix millisecond after it; None while open."""

    def ended(self, now_ms: int) -> bool:
        """Tell whether it is over at a Unix time."""
        return self.until_ms is not None and now_ms >= self.until_ms

    def usable(self, now_ms: int) -> bool:
        """Tell whether what began in it may still be told under its key, at a Unix time."""
        return self.until_ms is None or now_ms < self.until_ms + GRACE_MS


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What a gateway holds of its site's keys."""

    tenant: str
    site: str
    consent_key: bytes = field(repr=False)
    epochs: tuple[Epoch, ...]

    def current(self, now_ms: int, activated: str | None = None) -> Epoch | None:
        """Return the epoch in force at a Unix time; of several, the one that began last. None when there is none.

        The one that the centre has activated is in force until it ends, and for as long as its key is used if no other
        takes its place.
        """
        chosen = None if activated is None else self.epoch(activated)
        if chosen is not None and not chosen.ended(now_ms):
            return chosen
        in_force = [epoch for epoch in self.epochs if epoch.from_ms <= now_ms and not epoch.ended(now_ms)]
        if not in_force and chosen is not None and chosen.usable(now_ms):
            return chosen
        return max(in_force, key=lambda epoch: epoch.from_ms, default=None)

    def epoch(self, name: str) -> Epoch | None:
        """Return the epoch of this id, if the ring has it."""
        return next((epoch for epoch in self.epochs if epoch.id == name), None)

    def to_json(self) -> str:
        """Write the ring as the text of its file. It holds the keys."""
        epochs = [
            {"id": epoch.id, "key": _encode(epoch.key), "from": _write(epoch.from_ms), "until": _write(epoch.until_ms)}
            for epoch in self.epochs
        ]
        ring = {
            "version": VERSION,
            "tenant": self.tenant,
            "site": self.site,
            "consent_key": _encode(self.consent_key),
            "epochs": epochs,
        }
        return json.dumps(ring, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "KeyRing":
        """Read a ring from the text of its file. Raises ValueError: it names the field and never shows its content."""
        try:
            ring = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(sentence("it is not JSON")) from None
        if _field(ring, "version", int) != VERSION:
            raise ValueError(sentence("version: this gateway reads version {version}").format(version=VERSION))
        return cls(
            tenant=_field(ring, "tenant", str),
            site=_field(ring, "site", str),
            consent_key=_key(ring, "consent_key"),
            epochs=tuple(_epoch(each) for each in _field(ring, "epochs", list)),
        )


def derive(root: bytes, tenant: str, site: str, epochs: Iterable[tuple[str, int, int | None]]) -> KeyRing:
    """Derive the ring of a site from the root. `epochs`: id, first Unix millisecond, first millisecond after it."""
    return KeyRing(
        tenant=tenant,
        site=site,
        consent_key=_hkdf(root, f"touchpoint/v1/consent\0{tenant}\0{site}"),
        epochs=tuple(
            Epoch(id_, _hkdf(root, f"touchpoint/v1/pseudonym\0{tenant}\0{site}\0{id_}"), from_ms, until_ms)
            for id_, from_ms, until_ms in epochs
        ),
    )


def handle(ring: KeyRing, token: Identifier) -> str:
    """Return the keyed hash under which the ledger knows a token, `h1.` and 22 characters. It stays in the store."""
    return "h1." + _mac(ring.consent_key, f"{token.kind}\0{token.value}")


def pseudonym(epoch: Epoch, purpose: str, token: Identifier) -> str:
    """Return the name that leaves the store, `tp1.{epoch}.` and 22 characters: one purpose, one epoch, one site."""
    return f"tp1.{epoch.id}.{_mac(_use_key(epoch.key, purpose, token.kind), token.value)}"


def proof(epoch: Epoch, purpose: str, kind: str, record_id: str) -> str:
    """Return what ties an event to its consent record for whoever holds the key, and joins pseudonyms for nobody."""
    return _mac(_use_key(epoch.key, purpose, kind), f"record\0{record_id}")


@lru_cache(maxsize=256)
def _use_key(epoch_key: bytes, purpose: str, kind: str) -> bytes:
    """Purposes and kinds are closed sets, so few keys are ever derived."""
    return _hkdf(epoch_key, f"touchpoint/v1/use\0{purpose}\0{kind}")


def forget_keys() -> None:
    """Forget the keys that were derived from epochs' keys: an epoch may be gone."""
    _use_key.cache_clear()


def _hkdf(key: bytes, info: str) -> bytes:
    return HKDF(SHA256(), KEY_OCTETS, salt=b"", info=info.encode()).derive(key)


def _mac(key: bytes, message: str) -> str:
    return _encode(hmac.digest(key, message.encode(), "sha256")[:SHORT_OCTETS])


def _encode(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def _epoch(epoch: object) -> Epoch:
    until = _field(epoch, "until", str, NoneType)
    return Epoch(
        id=_epoch_id(_field(epoch, "id", str)),
        key=_key(epoch, "key"),
        from_ms=_read(_field(epoch, "from", str), "from"),
        until_ms=None if until is None else _read(until, "until"),
    )


def _epoch_id(text: str) -> str:
    if not _EPOCH_ID.fullmatch(text):
        raise ValueError(sentence("id: must be 1 to 32 letters, digits, '_' or '-'"))
    return text


def _field(value: object, name: str, *kinds: type) -> Any:  # noqa: ANN401  # JSON
    # By exact type: to isinstance, true is the integer 1.
    if not isinstance(value, dict) or name not in value or type(value[name]) not in kinds:
        raise ValueError(sentence("{name}: missing, or not of the expected kind").format(name=name))
    return value[name]


def _key(value: object, name: str) -> bytes:
    text = _field(value, name, str)
    try:
        key = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        key = b""
    if len(key) != KEY_OCTETS or _encode(key) != text:  # base64 decoding skips what is not of its alphabet
        raise ValueError(sentence("{name}: not {octets} bytes in base64url").format(name=name, octets=KEY_OCTETS))
    return key


def _write(unix_ms: int | None) -> str | None:
    if unix_ms is None:
        return None
    return (_UNIX_EPOCH + unix_ms * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read(text: str, name: str) -> int:
    try:
        return (datetime.fromisoformat(text) - _UNIX_EPOCH) // _MILLISECOND
    except (ValueError, TypeError):  # no date at all, or one without an offset: it would depend on the machine
        raise ValueError(
            sentence("{name}: not a date and time of RFC 3339 with its offset").format(name=name)
        ) from None
