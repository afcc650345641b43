"""`touchpoint beacons`: what is heard around, and which of it is the store's."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.command import (
    FAILED,
    Config,
    Json,
    Yes,
    ask_gateway,
    asked,
    confirm,
    fail,
    failures_explained,
    settings_from,
    show_json,
)
from gateway.cli.touchpoints import registered
from gateway.language import _, said, several

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rich.console import RenderableType

    from gateway.config import Settings
    from gateway.control import Answer, Tell

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=_("""The store's Bluetooth beacons.

A new one: touchpoint beacons scan shows it; touchpoint beacons register TOUCHPOINT, while it is held to the antenna,
makes it the store's. What to set in a beacon before: firmware-notes, a page for each maker."""),
)

Seconds = Annotated[float | None, typer.Option(min=0.1, max=3600, help=_("How long to listen."))]
GLANCE_SECONDS = 10.0
"""How long to listen where no terminal shows it live."""
STRONG_DBM, WEAK_DBM = -60, -80
"""Where the colour of a level changes: within some two metres, and some ten, of a beacon that sends with 0 dBm."""
WEAKEST_DBM = -100
BAR = 10
"""Places of a bar."""
WIDE = 100
"""Columns of a terminal that has room for bars, without an identifier on more than two lines."""
MINUTE, HOUR = 60, 3600
_FULL_MV = 10_000
"""Above every battery: whoever tells nothing of theirs comes last."""


@app.command(
    short_help=_("Show which beacons are heard."),
    help=_("""Show which beacons are heard, the strongest first, until Ctrl-C.

"now" and "median" (of 10 s) are signal strengths in dBm: -40 is at hand, -90 is far away. Where no terminal shows it,
there is a line for each beacon after 10 seconds, or --seconds. Beacons that customers or staff carry are not shown.
Works while the gateway runs, and without."""),
)
def scan(config: Config = None, *, seconds: Seconds = None, json: Json = False) -> None:
    """Show which beacons are heard."""
    from gateway.daemon.watching import watch
    from gateway.watching import LONGEST_SECONDS

    settings, live = settings_from(config), sys.stdout.isatty() and not json
    request = {"ask": "beacons-watch", "seconds": seconds or (LONGEST_SECONDS if live else GLANCE_SECONDS)}
    if live:
        _show_live(lambda tell: watch(settings, request, tell))
        return
    picture = asked(lambda: watch(settings, request, _ignore))
    _must_have_listened(picture)
    if json:
        show_json(picture["beacons"])
        return
    for each in picture["beacons"]:
        typer.echo(_line(each))
    if not picture["beacons"]:
        typer.echo(_("No beacon was heard."), err=True)


