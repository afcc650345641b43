"""What a device needs to take over from another, in one archive: configuration, keys, registry and inventory.

Neither events nor consents are in it. An event belongs to its session and is sent by who recorded it; a consent that
was withdrawn after the backup would hold again. The new device begins a session of its own, and its first event is a
`gap` that names the one before: at the centre nothing is missing without an explanation.

The archive is a tar file of parts, with a manifest that names each with its SHA-256; encryption is `gateway.age`.
"""

import io
import json
import os
import sqlite3
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from gateway.config import Settings
from gateway.handover import restoring
from gateway.keys import key_files
from gateway.sentence import sentence
from gateway.store import audit, touchpoints
from gateway.store.backlog import Backlog
from gateway.store.database import StoreError, open_writer, snapshot, transaction
from gateway.store.progress import Progress, record
from gateway.store.schema import CAPTURE, UPLINK

VERSION: Final = 1
MANIFEST, CONFIGURATION, REGISTRY, INVENTORY = "manifest.json", "gateway.toml", "registry.json", "inventory.db"
FILES: Final = "files/"
TAG_KEY: Final = "tags.key"
"""From which the passwords of the store's tags follow."""
LARGEST: Final = 256 * 1024 * 1024
"""Octets that a part may have."""
TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "touchpoint": ("id", "position", "version", "definition", "revision", "origin"),
    "sun_counter": ("tag", "counter"),
    "usage": ("touchpoint", "day", "touch", "count"),
}
"""What of `capture.db` belongs to the store and not to a session. None of it tells of a customer."""
_REMOVED = "SELECT name, value FROM mark WHERE name GLOB 'touchpoint-removed:*'"


class BackupError(Exception):
    """A backup cannot be made or restored: what is wrong, and what to do next."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Of which gateway a backup is, when it was made (Unix milliseconds), and how far its session had come."""

    tenant: str
    site: str
    id: str
    at_ms: int
    session: str | None
    sequence: int | None
    """The last of the session, if the gateway was handed over; without that nobody knows how far it went on."""
    parts: Mapping[str, str]
    """SHA-256 of each part, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What is in an archive that was read and verified."""

    manifest: Manifest
    parts: Mapping[str, bytes]


def named_files(settings: Settings) -> dict[str, Path]:
    """Return the files that the configuration names and a backup holds, by the name of their setting."""
    named = key_files(settings)
    if settings.mqtt.ca is not None:
        named["mqtt.ca"] = settings.mqtt.ca
    if settings.mqtt.certificate is not None:
        named["mqtt.certificate"] = settings.mqtt.certificate
    return {**named, TAG_KEY: (settings.gateway.private or settings.gateway.state) / TAG_KEY}


def collect(settings: Settings, now_ms: int, *, ended: bool) -> bytes:
    """Return the archive of a gateway; `ended`: it is handed over, so its session goes no further.

    Raises StoreError, OSError, sqlite3.Error.
    """
    parts = {CONFIGURATION: settings.file.read_bytes()}
    parts |= {FILES + name: path.read_bytes() for name, path in named_files(settings).items() if path.exists()}
    with closing(Backlog(settings.gateway.state)) as backlog:
        connection = backlog.connection()
        parts[REGISTRY] = json.dumps({} if connection is None else _tables(connection)).encode()
        session, last = backlog.session(), backlog.last()
    listed = settings.gateway.state / INVENTORY
    if listed.exists():
        parts[INVENTORY] = _copied(listed)
    gateway = settings.gateway
    digests = {name: sha256(content).hexdigest() for name, content in parts.items()}
    who = {"tenant": gateway.tenant, "site": gateway.site, "id": gateway.id, "at_ms": now_ms}
    told = {"version": VERSION, **who, "session": session, "sequence": last if ended and session else None}
    return _pack({MANIFEST: json.dumps({**told, "parts": digests}).encode(), **parts})


def _tables(connection: sqlite3.Connection) -> dict[str, list[list[Any]]]:
    with snapshot(connection):
        rows = {
            name: [list(row) for row in connection.execute(f"SELECT {', '.join(columns)} FROM {name}")]  # noqa: S608  # ours
            for name, columns in TABLES.items()
        }
        return {**rows, "mark": [list(row) for row in connection.execute(_REMOVED)]}


