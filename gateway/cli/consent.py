"""`touchpoint consent`: at the counter, by presenting the customer's token at a reader."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.command import Config, Json, ask_gateway, fail, settings_from, show_json
from gateway.language import _, later, said, several

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=_("""Consent in the store: the customer presents the token (card, phone, code) at a reader; nothing is typed.
The gateway keeps a keyed hash of the token, never the token.

At the counter: hand over the notice, run touchpoint consent grant, let the customer present the card. To take it
back, the same gesture: touchpoint consent withdraw. Ctrl-C ends each of them with nothing half done.

The customer's rights: access tells what this gateway holds (GDPR, art. 15), export writes the records
(ISO/IEC TS 27560), touchpoint erase removes what can be removed (art. 17)."""),
)

Reader = Annotated[str | None, typer.Option("--reader", metavar="NAME", help=_("Where the token is presented."))]
TokenFromStdin = Annotated[
    bool, typer.Option("--token-from-stdin", help=_("For tests: read what a scanner would read from standard input."))
]
Receipt = Annotated[
    Path | None,
    typer.Option("--receipt", metavar="FILE", help=_("Write the receipt too: FILE.txt, or FILE.svg as a picture.")),
]
TOKENS, DAYS = 32, 3653
VALID = {"given", "renewed"}
STATES = {
    "given": later("given"),
    "renewed": later("renewed"),
    "refused": later("refused"),
    "withdrawn": later("withdrawn"),
    "expired": later("expired"),
    "invalidated": later("invalidated"),
}
"""Words of the W3C Data Privacy Vocabulary for the state of a consent."""


@app.command(
    short_help=_("Record a customer's consent, with a receipt."),
    help=_("""Record a customer's consent and hand over a receipt.

From the very next reading on, events name the customer by a pseudonym, for the purposes agreed to. A consent that
is there already, given here or at the centre, is renewed and keeps its tokens; tokens of the same customer that
are presented in the same go (--tokens 2) come under the same consent.

The receipt is printed as text and as a QR code of the same text, signed by this gateway."""),
)
def grant(  # noqa: PLR0913  # the parts of a consent
    config: Config = None,
    *,
    reader: Reader = None,
    purpose: Annotated[
        list[str] | None,
        typer.Option(
            help=_("What the customer agrees to, once for each; default: every purpose of [consent] purposes.")
        ),
    ] = None,
    notice: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help=_("The version of the notice that was shown, if not the usual.")),
    ] = None,
    language: Annotated[
        str | None, typer.Option(metavar="TAG", help=_("The language in which it was shown: de, fr-CH."))
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(help=_("How long the consent holds, 1 to {DAYS}; default: [consent] days.").format(DAYS=DAYS)),
    ] = None,
    tokens: Annotated[
        int,
        typer.Option(help=_("So many tokens of the same customer are presented, one after another.")),
    ] = 1,
    receipt: Receipt = None,
    token_from_stdin: TokenFromStdin = False,
    json: Json = False,
) -> None:
    """Record a customer's consent and hand over a receipt."""
    _within("--tokens", tokens, TOKENS)
    _within("--days", days, DAYS)
    if receipt is not None:
        _writable(receipt)
    options = {"purposes": purpose, "notice": notice, "language": language, "days": days, "tokens": tokens}
    answer = ask_by_token("consent-grant", config, reader, from_stdin=tokens if token_from_stdin else 0, **options)
    if json:
        show_json(answer)
    else:
        said = (
            _("Consent renewed for {purposes}, notice {notice}, until {until}.")
            if answer["state"] == "renewed"
            else _("Consent recorded for {purposes}, notice {notice}, until {until}.")
        )
        counted = several(" {count} token.", " {count} tokens.", answer["tokens"]) if answer["tokens"] > 1 else ""
        named = ", ".join(answer["purposes"])
        until = str(answer["expires_at"])[:10]
        typer.echo(said.format(purposes=named, notice=answer["notice_version"], until=until) + counted)
        if answer["unverified"]:
            typer.echo(
                _(
                    "! A record with a bad signature stands in the way: until the centre replaces it, no event names "
                    "this customer."
                ),
                err=True,
            )
    _hand_over([answer["receipt"]], receipt, quiet=json)