@app.command(
    short_help=_("Make a beacon the store's."),
    help=_("""Make a beacon the store's: give its identifier to a touchpoint, which is made if it is not there yet.

Without IDENTIFIER the beacon is taken that is held within a hand's breadth of the antenna of a Bluetooth reader, and is
nobody's yet. It counts for the very next advertisement; the gateway may run or not."""),
)
def register(  # noqa: PLR0913  # its options
    touchpoint: Annotated[str, typer.Argument(metavar="TOUCHPOINT", help=_("The id of the touchpoint that it marks."))],
    identifier: Annotated[
        str | None,
        typer.Argument(metavar="[IDENTIFIER]", help=_("As scan shows it; else the beacon that is held near.")),
    ] = None,
    config: Config = None,
    *,
    zone: Annotated[str | None, typer.Option(help=_("The zone where it belongs."))] = None,
    name: Annotated[str | None, typer.Option(help=_("What people call it; of a new touchpoint, else its id."))] = None,
    seconds: Annotated[float, typer.Option(min=1, max=600, help=_("How long to wait for it."))] = 60.0,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make a beacon the store's."""
    settings = settings_from(config)
    if identifier is None:
        identifier = _held(settings, seconds)
        confirm(_("{identifier} becomes {id}.").format(identifier=identifier, id=touchpoint), touchpoint, yes=yes)
    request = {"ask": "beacon-register", "touchpoint": touchpoint, "identifier": identifier, "zone": zone, "name": name}
    said = ask_gateway(settings, request)
    if json:
        show_json(said["touchpoint"])
    elif said["fields"]:
        typer.echo(_("{identifier} is registered: {id}.").format(identifier=identifier, id=touchpoint))
    else:
        typer.echo(_("It is registered like that already; nothing was changed."))


def _held(settings: "Settings", seconds: float) -> str:
    """Return the identifier of the beacon that is held to an antenna, or end."""
    from gateway.daemon.watching import pick

    places = ", ".join(each.name for each in settings.readers if each.channel == "ble")
    if not places:
        fail(_('No [[reader]] of kind = "ble" is configured, so no beacon can be heard.'))
    typer.echo(
        _("Hold the beacon within a hand's breadth of the antenna of {readers}.").format(readers=places), err=True
    )

    async def both() -> dict[str, Any]:
        beacon, picture = await pick(settings, seconds)
        return {"beacon": beacon, "picture": picture}

    told = asked(both)
    _must_have_listened(told["picture"])
    beacon = told["beacon"]
    if beacon is None:
        fail(_no_beacon(told["picture"]))
    if beacon["senders"] > 1:
        wrong = _("{count} beacons send {identifier}: set each to an identifier of its own first")
        fail(wrong.format(count=beacon["senders"], identifier=beacon["identifier"]))
    return str(beacon["identifier"])


def _no_beacon(picture: dict[str, Any]) -> str:
    """Say why no beacon was taken."""
    strangers = [each for each in picture["beacons"] if each["touchpoint"] is None]
    if not strangers:
        return _(
            "No beacon was heard that is not registered. Is it switched on, and does it send a frame that is read?"
        )
    wrong = _(
        "No beacon stood out: the strongest that is not registered is {identifier} with {level} dBm. Hold it nearer, or"
        " name it: touchpoint beacons register TOUCHPOINT IDENTIFIER"
    )
    return wrong.format(identifier=strangers[0]["identifier"], level=strangers[0]["median"])


@app.command(
    "list",
    short_help=_("List the store's beacons."),
    help=_("""List the store's beacons: where each belongs, when and where it was last heard, and its battery."""),
)
def list_(config: Config = None, *, json: Json = False) -> None:
    """List the store's beacons."""
    told = ask_gateway(settings_from(config), {"ask": "beacons"})
    if json:
        show_json(told["beacons"])
        return
    if not told["beacons"]:
        fail(_("No beacon is registered: touchpoint beacons register TOUCHPOINT"), 0)
    heading = (_("touchpoint"), _("zone"), _("last heard"), _("battery"), _("name"))
    _print_columns(
        heading,
        [
            (each["touchpoint"], each["zone"] or "-", _last(each), _battery(each), each["name"])
            for each in told["beacons"]
        ],
    )
    if not told["running"]:
        typer.echo(_("The gateway does not run, so nobody knows when they were heard."), err=True)


@app.command(
    short_help=_("Say which beacons need somebody."),
    help=_("""Say how the store's beacons are, the weakest battery first.

Exit status 1 if one needs a person: its battery is low, it has fallen silent, was not heard since the gateway started,
or is somewhere else; or if a Bluetooth reader is not working, so that nobody can tell."""),
)
def health(config: Config = None, *, json: Json = False) -> None:
    """Say which beacons need somebody."""
    from gateway.beacons import WELL

    told = ask_gateway(settings_from(config), {"ask": "beacons"})
    if not told["running"]:
        fail(_("The gateway does not run, so nobody listens to the beacons: touchpoint run, or beacons scan"))
    found = sorted(told["beacons"], key=lambda each: (each["battery_mv"] or _FULL_MV, each["touchpoint"]))
    if json:
        show_json({"beacons": found, "readers_down": told["down"]})
    elif found:
        heading = (_("battery"), _("touchpoint"), _("how it is"), _("name"))
        _print_columns(heading, [(_battery(each), each["touchpoint"], _how(each), each["name"]) for each in found])
    else:
        typer.echo(_("No beacon is registered: touchpoint beacons register TOUCHPOINT"), err=True)
    for each in told["down"]:
        wrong = _("reader {name} is not working: {reason}")
        typer.echo(wrong.format(name=each["name"], reason=said(each["reason"])), err=True)
    if told["down"] or any(each["condition"] not in WELL for each in found):
        raise typer.Exit(FAILED)


@app.command(
    short_help=_("Take a beacon off the registry."),
    help=_("""Take a beacon off the registry, by its identifier, or all of a touchpoint's. Then it is a stranger's.

The touchpoint stays, with all that was counted: touchpoint touchpoints retire ends it."""),
)
def forget(
    beacon: Annotated[str, typer.Argument(metavar="BEACON", help=_("An identifier, or the id of a touchpoint."))],
    config: Config = None,
    *,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take a beacon off the registry."""
    from gateway.beacons import canonical, sent_by_beacons

    settings = settings_from(config)
    with failures_explained():
        places = registered(settings)
    text = canonical(beacon)
    gone = {
        each.id: [known for known in sent_by_beacons(each) if known == text or each.id == beacon] for each in places
    }
    name, identifiers = next(((name, found) for name, found in gone.items() if found), (None, []))
    if name is None:
        fail(_("No beacon of the store is called {name}. Those that are: touchpoint beacons list").format(name=beacon))
    listed = ", ".join(identifiers)
    question = _("Taken off the registry, from {id}: {identifiers}").format(id=name, identifiers=listed)
    confirm(question, name, yes=yes)
    said = ask_gateway(settings, {"ask": "beacon-forget", "touchpoint": name, "identifiers": identifiers})
    if json:
        show_json(said["touchpoint"])
    else:
        typer.echo(_("{identifiers}: forgotten.").format(identifiers=listed))


def _print_columns(heading: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> None:
    """Print a table; the last column is as long as it is."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)][:-1]
    for row in (heading, *rows):
        cells = [f"{text:<{width}}" for text, width in zip(row, widths, strict=False)]
        typer.echo("  ".join([*cells, row[-1]]))


def _last(beacon: dict[str, Any]) -> str:
    """Say when and where a beacon was last heard."""
    if beacon["last_heard_s"] is None:
        return "-"
    return _("{time} ago in {zone}").format(time=_time(beacon["last_heard_s"]), zone=beacon["heard_in"])


def _time(seconds: float) -> str:
    """Say how long, to the unit that matters."""
    if seconds < 2 * MINUTE:
        return several("{count} second", "{count} seconds", round(seconds))
    if seconds < 2 * HOUR:
        return several("{count} minute", "{count} minutes", round(seconds / MINUTE))
    return several("{count} hour", "{count} hours", round(seconds / HOUR))


def _how(beacon: dict[str, Any]) -> str:
    """Say how a beacon is, and what to do."""
    how = {
        "ok": _("well"),
        "low-battery": _("its battery is low: change it"),
        "silent": _("silent, last heard {last}: is its battery empty, or is it gone?"),
        "elsewhere": _("heard in {heard}, and belongs to {zone}: put it back, or edit the touchpoint"),
        "never-heard": _("not heard since the gateway started: is its battery empty, or is it gone?"),
        "not-heard-yet": _("not heard yet"),
        "retired": _("retired"),
    }
    return how[beacon["condition"]].format(last=_last(beacon), heard=beacon["heard_in"], zone=beacon["zone"])


async def _ignore(_picture: dict[str, Any]) -> None:
    """Wait for the last picture alone."""


def _show_live(watch: "Callable[[Tell], Awaitable[Answer]]") -> None:
    """Draw each picture over the one before; the last stays on the screen, also after Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)

    async def draw(picture: dict[str, Any]) -> None:
        live.update(_drawn(picture, console.width, console.height), refresh=True)

    try:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            asked(lambda: watch(draw))
    except KeyboardInterrupt:
        return


def _must_have_listened(picture: dict[str, Any]) -> None:
    """End if no reader could listen."""
    if not any(each["up"] for each in picture["readers"]):
        fail("\n".join(_down(picture)))


def _down(picture: dict[str, Any]) -> list[str]:
    told = _("reader {name} is not working: {reason}")
    return [
        told.format(name=each["name"], reason=said(each["reason"])) for each in picture["readers"] if not each["up"]
    ]


def _line(beacon: dict[str, Any]) -> str:
    """Write a beacon on a line for programs: tabs between what `scan` shows."""
    told = (beacon["median"], beacon["rssi"], beacon["zone"], _battery(beacon), _whose(beacon), beacon["identifier"])
    return "\t".join(map(str, told))


def _battery(beacon: dict[str, Any]) -> str:
    millivolts = beacon["battery_mv"]
    return "-" if millivolts is None else f"{millivolts / 1000:.2f} V"


def _whose(beacon: dict[str, Any]) -> str:
    """Say which touchpoint a beacon marks, and what is odd about it."""
    name = beacon["touchpoint"] or _("not registered")
    if beacon["senders"] > 1:
        return _("{name}, sent by {count} beacons").format(name=name, count=beacon["senders"])
    if beacon["unheard_s"] > GLANCE_SECONDS:
        return _("{name}, {seconds} s ago").format(name=name, seconds=round(beacon["unheard_s"]))
    return str(name)


def _drawn(picture: dict[str, Any], width: int, height: int) -> "RenderableType":
    """Draw a picture, as much as the screen has room for: few words and far apart, to be read from a ladder."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in (_("now"), _("median")):
        table.add_column(heading, justify="right", no_wrap=True)
    barred = width >= WIDE
    if barred:
        table.add_column("", no_wrap=True)
    for heading in (_("zone"), _("battery"), _("touchpoint")):
        table.add_column(heading, no_wrap=True)
    table.add_column(_("identifier"), overflow="fold")
    shown = _shown(picture["beacons"], height)
    for each in shown:
        level = Text(str(each["median"]), style=f"bold {_color(each['median'])}")
        whose = Text(_whose(each), style="bold" if each["touchpoint"] else "dim")
        bar = [Text(_bar(each["median"]), style=_color(each["median"]))] if barred else []
        rest = (each["zone"], _battery(each), whose, Text(each["identifier"]))
        table.add_row(Text(str(each["rssi"])), level, *bar, *rest)
    return Group(table, *map(Text, _notes(picture, len(shown))))


def _shown(beacons: "Sequence[dict[str, Any]]", height: int) -> "Sequence[dict[str, Any]]":
    """Leave room for the headings, the notes, and identifiers on two lines."""
    return beacons[: max((height - 5) // 2, 1)] if 2 * len(beacons) > height - 5 else beacons


def _notes(picture: dict[str, Any], shown: int) -> list[str]:
    more = len(picture["beacons"]) - shown
    notes = ["", *_down(picture)]
    if more:
        notes.append(several("{count} more that is weaker", "{count} more that are weaker", more))
    elif not picture["beacons"]:
        notes.append(_("No beacon is heard yet."))
    return [*notes, _("Ctrl-C ends it.")]


def _color(dbm: int) -> str:
    if dbm >= STRONG_DBM:
        return "green"
    return "yellow" if dbm >= WEAK_DBM else "red"


def _bar(dbm: int) -> str:
    """Draw a level: full at -40 dBm, nothing at -100."""
    full = max(0, min(BAR, round((dbm - WEAKEST_DBM) * BAR / 60)))
    return "█" * full + "·" * (BAR - full)
