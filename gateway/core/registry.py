"""What an identifier means: a touchpoint of the store, a customer's token, or nothing that we know.

A registry is an immutable snapshot. It is replaced as a whole when touchpoints change, so a sighting is judged by one
version of it from beginning to end.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.core.decode.namespace import ANY, Namespaces, namespaces
from gateway.core.sighting import Identifier

KINDS = ("display", "counter", "entrance", "product", "catalogue", "service", "feedback", "beacon", "visit-end")
"""Kinds of touchpoint. `feedback`: each identifier stands for an answer. `visit-end`: staff's tag that ends a visit."""
PHASES = ("before", "during", "after")
"""Phases of the journey, seen from the purchase."""


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """A thing or place of the brand where it meets a customer."""

    id: str
    kind: str
    name: str
    zone: str | None = None
    phase: str | None = None
    gtin: str | None = None
    reference: str | None = None
    serial: str | None = None
    campaign: str | None = None
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    """The first millisecond (Unix time) at which it is no longer valid."""
    identifiers: tuple[str, ...] = ()
    """Each `kind:value`; of a feedback point `kind:value#answer`."""

    def retired_at(self, unix_ms: int) -> bool:
        """Tell whether its validity has ended at this time."""
        return self.valid_until_ms is not None and unix_ms >= self.valid_until_ms

    def valid_at(self, unix_ms: int) -> bool:
        """Tell whether the touchpoint is valid at this time."""
        return (self.valid_from_ms is None or unix_ms >= self.valid_from_ms) and not self.retired_at(unix_ms)


@dataclass(frozen=True, slots=True)
class Known:
    """The identifier of a touchpoint; `answer` is what it stands for at a feedback point."""

    touchpoint: Touchpoint
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Bearer:
    """The identifier is a token that a customer carries."""

    kind: str


@dataclass(frozen=True, slots=True)
class Badge:
    """The identifier is what one of the staff carries: nothing is made of it."""

    kind: str


@dataclass(frozen=True, slots=True)
class BadgeRule:
    """What counts as a badge: every identifier of this kind whose value is this, or begins so."""

    kind: str
    prefix: str


@dataclass(frozen=True, slots=True)
class BearerRule:
    """What counts as a customer's token: every identifier of this kind whose value goes on after this prefix."""

    kind: str
    prefix: str

    def covers(self, identifier: Identifier) -> bool:
        """Tell whether an identifier is a token by this rule."""
        same = identifier.kind == self.kind and identifier.value.startswith(self.prefix)
        return same and len(identifier.value) > len(self.prefix)


@dataclass(frozen=True, slots=True)
class Registry:
    """Touchpoints by identifier, and the rules for tokens and badges.

    A touchpoint's own identifier wins over the rules, a badge over a token: badges may be of the customers' namespace.
    """

    version: int
    touchpoints: Mapping[str, Touchpoint]
    """By id."""
    known: Mapping[Identifier, Known] = field(repr=False)
    rules: Mapping[str, tuple[str, ...]]
    """Prefixes by kind of identifier."""
    namespaces: Namespaces = ANY
    """Of the beacons that are worth decoding."""
    badges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Prefixes by kind of identifier, as in `rules`."""

    def lookup(self, identifier: Identifier) -> Known | Bearer | Badge | None:
        """Return what the identifier means. One look-up for the stranger's beacon, which is nearly every one."""
        known = self.known.get(identifier)
        if known is not None:
            return known
        prefixes, value = self.badges.get(identifier.kind), identifier.value
        if prefixes is not None and value.startswith(prefixes):
            return Badge(identifier.kind)
        prefixes = self.rules.get(identifier.kind)
        if prefixes is None:
            return None
        if value.startswith(prefixes) and any(value.startswith(each) and len(value) > len(each) for each in prefixes):
            return Bearer(identifier.kind)
        return None

    def find(self, candidates: Iterable[Identifier]) -> tuple[Identifier, Known | Bearer | Badge] | None:
        """Return the first candidate that means something, with its meaning."""
        for identifier in candidates:
            meaning = self.lookup(identifier)
            if meaning is not None:
                return identifier, meaning
        return None


def build(
    version: int,
    touchpoints: Iterable[Touchpoint],
    rules: Iterable[BearerRule] = (),
    badges: Iterable[BadgeRule] = (),
) -> Registry:
    """Build a snapshot. Of two touchpoints with the same identifier the first has it; imports refuse such files."""
    by_id = {touchpoint.id: touchpoint for touchpoint in touchpoints}
    known: dict[Identifier, Known] = {}
    for touchpoint in by_id.values():
        for text in touchpoint.identifiers:
            identifier, answer = split(text, feedback=touchpoint.kind == "feedback")
            known.setdefault(identifier, Known(touchpoint, answer))
    tokens, staff = _by_kind(rules), _by_kind(badges)
    every = [(kind, prefix) for each in (tokens, staff) for kind, several in each.items() for prefix in several]
    ours = namespaces([(identifier.kind, identifier.value) for identifier in known], every)
    return Registry(version, by_id, known, tokens, ours, staff)


def _by_kind(rules: Iterable[BearerRule | BadgeRule]) -> dict[str, tuple[str, ...]]:
    prefixes: dict[str, tuple[str, ...]] = {}
    for rule in rules:
        prefixes[rule.kind] = (*prefixes.get(rule.kind, ()), rule.prefix)
    return prefixes


def split(text: str, *, feedback: bool) -> tuple[Identifier, str | None]:
    """Split a registered identifier into itself and, of a feedback point, the answer it stands for.

    A canonical link has no fragment, so that `#` is free to separate the answer.
    """
    kind, _, value = text.partition(":")
    if feedback and "#" in value:
        value, _, answer = value.rpartition("#")
        return Identifier(kind, value), answer or None
    return Identifier(kind, value), None
