"""`touchpoint schema`: the contract with the ecosystem, for machines."""

import json
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from gateway.language import _

HELP = _("""Print the JSON Schemas (2020-12) of every message, up and down, as one JSON object by name.

`tap` describes the data of a tap, `tap-event` the whole CloudEvents event around it. Exit status 2: no such schema.""")


def schema(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help=_("One schema only, for instance `tap` or `tap-event`."))
    ] = None,
    *,
    asyncapi: Annotated[bool, typer.Option("--asyncapi", help=_("Print the AsyncAPI 3.0.0 document instead."))] = False,
    names: Annotated[bool, typer.Option("--list", help=_("Print the names of the schemas, one a line."))] = False,
) -> None:
    """Print the JSON Schemas (2020-12) of every message, up and down, as one JSON object by name."""
    from gateway.core.asyncapi import asyncapi as document
    from gateway.core.contract import schemas

    if [name is not None, asyncapi, names].count(True) > 1:
        raise typer.BadParameter(_("give a NAME, --asyncapi or --list, not several of them"))
    if names:
        typer.echo("\n".join(schemas()))
    elif asyncapi:
        _print(document())
    else:
        _print(schemas() if name is None else _one(name))


def _one(name: str) -> dict[str, Any]:
    from gateway.core.contract import schemas

    found = schemas()
    if name not in found:
        near = ", ".join(get_close_matches(name, found))
        wrong = (
            _("no schema of this name; did you mean {near}?")
            if near
            else _("no schema of this name; `touchpoint schema --list` prints them all.")
        )
        raise typer.BadParameter(wrong.format(near=near), param_hint="NAME")
    return found[name]


def _print(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
