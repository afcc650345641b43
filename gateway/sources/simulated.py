"""A reader that plays recorded sightings, for a trial without devices, the demo and tests.

Its device is a recording (see `recording`): a regular file, which is played once, in real time from when it is
opened, or a FIFO, whose lines are played as they come. Several simulated readers may share a file: each takes the
lines that name it, and the wall clock is never set. A line that cannot be read is dropped as `malformed`.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.sentence import sentence
from gateway.sources.framing import Discarded, Lines
from gateway.sources.recording import ClockStep, Condition, Recorded, parse
from gateway.sources.source import CAPACITY, DeviceLostError, Source, SourceStatus

CHUNK = 65_536
LINE_LIMIT = 262_144
"""Bytes: a line has room for the largest NDEF message of a Type 4 tag (65,534 bytes), in hexadecimal."""


class SimulatedSource(Source):
    """A simulated reader. It does not drop what comes too fast: a recording can wait.

    A file that fails while it is read is played again from its start once it can be read.
    """

    def __init__(
        self,
        name: str,
        device: str | Path,
        *,
        status: Callable[[SourceStatus], None],
        dropped: Callable[[str], None],
        capacity: int = CAPACITY,
    ) -> None:
        super().__init__(name, status=status, dropped=dropped, capacity=capacity)
        self._device = Path(device)

    async def _read(self) -> None:
        try:
            with opened(self._device) as recording:
                self._up()
                if is_fifo(recording):
                    await self._listen()
                else:
                    await self._play(recording)
        except OSError as error:
            raise DeviceLostError(
                sentence("{device} cannot be read: {error}").format(device=self._device, error=error.strerror)
            ) from error

    async def _play(self, recording: int) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for lines in batches(recording):
            for said in self._mine(lines):
                await asyncio.sleep(start + said.at - loop.time())
                await self._take(said)
            await asyncio.sleep(0)  # others run, even while no line is ours
        await loop.create_future()  # played: from now on a reader that nobody comes to

    async def _listen(self) -> None:
        """Hear one writer after the other.

        The descriptor that the caller holds is not read. It keeps the pipe, so that a writer who comes between two
        of ours finds a reader, and its lines are not lost.
        """
        while True:
            await self._hear()

    async def _hear(self) -> None:
        """Play what comes until no writer is left; a line that the last one did not end counts as ended."""
        stream, lines = asyncio.StreamReader(CHUNK), recording_lines()
        pipe = os.fdopen(open_device(self._device), "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
        try:
            while chunk := await stream.read(CHUNK):
                await self._put_all(lines.feed(chunk))
            await self._put_all(lines.end())
        finally:
            transport.close()

    async def _put_all(self, lines: Iterable[bytes | Discarded]) -> None:
        for said in self._mine(lines):
            await self._take(said)

    async def _take(self, said: Recorded | Condition) -> None:
        match said:
            case Recorded():
                await self._put(said.sighting.payload)
            case Condition():
                self._report(
                    SourceStatus(self._name, said.up, None if said.up else sentence("down, as it was recorded"))
                )

    def _mine(self, lines: Iterable[bytes | Discarded]) -> Iterator[Recorded | Condition]:
        for line in lines:
            match self._parse(line):
                case Recorded() as said if said.sighting.reader == self._name:
                    yield said
                case Condition() as said if said.reader == self._name:
                    yield said
                case _:
                    pass

    def _parse(self, line: bytes | Discarded) -> Recorded | Condition | ClockStep | None:
        try:
            if not isinstance(line, Discarded):
                return parse(line)
        except ValueError:
            pass  # its text is for people who check a recording; here a malformed line is a number
        self._dropped("malformed")
        return None


def recording_lines() -> Lines:
    """Return what cuts a recording into lines."""
    return Lines(b"\r\n", LINE_LIMIT)


def batches(recording: int) -> Iterator[Iterable[bytes | Discarded]]:
    """Yield the lines of a regular file, as many at a time as one read holds. Raises OSError."""
    lines = recording_lines()
    while chunk := os.read(recording, CHUNK):
        yield lines.feed(chunk)
    yield lines.end()


def open_device(path: Path) -> int:
    """Open a file or a FIFO for reading, without waiting for a writer. Raises OSError, also for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode) or is_fifo(descriptor):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "neither a file nor a FIFO")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Hold the descriptor of the device while the context lasts. Raises OSError."""
    descriptor = open_device(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_fifo(descriptor: int) -> bool:
    """Tell whether it is a FIFO, whose writers come and go."""
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
