"""The codes of a store's touchpoints: which link each carries, and what goes with the files that are printed."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from gateway.core import brandlink
from gateway.core.brandlink import LinkKeys, Standing
from gateway.core.decode import gs1
from gateway.core.decode.link import canonical
from gateway.core.registry import Touchpoint, split
from gateway.language import _
from gateway.provision.readback import read_pdf
from gateway.provision.sheet import Printed, Stock, draw, single
from gateway.provision.symbol import BLACK, Level, Symbol, eps, png, svg, symbol

ENDINGS = (".svg", ".png", ".eps", ".pdf")
"""Of files that hold one code."""
MODULE_MM = 0.5
"""Width of a module of a code whose size nobody has said."""
COLUMNS = ("id", "answer", "name", "link", "version", "modules", "size_mm", "module_mm")

DEFAULT_LINK = "https://ref.gs1.org/voc/defaultLink"
"""Where a scanned link leads (GS1 Web Vocabulary)."""


class MadeError(Exception):
    """Codes that cannot be made, or that were not read back; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Code:
    """A code to print: of a touchpoint, or of one answer at a feedback point."""

    touchpoint: Touchpoint
    answer: str | None
    link: str

    @property
    def id(self) -> str:
        """The touchpoint, and its answer."""
        return self.touchpoint.id if self.answer is None else f"{self.touchpoint.id} {self.answer}"

    @property
    def title(self) -> str:
        """For people."""
        return self.touchpoint.name if self.answer is None else f"{self.touchpoint.name} {self.answer}"

    @property
    def file(self) -> str:
        """A name for its file, without its ending: letters, digits, dots, dashes and underscores."""
        return "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "-" for each in self.id)


def codes(touchpoints: Iterable[Touchpoint], domain: str, keys: LinkKeys | None) -> list[Code]:
    """Return the codes of touchpoints: their registered links under the domain, signed if there are keys.

    Raises MadeError naming every touchpoint that has none.
    """
    made, without = [], []
    for touchpoint in touchpoints:
        found = list(_links(touchpoint, domain))
        made += [Code(touchpoint, answer, _signed(link, domain, keys)) for link, answer in found]
        without += [] if found else [touchpoint.id]
    if without:
        raise MadeError(
            _(
                "no link under {domain} is registered for {without}: leave their identifiers empty and"
                " import them again, and their links are made"
            ).format(domain=domain, without=", ".join(without))
        )
    return made


def _links(touchpoint: Touchpoint, domain: str) -> Iterator[tuple[str, str | None]]:
    for text in touchpoint.identifiers:
        identifier, answer = split(text, feedback=touchpoint.kind == "feedback")
        if identifier.kind == "link" and identifier.value.startswith(f"{brandlink.SCHEME}{domain}/"):
            yield identifier.value, answer


def _signed(link: str, domain: str, keys: LinkKeys | None) -> str:
    """Sign links that name their touchpoint; any other is checked by nobody."""
    read = brandlink.read(link, domain, None)
    return link if keys is None or read is None or read.touchpoint is None else brandlink.sign(link, keys)


def pages(
    wanted: Sequence[Code],
    stock: Stock,
    size_mm: float,
    level: Level,
    title: str,
    told: Callable[[str, int], None] = lambda _what, _number: None,
) -> tuple[bytes, list[Symbol]]:
    """Draw codes as PDF and read every one of them back from it; return the PDF, and the symbols on it.

    `told` hears how many codes are drawn, and then read. Raises MadeError, SymbolError.
    """
    symbols = [symbol(code.link, level) for code in wanted]
    printed = [Printed(made, code.id, code.title) for made, code in zip(symbols, wanted, strict=True)]
    document = draw(printed, stock, size_mm, title, lambda number: told("drawn", number))
    missing = {code.link: code.id for code in wanted}
    for found in read_pdf(document, upright=True):
        for each in found:
            missing.pop(each.text, None)
        told("read", len(wanted) - len(missing))
    if missing:
        names = ", ".join(list(missing.values())[:10])
        raise MadeError(
            _("{count} codes could not be read back from the page ({names}); nothing was written").format(
                count=len(missing), names=names
            )
        )
    return document, symbols


def alone(code: Code, ending: str, size_mm: float | None, level: Level, color: str = BLACK) -> tuple[bytes, Symbol]:
    """Return the file of one code, by its ending, read back as it is printed. Raises MadeError, SymbolError.

    Without a size its modules are MODULE_MM wide.
    """
    made = symbol(code.link, level)
    size = size_mm or made.whole * MODULE_MM
    document, _ = pages([code], single(size), size, level, code.title)
    match ending:
        case ".svg":
            return svg(made, size, color), made
        case ".png":
            return png(made, size, color), made
        case ".eps":
            return eps(made, size), made
        case _:
            return document, made


