"""`touchpoint backup`, `touchpoint restore`: a new device takes over from another."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.command import Config, fail, failures_explained, settings_from
from gateway.cli.files import Force, must_be_new, write
from gateway.language import _, said

if TYPE_CHECKING:
    from gateway.backup import Backup, Restored
    from gateway.config import Settings

BACKUP_HELP = _("""Write configuration, keys, certificates, registry and inventory to one encrypted file.

With a passphrase, or for the public key of whoever keeps it (age1...): the file is one of age (age-encryption.org),
which opens it too. Events and consents are not in it. With --hand-over this device does not start again afterwards, so
that it does not fight with the new one; stop it first, when nothing waits to be sent any more.""")
RESTORE_HELP = _("""Make this device the gateway of which this is a backup.

Everything is verified before anything is written, and what is there is not written over without --force. The new device
begins a session of its own, whose first event is a gap that names the one before. See to it that the old one is off:
touchpoint backup --hand-over, or touchpoint wipe.""")
GROUP = "touchpoint"
"""What both halves are members of (systemd/touchpoint.sysusers.conf)."""
SHORTEST = 12
"""Characters of a passphrase: whoever finds the file can try as many as they like."""

Passphrase = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="FILE", help=_("The passphrase, in the first line; else it is asked for.")
    ),
]


def backup(  # the options of one command
    file: Annotated[Path, typer.Argument(metavar="FILE.age", help=_("The file to write."))],
    config: Config = None,
    *,
    recipient: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="age1...", help=_("A public key that opens it; may be repeated.")),
    ] = None,
    passphrase_file: Passphrase = None,
    hand_over: Annotated[
        bool, typer.Option("--hand-over", help=_("This device does not start again: another takes over."))
    ] = False,
    force: Force = False,
) -> None:
    """Write everything that a new device needs to one encrypted file."""
    settings = settings_from(config)
    must_be_new([file], force=force)
    passphrase = None if recipient else _new_passphrase(passphrase_file)
    with _explained(), failures_explained():
        if hand_over:
            _hand_over(settings, file, passphrase, recipient or [])
        else:
            _write(settings, file, passphrase, recipient or [], ended=False)
    _tell_sealed(settings)
    typer.echo(_("{file}: verified. Keep it where neither this device nor a thief of it is.").format(file=file))


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE.age", help=_("The backup."))],
    config: Config = None,
    *,
    identity: Annotated[
        Path | None, typer.Option("--identity", metavar="KEY", help=_("The file of the secret key that opens it."))
    ] = None,
    passphrase_file: Passphrase = None,
    force: Force = False,
) -> None:
    """Make this device the gateway of which this is a backup."""
    from gateway.backup import plan
    from gateway.config import find

    with _explained(), failures_explained():
        held = _opened(file, identity, passphrase_file)
        planned = plan(held, find(config))
        if (there := planned.in_the_way()) and not force:
            told = _(
                "There already, and not written over: {files}. Use --force; databases are kept under another name."
            )
            fail(told.format(files=", ".join(map(str, there))))
        _put_in_place(held, planned)
    gateway = held.manifest
    told = _("This is gateway {tenant}/{site}/{id} now. Before it starts: touchpoint doctor")
    typer.echo(told.format(tenant=gateway.tenant, site=gateway.site, id=gateway.id))


def _tell_sealed(settings: "Settings") -> None:
    """Say which keys are not in a backup, since systemd holds them."""
    from gateway.keys import sealed

    if held := sealed(settings):
        told = _("NOT in it, since systemd gives them to the services alone: {names}. Keep what they were made from.")
        typer.echo(told.format(names=", ".join(f"{setting} ({name})" for setting, name in held.items())), err=True)


@contextmanager
def _explained() -> Iterator[None]:
    from gateway.age import AgeError
    from gateway.backup import BackupError

    try:
        yield
    except AgeError as error:
        fail(_("The backup cannot be opened: {reason}.").format(reason=said(error)))
    except BackupError as error:
        fail(said(error))


def _write(settings: "Settings", file: Path, passphrase: str | None, recipients: list[str], *, ended: bool) -> None:
    """Collect, verify what a restore would verify, encrypt, and write. Raises BackupError, AgeError, StoreError."""
    from gateway.age import encrypt
    from gateway.backup import collect, plan, read
    from gateway.clock import Clock

    _say(_("Collecting ..."))
    archive = collect(settings, Clock(settings.clock.source).now().wall_ms, ended=ended)
    plan(read(archive), settings.file)
    _say(_("Encrypting ..."))
    write(file, encrypt(archive, passphrase=passphrase, recipients=recipients))
    file.chmod(0o600)


def _hand_over(settings: "Settings", file: Path, passphrase: str | None, recipients: list[str]) -> None:
    """Back up a gateway that is stopped, and keep it from starting. Raises like `_write`."""
    from contextlib import closing

    from gateway.handover import mark
    from gateway.store.backlog import Backlog
    from gateway.store.database import HeldError
    from gateway.wipe import stopped

    state = settings.gateway.state
    try:
        with stopped(state):
            with closing(Backlog(state)) as backlog:
                waiting = backlog.waiting()
            if waiting:
                told = _(
                    "{count} events wait to be sent; start the gateway until they are gone, or leave out --hand-over."
                )
                fail(told.format(count=waiting))
            _write(settings, file, passphrase, recipients, ended=True)
            mark(state).touch()
    except HeldError:
        fail(_("The gateway runs: stop it first (systemctl stop touchpoint.target). Nothing was written."))
    typer.echo(_("This device does not start again. What is on it goes with: touchpoint wipe"))


def _put_in_place(held: "Backup", planned: "Restored") -> None:
    """Write everything, with both halves kept from starting meanwhile."""
    from gateway.backup import write as put
    from gateway.clock import Clock
    from gateway.handover import mark
    from gateway.store.database import HeldError
    from gateway.wipe import stopped

    state = planned.settings.gateway.state
    try:
        with stopped(state):
            for path in put(held, planned, Clock().now().wall_ms):
                give(planned.settings, path)
                typer.echo(str(path))
            mark(state).unlink(missing_ok=True)
    except HeldError:
        fail(_("The gateway runs: stop it first (systemctl stop touchpoint.target). Nothing was written."))


def give(settings: "Settings", path: Path) -> None:
    """Give a file to the half that needs it, where the services have users of their own and root restores."""
    from shutil import chown

    from gateway.config import next_key
    from gateway.doctor.users import runs_as

    mqtt = settings.mqtt
    for_uplink = {mqtt.ca, mqtt.certificate, mqtt.key, settings.gateway.state / "uplink.db"}
    for_uplink |= {next_key(mqtt.key)} if mqtt.key else set()
    half = "uplink" if path in for_uplink or str(path) == mqtt.password_file else "capture"
    user = f"touchpoint-{half}"
    if os.geteuid() != 0 or runs_as(user).name != user:
        return
    if path == settings.file:
        chown(path, "root", GROUP)
        path.chmod(0o640)
        return
    chown(path, user, GROUP)
    if path.suffix == ".db":
        path.chmod(0o660)


def _opened(file: Path, identity: Path | None, passphrase_file: Path | None) -> "Backup":
    """Decrypt and verify a backup. Raises AgeError, BackupError, OSError."""
    from gateway.age import decrypt, needs_passphrase
    from gateway.backup import read

    sealed = file.read_bytes()
    if needs_passphrase(sealed):
        passphrase = _read_passphrase(passphrase_file) or typer.prompt(_("Passphrase"), hide_input=True, err=True)
        _say(_("Decrypting ..."))
        return read(decrypt(sealed, passphrase=passphrase))
    if identity is None:
        fail(_("This backup is encrypted for a public key: name the file of the secret key with --identity."), 2)
    lines = identity.read_text(encoding="utf-8", errors="replace").splitlines()
    secret = next((line.strip() for line in lines if line.startswith("AGE-SECRET-KEY-")), "")
    return read(decrypt(sealed, identity=secret))


def _read_passphrase(file: Path | None) -> str | None:
    if file is None:
        return None
    with failures_explained():
        return file.read_text(encoding="utf-8", errors="replace").partition("\n")[0].rstrip("\r")


def _new_passphrase(file: Path | None) -> str:
    """Return a passphrase that is long enough; asked for twice, if no file holds it."""
    asked = _read_passphrase(file)
    if asked is None:
        asked = str(typer.prompt(_("New passphrase"), hide_input=True, confirmation_prompt=True, err=True))
    if len(asked) < SHORTEST:
        fail(_("A passphrase needs {count} characters at least: five words, for example.").format(count=SHORTEST))
    return asked


def _say(what: str) -> None:
    """Say on a terminal what takes its time."""
    if sys.stderr.isatty():
        typer.echo(what, err=True)
