"""The shop's network line: a TCP relay between gateway and broker that can be unplugged, and remembers every byte."""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from typing import Self

HOST = "127.0.0.1"
QUIET_SECONDS = 0.05
CHUNK = 65_536


def unchanged(chunk: bytes) -> bytes:
    """Pass what the gateway sends as it is."""
    return chunk


class Line:
    """Relays `port` to the broker's port while the context is open.

    Unplugged, connections break and new ones get no answer until the line is plugged in again: an outage of less than
    the gateway's patience (10 s) costs it one attempt.

    `tamper` makes what arrives at the broker of each piece that the gateway sends, so that a test can spoil the line.
    """

    def __init__(self, broker_port: int, tamper: Callable[[bytes], bytes] = unchanged) -> None:
        self.up = bytearray()
        """Every byte that the gateway sent."""
        self.down = bytearray()
        """Every byte that the broker sent."""
        self._broker_port = broker_port
        self._tamper = tamper
        self._plugged = asyncio.Event()
        self._talks: set[asyncio.Task[None]] = set()
        self._moved_at = 0.0
        self._asking = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._talk, HOST, 0)
        self._plugged.set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._cut()

    @property
    def port(self) -> int:
        """The port to which the gateway connects."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def plugged(self) -> bool:
        """Whether bytes pass."""
        return self._plugged.is_set()

    async def unplug(self) -> None:
        """Cut the line as soon as nothing is in flight, so that the cut itself makes no duplicate."""
        await self._quiet()
        self._plugged.clear()
        await self._cut()

    def plug(self) -> None:
        """Let bytes pass again."""
        self._plugged.set()

    async def _quiet(self) -> None:
        """Wait until the last word was the broker's, and nothing has been said since for a while."""
        clock = asyncio.get_running_loop().time
        while self._asking or clock() - self._moved_at < QUIET_SECONDS:  # noqa: ASYNC110  # silence is no event
            await asyncio.sleep(QUIET_SECONDS / 5)

    async def _cut(self) -> None:
        talks = list(self._talks)
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._talks.add(task)
            task.add_done_callback(self._talks.discard)
        try:
            await self._plugged.wait()
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the line is cut, or the broker has gone: both ends see a broken connection
        finally:
            self._asking = False
            writer.transport.abort()

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Carry bytes both ways until either end closes."""
        broker_reader, broker_writer = await asyncio.open_connection(HOST, self._broker_port)
        ways = [
            asyncio.ensure_future(self._upward(reader, broker_writer)),
            asyncio.ensure_future(self._downward(broker_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            broker_writer.close()
            with contextlib.suppress(OSError):
                await broker_writer.wait_closed()

    async def _upward(self, gateway: StreamReader, broker: StreamWriter) -> None:
        while chunk := await gateway.read(CHUNK):
            self._moved(asking=True)
            self.up += chunk
            broker.write(self._tamper(chunk))
            await broker.drain()

    async def _downward(self, broker: StreamReader, gateway: StreamWriter) -> None:
        while chunk := await broker.read(CHUNK):
            self._moved(asking=False)
            self.down += chunk
            gateway.write(chunk)
            await gateway.drain()

    def _moved(self, *, asking: bool) -> None:
        self._moved_at = asyncio.get_running_loop().time()
        self._asking = asking
