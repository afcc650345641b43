"""What lies on the reader, as a chip that can be written."""

from typing import Any, Final

from gateway.provision.tags.chip import Chip
from gateway.provision.tags.fault import wrong_chip
from gateway.provision.tags.ntag424 import Ntag424, recognised
from gateway.provision.tags.secret import TagSecret
from gateway.provision.tags.signing import Signing
from gateway.provision.tags.type2 import Type2
from gateway.provision.tags.type4 import Type4
from gateway.sources.nfc_library import nfc

KEYS: Final = 5
"""Of an NTAG 424 DNA, by number from 0."""


def opened(tag: Any, secret: TagSecret, signing: Signing | None = None) -> Chip:  # noqa: ANN401 -- nfcpy has no types
    """Return the chip of a tag that nfcpy has activated; `signing` if its link is to be signed.

    Raises TagError, OSError.
    """
    if isinstance(tag, nfc.tag.tt2.Type2Tag):
        return Type2(tag, secret.password(bytes(tag.identifier)))
    if isinstance(tag, nfc.tag.tt4.Type4Tag):
        if not recognised(tag):
            return Type4(tag)
        uid = bytes(tag.identifier)
        given = [None if signing is None else signing.key(number, uid) for number in range(KEYS)]
        keys = tuple(key or secret.aes(number, uid) for number, key in enumerate(given))
        return Ntag424(tag, keys, signing)
    raise wrong_chip()
