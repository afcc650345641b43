"""`touchpoint touchpoints`: what the gateway knows of the store's touchpoints, and how they are used."""

from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.command import (
    Config,
    Json,
    Yes,
    ask_gateway,
    confirm,
    fail,
    failures_explained,
    settings_from,
    show_json,
)
from gateway.cli.files import Force, must_be_new, write
from gateway.cli.report import HELP as REPORT
from gateway.cli.report import report
from gateway.language import _, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config import Settings
    from gateway.core.registry import Touchpoint

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=_("""The touchpoints of the store: display cases, counters, products, catalogue pages, feedback points,
beacons.

One at a time with add, edit and retire, or all of them as a spreadsheet with export and import. What is changed counts
for the very next tap; the gateway may run or not.

To begin: touchpoint touchpoints add vitrine-1 --kind display --name Vitrine"""),
)
INTERRUPTED = 130
"""128 and SIGINT, as shells report it."""
FEEDBACK = "feedback"
MOST_NAMED = 5
MONTH_DAYS = 30

Id = Annotated[str, typer.Argument(metavar="TOUCHPOINT", help=_("The id of a touchpoint."))]
Name = Annotated[str | None, typer.Option(help=_("For people."))]
Kind = Annotated[
    str | None,
    typer.Option(
        help=_(
            "display, counter, entrance, product, catalogue, service, feedback, beacon, or visit-end for staff's tag."
        )
    ),
]
Zone = Annotated[str | None, typer.Option(help=_("Part of the store."))]
Phase = Annotated[str | None, typer.Option(help=_("Of the journey, seen from the purchase: before, during or after."))]
Gtin = Annotated[str | None, typer.Option(help=_("GTIN of the product; its check digit is checked."))]
Reference = Annotated[str | None, typer.Option(help=_("The brand's reference of the product."))]
Serial = Annotated[str | None, typer.Option(help=_("Serial number, if it is one piece."))]
Campaign = Annotated[str | None, typer.Option(help=_("The campaign it belongs to."))]
From = Annotated[
    str | None,
    typer.Option(
        "--valid-from", metavar="DATE", help=_("First day, as 2027-03-01 in UTC, or a date-time with its zone.")
    ),
]
Until = Annotated[
    str | None, typer.Option("--valid-until", metavar="DATE", help=_("Last day, or the date-time at which it ends."))
]
Identifiers = Annotated[
    list[str] | None,
    typer.Option(
        "--identifier", metavar="KIND:VALUE", help=_("What readers read there, once for each; see config/README.md.")
    ),
]
Answers = Annotated[
    list[str] | None,
    typer.Option(
        "--answer",
        metavar="ANSWER",
        help=_("Of a feedback point, once for each answer; a link is made that stands for it."),
    ),
]


@app.command(
    short_help=_("Add a touchpoint."),
    help=_("""Add a touchpoint.

Without --identifier it gets a link of its own under [links] domain, for its codes and tags. A feedback point:
touchpoint touchpoints add farewell --kind feedback --name "How was it?" --answer good --answer poor"""),
)
def add(  # noqa: PLR0913  # its columns
    touchpoint: Annotated[str, typer.Argument(metavar="TOUCHPOINT", help=_("Its id: letters, digits, '.', '_', '-'."))],
    config: Config = None,
    *,
    kind: Kind = None,
    name: Name = None,
    zone: Zone = None,
    phase: Phase = None,
    gtin: Gtin = None,
    reference: Reference = None,
    serial: Serial = None,
    campaign: Campaign = None,
    valid_from: From = None,
    valid_until: Until = None,
    identifier: Identifiers = None,
    answer: Answers = None,
    json: Json = False,
) -> None:
    """Add a touchpoint."""
    named = _cells(
        kind=kind, name=name, zone=zone, phase=phase, gtin=gtin, reference=reference, serial=serial, campaign=campaign,
        valid_from=valid_from, valid_until=valid_until,
    )  # fmt: skip
    cells = {"id": touchpoint, **named, "identifiers": _identifiers("", identifier, answer)}
    settings = settings_from(config)
    if kind == FEEDBACK and not (answer or identifier):
        fail(_("A feedback point needs its answers: --answer good --answer poor"), 2)
    _must_fit(kind, answer)
    with _options_explained():
        from gateway.registering import bounds
        from gateway.store.registry_csv import read

        read(cells, bounds(settings))
    said = _change(settings, {"ask": "touchpoint-add", "cells": cells})
    if json:
        show_json(said["touchpoint"])
        return
    typer.echo(_("{id} is added.").format(id=touchpoint))
    _tell_identifiers(said["touchpoint"])
    _tell_next(settings, said["touchpoint"])


