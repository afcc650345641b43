"""What BlueZ says of its adapters, asked over D-Bus (org.freedesktop.DBus.ObjectManager)."""

import asyncio
from contextlib import suppress

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

PATIENCE = 3.0
"""Seconds: a BlueZ that hangs does not answer at all."""
ADAPTER = "org.bluez.Adapter1"


def powered() -> dict[str, bool] | None:
    """Return which adapters BlueZ knows and whether each is switched on; None when it does not answer."""
    with suppress(OSError, EOFError, TimeoutError, ValueError):
        return asyncio.run(asyncio.wait_for(_powered(), PATIENCE))
    return None


async def _powered() -> dict[str, bool] | None:
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    try:
        asked = Message(
            destination="org.bluez",
            path="/",
            interface="org.freedesktop.DBus.ObjectManager",
            member="GetManagedObjects",
        )
        reply = await bus.call(asked)
    finally:
        bus.disconnect()
    if reply is None or reply.message_type is not MessageType.METHOD_RETURN:
        return None
    objects = reply.body[0]
    return {
        path.rpartition("/")[2]: bool(interfaces[ADAPTER]["Powered"].value)
        for path, interfaces in objects.items()
        if "Powered" in interfaces.get(ADAPTER, {})
    }
