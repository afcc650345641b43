"""The uplink half: the network, no devices and no keys."""

import sqlite3
from contextlib import AsyncExitStack, closing
from importlib.metadata import version
from pathlib import Path

from gateway.clock import Clock
from gateway.config import Settings, password
from gateway.control import Ringer, bell_path, doorbell
from gateway.log import log
from gateway.store.backlog import Backlog
from gateway.store.database import only_one
from gateway.store.ledger import StoreLedger
from gateway.store.progress import Progress, record, recorded
from gateway.store.recovery import open_whole
from gateway.store.schema import UPLINK
from gateway.uplink.connect import Uplink
from gateway.uplink.forward import Forwarder
from gateway.uplink.mqtt import Broker


async def uplink(settings: Settings) -> None:
    """Run the uplink half until cancelled."""
    gateway, clock = settings.gateway, Clock(settings.clock.source)
    async with AsyncExitStack() as stack:
        stack.enter_context(only_one(gateway.state, "uplink"))
        bell = await stack.enter_async_context(doorbell(gateway.sockets, "uplink"))
        backlog = stack.enter_context(closing(Backlog(gateway.state)))
        database = stack.enter_context(closing(open_progress(gateway.state, backlog, clock.now().wall_ms)))
        ledger = stack.enter_context(closing(StoreLedger(gateway.state)))
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
        )
        await Uplink(broker(settings), gateway.topics, forwarder, clock.now, version("touchpoint-gateway")).run()


def open_progress(state: Path, backlog: Backlog, now_ms: int) -> sqlite3.Connection:
    """Open `uplink.db`; a damaged one is set aside. Raises StoreError.

    Without a record of it, all that waits may have been published: it is sent again, and counts as possibly sent.
    """
    connection, kept = open_whole(state, UPLINK, now_ms)
    if kept is not None:
        log.error("uplink.db: set aside as %s; what waits is sent again", kept.name)
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