@app.command(
    short_help=_("Change what is named of a touchpoint."),
    help=_("""Change what is named of a touchpoint, and nothing else. An empty text takes a value away: --campaign ""

Its links stay as they are, and so do printed codes and tags. --identifier replaces all identifiers; --answer adds one
to a feedback point. What the centre defines holds as changed here until the centre changes it again."""),
)
def edit(  # noqa: PLR0913  # its columns
    touchpoint: Id,
    config: Config = None,
    *,
    kind: Kind = None,
    name: Name = None,
    zone: Zone = None,
    phase: Phase = None,
    gtin: Gtin = None,
    reference: Reference = None,
    serial: Serial = None,
    campaign: Campaign = None,
    valid_from: From = None,
    valid_until: Until = None,
    identifier: Identifiers = None,
    answer: Answers = None,
    json: Json = False,
) -> None:
    """Change what is named of a touchpoint."""
    named = _cells(
        kind=kind, name=name, zone=zone, phase=phase, gtin=gtin, reference=reference, serial=serial, campaign=campaign,
        valid_from=valid_from, valid_until=valid_until,
    )  # fmt: skip
    if not (named or identifier or answer):
        fail(_("Name what to change; see touchpoint touchpoints edit --help"), 2)
    settings = settings_from(config)
    before = _named(settings, touchpoint)
    _must_fit(kind or before.kind, answer)
    with _options_explained():
        from gateway.registering import bounds, edited
        from gateway.store.registry_csv import cells

        if identifier or answer:
            named["identifiers"] = _identifiers(cells(before)["identifiers"], identifier, answer)
        edited(before, named, bounds(settings))
    said = _change(settings, {"ask": "touchpoint-edit", "id": touchpoint, "cells": named})
    if json:
        show_json(said["touchpoint"])
    elif said["fields"]:
        typer.echo(_("{id} is changed: {fields}.").format(id=touchpoint, fields=", ".join(said["fields"])))
    else:
        typer.echo(_("{id} says that already; nothing was changed.").format(id=touchpoint))


@app.command(
    short_help=_("End the validity of a touchpoint now."),
    help=_("""End the validity of a touchpoint now: its codes and tags count for nothing any more. It stays in the
registry and in the report with all that was counted. To bring it back: touchpoint touchpoints edit ID --valid-until ""
"""),
)
def retire(touchpoint: Id, config: Config = None, *, yes: Yes = False, json: Json = False) -> None:
    """End the validity of a touchpoint now."""
    settings = settings_from(config)
    before = _named(settings, touchpoint)
    question = _("{id} ({name}): from now on its codes and tags count for nothing.")
    confirm(question.format(id=touchpoint, name=before.name), touchpoint, yes=yes)
    said = _change(settings, {"ask": "touchpoint-retire", "id": touchpoint})
    if json:
        show_json(said["touchpoint"])
    else:
        typer.echo(_("{id} is retired.").format(id=touchpoint))


