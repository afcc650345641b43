"""A day's recording through `touchpoint replay`'s path into an outbox, and its events beside the truth."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from gateway.bytesearch import Proof, prove_absent
from gateway.config import load
from gateway.core.event import Appeared, BeaconHealth, Disappeared, Event, Interaction, Response
from gateway.replay import Replay, at_once
from gateway.sources.recording import format as recorded
from gateway.store.backlog import Backlog
from gateway.store.verify import verify
from tests.boutique.day import Day, Stay
from tests.boutique.store import START_MS, install


@dataclass(frozen=True)
class Seen:
    """A stay as the events tell it: when it was announced, when its end was, and how long it lasted."""

    zone: str
    pseudonym: str
    announced: float
    ended: float
    dwell: float

    @property
    def begins(self) -> float:
        return self.announced - 1.0


def wrong_by(stay: Stay, seen: Seen) -> float:
    """Return by how much a dwell is wrong, seconds."""
    return max(stay.seconds - seen.dwell, seen.dwell - stay.seconds - stay.unknown, 0.0)


@dataclass
class Verdict:
    """How the events compare."""

    truth: Sequence[Stay]
    seen: dict[Stay, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    invented: list[Seen] = field(default_factory=list)
    """Stays where nobody was."""
    open: int = 0
    """Stays without an end."""
    acts_missing: Counter[tuple[object, ...]] = field(default_factory=Counter)
    acts_invented: Counter[tuple[object, ...]] = field(default_factory=Counter)
    health_wrong: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    tallies: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    strangers: Counter[str] = field(default_factory=Counter)
    """What should have been dropped."""
    acts: int = 0

    @property
    def good(self) -> bool:
        """Whether everything that is no matter of chance is right."""
        wrong = self.acts_missing or self.acts_invented or self.health_wrong or self.problems or self.open
        return not wrong and self.balanced

    @property
    def balanced(self) -> bool:
        """Whether every sighting ended as one number, and the strangers' ended as they should."""
        dropped = Counter({name.removeprefix("dropped:"): n for name, n in self.counts.items() if ":" in name})
        ends = self.counts["absorbed"] + self.counts["acted_on"] + dropped.total()
        durable = all(self.tallies.get(name, 0) == number for name, number in self.counts.items())
        return self.counts["sightings"] == ends and dropped == self.strangers and durable

    @property
    def missed(self) -> list[Stay]:
        """Stays of which nothing was seen."""
        return [stay for stay in self.truth if not (stay.brief or self.seen.get(stay))]

    @property
    def false_exits(self) -> int:
        """How often somebody seemed to leave who stayed."""
        return sum(len(parts) - 1 for parts in self.seen.values())

    @property
    def hours(self) -> float:
        """How long customers stayed altogether."""
        return sum(stay.seconds for stay in self.truth) / 3600

    @property
    def once(self) -> list[tuple[Stay, Seen]]:
        """Stays that were seen in one piece."""
        return [(stay, parts[0]) for stay, parts in self.seen.items() if len(parts) == 1 and not stay.brief]

    @property
    def errors(self) -> list[float]:
        """By how much the dwell of each of these is wrong, seconds."""
        return [wrong_by(stay, part) for stay, part in self.once]

    @property
    def accurate(self) -> int:
        """How many of these are right within 10 % or 15 s."""
        return sum(wrong_by(stay, part) <= max(15.0, 0.1 * stay.seconds) for stay, part in self.once)

    @property
    def entering(self) -> list[float]:
        """How long after its beginning each stay was announced, seconds."""
        return [parts[0].announced - stay.begins for stay, parts in self.seen.items()]


def write(day: Day, directory: Path) -> Path:
    """Install the store and write the recording."""
    install(directory, day.own, [agreed for who in day.visitors if (agreed := who.agreed) is not None])
    path = directory / "day.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{recorded(line)}\n" for line in day.lines())
    return path


