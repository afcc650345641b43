"""`touchpoint diagnose`: one archive for support, searched before it is written for all that must not be in it.

What goes in is what other commands print and promise to hold no personal data, the configuration without what could
name anybody, versions, and the services' own log. Addresses of devices are struck out wherever they have got to. Then
every key and every customer's handle of this gateway is looked for in each file (`gateway.bytesearch`), and whatever
looks like a handle, a pseudonym or an address: if anything is found, nothing is written.

Without a configuration that can be read nobody knows where keys and handles are. What only the search vouches for, the
services' own log, is left out then; the rest is what support needs to mend the configuration.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.command import Config, Json, fail, failures_explained, show_json
from gateway.cli.files import Force, must_be_new, write
from gateway.language import _

if TYPE_CHECKING:
    from gateway.config import Settings

HELP = _("""Put into one archive what support needs, and no personal data.

Findings of the doctor, status, readers, checks of outbox and audit log, configuration without identifiers, versions,
the services' own log. Before it is written it is searched for every key and every customer's handle of this gateway, in
all spellings; if one were in it, nothing would be written. With a broken configuration there is less in it.""")

COMMANDS: Final = (
    ("check",),
    ("status",),
    ("readers", "list"),
    ("outbox", "verify"),
    ("audit", "verify"),
    ("keys", "show"),
)
"""Those whose JSON holds no personal data."""
LOG: Final = {
    "log.txt": ("journalctl", "--no-pager", "-o", "short-iso", "-n", "5000", "-u", "touchpoint-*"),
    "services.txt": ("systemctl", "--no-pager", "status", "touchpoint-*", "bluetooth"),
}
SYSTEM: Final = {
    "units.txt": ("systemctl", "--no-pager", "list-units", "--all", "touchpoint*", "bluetooth*"),
    "kernel.txt": ("uname", "-srvm"),
}
PATIENCE = 30.0
"""Seconds that one command may take."""
_ADDRESS = re.compile(rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{2}([:_-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![0-9A-Za-z])")
STRUCK: Final = b"(address)"
SUSPECT: Final[Mapping[str, re.Pattern[bytes]]] = {
    "a handle": re.compile(rb"h1\.[A-Za-z0-9_-]{22}"),
    "a pseudonym": re.compile(rb"tp1\.[A-Za-z0-9_.-]{16}"),
    "a device's address": _ADDRESS,
}


def diagnose(
    config: Config = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.tar.gz", help=_("The archive; default: named by the gateway."))
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Put into one archive what support needs."""
    from gateway.config import find
    from gateway.keys import sealed

    path = find(config)
    with failures_explained(), suppress(FileNotFoundError):
        path.open("rb").close()  # whoever may not read it could not tell what is wrong with it
    settings = _readable(path)
    archive = out or Path(f"touchpoint-{settings.gateway.id if settings else 'diagnosis'}.tar.gz")
    must_be_new([archive], force=force)
    with failures_explained():
        parts = {name: struck(content) for name, content in collected(path, settings)}
        searched = _must_be_clean(settings, parts)
        write(archive, packed(parts))
        archive.chmod(0o600)
    if json:
        show_json({"file": str(archive), "parts": sorted(parts), "searched_for": searched})
        return
    if settings is None:
        told = _("The configuration cannot be used (touchpoint check), so the services' log is left out.")
        typer.echo(told, err=True)
        typer.echo(_("{file}: send it to support.").format(file=archive))
        return
    typer.echo(
        _("Searched for {count} keys and handles of this gateway, in every spelling: none is in it.").format(
            count=searched
        )
    )
    if held := sealed(settings):
        told = _("Not searched for, since systemd gives them to the services alone: {names}.")
        typer.echo(told.format(names=", ".join(held)), err=True)
    typer.echo(_("{file}: send it to support.").format(file=archive))


def _readable(path: Path) -> "Settings | None":
    from gateway.config import ConfigError, load

    try:
        return load(path)
    except ConfigError:
        return None  # the doctor's findings say why


def collected(path: Path, settings: "Settings | None") -> Iterator[tuple[str, bytes]]:
    """Yield what goes in, by name; on a terminal say what is under way."""
    from gateway.cli.doctor import as_json, examined

    yield "doctor.json", _json(as_json(examined(path)))
    yield "versions.json", _json(_versions())
    for name, theirs in SYSTEM.items():
        yield name, _said(theirs)
    if settings is None:
        return
    yield "configuration.json", _json(shown(settings))
    for command in COMMANDS:
        name = " ".join(command)
        if sys.stderr.isatty():
            typer.echo(f"touchpoint {name}", err=True)
        ours = (sys.executable, "-m", "gateway", *command, "--config", str(path), "--json")
        yield f"{'-'.join(command)}.json", _said(ours)
    for name, theirs in LOG.items():
        yield name, _said(theirs)


def shown(settings: "Settings") -> dict[str, object]:
    """Return the configuration without what may stand for a person: the prefixes of badges and of tokens."""
    document = settings.model_dump(mode="json", by_alias=True)
    for table in ("badge", "bearer"):
        document[table] = [{**each, "prefix": f"({len(each['prefix'])} characters)"} for each in document[table]]
    return document


def struck(content: bytes) -> bytes:
    """Strike out the addresses of devices, however they are separated."""
    return _ADDRESS.sub(STRUCK, content)


def found_in(parts: Mapping[str, bytes], secrets: list[tuple[str, bytes]]) -> list[str]:
    """Name what must not be there and is, with its file: by its label, never by what it is."""
    from gateway.bytesearch import TOGETHER, Needles

    told = []
    for start in range(0, len(secrets), TOGETHER):
        needles = Needles(secrets[start : start + TOGETHER])
        told += [f"{name}: {label}" for name, content in parts.items() for label in sorted(needles.find(content))]
    told += [
        f"{name}: {label}"
        for name, content in parts.items()
        for label, pattern in SUSPECT.items()
        if pattern.search(content)
    ]
    return told


def packed(parts: Mapping[str, bytes]) -> bytes:
    """Return a gzipped tar archive of files that only their owner may read; the same parts give the same octets."""
    import gzip
    import io
    import tarfile

    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in sorted(parts.items()):
            entry = tarfile.TarInfo(f"touchpoint-diagnosis/{name}")
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def _must_be_clean(settings: "Settings | None", parts: Mapping[str, bytes]) -> int:
    """Search the parts, and end if anything is in them; return for how many keys and handles.

    Raises OSError, also when a key may not be read: nobody could say then that it is not in them.
    """
    from gateway.keys import must_be_readable
    from gateway.wipe import traces

    if settings:
        must_be_readable(settings)
    secrets = traces(settings, credentials=True) if settings else []
    found = found_in(parts, secrets)
    if found:
        told = _("Nothing was written, since something is in it that must not leave the store: {found}")
        fail(told.format(found="; ".join(found)))
    return len(secrets)


def _json(value: object) -> bytes:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False, default=str).encode()


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import distributions

    return {"python": platform.python_version(), **{each.name: each.version for each in distributions()}}


def _said(command: tuple[str, ...]) -> bytes:
    """Run a command that only tells something; what goes wrong with it is told too."""
    import subprocess

    try:
        ran = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)  # noqa: S603  # from the lists above
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {type(error).__name__}\n".encode()
    return ran.stdout + ran.stderr
