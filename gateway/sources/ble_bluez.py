"""What bleak does not tell of BlueZ: whether bluetoothd, an adapter or the message bus is gone, or back.

A connection of our own hears about bluetoothd and its adapters, never about devices, so that it wakes for nothing else.
bleak raises nothing from a scan that has died, keeps one connection for each event loop, and has no word for closing
it; `renew` does that with bleak's own means. No address leaves this module but in `Adapter`, which hides it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from weakref import WeakSet

from bleak.backends.bluezdbus.manager import BlueZManager, _global_instances
from bleak.exc import BleakDBusError, BleakError
from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from gateway.sentence import sentence
from gateway.sources.source import DeviceLostError

BLUEZ, ADAPTER = "org.bluez", "org.bluez.Adapter1"
PROPERTIES, OBJECT_MANAGER = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.ObjectManager"
DBUS, DBUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"

ADAPTERS = 16
"""hci0 to hci15 are looked for."""
ANSWER_SECONDS = 3.5
"""How long bluetoothd may take: StartDiscovery answers in some 10 ms. What hangs for longer is asked anew, so that a
bluetoothd that answers again is used within five seconds."""

SETTLE_SECONDS = 0.05

TROUBLE = (BleakError, DBusFastError, OSError, EOFError, AssertionError)
"""What bleak and dbus-fast raise: AssertionError for a reply that is none, EOFError for a bus that has gone."""

RULES = (
    f"type='signal',sender='{DBUS}',member='NameOwnerChanged',arg0='{BLUEZ}'",
    f"type='signal',sender='{BLUEZ}',interface='{PROPERTIES}',member='PropertiesChanged',arg0='{ADAPTER}'",
    *(
        f"type='signal',sender='{BLUEZ}',interface='{OBJECT_MANAGER}',arg0path='/org/bluez/hci{number}'"
        for number in range(ADAPTERS)
    ),
)


class RefusedError(DeviceLostError):
    """An adapter that is there and on does not scan, or bluetoothd does not answer: no person can see why."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A Bluetooth controller."""

    name: str
    """As the kernel numbers it, for instance hci0; another one after it was plugged in again."""
    address: str = field(repr=False)
    """Its own address, by which it is known under any number."""
    powered: bool


@dataclass(frozen=True, slots=True)
class News:
    """Something has changed."""

    text: str
    adapter: str | None = None
    """The adapter concerned; None: bluetoothd itself, or the bus."""


