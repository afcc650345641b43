"""Both halves of a gateway in one process: the real core, the real files, the real forwarder; no device, no socket.

Each half can be stopped, or dropped as a crash drops it, and opened again on the same files. The broker is a list.
"""

import contextlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gateway.core.downlink import ConsentRecord
from gateway.core.event import Draft, EventType
from gateway.core.jws import Issuers, Use
from gateway.core.path import Path as SightingPath
from gateway.core.pseudonym import KeyRing
from gateway.core.registry import build
from gateway.core.sighting import Moment, Sighting
from gateway.core.subject import Subjects
from gateway.core.visit import Debounce, Visits
from gateway.store.backlog import Backlog
from gateway.store.database import open_writer
from gateway.store.ledger import StoreLedger, open_ledger, put
from gateway.store.outbox import Outbox
from gateway.store.progress import Followed
from gateway.store.publishing import border
from gateway.store.schema import CAPTURE, UPLINK
from gateway.uplink.forward import Forwarder
from gateway.uplink.mqtt import Connection, Message, MqttError
from tests.core import salon
from tests.simulators.centre_keys import CENTRE, GATEWAY

if TYPE_CHECKING:
    import asyncio

TOPIC, BOOT = "touchpoint/v1/acme/zrh-1/gw-1/event", "boot"
PURPOSES: Mapping[EventType, str] = {
    **dict.fromkeys((EventType.TAP, EventType.SCAN, EventType.APPEARED, EventType.DISAPPEARED), "personalisation"),
    EventType.RESPONSE: "customer-care",
}
MEMORY = Path("/dev/shm")  # noqa: S108  # a directory of the kernel's; thousands of databases wear out a disk


class IdleError(Exception):
    """The forwarder has nothing more to send."""


class CrashError(BaseException):
    """The process is gone, in the middle of what it did."""


@cache
def _new_files() -> Path:
    """Make both databases once: to copy them costs less than to migrate them."""
    directory = Path(tempfile.mkdtemp(prefix="tp-model-", dir=MEMORY if MEMORY.is_dir() else None))
    for schema in (CAPTURE, UPLINK):
        open_writer(directory, schema).close()
    return directory


def forget_new_files() -> None:
    """Remove what was made once."""
    if _new_files.cache_info().currsize:
        shutil.rmtree(_new_files())
        _new_files.cache_clear()


def _verified(issuers: Issuers, record: str) -> bytes:
    return issuers.verify(record, Use.CONSENT)[1]


class OneConnection(Forwarder):
    """A forwarder that ends when it has sent what there is, instead of waiting for more."""

    async def _pause(self) -> None:
        raise IdleError


@dataclass
class Wire:
    """What stands in for the broker: takes messages until the line breaks or the process crashes."""

    carried: Callable[[bytes], None]
    breaks_after: int | None = None
    crash: Callable[[], None] | None = None
    """Given, the process is gone when the line would break; it can write nothing any more."""
    acknowledges: bool = True
    maximum_packet: int = 1 << 20

    async def publish(self, message: Message) -> None:
        if self.breaks_after == 0:
            self._break()
        if self.breaks_after is not None:
            self.breaks_after -= 1
        self.carried(message.payload)
        if not self.acknowledges:
            self._break()

    def _break(self) -> None:
        if self.crash is None:
            raise MqttError("the connection was lost")
        self.crash()
        raise CrashError


