"""What a tag says of itself: its raw NDEF message, or that it has none, or that it could not be read.

nfcpy says None for both of the last two. They must not be mixed up: a tag whose message was not read would be known by
its UID alone, and could be taken for a customer's token.
"""

from typing import Any, Final

from gateway.sources.nfc_library import nfc

MIFARE_CLASSIC: Final = 0x08
ISO_DEP: Final = 0x20
PEER: Final = 0x40
"""Bits of SAK (NXP AN10833; NFC Forum Digital, SEL_RES)."""
RANDOM_UID: Final = 0x08
"""First of four bytes: a UID that is made anew each time (ISO/IEC 14443-3, 6.5.4); phones have such."""
CAPABILITIES: Final = 3
NDEF_MAGIC: Final = 0xE1
"""The page of the capability container of a Type 2 Tag, and its first byte (NFC Forum Type 2 Tag, 6.1)."""
READ_FIRST: Final = b"\x30\x00"
PRESENT: Final = 16
"""Bytes that READ answers (NFC Forum Type 2 Tag, 5.1)."""
ANSWER_SECONDS: Final = 0.02
"""nfcpy would wait 0.3 s for a tag that is gone; READ is answered within 5 ms (NFC Forum Digital, Type 2 Tag)."""


def refusal(sak: int) -> str | None:
    """Say why a device with this SAK is not read; None if it is."""
    if sak & MIFARE_CLASSIC and not sak & ISO_DEP:
        return "it is a MIFARE Classic, which is no NFC Forum tag (nfcpy would take it for an Ultralight)"
    if sak & PEER:
        return "it is no tag but a peer device, a phone for instance"
    return None


def lasting(uid: bytes) -> bytes:
    """Return the UID; nothing if it is a random one, which identifies nobody."""
    return b"" if len(uid) == 4 and uid[0] == RANDOM_UID else uid  # noqa: PLR2004 -- single size


def message(tag: Any) -> bytes | None:  # noqa: ANN401 -- nfcpy has no types
    """Return the raw NDEF message, empty if the tag has none; None if it could not be read. Raises OSError."""
    try:
        ndef = tag.ndef
        if ndef is not None:
            return bytes(ndef.octets)
        return b"" if _has_none(tag) else None
    except OSError:
        raise
    except Exception:  # noqa: BLE001 -- TagCommandError, CommunicationError, RuntimeError, IndexError, struct.error, ...
        return None


def is_there(tag: Any) -> bool:  # noqa: ANN401 -- nfcpy has no types
    """Tell whether the tag still answers. Raises OSError."""
    try:
        if isinstance(tag, nfc.tag.tt2.Type2Tag):
            return len(tag.transceive(READ_FIRST, ANSWER_SECONDS)) == PRESENT
        return bool(tag.is_present)
    except OSError:
        raise
    except Exception:  # noqa: BLE001 -- as above; a reader that is gone shows at the next look into the field
        return False


def _has_none(tag: Any) -> bool:  # noqa: ANN401 -- nfcpy has no types
    if isinstance(tag, nfc.tag.tt2.Type2Tag):
        return bool(tag.read(CAPABILITIES)[0] != NDEF_MAGIC)
    return bool(tag.is_present)
