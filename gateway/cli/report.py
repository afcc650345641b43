"""`touchpoint touchpoints report`: which touchpoints are used, over days or weeks."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli.command import Config, Json, fail, failures_explained, settings_from, show_json
from gateway.language import _

if TYPE_CHECKING:
    from gateway.config import Settings

HELP = _("""Draw which touchpoints are used, and how often: taps, scans and answers, by day or by week.

Bars on a terminal, all to one scale; numbers elsewhere. Tests do not count, nor do forged tags. The counters know no
customer, and are kept for 400 days.""")
WEEKS = 12
"""So many are shown unless asked otherwise: a quarter."""
DAYS = 31
"""Up to here a report is by day."""
BARS = "▁▂▃▄▅▆▇█"
NONE = "·"


@dataclass(frozen=True, slots=True)
class Period:
    """A day or a week, both ends included."""

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Line:
    """A touchpoint in the report, with what was counted in each period, by kind of touch."""

    id: str
    name: str | None
    """None of what is in the registry no more."""
    numbers: list[Counter[str]] = field(default_factory=list)

    @property
    def totals(self) -> list[int]:
        """How often it was touched in each period."""
        return [each.total() for each in self.numbers]


def report(
    touchpoint: Annotated[
        list[str] | None, typer.Argument(metavar="[TOUCHPOINT]...", help=_("Only these; else all."))
    ] = None,
    config: Config = None,
    *,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help=_("The first day, as 2026-11-21; default: twelve weeks."))
    ] = None,
    by: Annotated[
        Literal["day", "week"] | None, typer.Option(help=_("Default: by day for a month, else by week."))
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help=_("Print CSV, a row for each touchpoint and period."))] = False,
    json: Json = False,
) -> None:
    """Draw which touchpoints are used, and how often."""
    if csv and json:
        fail(_("Choose one of --csv and --json."), 2)
    settings = settings_from(config)
    with failures_explained():
        found, periods = _found(settings, touchpoint or [], since, by)
    if json:
        show_json([_as_json(line, periods) for line in found])
    elif csv:
        _print_csv(found, periods)
    else:
        _print(found, periods)


def periods(today: date, since: date | None, by: Literal["day", "week"] | None) -> list[Period]:
    """Return the days or weeks from a day on until today, as far back as numbers are kept.

    Weeks begin on Monday (ISO 8601); the last one may be under way.
    """
    from gateway.store.usage import KEPT_DAYS

    monday = today - timedelta(days=today.weekday())
    first = monday - timedelta(weeks=WEEKS - 1) if since is None else min(since, today)
    first = max(first, today - timedelta(days=KEPT_DAYS))
    if by == "day" or (by is None and (today - first).days < DAYS):
        return [Period(day, day) for day in _every(1, first, today)]
    begins = first - timedelta(days=first.weekday())
    return [Period(day, day + timedelta(days=6)) for day in _every(7, begins, today)]


def _every(days: int, first: date, last: date) -> list[date]:
    return [first + timedelta(days=at) for at in range(0, (last - first).days + 1, days)]


def _found(
    settings: "Settings", names: Sequence[str], since: str | None, by: Literal["day", "week"] | None
) -> tuple[list[Line], list[Period]]:
    """Read what the report shows. Raises StoreError, sqlite3.Error."""
    from contextlib import closing

    from gateway.clock import Clock
    from gateway.core.brandlink import LINKLESS
    from gateway.store import touchpoints, usage
    from gateway.store.backlog import Backlog

    today = date.fromisoformat(usage.day_of(Clock(settings.clock.source).now().wall_ms, settings.gateway.zone))
    shown = periods(today, None if since is None else _day(since), by)
    with closing(Backlog(settings.gateway.state)) as backlog:
        connection = backlog.connection()
        known = touchpoints.load(connection)[1] if connection else []
        used = usage.load(connection, shown[0].first.isoformat()) if connection else Counter[usage.Use]()
    lines = {each.id: Line(each.id, each.name) for each in known if each.kind not in LINKLESS}
    lines |= {name: Line(name, None) for name in sorted({use.touchpoint for use in used} - lines.keys())}
    if unknown := [name for name in names if name not in lines]:
        wrong = _("No touchpoint is called {ids}. Those that are there: touchpoint touchpoints list")
        fail(wrong.format(ids=", ".join(unknown)))
    for line in lines.values():
        line.numbers.extend(_numbers(line.id, used, shown))
    return [line for name, line in lines.items() if not names or name in names], shown


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        fail(_("--since takes a date like 2026-11-21"), 2)


def _numbers(name: str, used: "Counter[Any]", shown: Iterable[Period]) -> list[Counter[str]]:
    own = [(date.fromisoformat(use.day), use.touch, number) for use, number in used.items() if use.touchpoint == name]
    numbers = []
    for period in shown:
        counted: Counter[str] = Counter()
        for day, touch, number in own:
            if period.first <= day <= period.last:
                counted[touch] += number
        numbers.append(counted)
    return numbers


def _kinds(counted: Counter[str]) -> dict[str, int]:
    from gateway.store.usage import TOUCHES

    return {str(touch): counted[touch] for touch in TOUCHES}


def _as_json(line: Line, shown: Iterable[Period]) -> dict[str, Any]:
    return {
        "id": line.id,
        "name": line.name,
        "touches": sum(line.totals),
        "periods": [
            {"from": period.first.isoformat(), "to": period.last.isoformat(), **_kinds(counted)}
            for period, counted in zip(shown, line.numbers, strict=True)
        ],
    }


def _print_csv(found: Iterable[Line], shown: Sequence[Period]) -> None:
    from csv import writer

    from gateway.store.usage import TOUCHES

    rows = writer(sys.stdout, lineterminator="\n")
    rows.writerow(["id", "name", "from", "to", *TOUCHES])
    for line in found:
        for period, counted in zip(shown, line.numbers, strict=True):
            rows.writerow([line.id, line.name or "", period.first, period.last, *_kinds(counted).values()])


def _print(found: Sequence[Line], shown: Sequence[Period]) -> None:
    """Draw bars on a terminal, all to one scale; elsewhere print the numbers."""
    if not found:
        fail(_("The registry is empty: touchpoint touchpoints import FILE.csv"), 0)
    by_day = shown[0].first == shown[0].last
    told = _("Touches a day from {first} to {last}.") if by_day else _("Touches a week from {first} to {last}.")
    typer.echo(told.format(first=shown[0].first, last=shown[-1].last))
    if _draws():
        _draw(found)
        return
    width = max(len(line.id) for line in found)
    for line in found:
        numbers = " ".join(f"{number:>3}" for number in line.totals)
        typer.echo(f"{line.id:<{width}} {sum(line.totals):>6}  {numbers}  {_name(line)}")


def _draws() -> bool:
    from rich.console import Console

    console = Console()
    return console.is_terminal and not console.options.ascii_only


def _draw(found: Sequence[Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    highest = max(number for line in found for number in line.totals)
    table = Table(box=None, padding=(0, 1), show_header=False)
    for justify in ("left", "left", "right", "left"):
        table.add_column(justify=justify, overflow="fold")
    for line in found:
        bars = "".join(bar(number, highest) for number in line.totals)
        table.add_row(Text(line.id), Text(bars), Text(str(sum(line.totals))), Text(_name(line)))
    Console().print(table)
    typer.echo(_("The highest bar stands for {highest}.").format(highest=highest))


def bar(number: int, highest: int) -> str:
    """Return a bar of one character: the full height for the highest number, a dot for none."""
    return NONE if number == 0 else BARS[(number * len(BARS) - 1) // highest]


def _name(line: Line) -> str:
    return _("(not in the registry)") if line.name is None else line.name
