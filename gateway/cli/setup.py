"""`touchpoint setup`: from a bare device to a gateway, by questions or from a file of answers.

The answers are a TOML file with the keys of `Answers`; asked at a terminal, they come from a person. Either way the
configuration is made from them, read as the gateway will read it, and only then written. Other tables in the file, as
`[visit]` or `[[bearer]]`, are the configuration's, and go there as they are.
"""

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.backup import give
from gateway.cli.command import Config, fail, failures_explained, settings_from
from gateway.cli.files import Force, must_be_new, write
from gateway.cli.touchpoints import registry_text
from gateway.language import _, said, several

if TYPE_CHECKING:
    from gateway.config import Settings
    from gateway.core.pseudonym import KeyRing
    from gateway.doctor.readers import Candidate

HELP = _("""Set this gateway up: who it is, broker, certificate, key ring, readers, registry; then see how it fares.

Asks at a terminal, and offers the readers that are plugged in by name; with --answers FILE it asks nothing. The private
key of the certificate is made here and never leaves the device: what goes to the authority is a request.

Later: --certificate FILE imports the certificate, --renew makes a request for the next one.""")
PRIVATE_KEY, CERTIFICATE, REQUEST, AUTHORITY = "gateway.key", "gateway.pem", "gateway.csr", "ca.pem"
"""What lies beside the configuration."""
SERVICE = "touchpoint.target"
HALVES = ("touchpoint-capture.service", "touchpoint-uplink.service")
SERVED = {"runtime": "/run/touchpoint", "private": "/var/lib/touchpoint-capture", "group": "touchpoint"}
"""Where the units want it; see systemd/touchpoint.tmpfiles.conf."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What has to be known of a gateway; empty text stands for no answer."""

    tenant: str
    site: str
    id: str
    host: str
    port: int = 0
    """0: as MQTT has it."""
    ca: str = ""
    certificate: bool = False
    """Whether the broker wants a certificate of the gateway."""
    time_zone: str = ""
    state: str = ""
    ring: str = ""
    """A key ring to bring in."""
    registry: str = ""
    """A file of touchpoints to import."""
    readers: tuple[Mapping[str, Any], ...] = ()
    """Tables as in the configuration."""
    more: Mapping[str, Mapping[str, Any] | Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Other tables of the configuration, by name, that no question asks for."""


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

    path = find(config)
    must_be_new([path], force=force)
    given = _asked() if answers is None else _read(answers)
    with _explained(), failures_explained():
        _set_up(path, given)
    if answers is None:
        _try_readers(settings_from(path))
    _doctor(path)


def somebody_there() -> bool:
    """Tell whether a person can be asked."""
    return sys.stdin.isatty()


def as_service() -> bool:
    """Tell whether the package's services are there, and root asks, who may set them up and start them."""
    from gateway.doctor.users import runs_as

    user = "touchpoint-capture"
    return os.geteuid() == 0 and runs_as(user).name == user


def configuration(answers: Answers, *, served: bool = False) -> str:
    """Return the configuration that says this, with what is not answered left at its default.

    `served`: for the services of the package, unless the answers name a state directory of their own.
    """
    from gateway.config.problem import toml

    gateway = {"tenant": answers.tenant, "site": answers.site, "id": answers.id}
    gateway |= SERVED if served and not answers.state else {}
    gateway |= {name: text for name in ("state", "time_zone") if (text := getattr(answers, name))}
    mqtt: dict[str, object] = {"host": answers.host}
    if answers.port:
        mqtt["port"] = answers.port
    if answers.ca:
        mqtt["ca"] = AUTHORITY
    if answers.certificate:
        mqtt |= {"certificate": CERTIFICATE, "key": PRIVATE_KEY}
    asked: dict[str, Mapping[str, object]] = {"gateway": gateway, "mqtt": mqtt}
    if answers.ring:
        asked["pseudonym"] = {"keys": "./keys.json"}
    tables: list[tuple[str, Mapping[str, object]]] = []
    for name, given in {**asked, "reader": answers.readers, **answers.more}.items():
        if isinstance(given, Mapping):
            tables.append((f"[{name}]", {**given, **asked.get(name, {})}))
        else:
            tables += [(f"[[{name}]]", each) for each in given]
    lines = [_("# Written by touchpoint setup. Every key there is: config/gateway.toml")]
    for header, table in tables:
        lines += ["", header, *(f"{key} = {toml(value)}" for key, value in table.items())]
    return "\n".join([*lines, ""])


def answered(document: Mapping[str, Any]) -> Answers:
    """Read a document of answers. Raises ValueError that says what is missing or unknown."""
    questions = {each.name for each in fields(Answers)} - {"readers", "more"}
    tables = {name: value for name, value in document.items() if name not in questions and _is_table(value)}
    if unknown := sorted(document.keys() - questions - tables.keys() - {"reader"}):
        raise ValueError(_("these answers belong to no question: {names}").format(names=", ".join(unknown)))
    needed = ("tenant", "site", "id", "host")
    if missing := [name for name in needed if not isinstance(document.get(name), str)]:
        raise ValueError(_("these questions have no answer: {names}").format(names=", ".join(missing)))
    types = {"port": int, "certificate": bool}
    given = {name: value for name, value in document.items() if name in questions}
    if wrong := [name for name, value in given.items() if type(value) is not types.get(name, str)]:
        raise ValueError(_("these answers are of another kind than expected: {names}").format(names=", ".join(wrong)))
    readers = document.get("reader", [])
    if not isinstance(readers, list) or not _is_table(readers):
        raise ValueError(_("readers are tables, each begun with [[reader]]"))
    tables.pop("reader", None)
    return Answers(**given, readers=tuple(readers), more=tables)


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and all(isinstance(each, dict) for each in value))


