"""The key ring on this machine: read for the capture half, written by `touchpoint keys`."""

import contextlib
import os
import re
import secrets
import stat
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from errno import EACCES
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.config import ConfigError, Problem, Settings, next_key
from gateway.config.secret import secret_path
from gateway.core import tagkeys
from gateway.core.brandlink import LinkKeys
from gateway.core.decode.sun import TagKeys
from gateway.core.eid import BeaconKey
from gateway.core.eid import from_json as beacons_from_json
from gateway.core.event import rfc3339
from gateway.core.pseudonym import Epoch, KeyRing, derive
from gateway.language import _, said
from gateway.sentence import sentence
from gateway.store.database import StoreError, access_hint
from gateway.store.device import PUBLIC, leave_public, public_key, public_text

ROOT_OCTETS = 32
AHEAD_MS = 14 * 24 * 3_600_000
"""How long before the end of an epoch the next one should be in the ring."""
_PIECE = 1 << 20
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
            [
                Problem(
                    str(path),
                    None,
                    "pseudonym.keys",
                    str(error),
                    sentence("derive it again: touchpoint keys derive --help"),
                )
            ]
        ) from None
    here = (settings.gateway.tenant, settings.gateway.site)
    if (ring.tenant, ring.site) != here:
        wrong = sentence("this ring is for {tenant}/{site}, the gateway stands at {tenant_here}/{site_here}").format(
            tenant=ring.tenant, site=ring.site, tenant_here=here[0], site_here=here[1]
        )
        raise ConfigError([Problem(str(path), None, "pseudonym.keys", wrong, sentence("derive the ring of this site"))])
    return ring


def sealed(settings: Settings) -> dict[str, str]:
    """Return the settings that name a credential which systemd gives to the services alone, and its name."""
    named = {
        "pseudonym.keys": settings.pseudonym.keys,
        "links.signing_keys": settings.links.signing_keys,
        "sun.keys": settings.sun.keys,
        "ble.beacons": settings.ble.beacons,
        "consent.device_key": settings.consent.device_key,
        "mqtt.password_file": settings.mqtt.password_file,
    }
    return {setting: name for setting, name in named.items() if name is not None and secret_path(name) is None}


def read_ring(path: Path) -> KeyRing:
    """Read a ring. Raises KeyFileError."""
    try:
        return KeyRing.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(
            _("cannot read the key ring {path}: {why}").format(path=path, why=said(_why(error)))
        ) from None
    except ValueError as error:
        raise KeyFileError(_("{path} is not a key ring: {error}").format(path=path, error=said(error))) from None


def link_keys(settings: Settings) -> LinkKeys | None:
    """Read the keys that sign the brand's links; None when there are none. Raises ConfigError when it cannot."""
    path = settings.links.path
    if path is None or not path.exists():
        return None
    try:
        return read_link_keys(path)
    except KeyFileError as error:
        help_ = sentence("make one: touchpoint codes key --help")
        raise ConfigError([Problem(str(path), None, "links.signing_keys", str(error), help_)]) from None


def read_link_keys(path: Path) -> LinkKeys:
    """Read a file of keys that sign links. Raises KeyFileError."""
    try:
        return LinkKeys.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(
            _("cannot read the keys of links {path}: {why}").format(path=path, why=said(_why(error)))
        ) from None
    except ValueError as error:
        raise KeyFileError(f"{path}: {said(error)}") from None


def tag_keys(settings: Settings) -> TagKeys:
    """Read the keys of the store's SUN tags; none when there are none. Raises ConfigError when it cannot."""
    path = settings.sun.path
    if path is None or not path.exists():
        return TagKeys()
    again = sentence("derive it again at the trust service, and bring it here")
    try:
        tenant, site, keys = read_tag_keys(path)
    except KeyFileError as error:
        raise ConfigError([Problem(str(path), None, "sun.keys", str(error), again)]) from None
    here = (settings.gateway.tenant, settings.gateway.site)
    if (tenant, site) != here:
        wrong = sentence("these keys are for {tenant}/{site}, the gateway stands at {tenant_here}/{site_here}").format(
            tenant=tenant, site=site, tenant_here=here[0], site_here=here[1]
        )
        raise ConfigError([Problem(str(path), None, "sun.keys", wrong, again)])
    return keys


