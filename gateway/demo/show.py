"""Showing the demo to people: a calm screen where there is a terminal, lines of text where there is none."""

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.demo.day import Act, Step
from gateway.demo.report import Arrived, Numbers, Report
from gateway.demo.witness import Event
from gateway.language import _, later, said
from gateway.language.counted import called

WIDE = 110
"""Columns from which on the two panels stand side by side; below each other otherwise."""
LINES, FEW_LINES = 12, 6
"""How many of the latest lines each panel shows: side by side, and below each other (24 rows)."""
NAMES = {
    "salon": later("the salon"),
    "counter": later("the counter"),
    "window": later("the window display"),
    "diver": later("the Diver 200"),
    "moonphase": later("the Moonphase"),
    "chrono": later("the Chronograph"),
    "catalogue-12": later("page 12 of the catalogue"),
    "farewell": later("the feedback point at the door"),
    "door-beacon": later("the beacon at the door"),
}
WORDS = {
    "touchpoint.tap.v1": later("tap of {where}"),
    "touchpoint.scan.v1": later("scan of {where}"),
    "touchpoint.response.v1": later("answer at {where}: {value}"),
    "touchpoint.beacon-health.v1": later("health of {where}"),
    "touchpoint.appeared.v1": later("someone came to {where}"),
    "touchpoint.disappeared.v1": later("someone left {where} after {dwell:.0f} s"),
    "touchpoint.gap.v1": later("{reason}: an event of which only the number is left"),
    "touchpoint.consent-granted.v1": later("a customer agreed in the store"),
    "touchpoint.consent-withdrawn.v1": later("a customer withdrew consent in the store"),
    "touchpoint.consent-applied.v1": later("consent is applied; what was sent before is listed"),
    "touchpoint.command-result.v1": later("a command was answered"),
}
OF_NOBODY = {"touchpoint.beacon-health.v1", "touchpoint.gap.v1", "touchpoint.command-result.v1"} | {
    f"touchpoint.consent-{what}.v1" for what in ("granted", "withdrawn", "applied")
}
"""Events that do not say who did something at a touchpoint."""


def screen() -> "AbstractContextManager[Lines | Screen]":
    """Return what shows the day on standard output."""
    console = Console(highlight=False)
    return Screen(console) if console.is_terminal else nullcontext(Lines(console))


class Silent:
    """Shows nothing, for `--json`."""

    def opened(self, broker: str, seconds: float, seed: int) -> None:
        """Show nothing."""

    def happened(self, step: Step) -> None:
        """Show nothing."""

    def counted(self, numbers: Numbers) -> None:
        """Show nothing."""

    def arrived(self, arrived: Arrived, new: Sequence[Event]) -> None:
        """Show nothing."""