@app.command(
    short_help=_("Withdraw a customer's consent."),
    help=_("""Withdraw a customer's consent, just as it was given. It holds at once.

Every consent of the customer ends, whichever token is presented, and whether it was given here or at the centre.
What waits to be sent about the customer is withdrawn too, visits and stays end, and the centre is told."""),
)
def withdraw(
    config: Config = None,
    *,
    reader: Reader = None,
    receipt: Receipt = None,
    token_from_stdin: TokenFromStdin = False,
    json: Json = False,
) -> None:
    """Withdraw a customer's consent, just as it was given. It holds at once."""
    if receipt is not None:
        _writable(receipt)
    answer = ask_by_token("consent-withdraw", config, reader, from_stdin=int(token_from_stdin))
    if json:
        show_json(answer)
    elif answer["withdrawn"]:
        typer.echo(_("Consent withdrawn. From now on no event names this customer."))
        if answer["possibly_sent"] is None:
            typer.echo(_("! What waits to be sent is withdrawn at the next start: uplink.db is damaged."), err=True)
        elif answer["possibly_sent"]:
            typer.echo(
                several(
                    "{count} earlier event may have been sent already; the centre is told which.",
                    "{count} earlier events may have been sent already; the centre is told which.",
                    answer["possibly_sent"],
                )
            )
    else:
        typer.echo(_("No consent is recorded for this customer; there was nothing to withdraw."))
    if receipt is not None:
        _hand_over(answer["receipts"], receipt, quiet=True)


@app.command(
    short_help=_("Show what is recorded for a customer."),
    help=_("""Show what is recorded for a customer: state, purposes, notice, validity."""),
)
def show(
    config: Config = None, *, reader: Reader = None, token_from_stdin: TokenFromStdin = False, json: Json = False
) -> None:
    """Show what is recorded for a customer: state, purposes, notice, validity."""
    answer = ask_by_token("consent-show", config, reader, from_stdin=int(token_from_stdin))
    records = answer["records"]
    if json:
        show_json(records)
        return
    for record in records:
        typer.echo(_line(record))
    if not records:
        typer.echo(_("No consent is recorded for this customer."))
    if answer["unverified"]:
        typer.echo(
            several(
                "! {count} record bears a bad signature and counts for nothing.",
                "! {count} records bear a bad signature and count for nothing.",
                answer["unverified"],
            ),
            err=True,
        )


def _line(record: dict[str, Any]) -> str:
    until = str(record["expires_at"])[:10] if record["expires_at"] else None
    state, here = _(STATES.get(record["state"], record["state"])), record["source"] == "store"
    where = _("{state} here").format(state=state) if here else _("{state} at the centre").format(state=state)
    purposes = ", ".join(record["purposes"]) or _("no purpose")
    if until is None or record["state"] not in VALID:
        return _("{where}: {purposes}, notice {notice}").format(
            where=where, purposes=purposes, notice=record["notice_version"]
        )
    return _("{where}: {purposes}, notice {notice}, until {until}").format(
        where=where, purposes=purposes, notice=record["notice_version"], until=until
    )


@app.command(
    short_help=_("Write a customer's records (ISO/IEC TS 27560)."),
    help=_("""Write a customer's consent records as JSON, in the form of ISO/IEC TS 27560.

Each has every mandatory field of the specification and the lawful basis of the GDPR; purposes and states are terms
of the W3C Data Privacy Vocabulary; `signed` is the record as its issuer signed it (JWS)."""),
)
def export(config: Config = None, *, reader: Reader = None, token_from_stdin: TokenFromStdin = False) -> None:
    """Write a customer's consent records as JSON, in the form of ISO/IEC TS 27560."""
    show_json(ask_by_token("consent-export", config, reader, from_stdin=int(token_from_stdin))["records"])


