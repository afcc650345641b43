"""A USB bus without one: what nfcpy's own USB transport asks of libusb1, with the readers of `tests/simulators` on it.

    bus = UsbBus()
    monkeypatch.setattr("nfc.clf.transport.libusb", bus)
    bus.plug(reader)                         # another device number each time
    bus.unplug(reader)
    reader.mute = True                       # it hangs: it is there and answers nothing
    reader.spoil = lambda reply: ...         # what it answers is torn, or rubbish

Endpoints and transfers after USB 2.0, 5.8 (bulk) and 9.6.6 (endpoint descriptor); what fails, after libusb's API:
LIBUSB_ERROR_NO_DEVICE, _TIMEOUT, _BUSY, _ACCESS. A time-out of 0 waits for ever, as in libusb: it fails the test here.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, Self

from gateway.sources.nfc_library import transport

usb1: Final = transport.libusb
"""The module itself, for its constants and errors."""
BULK: Final = 0x02
"""bmAttributes of a bulk endpoint."""
IN, OUT = 0x81, 0x02
"""bEndpointAddress; bit 7: towards the host."""
PACKET: Final = 64


class UsbReader(Protocol):
    """What is plugged in. `take` returns the transfers with which it answers one from the host."""

    vendor: int
    product: int
    names: tuple[str, str]
    mute: bool
    spoil: Callable[[bytes], bytes]

    def take(self, transfer: bytes) -> list[bytes]:
        """Answer."""


class UsbBus:
    """Stands where the module `usb1` would; constants and errors are the module's.

    `forbidden`: no user may open a device. `impatient`: time-outs are over at once, since what comes comes at once.
    """

    def __init__(self) -> None:
        self.numbers: dict[int, UsbReader] = {}
        self.open: set[int] = set()
        self.forbidden = False
        self.impatient = False
        self._last = 0

    def plug(self, reader: UsbReader) -> None:
        """Plug a reader in, under a number that none has had."""
        self._last = self._last % 127 + 1  # USB 2.0, 9.4.6
        self.numbers[self._last] = reader

    def unplug(self, reader: UsbReader) -> None:
        """Pull it out; whoever has it open finds out with the next transfer."""
        self.numbers = {number: each for number, each in self.numbers.items() if each is not reader}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the module has
        return getattr(usb1, name)

    def getVersion(self) -> tuple[int, int, int]:  # noqa: N802 -- libusb1's names, here and below
        return 1, 0, 26

    def USBContext(self) -> "_Context":  # noqa: N802
        return _Context(self)


class _Context:
    def __init__(self, bus: UsbBus) -> None:
        self._bus = bus

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.exit()

    def exit(self) -> None:
        pass

    def getDeviceList(self, skip_on_error: bool) -> "list[_Device]":  # noqa: N802, FBT001
        del skip_on_error
        return [_Device(self._bus, number) for number in self._bus.numbers]


class _Endpoint:
    def __init__(self, address: int) -> None:
        self._address = address

    def getAddress(self) -> int:  # noqa: N802
        return self._address

    def getAttributes(self) -> int:  # noqa: N802
        return BULK

    def getMaxPacketSize(self) -> int:  # noqa: N802
        return PACKET


class _Setting:
    def iterEndpoints(self) -> Iterator[_Endpoint]:  # noqa: N802
        return iter((_Endpoint(OUT), _Endpoint(IN)))


class _Device:
    def __init__(self, bus: UsbBus, number: int) -> None:
        self._bus, self._number, self._reader = bus, number, bus.numbers[number]

    def getVendorID(self) -> int:  # noqa: N802
        return self._reader.vendor

    def getProductID(self) -> int:  # noqa: N802
        return self._reader.product

    def getBusNumber(self) -> int:  # noqa: N802
        return 1

    def getDeviceAddress(self) -> int:  # noqa: N802
        return self._number

    def iterSettings(self) -> Iterator[_Setting]:  # noqa: N802
        return iter((_Setting(),))

    def getManufacturer(self) -> str:  # noqa: N802
        if self._bus.forbidden:  # libusb opens the device to read a string
            raise usb1.USBErrorAccess
        return self._reader.names[0]

    def getProduct(self) -> str:  # noqa: N802
        return self._reader.names[1]

    def open(self) -> "_Handle":
        return _Handle(self._bus, self._number, self._reader)


class _Handle:
    def __init__(self, bus: UsbBus, number: int, reader: UsbReader) -> None:
        self._bus, self._number, self._reader = bus, number, reader
        self._waiting: deque[bytes] = deque()
        self._claimed = False

    def claimInterface(self, number: int) -> None:  # noqa: N802
        del number
        if self._number in self._bus.open:
            raise usb1.USBErrorBusy
        self._bus.open.add(self._number)
        self._claimed = True

    def close(self) -> None:
        if self._claimed:
            self._bus.open.discard(self._number)
        self._claimed = False

    def bulkWrite(self, endpoint: int, data: bytes, timeout: int) -> None:  # noqa: N802
        assert endpoint == OUT
        self._check(timeout)
        if data and not self._reader.mute:  # an empty transfer only ends the one before
            self._waiting.extend(self._reader.spoil(each) for each in self._reader.take(data))

    def bulkRead(self, endpoint: int, size: int, timeout: int) -> bytes:  # noqa: N802
        assert endpoint == IN
        until = time.monotonic() + timeout / 1000
        while not self._waiting:
            self._check(timeout)
            if self._bus.impatient or time.monotonic() >= until:
                raise usb1.USBErrorTimeout
            threading.Event().wait(0.001)
        self._check(timeout)
        return self._waiting.popleft()[:size]

    def _check(self, timeout: int) -> None:
        assert timeout > 0, "whoever waits for ever is stuck when a reader hangs"
        if self._number not in self._bus.numbers:
            raise usb1.USBErrorNoDevice
