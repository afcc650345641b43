"""What was refused of what came down: counted by kind and reason, and said in one line a minute at most."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from sqlite3 import Connection as Database
from types import MappingProxyType
from typing import Final

from gateway.core import order
from gateway.log import Message, log, security, told
from gateway.store import said

SAY_SECONDS = 60.0
"""A refusal of the same kind and reason is logged once in so long."""

BAD_SIGNATURE: Final = "bad-signature"
FORGED: Final = frozenset({BAD_SIGNATURE, "replayed", "wrong-gateway", "wrong-site", "wrong-topic"})
"""What the centre does not send: somebody else does, or repeats what it has sent."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "it is not what the contract says": "malformed",
        "it is too long": "too-long",
        "it is retained": "retained",
        "nothing is expected on that topic": "unknown-topic",
        "it does not belong to its topic": "wrong-topic",
        "a newer one is known": "stale",
        "it is for another site": "wrong-site",
        "it is from the future": "from-the-future",
        "it has expired": "expired",
        "the clock is not synced, so its dates cannot be judged": "clock-unsynced",
        **order.NAMES,
    }
)
"""What refusals are called in counters; whatever is not here is a signature that is not believed."""


@dataclass(slots=True)
class Refusals:
    """Refusals since the start, by (kind of message, reason)."""

    database: Database
    _uncounted: Counter[tuple[str, str]] = field(default_factory=Counter)
    _unsaid: Counter[tuple[str, str]] = field(default_factory=Counter)
    _said_ns: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, kind: str, reason: str, now_ns: int) -> None:
        """Count a refusal, and log it unless that was done a moment ago."""
        what = (kind, reason)
        self._uncounted[what] += 1
        self._unsaid[what] += 1
        since_ns = self._said_ns.get(what)
        if since_ns is None or now_ns - since_ns >= SAY_SECONDS * 1e9:
            times = f", {self._unsaid[what]} times" if self._unsaid[what] > 1 else ""
            forged = NAMES.get(reason, BAD_SIGNATURE) in FORGED
            to, extra = (security, told(Message.CENTRE_FORGED, "centre")) if forged else (log, None)
            to.warning("a %s from the centre was refused: %s%s", kind, reason, times, extra=extra)
            self._said_ns[what], self._unsaid[what] = now_ns, 0

    def write(self) -> None:
        """Write the counters. Raises sqlite3.Error."""
        if self._uncounted:
            named: Counter[str] = Counter()
            for (kind, reason), number in self._uncounted.items():
                named[f"down:{kind}:{NAMES.get(reason, BAD_SIGNATURE)}"] += number
            self._uncounted = Counter()
            said.tally(self.database, named.items())
