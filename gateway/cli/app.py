"""All commands, as `touchpoint --help` lists them.

A command's module imports what it needs when it runs, so that `--help` and tab completion answer at once.
"""

import typer

from gateway.cli import check, consent, demo, keys, outbox, registry, replay, run, schema, status

app = typer.Typer(
    name="touchpoint",
    help="""The touchpoint gateway: BLE beacons, NFC tags and QR scans in the store become consented, pseudonymized
events at the brand's MQTT broker.

To see it work: touchpoint demo

To set up a gateway: write /etc/touchpoint/gateway.toml (start from config/gateway.toml), then
touchpoint check, touchpoint registry import FILE, touchpoint run.""",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SEE, RUN, STORE, CENTRE = "See it work", "Run it", "In the store", "For the centre"

app.command(rich_help_panel=SEE)(demo.demo)
app.command(rich_help_panel=SEE)(replay.replay)
app.command(rich_help_panel=RUN)(check.check)
app.command(rich_help_panel=RUN)(run.run)
app.command(rich_help_panel=RUN)(run.capture)
app.command(rich_help_panel=RUN)(run.uplink)
app.command(rich_help_panel=RUN)(status.status)
app.add_typer(outbox.app, name="outbox", rich_help_panel=RUN)
app.add_typer(registry.app, name="registry", rich_help_panel=STORE)
app.add_typer(consent.app, name="consent", rich_help_panel=STORE)
app.add_typer(keys.app, name="keys", rich_help_panel=CENTRE)
app.command(rich_help_panel=CENTRE)(schema.schema)
