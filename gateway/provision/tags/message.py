"""The NDEF message of a link, and which chip has room for it."""

from typing import Final

from gateway.core.decode.ndef import PREFIXES
from gateway.language import _
from gateway.provision.tags.fault import Fault, TagError

HTTPS: Final = PREFIXES.index("https://")
BEGIN_END_WELL_KNOWN, SHORT = 0xC1, 0x10
"""MB, ME, TNF 1; and SR, for payloads of up to 255 bytes (NFC Forum NDEF 1.0, 3.2)."""
LONGEST_SHORT: Final = 0xFF
ROOM: Final = {"NTAG213": 137, "NTAG215": 492, "NTAG216": 868, "NTAG424": 254}
"""Bytes of a message that a chip as delivered holds, behind what its data area begins with."""


def uri(link: str) -> bytes:
    """Return a message of one URI record (NFC Forum RTD URI 1.0, 3.2), for a link that begins with `https://`."""
    payload = bytes([HTTPS]) + link.removeprefix("https://").encode()
    short = len(payload) <= LONGEST_SHORT
    length = len(payload).to_bytes(1 if short else 4, "big")
    return bytes([BEGIN_END_WELL_KNOWN | (SHORT if short else 0), 1]) + length + b"U" + payload


def fits(message: bytes, room: int, chip: str) -> None:
    """Raise TagError when a chip has no room for a message, with the chip that would hold it."""
    if len(message) <= room:
        return
    larger = [name for name, held in ROOM.items() if held >= len(message)]
    if larger:
        text = _("The link needs {needed} bytes, and this {chip} holds {held}. Take an {larger}, or shorten the link.")
    else:
        text = _(
            "The link needs {needed} bytes, and this {chip} holds {held}. No such chip has room: shorten the link."
        )
    told = text.format(needed=len(message), chip=chip, held=room, larger=larger[0] if larger else "")
    raise TagError(Fault.TOO_SMALL, told)
