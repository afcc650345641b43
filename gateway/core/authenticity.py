"""Whether what was read may be believed: the verdict on SUN messages, and the counters that make a copy show.

A tag that signs its link proves that it was read just now, at least once more than the last time we know of. What it
does not prove: stores that cannot see each other's counters may each be shown the same message, so the best verdict is
`genuine-unreconciled`; and a tag proves itself, not what it is fixed to.
"""

import hmac
from dataclasses import dataclass, field
from typing import Final

from gateway.core import decode
from gateway.core.decode import ndef, sun
from gateway.core.decode.sun import Mirrors, TagKeys, Unproven, Verified
from gateway.core.event import Authenticity
from gateway.core.sighting import Identifier, Scan, Tag

GENUINE: Final = "genuine-unreconciled"
REPLAYED: Final = "replayed"
FORGED: Final = "forged"
REFUSED: frozenset[Authenticity | None] = frozenset({REPLAYED, FORGED})
"""Verdicts on what nobody may be recognized by."""
NEVER = -1
"""The counter of a tag that was never accepted."""
_TAG_OCTETS = 16


@dataclass(frozen=True, slots=True)
class Spent:
    """A counter that a tag has used: from now on only higher ones are accepted of it."""

    tag: str = field(repr=False)
    """Keyed hash of the UID, in hexadecimal: all that the store keeps of a tag."""
    counter: int
    before: int = NEVER
    """The last one accepted before it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: what it may be known as, the most specific first, and whether it may be believed."""

    candidates: tuple[Identifier, ...] = field(repr=False)
    verdict: Authenticity | None = None
    """Of the message as a whole; None if it is no SUN message, or the key to tell is not here."""
    whole: bool = False
    """The link is proven too, and not only the tag."""
    spent: Spent | None = None
    """What has to be kept before a genuine reading is accepted."""

    @property
    def refused(self) -> bool:
        """Nobody may be recognized by it."""
        return self.verdict in REFUSED

    def authenticity(self, identifier: Identifier) -> Authenticity | None:
        """Return the verdict as far as it concerns one of the candidates.

        A genuine tag proves itself; a link around its message only if that is signed too, since anybody may put the
        message into another link.
        """
        proven = self.refused or self.whole or identifier.kind == "sun"
        return self.verdict if proven else None


@dataclass(slots=True)
class Authenticator:
    """Judges readings. `counters` is what the store knows: the last counter accepted, by `Spent.tag`."""

    keys: TagKeys = field(default_factory=TagKeys, repr=False)
    mirrors: Mirrors = sun.MIRRORS
    counters: dict[str, int] = field(default_factory=dict, repr=False)

    def read(self, payload: Tag | Scan) -> Reading:
        """Return what was read. Nothing is accepted by that: see `accept`."""
        if isinstance(payload, Scan):
            return self._judged(decode.scan(payload, self.mirrors), payload.text.strip(), b"")
        said = ndef.first(payload.ndef)
        return self._judged(decode.tag(payload, self.mirrors), "" if said is None else said.text, payload.uid)

    def _judged(self, others: tuple[Identifier, ...], text: str, uid: bytes) -> Reading:
        """Judge a text; `uid` is the one that the tag itself has shown, empty if none was seen."""
        message = sun.find(text, self.mirrors)
        proven = Unproven.NO_KEY if message is None else sun.verify(message, self.keys)
        if message is None or proven is Unproven.NO_KEY:
            return Reading(others)
        if isinstance(proven, Unproven) or (uid and uid != proven.uid):  # or written onto another tag
            return Reading(others, FORGED)
        tag = _hashed(proven)
        last = self.counters.get(tag, NEVER)
        candidates = (Identifier("sun", proven.uid.hex()), *others)
        if proven.counter <= last:
            return Reading(candidates, REPLAYED)
        return Reading(candidates, GENUINE, message.whole, Spent(tag, proven.counter, last))

    def accept(self, spent: Spent) -> None:
        """Accept nothing up to this counter any more; it has to be made durable too."""
        self.counters[spent.tag] = spent.counter

    def take_back(self, spent: Spent) -> None:
        """Undo `accept` for what could not be made durable, unless the tag has been read again since."""
        if self.counters.get(spent.tag) == spent.counter:
            self.counters[spent.tag] = spent.before


def _hashed(proven: Verified) -> str:
    """Return the name of a tag in the counters. A tag that gets another key counts anew, and so has another name."""
    digest = hmac.digest(proven.key, b"touchpoint/v1/sun-counter\0" + proven.uid, "sha256")
    return digest[:_TAG_OCTETS].hex()