def table(wanted: Sequence[Code], symbols: Sequence[Symbol], size_mm: float | None = None) -> str:
    """Return what was made as CSV; without a size each code is counted as it is printed alone."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for code, made in zip(wanted, symbols, strict=True):
        size = "" if size_mm is None else f"{size_mm:g}"
        module = "" if size_mm is None else f"{size_mm / made.whole:.3f}"
        row = (code.touchpoint.id, code.answer or "", code.touchpoint.name, code.link)
        writer.writerow((*row, made.version, made.side, size, module))
    return text.getvalue()


def linkset(wanted: Iterable[Code], target: str) -> Mapping[str, object]:
    """Return what a resolver needs to send a customer's phone on: a link set (RFC 9264, 4.2).

    The codes are unsigned: the anchor is a printed link without its signature. `touchpoint` and `answer` are what to
    count the scan as, so that it is one touchpoint at home and in the store (extension attributes, 4.2.4.3). `target`
    is where it leads, with `{id}`, `{kind}`, `{gtin}`, `{serial}`, `{campaign}` and `{answer}` to be filled in. Raises
    MadeError when it names anything else.
    """
    return {"linkset": [_context(code, target) for code in wanted]}


def _context(code: Code, target: str) -> Mapping[str, object]:
    answer = {} if code.answer is None else {"answer": [code.answer]}
    counted = {"touchpoint": [code.touchpoint.id], **answer}
    return {"anchor": code.link, DEFAULT_LINK: [{"href": _target(code, target), "title": code.title, **counted}]}


def _target(code: Code, target: str) -> str:
    touchpoint = code.touchpoint
    parts = {
        "id": touchpoint.id,
        "kind": touchpoint.kind,
        "gtin": touchpoint.gtin or "",
        "serial": touchpoint.serial or "",
        "campaign": touchpoint.campaign or "",
        "answer": code.answer or "",
    }
    try:
        return target.format(**{part: quote(value, safe="") for part, value in parts.items()})
    except (LookupError, ValueError, AttributeError):
        raise MadeError(
            _("{target}: only {parts} are filled in").format(
                target=target, parts=", ".join(f"{{{part}}}" for part in parts)
            )
        ) from None


def explained(
    link: str,
    domain: str,
    keys: LinkKeys | None,
    known: Callable[[str], Touchpoint | None],
    *,
    unsigned: bool,
    now_ms: int,
) -> dict[str, object]:
    """Say in a sentence what a text is, whose touchpoint, and whether it counts when it is scanned in the store.

    `known` finds the touchpoint of what is registered. With keys, links that name a touchpoint count with their
    signature, or without one when `unsigned` says so.
    """
    text = canonical(link) or link
    read = brandlink.read(text, domain, keys)
    touchpoint = known(text if read is None else read.bare)
    name, valid = (None, False) if touchpoint is None else (touchpoint.id, touchpoint.valid_at(now_ms))
    stands = _stands(text, touchpoint, now_ms)
    if read is None:
        says = _("not a link under {domain}; {stands}").format(domain=domain, stands=stands)
        return {"says": says, "touchpoint": name, "counts": valid}
    unsigned_or_unchecked = (
        _("not signed; {stands}") if read.kid is None else _("signed, and there are no keys here to check it; {stands}")
    )
    says = {
        Standing.SIGNED: _("signed with key {key}; {stands}"),
        Standing.UNSIGNED: unsigned_or_unchecked,
        Standing.FORGED: _("its signature is wrong: it was changed, or somebody else has made it; {stands}"),
        Standing.UNKNOWN_KEY: _("signed with key {key}, which is not among the keys here; {stands}"),
    }[read.standing].format(key=read.kid, stands=stands)
    counts = valid and brandlink.vouched(read, keys, unsigned=unsigned)
    return {"says": says, "touchpoint": name, "counts": counts}


def _stands(link: str, touchpoint: Touchpoint | None, now_ms: int) -> str:
    """Say which touchpoint a link stands for, and whether it does now."""
    if touchpoint is None:
        digits = gtin_in(link)
        if digits is not None and gs1.gtin14(digits) is None:
            return _("no touchpoint of this store: the check digit of its GTIN is wrong")
        return _("no touchpoint of this store")
    if touchpoint.retired_at(now_ms):
        return _("touchpoint {name}, which is retired").format(name=touchpoint.id)
    if not touchpoint.valid_at(now_ms):
        return _("touchpoint {name}, which is not valid yet").format(name=touchpoint.id)
    return _("touchpoint {name}").format(name=touchpoint.id)


def gtin_in(link: str) -> str | None:
    """Return the digits of a Digital Link's GTIN, right or wrong; None if it has none."""
    found = re.match(r"https?://[^/?]+(?:/[^?]*)?/01/([0-9]{8,14})(?=[/?]|$)", link)
    return None if found is None else found[1]


def resolver_table(wanted: Iterable[Code], target: str) -> str:
    """Return the links of the link set as CSV: link, target, touchpoint, answer, name. Raises MadeError."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("link", "target", "touchpoint", "answer", "name"))
    for code in wanted:
        href = _target(code, target)
        writer.writerow((code.link, href, code.touchpoint.id, code.answer or "", code.touchpoint.name))
    return text.getvalue()
