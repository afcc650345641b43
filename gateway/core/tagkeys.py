r"""The keys of a store's SUN tags: the text of their file, and their derivation at the trust service.

The master key is derived from the brand's root, and neither lies on a gateway:

    master = HKDF-SHA256(root, salt "", "touchpoint/v1/sun\0{tenant}", 16)
    key    = CMAC(master, 01 || key number || UID || "touchpoint/v1/sun")             (NXP AN10922, section 2.2)

Whoever opens one tag has the keys of that tag alone; the file holds SDMFileReadKey (number 2) of the store's stock.
SDMMetaReadKey (number 1) only hides the UID, has to be known before the UID is, and is common to all: UID of zeros.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.core.decode.sun import KEY_OCTETS, UID_OCTETS, TagKeys, cmac
from gateway.sentence import sentence

VERSION = 1
AES128 = b"\x01"
"""What AN10922 puts before the input for a key of AES-128."""
META_READ, FILE_READ = 1, 2
"""Numbers under which a tag keeps the two keys."""
SYSTEM = b"touchpoint/v1/sun"
SYSTEM_OCTETS = range(8, 24)
"""With key number and UID it then fills more than one block and at most two, so that the CMAC pads as AN10922 does."""
_KEY = re.compile(rf"[0-9a-f]{{{2 * KEY_OCTETS}}}")
_UID = re.compile(rf"[0-9a-f]{{{2 * UID_OCTETS}}}")


def diversified(master: bytes, number: int, uid: bytes, system: bytes) -> bytes:
    """Return a tag's key: CMAC(master, 01 || key number || UID || system id). Raises ValueError for another length."""
    if len(uid) != UID_OCTETS or len(system) not in SYSTEM_OCTETS:
        raise ValueError(
            sentence("a UID has {octets} bytes, a system id {least} to {most}").format(
                octets=UID_OCTETS, least=SYSTEM_OCTETS[0], most=SYSTEM_OCTETS[-1]
            )
        )
    return cmac(master, AES128 + bytes([number]) + uid + system)


def derive(root: bytes, tenant: str, uids: Iterable[bytes]) -> TagKeys:
    """Derive the keys of these tags. Raises ValueError for a UID of another length."""
    master = HKDF(SHA256(), KEY_OCTETS, salt=b"", info=f"touchpoint/v1/sun\0{tenant}".encode()).derive(root)
    return TagKeys(
        {uid: diversified(master, FILE_READ, uid, SYSTEM) for uid in uids},
        diversified(master, META_READ, bytes(UID_OCTETS), SYSTEM),
    )


def uids(text: str) -> list[bytes]:
    """Read a list of UIDs: one a line in hexadecimal, as readers and suppliers write them. Raises ValueError."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        digits = re.sub("[ :-]", "", line).lower()
        if digits and not _UID.fullmatch(digits):
            raise ValueError(sentence("line {number}: a UID has 14 hexadecimal digits").format(number=number))
        found += [bytes.fromhex(digits)] if digits else []
    return found


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
        raise ValueError(sentence("it is not JSON")) from None
    if _field(read, "version", int) != VERSION:
        raise ValueError(sentence("version: this gateway reads version {version}").format(version=VERSION))
    meta = _field(read, "meta_key", str, type(None))
    tags = {_octets(uid, _UID): _octets(key, _KEY) for uid, key in _field(read, "tags", dict).items()}
    keys = TagKeys(tags, None if meta is None else _octets(meta, _KEY, "meta_key"))
    return _field(read, "tenant", str), _field(read, "site", str), keys


def _field(value: object, name: str, *kinds: type) -> Any:  # noqa: ANN401  # JSON
    # By exact type: to isinstance, true is the integer 1.
    if not isinstance(value, dict) or name not in value or type(value[name]) not in kinds:
        raise ValueError(sentence("{name}: missing, or not of the expected kind").format(name=name))
    return value[name]


def _octets(text: object, shape: re.Pattern[str], name: str = "tags") -> bytes:
    if not isinstance(text, str) or not shape.fullmatch(text):
        raise ValueError(
            sentence("{name}: a UID has 14 hexadecimal digits, a key 32, all in lower case").format(name=name)
        )
    return bytes.fromhex(text)