@app.command(
    "import",
    short_help=_("Make a CSV file the registry."),
    help=_("""Make a CSV file the registry: all of it, or nothing.

Every error is named with its line and column. UTF-8, separated by commas or by semicolons, as Excel writes it. A
touchpoint without identifiers gets a link under [links] domain."""),
)
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help=_("The whole registry; see config/registry.csv."))],
    config: Config = None,
    *,
    add: Annotated[
        bool, typer.Option("--add", help=_("Add or change what stands in the file; leave the rest."))
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make a CSV file the registry."""
    settings = settings_from(config)
    text = registry_text(file, settings)
    if not add:
        _confirm_removal(file, settings, text, yes=yes)
    answer = _change(settings, {"ask": "registry-import", "csv": text, "add": add})
    if json:
        show_json(answer)
        return
    told = _("{file}: {added} added, {changed} changed, {removed} removed, {unchanged} unchanged.")
    typer.echo(told.format(file=file, **answer))


@app.command(
    short_help=_("Write the registry as a CSV file."),
    help=_("""Write the registry as a CSV file that import takes, or to standard output.

--excel separates by semicolons and marks the text as UTF-8: so Excel opens it with a double click where the comma is
the decimal sign, in German and French. Format the GTIN column as text before you save there."""),
)
def export(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE.csv]", help=_("Where to write it."))] = None,
    config: Config = None,
    *,
    excel: Annotated[bool, typer.Option("--excel", help=_("As Excel in German or French expects it."))] = False,
    force: Force = False,
) -> None:
    """Write the registry as a CSV file."""
    settings = settings_from(config)
    with failures_explained():
        from gateway.store.registry_csv import format as format_csv

        if file is not None:
            must_be_new([file], force=force)
        there = registered(settings)
        text = format_csv(there, ";" if excel else ",")
        content = text.encode("utf-8-sig" if excel else "utf-8")
        if file is None:
            typer.echo(content, nl=False)
            return
        write(file, content)
    typer.echo(several("{count} touchpoint written.", "{count} touchpoints written.", len(there)))


@app.command(
    "list",
    short_help=_("List the touchpoints, and how they are used."),
    help=_("""List the touchpoints: when each was last touched, and how often in 30 days. Tests do not count."""),
)
def list_(config: Config = None, *, json: Json = False) -> None:
    """List the touchpoints, and how they are used."""
    settings = settings_from(config)
    with failures_explained():
        told = _told(settings)
    if json:
        show_json(told)
        return
    if not told:
        typer.echo(_("The registry is empty."))
        typer.echo(_("Add a touchpoint: touchpoint touchpoints add vitrine-1 --kind display --name Vitrine"))
        typer.echo(_("Or all of them: touchpoint touchpoints import FILE.csv"))
        return
    rows = [(_("id"), _("kind"), _("zone"), _("last touched"), _("in 30 days"), _("name"))]
    rows += [
        (each["id"], each["kind"], each["zone"] or "-", _last(each), _in_30_days(each), _full_name(each))
        for each in told
    ]
    name_, kind_, zone_, last_, month_, _rest = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, kind, zone, last, month, full in rows:
        typer.echo(f"{name:<{name_}}  {kind:<{kind_}}  {zone:<{zone_}}  {last:<{last_}}  {month:>{month_}}  {full}")


@app.command(
    short_help=_("Show a touchpoint."),
    help=_("""Show everything about a touchpoint: what identifies it, who defined it, how it is used."""),
)
def show(touchpoint: Id, config: Config = None, *, json: Json = False) -> None:
    """Show a touchpoint."""
    settings = settings_from(config)
    with failures_explained():
        _named(settings, touchpoint)
        (told,) = [each for each in _told(settings) if each["id"] == touchpoint]
    if json:
        show_json(told)
        return
    typer.echo(f"{told['id']}  {_full_name(told)}")
    for label, text in _lines(told):
        typer.echo(f"  {label:<14}{text}")
    _tell_identifiers(told)


app.command("report", short_help=_("Draw which touchpoints are used, and how often."), help=REPORT)(report)


def registry_text(file: Path, settings: "Settings") -> str:
    """Read a registry's file; end with everything that is wrong in it, if anything is."""
    from gateway.registering import bounds
    from gateway.store.registry_csv import RegistryErrors, parse

    nothing = _("{file}: nothing was imported").format(file=file)
    with failures_explained():
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            fail(_("{file} is not UTF-8 text: save it as CSV UTF-8; nothing was imported").format(file=file))
    try:
        parse(text, bounds(settings))
    except RegistryErrors as errors:
        fail("\n".join([*(f"{file}: {error}" for error in errors.errors), nothing]))
    return text


def _confirm_removal(file: Path, settings: "Settings", text: str, *, yes: bool) -> None:
    """Have a person confirm that touchpoints go which do not stand in the file; a file without any is refused."""
    from gateway.registering import bounds
    from gateway.store.registry_csv import parse

    there = {each.id for each in parse(text, bounds(settings))}
    if not there:
        fail(_("{file} holds no touchpoint; nothing was imported").format(file=file))
    with failures_explained():
        removed = sorted({each.id for each in registered(settings)} - there)
    if not removed:
        return
    few = ", ".join(removed[:MOST_NAMED]) + (", …" if len(removed) > MOST_NAMED else "")
    question = several(
        "{count} touchpoint does not stand in {file} and is removed: {ids}. To leave it: --add. To keep a copy:"
        " touchpoint touchpoints export FILE.csv",
        "{count} touchpoints do not stand in {file} and are removed: {ids}. To leave them: --add. To keep a copy:"
        " touchpoint touchpoints export FILE.csv",
        len(removed),
        file=file,
        ids=few,
    )
    confirm(question, str(len(removed)), yes=yes)


def _cells(**named: str | None) -> dict[str, str]:
    """Return the cells that were named."""
    return {column: text for column, text in named.items() if text is not None}


def _identifiers(before: str, named: list[str] | None, answers: list[str] | None) -> str:
    """Return the cell of identifiers: those that are named, else the ones before, and the answers."""
    from gateway.store.registry_cell import answer

    return " ".join([*(named or before.split()), *(answer(each) for each in answers or ())])


@contextmanager
def _options_explained() -> "Iterator[None]":
    """Say what is wrong by option, if anything is."""
    from gateway.store.registry_csv import RegistryErrors

    try:
        yield
    except RegistryErrors as errors:
        fail(
            "\n".join([*(f"{_option(each.column)}: {each.wrong}" for each in errors.errors), _("Nothing was changed.")])
        )


def _must_fit(kind: str | None, answer: list[str] | None) -> None:
    if answer and kind != FEEDBACK:
        fail(_("--answer is for a feedback point: --kind feedback"), 2)


def _option(column: str) -> str:
    named = {"id": "TOUCHPOINT", "identifiers": "--identifier"}
    return named.get(column) or f"--{column.replace('_', '-')}"


def _change(settings: "Settings", request: dict[str, Any]) -> dict[str, Any]:
    """Have the gateway change its registry; Ctrl-C leaves it whole."""
    try:
        return ask_gateway(settings, request)
    except KeyboardInterrupt:
        told = _("Interrupted: all of it was changed or nothing was. What there is: touchpoint touchpoints list")
        fail(told, INTERRUPTED)


def _named(settings: "Settings", name: str) -> "Touchpoint":
    """Return a touchpoint of the registry, or end."""
    with failures_explained():
        from gateway.registering import known

        return known({each.id: each for each in registered(settings)}, name)


def registered(settings: "Settings") -> "list[Touchpoint]":
    """Return the touchpoints of the registry. Raises StoreError, sqlite3.Error."""
    from contextlib import closing

    from gateway.store.backlog import Backlog
    from gateway.store.touchpoints import load

    with closing(Backlog(settings.gateway.state)) as backlog:
        connection = backlog.connection()
        return load(connection)[1] if connection else []


def _told(settings: "Settings") -> list[dict[str, Any]]:
    """Return all that is known about each touchpoint. Raises StoreError, sqlite3.Error."""
    from contextlib import closing

    from gateway.clock import Clock
    from gateway.store import touchpoints, usage
    from gateway.store.backlog import Backlog

    now_ms = Clock(settings.clock.source).now().wall_ms
    since = usage.day_of(now_ms - (MONTH_DAYS - 1) * 86_400_000, settings.gateway.zone)
    with closing(Backlog(settings.gateway.state)) as backlog:
        connection = backlog.connection()
        if connection is None:
            return []
        origins, last, recent = (
            touchpoints.origins(connection),
            usage.last_days(connection),
            usage.load(connection, since),
        )
        return [
            {
                **asdict(each),
                "origin": origins[each.id],
                "standing": _standing(each, now_ms),
                "last_touched": last.get(each.id),
                "touches_30_days": sum(number for use, number in recent.items() if use.touchpoint == each.id),
            }
            for each in touchpoints.load(connection)[1]
        ]


def _standing(touchpoint: "Touchpoint", now_ms: int) -> str:
    if touchpoint.valid_at(now_ms):
        return "valid"
    begins = touchpoint.valid_from_ms
    return "upcoming" if begins is not None and begins > now_ms else "retired"


def _last(told: "Mapping[str, Any]") -> str:
    """Say on which day a touchpoint was last touched; of one that nobody touches, nothing."""
    if _untouched(told):
        return "-"
    if told["last_touched"] is None:
        return _("never")
    return told["last_touched"] or _("before the clock was set")


def _in_30_days(told: "Mapping[str, Any]") -> str:
    return "-" if _untouched(told) else str(told["touches_30_days"])


def _untouched(told: "Mapping[str, Any]") -> bool:
    """Tell whether it is a beacon or the like, which is heard and not touched."""
    from gateway.core.brandlink import LINKLESS

    return told["kind"] in LINKLESS


def _full_name(told: "Mapping[str, Any]") -> str:
    standing = {"valid": "{name}", "upcoming": _("{name} (not valid yet)"), "retired": _("{name} (retired)")}
    return standing[told["standing"]].format(name=told["name"])


def _lines(told: "Mapping[str, Any]") -> "Iterator[tuple[str, str]]":
    """Return what to show of a touchpoint, each with its label."""
    from gateway.store.registry_cell import date_cell

    labels = {
        "kind": _("kind"), "zone": _("zone"), "phase": _("phase"), "gtin": _("GTIN"), "reference": _("reference"),
        "serial": _("serial"), "campaign": _("campaign"),
    }  # fmt: skip
    yield from ((label, told[column]) for column, label in labels.items() if told[column])
    if told["valid_from_ms"] is not None:
        yield _("valid from"), date_cell(told["valid_from_ms"])
    if told["valid_until_ms"] is not None:
        yield _("valid until"), date_cell(told["valid_until_ms"], until=True)
    yield _("defined by"), _("the centre") if told["origin"] == "centre" else _("this store")
    yield _("last touched"), _last(told)
    yield _("in 30 days"), _in_30_days(told)


def _tell_identifiers(told: "Mapping[str, Any]") -> None:
    """Say what identifies a touchpoint."""
    for text in told["identifiers"]:
        typer.echo(f"  {text}")
    if not told["identifiers"] and told["kind"] != "counter":
        typer.echo(_("  Nothing identifies it yet: give it --identifier, or set [links] domain and edit it."))


def _tell_next(settings: "Settings", told: "Mapping[str, Any]") -> None:
    """Say how to bring a touchpoint's link to where customers are."""
    if not any(text.startswith(f"link:https://{settings.links.domain}/") for text in told["identifiers"]):
        return
    if any(reader.kind == "nfc" for reader in settings.readers):
        typer.echo(_("Write its tag: touchpoint tags write {id}").format(id=told["id"]))
    typer.echo(_("Make its code: touchpoint codes make {id}").format(id=told["id"]))
    typer.echo(_("Print all codes: touchpoint codes sheet --out codes.pdf"))