class Lines:
    """Shows a line for each thing that happens, in the store or at the centre."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def opened(self, broker: str, seconds: float, seed: int) -> None:
        """Say what runs."""
        self._print(opening(broker, seconds, seed))

    def happened(self, step: Step) -> None:
        """Say what happens in the store."""
        self._print(_("store   {what}").format(what=said(step.says)))

    def counted(self, numbers: Numbers) -> None:
        """Leave the numbers to the summary."""

    def arrived(self, arrived: Arrived, new: Sequence[Event]) -> None:
        """Say what arrived."""
        del arrived
        for event in new:
            self._print(_("centre  {what}").format(what=words(event)))

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Screen:
    """Shows the store on the left, the centre on the right, the line between them and the numbers below."""

    def __init__(self, console: Console) -> None:
        self._store: deque[Text] = deque(maxlen=LINES)
        self._centre: deque[Text] = deque(maxlen=LINES)
        self._numbers, self._arrived = Numbers(), Arrived()
        self._title = _("starting ...")
        self._plugged = True
        self._console = console
        self._live = Live(console=console, refresh_per_second=10, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def opened(self, broker: str, seconds: float, seed: int) -> None:
        """Say what runs."""
        self._title = opening(broker, seconds, seed)

    def happened(self, step: Step) -> None:
        """Show what happens in the store."""
        if step.act in {Act.PLUG, Act.UNPLUG}:
            self._plugged = step.act is Act.PLUG
        self._store.append(Text(said(step.says or ""), style="bold" if step.act else ""))

    def counted(self, numbers: Numbers) -> None:
        """Show the numbers."""
        self._numbers = numbers

    def arrived(self, arrived: Arrived, new: Sequence[Event]) -> None:
        """Show what arrived."""
        self._arrived = arrived
        self._centre.extend(Text(words(event), style="green" if named(event) else "") for event in new)

    def _draw(self) -> RenderableType:
        return Group(Text(self._title, style="dim"), self._panels(), self._line(), self._counters())

    def _panels(self) -> RenderableType:
        wide = self._console.width >= WIDE
        size = LINES if wide else FEW_LINES
        store = _panel(_("In the store"), self._store, size)
        centre = _panel(_("What arrives at the centre"), self._centre, size)
        if not wide:
            return Group(store, centre)
        side_by_side = Table.grid(expand=True)
        side_by_side.add_column(ratio=1)
        side_by_side.add_column(ratio=1)
        side_by_side.add_row(store, centre)
        return side_by_side

    def _line(self) -> Text:
        if self._plugged:
            return Text(_("  line: plugged in, events leave at once"), style="green")
        unplugged = _("  line: UNPLUGGED, {waiting} events wait on disk")
        return Text(unplugged.format(waiting=self._numbers.waiting), style="bold red")

    def _counters(self) -> Text:
        n, a = self._numbers, self._arrived
        text = _(
            "  {sightings} readings, {forgotten} forgotten at once   {appended} events, {received} arrived,"
            " {subjects} name a customer, {withdrawn} withdrawn"
        ).format(
            sightings=n.sightings,
            forgotten=sum(n.dropped.values()),
            appended=n.appended,
            received=a.received,
            subjects=a.subjects,
            withdrawn=n.withdrawn,
        )
        return Text(text, style="dim")


def _panel(title: str, lines: deque[Text], size: int) -> Panel:
    text = Text("\n", no_wrap=True, overflow="ellipsis").join(list(lines)[-size:])
    return Panel(text, title=title, height=size + 2)


def opening(broker: str, seconds: float, seed: int) -> str:
    """Say what runs."""
    return _("A boutique, its gateway and a real broker: {broker}; {seconds:g} seconds, seed {seed}.").format(
        broker=broker, seconds=seconds, seed=seed
    )


def words(event: Event) -> str:
    """Say what an event tells the brand, and about whom."""
    data = event["data"]
    where = data["touchpoint"]["id"] if "touchpoint" in data else data.get("zone", "")
    told = {**data, "where": _(NAMES[where]) if where in NAMES else where}
    kind = event["type"]
    what = _(WORDS[kind]).format(**told) if kind in WORDS else f"{kind} {told['where']}"
    if kind in OF_NOBODY:
        return what
    if not named(event):
        return _("{what}, by somebody").format(what=what)
    return _("{what}, by {pseudonym}...").format(what=what, pseudonym=data["subject"]["pseudonym"][:16])


def named(event: Event) -> bool:
    """Tell whether an event names a customer."""
    return event["data"].get("subject") is not None


def summary(report: Report) -> Table:
    """Return the result as a table, in the words of a brand's owner."""
    n, a = report.numbers, report.arrived
    title = _("What became of the day")
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column()
    for number, meaning in _rows(n, a):
        table.add_row(number, meaning)
    found = (
        _("raw identifiers found in files and on the line (every one that was planted was found)")
        if report.search_proven
        else _("raw identifiers found in files and on the line (planted ones were NOT found)")
    )
    table.add_row(str(len(report.found)), found)
    return table


def _rows(n: Numbers, a: Arrived) -> list[tuple[str, str]]:
    reasons = ", ".join(
        f"{count} {called(name)}" for name, count in sorted(n.dropped.items(), key=lambda each: -each[1])
    )
    ended = _("= {absorbed} repetitions + {acted_on} of use + {dropped} forgotten at once ({reasons})")
    gone = _("= {delivered} delivered + {withdrawn} withdrawn + {evicted} evicted + {waiting} waiting")
    parsed = _("events parsed from the wire by a separate program, of {delivered} delivered")
    numbers = {**asdict(n), "dropped": sum(n.dropped.values()), "reasons": reasons}
    return [
        (str(n.sightings), _("readings by Bluetooth, NFC and scanner")),
        ("", ended.format(**numbers)),
        (str(n.appended), _("events, committed to disk before they counted")),
        ("", gone.format(**numbers)),
        (str(a.received), parsed.format(**numbers)),
        (str(a.subjects), _("of them name a customer, by pseudonym: only those who agreed")),
        (str(a.explained), _("withdrawn before they left: the centre learns that, and nothing more")),
        (str(a.holes), _("events missing without an explanation")),
        (str(a.duplicates), _("events that came twice")),
    ]


def verdict(report: Report) -> Text:
    """Return the last word: all well, or what is not."""
    problems = report.problems()
    if not problems:
        return Text(_("All of it adds up."), style="bold green")
    wrong = [_("This does not add up:"), *(f"  {said(problem)}" for problem in problems)]
    return Text("\n".join(wrong), style="bold red")