@app.command(
    short_help=_("Tell a customer what this gateway holds."),
    help=_("""Tell everything that this gateway holds about the customer who presents the token (GDPR, art. 15).

Consent records, given here or at the centre; events that wait to be sent; open visits and stays; the names under
which the customer's events leave the store, for each key that is here. What was sent already is with the
controller. --json prints all of it for the customer to take home."""),
)
def access(
    config: Config = None, *, reader: Reader = None, token_from_stdin: TokenFromStdin = False, json: Json = False
) -> None:
    """Tell everything that this gateway holds about the customer who presents the token (GDPR, art. 15)."""
    answer = ask_by_token("consent-access", config, reader, from_stdin=int(token_from_stdin))
    if json:
        show_json(answer)
        return
    _tell(_("Consent records"), [_recorded(each) for each in answer["records"]])
    _tell(
        _("Events that wait to be sent"), [f"{each['time']} {each['type'].split('.')[1]}" for each in answer["events"]]
    )
    _tell(_("Open visits at"), answer["visits"])
    _tell(_("Beacon heard in"), answer["presences"])
    _tell(_("Names in the ledger (they stay in the store)"), answer["handles"])
    _tell(
        _("Names under which events leave the store"),
        [_("{pseudonym} for {purpose}").format(**each) for each in answer["pseudonyms"]],
    )
    if answer["unverified"]:
        typer.echo(
            several(
                "{count} record with a bad signature, which counts for nothing.",
                "{count} records with a bad signature, which count for nothing.",
                answer["unverified"],
            )
        )
    typer.echo(_("Nothing else is held here. What was sent is with the controller; --json prints all of it."))


def _recorded(record: dict[str, Any]) -> str:
    processing, last = record["pii_processing"], record["events"][-1]
    purposes = ", ".join(each["purpose_type"] for each in processing["purposes"]) or _("no purpose")
    state = last["event_state"].rpartition("#")[2]
    parts = {
        "state": _(STATES.get(state, state)),
        "day": last["event_time"][:10],
        "purposes": purposes,
        "notice": processing["privacy_notice"]["version"],
        "language": processing["language"],
    }
    if record["source"] == "store":
        return _("{state} {day}: {purposes}, notice {notice} ({language}), from the store").format(**parts)
    return _("{state} {day}: {purposes}, notice {notice} ({language}), from the centre").format(**parts)


def _tell(title: str, lines: list[str]) -> None:
    typer.echo(f"{title}: {'' if lines else _('none')}")
    for line in lines:
        typer.echo(f"  {line}")


def _within(option: str, value: int | None, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        fail(_("{option} takes a whole number from 1 to {most}").format(option=option, most=most), 2)


def _writable(path: Path) -> None:
    """End before anything is recorded, if the receipt could not be written."""
    from gateway.cli.handout import fault

    if wrong := fault(path):
        fail(wrong, 2)


def _hand_over(texts: list[str], path: Path | None, *, quiet: bool) -> None:
    """Print the receipts, and write them where that was asked; what is recorded stays recorded if that fails."""
    from gateway.cli.handout import sheet, write

    if not quiet:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for text in texts:
            typer.echo(f"\n{sheet(text, lit=True, columns=columns)}")
    if path is None or not texts:
        return
    try:
        write(path, texts)
    except OSError as error:
        fail(
            _("It is recorded, but the receipt could not be written: {path}: {strerror}").format(
                path=path, strerror=said(error.strerror)
            )
        )


def ask_by_token(ask: str, config: Config, reader: str | None, *, from_stdin: int, **options: object) -> dict[str, Any]:
    """Ask something about whoever presents a token; `from_stdin` tokens are read instead, for tests."""
    token = [line.strip() for line in (sys.stdin.readline() for _ in range(from_stdin))]
    if not all(token):
        fewer = _("fewer than {count} tokens on standard input").format(count=from_stdin)
        fail(_("no token on standard input") if from_stdin == 1 else fewer, 2)
    request = {"ask": ask, "reader": reader, "token": token or None, **options}
    return ask_gateway(settings_from(config), {name: value for name, value in request.items() if value is not None})
