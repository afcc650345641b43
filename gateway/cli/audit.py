"""`touchpoint audit`: who did what and when, and whether that can be believed."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.command import Config, Json, fail, failures_explained, settings_from, show_json
from gateway.language import _, said

if TYPE_CHECKING:
    import sqlite3

    from gateway.store.audit import Entry

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=_("The audit log: who did what and when, without identities. Looking at it disturbs nothing."),
)


@app.command(help=_("""Show the newest entries: when, who, what."""))
def show(
    config: Config = None,
    *,
    limit: Annotated[int, typer.Option(min=1, help=_("How many entries, up to the newest."))] = 50,
    json: Json = False,
) -> None:
    """Show the newest entries: when, who, what."""
    from gateway.store import audit

    with failures_explained(), _store(config) as store:
        number = audit.last(store)[0]
        found = list(audit.entries(store, number - limit))
    if json:
        show_json([_shown(entry) for entry in found])
        return
    for entry in found:
        detail = "" if entry.detail == "{}" else entry.detail
        typer.echo(f"{entry.number:>6}  {_when(entry)}  {entry.who:<16} {entry.what:<22} {detail}".rstrip())


@app.command(
    short_help=_("Check that the chain is whole."),
    help=_("""Check that the chain is whole and nothing in it was changed. Exit status 1 if not.

Whoever can write the file can write a whole new chain: only with a head that was kept elsewhere is it a proof."""),
)
def verify(
    config: Config = None,
    *,
    head: Annotated[
        str | None,
        typer.Option(help=_("A head that was seen earlier, as `audit_head` in a state message: `number:hash`.")),
    ] = None,
    json: Json = False,
) -> None:
    """Check that the chain is whole and nothing in it was changed. Exit status 1 if not."""
    from gateway.store import audit

    with failures_explained(), _store(config) as store:
        problems, number, newest = list(audit.problems(store, head)), audit.last(store)[0], audit.head(store)
        first = audit.start(store)[0] + 1
    if json:
        show_json({"ok": not problems, "first": first, "last": number, "head": newest, "problems": problems})
    else:
        for problem in problems:
            typer.echo(said(problem))
        verdict = (
            _("Not in order: entries {first} to {number}, head {newest}.")
            if problems
            else _("All in order: entries {first} to {number}, head {newest}.")
        )
        typer.echo(verdict.format(first=first, number=number, newest=newest))
    if problems:
        fail(_("Somebody or something has changed the audit log of this gateway."))


@contextmanager
def _store(config: Path | None) -> "Iterator[sqlite3.Connection]":
    """Open the store for reading, at one instant. Fails if there is none yet."""
    from gateway.store.database import open_reader, snapshot
    from gateway.store.schema import CAPTURE

    state = settings_from(config).gateway.state
    store = open_reader(state, CAPTURE)
    if store is None:
        fail(
            _("{state}: there is no {file} of this version yet; start the gateway: touchpoint run").format(
                state=state, file=CAPTURE.file
            )
        )
    with closing(store), snapshot(store):
        yield store


def _shown(entry: "Entry") -> dict[str, object]:
    from json import loads

    shown = {"number": entry.number, "at": _when(entry), "who": entry.who, "what": entry.what}
    try:
        return {**shown, "detail": loads(entry.detail), "hash": entry.hash}
    except (ValueError, RecursionError):
        return {**shown, "detail": None, "hash": entry.hash}


def _when(entry: "Entry") -> str:
    from gateway.core.event import rfc3339

    return rfc3339(entry.at_ms)