class Bluez:
    """A connection to the message bus for as long as the context lasts; `hear` is called with what has changed.

    Entering raises DeviceLostError when there is no bus.
    """

    def __init__(self, hear: Callable[[News], None]) -> None:
        self.hear = hear
        self.used: BlueZManager | None = None
        """bleak's connection, which the scans of this event loop share, as our scan has used it."""

    async def __aenter__(self) -> Self:
        self._bus = MessageBus(bus_type=BusType.SYSTEM)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._bus.connect()
                self._bus.add_message_handler(self._take)
                for rule in RULES:
                    await self._ask(DBUS, DBUS_PATH, DBUS, "AddMatch", "s", rule)
        except (*TROUBLE, TimeoutError) as error:
            self._bus.disconnect()
            raise DeviceLostError(
                sentence("the D-Bus system bus cannot be reached: is dbus.service running?")
            ) from error
        except BaseException:
            self._bus.disconnect()
            raise
        self._watching = asyncio.ensure_future(self._watch())
        _OPEN.add(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        _OPEN.discard(self)
        self._bus.disconnect()
        await self._watching
        if not any(each.used is self.used for each in _OPEN):
            await self._close()

    def use(self) -> None:
        """Remember which of bleak's connections a scan has used."""
        self.used = _global_instances.get(asyncio.get_running_loop())

    async def renew(self) -> None:
        """Have bleak begin with a new connection, and with it every other scan that shares this one.

        Then bluetoothd forgets our sessions, and bleak what it has gathered: after a crash of bluetoothd bleak would
        keep every device that was there, and after a call that was given up bluetoothd may hold a session that bleak
        knows nothing of.
        """
        for each in _OPEN:
            if each is not self and each.used is self.used:
                each.hear(News(sentence("bleak's connection is renewed")))
        await self._close()

    async def _close(self) -> None:
        """Close bleak's connection, if it still is the one that we used; bleak itself never does."""
        loop, used = asyncio.get_running_loop(), self.used
        self.used = None
        if used is None or _global_instances.get(loop) is not used:
            return
        del _global_instances[loop]
        if used._bus is not None:  # noqa: SLF001 -- bleak has no other way
            used._bus.disconnect()  # noqa: SLF001
        if used._bus_watcher_task is not None:  # noqa: SLF001
            await asyncio.wait({used._bus_watcher_task})  # noqa: SLF001

    @property
    def connected(self) -> bool:
        """Whether the bus is there."""
        return self._bus.connected

    async def adapters(self) -> list[Adapter]:
        """Return the adapters that bluetoothd has; D-Bus starts it if need be. Raises DeviceLostError."""
        if not self.connected:
            raise DeviceLostError(sentence("the D-Bus system bus is gone"))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return [found for number in range(ADAPTERS) if (found := await self._adapter(f"hci{number}"))]
        except BleakDBusError as error:
            raise DeviceLostError(
                sentence("bluetoothd is not running ({error})").format(error=error.dbus_error)
            ) from None
        except TimeoutError:
            raise RefusedError(sentence("bluetoothd does not answer")) from None
        except TROUBLE as error:
            raise DeviceLostError(sentence("the D-Bus system bus is gone")) from error

    async def _adapter(self, name: str) -> Adapter | None:
        try:
            (told,) = await self._ask(BLUEZ, f"/org/bluez/{name}", PROPERTIES, "GetAll", "s", ADAPTER)
        except BleakDBusError as error:
            if error.dbus_error.rpartition(".")[2] in {"UnknownObject", "UnknownMethod", "UnknownInterface"}:
                return None
            raise
        return Adapter(name, told["Address"].value, told["Powered"].value)

    async def power_cycle(self, name: str) -> None:
        """Switch an adapter off and on, if we may: a controller that has stopped to listen begins anew."""
        with suppress(*TROUBLE, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                for on in (False, True):
                    body = (ADAPTER, "Powered", Variant("b", value=on))
                    await self._ask(BLUEZ, f"/org/bluez/{name}", PROPERTIES, "Set", "ssv", *body)
        await asyncio.sleep(SETTLE_SECONDS)  # BlueZ answers before it signals

    async def _ask(
        self, destination: str, path: str, interface: str, member: str, signature: str, *body: object
    ) -> list[Any]:
        call = Message(destination, path, interface, member, signature=signature, body=list(body))
        reply = await self._bus.call(call)
        if reply.message_type is MessageType.ERROR:
            raise BleakDBusError(reply.error_name or "", [])  # without its text, which may name a device
        return reply.body

    async def _watch(self) -> None:
        with suppress(Exception):  # whatever ended it, it is gone
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        self.hear(News(sentence("the D-Bus system bus is gone")))

    def _take(self, message: Message) -> None:
        for news in _news(message):
            self.hear(news)


def _news(message: Message) -> Iterator[News]:
    if message.message_type is not MessageType.SIGNAL:
        return
    if message.member == "NameOwnerChanged" and message.body[0] == BLUEZ:
        yield News(sentence("bluetoothd has come back") if message.body[2] else sentence("bluetoothd is gone"))
    elif message.member == "PropertiesChanged" and message.body[0] == ADAPTER and "Powered" in message.body[1]:
        name = (message.path or "").rpartition("/")[2]
        on = message.body[1]["Powered"].value
        what = sentence("{name} was switched on") if on else sentence("{name} was switched off")
        yield News(what.format(name=name), name)
    elif message.member in {"InterfacesAdded", "InterfacesRemoved"} and ADAPTER in message.body[1]:
        name = message.body[0].rpartition("/")[2]
        there = message.member == "InterfacesAdded"
        what = sentence("{name} was plugged in") if there else sentence("{name} was unplugged")
        yield News(what.format(name=name), name)


_OPEN: WeakSet[Bluez] = WeakSet()


def hush() -> None:
    """Keep the libraries out of the log: they may show what was received, and what they warn of is reported by us."""
    for name in ("bleak", "dbus_fast"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
