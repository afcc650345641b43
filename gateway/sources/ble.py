"""BLE beacons, by bleak and BlueZ: advertisements that concern us, and a scan that heals.

What comes in. The scan is active, with a filter that has BlueZ publish every sample (`FILTERS`). What an advertisement
says is decoded only if its namespace is wanted (`gateway.core.decode.namespace`); a stranger's is a number. BlueZ
accumulates what a device has sent, so only the properties that came with the advertisement itself are handed over:
an iBeacon that also sends Eddystone-TLM stays an iBeacon. One without any (RSSI alone) is a sample of the last beacon.

What goes wrong. bleak raises nothing from a scan that has died, so `Bluez` watches, and so does a watchdog:

1. Adapter off, unplugged, bluetoothd or D-Bus gone: the reader is down until it is back, however long. An adapter is
   known by its own address, under whatever number it comes back.
2. An adapter that is there and on, and does not scan (InProgress, Failed, no answer): tried again with a new
   connection; after `TRIES` in a row the capture half ends, for systemd to start it again.
3. Nothing heard of anybody for `silence` seconds, once something was: the scan is started again, the
   second time with the adapter switched off and on, ever more seldom. Until something is heard the reader is down;
   after `QUIET` times it counts as up in a quiet place.

While a reader is down nobody leaves its zone: `silence` is shorter than the time after which a beacon is lost.
"""

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakDBusError, BleakError

from gateway.core import decode
from gateway.core.decode import Beacon
from gateway.core.decode.namespace import ANY, Namespaces
from gateway.core.sighting import Advertisement, SealedTelemetry, Sighting, Telemetry
from gateway.sentence import sentence
from gateway.sources.ble_bluez import ANSWER_SECONDS, SETTLE_SECONDS, TROUBLE, Adapter, Bluez, News, RefusedError, hush
from gateway.sources.ble_queue import CoalescingQueue
from gateway.sources.source import CAPACITY, FIRST_PAUSE, LONGEST_PAUSE, DeviceLostError, Source, SourceStatus, pauses

FILTERS: Final = {"RSSI": -127, "DuplicateData": True}
"""Every sample of RSSI and every frame: without RSSI here BlueZ thins out what changes by less than 8 dB."""
FEAA: Final = "0000feaa-0000-1000-8000-00805f9b34fb"
BEACONS: Final = frozenset({23, 24})
"""Octets of an iBeacon and of an AltBeacon."""
TELEMETRY: Final = b"\x20"
"""The frame type of Eddystone-TLM."""
NO_RSSI: Final = -127
"""bleak's value when BlueZ has invalidated the property: no advertisement."""
SENDERS: Final = 1024
"""So many addresses that sent something of ours are remembered."""
STOP_SECONDS: Final = 1.5
SILENCE_SECONDS: Final = 6.0
LONGEST_SILENCE: Final = 64.0
QUIET: Final = 3
TRIES: Final = 20


class UnhealedError(OSError):
    """A device could not be brought back; starting the process again may."""

    def __init__(self, reader: str, reason: str, tries: int) -> None:
        super().__init__(
            errno.EIO,
            sentence("{reason}; given up after {tries} tries, to be started again").format(reason=reason, tries=tries),
            f"reader {reader}",
        )


@dataclass(slots=True)
class _Sender:
    """What an address sent last, of what concerns us. Properties are compared by identity: equal ones may be news."""

    manufacturer: object = field(default=None, repr=False)
    service: object = field(default=None, repr=False)
    beacon: tuple[object, Advertisement] | None = field(default=None, repr=False)


