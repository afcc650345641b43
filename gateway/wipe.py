"""Taking everything off a device that leaves the store: keys first, then databases, then what is only in the way.

In this order, so that what is left after a power cut is worth nothing without the keys. Each step can be done again.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.bytesearch import CHUNK
from gateway.config import ConfigError, Settings, next_key
from gateway.config.secret import secret_path
from gateway.control import bell_path, control_path
from gateway.handover import mark, restoring
from gateway.keys import (
    KeyFileError,
    beacon_keys,
    destroy,
    device_key_path,
    read_link_keys,
    read_ring,
    read_root,
    read_tag_keys,
    ring_secrets,
    tag_secret_path,
)
from gateway.sentence import sentence
from gateway.store.database import only_one
from gateway.store.device import PUBLIC
from gateway.store.publishing import FILE as PUBLISHING
from gateway.store.schema import CAPTURE, INVENTORY, UPLINK

HALVES = ("capture", "uplink")
_HANDLE = re.compile(rb"h1\.[A-Za-z0-9_-]{22}")
_HANDLE_OCTETS = 25
_SHORTEST_SECRET = 8
"""Octets. A shorter password would be found in other files by chance."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """What this gateway has on this machine, in the order in which it goes."""

    secrets: tuple[Path, ...]
    """To be overwritten first."""
    files: tuple[Path, ...]
    elsewhere: tuple[str, ...]
    """Credentials of systemd, by the names of their settings: nobody can remove them from here."""

    def there(self) -> list[Path]:
        """Return what is there now."""
        return [path for path in (*self.secrets, *self.files) if path.exists() or path.is_symlink()]


def belongings(settings: Settings, *, credentials: bool) -> Belongings:
    """List what belongs to this gateway; the broker's credentials only if they are to go too."""
    state, sockets = settings.gateway.state, settings.gateway.sockets
    secrets = _secrets(settings, credentials=credentials)
    databases = [path for schema in (CAPTURE, UPLINK, INVENTORY) for path in sorted(state.glob(f"{schema.file}*"))]
    doors = [control_path(sockets), *(bell_path(sockets, half) for half in HALVES)]
    locks = [state / PUBLISHING, *(state / f"{half}.lock" for half in HALVES)]
    rest = [
        state / PUBLIC,
        mark(state),
        restoring(state),
        state / "device.new",
        *databases,
        state / "ballast",
        *doors,
        *locks,
    ]
    known = [path for path in secrets.values() if path is not None]
    new = [path.with_name(f"{path.name}.new") for path in known]
    certificate = [settings.mqtt.certificate] if credentials and settings.mqtt.certificate else []
    return Belongings(
        tuple(dict.fromkeys([*known, *new, state / "device.key", tag_secret_path(settings)])),
        (*certificate, *rest),
        tuple(name for name, path in secrets.items() if path is None),
    )


def _secrets(settings: Settings, *, credentials: bool) -> dict[str, Path | None]:
    """Return where secrets lie, by the names of their settings; None for a credential that is not here."""
    mqtt = settings.mqtt
    named: dict[str, Path | None] = {
        "pseudonym.keys": settings.pseudonym.path,
        "consent.device_key": device_key_path(settings),
    }
    if settings.sun.keys is not None:
        named["sun.keys"] = settings.sun.path
    if settings.links.signing_keys is not None:
        named["links.signing_keys"] = settings.links.path
    if settings.ble.beacons is not None:
        named["ble.beacons"] = settings.ble.path
    if credentials and mqtt.key is not None:
        named["mqtt.key"] = mqtt.key
        named["mqtt.key.next"] = next_key(mqtt.key)
    if credentials and mqtt.password_file is not None:
        named["mqtt.password_file"] = secret_path(mqtt.password_file)
    return named


@contextmanager
def stopped(state: Path) -> Iterator[None]:
    """Keep both halves from starting. Raises HeldError while one runs, StoreError."""
    with ExitStack() as stack:
        for half in HALVES if state.is_dir() else ():
            stack.enter_context(only_one(state, half))
        yield


def traces(settings: Settings, *, credentials: bool) -> list[tuple[str, bytes]]:
    """Return every key and every handle that is there now, under names that may be shown. Raises OSError."""
    found: dict[bytes, str] = {}
    for name, secret in _keys(settings, credentials=credentials):
        found.setdefault(secret, name)
    for handle in handles(settings.gateway.state):
        found.setdefault(handle, "a customer's handle")
    return [(name, octets) for octets, name in found.items()]


def _keys(settings: Settings, *, credentials: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the keys of the files that can be read as what they should be."""
    ring, mqtt = settings.pseudonym.path, settings.mqtt
    if ring is not None:
        with suppress(KeyFileError):
            yield from ring_secrets(read_ring(ring))
    for path in {device_key_path(settings), settings.gateway.state / "device.key"}:
        if path is not None:
            with suppress(KeyFileError):
                yield "the device key", read_root(path)
    yield from _tag_keys(settings)
    with suppress(ConfigError):
        yield from (("a key of a beacon", each.key) for each in beacon_keys(settings))
    if settings.links.path is not None:
        with suppress(KeyFileError):
            yield from (
                ("a key that signs links", each) for each in read_link_keys(settings.links.path).secrets.values()
            )
    password = secret_path(mqtt.password_file) if credentials and mqtt.password_file else None
    private = ("the broker's private key", mqtt.key), ("the broker's private key", mqtt.key and next_key(mqtt.key))
    for name, secret in (*private, ("the broker's password", password)):
        if credentials and secret is not None and secret.is_file():
            text = _longest_line(secret.read_bytes())
            if len(text) >= _SHORTEST_SECRET:
                yield name, text


def _tag_keys(settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Yield two of the thousands of keys of SUN tags: they lie in one file, which goes as a whole."""
    if settings.sun.path is not None:
        with suppress(KeyFileError):
            _, _, keys = read_tag_keys(settings.sun.path)
            yield from (("a key of tags", each) for each in (keys.meta, next(iter(keys.tags.values()), None)) if each)


def _longest_line(content: bytes) -> bytes:
    """Return what tells a file from others: of a key in PEM (RFC 7468), a line of the key itself."""
    lines = [line.strip() for line in content.splitlines() if not line.startswith(b"-----")]
    return max(lines, key=len, default=b"")


def handles(state: Path) -> set[bytes]:
    """Find every handle in the databases, their logs and damaged copies: as text, so that whole files are not needed.

    A handle stands at the beginning of its row, so it is never divided between two pages.
    """
    found: set[bytes] = set()
    for path in (path for schema in (CAPTURE, UPLINK) for path in state.glob(f"{schema.file}*")):
        with suppress(FileNotFoundError), path.open("rb") as file:
            tail = b""
            while chunk := file.read(CHUNK):
                found.update(_HANDLE.findall(tail + chunk))
                tail = chunk[1 - _HANDLE_OCTETS :]
    return found


def places(settings: Settings, what: Belongings) -> set[Path]:
    """Return the directories in which any of it lay."""
    own = {settings.gateway.state, settings.gateway.sockets}
    return own | {path.resolve().parent for path in (*what.secrets, *what.files)}


def remove(what: Belongings) -> Iterator[tuple[Path, str | None]]:
    """Remove everything that is there, and yield each with what went wrong, None if nothing did."""
    secrets = set(what.secrets)
    for path in what.there():
        try:
            if path in secrets:
                destroy(path)
            else:
                path.unlink(missing_ok=True)
        except KeyFileError as error:
            yield path, str(error)
        except OSError as error:
            yield path, sentence("cannot remove {path}: {error}").format(path=path, error=error.strerror)
        else:
            yield path, None
