"""A contactless reader as the source needs it, the same for each that nfcpy drives: PN532, RC-S380, ACR122U.

Ports are opened here, with nfcpy's drivers on top. Its own search lists `/dev` for names like `ttyUSB0` only, and does
not know `/dev/serial/by-id/...`, which stays the same after a restart. On USB its drivers would wait for ever for a
reader that hangs, and a reader that fails to open would stay claimed.
"""

import errno
import importlib
import logging
import os
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import serial

from gateway.sentence import sentence
from gateway.sources.nfc_library import Device, nfc, transport, usb_drivers

TECHNOLOGY: Final = "106A"
"""Type A at 106 kbps: NFC Forum Type 2 and Type 4A, and nearly every tag that is sold."""

LONGEST_MS: Final = 1000
"""So long a reader on USB may take for an answer; nfcpy's drivers give a tag 0.3 s at most."""

REASONS: Final = {
    errno.ENOENT: sentence("{device} is not there: unplugged, or another path"),
    errno.ENODEV: sentence("{device} is not there: unplugged, no reader, or one that this user may not open"),
    errno.EACCES: sentence(
        "{device} may not be opened: see the notes on readers for the group (dialout) or the udev rule"
    ),
    errno.EBUSY: sentence("{device} is in use by another program"),
    errno.EAGAIN: sentence("{device} is in use by another program"),
    errno.ETIMEDOUT: sentence("{device} does not answer: unplugged, or hung"),
    errno.EIO: sentence("{device} does not answer: unplugged, or hung"),
}


class Frontend:
    """An open reader. Used and closed by one thread. Opening raises whatever nfcpy and pyserial do."""

    def __init__(self, device: str) -> None:
        hush()
        self._clf = _opened(device)

    @property
    def shines(self) -> bool:
        """Whether it has a light or a buzzer that nfcpy can switch."""
        return type(self._clf.device).turn_on_led_and_buzzer is not Device.turn_on_led_and_buzzer

    def find(self, discover: Callable[[Any], bool], pause: Callable[[], bool]) -> Any:  # noqa: ANN401 -- nfcpy has no types
        """Return the next tag that `discover` lets through, once activated; None when `pause` has said to end.

        `pause` is called before each look into the field, and waits. Raises OSError when the reader is gone, and
        whatever else nfcpy does then.
        """
        looking = {
            "targets": [TECHNOLOGY],
            "iterations": 1,  # the default senses for seconds before it looks whether to end
            "on-discover": discover,
            "on-connect": lambda _: False,  # the tag is returned; nfcpy would stay and beep
        }
        found = self._clf.connect(rdwr=looking, terminate=pause)
        if found is False:  # nfcpy's word for an OSError
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return found

    def shine(self, *, on: bool) -> None:
        """Switch light and buzzer, where there are any."""
        device = self._clf.device
        (device.turn_on_led_and_buzzer if on else device.turn_off_led_and_buzzer)()

    def close(self) -> None:
        """Close the reader, also one that is gone: nfcpy then fails on the way and leaves the port open."""
        used = getattr(getattr(self._clf.device, "chipset", None), "transport", None)
        with suppress(Exception):
            self._clf.close()
        self._clf.device = None
        _close(used)


class _Port(serial.Serial):
    """A port whose timeout can be set without setting up the port again, which nfcpy does with each frame."""

    @property
    def timeout(self) -> float | None:
        """Seconds that a read waits at most."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._timeout = seconds


class _Transport(transport.TTY):  # type: ignore[misc]  # nfcpy has no types
    """nfcpy's serial transport, for this process alone."""

    def open(self, port: str, baudrate: int = 115200) -> None:
        """Open the port, again if need be. Raises OSError, termios.error."""
        self.close()
        self.tty = _Port(port, baudrate, timeout=0.05, exclusive=True)


class _Usb(transport.USB):  # type: ignore[misc]  # nfcpy has no types
    """nfcpy's USB transport, without waits for ever (a time-out of 0), which its RC-S380 driver asks for."""

    def open(self, usb_bus: int, dev_adr: int) -> None:
        """Open the device. Raises OSError."""
        try:
            super().open(usb_bus, dev_adr)
        except transport.libusb.USBErrorAccess:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES)) from None
        except transport.libusb.USBError:
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from None

    def read(self, timeout: int = 0) -> Any:  # noqa: ANN401 -- nfcpy has no types
        """Return a transfer that comes within so many milliseconds. Raises OSError."""
        return super().read(timeout or LONGEST_MS)

    def write(self, frame: bytes, timeout: int = 0) -> None:
        """Send a transfer within so many milliseconds. Raises OSError."""
        super().write(frame, timeout or LONGEST_MS)


def _opened(device: str) -> Any:  # noqa: ANN401 -- nfcpy has no types
    if device.startswith("tty:"):
        return _serial(device)
    return _usb(device) if device.startswith("usb") else nfc.ContactlessFrontend(device)


def _serial(device: str) -> Any:  # noqa: ANN401 -- nfcpy has no types
    """Open a reader on a serial port, `tty:USB0:pn532` or `tty:/dev/serial/by-id/...:pn532`, for this process alone."""
    port, _, driver = device.removeprefix("tty:").rpartition(":")
    return _driven(driver, _Transport(port if port.startswith("/") else f"/dev/tty{port}"), port)


def _usb(device: str) -> Any:  # noqa: ANN401 -- nfcpy has no types
    """Open the first reader that fits `usb` or `usb:vendor:product` and can be opened. Raises OSError if none can."""
    failed = OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    for vendor, product, bus, address in _Usb.find(device):
        driver = usb_drivers.get((vendor, product))
        if driver is not None:
            try:
                return _driven(driver, _Usb(bus, address), device)
            except OSError as error:
                failed = error
    raise failed


def _driven(driver: str, used: Any, path: str) -> Any:  # noqa: ANN401 -- nfcpy has no types
    """Start one of nfcpy's drivers on an open port; if it fails, the port is closed."""
    try:
        opened = importlib.import_module(f"nfc.clf.{driver}").init(used)
    except BaseException:
        _close(used)
        raise
    opened._path = path  # noqa: SLF001 -- as nfcpy's own search does
    clf = nfc.ContactlessFrontend()
    clf.device = opened
    return clf


def _close(used: Any) -> None:  # noqa: ANN401 -- nfcpy has no types
    """Close the port itself first: nfcpy flushes it before, which fails once it has hung up (termios.error)."""
    for each in (getattr(used, "tty", None), used):
        if each is not None:
            with suppress(Exception):
                each.close()


def hush() -> None:
    """Keep nfcpy out of the log: it shows UIDs and content, and what it warns of is reported by us."""
    logging.getLogger("nfc").setLevel(logging.CRITICAL + 1)


def reason(device: str, error: Exception) -> str:
    """Say in words why the reader cannot be used. Only numbers and names are taken from the error, never its text."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, termios.error):  # what a port says that hangs up while it is opened; no OSError
        number = error.args[0] if error.args and isinstance(error.args[0], int) else None
    if device.startswith("usb") and number == errno.ENOENT:  # libusb1 looks for it when it is first needed
        missing = sentence("{device} cannot be used: libusb is missing (apt install libusb-1.0-0)")
        return missing.format(device=device)
    said = REASONS.get(number or 0, sentence("{device} cannot be used: {error}"))
    return said.format(device=device, error=type(error).__name__)
