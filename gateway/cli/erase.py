"""`touchpoint erase`: remove what can be removed about whoever presents a token, and prove it."""

from typing import Any

import typer

from gateway.cli.command import FAILED, Config, Json, show_json
from gateway.cli.consent import Reader, TokenFromStdin, ask_by_token
from gateway.language import _, several

HELP = _("""Remove all that can be removed about the customer who presents the token (GDPR, art. 17), and prove it.

Consent is withdrawn, the centre is told, events that wait become gaps, records of this store go, and what was
deleted is overwritten. What stays is a tombstone without purposes, as long as the centre could bring the old
consent back. Then every file of the state directory is searched for the token in every spelling, and for the names
under which it left the store.

Exit status 1 if the search finds anything, or cannot read a file.""")


def erase(
    config: Config = None, *, reader: Reader = None, token_from_stdin: TokenFromStdin = False, json: Json = False
) -> None:
    """Remove all that can be removed about the customer who presents the token, and prove it."""
    answer = ask_by_token("erase", config, reader, from_stdin=int(token_from_stdin))
    if json:
        show_json(answer)
    else:
        _print(answer)
    if not answer["proof"]["holds"]:
        raise typer.Exit(FAILED)


def _print(answer: dict[str, Any]) -> None:
    erased = _(
        "Erased: {withdrawn} consents withdrawn, {removed} records removed; what waited about this customer is "
        "withdrawn, visits and stays have ended."
    )
    typer.echo(erased.format(withdrawn=answer["withdrawn"], removed=answer["removed"]))
    if answer["possibly_sent"] is None:
        typer.echo(_("! What waits to be sent is withdrawn at the next start: uplink.db is damaged."), err=True)
    elif answer["possibly_sent"]:
        typer.echo(
            several(
                "{count} earlier event may have been sent; the centre is told which.",
                "{count} earlier events may have been sent; the centre is told which.",
                answer["possibly_sent"],
            )
        )
    for each in answer["kept"]:
        until = each["until"] or _("the centre has taken its record out of the set")
        kept = _("Kept: a tombstone without purposes, until {until}, so that the old consent does not come back.")
        typer.echo(kept.format(until=until))
    if answer["waiting"]:
        typer.echo(
            several(
                "Kept: {count} message to the centre that says so, until it is delivered.",
                "Kept: {count} messages to the centre that say so, until they are delivered.",
                answer["waiting"],
            )
        )
    if answer["central"]:
        typer.echo(
            several(
                "The centre knows {count} record of this customer; it takes it back when it is told.",
                "The centre knows {count} records of this customer; it takes them back when it is told.",
                answer["central"],
            )
        )
    _print_proof(answer["proof"])


def _print_proof(proof: dict[str, Any]) -> None:
    verdict = (
        _("Proof: {files} files searched for {number} identifiers in every spelling: nothing was found.")
        if proof["holds"]
        else _("Proof: {files} files searched for {number} identifiers in every spelling: not clean.")
    )
    typer.echo(verdict.format(files=proof["files"], number=len(proof["searched"])))
    for each in proof["found"]:
        typer.echo(f"! {each['file']}: {each['what']}, {each['as']}")
    for path in proof["unread"]:
        typer.echo(_("! {path}: cannot be read, so nothing is known about it").format(path=path))
    for label in proof["too_short"]:
        typer.echo(_("! {label}: too short to be searched for").format(label=label))
