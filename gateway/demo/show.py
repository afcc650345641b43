"""Showing the demo to people: a calm screen where there is a terminal, lines of text where there is none."""

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.demo.boutique import REGISTRY, SALON
from gateway.demo.day import Act, Step
from gateway.demo.report import Arrived, Numbers, Report
from gateway.demo.witness import Event

WIDE = 110
"""Columns from which on the two panels stand side by side; below each other otherwise."""
LINES, FEW_LINES = 12, 6
"""How many of the latest lines each panel shows: side by side, and below each other (24 rows)."""
NAMES = {SALON: "the salon", **{row.split(",")[0]: row.split(",")[2] for row in REGISTRY.splitlines()[1:]}}
VERBS = {
    "touchpoint.tap.v1": "tap of",
    "touchpoint.scan.v1": "scan of",
    "touchpoint.response.v1": "answer at",
    "touchpoint.beacon-health.v1": "health of",
    "touchpoint.appeared.v1": "someone came to",
    "touchpoint.disappeared.v1": "someone left",
}
SAID = {
    "touchpoint.consent-granted.v1": "a customer agreed in the store",
    "touchpoint.consent-withdrawn.v1": "a customer withdrew consent in the store",
    "touchpoint.consent-applied.v1": "consent is applied; what was sent before is listed",
    "touchpoint.command-result.v1": "a command was answered",
}


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
        self._print(f"store   {step.says}")

    def counted(self, numbers: Numbers) -> None:
        """Leave the numbers to the summary."""

    def arrived(self, arrived: Arrived, new: Sequence[Event]) -> None:
        """Say what arrived."""
        del arrived
        for event in new:
            self._print(f"centre  {words(event)}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Screen:
    """Shows the store on the left, the centre on the right, the line between them and the numbers below."""

    def __init__(self, console: Console) -> None:
        self._store: deque[Text] = deque(maxlen=LINES)
        self._centre: deque[Text] = deque(maxlen=LINES)
        self._numbers, self._arrived = Numbers(), Arrived()
        self._title = "starting ..."
        self._plugged = True
        self._console = console
        self._live = Live(console=console, refresh_per_second=10, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def opened(self, broker: str, seconds: float, seed: int) -> None:
        """Say what runs."""
        self._title = opening(broker, seconds, seed)

    def happened(self, step: Step) -> None:
        """Show what happens in the store."""
        if step.act in {Act.PLUG, Act.UNPLUG}:
            self._plugged = step.act is Act.PLUG
        self._store.append(Text(step.says or "", style="bold" if step.act else ""))

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
        store = _panel("In the store", self._store, size)
        centre = _panel("What arrives at the centre", self._centre, size)
        if not wide:
            return Group(store, centre)
        side_by_side = Table.grid(expand=True)
        side_by_side.add_column(ratio=1)
        side_by_side.add_column(ratio=1)
        side_by_side.add_row(store, centre)
        return side_by_side

    def _line(self) -> Text:
        if self._plugged:
            return Text("  line: plugged in, events leave at once", style="green")
        return Text(f"  line: UNPLUGGED, {self._numbers.waiting} events wait on disk", style="bold red")

    def _counters(self) -> Text:
        n, a = self._numbers, self._arrived
        forgotten = sum(n.dropped.values())
        return Text(
            f"  {n.sightings} readings, {forgotten} forgotten at once   {n.appended} events, {a.received} arrived,"
            f" {a.subjects} name a customer, {n.withdrawn} withdrawn",
            style="dim",
        )


def _panel(title: str, lines: deque[Text], size: int) -> Panel:
    text = Text("\n", no_wrap=True, overflow="ellipsis").join(list(lines)[-size:])
    return Panel(text, title=title, height=size + 2)


def opening(broker: str, seconds: float, seed: int) -> str:
    """Say what runs."""
    return f"A boutique, its gateway and a real broker: {broker}; {seconds:g} seconds, seed {seed}."


def words(event: Event) -> str:
    """Say what an event tells the brand, and about whom."""
    data = event["data"]
    if event["type"] == "touchpoint.gap.v1":
        return f"{data['reason']}: an event of which only the number is left"
    if said := SAID.get(event["type"]):
        return said
    where = data["touchpoint"]["id"] if "touchpoint" in data else data["zone"]
    extra = f": {data['value']}" if "value" in data else ""
    extra += f" after {data['dwell']:.0f} s" if "dwell" in data else ""
    return f"{VERBS.get(event['type'], event['type'])} {NAMES.get(where, where)}{extra}{_who(event)}"


def named(event: Event) -> bool:
    """Tell whether an event names a customer."""
    return event["data"].get("subject") is not None


def _who(event: Event) -> str:
    if event["type"] == "touchpoint.beacon-health.v1":
        return ""
    return f", by {event['data']['subject']['pseudonym'][:16]}..." if named(event) else ", by somebody"


def summary(report: Report) -> Table:
    """Return the result as a table, in the words of a brand's owner."""
    n, a = report.numbers, report.arrived
    table = Table(
        title="What became of the day", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0)
    )
    table.add_column(justify="right")
    table.add_column()
    for number, meaning in _rows(n, a):
        table.add_row(number, meaning)
    proof = "every one that was planted was found" if report.search_proven else "planted ones were NOT found"
    table.add_row(str(len(report.found)), f"raw identifiers found in files and on the line ({proof})")
    return table


def _rows(n: Numbers, a: Arrived) -> list[tuple[str, str]]:
    dropped = sum(n.dropped.values())
    reasons = ", ".join(f"{count} {name}" for name, count in sorted(n.dropped.items(), key=lambda each: -each[1]))
    return [
        (str(n.sightings), "readings by Bluetooth, NFC and scanner"),
        ("", f"= {n.absorbed} repetitions + {n.acted_on} of use + {dropped} forgotten at once ({reasons})"),
        (str(n.appended), "events, committed to disk before they counted"),
        ("", f"= {n.delivered} delivered + {n.withdrawn} withdrawn + {n.evicted} evicted + {n.waiting} waiting"),
        (str(a.received), f"events parsed from the wire by a separate program, of {n.delivered} delivered"),
        (str(a.subjects), "of them name a customer, by pseudonym: only those who agreed"),
        (str(a.explained), "withdrawn before they left: the centre learns that, and nothing more"),
        (str(a.holes), "events missing without an explanation"),
        (str(a.duplicates), "events that came twice"),
    ]


def verdict(report: Report) -> Text:
    """Return the last word: all well, or what is not."""
    problems = report.problems()
    if not problems:
        return Text("All of it adds up.", style="bold green")
    return Text("\n".join(["This does not add up:", *(f"  {problem}" for problem in problems)]), style="bold red")
