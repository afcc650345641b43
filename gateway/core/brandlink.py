"""The brand's own links, in tags and printed codes: made, signed, and checked when they are read in the store.

Two forms, of which a touchpoint has one (GS1 Digital Link Standard, URI Syntax 1.2, where it stands for a product):

    https://{domain}/01/{GTIN-14}[/21/{serial}]?t={touchpoint}
    https://{domain}/t/{touchpoint}[/{answer}]

A signature goes behind: `k={key id}&s={signature}`, an HMAC-SHA-256 of everything before it from the domain on, cut to
80 bits (RFC 2104, section 5), in base64url. It stops people from making codes of their own, not from copying one.
Extension parameters of a Digital Link must not be all digits (section 4.10 there); these are letters.
"""

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from urllib.parse import quote

from gateway.core.decode import gs1
from gateway.core.registry import Touchpoint
from gateway.core.sighting import Identifier
from gateway.sentence import sentence

SCHEME = "https://"
SIGNATURE_OCTETS = 10
SECRET_OCTETS = 32
LINKLESS = frozenset({"beacon", "visit-end"})
"""Kinds of touchpoint that nobody scans a link of."""
_KID = re.compile(r"[A-Za-z0-9_-]{1,16}")
_SIGNED = re.compile(r"(?P<bare>https://.+)[?&]k=(?P<kid>[A-Za-z0-9_-]{1,16})&s=(?P<signature>[A-Za-z0-9_-]{14})")
_TOUCHPOINT = re.compile(
    r"/t/(?P<short>[^/?]+)(?:/(?P<answer>[^/?]+))?|/01/(?:[0-9]{8}|[0-9]{12,14})(?:/[^?]*)?\?t=(?P<product>[^&]+)"
)
_SHORT_GTIN = re.compile(r"(?P<before>https://[^/]+/01/)(?P<digits>[0-9]{8}|[0-9]{12,13})(?=[/?])")


class Standing(StrEnum):
    """What a link's signature says."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    FORGED = "forged"
    UNKNOWN_KEY = "unknown-key"


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """The keys that sign a brand's links, by key id; new links are signed with `active`."""

    secrets: Mapping[str, bytes] = field(repr=False)
    active: str

    @classmethod
    def new(cls, secret: bytes, before: "LinkKeys | None" = None) -> Self:
        """Return keys of which a new one is active; what the ones before have signed stays valid."""
        secrets = {} if before is None else dict(before.secrets)
        kid = str(max((int(each) for each in secrets if each.isdecimal()), default=0) + 1)
        return cls({**secrets, kid: secret}, kid)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of a key file. Raises ValueError, without saying what stands in it."""
        try:
            read = json.loads(text)
            secrets = {kid: urlsafe_b64decode(secret + "=") for kid, secret in read["keys"].items()}
            active = str(read["active"])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise ValueError(sentence("it is no file of link keys")) from None
        fits = active in secrets and all(
            _KID.fullmatch(kid) and len(each) == SECRET_OCTETS for kid, each in secrets.items()
        )
        if not fits:
            raise ValueError(sentence("it is no file of link keys"))
        return cls(secrets, active)

    def to_json(self) -> str:
        """Return the text of a key file."""
        keys = {kid: urlsafe_b64encode(each).rstrip(b"=").decode("ascii") for kid, each in self.secrets.items()}
        return json.dumps({"active": self.active, "keys": keys}, indent=2)


@dataclass(frozen=True, slots=True)
class BrandLink:
    """A link of the brand, taken apart."""

    bare: str
    """Without its signature: what the registry knows it by."""
    standing: Standing
    kid: str | None = None
    touchpoint: str | None = None
    """The touchpoint that it names; None if it is of another form."""
    answer: str | None = None


def bare(touchpoint: Touchpoint, domain: str, answer: str | None = None) -> str:
    """Return a touchpoint's link, unsigned; of a feedback point that of an answer."""
    if answer is not None:
        return f"{SCHEME}{domain}/t/{touchpoint.id}/{quote(answer, safe='')}"
    if touchpoint.gtin is None:
        return f"{SCHEME}{domain}/t/{touchpoint.id}"
    serial = "" if touchpoint.serial is None else f"/{gs1.SERIAL}/{quote(touchpoint.serial, safe='')}"
    gtin = gs1.gtin14(touchpoint.gtin) or touchpoint.gtin
    return f"{SCHEME}{domain}/{gs1.GTIN}/{gtin}{serial}?t={touchpoint.id}"


