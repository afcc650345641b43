"""A keyboard of the kernel's input subsystem, read by this process alone.

What is used of evdev is one struct and three ioctls, whose numbers have not changed since they came, and cannot
(include/uapi/linux/input.h). python-evdev has no wheels, so it would ask each gateway for a compiler and the kernel's
headers; its fork with wheels has none for aarch64; and neither offers EVIOCSMASK.
"""

import errno
import glob
import os
import struct
import time
from fcntl import ioctl
from pathlib import Path
from typing import Final, Self

from gateway.sentence import sentence
from gateway.sources.wedge_keys import EV_SYN, EVENT, SYN_REPORT

EVIOCGRAB: Final = 0x4004_4590
"""_IOW('E', 0x90, int), its argument by value: other readers of the device, the console among them, get nothing more
until it is closed."""
EVIOCSMASK: Final = 0x4010_4593
"""_IOW('E', 0x93, struct input_mask): which events of a type this reader gets."""
EVIOCSCLOCKID: Final = 0x4004_45A0
"""_IOW('E', 0xa0, int): the clock of the events' time stamps."""
EV_MSC, EV_LED = 4, 0x11
LED_CAPS_LOCK: Final = 1
NO_CODES: Final = struct.pack("=IIQ", EV_MSC, 0, 0)
"""struct input_mask: type, size of the set of codes, its address. Without a set no code is wanted."""
EVENTS: Final = 64
"""What the kernel's buffer of a keyboard holds (EVDEV_MIN_BUFFER_SIZE): some sixteen characters."""

REASONS: Final = {
    errno.ENOENT: sentence("{device} is not there: unplugged, or another path"),
    errno.EACCES: sentence("{device} may not be opened: add the service's user to the group that owns it (input)"),
    errno.EBUSY: sentence("{device} is in use by another program"),
    errno.ENOTTY: sentence("{device} is no keyboard: take the path that ends in -event-kbd"),
    errno.EINVAL: sentence("{device} is no keyboard: take the path that ends in -event-kbd"),
    errno.ENODEV: sentence("{device} is gone: unplugged"),
    errno.EIO: sentence("{device} is gone: unplugged"),
    errno.ENOTUNIQ: sentence("{device} fits several devices: take the whole path of one"),
}


class Keyboard:
    """The keyboard at `path`, grabbed: nothing that it types reaches a console. Raises OSError.

    Its events carry CLOCK_MONOTONIC, so that a step of the wall clock tears no scan. Scan codes (EV_MSC) are kept out
    of the kernel's buffer, a third of what a key makes. CapsLock's light is put out: scanners that look at it type
    letters the other way round while it is on, and after the grab nobody else changes it.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            ioctl(self._descriptor, EVIOCGRAB, 1)
            ioctl(self._descriptor, EVIOCSCLOCKID, struct.pack("i", time.CLOCK_MONOTONIC))
            ioctl(self._descriptor, EVIOCSMASK, NO_CODES)
            off = EVENT.pack(0, 0, EV_LED, LED_CAPS_LOCK, 0) + EVENT.pack(0, 0, EV_SYN, SYN_REPORT, 0)
            os.write(self._descriptor, off)
        except OSError:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor, to wait for events; it must not be closed."""
        return self._descriptor

    def read(self) -> bytes:
        """Return the events that are there. Raises OSError: ENODEV when it is unplugged."""
        try:
            events = os.read(self._descriptor, EVENTS * EVENT.size)
        except BlockingIOError:
            return b""
        if not events:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return events


def find(device: str) -> str:
    """Return the path of a device that may be given as a pattern of the shell. Raises OSError if several fit it."""
    fitting = [device] if Path(device).exists() else glob.glob(device)  # noqa: PTH207 -- a whole path, not a directory
    if len(fitting) > 1:
        raise OSError(errno.ENOTUNIQ, os.strerror(errno.ENOTUNIQ))
    return fitting[0] if fitting else device


def reason(device: str, error: OSError) -> str:
    """Say in words why the device cannot be read."""
    said = REASONS.get(error.errno or 0, sentence("{device} cannot be read: {error}"))
    return said.format(device=device, error=error.strerror)