def play(day: Day, directory: Path) -> Verdict:
    """Write the day, replay it, and judge what stands in the outbox."""
    path = write(day, directory)
    into = directory / "replayed"
    into.mkdir()
    counts = Replay(load(directory / "gateway.toml"), path, into, START_MS, at_once).run()
    verdict = judge(day, list(events(into)))
    verdict.counts, verdict.strangers = counts, day.truth.strangers
    with closing(Backlog(into)) as backlog:
        verdict.tallies, verdict.problems = backlog.tallies(), [str(each) for each in verify(backlog).problems]
    return verdict


def search(day: Day, directory: Path) -> Proof:
    """Search the files of the replay for everybody."""
    return prove_absent([directory / "replayed"], day.secrets())


def events(state: Path) -> Iterator[Event]:
    """Read the events of an outbox."""
    after = 0
    with closing(Backlog(state)) as backlog:
        while rows := list(backlog.rows(after, 1_000, 1 << 30)):
            yield from (Event.model_validate_json(row.event) for row in rows)
            after = rows[-1].sequence


def judge(day: Day, found: Sequence[Event]) -> Verdict:
    """Compare events with the truth, in number and content."""
    verdict = Verdict(day.truth.stays)
    _compare_acts(day, found, verdict)
    _compare_health(day, found, verdict)
    _compare_stays(day, found, verdict)
    return verdict


def _compare_acts(day: Day, found: Sequence[Event], verdict: Verdict) -> None:
    expected: Counter[tuple[object, ...]] = Counter(
        (
            str(act.kind),
            day.wall_ms(act.readings[0]),
            act.reader,
            act.thing.touchpoint,
            act.thing.answer,
            act.pseudonym,
            act.attribution,
        )
        for act in day.truth.acts
        if act.thing.touchpoint is not None
    )
    got: Counter[tuple[object, ...]] = Counter()
    for event in found:
        if isinstance(event.data, Interaction):
            data, who = event.data, event.data.subject
            answer = data.value if isinstance(data, Response) else None
            named = (who.pseudonym, who.attribution) if who is not None else (None, None)
            got[str(event.kind), _ms(event), data.reader, data.touchpoint.id, answer, *named] += 1
    verdict.acts = expected.total()
    verdict.acts_missing, verdict.acts_invented = expected - got, got - expected


def _compare_health(day: Day, found: Sequence[Event], verdict: Verdict) -> None:
    said: dict[str, list[str]] = defaultdict(list)
    for event in found:
        if isinstance(event.data, BeaconHealth):
            statuses = said[event.data.touchpoint.id]
            if not statuses or statuses[-1] != event.data.status:
                statuses.append(event.data.status)
    both = said.keys() | day.truth.health.keys()
    verdict.health_wrong = {id_: said[id_] for id_ in both if said[id_] != day.truth.health.get(id_)}


def _compare_stays(day: Day, found: Sequence[Event], verdict: Verdict) -> None:
    begun: dict[tuple[str, str], float] = {}
    for event in found:
        at = day.boot_s(_ms(event))
        if isinstance(event.data, Disappeared):
            key = event.data.zone, event.data.subject.pseudonym
            _credit(Seen(*key, begun.pop(key), at, event.data.dwell), verdict)
        elif isinstance(event.data, Appeared):
            begun[event.data.zone, event.data.subject.pseudonym] = at
    verdict.open = len(begun)


def _credit(seen: Seen, verdict: Verdict) -> None:
    """Credit a stay of the events to the true one that it overlaps most."""
    mine = [stay for stay in verdict.truth if (stay.zone, stay.pseudonym) == (seen.zone, seen.pseudonym)]
    ends = seen.begins + seen.dwell
    overlaps = [(min(ends, stay.ends) - max(seen.begins, stay.begins), stay) for stay in mine]
    most, stay = max(overlaps, key=lambda pair: pair[0], default=(0.0, None))
    if stay is None or most <= 0:
        verdict.invented.append(seen)
    else:
        verdict.seen[stay].append(seen)


def _ms(event: Event) -> int:
    return round(datetime.fromisoformat(event.time).astimezone(UTC).timestamp() * 1000)


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile."""
    return sorted(values)[int(0.95 * len(values))] if values else 0.0


def middle(values: Sequence[float]) -> float:
    """Return the median; 0 of nothing."""
    return median(values) if values else 0.0
