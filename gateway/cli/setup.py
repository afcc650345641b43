"""`touchpoint setup`: from a bare device to a gateway, by questions or from a file of answers.

The answers are a TOML file with the keys of `Answers`; asked at a terminal, they come from a person. Either way the
configuration is made from them, read as the gateway will read it, and only then written. Other tables in the file, as
`[visit]` or `[[bearer]]`, are the configuration's, and go there as they are.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.answers import AUTHORITY, PASSWORD, REQUEST, Answers, must_be_usable, read, ring_of
from gateway.cli.backup import give
from gateway.cli.command import Config, fail, failures_explained, settings_from
from gateway.cli.files import Force, must_be_new, write
from gateway.cli.interview import interview
from gateway.cli.touchpoints import registry_text
from gateway.language import _, said, several

if TYPE_CHECKING:
    from gateway.config import Settings

HELP = _("""Set this gateway up: who it is, broker, certificate, key ring, readers, registry; then see how it fares.

Asks at a terminal, and offers the readers that are plugged in by name; with --answers FILE it asks nothing. The private
key of the certificate is made here and never leaves the device: what goes to the authority is a request.

Later: --certificate FILE imports the certificate, --renew makes a request for the next one.""")
SERVICE = "touchpoint.target"
HALVES = ("touchpoint-capture.service", "touchpoint-uplink.service")


def setup(  # the options of one command
    config: Config = None,
    *,
    answers: Annotated[
        Path | None, typer.Option("--answers", metavar="FILE", help=_("A TOML file of answers: nothing is asked."))
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="FILE", help=_("Import the certificate that was issued."))
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help=_("Make a request for the next certificate."))] = False,
    force: Force = False,
) -> None:
    """Set this gateway up."""
    if certificate is not None or renew:
        with _explained(), failures_explained():
            _certify(settings_from(config), certificate)
        return
    if answers is None and not somebody_there():
        fail(_("Nobody is there to ask: give the answers with --answers FILE."), 2)
    from gateway.config import find

    path, served = find(config), as_service()
    must_be_new([path], force=force)
    given = interview(path, served=served) if answers is None else read(answers)
    with _explained(), failures_explained():
        _set_up(path, given, served=served)
    begun = _begin(settings_from(path), given, served=served)
    if answers is None and begun:
        _try_readers(settings_from(path))
    _doctor(path)
    if not begun:
        raise typer.Exit(1)


def somebody_there() -> bool:
    """Tell whether a person can be asked."""
    return sys.stdin.isatty()


def as_service() -> bool:
    """Tell whether the package's services are there, and root asks, who may set them up and start them."""
    from gateway.doctor.users import runs_as

    user = "touchpoint-capture"
    return os.geteuid() == 0 and runs_as(user).name == user


@contextmanager
def _explained() -> Iterator[None]:
    from gateway.enrolment import EnrolmentError

    try:
        yield
    except EnrolmentError as error:
        fail(said(error))


def _set_up(path: Path, answers: Answers, *, served: bool) -> None:
    """Write the configuration if the gateway could use it; then what it names. Raises ConfigError, OSError."""
    text = must_be_usable(path, answers, served=served)
    if answers.ca:  # where both units see it, unlike a stick or somebody's home
        write(path.parent / AUTHORITY, (path.parent / answers.ca).read_bytes())
    write(path, text.encode())
    settings = settings_from(path)
    for file in filter(None, (path, settings.mqtt.ca)):
        give(settings, file)
    typer.echo(_("{file}: written.").format(file=path))
    settings.gateway.state.mkdir(parents=True, exist_ok=True)
    if answers.password:
        _keep_password(settings, answers.password)
    if answers.ring:
        _bring_ring(settings, Path(answers.ring))
    if answers.certificate:
        _certify(settings, None)


def _begin(settings: "Settings", answers: Answers, *, served: bool) -> bool:
    """Start the services and import the touchpoints; if that fails, say so and return False: the doctor knows more."""
    try:
        with failures_explained():
            if served:
                _start()
            if answers.registry:
                _import(settings, Path(answers.registry))
    except typer.Exit:
        if answers.registry:
            told = _("Once that is mended: touchpoint touchpoints import {file}")
            typer.echo(told.format(file=answers.registry), err=True)
        return False
    return True


