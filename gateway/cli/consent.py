"""`touchpoint consent`: at the counter, by presenting the customer's token at a reader."""

import sys
from typing import Annotated, Any

import typer

from gateway.cli.command import Config, Json, ask_gateway, fail, settings_from, show_json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Consent in the store: the customer presents the token (card, phone, code) at a reader; nothing is typed.
The gateway keeps a keyed hash of the token, never the token.""",
)

Reader = Annotated[str | None, typer.Option("--reader", metavar="NAME", help="Where the token is presented.")]
TokenFromStdin = Annotated[
    bool, typer.Option("--token-from-stdin", help="For tests: read what a scanner would read from standard input.")
]


@app.command()
def grant(  # noqa: PLR0913  # the parts of a consent
    config: Config = None,
    *,
    reader: Reader = None,
    purpose: Annotated[
        list[str] | None, typer.Option(help="What the customer agrees to; default: every purpose of the configuration.")
    ] = None,
    notice: Annotated[str | None, typer.Option(help="The version of the notice that was shown.")] = None,
    language: Annotated[str | None, typer.Option(help="The language in which it was shown.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="How long the consent holds.")] = None,
    token_from_stdin: TokenFromStdin = False,
    json: Json = False,
) -> None:
    """Record a customer's consent; a consent for the same purposes is renewed.

    From the very next reading on, events name the customer by a pseudonym, for the purposes agreed to.
    """
    options = {"purposes": purpose, "notice": notice, "language": language, "days": days}
    answer = _ask("consent-grant", config, reader, token_from_stdin=token_from_stdin, **options)
    if json:
        show_json(answer)
        return
    typer.echo(
        f"Consent recorded for {', '.join(answer['purposes'])}, notice {answer['notice_version']}, "
        f"until {str(answer['expires_at'])[:10]}."
    )


@app.command()
def withdraw(
    config: Config = None, *, reader: Reader = None, token_from_stdin: TokenFromStdin = False, json: Json = False
) -> None:
    """Withdraw a customer's consent, just as it was given. It holds at once.

    What waits to be sent about the customer is withdrawn too, and the visit at the reader ends.
    """
    answer = _ask("consent-withdraw", config, reader, token_from_stdin=token_from_stdin)
    if json:
        show_json(answer)
    elif answer["withdrawn"]:
        typer.echo("Consent withdrawn. From now on no event names this customer.")
    else:
        typer.echo("No consent is recorded for this customer; there was nothing to withdraw.")


@app.command()
def show(
    config: Config = None, *, reader: Reader = None, token_from_stdin: TokenFromStdin = False, json: Json = False
) -> None:
    """Show what is recorded for a customer: state, purposes, notice, validity."""
    records = _ask("consent-show", config, reader, token_from_stdin=token_from_stdin)["records"]
    if json:
        show_json(records)
        return
    for record in records:
        until = f", until {record['expires_at'][:10]}" if record["state"] in {"given", "renewed"} else ""
        typer.echo(f"{record['state']}: {', '.join(record['purposes'])}, notice {record['notice_version']}{until}")
    if not records:
        typer.echo("No consent is recorded for this customer.")


def _ask(ask: str, config: Config, reader: str | None, *, token_from_stdin: bool, **options: object) -> dict[str, Any]:
    token = sys.stdin.readline().strip() if token_from_stdin else None
    if token == "":
        fail("no token on standard input", 2)
    request = {"ask": ask, "reader": reader, "token": token, **options}
    return ask_gateway(settings_from(config), {name: value for name, value in request.items() if value is not None})
