"""`touchpoint outbox`: what waits to be sent, for people, for scripts, and for a second look."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.command import Config, Json, fail, failures_explained, settings_from, show_json
from gateway.language import _, said, several

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.store.backlog import Backlog

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=_("The durable queue of events on their way to the broker. Looking at it disturbs nothing."),
)

PAGE = 1_000

State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help=_("Another state directory, for instance of a replay.")),
]


@app.command(help=_("""Show what waits, how much and since when."""))
def show(
    config: Config = None,
    *,
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, help=_("How many events, the oldest first."))] = 20,
    json: Json = False,
) -> None:
    """Show what waits, how much and since when."""
    import json as json_text

    with failures_explained():
        backlog = _backlog(config, state)
        waiting, rows = backlog.waiting(), backlog.rows(0, limit, 1 << 30)
    events = [json_text.loads(row.event) for row in rows]
    if json:
        show_json({"session": backlog.session(), "waiting": waiting, "last": backlog.last(), "events": events})
        return
    waits = several("{count} event waits in session {{session}}", "{count} events wait in session {{session}}", waiting)
    typer.echo(waits.format(session=backlog.session() or "-"))
    for event in events:
        place = event["data"].get("touchpoint") or {}
        named = _("with subject") if event["data"].get("subject") else ""
        kind = event["type"].removeprefix("touchpoint.").removesuffix(".v1")
        typer.echo(f"  {int(event['sequence']):>8}  {event['time']}  {kind:<14} {place.get('id', ''):<20} {named}")


@app.command(
    help=_("""Print the events that wait as JSON lines.

Exactly as they would be sent; nothing is taken out.""")
)
def export(config: Config = None, *, state: State = None) -> None:
    """Print the events that wait as JSON lines."""
    with failures_explained():
        for event in every_event(_backlog(config, state)):
            typer.echo(event)


@app.command(
    help=_("""Check that the outbox is whole.

Every event parses, sequences have no hole, the numbers add up. Exit status 1 if not.""")
)
def verify(config: Config = None, *, state: State = None, json: Json = False) -> None:
    """Check that the outbox is whole."""
    from gateway.store.verify import verify as check

    with failures_explained():
        backlog = _backlog(config, state)
        report = check(backlog)
    if json:
        show_json({"ok": not report.problems, **report.numbers, "problems": report.problems})
    else:
        for problem in report.problems:
            typer.echo(said(problem))
        numbers = ", ".join(f"{name} {number}" for name, number in report.numbers.items())
        verdict = _("It does not add up: {numbers}.") if report.problems else _("All in order: {numbers}.")
        typer.echo(verdict.format(numbers=numbers))
    if report.problems:
        fail(_("See CONTRIBUTING.md for what to report; the gateway goes on as it is."))


def _backlog(config: Path | None, state: Path | None) -> "Backlog":
    from gateway.store.backlog import Backlog
    from gateway.store.schema import CAPTURE

    if state is not None and not (state / CAPTURE.file).is_file():
        fail(
            _("{state}: there is no {file} in it; name the directory that a replay said").format(
                state=state, file=CAPTURE.file
            ),
            2,
        )
    return Backlog(state or settings_from(config).gateway.state)


def every_event(backlog: "Backlog") -> "Iterator[str]":
    """Yield the text of each event that waits, in order."""
    after = 0
    while rows := backlog.rows(after, PAGE, 1 << 30):
        yield from (row.event for row in rows)
        after = rows[-1].through
