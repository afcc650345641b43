"""What the day came to: the gateway's numbers, the witness's, what the byte search found, and whether it all agrees."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.sentence import sentence


@dataclass(frozen=True, slots=True)
class Numbers:
    """The gateway's own count: what became of sightings and of events."""

    sightings: int = 0
    absorbed: int = 0
    acted_on: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By reason."""
    appended: int = 0
    delivered: int = 0
    withdrawn: int = 0
    evicted: int = 0
    waiting: int = 0


def numbers(tallies: Mapping[str, int], trimmable: int, waiting: int) -> Numbers:
    """Read the counters. Events that are delivered but not yet trimmed (`trimmable`) no longer wait."""
    prefix = "dropped:"
    return Numbers(
        **{name: tallies.get(name, 0) for name in ("sightings", "absorbed", "acted_on", "appended")},
        **{name: tallies.get(name, 0) for name in ("withdrawn", "evicted")},
        dropped={name.removeprefix(prefix): count for name, count in tallies.items() if name.startswith(prefix)},
        delivered=tallies.get("delivered", 0) + trimmable,
        waiting=waiting - trimmable,
    )


@dataclass(frozen=True, slots=True)
class Arrived:
    """The witness's count: what it parsed from the wire."""

    received: int = 0
    duplicates: int = 0
    holes: int = 0
    malformed: int = 0
    subjects: int = 0
    gaps: Mapping[str, int] = field(default_factory=dict)
    types: Mapping[str, int] = field(default_factory=dict)

    @property
    def explained(self) -> int:
        """Count the events in whose place a gap says that they were withdrawn or evicted."""
        return self.gaps.get("withdrawn", 0) + self.gaps.get("evicted", 0)


@dataclass(frozen=True, slots=True)
class Report:
    """The whole result."""

    seed: int
    seconds: float
    broker: str
    shown: int
    """Readings that the boutique's devices made."""
    numbers: Numbers
    arrived: Arrived
    found: Sequence[str] = ()
    """Raw identifiers that were found where none must be: what, and where."""
    search_proven: bool = False
    """The search found an identifier that was planted for it."""

    def problems(self) -> list[str]:
        """Return what does not agree, in words; nothing when all is well."""
        return [problem for holds, problem in self.checks() if not holds]

    def checks(self) -> list[tuple[bool, str]]:
        """Return every check: whether it holds, and what is wrong if it does not."""
        n, a = self.numbers, self.arrived
        ended = n.absorbed + n.acted_on + sum(n.dropped.values())
        gone = n.delivered + n.withdrawn + n.evicted + n.waiting
        return [
            (
                self.shown == n.sightings,
                sentence("the devices made {shown} readings, the gateway counted {counted}").format(
                    shown=self.shown, counted=n.sightings
                ),
            ),
            (
                n.sightings == ended,
                sentence("of {sightings} sightings {ended} are accounted for").format(
                    sightings=n.sightings, ended=ended
                ),
            ),
            (
                n.appended == gone,
                sentence("of {appended} events {gone} are accounted for").format(appended=n.appended, gone=gone),
            ),
            (n.waiting == 0, sentence("{waiting} events still wait").format(waiting=n.waiting)),
            (
                a.received == n.delivered,
                sentence("{delivered} events were delivered, {received} arrived").format(
                    delivered=n.delivered, received=a.received
                ),
            ),
            (n.withdrawn > 0, sentence("the withdrawal withdrew no waiting event")),
            (
                a.explained == n.withdrawn + n.evicted,
                sentence("{gone} events were withdrawn or evicted, gaps explain {explained}").format(
                    gone=n.withdrawn + n.evicted, explained=a.explained
                ),
            ),
            (a.subjects > 0, sentence("no event names a subject")),
            (a.holes == 0, sentence("{holes} events are missing and nothing explains it").format(holes=a.holes)),
            (a.duplicates == 0, sentence("{duplicates} events arrived more than once").format(duplicates=a.duplicates)),
            (a.malformed == 0, sentence("{malformed} messages could not be parsed").format(malformed=a.malformed)),
            (self.search_proven, sentence("the search did not find the identifier that was planted for it")),
            *(
                (False, sentence("a raw identifier was found: {finding}").format(finding=finding))
                for finding in self.found
            ),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return what `touchpoint demo --json` prints."""
        a = self.arrived
        return {
            **asdict(self.numbers),
            "received": a.received,
            "holes": a.holes,
            "duplicates": a.duplicates,
            "raw_identifiers_found": len(self.found),
            "ok": not self.problems(),
            "problems": self.problems(),
            "subjects": a.subjects,
            "gaps": dict(a.gaps),
            "broker": self.broker,
            "seed": self.seed,
            "seconds": self.seconds,
        }
