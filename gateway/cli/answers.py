"""What `touchpoint setup` has to know of a gateway: read from a file, judged, and made into a configuration."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gateway.cli.command import fail
from gateway.cli.touchpoints import registry_text
from gateway.language import _, said

if TYPE_CHECKING:
    from gateway.config import Problem, Settings
    from gateway.core.pseudonym import KeyRing

PRIVATE_KEY, CERTIFICATE, REQUEST, AUTHORITY = "gateway.key", "gateway.pem", "gateway.csr", "ca.pem"
PASSWORD = "mqtt.password"  # noqa: S105 -- a file's name
"""What lies beside the configuration."""
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
    username: str = ""
    """At the broker."""
    password: str = field(default="", repr=False)
    """Only ever typed: in a file of answers `[mqtt] password_file` names the file that holds it."""
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


def configuration(answers: Answers, *, served: bool = False) -> str:
    """Return the configuration that says this, with what is not answered left at its default.

    `served`: for the services of the package, unless the answers name a state directory of their own.
    """
    from gateway.config.problem import toml

    gateway = {"tenant": answers.tenant, "site": answers.site, "id": answers.id}
    gateway |= SERVED if served and not answers.state else {}
    gateway |= {name: text for name in ("state", "time_zone") if (text := getattr(answers, name))}
    asked: dict[str, Mapping[str, object]] = {"gateway": gateway, "mqtt": _mqtt(answers)}
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


def _mqtt(answers: Answers) -> dict[str, object]:
    pair = {"certificate": CERTIFICATE, "key": PRIVATE_KEY} if answers.certificate else {}
    given = {
        "port": answers.port,
        "ca": answers.ca and AUTHORITY,
        "username": answers.username,
        "password_file": answers.password and f"./{PASSWORD}",
    }
    return {"host": answers.host} | {name: value for name, value in given.items() if value} | pair


def answered(document: Mapping[str, Any]) -> Answers:
    """Read a document of answers. Raises ValueError that says what is missing or unknown."""
    questions = {each.name for each in fields(Answers)} - {"readers", "more", "password"}
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


def read(path: Path) -> Answers:
    """Read a file of answers, or end with what is wrong with it."""
    try:
        return answered(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        fail(f"{path}: {said(error.strerror)}")
    except ValueError as error:
        fail(f"{path}: {error}", 2)


def must_be_usable(path: Path, answers: Answers, *, served: bool) -> str:
    """Return the configuration at `path` that says this, or end with what is wrong with it or what is to be brought in.

    Nothing is written. Raises KeyFileError, OSError.
    """
    from gateway.config import ConfigError, authority_fault, read_as

    text = configuration(answers, served=served)
    try:
        settings = read_as(path, text)
    except ConfigError as error:
        _of_no_use(error.problems)
    if answers.ca and (fault := authority_fault(path.parent / answers.ca)):
        fail("; ".join(map(said, fault)))
    if answers.ring:
        ring_of(settings, Path(answers.ring))
    if answers.registry:
        registry_text(Path(answers.registry), settings)
    return text


def _of_no_use(problems: "Sequence[Problem]") -> NoReturn:
    from gateway.config import EXIT_CONFIG

    told = (": ".join(filter(None, (each.key, said(each.wrong), each.hint and said(each.hint)))) for each in problems)
    what = _("Nothing was written, since an answer is of no use:\n{problems}")
    fail(what.format(problems="\n".join(told)), EXIT_CONFIG)


def ring_of(settings: "Settings", source: Path) -> "KeyRing":
    """Read a key ring, or end if it is another site's. Raises KeyFileError."""
    from gateway.keys import read_ring

    ring = read_ring(source)
    if (ring.tenant, ring.site) != (settings.gateway.tenant, settings.gateway.site):
        told = _("{file} is the key ring of {tenant}/{site}, and this gateway stands elsewhere.")
        fail(told.format(file=source, tenant=ring.tenant, site=ring.site))
    return ring
