"""A serial QR and barcode scanner: USB CDC, or RS-232 behind an adapter.

Opened by its device path (`/dev/serial/by-id/...`), exclusively: a second program would take bytes out of our scans.
Unplugged or missing, it is looked for until it is back. What it sends at once when it is opened was scanned before,
nobody knows when: a customer's code among it must not begin a visit now.
"""

import asyncio
import errno
import termios
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import serial
from serial_asyncio_fast import connection_for_serial

from gateway.core.sighting import Scan
from gateway.sentence import sentence
from gateway.sources.framing import GAP, Discarded, Framer
from gateway.sources.source import CAPACITY, DeviceLostError, Source, SourceStatus

DEVICE_ERRORS = (OSError, termios.error, ValueError)
"""What pyserial raises: SerialException is an OSError; ValueError for a speed or a path that cannot be."""

REASONS = {
    errno.ENOENT: sentence("{device} is not there: unplugged, or another path"),
    errno.EACCES: sentence("{device} may not be opened: add the service's user to the group that owns it (dialout)"),
    errno.EAGAIN: sentence("{device} is in use by another program"),
    errno.EBUSY: sentence("{device} is in use by another program"),
}


class ScannerSource(Source):
    """A serial scanner at `device`, read at `baud`; each line it sends is a sighting of a `Scan`.

    It is up after a silence of GAP; what comes before that is passed over.

    Dropped, with these reasons: `torn`, `oversized`, `undecodable` (see `Framer`), and `overload` when the path does
    not keep up.
    """

    def __init__(
        self,
        name: str,
        device: str | Path,
        *,
        baud: int = 115200,
        status: Callable[[SourceStatus], None],
        dropped: Callable[[str], None],
        capacity: int = CAPACITY,
    ) -> None:
        super().__init__(name, status=status, dropped=dropped, capacity=capacity)
        self._device = str(device)
        self._baud = baud

    async def _read(self) -> None:
        try:
            port = await open_port(self._device, self._baud)
            try:
                await self._receive(port)
            finally:
                port.close()
        except DEVICE_ERRORS as error:
            raise DeviceLostError(reason(self._device, error)) from error

    async def _receive(self, port: serial.Serial) -> None:
        loop = asyncio.get_running_loop()
        receiver = _Receiver(self._take)
        transport, _ = await connection_for_serial(loop, lambda: receiver, port)
        try:
            await asyncio.wait([receiver.silent, receiver.lost], return_when=asyncio.FIRST_COMPLETED)
            if not receiver.lost.done():
                self._up()
            await asyncio.shield(receiver.lost)
        finally:
            if not transport.is_closing():  # a second end of the same transport fails
                transport.abort()
            await asyncio.shield(receiver.lost)
        raise DeviceLostError(sentence("{device} is gone: unplugged").format(device=self._device))

    def _take(self, read: Scan | Discarded) -> None:
        if isinstance(read, Scan):
            self._offer(read)
        else:
            self._dropped(read)


class _Receiver(asyncio.Protocol):
    """Frames what the port receives, after the first silence of GAP.

    `silent` is done with that silence, `lost` once the port is closed, for whatever reason.
    """

    def __init__(self, take: Callable[[Scan | Discarded], None]) -> None:
        self._take = take
        self._framer = Framer()
        self._loop = asyncio.get_running_loop()
        self._silence: asyncio.TimerHandle | None = None
        self.silent: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: ARG002 -- whoever made it has it
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._stop_waiting()
        if not self.silent.done():
            self._wait()
            return
        for read in self._framer.feed(data, self._loop.time()):
            self._take(read)
        if self._framer.pending:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- pyserial's text says less than ours
        self._stop_waiting()
        for read in self._framer.reset():
            self._take(read)
        self.lost.set_result(None)

    def _wait(self) -> None:
        self._silence = self._loop.call_later(GAP, self._fell_silent)

    def _stop_waiting(self) -> None:
        if self._silence is not None:
            self._silence.cancel()

    def _fell_silent(self) -> None:
        if not self.silent.done():
            self.silent.set_result(None)
        for read in self._framer.silence():
            self._take(read)


async def open_port(device: str, baud: int) -> serial.Serial:
    """Open the serial port for this process alone, without stopping the loop. Raises what is in DEVICE_ERRORS.

    On a thread, because a USB device that hangs can hold `tcsetattr` for seconds. A thread cannot be cancelled: when
    the source is closed meanwhile, the port is waited for and closed.
    """
    opening = asyncio.get_running_loop().run_in_executor(None, partial(serial.Serial, device, baud, exclusive=True))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with suppress(*DEVICE_ERRORS):
            (await opening).close()
        raise


def reason(device: str, error: Exception) -> str:
    """Say in words why the device cannot be opened."""
    number = error.errno if isinstance(error, OSError) else None
    said = REASONS.get(number or 0, sentence("{device} cannot be opened: {error}"))
    return said.format(device=device, error=error)
