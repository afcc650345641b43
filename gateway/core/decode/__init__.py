"""From what a device read to what it identifies. A format is a file; adding one is a function and a line here.

No decoder raises, whatever it is given: it returns None or nothing.
"""

from gateway.core.decode import altbeacon, eddystone, gs1, ibeacon, link, ndef, sun
from gateway.core.decode.beacon import Beacon
from gateway.core.decode.namespace import ANY, Namespaces
from gateway.core.decode.sun import Mirrors
from gateway.core.sighting import Advertisement, Identifier, Scan, SealedTelemetry, Tag, Telemetry

GS1_SYMBOLOGIES = frozenset({"]C1", "]d2", "]e0", "]Q3", "]J1"})
"""AIM identifiers of symbols that carry element strings (GS1 General Specifications, figure 7.8.1-1)."""
GTIN_SYMBOLOGIES = frozenset({"]E0", "]E4", "]I1", None})
"""Of symbols whose digits are a GTIN: EAN/UPC, EAN-8, ITF-14; and scanners that send no identifier."""

_BLANK = " \t\r\n"


def advertisement(ad: Advertisement, wanted: Namespaces = ANY) -> Beacon | Telemetry | SealedTelemetry | None:
    """Decode an advertisement: the beacon that sent it, what it says of itself, or None for anything else."""
    if ad.service:
        frame = ad.service.get(eddystone.SERVICE)
        if frame is not None and (said := eddystone.decode(frame, wanted)) is not None:
            return said
    for company, data in ad.manufacturer.items():
        if company == ibeacon.COMPANY and (found := ibeacon.decode(data, wanted.ibeacon)) is not None:
            return found
        if (found := altbeacon.decode(data, wanted.altbeacon)) is not None:
            return found
    return None


def tag(tag: Tag, mirrors: Mirrors = sun.MIRRORS) -> tuple[Identifier, ...]:
    """Return what a tag may be known as, the most specific first: what its NDEF message says, then its UID.

    Nothing of a SUN message is proven here (`gateway.core.authenticity`): its link is known without it.
    """
    by_uid = (Identifier("nfc-uid", tag.uid.hex()),) if tag.uid else ()
    match ndef.first(tag.ndef):
        case ndef.Uri(text):
            return (*_link(text, mirrors), *by_uid)
        case ndef.Text(text):
            return (*_text(text), *by_uid)
        case _:
            return by_uid


def scan(scan: Scan, mirrors: Mirrors = sun.MIRRORS) -> tuple[Identifier, ...]:
    """Return what a scan may be known as, the most specific first; () for what no printed code should hold.

    A phone may show the link of a tag that it has read, so a SUN message is left out as it is in `tag`.
    """
    text = scan.text.strip(_BLANK)
    if not text or len(text) > link.LONGEST:
        return ()
    if scan.symbology in GS1_SYMBOLOGIES:
        return gs1.from_elements(text) or _link(text, mirrors)
    if scan.symbology in GTIN_SYMBOLOGIES and (product := gs1.from_digits(text)):
        return product
    return _link(text, mirrors) or _text(text)


def _link(text: str, mirrors: Mirrors) -> tuple[Identifier, ...]:
    """Return the link itself, without what a tag has written into it, then what it identifies by GS1's rules."""
    message = sun.find(text, mirrors)
    url = link.canonical(text) if message is None else message.bare
    return () if url is None else (Identifier("link", url), *gs1.from_link(url))


def _text(text: str) -> tuple[Identifier, ...]:
    """Return the text without the blanks around it, so that a tag and a printed code with the same text are one."""
    bare = text.strip(_BLANK)
    return (Identifier("text", bare),) if bare and bare.isprintable() and len(bare) <= link.LONGEST else ()


__all__ = ["Beacon", "advertisement", "scan", "tag"]
