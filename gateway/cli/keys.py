"""`touchpoint keys`: the root key of the trust service, and the key ring of a site."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.command import Config, Json, fail, failures_explained, settings_from, show_json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Keys of pseudonyms. The root key belongs to the brand's trust service and never lies on a gateway; from it
the ring of each site is derived, which does. No command prints a key.""",
)


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="ROOT", help="The file to write; it must not exist yet.")],
) -> None:
    """Make the root key of a brand: once, at the trust service, and keep it there.

    Whoever holds it can join the pseudonyms of all sites; whoever loses it can derive no more rings.
    """
    from gateway.keys import new_root, write_secret

    with failures_explained():
        write_secret(file, new_root())
    typer.echo(f"{file}: a new root key. Keep it at the trust service, with a copy in a safe; never on a gateway.")


@app.command()
def derive(
    root: Annotated[Path, typer.Option("--root", metavar="ROOT", help="The root key.")],
    out: Annotated[Path, typer.Option("--out", metavar="RING", help="The ring to write; it must not exist yet.")],
    tenant: Annotated[str, typer.Option(help="The tenant, as in [gateway] of the site's configuration.")],
    site: Annotated[str, typer.Option(help="The site, as in [gateway] of the site's configuration.")],
    epochs: Annotated[
        str | None, typer.Option(metavar="2026Q4,2027Q1", help="Quarters; default: this one and the next.")
    ] = None,
) -> None:
    """Derive the key ring of one site, for its gateways: `[pseudonym] keys` in their configuration names it."""
    from gateway.clock import Clock
    from gateway.core.pseudonym import derive as derive_ring
    from gateway.keys import quarter, quarters, read_root, write_secret

    with failures_explained():
        wanted = epochs.split(",") if epochs else quarters(Clock().now().wall_ms, 2)
        try:
            spans = [quarter(epoch.strip()) for epoch in wanted]
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--epochs") from None
        write_secret(out, derive_ring(read_root(root), tenant, site, spans).to_json())
    typer.echo(f"{out}: the ring of {tenant}/{site} for {', '.join(wanted)}.")


@app.command()
def show(config: Config = None, *, json: Json = False) -> None:
    """Show which epochs this gateway's ring holds, and which is in force. Never a key."""
    from gateway.clock import Clock
    from gateway.core.event import rfc3339
    from gateway.keys import key_ring

    settings = settings_from(config)
    with failures_explained():
        ring = key_ring(settings)
    if ring is None:
        fail(f"no key ring at {settings.pseudonym.keys}: no subject is named in any event; see touchpoint keys derive")
    now = ring.current(Clock().now().wall_ms)
    epochs = [
        {
            "id": epoch.id,
            "from": rfc3339(epoch.from_ms),
            "until": None if epoch.until_ms is None else rfc3339(epoch.until_ms),
            "in_force": epoch == now,
        }
        for epoch in ring.epochs
    ]
    if json:
        show_json({"tenant": ring.tenant, "site": ring.site, "epochs": epochs})
        return
    typer.echo(f"The ring of {ring.tenant}/{ring.site}")
    for each in epochs:
        typer.echo(
            f"  {each['id']}  {each['from']} to {each['until'] or 'open'}{'  in force' if each['in_force'] else ''}"
        )
