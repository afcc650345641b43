"""GET /metrics, as a scraper asks for it."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.uplink.scrape import AT_ONCE, REQUEST_BYTES, scraped, socket_path
from tests.simulators.broker import free_port


class UnixConnection(HTTPConnection):
    """The standard library's own HTTP client, over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def say(accept: str | None) -> tuple[bytes, str]:
    """Stand for the metrics."""
    return f"# {accept}\n".encode(), "text/plain; version=0.0.4"


async def ask(connection: HTTPConnection, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer."""

    def asked() -> tuple[int, dict[str, str], bytes]:
        connection.request(method, path, headers={"Accept": "text/plain"})
        response: HTTPResponse = connection.getresponse()
        with response:
            return response.status, dict(response.headers), response.read()

    try:
        return await asyncio.to_thread(asked)
    finally:
        connection.close()


@pytest.fixture
async def sock(directory: Path) -> AsyncIterator[Path]:
    """The socket of a gateway that can be scraped."""
    async with scraped("socket", directory, say):
        yield socket_path(directory)


async def test_over_the_socket(sock: Path) -> None:
    """The metrics come in the format that the scraper asks for, and the connection ends."""
    status, headers, body = await ask(UnixConnection(sock), "GET", "/metrics")
    assert (status, body) == (200, b"# text/plain\n")
    assert headers == {"Content-Type": "text/plain; version=0.0.4", "Content-Length": "13", "Connection": "close"}
    assert os.stat(sock).st_mode & 0o007 == 0, "others than the group may ask"  # noqa: PTH116  # in no time


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/metrics?x", 404), ("POST", "/metrics", 405)]
)
async def test_nothing_else_is_there(sock: Path, method: str, path: str, status: int) -> None:
    """One page can be read, and nothing written."""
    answered, headers, _ = await ask(UnixConnection(sock), method, path)
    assert answered == status
    assert headers.get("Allow") == ("GET" if status == 405 else None)


async def test_over_a_port_of_this_machine() -> None:
    """A scraper that knows no Unix sockets has a port of its own machine, if the configuration says so."""
    port = free_port()
    async with scraped(f"127.0.0.1:{port}", Path("/nowhere"), say):
        status, _, _ = await ask(HTTPConnection("127.0.0.1", port, timeout=30), "GET", "/metrics")
    assert status == 200


async def test_off(directory: Path) -> None:
    """Switched off, nothing listens."""
    async with scraped("off", directory, say):
        assert os.listdir(directory) == []  # noqa: PTH208  # in no time


async def test_port_that_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """A gateway whose port another has taken says so, and works without."""
    with socket.create_server(("127.0.0.1", 0)) as taken, caplog.at_level(logging.ERROR):
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        async with scraped(listen, Path("/nowhere"), say):
            assert f"metrics: nobody can scrape them at {listen}" in caplog.text


async def test_socket_goes_with_the_gateway(directory: Path) -> None:
    """It leaves no socket behind."""
    async with scraped("socket", directory, say):
        assert socket_path(directory).exists()
    assert os.listdir(directory) == []  # noqa: PTH208  # in no time


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_whoever_says_nothing_is_in_nobodys_way(sock: Path) -> None:
    """Connections that never ask are bounded in number; the rest of the gateway does not notice."""
    async with connected(sock), connected(sock):
        status, _, _ = await ask(UnixConnection(sock), "GET", "/metrics")
    assert status == 200


async def test_too_many_at_once(sock: Path) -> None:
    """One more than are allowed is hung up on."""
    writers = [(await asyncio.open_unix_connection(str(sock)))[1] for _ in range(AT_ONCE)]
    async with connected(sock) as (reader, _):
        assert await reader.read() == b""
    for writer in writers:
        writer.close()


async def test_request_without_end(sock: Path) -> None:
    """A request that is too long is hung up on."""
    async with connected(sock) as (reader, writer):
        writer.write(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 2 * REQUEST_BYTES)
        with suppress(ConnectionResetError):  # not all of it was read
            assert await reader.read() == b""
    status, _, _ = await ask(UnixConnection(sock), "GET", "/metrics")
    assert status == 200


async def test_stop_hangs_up(directory: Path) -> None:
    """A gateway that stops does not wait for those who are connected."""
    async with scraped("socket", directory, say):
        reader, writer = await asyncio.open_unix_connection(str(socket_path(directory)))
        await ask(UnixConnection(socket_path(directory)), "GET", "/metrics")
    assert await reader.read() == b""
    writer.close()


@given(head=st.binary(max_size=200))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_asked(sock: Path, head: bytes) -> None:
    """Any request is answered in HTTP, or hung up on."""
    async with connected(sock) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        writer.write_eof()
        answer = await reader.read()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
