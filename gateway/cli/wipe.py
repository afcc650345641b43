"""`touchpoint wipe`: for a device that leaves the store."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.command import Config, Json, Yes, confirm, fail, failures_explained, settings_from, show_json
from gateway.language import _, said

if TYPE_CHECKING:
    from gateway.bytesearch import Proof
    from gateway.config import Settings
    from gateway.wipe import Belongings

INTERRUPTED = 130
"""As shells report a program that Ctrl-C ended."""


HELP = _("""Remove keys, databases and all else that the gateway keeps.

Events that wait are lost: see touchpoint outbox export. Keys are overwritten before they are removed, which flash
memory may ignore. Then every file where something lay is searched for the keys and handles that were there; exit
status 1 if any is found. The gateway must be stopped. What was interrupted is finished by another run.""")


def wipe(
    config: Config = None,
    *,
    credentials: Annotated[
        bool, typer.Option("--credentials", help=_("Also the key, certificate and password for the broker."))
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Remove keys, databases and all else that the gateway keeps."""
    from gateway.wipe import belongings

    settings = settings_from(config)
    try:
        with failures_explained():
            report = _wiped(settings, credentials=credentials, yes=yes)
    except KeyboardInterrupt:
        left = belongings(settings, credentials=credentials).there()
        fail("\n".join([_("Interrupted; run it again to finish. Still there:"), *map(str, left)]), INTERRUPTED)
    _show(report, json=json)
    if not report.proof.holds or report.left:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Report:
    """What was done: paths removed, what went wrong, what is left; and what a search for so many secrets has shown."""

    removed: list[Path]
    wrong: list[str]
    left: list[Path]
    elsewhere: tuple[str, ...]
    secrets: int
    proof: "Proof"


def _wiped(settings: "Settings", *, credentials: bool, yes: bool) -> Report:
    """Remove all of it. Raises StoreError, OSError."""
    from gateway.bytesearch import prove_absent
    from gateway.store.database import HeldError
    from gateway.wipe import belongings, places, remove, stopped, traces

    gateway = settings.gateway
    try:
        with stopped(gateway.state):
            what = belongings(settings, credentials=credentials)
            _ask(gateway.id, what, yes=yes)
            was = traces(settings, credentials=credentials)
            done = list(remove(what))
    except HeldError as error:
        running = said(error).partition(". ")[0]
        fail(
            _("{running}. Stop its services, or press Ctrl-C where touchpoint run runs; nothing was removed").format(
                running=running
            )
        )
    return Report(
        [path for path, wrong in done if wrong is None],
        [wrong for _, wrong in done if wrong is not None],
        what.there(),
        what.elsewhere,
        len(was),
        prove_absent(places(settings, what), was),
    )


def _ask(gateway: str, what: "Belongings", *, yes: bool) -> None:
    if not yes:
        typer.echo("\n".join(map(str, what.there())), err=True)
    confirm(
        _("This removes all of it from gateway {gateway}; events that wait are lost.").format(gateway=gateway),
        gateway,
        yes=yes,
    )


def _show(report: Report, *, json: bool) -> None:
    from gateway.cli.keys import show_proof

    proof = report.proof
    if json:
        found = [{"file": str(each.path), "what": each.label, "encoding": each.encoding} for each in proof.findings]
        unread = [str(path) for path in proof.unread]
        show_json(
            {
                "removed": [str(path) for path in report.removed],
                "left": [str(path) for path in report.left],
                "elsewhere": report.elsewhere,
                "search": {"for": report.secrets, "files": proof.files, "found": found, "unread": unread},
            }
        )
        return
    for path in report.removed:
        typer.echo(_("removed {path}").format(path=path))
    for wrong in report.wrong:
        typer.echo(said(wrong), err=True)
    for name in report.elsewhere:
        typer.echo(
            _("{name} is a credential of systemd: remove the file that LoadCredential= of the service names").format(
                name=name
            ),
            err=True,
        )
    what = _(
        "Searched {files} files for the {number} keys and handles that were there, raw, in hexadecimal and in base64:"
    )
    show_proof(proof, what.format(files="{files}", number=report.secrets))
    typer.echo(_("Flash memory may remember what was overwritten: destroy the card, or the key of its encryption."))