@dataclass
class Halves:
    """The gateway; `now` is its clock."""

    now: Callable[[], Moment]
    ring: KeyRing
    stale_ms: int
    batch: int = 5
    site: str = "zrh-1"
    directory: Path = field(init=False)

    def __post_init__(self) -> None:
        made = _new_files()
        self.directory = Path(tempfile.mkdtemp(prefix="run-", dir=made))
        for schema in (CAPTURE, UPLINK):
            shutil.copy(made / schema.file, self.directory)
        self.open_capture()
        self.open_uplink()

    def close(self) -> None:
        self.close_capture()
        self.close_uplink()
        shutil.rmtree(self.directory)

    # capture

    def open_capture(self) -> None:
        self.followed = Followed(self.directory)
        self.outbox = Outbox(open_writer(self.directory, CAPTURE), f"urn:touchpoint:acme:{self.site}:gw-1", BOOT)
        self.outbox.published = lambda: self.followed.progress(self.outbox.session).fixed(BOOT)
        self.outbox.border = lambda: border(self.directory)
        with self.outbox.transaction():
            self.outbox.open(f"session-of-{self.site}", 0)
        self.ledger = self._ledger()
        registry = build(1, salon.TOUCHPOINTS, salon.RULES)
        subjects = Subjects(self.ring, self.ledger, PURPOSES, Counter())
        self.path = SightingPath(salon.READERS, registry, subjects, Visits(30), Debounce(2))

    def close_capture(self) -> None:
        """Stop it. As a crash: what it had not committed is gone, and so are visits and presences."""
        for each in (self.ledger, self.followed, self.outbox.connection):
            each.close()

    def see(self, sighting: Sighting, seen: Callable[[int, Draft], None]) -> None:
        """Let a reader read, and commit what comes of it; `seen` is told the sequence of each event."""
        self.append(self.path.see(sighting, self.now()).drafts, seen)

    def pass_time(self, seen: Callable[[int, Draft], None]) -> None:
        """Let departures happen."""
        self.append(self.path.expire(self.now()), seen)

    def append(self, drafts: Iterable[Draft], seen: Callable[[int, Draft], None]) -> None:
        """Commit events."""
        drafts = tuple(drafts)
        with self.outbox.transaction():
            last = self.outbox.append(drafts)
        for sequence, draft in enumerate(drafts, last - len(drafts) + 1):
            seen(sequence, draft)

    def lose(self, sighting: Sighting) -> None:
        """Let a reader read, and crash before the commit."""
        drafts = self.path.see(sighting, self.now()).drafts
        with contextlib.suppress(CrashError), self.outbox.transaction():
            self.outbox.append(drafts)
            raise CrashError
        self.close_capture()
        self.open_capture()

    def say(self, record: ConsentRecord) -> str:
        """Write a record of this store, and return it signed."""
        signed = GATEWAY.sign(record.model_dump_json().encode())
        with self.outbox.transaction():
            put(self.outbox.connection, record, signed)
        return signed

    def withdraw(self, handles: Iterable[str]) -> None:
        """Do what follows a tombstone."""
        handles = set(handles)
        self.path.withdraw(handles)
        with self.outbox.transaction():
            self.outbox.withdraw(handles)

    def catch_up(self) -> None:
        """Do what the uplink asks of capture."""
        session = self.outbox.session
        delivered, refused = self.followed.progress(session).delivered, self.followed.refused(session)
        with self.outbox.transaction():
            self.outbox.set_aside(refused)
            self.outbox.trim(delivered)

    # uplink

    def open_uplink(self) -> None:
        self.database = open_writer(self.directory, UPLINK)
        self.backlog, self.gate = Backlog(self.directory), self._ledger()
        self.forwarder = OneConnection(
            self.database,
            self.backlog,
            self.gate,
            TOPIC,
            cast("asyncio.Event", _Bell()),
            lambda: None,
            self.now,
            batch=self.batch,
            boot=BOOT,
        )

    def close_uplink(self) -> None:
        for each in (self.gate, self.backlog, self.database):
            each.close()

    def send(self, wire: Wire, *, crash: bool = False) -> None:
        """Connect, send what may be sent, and disconnect, or whatever the wire makes of it."""
        wire.crash = self.database.close if crash else None
        try:
            _finish(self.forwarder.run(cast("Connection", wire)))
        except (IdleError, MqttError):
            pass
        except (CrashError, sqlite3.ProgrammingError):  # the latter is what it says about its closed file
            self.close_uplink()
            self.open_uplink()

    def _ledger(self) -> StoreLedger:
        store = partial(_verified, GATEWAY.believed(Use.CONSENT))
        return open_ledger(self.directory, store, partial(_verified, CENTRE.believed(Use.CONSENT)), self.stale_ms)

    def waiting(self) -> list[str]:
        """Return the events in the outbox."""
        with closing(sqlite3.connect(f"file:{self.directory / CAPTURE.file}?mode=ro", uri=True)) as outside:
            return [event for (event,) in outside.execute("SELECT event FROM outbox ORDER BY sequence")]


class _Bell:
    """A doorbell that nobody waits for."""

    def clear(self) -> None:
        """Do nothing."""


def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    finally:
        work.close()
    raise AssertionError("it waits for something")
