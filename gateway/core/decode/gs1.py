"""GS1 identification in links, element strings and plain barcodes, as one identifier.

`gs1:/01/{GTIN-14}[/22/{variant}][/10/{lot}][/21/{serial}]`
Sources: GS1 Digital Link Standard, URI Syntax 1.2 (grammar of section 4); GS1 General Specifications, section 7.8
(element strings), 7.9 (check digit) and figure 7.8.5-2 (predefined lengths).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote, unquote_to_bytes

from gateway.core.sighting import Identifier

GTIN, VARIANT, LOT, SERIAL = "01", "22", "10", "21"
QUALIFIERS = (VARIANT, LOT, SERIAL)
"""Key qualifiers of a GTIN, in the order that a Digital Link has them."""
SEPARATOR = "\x1d"
"""FNC1 as scanners transmit it (GS)."""
_GTIN_LENGTHS = frozenset({8, 12, 13, 14})
_LONGEST_QUALIFIER = 20
_PREDEFINED = MappingProxyType(
    {
        **dict.fromkeys(("00",), 18),
        **dict.fromkeys(("01", "02", "03"), 14),
        "04": 16,
        **dict.fromkeys(("11", "12", "13", "14", "15", "16", "17", "18", "19"), 6),
        "20": 2,
        **dict.fromkeys(("31", "32", "33", "34", "35", "36"), 8),
        "41": 14,
    }
)
"""Length of the data after the two digits of the AI's beginning, where it is fixed and needs no separator."""
_VALUE = re.compile(r"[!\"%-?A-Z_a-z]{1,20}")
"""GS1 AI encodable character set 82, at most twenty."""


def from_link(url: str) -> tuple[Identifier, ...]:
    """Return what a GS1 Digital Link identifies, the most specific first; () for any other URL.

    A serial is also an instance of its GTIN, as GS1 resolvers have it, so less specific identifiers follow.
    """
    steps = url.partition("://")[2].partition("?")[0].split("/")[1:]
    # The stem before /01/ is the brand's own; the last /01/ that leaves whole pairs begins the identification.
    starts = [at for at, step in enumerate(steps) if step == GTIN and (len(steps) - at) % 2 == 0]
    if not starts:
        return ()
    (_, gtin), *qualifiers = zip(steps[starts[-1] :: 2], steps[starts[-1] + 1 :: 2], strict=True)
    keys = [key for key, _ in qualifiers]
    if keys != [key for key in QUALIFIERS if key in keys]:
        return ()
    return _identifiers(gtin, {key: _unquoted(value) for key, value in qualifiers})


def from_elements(text: str) -> tuple[Identifier, ...]:
    """Return what an element string identifies, the most specific first; () if it holds no GTIN or is malformed."""
    # A separator is the only control character that an element string may hold.
    elements = elements_of(text) if text.isascii() and text.replace(SEPARATOR, "").isprintable() else None
    if elements is None or GTIN not in elements:
        return ()
    return _identifiers(elements[GTIN], {key: elements.get(key) for key in QUALIFIERS if key in elements})


def from_digits(text: str) -> tuple[Identifier, ...]:
    """Return what the digits of an EAN, UPC or ITF-14 barcode identify; () if they are no GTIN."""
    return _identifiers(text, {})


def elements_of(text: str) -> Mapping[str, str] | None:
    """Split an element string into its AIs; None if it is malformed. Of a repeated AI the first counts."""
    found: dict[str, str] = {}
    rest = text.lstrip(SEPARATOR)
    while rest:
        length = _PREDEFINED.get(rest[:2])
        if length is None:
            element, _, rest = rest.partition(SEPARATOR)
        else:
            element, rest = rest[: 2 + length], rest[2 + length :].removeprefix(SEPARATOR)
        if not element[:2].isdigit() or len(element) < 3 or len(element) < 2 + (length or 0):  # noqa: PLR2004  # AI and data
            return None
        found.setdefault(element[:2], element[2:])
    return found


def gtin14(digits: str) -> str | None:
    """Return a GTIN-8, -12, -13 or -14 as fourteen digits; None unless its check digit is right."""
    if len(digits) not in _GTIN_LENGTHS or not (digits.isascii() and digits.isdigit()):
        return None
    return digits.zfill(14) if check_digit(digits[:-1]) == digits[-1] else None


def check_digit(digits: str) -> str:
    """Return the check digit that belongs after these digits: weights 3 and 1 from the right, modulo 10."""
    total = sum(int(digit) * (3 if at % 2 == 0 else 1) for at, digit in enumerate(reversed(digits)))
    return str(-total % 10)


def _identifiers(gtin: str, qualifiers: Mapping[str, str | None]) -> tuple[Identifier, ...]:
    key = gtin14(gtin)
    if key is None:
        return ()
    values = [f"/{GTIN}/{key}"]
    for ai in QUALIFIERS:
        if ai in qualifiers:
            value = qualifiers[ai]
            if value is None or not _VALUE.fullmatch(value):
                return ()
            values.append(f"{values[-1]}/{ai}/{quote(value, safe='')}")
    return tuple(Identifier("gs1", value) for value in reversed(values))


def _unquoted(value: str) -> str | None:
    """Undo percent-encoding; None if what comes out is no ASCII text."""
    octets = unquote_to_bytes(value)
    return octets.decode("ascii") if octets.isascii() and len(octets) <= _LONGEST_QUALIFIER else None