class BleSource(Source):
    """The beacons that an adapter hears: `hci0`, an adapter's own address, or any adapter if it is empty.

    `wanted` says whose frames are read. Dropped, with these reasons: `unknown` (nothing of ours), `coalesced` and
    `overload` (see `CoalescingQueue`).
    """

    def __init__(  # noqa: PLR0913 -- a reader's settings
        self,
        name: str,
        adapter: str = "",
        *,
        wanted: Callable[[], Namespaces] = lambda: ANY,
        silence: float = SILENCE_SECONDS,
        tries: int = TRIES,
        status: Callable[[SourceStatus], None],
        dropped: Callable[[str], None],
        capacity: int = CAPACITY,
    ) -> None:
        super().__init__(name, status=status, dropped=dropped, capacity=capacity)
        self._adapter = adapter
        self._wanted = wanted
        self._silence = silence
        self._tries = tries
        self._queue: CoalescingQueue[object, Advertisement] = CoalescingQueue(capacity, dropped)
        self._senders: dict[str, _Sender] = {}
        self._address: str | None = None
        self._scanning: str | None = None
        self._stale = False
        self._defect: Exception | None = None
        self._stirred = asyncio.Event()
        self._news = ""
        self._refused = 0
        self._silent = 0
        self._heard_at: float | None = None
        hush()

    @property
    def heard_at(self) -> float | None:
        """When anybody was last heard, strangers too."""
        return self._heard_at

    async def __anext__(self) -> Sighting:
        """Return the next sighting; waits for ever when nothing is heard."""
        return Sighting(self._name, await self._queue.get())

    def forget_strangers(self) -> None:
        """Forget what each address sent; those that are wanted are met again by their next advertisement."""
        self._senders.clear()

    # -- what comes in ---------------------------------------------------------------------------------------------

    def _receive(self, _: BLEDevice, said: AdvertisementData) -> None:
        """Take what bleak has received; called for every advertisement of everybody."""
        try:
            if said.rssi != NO_RSSI:
                self._hear(said)
        except Exception as defect:  # noqa: BLE001 -- dbus-fast would log it each time, and go on
            self._defect = defect
            self._stirred.set()

    def _hear(self, said: AdvertisementData) -> None:
        self._heard_at = monotonic()
        if self._silent:
            self._silent = 0
            self._up()
        path, properties = said.platform_data
        sender = self._senders.get(path)
        if sender is None:
            ours = may_be_beacon(said) and self._meet(path, said, properties)
        else:
            ours = self._follow(sender, said, properties)
        if not ours:
            self._dropped("unknown")

    def _meet(self, path: str, said: AdvertisementData, properties: dict[str, Any]) -> bool:
        """Take an advertisement of an address that has sent nothing of ours, and tell whether this is."""
        sender = _Sender()
        if not self._follow(sender, said, properties) or sender.beacon is None:
            return False
        self._senders[path] = sender
        if len(self._senders) > SENDERS:
            del self._senders[next(iter(self._senders))]
        return True

    def _follow(self, sender: _Sender, said: AdvertisementData, properties: dict[str, Any]) -> bool:
        """Hand over the properties that came with this advertisement; if none did, it is a sample of the beacon."""
        manufacturer, service = properties.get("ManufacturerData"), properties.get("ServiceData")
        fresh_manufacturer = manufacturer is not None and manufacturer is not sender.manufacturer
        fresh_service = service is not None and service is not sender.service
        sender.manufacturer, sender.service = manufacturer, service
        address, ours = properties["Address"], False
        if fresh_manufacturer:
            ours = self._take(sender, Advertisement(address, said.rssi, said.manufacturer_data))
        if fresh_service and FEAA in said.service_data:
            frame = said.service_data[FEAA]
            if sender.beacon is not None or not frame.startswith(TELEMETRY):  # a stranger's is not read
                service_data = {decode.eddystone.SERVICE: frame}
                ours |= self._take(sender, Advertisement(address, said.rssi, service=service_data))
        if not (fresh_manufacturer or fresh_service) and sender.beacon is not None:
            key, last = sender.beacon
            self._queue.put(key, Advertisement(address, said.rssi, last.manufacturer, last.service))
            return True
        return ours

    def _take(self, sender: _Sender, advertisement: Advertisement) -> bool:
        last = sender.beacon
        if last is not None and _same_frame(last[1], advertisement):
            self._queue.put(last[0], advertisement)
            return True
        heard = decode.advertisement(advertisement, self._wanted())
        if isinstance(heard, Beacon):
            sender.beacon = (heard.identifier, advertisement)
            self._queue.put(heard.identifier, advertisement)
        elif isinstance(heard, Telemetry | SealedTelemetry):
            self._queue.put(("telemetry", advertisement.address), advertisement)
        else:
            return False
        return True

    # -- what heals ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        async with Bluez(self._notice) as bluez:
            await self._keep_scanning(bluez)

    def _notice(self, news: News) -> None:
        """Wake up for what concerns us; an adapter that is not ours does not, while ours scans."""
        if news.adapter is None or self._scanning in {None, news.adapter}:
            self._news = news.text
            self._stale |= news.adapter is None
            self._stirred.set()

    async def _keep_scanning(self, bluez: Bluez) -> None:
        """Scan, again and again, for as long as the bus is there. Raises DeviceLostError, UnhealedError."""
        waits = pauses()
        while bluez.connected:
            self._stirred.clear()
            began, pause = monotonic(), 0.0
            try:
                await self._scan(bluez)
            except RefusedError as refused:
                self._count_refusal(refused)
                pause = FIRST_PAUSE if monotonic() - began >= ANSWER_SECONDS else next(waits)
            except DeviceLostError as lost:
                self._report(SourceStatus(self._name, up=False, reason=str(lost)))
                if monotonic() - began > LONGEST_PAUSE:
                    waits = pauses()
                pause = next(waits)
            await self._rest(pause)
        raise DeviceLostError(sentence("the D-Bus system bus is gone"))

    def _count_refusal(self, refused: RefusedError) -> None:
        self._refused += 1
        if self._refused >= self._tries:
            raise UnhealedError(self._name, str(refused), self._refused)
        self._report(SourceStatus(self._name, up=False, reason=str(refused)))

    async def _rest(self, seconds: float) -> None:
        """Wait, but not longer than until something has changed; a moment in any case."""
        await asyncio.sleep(SETTLE_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stirred.wait()

    async def _scan(self, bluez: Bluez) -> None:
        """Scan until something is wrong. Raises DeviceLostError, of which RefusedError may call for a new process."""
        adapter = await self._find(bluez)
        if self._silent == QUIET - 1:
            await bluez.power_cycle(adapter.name)
        self._stirred.clear()  # what came until here is in what was found; what is amiss since then fails the start
        options = {"adapter": adapter.name, "filters": FILTERS}
        scanner = BleakScanner(self._receive, bluez=options)  # type: ignore[arg-type]
        self._scanning = adapter.name
        try:
            await self._start(bluez, scanner, adapter.name)
            self._refused = 0
            await self._listen(adapter.name)
        finally:
            self._scanning = None
            # If there is nobody, or nothing, to stop, or no answer: bleak and bluetoothd do not agree any more.
            if self._stale or self._refused or not await _stop(scanner):
                self._stale = False
                self._senders.clear()
                await bluez.renew()

    async def _find(self, bluez: Bluez) -> Adapter:
        """Return our adapter. Raises DeviceLostError if it is not there or off."""
        found = choose(await bluez.adapters(), self._adapter, self._address)
        if found is None:
            raise DeviceLostError(
                sentence("{adapter} is not there: unplugged, or no driver").format(adapter=_called(self._adapter))
            )
        if not found.powered:
            raise DeviceLostError(sentence("{name} is switched off (or blocked: see rfkill)").format(name=found.name))
        self._address = found.address
        return found

    async def _start(self, bluez: Bluez, scanner: BleakScanner, name: str) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await scanner.start()
        except TimeoutError:
            self._stale = True
            raise RefusedError(sentence("{name}: bluetoothd does not answer").format(name=name)) from None
        except BleakDBusError as error:
            raise RefusedError(
                sentence("{name} does not scan: {error}").format(name=name, error=error.dbus_error)
            ) from None
        except TROUBLE as error:
            raise RefusedError(
                sentence("{name} does not scan: {error}").format(name=name, error=type(error).__name__)
            ) from None
        finally:
            bluez.use()

    async def _listen(self, name: str) -> None:
        """Wait until nobody is heard any more, or something else is wrong. Raises DeviceLostError."""
        if self._silent in {0, QUIET}:
            self._up()
        began = monotonic()
        while not self._stirred.is_set():
            last, patience = self._heard_at, min(self._silence * 2**self._silent, LONGEST_SILENCE)
            left = patience if last is None else max(began, last) + patience - monotonic()
            if left <= 0:
                self._fall_silent(name)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._stirred.wait()
        if self._defect is not None:
            raise self._defect
        raise DeviceLostError(self._news)

    def _fall_silent(self, name: str) -> None:
        self._silent = min(self._silent + 1, QUIET)
        if self._silent < QUIET:
            reason = sentence("{name} hears nobody any more; the scan is started again").format(name=name)
            self._report(SourceStatus(self._name, up=False, reason=reason))


def _same_frame(one: Advertisement, other: Advertisement) -> bool:
    return one.manufacturer == other.manufacturer and one.service == other.service


async def _stop(scanner: BleakScanner) -> bool:
    """Stop a scanner, as one that is abandoned doubles what bleak calls later; tell whether bluetoothd answers."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await scanner.stop()
    except BleakError:  # the adapter was switched off or unplugged, and the session ended with that
        return True
    except (*TROUBLE, TimeoutError):
        return False
    return True


def may_be_beacon(said: AdvertisementData) -> bool:
    """Tell from service and length alone whether it can be a beacon's; nearly nothing that phones send can."""
    return FEAA in said.service_data or not BEACONS.isdisjoint(map(len, said.manufacturer_data.values()))


def choose(adapters: list[Adapter], setting: str, address: str | None) -> Adapter | None:
    """Return the adapter that was used before, under whatever number; else the one that the setting names."""
    for found in adapters:
        if found.address == address:
            return found
    for found in adapters:
        if setting in {"", found.name} or setting.upper() == found.address.upper():
            return found
    return None


def _called(setting: str) -> str:
    """Name the adapter of the setting, without its address."""
    if not setting:
        return sentence("a Bluetooth adapter")
    return setting if setting.startswith("hci") else sentence("the configured Bluetooth adapter")
