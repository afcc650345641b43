"""The doorbell between the halves, and the control socket on which the CLI asks the capture half.

The doorbell is a datagram of one byte: everything that matters is in a file, and a lost ring costs a second at most.
The control socket speaks JSON, a line a message: one request, then one or more answers, the last with `done`.
Who may ask: the daemon's own user, root, and members of the configured group (unix(7), SO_PEERCRED). A handler finds
the name of the user that asks in `request["who"]`, whatever the request itself says there. It answers in the language
of `request["spoken"]`, which every command sends.
"""

import asyncio
import contextlib
import grp
import json
import os
import pwd
import socket
import sqlite3
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.language import _, spoken, spoken_to
from gateway.log import Message, log, security, told
from gateway.sentence import sentence
from gateway.store.database import StoreError, access_hint

Answer = dict[str, Any]
Tell = Callable[[Answer], Awaitable[None]]
Handler = Callable[[Mapping[str, Any], Tell], Awaitable[Answer]]

_CREDENTIALS = struct.calcsize("3i")
LINE = 4 * 1024 * 1024
"""The longest line, for a whole registry in one request."""


def _too_long() -> str:
    wrong = _(
        "that request is too long: a running gateway takes {limit} MiB at once; stop it and give the command"
        " again, which then works on its files"
    )
    return wrong.format(limit=LINE // 1024**2)


class RequestError(Exception):
    """A request that cannot be granted; the text is for the person who asked."""


class NobodyListensError(Exception):
    """No capture half is running on this state directory."""


def bell_path(runtime: Path, half: str) -> Path:
    """Return where the doorbell of a half hangs."""
    return runtime / f"{half}.bell"


def control_path(runtime: Path) -> Path:
    """Return where the capture half listens for requests."""
    return runtime / "control.sock"


class _Bell(asyncio.DatagramProtocol):
    def __init__(self, heard: asyncio.Event) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Somebody rang; what the datagram says does not matter."""
        del data, addr
        self._heard.set()


@asynccontextmanager
async def doorbell(runtime: Path, half: str, heard: asyncio.Event | None = None) -> AsyncIterator[asyncio.Event]:
    """Hang up the doorbell of a half, whose lock is held; the event is set by each ring."""
    path, heard = bell_path(runtime, half), heard or asyncio.Event()
    with bound(path, socket.SOCK_DGRAM) as bell:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Bell(heard), sock=bell)
        try:
            yield heard
        finally:
            transport.close()


@dataclass(slots=True)
class Ringer:
    """Rings the other half's doorbell. Never blocks, never fails: if nobody hears it, they look by themselves."""

    path: Path
    _socket: socket.socket | None = None

    def __call__(self) -> None:
        """Ring."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(OSError):
            self._socket.sendto(b".", str(self.path))

    def is_heard(self) -> bool:
        """Tell whether the other half runs: whether anybody has hung up that doorbell. It is not rung."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            return asking.connect_ex(str(self.path)) == 0

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@contextmanager
def bound(path: Path, kind: socket.SocketKind) -> Iterator[socket.socket]:
    """Bind a Unix socket for this user and group, instead of one that a dead process left. Raises StoreError."""
    with socket.socket(socket.AF_UNIX, kind) as made:
        made.setblocking(False)  # noqa: FBT003  # the socket module's own signature
        try:
            _bind(made, path)
        except OSError as error:
            wrong = error.strerror or sentence("unknown error")
            raise StoreError("listen at", path, wrong, access_hint(path.parent)) from None
        try:
            yield made
        finally:
            path.unlink(missing_ok=True)


def _bind(unbound: socket.socket, path: Path) -> None:
    path.unlink(missing_ok=True)
    previous = os.umask(0o007)
    try:
        unbound.bind(str(path))
    finally:
        os.umask(previous)


@asynccontextmanager
async def serve(runtime: Path, handlers: Mapping[str, Handler], group: str | None) -> AsyncIterator[None]:
    """Answer requests with the handler of their name while the context is open."""
    with bound(control_path(runtime), socket.SOCK_STREAM) as listening:
        talks: set[asyncio.Task[None]] = set()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                talks.add(task)
                task.add_done_callback(talks.discard)
            await _talk(reader, writer, handlers, group)

        server = await asyncio.start_unix_server(talk, sock=listening, limit=LINE)
        try:
            yield
        finally:
            server.close()
            for task in list(talks):
                task.cancel()
            await asyncio.gather(*talks, return_exceptions=True)


async def _talk(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handlers: Mapping[str, Handler], group: str | None
) -> None:
    async def tell(answer: Answer) -> None:
        writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
        await writer.drain()

    try:
        await tell({**await _answer(reader, writer, handlers, group, tell), "done": True})
    except (ConnectionError, asyncio.CancelledError):
        pass  # whoever asked has gone, or the daemon stops
    finally:
        writer.close()


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    handlers: Mapping[str, Handler],
    group: str | None,
    tell: Tell,
) -> Answer:
    peer: socket.socket = writer.get_extra_info("socket")
    if not may_ask(peer, group):
        extra = told(Message.PEER_REFUSED, "control")
        security.warning("control socket: %s may not ask", user_name(_credentials(peer)[1]), extra=extra)
        return {"error": _not_yours(group)}
    try:
        line = await reader.readline()
    except ValueError:
        return {"error": _too_long()}
    try:
        request = json.loads(line)
        handler = handlers[request["ask"]]
        request = {**request, "who": user_name(_credentials(peer)[1])}
    except (ValueError, LookupError, TypeError, RecursionError):
        wrong = _("this gateway does not know that request; is the command of the same version as the daemon?")
        return {"error": wrong}
    with spoken_to(request.get("spoken", "en")):
        return await _unless_they_leave(reader, handler(request, tell))