def identifiers(touchpoint: Touchpoint, domain: str) -> tuple[str, ...]:
    """Return the identifiers of a touchpoint with its link among them, wherever one is asked for.

    Asked for by having none at all, or, at a feedback point, by an answer that stands alone: `#good`. Beacons and
    staff's tags have no link.
    """
    if touchpoint.kind in LINKLESS:
        return touchpoint.identifiers
    if touchpoint.kind == "feedback":
        return tuple(
            f"link:{bare(touchpoint, domain, each[1:])}{each}" if each.startswith("#") else each
            for each in touchpoint.identifiers
        )
    return touchpoint.identifiers or (f"link:{bare(touchpoint, domain)}",)


def sign(link: str, keys: LinkKeys) -> str:
    """Return an unsigned link with its signature."""
    signature = _signature(link, keys.secrets[keys.active])
    return f"{link}{'&' if '?' in link else '?'}k={keys.active}&s={signature}"


def read(link: str, domain: str, keys: LinkKeys | None) -> BrandLink | None:
    """Take a link in canonical text apart; None if it is not of the domain.

    Without keys no signature can be checked: a signed link is taken as what it says, and counts as unsigned.
    """
    if not link.startswith((f"{SCHEME}{domain}/", f"{SCHEME}{domain}?")):
        return None
    signed = _SIGNED.fullmatch(link)
    text = link if signed is None else signed["bare"]
    standing, kid = (Standing.UNSIGNED, None) if signed is None else (_standing(signed, keys), signed["kid"])
    named = _TOUCHPOINT.fullmatch(text.removeprefix(f"{SCHEME}{domain}"))
    if named is None:
        return BrandLink(text, standing, kid)
    return BrandLink(text, standing, kid, named["short"] or named["product"], named["answer"])


@dataclass(frozen=True, slots=True)
class Links:
    """Which links count when they are read in the store."""

    domain: str | None = None
    keys: LinkKeys | None = None
    unsigned: bool = False
    """Links of the brand count without a signature too."""

    def known_as(self, candidates: tuple[Identifier, ...]) -> tuple[Identifier, ...]:
        """Return what was read as the registry knows it: links of the brand that count, without their signatures.

        Anybody can print a code, or write a tag, that names one of the store's touchpoints: such a link identifies
        nothing, and with a wrong signature nor does whatever else its tag may be known as.
        """
        if self.domain is None:
            return candidates
        known = []
        for each in candidates:
            link = read(each.value, self.domain, self.keys) if each.kind == "link" else None
            if link is None:
                known.append(each)
            elif vouched(link, self.keys, unsigned=self.unsigned):
                known += [Identifier("link", text) for text in _spellings(link.bare)]
            elif link.standing is not Standing.UNSIGNED:
                return ()
        return tuple(known)


def _spellings(link: str) -> tuple[str, ...]:
    """Return a link as it is, and with its GTIN in fourteen digits if that is shorter (Digital Link 1.2, 4.3)."""
    padded = _SHORT_GTIN.sub(lambda found: found["before"] + found["digits"].zfill(14), link)
    return (link,) if padded == link else (link, padded)


def vouched(link: BrandLink, keys: LinkKeys | None, *, unsigned: bool) -> bool:
    """Tell whether a link counts: whoever made it had a key, or need not have had one.

    Where there are no keys, anything counts; so does a link that names no touchpoint by our forms.
    """
    if keys is None or link.standing is Standing.SIGNED:
        return True
    return link.standing is Standing.UNSIGNED and (unsigned or link.touchpoint is None)


def _standing(signed: re.Match[str], keys: LinkKeys | None) -> Standing:
    if keys is None:
        return Standing.UNSIGNED
    secret = keys.secrets.get(signed["kid"])
    if secret is None:
        return Standing.UNKNOWN_KEY
    right = hmac.compare_digest(_signature(signed["bare"], secret), signed["signature"])
    return Standing.SIGNED if right else Standing.FORGED


def _signature(link: str, secret: bytes) -> str:
    digest = hmac.digest(secret, link.removeprefix(SCHEME).encode("ascii"), hashlib.sha256)
    return urlsafe_b64encode(digest[:SIGNATURE_OCTETS]).rstrip(b"=").decode("ascii")
