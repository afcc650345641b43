"""All commands, as `touchpoint --help` lists them.

A command's module imports what it needs when it runs, so that `--help` and tab completion answer at once.
"""

from typing import Annotated, Literal

import typer

from gateway.cli import (
    audit,
    backup,
    beacons,
    check,
    codes,
    consent,
    cues,
    demo,
    diagnose,
    doctor,
    erase,
    keys,
    outbox,
    readers,
    replay,
    run,
    schema,
    setup,
    status,
    tags,
    touchpoints,
    training,
    wipe,
)
from gateway.cli.words import Group
from gateway.language import _

app = typer.Typer(
    name="touchpoint",
    cls=Group,
    help=_("""The touchpoint gateway: BLE beacons, NFC tags and QR scans in the store become consented, pseudonymized
events at the brand's MQTT broker.

To see it work: touchpoint demo

To set up a gateway: touchpoint setup. To see how it fares: touchpoint status, touchpoint doctor.

Notes on devices and settings: /usr/share/doc/touchpoint-gateway"""),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:  # noqa: FBT001 -- as Typer calls it
    if asked:
        from importlib.metadata import version

        typer.echo(f"touchpoint {version('touchpoint-gateway')}")
        raise typer.Exit


@app.callback()
def touchpoint(
    *,
    lang: Annotated[  # read in gateway.__main__, before any text is
        Literal["de", "fr", "en"] | None,
        typer.Option("--lang", help=_("The language of what is said here; else that of $LANG.")),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help=_("Say which version this is."))
    ] = False,
) -> None:
    """Take what stands before the command."""
    del lang, version


app.command(short_help=_("Watch a boutique's day in 20 seconds."), help=demo.HELP)(demo.demo)
app.command(short_help=_("Play recorded sightings through the same path."), help=replay.HELP)(replay.replay)
app.command(short_help=_("Check the configuration before a start."), help=check.HELP)(check.check)
app.command(short_help=_("Set this gateway up, step by step."), help=setup.HELP)(setup.setup)
app.command(short_help=_("Say all that is wrong, and how to fix it."), help=doctor.HELP)(doctor.doctor)
app.command(short_help=_("Make an archive for support."), help=diagnose.HELP)(diagnose.diagnose)
app.command(short_help=_("Back this gateway up, encrypted."), help=backup.BACKUP_HELP)(backup.backup)
app.command(short_help=_("Make this device the gateway of a backup."), help=backup.RESTORE_HELP)(backup.restore)
app.command(short_help=_("Run the gateway: both halves."), help=run.RUN_HELP)(run.run)
app.command(short_help=_("Run the capture half alone: no network."), help=run.CAPTURE_HELP)(run.capture)
app.command(short_help=_("Run the uplink half alone: no devices, no keys."), help=run.UPLINK_HELP)(run.uplink)
app.command(short_help=_("Show readers, outbox, broker and counters."), help=status.HELP)(status.status)
app.add_typer(readers.app, name="readers", short_help=_("Readers: how they fare, what they read."))
app.add_typer(touchpoints.app, name="touchpoints", short_help=_("Touchpoints of the store, and how they are used."))
app.add_typer(training.app, name="training", short_help=_("Mark what staff try out as tests, for an hour."))
app.add_typer(beacons.app, name="beacons", short_help=_("Beacons: what is heard, which are the store's."))
app.add_typer(codes.app, name="codes", short_help=_("Printed codes of touchpoints."))
app.add_typer(tags.app, name="tags", short_help=_("NFC tags of touchpoints."))
app.add_typer(consent.app, name="consent", short_help=_("Consent at the counter, by presenting the token."))
app.command(short_help=_("Remove what is held about a customer."), help=erase.HELP)(erase.erase)
app.command(short_help=_("Follow what to show at the touchpoints."), help=cues.HELP)(cues.cues)
app.add_typer(outbox.app, name="outbox", short_help=_("Events on their way to the broker."))
app.add_typer(audit.app, name="audit", short_help=_("Who did what, and proof of it."))
app.add_typer(keys.app, name="keys", short_help=_("Keys of pseudonyms."))
app.command(short_help=_("Remove keys and databases from this gateway."), help=wipe.HELP)(wipe.wipe)
app.command(short_help=_("Print the JSON Schemas of every message."), help=schema.HELP)(schema.schema)
