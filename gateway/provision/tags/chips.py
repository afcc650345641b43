"""What lies on the reader, as a chip that can be written."""

from typing import Any

from gateway.provision.tags.chip import Chip
from gateway.provision.tags.fault import wrong_chip
from gateway.provision.tags.secret import TagSecret
from gateway.provision.tags.type2 import Type2
from gateway.sources.nfc_library import nfc


def opened(tag: Any, secret: TagSecret) -> Chip:  # noqa: ANN401 -- nfcpy has no types
    """Return the chip of a tag that nfcpy has activated. Raises TagError, OSError."""
    if isinstance(tag, nfc.tag.tt2.Type2Tag):
        return Type2(tag, secret.password(bytes(tag.identifier)))
    raise wrong_chip()
