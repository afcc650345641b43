"""What a data protection officer would keep on paper: who has said what, and whether that covers an event.

It shares no code with the gateway; its rules are those of the table in DESIGN.md, "What is decided about a subject":
a consent counts if it is given or renewed, covers the purpose, has not ended, is the customer's latest word, and the
centre has confirmed the whole set not too long ago by a clock that is right.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

SAYS_YES = ("given", "renewed")


@dataclass(frozen=True)
class Word:
    """One version of one record, as somebody signed it."""

    record: str
    revision: int
    state: str
    tokens: frozenset[str]
    purposes: frozenset[str]
    since_ms: int
    until_ms: int | None
    central: bool

    @property
    def yes(self) -> bool:
        return self.state in SAYS_YES

    def covers(self, token: str, purpose: str) -> bool:
        """Tell whether it says anything about this; a no without purposes is about all of them."""
        return token in self.tokens and (purpose in self.purposes or not (self.purposes or self.yes))

    def outranks(self, other: "Word") -> bool:
        """The higher revision wins, a withdrawal wins ties."""
        return (self.revision, not self.yes) > (other.revision, not other.yes)


@dataclass
class Paper:
    """Every word that has reached the gateway and that it must believe."""

    stale_ms: int
    words: dict[str, list[Word]] = field(default_factory=dict)
    """By record, whether it was said in the store or by the centre."""
    confirmed_ms: int | None = None

    def note(self, word: Word) -> None:
        self.words.setdefault(word.record, []).append(word)

    def strike_all_but(self, listed: Iterable[str]) -> None:
        """Cross out what the centre no longer lists; what was said in the store stays."""
        for record in self.words.keys() - set(listed):
            self.words[record] = [word for word in self.words[record] if not word.central]

    def counts(self, now_ms: int, *, synced: bool) -> bool:
        """Tell whether anything on paper counts now."""
        fresh = self.confirmed_ms is not None and now_ms < self.confirmed_ms + self.stale_ms
        return synced and fresh

    def allows(self, token: str, purpose: str, now_ms: int, *, synced: bool) -> bool:
        """Tell whether an event may name the bearer of this token for this purpose now."""
        if not self.counts(now_ms, synced=synced):
            return False
        newest = [self._newest(versions) for versions in self.words.values() if versions]
        about = [word for word in newest if word.covers(token, purpose)]
        if not about:
            return False
        latest = max(word.since_ms for word in about)
        last = [word for word in about if word.since_ms == latest]
        running = any(word.until_ms is None or now_ms < word.until_ms for word in last)
        return running and all(word.yes for word in last)

    @staticmethod
    def _newest(versions: list[Word]) -> Word:
        newest = versions[0]
        for word in versions[1:]:
            newest = word if word.outranks(newest) else newest
        return newest
