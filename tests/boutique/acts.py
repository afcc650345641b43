"""What customers hold to NFC readers and to the scanner, and what it should become.

At each reader one customer comes after the other. A customer with a token may present it first; what follows within
the visit is the customer's, and what comes later is nobody's, as the rule of a visit has it. Whoever comes next begins
with a token, after staff's end tag, or when the visit is over.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from gateway.core.event import EventType
from gateway.core.sighting import Payload, Scan, Tag
from gateway.demo.boutique import (
    CATALOGUE,
    CHRONO,
    COUNTER,
    DIVER,
    FROWN,
    MOONPHASE,
    SCANNER,
    SMILE,
    WINDOW,
    WINDOW_DISPLAY,
    Customer,
    product_link,
)
from gateway.demo.signals import ndef_link
from tests.boutique.people import Visitor
from tests.boutique.store import AUTUMN, DEBOUNCE_SECONDS, GOODBYE, VISIT_SECONDS

LONGEST_S = 120.0
"""Nobody stands at a reader for longer."""
PRODUCTS = {DIVER: "diver", MOONPHASE: "moonphase", CHRONO: "chrono"}
Outage = tuple[str, float, float]


@dataclass(frozen=True)
class Thing:
    """Something that can be held to a reader: what is read, and what it means."""

    payload: Payload = field(repr=False)
    touchpoint: str | None = None
    answer: str | None = None
    dropped: str | None = None
    """Why it makes no event. The tag that ends a visit makes none either, and is not dropped."""
    foreign: tuple[bytes, ...] = field(default=(), repr=False)
    """What of it is nobody's business."""


@dataclass(frozen=True)
class Act:
    """A thing that was held to a reader: when it was read, and who is to be named."""

    thing: Thing
    reader: str
    readings: tuple[float, ...]
    """Seconds from the start; a tag flickers in the field."""
    pseudonym: str | None = None
    attribution: Literal["direct", "visit"] | None = None

    @property
    def kind(self) -> EventType:
        """The event that it is to make."""
        if self.thing.answer is not None:
            return EventType.RESPONSE
        return EventType.SCAN if self.reader == SCANNER else EventType.TAP


def acts_of(
    visitors: Sequence[Visitor],
    seconds: float,
    outages: Sequence[Outage],
    set_by: Callable[[float], float],
    dice: Random,
) -> list[Act]:
    """Return the acts of a day, in order; nobody comes to a reader that is down."""
    every: list[Act] = []
    for reader in (COUNTER, WINDOW, SCANNER):
        down = [(begins, ends) for name, begins, ends in outages if name == reader]
        every += _Desk(reader, down, set_by, dice).acts(visitors, seconds)
    return sorted(every, key=lambda act: act.readings[0])


@dataclass
class _Desk:
    """One reader and who comes to it."""

    reader: str
    down: Sequence[tuple[float, float]]
    set_by: Callable[[float], float]
    dice: Random
    at: float = 30.0

    def acts(self, visitors: Sequence[Visitor], seconds: float) -> Iterator[Act]:
        """Let one come after the other, all day."""
        pace = seconds / max(len(visitors), 1)
        with_cards = [who for who in visitors if who.card is not None]
        while self.at < seconds - 2 * LONGEST_S:
            if any(begins - LONGEST_S <= self.at < ends for begins, ends in self.down):
                self.at += LONGEST_S
                continue
            yield from self._one_comes(self.dice.choice(visitors), self.dice.random() < 0.7)
            if with_cards and self.dice.random() < 0.2:  # the next is already there
                self.at += DEBOUNCE_SECONDS + 2
                yield from self._one_comes(self.dice.choice(with_cards), shows=True)
            self.at += VISIT_SECONDS + self.dice.expovariate(1 / pace)

    def _one_comes(self, who: Visitor, shows: bool) -> Iterator[Act]:  # noqa: FBT001  # whether a card is shown
        """Show a card, touch or scan this and that, and go."""
        shown_at = None
        if shows and who.card is not None:
            shown_at = round(self.at, 3)
            yield self._act(Thing(self._shown(who.card), self._place), who, "direct")
        for _ in range(self.dice.randrange(0 if shown_at else 1, 6)):
            self.at += self.dice.uniform(DEBOUNCE_SECONDS + 2, 12)
            is_visit = shown_at is not None and round(self.at, 3) < shown_at + VISIT_SECONDS
            yield self._act(self._thing(), who if is_visit else None, "visit")
        if shown_at is not None and self.dice.random() < 0.2:
            self.at += DEBOUNCE_SECONDS + 2
            payload = Scan(GOODBYE, "]Q1") if self.reader == SCANNER else Tag(_uid(self.dice), ndef_link(GOODBYE))
            yield self._act(Thing(payload), None, "visit")

    @property
    def _place(self) -> str:
        return "window" if self.reader == WINDOW else "counter"

    def _shown(self, card: Customer) -> Payload:
        return Scan(card.token, "]Q1") if self.reader == SCANNER else card.tag

    def _thing(self) -> Thing:
        return _code(self.dice) if self.reader == SCANNER else _tag(self.dice)

    def _act(self, thing: Thing, who: Visitor | None, attribution: Literal["direct", "visit"]) -> Act:
        at = round(self.at, 3)
        flickers = self.dice.randrange(3) if isinstance(thing.payload, Tag) else 0
        readings = tuple(round(at + 0.4 * number, 3) for number in range(flickers + 1))
        self.at = readings[-1]
        named = None if who is None else who.named(who.tokens[0], at + self.set_by(at))
        return Act(thing, self.reader, readings, named, None if named is None else attribution)