def _copied(database: Path) -> bytes:
    """Copy a database as it is at one instant (SQLite, Online Backup API), whoever writes it meanwhile."""
    with tempfile.TemporaryDirectory(prefix="touchpoint-") as directory:
        copy = Path(directory, database.name)
        with (
            closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
        return copy.read_bytes()


def _pack(parts: Mapping[str, bytes]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return plain.getvalue()


def read(archive: bytes) -> Backup:
    """Take an archive apart and verify every part of it. Raises BackupError."""
    parts = _unpack(archive)
    try:
        told = json.loads(parts.pop(MANIFEST))
        if told["version"] != VERSION:
            raise BackupError(
                sentence("this backup is of version {version}; install a newer gateway to restore it").format(
                    version=told["version"]
                )
            )
        names = ("tenant", "site", "id", "at_ms", "session", "sequence")
        manifest = Manifest(**{name: told[name] for name in names}, parts=dict(told["parts"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        raise BackupError(sentence("this is no backup of a gateway")) from None
    if manifest.parts != {name: sha256(content).hexdigest() for name, content in parts.items()}:
        raise BackupError(sentence("a part of this backup is missing, or is not what was written; take another one"))
    if not {CONFIGURATION, REGISTRY} <= parts.keys():
        raise BackupError(sentence("this backup holds no configuration, or no registry; take another one"))
    return Backup(manifest, parts)


def _unpack(archive: bytes) -> dict[str, bytes]:
    parts = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
            for entry in opened:
                file = opened.extractfile(entry) if entry.isreg() and entry.size <= LARGEST else None
                if file is None or entry.name in parts:
                    raise BackupError(sentence("this backup holds what no gateway writes"))
                parts[entry.name] = file.read()
    except (tarfile.TarError, ValueError, EOFError, OSError):
        raise BackupError(sentence("this is no backup of a gateway")) from None
    return parts


@dataclass(frozen=True, slots=True)
class Restored:
    """Where each part of a backup goes, with the settings that say so."""

    settings: Settings
    targets: Mapping[Path, bytes]

    def in_the_way(self) -> list[Path]:
        """Return what is there already and is not the same; nothing of what a restore has left that was cut off."""
        if restoring(self.settings.gateway.state).exists():
            return []
        there = [path for path, content in self.targets.items() if path.exists() and path.read_bytes() != content]
        state = self.settings.gateway.state
        return there + [path for name in (CAPTURE.file, UPLINK.file) if (path := state / name).exists()]


def plan(backup: Backup, configuration: Path) -> Restored:
    """Say where everything goes when the configuration stands here. Nothing is written. Raises BackupError."""
    context = {"file": configuration, "directory": configuration.resolve().parent}
    try:
        document = tomllib.loads(backup.parts[CONFIGURATION].decode("utf-8-sig"))
        settings = Settings.model_validate(document, context=context)
    except ValueError:  # pydantic's ValidationError is one: its text would show what stands in the file
        raise BackupError(
            sentence("the configuration in this backup is of no use to this version of the gateway")
        ) from None
    _must_make_sense(backup)
    named, state = named_files(settings), settings.gateway.state
    targets = {path: backup.parts[FILES + name] for name, path in named.items() if FILES + name in backup.parts}
    if INVENTORY in backup.parts:
        targets[state / INVENTORY] = backup.parts[INVENTORY]
    return Restored(settings, {**targets, configuration: backup.parts[CONFIGURATION]})


def _must_make_sense(backup: Backup) -> None:
    """See that the registry can be read as one, before anything is written. Raises BackupError."""
    with tempfile.TemporaryDirectory(prefix="touchpoint-") as directory:
        build(Path(directory), backup)


def build(directory: Path, backup: Backup) -> None:
    """Make the databases of the new device in a directory: the registry, and which session was the last.

    Raises BackupError.
    """
    manifest = backup.manifest
    try:
        rows = json.loads(backup.parts[REGISTRY])
        with closing(open_writer(directory, CAPTURE)) as connection:
            with transaction(connection):
                _fill(connection, rows)
                audit.append(connection, manifest.at_ms, audit.GATEWAY, "restored", {"session": manifest.session})
            touchpoints.load(connection)
        with closing(open_writer(directory, UPLINK)) as connection:
            if manifest.session is not None:
                last = manifest.sequence or 0
                record(connection, manifest.session, Progress(published=last, delivered=last))
    except (StoreError, sqlite3.Error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BackupError(sentence("the registry in this backup makes no sense; take another one")) from None


def _fill(connection: sqlite3.Connection, rows: Mapping[str, list[list[Any]]]) -> None:
    for name, columns in {**TABLES, "mark": ("name", "value")}.items():
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  # ours
        connection.executemany(statement, rows.get(name, []))


def write(backup: Backup, restored: Restored, now_ms: int) -> Iterator[Path]:
    """Write everything, and yield each file that is in place. Raises BackupError, OSError.

    All of it is written and synced beside its place first; then each file gets its name at once, the configuration
    last. Until that is there no half starts, wherever this is cut; the same restore, done again, ends it.
    Databases that were there are kept under another name.
    """
    state, configuration = restored.settings.gateway.state, list(restored.targets)[-1]
    state.mkdir(parents=True, exist_ok=True, mode=0o770)
    with ExitStack() as stack:
        staged = {path: stack.enter_context(_staged(path, content)) for path, content in restored.targets.items()}
        built = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".restore-", dir=state)))
        build(built, backup)
        begun = restoring(state)
        begun.touch()
        _sync(state)
        for path, new in list(staged.items())[:-1]:
            yield _put(new, path)
        for name in (UPLINK.file, CAPTURE.file):
            _set_aside(state, name, now_ms)
            yield _put(built / name, state / name)
        yield _put(staged[configuration], configuration)
        begun.unlink()
        _sync(state)


@contextmanager
def _staged(path: Path, content: bytes) -> Iterator[Path]:
    """Write a file beside its place, for its owner alone, and sync it; what is left of it goes at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # the descriptor carries the mode
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield new
    finally:
        new.unlink(missing_ok=True)


def _put(new: Path, path: Path) -> Path:
    new.replace(path)
    _sync(path.parent)
    return path


def _sync(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_aside(state: Path, name: str, now_ms: int) -> None:
    for suffix in ("", "-wal", "-shm"):
        if (state / f"{name}{suffix}").exists():
            (state / f"{name}{suffix}").rename(state / f"{name}.replaced-{now_ms}{suffix}")
