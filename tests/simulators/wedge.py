"""A keyboard-wedge scanner without the scanner: real descriptors behind a path that stays the same.

    with WedgeSimulator(tmp_path / "usb-Acme_Scanner-event-kbd") as scanner:
        ...                                       # open scanner.path as /dev/input/by-id/...-event-kbd
        scanner.scan("https://id.acme.example/01/09506000134352", layout="de")
        scanner.unplug()
        scanner.plug()

Its device is a pseudo-terminal, which hands over `struct input_event` and hangs up as evdev does, with EIO in place of
ENODEV. What a pseudo-terminal does not know, evdev's ioctls, is answered here in place of `fcntl.ioctl` in
`gateway.sources.wedge_device`. Whether the kernel's grab, mask and clock do what they say shows only with uinput.
"""

import errno
import fcntl
import os
import pty
import select
import struct
import termios
import time
import tty
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self
from unittest.mock import patch

from gateway.sources import wedge_device
from gateway.sources.wedge_device import EVIOCGRAB, EVIOCSCLOCKID, EVIOCSMASK
from gateway.sources.wedge_keys import EV_KEY, EV_SYN, EVENT, SYN_DROPPED, SYN_REPORT
from gateway.sources.wedge_layout import LAYOUTS, SPACE_KEY, LayoutName

SHIFT, CTRL, ALT, ALT_GR, CAPS, ENTER, TAB, GS_KEY = 42, 29, 56, 100, 58, 28, 15, 27
ENDINGS = {"\r": (ENTER,), "\t": (TAB,), "\x1d": (CTRL, GS_KEY), "\n": (CTRL, 36), "": ()}
"""The chords of suffixes: Enter, Tab, Ctrl+], Ctrl+J, none."""

Chord = tuple[int, ...]
"""A key, and before it what is held down meanwhile."""


def chords(text: str, layout: LayoutName = "us") -> list[Chord]:
    """Return what a scanner presses for a text, set to this country. Raises KeyError for what it cannot type."""
    keys = _chords_of(layout)
    dead = LAYOUTS[layout].dead + LAYOUTS[layout].third_dead
    return [chord for each in text for chord in ((keys[each], (SPACE_KEY,)) if each in dead else (keys[each],))]


def alphabet(layout: LayoutName) -> str:
    """Return the characters that a scanner can type, set to this country."""
    return "".join(each for each in _chords_of(layout) if each != "\x1d")


def _chords_of(layout: LayoutName) -> dict[str, Chord]:
    plain, shifted, third = LAYOUTS[layout]._levels  # noqa: SLF001 -- the same table, read the other way round
    found: dict[str, Chord] = {character: (ALT_GR, key) for key, character in third.items()}
    found |= {character: (SHIFT, key) for key, character in reversed(list(shifted.items()))}
    found |= {character: (key,) for key, character in reversed(list(plain.items()))}
    return found | {"\x1d": (CTRL, GS_KEY)}


def pressed(presses: Iterable[Chord]) -> Iterator[tuple[int, int]]:
    """Yield the keys that go down (1) and up (0)."""
    for *held, key in presses:
        yield from ((each, 1) for each in held)
        yield from ((key, 1), (key, 0))
        yield from ((each, 0) for each in reversed(held))


def packet(key: int, value: int, at: float = 0.0) -> bytes:
    """Return the events of a key that goes down or up at this time, seconds."""
    moment = (int(at), int(at % 1 * 1e6))
    return EVENT.pack(*moment, EV_KEY, key, value) + EVENT.pack(*moment, EV_SYN, SYN_REPORT, 0)


def typed(text: str, layout: LayoutName = "us", ending: str = "\r", at: float = 0.0) -> bytes:
    """Return the events of a scan."""
    suffix = (ENDINGS[ending],) if ending else ()
    return b"".join(packet(key, value, at) for key, value in pressed((*chords(text, layout), *suffix)))


DROPPED = EVENT.pack(0, 0, EV_SYN, SYN_DROPPED, 0)
"""What stands in the kernel's buffer after it ran over; up to the next SYN_REPORT comes the rest of a packet."""
REPORT = EVENT.pack(0, 0, EV_SYN, SYN_REPORT, 0)


class WedgeSimulator:
    """A scanner that types, at `path`. While one is entered, ioctls of the driver are answered by this class."""

    def __init__(self, path: Path, *, timeout: float = 5.0) -> None:
        self.path = path
        self.refused: int | None = None
        """Answer the grab with this errno."""
        self._timeout = timeout
        self._answering = patch.object(wedge_device, "ioctl", self.ioctl)
        self._descriptors: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        self._answering.start()
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()
        self._answering.stop()

    def ioctl(self, descriptor: int, request: int, argument: int | bytes = 0) -> int:
        """Answer what evdev answers. Raises OSError as it does."""
        if not os.isatty(descriptor):
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        expected = {EVIOCGRAB: 1, EVIOCSCLOCKID: struct.pack("i", 1), EVIOCSMASK: struct.pack("=IIQ", 4, 0, 0)}
        if expected.get(request) != argument:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if request == EVIOCGRAB:
            self._grab(descriptor)
        return 0

    def _grab(self, descriptor: int) -> None:
        if self.refused is not None:
            raise OSError(self.refused, os.strerror(self.refused))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held, as a grab is, until the descriptor is closed
        except BlockingIOError:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY)) from None
        termios.tcflush(descriptor, termios.TCIFLUSH)  # evdev keeps nothing for those who come later

    @property
    def plugged(self) -> bool:
        return bool(self._descriptors)

    def plug(self) -> None:
        """Make a device and show it at `path`; nothing if there is one."""
        if self.plugged:
            return
        self._descriptors = scanner_end, host_end = pty.openpty()
        tty.setraw(host_end)
        os.set_blocking(scanner_end, False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.symlink_to(os.ttyname(host_end))

    def unplug(self) -> None:
        """Hang up and take the path away; nothing if there is none. What was typed before may be lost."""
        if not self.plugged:
            return
        self.path.unlink()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()

    def lights(self) -> bytes:
        """Return the events that were written to the device: what it is told to light."""
        try:
            return os.read(self._descriptors[0], 4096)
        except BlockingIOError:
            return b""

    def scan(self, text: str, *, layout: LayoutName = "us", symbology: str = "]Q1", ending: str = "\r") -> None:
        """Type a code as a scanner does that is set to this country."""
        suffix = (ENDINGS[ending],) if ending else ()
        self.press((*chords(symbology + text, layout), *suffix))

    def press(self, presses: Sequence[Chord]) -> None:
        """Press and let go of keys."""
        self.events(b"".join(packet(key, value, time.monotonic()) for key, value in pressed(presses)))

    def overrun(self) -> None:
        """Say that the kernel's buffer ran over."""
        self.events(DROPPED + REPORT)

    def events(self, events: bytes) -> None:
        """Hand over events. Raises TimeoutError when nobody reads them."""
        scanner_end = self._descriptors[0]
        while events:
            _, writable, _ = select.select([], [scanner_end], [], self._timeout)
            if not writable:
                raise TimeoutError(f"nobody reads {self.path}")
            events = events[os.write(scanner_end, events) :]