def _read(path: Path) -> Answers:
    try:
        return answered(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        fail(f"{path}: {said(error.strerror)}")
    except ValueError as error:
        fail(f"{path}: {error}", 2)


@contextmanager
def _explained() -> Iterator[None]:
    from gateway.enrolment import EnrolmentError

    try:
        yield
    except EnrolmentError as error:
        fail(said(error))


def _set_up(path: Path, answers: Answers) -> None:
    """Write the configuration if the gateway could use it; then what it names. Raises ConfigError, OSError."""
    served = as_service()
    text = configuration(answers, served=served)
    authority = (path.parent / answers.ca).read_bytes() if answers.ca else b""
    _must_be_usable(path, text, answers, authority)
    if answers.ca:  # where both units see it, unlike a stick or somebody's home
        write(path.parent / AUTHORITY, authority)
    write(path, text.encode())
    settings = settings_from(path)
    for file in filter(None, (path, settings.mqtt.ca)):
        give(settings, file)
    typer.echo(_("{file}: written.").format(file=path))
    settings.gateway.state.mkdir(parents=True, exist_ok=True)
    if answers.ring:
        _bring_ring(settings, Path(answers.ring))
    if answers.certificate:
        _certify(settings, None)
    if served:
        _start()
    if answers.registry:
        _import(settings, Path(answers.registry))


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


def _must_be_usable(path: Path, text: str, answers: Answers, authority: bytes) -> None:
    """End with what is wrong in a configuration, or in what is to be brought in, before anything is written."""
    import tempfile

    from gateway.config import EXIT_CONFIG, ConfigError, load

    with tempfile.TemporaryDirectory(prefix="touchpoint-") as directory:
        draft = Path(directory, path.name)
        draft.write_text(text, encoding="utf-8")
        draft.with_name(AUTHORITY).write_bytes(authority)
        try:
            settings = load(draft)
        except ConfigError as error:
            problems = "\n".join(
                ": ".join(filter(None, (each.key, said(each.wrong), each.hint and said(each.hint))))
                for each in error.problems
            )
            fail(
                _("Nothing was written, since an answer is of no use:\n{problems}").format(problems=problems),
                EXIT_CONFIG,
            )
    if answers.ring:
        _ring_of(settings, Path(answers.ring))
    if answers.registry:
        registry_text(Path(answers.registry), settings)


def _ring_of(settings: "Settings", source: Path) -> "KeyRing":
    """Read a key ring, or end if it is another site's. Raises KeyFileError."""
    from gateway.keys import read_ring

    ring = read_ring(source)
    if (ring.tenant, ring.site) != (settings.gateway.tenant, settings.gateway.site):
        told = _("{file} is the key ring of {tenant}/{site}, and this gateway stands elsewhere.")
        fail(told.format(file=source, tenant=ring.tenant, site=ring.site))
    return ring


def _bring_ring(settings: "Settings", source: Path) -> None:
    """Copy a key ring to where the configuration wants it, if it is this site's. Raises KeyFileError, ConfigError."""
    from gateway.keys import key_ring, replace_secret, write_secret

    ring, target = _ring_of(settings, source), settings.pseudonym.path
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


def _asked() -> Answers:
    """Ask a person at the terminal."""
    from gateway.doctor.readers import candidates

    said = {
        "tenant": typer.prompt(_("Tenant: the brand, as in the topics")),
        "site": typer.prompt(_("Site: the store, as in the topics")),
        "id": typer.prompt(_("This gateway; unique within the tenant"), default="gw-1"),
        "host": typer.prompt(_("Broker: name or address")),
    }
    ca = typer.prompt(_("File of the authority that signed the broker's certificate; empty: unencrypted"), default="")
    certificate = bool(ca) and typer.confirm(_("Does the broker want a certificate of this gateway?"), default=True)
    return Answers(
        **said,
        ca=ca and str(Path(ca).resolve()),
        certificate=certificate,
        time_zone=typer.prompt(_("Time zone of the store"), default="Europe/Zurich"),
        ring=typer.prompt(_("File of the site's key ring; empty: later"), default=""),
        registry=typer.prompt(_("File of touchpoints (CSV); empty: later"), default=""),
        readers=tuple(_chosen(candidates())),
    )


def _chosen(found: "Sequence[Candidate]") -> "list[dict[str, Any]]":
    """Offer the readers that are there, by name, and ask where each stands."""
    chosen: list[dict[str, Any]] = []
    if not found:
        typer.echo(_("No reader is plugged in; add [[reader]] tables to the configuration later."))
    for number, each in enumerate(found, 1):
        if not typer.confirm(_("{label}: is it a reader of this store?").format(label=each.label), default=True):
            continue
        name = typer.prompt(_("Its name, in events and in touchpoint status"), default=f"{each.kind}-{number}")
        if each.kind == "ble":
            zone = typer.prompt(_("The zone that it covers"))
            chosen.append({"name": name, "kind": each.kind, "adapter": each.device, "zone": zone})
        else:
            touchpoint = typer.prompt(_("The touchpoint at which it stands"))
            chosen.append({"name": name, "kind": each.kind, "device": each.device, "touchpoint": touchpoint})
    return chosen


def _try_readers(settings: "Settings") -> None:
    """Offer to try each reader out: what it reads is said without showing whose it is."""
    import subprocess

    for reader in settings.readers:
        if reader.kind != "ble" and typer.confirm(_("Try {name} out now?").format(name=reader.name), default=True):
            ours = (sys.executable, "-m", "gateway", "readers", "test", reader.name, "--config", str(settings.file))
            subprocess.run(ours, check=False)  # noqa: S603  # our own command
