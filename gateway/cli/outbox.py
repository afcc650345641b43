"""`touchpoint outbox`: what waits to be sent, for people, for scripts, and for a second look."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.command import Config, Json, fail, failures_explained, settings_from, show_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.store.backlog import Backlog

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The durable queue of events on their way to the broker. Looking at it disturbs nothing.",
)

PAGE = 1_000

State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Another state directory, for instance of a replay."),
]


@app.command()
def show(
    config: Config = None,
    *,
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, help="How many events, the oldest first.")] = 20,
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
    typer.echo(f"{waiting} events wait in session {backlog.session() or '-'}")
    for event in events:
        place = event["data"].get("touchpoint") or {}
        named = "with subject" if event["data"].get("subject") else ""
        kind = event["type"].removeprefix("touchpoint.").removesuffix(".v1")
        typer.echo(f"  {int(event['sequence']):>8}  {event['time']}  {kind:<14} {place.get('id', ''):<20} {named}")


@app.command()
def export(config: Config = None, *, state: State = None) -> None:
    """Print the events that wait as JSON lines.

    Exactly as they would be sent; nothing is taken out.
    """
    with failures_explained():
        for event in every_event(_backlog(config, state)):
            typer.echo(event)


@app.command()
def verify(config: Config = None, *, state: State = None, json: Json = False) -> None:
    """Check that the outbox is whole.

    Every event parses, sequences have no hole, the numbers add up. Exit status 1 if not.
    """
    from gateway.store.verify import verify as check

    with failures_explained():
        backlog = _backlog(config, state)
        report = check(backlog)
    if json:
        show_json({"ok": not report.problems, **report.numbers, "problems": report.problems})
    else:
        for problem in report.problems:
            typer.echo(problem)
        numbers = ", ".join(f"{name} {number}" for name, number in report.numbers.items())
        typer.echo(f"{'It does not add up' if report.problems else 'All in order'}: {numbers}.")
    if report.problems:
        fail("See CONTRIBUTING.md for what to report; the gateway goes on as it is.")


def _backlog(config: Path | None, state: Path | None) -> "Backlog":
    from gateway.store.backlog import Backlog
    from gateway.store.schema import CAPTURE

    if state is not None and not (state / CAPTURE.file).is_file():
        fail(f"{state}: there is no {CAPTURE.file} in it; name the directory that a replay said", 2)
    return Backlog(state or settings_from(config).gateway.state)


def every_event(backlog: "Backlog") -> "Iterator[str]":
    """Yield the text of each event that waits, in order."""
    after = 0
    while rows := backlog.rows(after, PAGE, 1 << 30):
        yield from (row.event for row in rows)
        after = rows[-1].through
