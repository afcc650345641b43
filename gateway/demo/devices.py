"""The boutique's devices, as the gateway finds them: a serial scanner (a pseudo-terminal) and readers behind FIFOs."""

import asyncio
import os
import pty
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.core.sighting import Scan, Sighting
from gateway.demo.boutique import COUNTER, SALON, SCANNER, WINDOW
from gateway.sources.recording import Recorded, format  # noqa: A004  # `format` of a recording

FULL_SECONDS = 0.005
"""How long to wait before writing again to a device that nobody has read for a while."""


@dataclass(frozen=True, slots=True)
class Device:
    """The end of a device that makes readings; the gateway opens `path`."""

    path: str
    descriptor: int

    async def send(self, data: bytes) -> None:
        """Write all of the data, waiting while the gateway is behind."""
        while data:
            try:
                data = data[os.write(self.descriptor, data) :]
            except BlockingIOError:
                await asyncio.sleep(FULL_SECONDS)


@contextmanager
def devices(directory: Path) -> Iterator[dict[str, Device]]:
    """Plug in every reader of the boutique, by name, while the context is open."""
    with ExitStack() as stack:
        yield {
            SCANNER: stack.enter_context(serial_port()),
            **{name: stack.enter_context(fifo(directory / f"{name}.fifo")) for name in (COUNTER, WINDOW, SALON)},
        }


@contextmanager
def serial_port() -> Iterator[Device]:
    """Make a pseudo-terminal that can be opened as any serial port."""
    scanner_end, host_end = pty.openpty()
    try:
        tty.setraw(host_end)
        os.set_blocking(scanner_end, False)
        yield Device(os.ttyname(host_end), scanner_end)
    finally:
        os.close(scanner_end)
        os.close(host_end)


@contextmanager
def fifo(path: Path) -> Iterator[Device]:
    """Make a FIFO for the readings of a simulated reader.

    It is opened both ways, as Linux allows (fifo(7)), so that what is written before the gateway comes is kept.
    """
    os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield Device(str(path), descriptor)
    finally:
        os.close(descriptor)


def reading(sighting: Sighting, at: float) -> bytes:
    """Return what the reader's device sends: a scanner its line, the others a line of a recording."""
    if sighting.reader == SCANNER and isinstance(sighting.payload, Scan):
        return f"{sighting.payload.symbology or ''}{sighting.payload.text}\r".encode()
    return format(Recorded(at, sighting)).encode() + b"\n"
