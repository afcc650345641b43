"""The uplink half: the network, no devices and no keys."""

from contextlib import AsyncExitStack, closing
from importlib.metadata import version

from gateway.clock import Clock
from gateway.config import Settings, password
from gateway.control import Ringer, bell_path, doorbell
from gateway.store.backlog import Backlog
from gateway.store.database import only_one, open_writer
from gateway.store.ledger import StoreLedger
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
        database = stack.enter_context(closing(open_writer(gateway.state, UPLINK)))
        backlog = stack.enter_context(closing(Backlog(gateway.state)))
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
