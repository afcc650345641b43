"""The key ring on this machine: read for the capture half, written by `touchpoint keys`."""

import contextlib
import os
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.config import ConfigError, Problem, Settings
from gateway.config.secret import secret_path
from gateway.core.pseudonym import KeyRing
from gateway.store.device import leave_public

ROOT_OCTETS = 32
_QUARTER = re.compile(r"(2[0-9]{3})Q([1-4])")


class KeyFileError(Exception):
    """A key file cannot be read or written; the text says which and why, never what is in it."""


def key_ring(settings: Settings) -> KeyRing | None:
    """Read the configured ring; None when there is none yet. Raises ConfigError when it is not this site's."""
    path = settings.pseudonym.path
    if path is None or not path.exists():
        return None
    try:
        ring = read_ring(path)
    except KeyFileError as error:
        raise ConfigError(
            [Problem(str(path), None, "pseudonym.keys", str(error), "derive it again: touchpoint keys derive --help")]
        ) from None
    here = (settings.gateway.tenant, settings.gateway.site)
    if (ring.tenant, ring.site) != here:
        wrong = f"this ring is for {ring.tenant}/{ring.site}, the gateway stands at {here[0]}/{here[1]}"
        raise ConfigError([Problem(str(path), None, "pseudonym.keys", wrong, "derive the ring of this site")])
    return ring


def read_ring(path: Path) -> KeyRing:
    """Read a ring. Raises KeyFileError."""
    try:
        return KeyRing.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"cannot read the key ring {path}: {_why(error)}") from None
    except ValueError as error:
        raise KeyFileError(f"{path} is not a key ring: {error}") from None


def new_root() -> str:
    """Make a root key, as the text of its file."""
    return _text(secrets.token_bytes(ROOT_OCTETS))


def read_root(path: Path) -> bytes:
    """Read a root key. Raises KeyFileError."""
    try:
        text = path.read_text(encoding="ascii").strip()
        root = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (OSError, ValueError) as error:
        raise KeyFileError(f"cannot read the root key {path}: {_why(error)}") from None
    if len(root) != ROOT_OCTETS or _text(root) != text:  # base64 decoding skips what is not of its alphabet
        raise KeyFileError(f"{path} is not a root key: it must hold {ROOT_OCTETS} bytes in base64url")
    return root


def write_secret(path: Path, text: str) -> None:
    """Write a new file that only its owner can read; never over another. Raises KeyFileError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} is there already: move it away first, nothing was written") from None
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {_why(error)}") from None
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # the descriptor carries the mode
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise KeyFileError(f"cannot write {path}: {_why(error)}") from None


def device_key(settings: Settings) -> Ed25519PrivateKey:
    """Read the key that signs this gateway's consents, and leave its public half for the uplink to read.

    The first start makes it, unless the configuration names another. Raises ConfigError.
    """
    state, named = settings.gateway.state, settings.consent.device_key
    path = state / "device.key" if named is None else secret_path(named) or Path(named)
    try:
        if named is None and not path.exists():
            write_secret(path, new_root())
        key = Ed25519PrivateKey.from_private_bytes(read_root(path))
        leave_public(state, key.public_key())
    except (KeyFileError, OSError) as error:
        raise ConfigError(
            [Problem(str(path), None, "consent.device_key", str(error), "make one: touchpoint keys new FILE")]
        ) from None
    return key


def quarter(epoch: str) -> tuple[str, int, int]:
    """Return the epoch `2026Q4` with its first and its end millisecond (UTC). Raises ValueError."""
    found = _QUARTER.fullmatch(epoch)
    if found is None:
        raise ValueError(f"{epoch} is not a quarter like 2026Q4")
    year, number = int(found[1]), int(found[2])
    return epoch, _start(year, number), _start(year + number // 4, number % 4 + 1)


def quarters(now_ms: int, count: int) -> list[str]:
    """Return the present quarter and the ones after it."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    first = now.year * 4 + (now.month - 1) // 3
    return [f"{(first + ahead) // 4}Q{(first + ahead) % 4 + 1}" for ahead in range(count)]


def _start(year: int, number: int) -> int:
    return int(datetime(year, 3 * number - 2, 1, tzinfo=UTC).timestamp()) * 1000


def _text(key: bytes) -> str:
    return urlsafe_b64encode(key).rstrip(b"=").decode()


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is not text of the expected kind"