def _start() -> None:
    """Have systemd start both halves, or start them again."""
    import subprocess

    typer.echo(_("Starting the gateway…"), err=True)
    restart = ("systemctl", "restart", SERVICE)
    started = subprocess.run(restart, check=False, capture_output=True, text=True)  # noqa: S603  # our own command
    if started.returncode != 0:
        fail(_("{service} did not start: {reason}").format(service=SERVICE, reason=started.stderr.strip()))
    for half in HALVES:
        ask = ("systemctl", "--quiet", "is-active", half)
        if subprocess.run(ask, check=False).returncode != 0:  # noqa: S603  # as above
            fail(_("{service} did not start: {reason}").format(service=half, reason=f"journalctl -u {half}"))


def _keep_password(settings: "Settings", password: str) -> None:
    """Write it where only the uplink half can read it. Raises KeyFileError."""
    from gateway.keys import replace_secret, write_secret

    path = Path(settings.mqtt.password_file or PASSWORD)
    (replace_secret if path.exists() else write_secret)(path, password)
    give(settings, path)


def _bring_ring(settings: "Settings", source: Path) -> None:
    """Copy a key ring to where the configuration wants it, if it is this site's. Raises KeyFileError, ConfigError."""
    from gateway.keys import key_ring, replace_secret, write_secret

    ring, target = ring_of(settings, source), settings.pseudonym.path
    if target is not None:
        (replace_secret if target.exists() else write_secret)(target, ring.to_json())
        give(settings, target)
        key_ring(settings)
        typer.echo(_("{file}: the key ring. Destroy the copy that it came from.").format(file=target))


def _certify(settings: "Settings", certificate: Path | None) -> None:
    """Make a request, or import what was issued. Raises EnrolmentError, KeyFileError, OSError."""
    from gateway.clock import Clock
    from gateway.config import next_key
    from gateway.core.event import rfc3339
    from gateway.enrolment import install, request

    if certificate is None:
        file = settings.file.parent / REQUEST
        write(file, request(settings))
        for key in (settings.mqtt.key, settings.mqtt.key and next_key(settings.mqtt.key)):
            if key is not None and key.exists():
                give(settings, key)
        told = _("{file}: have a certificate issued for it, then: touchpoint setup --certificate FILE")
        typer.echo(told.format(file=file))
        return
    until_ms = install(settings, certificate.read_bytes(), Clock(settings.clock.source).now().wall_ms)
    if settings.mqtt.certificate is not None:
        give(settings, settings.mqtt.certificate)
    told = _("{file}: in place, valid until {until}. touchpoint doctor says 30 days before that it expires.")
    typer.echo(told.format(file=settings.mqtt.certificate, until=rfc3339(until_ms)))


def _import(settings: "Settings", registry: Path) -> None:
    from gateway.cli.command import ask_gateway

    changes = ask_gateway(settings, {"ask": "registry-import", "csv": registry_text(registry, settings)})
    typer.echo(several("{count} touchpoint imported.", "{count} touchpoints imported.", changes["added"]))


def _doctor(path: Path) -> None:
    """Have the doctor look at it; end with status 1 if a person is needed."""
    from gateway.cli.doctor import examined, show
    from gateway.doctor.finding import needs_a_person

    findings = examined(path)
    show(findings)
    if needs_a_person(findings):
        raise typer.Exit(1)


def _try_readers(settings: "Settings") -> None:
    """Offer to try each reader out: what it reads is said without showing whose it is."""
    import subprocess

    for reader in settings.readers:
        if reader.kind != "ble" and typer.confirm(_("Try {name} out now?").format(name=reader.name), default=True):
            ours = (sys.executable, "-m", "gateway", "readers", "test", reader.name, "--config", str(settings.file))
            subprocess.run(ours, check=False)  # noqa: S603  # our own command
