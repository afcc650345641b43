"""Recorded sightings through the same path, into an outbox of their own: the same recording gives the same events.

Clock, session and boot id come from the recording and its start, so that two replays agree byte for byte.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config import Settings
from gateway.core.event import Draft
from gateway.core.path import Fate, Outcome
from gateway.core.path import Path as SightingPath
from gateway.core.sighting import Moment, Sighting
from gateway.daemon.capture import authenticator, registry, sighting_path
from gateway.daemon.trust import ledger as ledger_of
from gateway.keys import key_ring
from gateway.sentence import sentence
from gateway.sources.recording import ClockStep, Condition, Recorded, parse
from gateway.store.backlog import Backlog
from gateway.store.database import StoreError, only_one, open_writer, transaction
from gateway.store.outbox import Outbox
from gateway.store.schema import CAPTURE
from gateway.store.touchpoints import load

TOGETHER = 500
"""So many sightings share a commit when nobody watches."""


@dataclass(slots=True)
class Replay:
    """One replay. `pace` waits until a time of the recording, in seconds; `at_once` lets none pass."""

    settings: Settings
    recording: Path
    state: Path
    start_ms: int
    pace: Callable[[float], None]
    together: int = TOGETHER
    counts: Counter[str] = field(default_factory=Counter)
    _saved: Counter[str] = field(default_factory=Counter)
    _set_ms: int = 0
    """How far the wall clock has been set since the start."""

    def run(self) -> Counter[str]:
        """Play the recording and return what became of its sightings. Raises StoreError, ConfigError, OSError."""
        ledger = ledger_of(self.settings)
        ring = key_ring(self.settings)
        with closing(Backlog(self.settings.gateway.state)) as live, closing(ledger), only_one(self.state, "capture"):
            connection = live.connection()
            number, touchpoints = load(connection) if connection is not None else (0, [])
            known = registry(self.settings, touchpoints, number)
            path = sighting_path(self.settings, known, ring, ledger, authenticator(self.settings))
            with closing(open_writer(self.state, CAPTURE)) as database:
                outbox = Outbox(database, self.settings.gateway.topics.source, "replay")
                self._play(path, outbox)
        return self.counts

    def _play(self, path: SightingPath, outbox: Outbox) -> None:
        with transaction(outbox.connection):
            if not outbox.open(self._session(), self.start_ms):
                raise StoreError(
                    "replay into",
                    self.state,
                    sentence("it holds a session already"),
                    sentence("Name a new directory"),
                )
        drafts: list[Draft] = []
        since = 0
        for outcome in self._outcomes(path):
            drafts += outcome.drafts
            since += 1
            if since >= self.together:
                self._commit(path, outbox, drafts)
                drafts, since = [], 0
        self._commit(path, outbox, drafts)

    def _commit(self, path: SightingPath, outbox: Outbox, drafts: list[Draft]) -> None:
        denied = path.subjects.denied
        with transaction(outbox.connection):
            outbox.append(drafts)
            outbox.tally(self.counts - self._saved)
            outbox.tally({f"denied:{reason}": number for reason, number in denied.items()})
        denied.clear()
        self._saved = self.counts.copy()

    def _outcomes(self, path: SightingPath) -> Iterator[Outcome]:
        at = 0.0
        for said in self._said():
            at = max(at, said.at)  # a line that stands too late is seen when it is read: time only goes on
            yield from self._meanwhile(path, at)
            match said:
                case ClockStep():
                    self._set_ms += round(said.seconds * 1000)
                case Condition():
                    path.scanner(said.reader, self._moment(int(at * 1e9)), up=said.up)
                case Recorded():
                    outcome = self._see(path, said.sighting, self._moment(int(at * 1e9)))
                    self._count(outcome)
                    yield outcome

    def _see(self, path: SightingPath, sighting: Sighting, now: Moment) -> Outcome:
        if sighting.reader not in path.readers:
            return Outcome(Fate.DROPPED, "no-such-reader")
        return path.see(sighting, now)

    def _meanwhile(self, path: SightingPath, until: float) -> Iterator[Outcome]:
        """Let the time up to the next sighting pass, deadline by deadline."""
        while (deadline := path.next_deadline()) is not None and deadline <= until * 1e9:
            self.pace(deadline / 1e9)
            yield Outcome(Fate.ACTED_ON, drafts=path.expire(self._moment(deadline)))
        self.pace(until)

    def _moment(self, boot_ns: int) -> Moment:
        return Moment(boot_ns, self.start_ms + self._set_ms + boot_ns // 1_000_000)

    def _said(self) -> Iterator[Recorded | Condition | ClockStep]:
        with self.recording.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    said = parse(line)
                except ValueError:
                    self._count(Outcome(Fate.DROPPED, "malformed"))
                    continue
                yield said

    def _count(self, outcome: Outcome) -> None:
        self.counts["sightings"] += 1
        self.counts[f"dropped:{outcome.reason}" if outcome.fate is Fate.DROPPED else outcome.fate.value] += 1

    def _session(self) -> str:
        digest = hashlib.sha256(f"{self.start_ms}\0".encode())
        with self.recording.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return f"replay-{digest.hexdigest()[:24]}"


def at_once(at: float) -> None:
    """Let no time pass."""
    del at


def real_time() -> Callable[[float], None]:
    """Return a pace that starts now and takes as long as the recording did."""
    begun = time.monotonic()

    def pace(at: float) -> None:
        time.sleep(max(0.0, begun + at - time.monotonic()))

    return pace
