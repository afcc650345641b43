"""`touchpoint erase`: remove what can be removed about whoever presents a token, and prove it."""

from typing import Any

import typer

from gateway.cli.command import FAILED, Config, Json, show_json
from gateway.cli.consent import Reader, TokenFromStdin, ask_by_token


def erase(
    config: Config = None, *, reader: Reader = None, token_from_stdin: TokenFromStdin = False, json: Json = False
) -> None:
    """Remove all that can be removed about the customer who presents the token (GDPR, art. 17), and prove it.

    Consent is withdrawn, the centre is told, events that wait become gaps, records of this store go, and what was
    deleted is overwritten. What stays is a tombstone without purposes, as long as the centre could bring the old
    consent back. Then every file of the state directory is searched for the token in every spelling, and for the names
    under which it left the store.

    Exit status 1 if the search finds anything, or cannot read a file.
    """
    answer = ask_by_token("erase", config, reader, from_stdin=int(token_from_stdin))
    if json:
        show_json(answer)
    else:
        _print(answer)
    if not answer["proof"]["holds"]:
        raise typer.Exit(FAILED)


def _print(answer: dict[str, Any]) -> None:
    typer.echo(
        f"Erased: {answer['withdrawn']} consents withdrawn, {answer['removed']} records removed; "
        "what waited about this customer is withdrawn, visits and stays have ended."
    )
    if answer["possibly_sent"] is None:
        typer.echo("! What waits to be sent is withdrawn at the next start: uplink.db is damaged.", err=True)
    elif answer["possibly_sent"]:
        typer.echo(f"{answer['possibly_sent']} earlier events may have been sent; the centre is told which.")
    for each in answer["kept"]:
        until = each["until"] or "the centre has taken its record out of the set"
        typer.echo(f"Kept: a tombstone without purposes, until {until}, so that the old consent does not come back.")
    if answer["waiting"]:
        typer.echo(f"Kept: {answer['waiting']} messages to the centre that say so, until they are delivered.")
    if answer["central"]:
        typer.echo(
            f"The centre knows {answer['central']} records of this customer; it takes them back when it is told."
        )
    _print_proof(answer["proof"])


def _print_proof(proof: dict[str, Any]) -> None:
    searched = f"{proof['files']} files searched for {len(proof['searched'])} identifiers in every spelling"
    typer.echo(f"Proof: {searched}: {'nothing was found.' if proof['holds'] else 'not clean.'}")
    for each in proof["found"]:
        typer.echo(f"! {each['file']}: {each['what']}, {each['as']}")
    for path in proof["unread"]:
        typer.echo(f"! {path}: cannot be read, so nothing is known about it")
    for label in proof["too_short"]:
        typer.echo(f"! {label}: too short to be searched for")