def _not_yours(group: str | None) -> str:
    if group is None:
        return _("your user may not ask this gateway; add it to the group of the daemon")
    return _("your user may not ask this gateway; add it to the group {group}").format(group=group)


async def _unless_they_leave(reader: asyncio.StreamReader, work: Awaitable[Answer]) -> Answer:
    """Do the work, but drop it as soon as whoever asked hangs up (Ctrl-C at the counter)."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            raise ConnectionResetError
        error = working.exception()
        return working.result() if error is None else {"error": _explained(error)}
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _explained(error: BaseException) -> str:
    """Say why a request failed. What nobody foresaw is logged by its type alone: its text may hold a token."""
    if isinstance(error, RequestError | StoreError):
        return str(error)
    if isinstance(error, sqlite3.Error):
        return _("the store failed: {error}").format(error=error)
    log.error("a request failed: %s", type(error).__name__)
    return _("that failed in a way that nobody foresaw; is the command of the same version as the daemon?")


def may_ask(connection: socket.socket, group: str | None) -> bool:
    """Tell whether the process at the other end belongs to our user, to root or to the group."""
    _, uid, gid = _credentials(connection)
    if uid in {0, os.geteuid()}:
        return True
    return group is not None and _is_member(uid, gid, group)


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Return process, user and group at the other end."""
    process, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS))
    return process, uid, gid


def user_name(uid: int) -> str:
    """Return the name of a user, for the audit log; of one without a name the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _is_member(uid: int, gid: int, group: str) -> bool:
    try:
        wanted = grp.getgrnam(group)
        return gid == wanted.gr_gid or pwd.getpwuid(uid).pw_name in wanted.gr_mem
    except KeyError:
        return False


async def ask(runtime: Path, request: Mapping[str, Any], tell: Tell | None = None) -> Answer:
    """Ask the running capture half and return its last answer; the ones before go to `tell`.

    Raises NobodyListensError, and RequestError with the text of a refusal.
    """
    async with _asked(runtime, request) as reader:
        while (answer := await _next_answer(reader)).pop("done", None) is None:
            if tell is not None:
                await tell(answer)
        return answer


@asynccontextmanager
async def hold(runtime: Path, request: Mapping[str, Any]) -> AsyncIterator[Answer]:
    """Ask for what is granted for as long as the context is open, and yield the first answer.

    Raises NobodyListensError, and RequestError; the latter also from within the context, whose body is cancelled, when
    the capture half takes back what it granted.
    """
    async with _asked(runtime, request) as reader:
        granted = await _next_answer(reader)
        ending = asyncio.ensure_future(_next_answer(reader))
        held = asyncio.timeout(None)

        def end(_: object) -> None:
            held.reschedule(0.0)

        try:
            async with held:
                ending.add_done_callback(end)
                yield granted
        except TimeoutError:
            if not ending.done():  # it is the body's own
                raise
            raise ending.exception() or RequestError(_("the gateway has taken back what it granted")) from None
        finally:
            ending.remove_done_callback(end)
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)


@asynccontextmanager
async def _asked(runtime: Path, request: Mapping[str, Any]) -> AsyncIterator[asyncio.StreamReader]:
    """Ask the running capture half; its answers can be read while the context is open."""
    line = json.dumps({**request, "spoken": spoken()}, ensure_ascii=False).encode() + b"\n"
    try:
        reader, writer = await asyncio.open_unix_connection(str(control_path(runtime)), limit=LINE)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NobodyListensError from None
    except PermissionError:
        wrong = _("your user may not use {socket}; add it to the gateway's group")
        raise RequestError(wrong.format(socket=control_path(runtime))) from None
    try:
        if len(line) > LINE:
            raise RequestError(_too_long())
        writer.write(line)
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _next_answer(reader: asyncio.StreamReader) -> Answer:
    line = await reader.readline()
    if not line:
        raise RequestError(_("the gateway stopped while it was asked; try again when it runs"))
    answer: Answer = json.loads(line)
    if "error" in answer:
        raise RequestError(answer["error"])
    return answer
