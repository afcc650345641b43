"""BlueZ without a radio: `org.bluez` on a private message bus, for a real client (bleak, dbus-python, bluetoothctl).

    with PrivateBus(tmp_path) as bus:                   # a dbus-daemon of our own; no root, no session
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
        async with Bluez(bus.address) as bluez:         # bluetoothd, with one adapter that is on
            bluez.advertise("C4:00:00:00:00:01", -60, manufacturer={0x004C: frame})
            bluez.power(on=False)                       # and: unplug, plug, crash, exit, start, hang, stall, refuse

What a client sees follows these sources; each reply names its own:

[Adapter]   doc/org.bluez.Adapter.rst of BlueZ 5.82
[Device]    doc/org.bluez.Device.rst of BlueZ 5.82
[adapter.c] [device.c] [error.c]  src/ of BlueZ 5.66 and 5.82: what the documents leave open
[D-Bus]     D-Bus Specification 0.42
[capture]   callbacks counted under bluetoothd 5.66 and 5.82 with hci_vhci and a virtual controller: a noisy iBeacon was
            heard 87 of 89 times (5.66) but 15 of 79 (5.82, LE only, without a filter), 88 of 89 with `RSSI: -127`

Only discovery is there: no connections, pairing, GATT or advertisement monitors.
"""

import select
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dbus_fast import Message, MessageType, RequestNameReply, Variant
from dbus_fast.aio import MessageBus

BLUEZ = "org.bluez"
ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
OBJECT_MANAGER, PROPERTIES = "org.freedesktop.DBus.ObjectManager", "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
DBUS = "org.freedesktop.DBus"

RSSI_DELTA = 8
"""dB by which RSSI must change to be published in unfiltered discovery ([device.c] RSSI_THRESHOLD, [capture])."""
NO_DELTA = 0
FULL_SECONDS = 5.0
"""How long the bus may take to make room for a signal."""

