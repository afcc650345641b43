"""Whether an outbox is what it should be: a second, independent look at rows and numbers."""

from dataclasses import dataclass, field

from pydantic import ValidationError

from gateway.core.event import Event, EventType, Gap
from gateway.sentence import sentence
from gateway.store.backlog import Backlog, Row

PAGE = 1_000
SHOWN = 20
"""So many problems are listed; the rest is counted."""


@dataclass(slots=True)
class Report:
    """The numbers, and what is wrong with them."""

    numbers: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def verify(backlog: Backlog) -> Report:
    """Read every row, of a running gateway too. Raises StoreError, sqlite3.Error when the file cannot be read."""
    report = Report()
    with backlog.at_one_instant():
        waiting, tally = _rows(backlog, report), backlog.tallies()
    names = ("appended", "delivered", "withdrawn", "evicted")
    report.numbers = {**{name: tally.get(name, 0) for name in names}, "waiting": waiting}
    gone = sum(tally.get(name, 0) for name in names[1:])
    if tally.get("appended", 0) != gone + waiting:
        report.problems.append(
            sentence("appended {appended} is not delivered + withdrawn + evicted + waiting {gone}").format(
                appended=tally.get("appended", 0), gone=gone + waiting
            )
        )
    dropped = sum(count for name, count in tally.items() if name.startswith("dropped:"))
    seen, ended = tally.get("sightings", 0), tally.get("absorbed", 0) + tally.get("acted_on", 0) + dropped
    if seen != ended:
        report.problems.append(
            sentence("sightings {seen} is not absorbed + acted on + dropped {ended}").format(seen=seen, ended=ended)
        )
    return report


def _rows(backlog: Backlog, report: Report) -> int:
    """Check each row and its place; return how many events wait, gaps that stand for others aside."""
    waiting, expected, after, session = 0, None, 0, backlog.session()
    while rows := backlog.rows(after, PAGE, 1 << 30):
        for row in rows:
            event = _event(row, session, report)
            if expected is not None and row.sequence != expected:
                _add(
                    report,
                    sentence("sequence {expected} to {sequence} is missing and no gap explains it").format(
                        expected=expected, sequence=row.sequence - 1
                    ),
                )
            expected = row.sequence + 1
            if event is not None and isinstance(event.data, Gap):
                expected = (event.data.through or row.sequence) + 1
            waiting += event is None or not _stands_for_another(event)
        after = rows[-1].through
    return waiting


def _event(row: Row, session: str | None, report: Report) -> Event | None:
    try:
        event = Event.model_validate_json(row.event)
    except ValidationError as error:
        _add(
            report,
            sentence("sequence {sequence} does not parse: {wrong}").format(
                sequence=row.sequence, wrong=error.errors(include_input=False)[0]["msg"]
            ),
        )
        return None
    if int(event.sequence) != row.sequence or event.session != session:
        _add(report, sentence("sequence {sequence} holds the event {id}").format(sequence=row.sequence, id=event.id))
    return event


def _stands_for_another(event: Event) -> bool:
    return event.kind is EventType.GAP and isinstance(event.data, Gap) and event.data.reason != "new-session"


def _add(report: Report, problem: str) -> None:
    if len(report.problems) < SHOWN:
        report.problems.append(problem)
