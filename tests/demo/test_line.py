"""The line: passes bytes both ways, remembers them, and can be unplugged without losing what is in flight."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.demo.line import HOST, QUIET_SECONDS, Line


@asynccontextmanager
async def echo(delay: float = 0) -> AsyncIterator[int]:
    """Answer everything with itself in capital letters, after a while."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            await asyncio.sleep(delay)
            writer.write(data.upper())
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def asked(line: Line, question: bytes) -> bytes:
    """Ask over a connection of its own."""
    reader, writer = await asyncio.open_connection(HOST, line.port)
    writer.write(question)
    try:
        return await reader.read(1000)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_bytes_pass_both_ways_and_are_remembered() -> None:
    """What goes up and what comes down is kept apart."""
    async with echo() as port, Line(port) as line:
        assert await asked(line, b"hello") == b"HELLO"
        assert (bytes(line.up), bytes(line.down)) == (b"hello", b"HELLO")


async def test_unplugging_breaks_connections() -> None:
    """Whoever is connected sees the connection end."""
    async with echo() as port, Line(port) as line:
        reader, writer = await asyncio.open_connection(HOST, line.port)
        writer.write(b"hello")
        await reader.readexactly(5)
        await line.unplug()
        assert not line.plugged
        assert await reader.read(1) == b""
        writer.close()


async def test_unplugging_waits_for_the_answer() -> None:
    """A question that is under way is answered before the line is cut: the asker need not ask again."""
    async with echo(delay=4 * QUIET_SECONDS) as port, Line(port) as line:
        reader, writer = await asyncio.open_connection(HOST, line.port)
        writer.write(b"hello")
        while not line.up:  # noqa: ASYNC110  # the line's memory tells nobody
            await asyncio.sleep(0.001)
        await line.unplug()
        assert await reader.readexactly(5) == b"HELLO"
        writer.close()


async def test_unplugged_nothing_passes_until_it_is_plugged_in() -> None:
    """A connection made meanwhile is answered as soon as the line is back, and not before."""
    async with echo() as port, Line(port) as line, asyncio.TaskGroup() as tasks:
        await line.unplug()
        waiting = tasks.create_task(asked(line, b"hello"))
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        assert not line.up
        line.plug()
        assert await waiting == b"HELLO"


async def test_a_spoiled_line_spoils_what_arrives() -> None:
    """A test can make the line repeat what it carries; what is remembered is what was sent."""
    async with echo() as port, Line(port, tamper=lambda chunk: chunk * 2) as line:
        assert await asked(line, b"hello") == b"HELLOHELLO"
        assert bytes(line.up) == b"hello"


async def test_a_broker_that_is_gone_looks_like_a_broken_connection() -> None:
    """The gateway's connection ends; the line itself goes on."""
    async with echo() as port:
        pass
    async with Line(port) as line:
        assert await asked(line, b"hello") == b""
        assert line.plugged
