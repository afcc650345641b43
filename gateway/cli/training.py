"""`touchpoint training`: staff try things out without being taken for customers."""

from typing import Annotated

import typer

from gateway.cli.command import Config, Json, ask_gateway, settings_from, show_json
from gateway.language import _, several

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=_("""Try things out in the store without being taken for customers.

While a training lasts, every event says "test": true, whoever makes it, and nothing counts as the use of a touchpoint.
It ends by itself after an hour, also if the gateway is started again meanwhile. Consents are real all the same."""),
)


@app.command(
    short_help=_("Mark every event as a test, for an hour."),
    help=_(
        """Mark every event as a test from now on, for an hour or less. Asked again, it lasts that long from then on."""
    ),
)
def on(
    config: Config = None,
    *,
    minutes: Annotated[int, typer.Option(min=1, max=60, help=_("How long; at most an hour."))] = 60,
    json: Json = False,
) -> None:
    """Mark every event as a test, for an hour."""
    _tell({"ask": "training-on", "minutes": minutes}, config, json=json)


@app.command(short_help=_("End the training now."), help=_("""End the training now: what is tapped next is real."""))
def off(config: Config = None, *, json: Json = False) -> None:
    """End the training now."""
    _tell({"ask": "training-off"}, config, json=json)


@app.command(
    short_help=_("Say whether a training lasts."), help=_("""Say whether a training lasts, and how long yet.""")
)
def status(config: Config = None, *, json: Json = False) -> None:
    """Say whether a training lasts."""
    _tell({"ask": "training-status"}, config, json=json)


def _tell(request: dict[str, object], config: Config, *, json: bool) -> None:
    said = ask_gateway(settings_from(config), request)
    if json:
        show_json({"training": said["seconds"] > 0, "seconds": said["seconds"]})
    else:
        typer.echo(lasting(said["seconds"]))


def lasting(seconds: int) -> str:
    """Say how long a training lasts yet."""
    if not seconds:
        return _("No training: what is tapped counts.")
    return several(
        "Training: events are marked as tests for {count} minute more, then they count again by themselves.",
        "Training: events are marked as tests for {count} minutes more, then they count again by themselves.",
        -(-seconds // 60),
    )
