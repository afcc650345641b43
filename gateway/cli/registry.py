"""`touchpoint registry`: what the gateway knows of the store's touchpoints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.command import Config, Json, ask_gateway, fail, failures_explained, settings_from, show_json

if TYPE_CHECKING:
    from gateway.config import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The touchpoints of the store: display cases, counters, products, catalogue pages, feedback points, beacons.",
)


@app.command("import", short_help="Make a CSV file the registry.")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="The whole registry; see config/registry.csv.")],
    config: Config = None,
    *,
    add: Annotated[bool, typer.Option("--add", help="Add or change what stands in the file; leave the rest.")] = False,
    json: Json = False,
) -> None:
    """Make a CSV file the registry: all of it, or nothing.

    Every error is named with its line and column. A touchpoint without identifiers gets a link under [links] domain.
    Works while the gateway runs; the very next tap counts by it.
    """
    settings = settings_from(config)
    text = registry_text(file, settings)
    answer = ask_gateway(settings, {"ask": "registry-import", "csv": text, "add": add})
    if json:
        show_json(answer)
        return
    parts = ", ".join(f"{answer[part]} {part}" for part in ("added", "changed", "removed", "unchanged"))
    typer.echo(f"{file}: {parts}.")


def registry_text(file: Path, settings: "Settings") -> str:
    """Read a registry's file; end with everything that is wrong in it, if anything is."""
    from gateway.desk import bearer_rules
    from gateway.store.registry_csv import RegistryErrors, parse

    with failures_explained():
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            fail(f"{file} is not UTF-8 text: save it as CSV UTF-8; nothing was imported")
    try:
        parse(text, bearer_rules(settings), settings.links.domain)
    except RegistryErrors as errors:
        fail("\n".join([*(f"{file}: {error}" for error in errors.errors), f"{file}: nothing was imported"]))
    return text


@app.command("list")
def list_(config: Config = None, *, json: Json = False) -> None:
    """List the touchpoints, and what identifies them."""
    from dataclasses import asdict

    from gateway.store.backlog import Backlog
    from gateway.store.touchpoints import load

    settings = settings_from(config)
    with failures_explained():
        connection = Backlog(settings.gateway.state).connection()
        touchpoints = load(connection)[1] if connection else []
    if json:
        show_json([asdict(touchpoint) for touchpoint in touchpoints])
    elif not touchpoints:
        fail("The registry is empty: touchpoint registry import FILE.csv", 0)
    for each in [] if json else touchpoints:
        typer.echo(
            f"{each.id:<20} {each.kind:<10} {each.zone or '-':<12} {each.name}  ({len(each.identifiers)} identifiers)"
        )
