"""The uplink half: the network, no devices and no keys."""

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from importlib.metadata import version
from pathlib import Path

from gateway.clock import Clock, boot_id
from gateway.config import Settings, password
from gateway.control import Ringer, bell_path, doorbell
from gateway.daemon.trust import issuers
from gateway.daemon.trust import ledger as ledger_of
from gateway.daemon.watchdog import Watchdog, watched
from gateway.handover import must_be_ours
from gateway.log import Message, log, told
from gateway.sentence import sentence
from gateway.store.backlog import Backlog
from gateway.store.database import CorruptError, only_one, prove_writable
from gateway.store.progress import Progress, record, recorded
from gateway.store.recovery import open_whole, suspect
from gateway.store.schema import UPLINK
from gateway.together import first_failure
from gateway.uplink.connect import Uplink
from gateway.uplink.downlink import Downlink
from gateway.uplink.expiry import watch
from gateway.uplink.forward import Forwarder
from gateway.uplink.measured import Measured
from gateway.uplink.mqtt import Broker
from gateway.uplink.scrape import Exposition, scraped

MEBIBYTE = 1024 * 1024
LOOK_SECONDS = 1.0
"""How often to see whether a file was found damaged."""


async def uplink(settings: Settings) -> None:
    """Run the uplink half until cancelled. Whenever its file is found damaged it begins anew, and so mends it."""
    while True:
        try:
            await _uplink(settings)
        except CorruptError as error:
            log.error("%s", error)
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return


async def _uplink(settings: Settings) -> None:
    must_be_ours(settings)
    gateway, clock = settings.gateway, Clock(settings.clock.source)
    async with AsyncExitStack() as stack:
        stack.enter_context(only_one(gateway.state, "uplink"))
        bell = await stack.enter_async_context(doorbell(gateway.sockets, "uplink"))
        backlog = stack.enter_context(closing(Backlog(gateway.state)))
        database = stack.enter_context(closing(open_progress(gateway.state, backlog, clock.now().wall_ms)))
        ledger = stack.enter_context(closing(ledger_of(settings)))
        ring = stack.enter_context(closing(Ringer(bell_path(gateway.sockets, "capture"))))
        forwarder = Forwarder(
            database,
            backlog,
            ledger,
            gateway.topics.event,
            bell,
            ring,
            clock.now,
            settings.mqtt.delivery,
            settings.mqtt.batch,
            settings.mqtt.batch_bytes,
            gateway.topics.source,
            boot_id(),
        )
        downlink = Downlink(database, gateway.topics, issuers(settings), forwarder, clock.now, ring)
        ours = version("touchpoint-gateway")
        working = Uplink(
            broker(settings), gateway.topics, forwarder, downlink, clock.now, ours, capture_runs=ring.is_heard
        )
        metrics = measured_by(settings, working)
        await stack.enter_async_context(scraped(settings.metrics.listen, gateway.sockets, metrics))
        await stack.enter_async_context(watched(watchdog(database, working)))
        await first_failure(working.run(), watch(settings, database, clock.now), _until_damaged(gateway.state))


def watchdog(database: sqlite3.Connection, working: Uplink) -> Watchdog:
    """Watch the file alone: a broker that is away is nothing that a new process could bring back."""

    async def prove() -> None:
        prove_writable(database)

    return Watchdog(prove, working.fares)


def measured_by(settings: Settings, working: Uplink) -> Exposition:
    """Return what answers a scrape."""
    gateway = settings.gateway
    names = {"version": working.version, "tenant": gateway.tenant, "site": gateway.site, "gateway": gateway.id}
    measured = Measured(
        names,
        gateway.state,
        gateway.limit_mb * MEBIBYTE,
        {reader.name: reader.kind for reader in settings.readers},
        settings.mqtt.certificate,
        working.now,
        lambda: working.connected,
        working.own_condition,
    )

    def exposed(accept: str | None) -> tuple[bytes, str]:
        from gateway.uplink.metrics import exposition  # noqa: PLC0415  # a library that is loaded only if somebody asks

        return exposition(measured, accept)

    return exposed


async def _until_damaged(state: Path) -> None:
    """Wait until somebody finds `uplink.db` damaged. Raises CorruptError."""
    while not suspect(state, UPLINK.file).exists():  # noqa: ASYNC110  # it may be another process that finds it
        await asyncio.sleep(LOOK_SECONDS)
    raise CorruptError("use", state / UPLINK.file, sentence("it is damaged"), sentence("It is mended now"))


def open_progress(state: Path, backlog: Backlog, now_ms: int) -> sqlite3.Connection:
    """Open `uplink.db`; a damaged one is set aside. Raises StoreError.

    Without a record of it, all that waits may have been published: it is sent again, and counts as possibly sent.
    """
    connection, kept = open_whole(state, UPLINK, now_ms)
    if kept is not None:
        extra = told(Message.STORE_SET_ASIDE, "store")
        log.error("uplink.db: set aside as %s; what waits is sent again", kept.name, extra=extra)
    session = backlog.session()
    if session is not None and not recorded(connection, session):
        record(connection, session, Progress(published=backlog.last(), delivered=0))
    return connection


def broker(settings: Settings) -> Broker:
    """Describe the configured broker."""
    mqtt = settings.mqtt
    return Broker(
        host=mqtt.host,
        port=mqtt.port,
        client_id=mqtt.client_id or settings.gateway.id,
        keepalive=mqtt.keepalive,
        ca=mqtt.ca,
        certificate=mqtt.certificate,
        key=mqtt.key,
        username=mqtt.username,
        password=password(settings),
        protocol=mqtt.protocol,
    )