def read_tag_keys(path: Path) -> tuple[str, str, TagKeys]:
    """Read tenant, site and keys of a file of keys of SUN tags. Raises KeyFileError."""
    try:
        return tagkeys.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(
            _("cannot read the keys of tags {path}: {why}").format(path=path, why=said(_why(error)))
        ) from None
    except ValueError as error:
        raise KeyFileError(
            _("{path} is no file of keys of tags: {error}").format(path=path, error=said(error))
        ) from None


def beacon_keys(settings: Settings) -> tuple[BeaconKey, ...]:
    """Read the keys of the store's beacons; none if none are configured. Raises ConfigError."""
    path = settings.ble.path
    if path is None:
        return ()
    try:
        return beacons_from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = _why(error) if isinstance(error, OSError | UnicodeDecodeError) else f"{error}"
        what = sentence("cannot read the keys of the store's beacons: {why}").format(why=why)
        raise ConfigError([Problem(str(path), None, "ble.beacons", what, "see firmware-notes/ble.md")]) from None


def add_tag_keys(path: Path, tenant: str, site: str, keys: TagKeys) -> int:
    """Write keys of SUN tags, with those that the file holds already; return how many it holds. Raises KeyFileError."""
    if not path.exists():
        write_secret(path, tagkeys.to_json(keys, tenant, site))
        return len(keys.tags)
    *of, held = read_tag_keys(path)
    if (*of, held.meta) != (tenant, site, keys.meta):
        raise KeyFileError(
            _("{path} is another site's, or derived from another root key; nothing was written").format(path=path)
        )
    both = TagKeys({**held.tags, **keys.tags}, keys.meta)
    replace_secret(path, tagkeys.to_json(both, tenant, site))
    return len(both.tags)


def new_root() -> str:
    """Make a root key, as the text of its file."""
    return _text(secrets.token_bytes(ROOT_OCTETS))


def read_root(path: Path) -> bytes:
    """Read a root key. Raises KeyFileError."""
    try:
        text = path.read_text(encoding="ascii").strip()
        root = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (OSError, ValueError) as error:
        raise KeyFileError(_("cannot read the key {path}: {why}").format(path=path, why=said(_why(error)))) from None
    if len(root) != ROOT_OCTETS or _text(root) != text:  # base64 decoding skips what is not of its alphabet
        raise KeyFileError(
            _("{path} is not a root key: it must hold {octets} bytes in base64url").format(
                path=path, octets=ROOT_OCTETS
            )
        )
    return root


def write_secret(path: Path, text: str) -> None:
    """Write a new file that only its owner can read; never over another. Raises KeyFileError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(
            _("{path} is there already: move it away first, nothing was written").format(path=path)
        ) from None
    except OSError as error:
        raise KeyFileError(_("cannot write {path}: {why}").format(path=path, why=said(_why(error)))) from None
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # the descriptor carries the mode
            file.write(text + "\n")
            file.flush()
            _belong_to_directory(descriptor, path.parent)
            os.fsync(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise KeyFileError(_("cannot write {path}: {why}").format(path=path, why=said(_why(error)))) from None


def _belong_to_directory(descriptor: int, directory: Path) -> None:
    """Give a file that root makes to whoever has its directory: the half whose key it is could not read it else."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def replace_secret(path: Path, text: str) -> None:
    """Write a file anew, whole or not at all, for its owner alone; what it held is overwritten. Raises KeyFileError.

    A power cut leaves the old file or the new one. Flash memory may keep what was overwritten.
    """
    path = path.resolve()
    new = path.with_name(f"{path.name}.new")
    if new.exists():
        destroy(new)  # what was interrupted before
    write_secret(new, text)
    try:
        with path.open("r+b") as old:
            _belong_like(new, old.fileno())
            new.replace(path)
            _sync_directory(path)
            _overwrite(old.fileno())
    except OSError as error:
        if new.exists():
            destroy(new)
        raise KeyFileError(_("cannot write {path}: {why}").format(path=path, why=said(_why(error)))) from None


