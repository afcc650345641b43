"""GET /metrics over HTTP, at a Unix socket or at an address of this machine alone.

Of HTTP/1.1 (RFC 9112) it speaks what a scraper needs: one request, one answer, and the connection ends. Nothing wakes
up until somebody asks.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from io import BytesIO
from pathlib import Path
from socket import SOCK_STREAM

from gateway.config.rules import loopback
from gateway.control import bound
from gateway.log import Message, log, told
from gateway.store.database import StoreError

Exposition = Callable[[str | None], tuple[bytes, str]]
"""Returns what is measured and its content type, in a format that an Accept header names."""
REQUEST_BYTES = 8_192
REQUEST_SECONDS = 5.0
"""So long may a request take to come; whoever is slower is left."""
AT_ONCE = 8
"""So many may be connected; one is answered at a time."""


def socket_path(sockets: Path) -> Path:
    """Return where the metrics are by default."""
    return sockets / "metrics.sock"


@asynccontextmanager
async def scraped(listen: str, sockets: Path, exposition: Exposition) -> AsyncIterator[None]:
    """Answer scrapers while the context is open. A gateway that cannot says so in the log, and works without."""
    scrape, server = _Scrape(exposition), None
    with ExitStack() as stack:
        try:
            server = await _listening(listen, sockets, scrape, stack)
        except (OSError, StoreError) as error:
            extra = told(Message.METRICS_UNREACHABLE, "metrics")
            log.error("metrics: nobody can scrape them at %s: %s", listen, error, extra=extra)
        try:
            yield
        finally:
            if server is not None:
                server.close()
            await scrape.end()


async def _listening(listen: str, sockets: Path, scrape: "_Scrape", stack: ExitStack) -> asyncio.AbstractServer | None:
    """Listen where the configuration says. Raises OSError, StoreError."""
    if listen == "off":
        return None
    if (address := loopback(listen)) is not None:
        return await asyncio.start_server(scrape.answer, *address, limit=REQUEST_BYTES)
    listening = stack.enter_context(bound(socket_path(sockets), SOCK_STREAM))
    return await asyncio.start_unix_server(scrape.answer, sock=listening, limit=REQUEST_BYTES)


@dataclass(slots=True)
class _Scrape:
    """The connections of scrapers."""

    exposition: Exposition
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _talks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and hang up."""
        task = asyncio.current_task()
        if task is None or len(self._talks) >= AT_ONCE:
            writer.close()
            return
        self._talks.add(task)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(await self._answer(head))
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # whoever asked has gone, never asked, or the daemon stops
        finally:
            self._talks.discard(task)
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        line, _, rest = head.partition(b"\r\n")
        try:
            accept = parse_headers(BytesIO(rest)).get("Accept")
        except HTTPException:
            return _response(HTTPStatus.BAD_REQUEST)
        match line.split(b" "):
            case [b"GET", b"/metrics", b"HTTP/1.1" | b"HTTP/1.0"]:
                async with self._one:
                    body, content_type = await asyncio.to_thread(self.exposition, accept)
                return _response(HTTPStatus.OK, body, content_type)
            case [b"GET", _, b"HTTP/1.1" | b"HTTP/1.0"]:
                return _response(HTTPStatus.NOT_FOUND)
            case [_, _, b"HTTP/1.1" | b"HTTP/1.0"]:
                return _response(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET")
            case _:
                return _response(HTTPStatus.BAD_REQUEST)

    async def end(self) -> None:
        """Hang up on everybody."""
        talks = list(self._talks)
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def _response(status: HTTPStatus, body: bytes = b"", content_type: str = "text/plain", allow: str = "") -> bytes:
    headers = {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"}
    if allow:
        headers["Allow"] = allow
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode() + body
