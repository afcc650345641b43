"""Whose readings these are: repeated readings are one, and readings after a token belong to its bearer for a while."""

from dataclasses import dataclass, field

from gateway.core.sighting import Identifier

SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class Debounce:
    """A tag left lying on a reader, or a code scanned twice by a nervous hand, is one reading.

    Only the last identifier of each reader is remembered: what lies between two readings makes them two, and
    memory is bounded by the number of readers. Each repetition counts anew: what lies on a reader for an hour is one
    reading. So a token that is left there opens no second visit when its first has ended; it must be taken away for
    `seconds`, or something else be read, before it counts again.
    """

    seconds: float
    _last: dict[str, tuple[Identifier, int]] = field(default_factory=dict, repr=False)

    def repeats(self, reader: str, identifier: Identifier, now_ns: int) -> bool:
        """Tell whether this reading only repeats the reader's last one, and remember it."""
        last = self._last.get(reader)
        self._last[reader] = (identifier, now_ns)
        return last is not None and last[0] == identifier and now_ns < self._until(last[1])

    def forget(self, reader: str) -> None:
        """Take the next reading for a new one, whatever it is: the last was not accepted."""
        self._last.pop(reader, None)

    def _until(self, at_ns: int) -> int:
        return at_ns + int(self.seconds * SECOND_NS)

    def next_deadline(self) -> int | None:
        """Return when the first reading can be forgotten (CLOCK_BOOTTIME, ns): a token is not kept for nothing."""
        return min((self._until(at_ns) for _, at_ns in self._last.values()), default=None)

    def expire(self, now_ns: int) -> None:
        """Forget the readings that no later one can repeat."""
        for reader in [reader for reader, (_, at_ns) in self._last.items() if now_ns >= self._until(at_ns)]:
            del self._last[reader]


@dataclass(slots=True)
class Visits:
    """At most one open visit a reader, held in memory only.

    A visit opens when a token is presented, and ends by time, by the next token, by staff's end tag, or by a
    withdrawal. It does not last longer for being used: `seconds` count from the token.
    """

    seconds: float
    _open: dict[str, tuple[Identifier, int]] = field(default_factory=dict, repr=False)

    def open(self, reader: str, token: Identifier, now_ns: int) -> None:
        """Open a visit of this token's bearer; an earlier one at the reader ends."""
        self._open[reader] = (token, now_ns + int(self.seconds * SECOND_NS))

    def token(self, reader: str, now_ns: int) -> Identifier | None:
        """Return the token of the visit that is open at this reader, if any."""
        token, until_ns = self._open.get(reader, (None, 0))
        if token is not None and now_ns >= until_ns:
            self.end(reader)
            return None
        return token

    def end(self, reader: str) -> None:
        """End the visit at this reader, if one is open."""
        self._open.pop(reader, None)

    def next_deadline(self) -> int | None:
        """Return when the next visit ends by itself (CLOCK_BOOTTIME, ns): a token is not kept past its visit."""
        return min((until_ns for _, until_ns in self._open.values()), default=None)

    def expire(self, now_ns: int) -> None:
        """Forget the tokens of visits that have ended."""
        for reader in [reader for reader, (_, until_ns) in self._open.items() if now_ns >= until_ns]:
            self.end(reader)

    def tokens(self) -> dict[str, Identifier]:
        """Return the token of each open visit by reader, so that a withdrawal can end the ones it concerns."""
        return {reader: token for reader, (token, _) in self._open.items()}
