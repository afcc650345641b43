"""The keys of a store's SUN tags: the text of their file, and their derivation at the trust service.

The master key never lies on a gateway. Each tag's SDMFileReadKey is diversified from it (NXP AN10922, section 2.2), so
that whoever opens one tag has the key of that tag alone; the file holds those of the store's stock. SDMMetaReadKey only
hides the UID, has to be known before the UID is, and is common to all.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from gateway.core.decode.sun import KEY_OCTETS, UID_OCTETS, TagKeys, cmac

VERSION = 1
AES128 = b"\x01"
"""What AN10922 puts before the input for a key of AES-128."""
SYSTEM_OCTETS = range(8, 24)
"""With key number and UID it then fills more than one block and at most two, so that the CMAC pads as AN10922 does."""
_KEY = re.compile(rf"[0-9a-f]{{{2 * KEY_OCTETS}}}")
_UID = re.compile(rf"[0-9a-f]{{{2 * UID_OCTETS}}}")


def diversified(master: bytes, number: int, uid: bytes, system: bytes) -> bytes:
    """Return a tag's key: CMAC(master, 01 || key number || UID || system id). Raises ValueError for another length."""
    if len(uid) != UID_OCTETS or len(system) not in SYSTEM_OCTETS:
        raise ValueError(f"a UID has {UID_OCTETS} bytes, a system id {SYSTEM_OCTETS[0]} to {SYSTEM_OCTETS[-1]}")
    return cmac(master, AES128 + bytes([number]) + uid + system)


def derive(master: bytes, number: int, system: bytes, uids: Iterable[bytes], meta: bytes | None) -> TagKeys:
    """Derive the keys of these tags, which keep SDMFileReadKey under this number. Raises ValueError."""
    return TagKeys({uid: diversified(master, number, uid, system) for uid in uids}, meta)


def to_json(keys: TagKeys, tenant: str, site: str) -> str:
    """Write the keys as the text of their file."""
    written = {
        "version": VERSION,
        "tenant": tenant,
        "site": site,
        "meta_key": None if keys.meta is None else keys.meta.hex(),
        "tags": {uid.hex(): key.hex() for uid, key in sorted(keys.tags.items())},
    }
    return json.dumps(written, indent=1)


def from_json(text: str) -> tuple[str, str, TagKeys]:
    """Read tenant, site and keys from the text of a file. Raises ValueError: it never shows what stands there."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if _field(read, "version", int) != VERSION:
        raise ValueError(f"version: this gateway reads version {VERSION}")
    meta = _field(read, "meta_key", str, type(None))
    tags = {_octets(uid, _UID): _octets(key, _KEY) for uid, key in _field(read, "tags", dict).items()}
    keys = TagKeys(tags, None if meta is None else _octets(meta, _KEY, "meta_key"))
    return _field(read, "tenant", str), _field(read, "site", str), keys


def _field(value: object, name: str, *kinds: type) -> Any:  # noqa: ANN401  # JSON
    # By exact type: to isinstance, true is the integer 1.
    if not isinstance(value, dict) or name not in value or type(value[name]) not in kinds:
        raise ValueError(f"{name}: missing, or not of the expected kind")
    return value[name]


def _octets(text: object, shape: re.Pattern[str], name: str = "tags") -> bytes:
    if not isinstance(text, str) or not shape.fullmatch(text):
        raise ValueError(f"{name}: a UID has 14 hexadecimal digits, a key 32, all in lower case")
    return bytes.fromhex(text)