def destroy(path: Path) -> bool:
    """Overwrite a file and remove it; False if there is none. Raises KeyFileError.

    A file that was removed halfway is removed by the next attempt. Flash memory may keep what was overwritten.
    """
    try:
        target = path.resolve(strict=True)
        with target.open("r+b") as file:
            _overwrite(file.fileno())
        target.unlink()
        _sync_directory(target)
        path.unlink(missing_ok=True)  # a link to it
    except FileNotFoundError:
        return False
    except OSError as error:
        raise KeyFileError(_("cannot destroy {path}: {why}").format(path=path, why=said(_why(error)))) from None
    return True


def _overwrite(descriptor: int) -> None:
    left = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(descriptor, bytes(min(left, _PIECE)))
    os.fsync(descriptor)


def _belong_like(path: Path, descriptor: int) -> None:
    """Give a new file to whoever has the old one: root may renew the ring of the gateway's user."""
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(path, status.st_uid, status.st_gid)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def others_may_read(path: Path) -> bool:
    """Tell whether anybody but its owner may read a file, or change it; False if there is none that we may look at."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def forbidden(path: Path | None) -> bool:
    """Tell whether there may be a file that this user may not read."""
    if path is None:
        return False
    try:
        path.open("rb").close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def must_be_readable(settings: Settings) -> None:
    """Raise PermissionError if this user may not read one of the gateway's keys."""
    for path in filter(forbidden, key_files(settings).values()):
        raise PermissionError(EACCES, os.strerror(EACCES), str(path))


def key_files(settings: Settings) -> dict[str, Path]:
    """Return where this gateway's secrets lie, by the name of their setting; without credentials that are not here."""
    named = {
        "pseudonym.keys": settings.pseudonym.path,
        "sun.keys": settings.sun.path,
        "consent.device_key": device_key_path(settings),
        "ble.beacons": settings.ble.path,
        "tags.key": tag_secret_path(settings),
        "links.signing_keys": settings.links.path,
        "mqtt.key": settings.mqtt.key,
        "mqtt.key.next": settings.mqtt.key and next_key(settings.mqtt.key),
        "mqtt.password_file": secret_path(settings.mqtt.password_file) if settings.mqtt.password_file else None,
    }
    return {name: path for name, path in named.items() if path is not None}


def rotated(ring: KeyRing, root: bytes, spans: Iterable[tuple[str, int, int | None]], now_ms: int) -> KeyRing:
    """Return the ring with these epochs added, and without those that ended long enough ago.

    Raises KeyFileError when the ring is not derived from this root.
    """
    held = {epoch.id: epoch for epoch in ring.epochs}
    again = derive(root, ring.tenant, ring.site, [(each.id, each.from_ms, each.until_ms) for each in ring.epochs])
    if again != ring:
        raise KeyFileError(
            _("the ring of {tenant}/{site} is not derived from this root key; nothing was written").format(
                tenant=ring.tenant, site=ring.site
            )
        )
    added = derive(root, ring.tenant, ring.site, [span for span in spans if span[0] not in held]).epochs
    kept = [epoch for epoch in ring.epochs if epoch.usable(now_ms)]
    return replace(ring, epochs=tuple(sorted([*kept, *added], key=lambda epoch: epoch.from_ms)))


