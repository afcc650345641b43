"""All commands, as `touchpoint --help` lists them.

A command's module imports what it needs when it runs, so that `--help` and tab completion answer at once.
"""

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
from gateway.language import _

app = typer.Typer(
    name="touchpoint",
    help="""The touchpoint gateway: BLE beacons, NFC tags and QR scans in the store become consented, pseudonymized
events at the brand's MQTT broker.

To see it work: touchpoint demo

To set up a gateway: write /etc/touchpoint/gateway.toml (start from config/gateway.toml), then
touchpoint check, touchpoint touchpoints import FILE, touchpoint run.""",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command(short_help="Watch a boutique's day in 20 seconds.")(demo.demo)
app.command(short_help="Play recorded sightings through the same path.")(replay.replay)
app.command(short_help="Check the configuration before a start.")(check.check)
app.command(short_help=_("Set this gateway up, step by step."), help=setup.HELP)(setup.setup)
app.command(short_help=_("Say all that is wrong, and how to fix it."), help=doctor.HELP)(doctor.doctor)
app.command(short_help=_("Make an archive for support."), help=diagnose.HELP)(diagnose.diagnose)
app.command(short_help=_("Back this gateway up, encrypted."), help=backup.BACKUP_HELP)(backup.backup)
app.command(short_help=_("Make this device the gateway of a backup."), help=backup.RESTORE_HELP)(backup.restore)
app.command(short_help="Run the gateway: both halves.")(run.run)
app.command(short_help="Run the capture half alone: no network.")(run.capture)
app.command(short_help="Run the uplink half alone: no devices, no keys.")(run.uplink)
app.command(short_help="Show readers, outbox, broker and counters.")(status.status)
app.add_typer(readers.app, name="readers", short_help="Readers: how they fare, what they read.")
app.add_typer(touchpoints.app, name="touchpoints", short_help="Touchpoints of the store, and how they are used.")
app.add_typer(training.app, name="training", short_help="Mark what staff try out as tests, for an hour.")
app.add_typer(beacons.app, name="beacons", short_help=_("Beacons: what is heard, and which are the store's."))
app.add_typer(codes.app, name="codes", short_help="Printed codes of touchpoints.")
app.add_typer(tags.app, name="tags", short_help=_("NFC tags of touchpoints."))
app.add_typer(consent.app, name="consent", short_help="Consent at the counter, by presenting the token.")
app.command(short_help="Remove what is held about a customer.")(erase.erase)
app.command(short_help="Follow what to show at the touchpoints.")(cues.cues)
app.add_typer(outbox.app, name="outbox", short_help="Events on their way to the broker.")
app.add_typer(audit.app, name="audit", short_help="Who did what, and proof of it.")
app.add_typer(keys.app, name="keys", short_help="Keys of pseudonyms.")
app.command(short_help="Remove keys and databases from this gateway.")(wipe.wipe)
app.command(short_help="Print the JSON Schemas of every message.")(schema.schema)