_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class PrivateBus:
    """A dbus-daemon in `directory` (a path short enough for a socket). It can be stopped and started again."""

    def __init__(self, directory: Path, *, timeout: float = 10.0) -> None:
        self._socket = directory / "bus"
        self._configuration = directory / "bus.conf"
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """For DBUS_SYSTEM_BUS_ADDRESS."""
        return f"unix:path={self._socket}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the daemon, and wait until it listens. Raises TimeoutError."""
        self._socket.unlink(missing_ok=True)
        self._configuration.write_text(_CONFIGURATION.format(path=self._socket))
        command = ["dbus-daemon", "--nofork", "--nopidfile", f"--config-file={self._configuration}"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until = time.monotonic() + self._timeout
        while not self._listens():
            if time.monotonic() > until or self._process.poll() is not None:
                self.stop()
                raise TimeoutError("dbus-daemon does not listen")
            time.sleep(0.005)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0

    def stop(self) -> None:
        """End the daemon: every connection to it breaks."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class BluezError(Exception):
    """A refusal: the D-Bus error `org.bluez.Error.{name}`, with the text that BlueZ sends along."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = f"org.bluez.Error.{name}"


NOT_READY = BluezError("NotReady", "Resource Not Ready")
"""The adapter is off ([Adapter] StartDiscovery; [error.c] btd_error_not_ready)."""
BUSY = BluezError("InProgress", "Operation already in progress")
"""This client discovers already ([Adapter] "Each client can request a single..."; [error.c] btd_error_busy)."""
NOT_STARTED = BluezError("Failed", "No discovery started")
"""[adapter.c] stop_discovery, for a client that has no session."""
NO_DEVICE = BluezError("DoesNotExist", "Does Not Exist")
"""[adapter.c] remove_device; [error.c] btd_error_does_not_exist."""
INVALID = BluezError("InvalidArguments", "Invalid arguments in method call")
"""[adapter.c] set_discovery_filter; [error.c] btd_error_invalid_args."""

FILTER = {
    "UUIDs": "as",
    "RSSI": "n",
    "Pathloss": "q",
    "Transport": "s",
    "DuplicateData": "b",
    "Discoverable": "b",
    "Pattern": "s",
    "AutoConnect": "b",
}
"""What SetDiscoveryFilter takes, and of which type ([Adapter])."""

Properties = dict[str, Variant]
YES, NO = Variant("b", value=True), Variant("b", value=False)


@dataclass
class Adapter:
    """A controller, and what BlueZ tells of it ([Adapter], Properties)."""

    address: str
    powered: bool = True
    dual_mode: bool = True
    """BR/EDR and LE, as a Raspberry Pi's; False: an LE-only dongle."""
    sessions: dict[str, Properties] = field(default_factory=dict)
    """The filter of each client that discovers, by unique name."""
    filters: dict[str, Properties] = field(default_factory=dict)
    """The filter that each client has set, before or during discovery."""
    devices: dict[str, Properties] = field(default_factory=dict)
    """Properties of Device1 by object path."""

    @property
    def discovering(self) -> bool:
        return bool(self.sessions)

    def properties(self) -> Properties:
        return {
            "Address": Variant("s", self.address),
            "AddressType": Variant("s", "public"),
            "Name": Variant("s", "pi"),
            "Alias": Variant("s", "pi"),
            "Class": Variant("u", 0),
            "Powered": Variant("b", self.powered),
            "Discoverable": NO,
            "DiscoverableTimeout": Variant("u", 180),
            "Pairable": NO,
            "PairableTimeout": Variant("u", 0),
            "Discovering": Variant("b", self.discovering),
            "UUIDs": Variant("as", []),
            "Modalias": Variant("s", "usb:v1D6Bp0246d0552"),
            "Roles": Variant("as", ["central", "peripheral"]),
        }

    def filtered(self, version: tuple[int, int]) -> bool:
        """Tell whether discovery counts as filtered ([adapter.c] merge_discovery_filters; [capture]).

        Since 5.67 a filter that asks for nothing but the transport that the adapter has anyway is none.
        """
        return self.discovering and all(self._filters(each, version) for each in self.sessions.values())

    def _filters(self, wanted: Properties, version: tuple[int, int]) -> bool:
        asks = any(key in wanted for key in ("RSSI", "Pathloss", "Pattern"))
        asks |= any(key in wanted and bool(wanted[key].value) for key in ("UUIDs", "DuplicateData"))
        if asks or version < (5, 67):
            return bool(wanted)
        return bool(wanted) and (wanted["Transport"].value == "le") == self.dual_mode

    def delta(self, version: tuple[int, int]) -> int:
        """Return by how much RSSI must change to be published ([Adapter], RSSI).

        From 5.88 on only a filter by RSSI or path loss lifts the threshold (commit of July 2026).
        """
        measured = any("RSSI" in each or "Pathloss" in each for each in self.sessions.values())
        return NO_DELTA if self.filtered(version) and (measured or version < (5, 88)) else RSSI_DELTA

    def repeats(self) -> bool:
        """Tell whether data is published each time it is received ([Adapter] DuplicateData, default false)."""
        return any("DuplicateData" in each and each["DuplicateData"].value for each in self.sessions.values())


class Bluez:
    """bluetoothd with adapters hci0, hci1, ...; entered, it runs."""

    def __init__(self, bus_address: str, *, adapters: int = 1, version: tuple[int, int] = (5, 82)) -> None:
        self._bus_address = bus_address
        self._version = version
        self._bus: MessageBus | None = None
        self._hanging = False
        self._stalled, self._cure = False, ""
        self._refusals: dict[str, BluezError | None] = {}
        self._unheard: set[str] = set()
        self.adapters = {number: Adapter(f"00:1A:7D:DA:71:{number:02X}") for number in range(adapters)}
        self.calls: list[tuple[str, str]] = []
        """Object path and member of each call, in the order of their coming."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.crash()

    # -- the daemon ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start bluetoothd: the adapters that the kernel has appear as they are, on or off."""
        bus = await MessageBus(bus_address=self._bus_address).connect()
        bus.add_message_handler(self._answer)
        rule = f"type='signal',sender='{DBUS}',member='NameOwnerChanged'"
        add_match = Message(destination=DBUS, path="/org/freedesktop/DBus", interface=DBUS, member="AddMatch")
        add_match.signature, add_match.body = "s", [rule]
        await bus.call(add_match)
        self._bus, self._hanging = bus, False
        if await bus.request_name(BLUEZ) is not RequestNameReply.PRIMARY_OWNER:
            raise RuntimeError("another bluetoothd has the name")
        for number in self.adapters:
            self._appear(number)

    async def crash(self) -> None:
        """Kill bluetoothd: without a word its objects are gone. The kernel keeps the adapters on."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.disconnect()
            with suppress(EOFError, OSError):  # the bus was gone before
                await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        for adapter in self.adapters.values():
            adapter.sessions.clear()
            adapter.filters.clear()
            adapter.devices.clear()

    async def exit(self) -> None:
        """End bluetoothd as systemctl stop does: it takes its objects away first."""
        for number, adapter in self.adapters.items():
            for path in tuple(adapter.devices):
                self._removed(path, DEVICE)
            self._removed(_path(number), ADAPTER)
        await self.crash()

    async def restart(self) -> None:
        """Stop it and start it again."""
        await self.exit()
        await self.start()

    def hang(self) -> None:
        """Accept calls and answer none from now on; what is received is published no more."""
        self._hanging = True

    def wake(self) -> None:
        """Answer the calls that come from now on. Those that came meanwhile stay unanswered."""
        self._hanging = False

    def stall(self, cure: str = "") -> None:
        """Discover nothing from now on, while everything looks well: a controller that has stopped to listen.

        With a cure: until discovery is started anew ("StartDiscovery"), or the adapter switched on ("Powered").
        """
        self._stalled, self._cure = True, cure

    def flow(self) -> None:
        """Discover again."""
        self._stalled = False

    def _cured_by(self, cure: str) -> None:
        if self._cure == cure:
            self.flow()

    def refuse(self, member: str, error: BluezError | None = BUSY) -> None:
        """Answer calls of this method with an error from now on; None: not at all."""
        self._refusals[member] = error

    def mumble(self, member: str) -> None:
        """Do what is asked by this method, and lose the answer."""
        self._unheard.add(member)

    def accept(self, member: str) -> None:
        """Do what is asked again, and answer."""
        self._refusals.pop(member, None)
        self._unheard.discard(member)

    # -- adapters --------------------------------------------------------------------------------------------------

    def power(self, *, on: bool, number: int = 0) -> None:
        """Switch an adapter on or off; off, it forgets who discovers ([adapter.c] adapter_stop)."""
        adapter = self.adapters[number]
        changed = {"Powered": Variant("b", on)}
        if not on and adapter.discovering:
            changed["Discovering"] = NO
            self._end_discovery(adapter)
        adapter.powered = on
        if on:
            self._cured_by("Powered")
        self._changed(_path(number), ADAPTER, changed)

    def unplug(self, number: int = 0) -> Adapter:
        """Take an adapter away, with the devices found by it, and return it."""
        adapter = self.adapters.pop(number)
        self._end_discovery(adapter)
        for path in tuple(adapter.devices):
            self._removed(path, DEVICE)
        adapter.devices.clear()
        self._removed(_path(number), ADAPTER)
        return adapter

    def plug(self, adapter: Adapter, number: int = 0) -> None:
        """Plug an adapter in, under any free number.

        Powered is "not persistent. After restart or unplugging of the adapter it will reset back to false" ([Adapter]);
        then main.conf's AutoEnable, which is on since 5.65, switches it on.
        """
        adapter.powered = False
        self.adapters[number] = adapter
        self._appear(number)
        self.power(on=True, number=number)

    # -- the air ---------------------------------------------------------------------------------------------------

    def scanning(self, number: int = 0) -> bool:
        """Tell whether what is sent now would be received."""
        adapter = self.adapters.get(number)
        heard = adapter is not None and adapter.powered and adapter.discovering
        return heard and self._bus is not None and not self._hanging and not self._stalled

    def advertise(
        self,
        address: str,
        rssi: int,
        *,
        manufacturer: Mapping[int, bytes] | None = None,
        service: Mapping[str, bytes] | None = None,
        number: int = 0,
    ) -> bool:
        """Receive one advertising report, with service data by 128-bit UUID; False if nothing is published of it.

        The first of an address makes an object, the next ones change its properties, which accumulate ([Device];
        [device.c] device_set_manufacturer_data, device_set_service_data).
        """
        if not self.scanning(number):
            return False
        adapter = self.adapters[number]
        path = f"{_path(number)}/dev_{address.replace(':', '_')}"
        heard = _heard(rssi, manufacturer, service)
        known = adapter.devices.get(path)
        if known is None:
            adapter.devices[path] = _device(address, _path(number)) | heard
            self._added(path, DEVICE, adapter.devices[path])
            return True
        changed = self._news(adapter, known, heard)
        known.update(changed)
        if changed:
            self._changed(path, DEVICE, changed)
        return bool(changed)

    def forget(self, address: str, number: int = 0) -> None:
        """Forget a device, as bluetoothd does 30 s after it was last heard (main.conf, TemporaryTimeout)."""
        path = f"{_path(number)}/dev_{address.replace(':', '_')}"
        if self.adapters[number].devices.pop(path, None) is not None:
            self._removed(path, DEVICE)

    def _news(self, adapter: Adapter, known: Properties, heard: Properties) -> Properties:
        """Return which properties are published."""
        changed = {}
        for name, value in heard.items():
            if name == "RSSI":
                before = known.get(name)
                is_news = before is None or abs(before.value - value.value) >= adapter.delta(self._version)
            else:
                is_news = adapter.repeats() or known.get(name) != value
            if is_news:
                changed[name] = value
        return changed

    async def settle(self) -> None:
        """Wait until the bus has taken what was sent."""
        if self._bus is not None:
            await self._bus.call(Message(DBUS, "/org/freedesktop/DBus", DBUS, "GetId"))

    # -- signals ---------------------------------------------------------------------------------------------------

    def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        if self._bus is not None and not self._hanging:
            # dbus-fast 5.2 gives the connection up when the socket is full (BlockingIOError in write_callback)
            with suppress(OSError, ValueError):  # closed meanwhile
                select.select([], [self._bus._fd or -1], [], FULL_SECONDS)  # noqa: SLF001
            sending = self._bus.send(
                Message(
                    message_type=MessageType.SIGNAL,
                    path=path,
                    interface=interface,
                    member=member,
                    signature=signature,
                    body=body,
                )
            )
            sending.add_done_callback(lambda sent: sent.cancelled() or sent.exception())  # the bus may be gone

    def _appear(self, number: int) -> None:
        self._added(_path(number), ADAPTER, self.adapters[number].properties())

    def _added(self, path: str, interface: str, properties: Properties) -> None:
        """[D-Bus] ObjectManager.InterfacesAdded."""
        self._signal("/", OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, _interfaces(interface, properties)])

    def _removed(self, path: str, interface: str) -> None:
        """[D-Bus] ObjectManager.InterfacesRemoved, with the interfaces that gdbus adds to every object."""
        self._signal("/", OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, [PROPERTIES, INTROSPECTABLE, interface]])

    def _changed(self, path: str, interface: str, changed: Properties, gone: Iterable[str] = ()) -> None:
        """[D-Bus] Properties.PropertiesChanged."""
        self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, changed, list(gone)])

    # -- calls -----------------------------------------------------------------------------------------------------

    def _answer(self, message: Message) -> Message | bool | None:
        if message.message_type is MessageType.SIGNAL and message.member == "NameOwnerChanged":
            name, _, owner = message.body
            if not owner:
                self._client_is_gone(name)
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        self.calls.append((message.path or "", message.member or ""))
        if self._hanging:
            return True
        try:
            answer = self._obey(message)
        except BluezError as error:
            answer = Message.new_error(message, error.name, str(error))
        return True if message.member in self._unheard else answer

    def _client_is_gone(self, client: str) -> None:
        """[adapter.c] discovery_disconnect: whoever leaves the bus discovers no more."""
        for number, adapter in self.adapters.items():
            adapter.filters.pop(client, None)
            self._leave(number, client)

    def _obey(self, message: Message) -> Message | bool | None:
        if message.member in self._refusals:
            refusal = self._refusals[message.member]
            if refusal is None:
                return True
            raise refusal
        if message.interface == OBJECT_MANAGER and message.member == "GetManagedObjects":
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [self._objects()])
        number = next((each for each in self.adapters if _path(each) == message.path), None)
        if number is None:
            return None if message.interface != ADAPTER else _unknown(message)
        if message.interface == PROPERTIES:
            return self._property(message, number)
        return self._discover(message, number) if message.interface == ADAPTER else None

    def _objects(self) -> dict[str, dict[str, Properties]]:
        objects = {
            _path(number): _interfaces(ADAPTER, adapter.properties()) for number, adapter in self.adapters.items()
        }
        for adapter in self.adapters.values():
            objects |= {path: _interfaces(DEVICE, properties) for path, properties in adapter.devices.items()}
        return objects

    def _property(self, message: Message, number: int) -> Message | None:
        """[D-Bus] Properties, of adapters."""
        if message.member == "GetAll":
            return Message.new_method_return(message, "a{sv}", [self.adapters[number].properties()])
        if message.member == "Get":
            return Message.new_method_return(message, "v", [self.adapters[number].properties()[message.body[1]]])
        if message.member == "Set" and message.body[1] == "Powered":
            if message.body[2].value != self.adapters[number].powered:
                self.power(on=message.body[2].value, number=number)
            return Message.new_method_return(message)
        return None

    def _discover(self, message: Message, number: int) -> Message | None:
        adapter, client = self.adapters[number], message.sender or ""
        match message.member:
            case "SetDiscoveryFilter":
                _require(NOT_READY, adapter.powered)
                _require(INVALID, _is_filter(message.body[0]))
                adapter.filters[client] = message.body[0]
                if client in adapter.sessions:
                    adapter.sessions[client] = message.body[0]
            case "StartDiscovery":
                _require(NOT_READY, adapter.powered)
                _require(BUSY, client not in adapter.sessions)
                self._join(number, client)
                self._cured_by("StartDiscovery")
            case "StopDiscovery":
                _require(NOT_READY, adapter.powered)
                _require(NOT_STARTED, client in adapter.sessions)
                self._leave(number, client)
            case "RemoveDevice":
                _require(NO_DEVICE, message.body[0] in adapter.devices)
                _require(NOT_READY, adapter.powered)
                del adapter.devices[message.body[0]]
                self._removed(message.body[0], DEVICE)
            case _:
                return None
        return Message.new_method_return(message)

    def _join(self, number: int, client: str) -> None:
        adapter = self.adapters[number]
        first = not adapter.discovering
        adapter.sessions[client] = adapter.filters.get(client, {})
        if first:
            self._changed(_path(number), ADAPTER, {"Discovering": YES})

    def _leave(self, number: int, client: str) -> None:
        """End a client's session; the last one ends discovery ([Adapter] StopDiscovery)."""
        adapter = self.adapters[number]
        if adapter.sessions.pop(client, None) is not None and not adapter.discovering:
            self._end_discovery(adapter)
            self._changed(_path(number), ADAPTER, {"Discovering": NO})

    def _end_discovery(self, adapter: Adapter) -> None:
        """RSSI is known only during discovery ([device.c]; [Device] RSSI): it is invalidated, not set to a value."""
        adapter.sessions.clear()
        for path, device in adapter.devices.items():
            if device.pop("RSSI", None) is not None:
                self._changed(path, DEVICE, {}, ["RSSI"])


def _path(number: int) -> str:
    return f"/org/bluez/hci{number}"


def _interfaces(interface: str, properties: Properties) -> dict[str, Properties]:
    """Return an object's interfaces, with the two that BlueZ's gdbus/object.c gives to every object."""
    return {PROPERTIES: {}, INTROSPECTABLE: {}, interface: properties}


def _require(error: BluezError, condition: bool) -> None:  # noqa: FBT001 -- reads as a sentence where it is called
    if not condition:
        raise error


def _is_filter(wanted: Properties) -> bool:
    return all(FILTER.get(name) == value.signature for name, value in wanted.items())


def _unknown(message: Message) -> Message:
    """[D-Bus] an object that is not there, as libdbus answers for bluetoothd."""
    text = f'Method "{message.member}" with signature "{message.signature}" on interface "{ADAPTER}" doesn\'t exist\n'
    return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownObject", text)


def _heard(rssi: int, manufacturer: Mapping[int, bytes] | None, service: Mapping[str, bytes] | None) -> Properties:
    """Return what a report says, as [Device] describes it."""
    heard = {"RSSI": Variant("n", rssi)}
    if manufacturer:
        heard["ManufacturerData"] = Variant("a{qv}", {key: Variant("ay", data) for key, data in manufacturer.items()})
    if service:
        heard["ServiceData"] = Variant("a{sv}", {key: Variant("ay", data) for key, data in service.items()})
    return heard


def _device(address: str, adapter: str) -> Properties:
    """Return the properties of a new device without a name ([Device])."""
    return {
        "Address": Variant("s", address),
        "AddressType": Variant("s", "random"),
        "Alias": Variant("s", address.replace(":", "-")),
        "Paired": NO,
        "Bonded": NO,
        "Trusted": NO,
        "Blocked": NO,
        "LegacyPairing": NO,
        "Connected": NO,
        "UUIDs": Variant("as", []),
        "Adapter": Variant("o", adapter),
        "ServicesResolved": NO,
    }