def ring_warnings(ring: KeyRing, now_ms: int) -> list[str]:
    """Say which epochs of a ring should be gone, and which are missing."""
    overdue = [
        sentence("epoch {id} ended at {at}, more than 72 hours ago: touchpoint keys retire").format(
            id=epoch.id, at=rfc3339(epoch.until_ms or 0)
        )
        for epoch in ring.epochs
        if not epoch.usable(now_ms)
    ]
    renew = sentence("add it at the trust service (touchpoint keys rotate) and bring the ring here")
    current = ring.current(now_ms)
    if current is None:
        return [*overdue, sentence("no epoch is in force, so no event names a subject: {renew}").format(renew=renew)]
    ends_ms = current.until_ms
    if ends_ms is not None and ends_ms - now_ms <= AHEAD_MS and ring.current(ends_ms) is None:
        return [
            *overdue,
            sentence("epoch {id} ends at {at} and the ring holds none after it: {renew}").format(
                id=current.id, at=rfc3339(ends_ms), renew=renew
            ),
        ]
    return overdue


def ring_secrets(ring: KeyRing, *epochs: Epoch) -> list[tuple[str, bytes]]:
    """Return keys under names that may be shown, to search for them: of these epochs, or else of the whole ring."""
    named = [(f"the key of epoch {epoch.id}", epoch.key) for epoch in epochs or ring.epochs]
    return named if epochs else [("the consent key", ring.consent_key), *named]


def device_key_path(settings: Settings) -> Path | None:
    """Return where the device key lies; None for a credential in a process that systemd gave none."""
    named = settings.consent.device_key
    if named is not None:
        return secret_path(named)
    return (settings.gateway.private or settings.gateway.state) / "device.key"


def device_key(settings: Settings) -> Ed25519PrivateKey:
    """Read the key that signs this gateway's consents, and leave its public half for the uplink to read.

    The first start makes it, unless the configuration names another. Raises ConfigError, StoreError.
    """
    state, named = settings.gateway.state, settings.consent.device_key
    path = device_key_path(settings) or Path(named or "")
    if named is None and not path.exists():
        _make_device_key(path)
    try:
        key = Ed25519PrivateKey.from_private_bytes(read_root(path))
        leave_public(state, key.public_key())
    except (KeyFileError, OSError) as error:
        raise ConfigError(
            [Problem(str(path), None, "consent.device_key", str(error), sentence("make one: touchpoint keys new FILE"))]
        ) from None
    return key


def tag_secret(settings: Settings) -> bytes:
    """Read the key from which the passwords of the store's tags follow; the first tag that is written makes it.

    Raises KeyFileError.
    """
    path = tag_secret_path(settings)
    if not path.exists():
        write_secret(path, new_root())
    return read_root(path)


def tag_secret_path(settings: Settings) -> Path:
    """Return where the key of tags lies: beside the device key that a first start makes."""
    return (settings.gateway.private or settings.gateway.state) / "tags.key"


def _make_device_key(path: Path) -> None:
    try:
        write_secret(path, new_root())
    except KeyFileError as error:  # nothing is wrong with the configuration: it may work at the next start
        raise StoreError("write", path, str(error), access_hint(path.parent)) from None


def device_public(settings: Settings) -> str | None:
    """Return the public half of the device key, `x` of its JWK; None before the first start. Raises KeyFileError.

    From the key itself where this user may read it, else from what capture has left for the uplink to read.
    """
    private = device_key_path(settings)
    if private is not None and os.access(private, os.R_OK):
        return public_text(Ed25519PrivateKey.from_private_bytes(read_root(private)).public_key())
    public = settings.gateway.state / PUBLIC
    try:
        return public_text(public_key(public.read_text(encoding="ascii").strip()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise KeyFileError(
            _("cannot read the public key {public}: {why}").format(public=public, why=said(_why(error)))
        ) from None


def thumbprint(x: str) -> str:
    """Return the JWK thumbprint of an Ed25519 public key: SHA-256, base64url (RFC 7638; RFC 8037, appendix A.3)."""
    return _text(sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


def quarter(epoch: str) -> tuple[str, int, int]:
    """Return the epoch `2026Q4` with its first and its end millisecond (UTC). Raises ValueError."""
    found = _QUARTER.fullmatch(epoch)
    if found is None:
        raise ValueError(sentence("{epoch} is not a quarter like 2026Q4").format(epoch=epoch))
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
    return (error.strerror if isinstance(error, OSError) else None) or sentence("it is not text of the expected kind")