def _tag(dice: Random) -> Thing:
    """A product, a display, a feedback point; or a bank card, or a stranger's tag."""
    kind = dice.randrange(10)
    uid = _uid(dice)
    if kind < 5:
        gtin, product = dice.choice(list(PRODUCTS.items()))
        return Thing(Tag(uid, ndef_link(product_link(gtin, f"S{dice.randrange(10_000)}"))), product)
    if kind < 7:
        return Thing(Tag(uid, ndef_link(WINDOW_DISPLAY)), "window")
    if kind < 8:
        link, answer = dice.choice(((SMILE, "smile"), (FROWN, "frown")))
        return Thing(Tag(uid, ndef_link(link)), "farewell", answer)
    if kind < 9:
        card = b"\x08" + dice.randbytes(6)
        return Thing(Tag(card), dropped="unknown", foreign=(card,))
    link = f"https://tag.example/{dice.randbytes(8).hex()}"
    return Thing(Tag(uid, ndef_link(link)), dropped="unknown", foreign=(uid, link.encode()))


def _code(dice: Random) -> Thing:
    """A code of the catalogue or of a product, in any of its forms, an answer; or what strangers print."""
    gtin, product = dice.choice(list(PRODUCTS.items()))
    serial, noise = f"S{dice.randrange(10_000)}", dice.randbytes(8).hex()
    link, answer = dice.choice(((SMILE, "smile"), (FROWN, "frown")))
    foreign = dice.choice(
        (f"https://menu.example/{noise}", f"WIFI:T:WPA;S:{noise};P:{noise};;", f"BEGIN:VCARD\nN:{noise}\nEND:VCARD")
    )
    return dice.choice(
        (
            Thing(Scan(product_link(gtin, serial), "]Q1"), product),
            Thing(Scan(f"https://id.gs1.org/01/{gtin}", "]Q1"), product),
            Thing(Scan(f"01{gtin}21{serial}", dice.choice(("]Q3", "]d2", "]C1"))), product),
            Thing(Scan(gtin[1:], "]E0"), product),
            Thing(Scan(CATALOGUE, "]Q1"), "catalogue-12"),
            Thing(Scan(WINDOW_DISPLAY.upper().replace("/T/WINDOW", "/t/window"), "]Q1"), "window"),
            Thing(Scan(link, "]Q1"), "farewell", answer),
            Thing(Scan(AUTUMN, "]Q1"), dropped="not-valid"),
            Thing(Scan("4006381333931", "]E0"), dropped="unknown"),
            Thing(Scan(" \r\n", "]Q1"), dropped="unreadable"),
            Thing(Scan(foreign, "]Q1"), dropped=_refusal(foreign), foreign=(noise.encode(),)),
        )
    )


def _refusal(text: str) -> str:
    """A business card holds line ends: it is no text that could identify anything."""
    return "unknown" if text.isprintable() else "unreadable"


def _uid(dice: Random) -> bytes:
    return b"\x04" + dice.randbytes(6)
