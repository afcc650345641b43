"""The doorbell and the control socket: between processes, and whatever comes over them."""

import asyncio
import grp
import logging
import os
import pwd
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.control import (
    LINE,
    Answer,
    NobodyListensError,
    RequestError,
    Ringer,
    Tell,
    ask,
    bell_path,
    control_path,
    doorbell,
    may_ask,
    serve,
    user_name,
)
from gateway.log import Message, security
from gateway.store.database import StoreError

ROOT = Path(__file__).parent.parent
SECRET = "https://id.acme.example/m/anna"
UNKNOWN = "does not know that request"


def answering(work: Callable[[], Answer]) -> Callable[[Mapping[str, Any], Tell], Awaitable[Answer]]:
    """Return a handler that does this."""

    async def handler(request: Mapping[str, Any], tell: Tell) -> Answer:
        del request, tell
        return work()

    return handler


def failing(error: Exception) -> Callable[[Mapping[str, Any], Tell], Awaitable[Answer]]:
    """Return a handler that fails so."""

    def fail() -> Answer:
        raise error

    return answering(fail)


def modes(directory: Path) -> dict[str, int]:
    """Return the permissions of what is in a directory."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def heard(bell: asyncio.Event) -> None:
    """Wait until the bell rings; it is silent then."""
    async with asyncio.timeout(10):
        await bell.wait()
    bell.clear()


async def test_the_doorbell_rings_across_processes(directory: Path) -> None:
    """The other half is another process; each ring sets the event again."""
    code = "import sys, pathlib\nfrom gateway.control import Ringer\nRinger(pathlib.Path(sys.argv[1]))()"
    path = str(bell_path(directory, "capture"))
    async with doorbell(directory, "capture") as bell:
        for _ in range(2):
            await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code, path], cwd=ROOT, check=True)
            await heard(bell)


async def test_a_lost_ring_does_no_harm(directory: Path) -> None:
    """Nobody there, gone again, or back: the same ringer rings whoever is there."""
    with closing(Ringer(bell_path(directory, "capture"))) as ring:
        ring()
        for _ in range(2):
            async with doorbell(directory, "capture") as bell:
                ring()
                await heard(bell)
            ring()


async def test_whether_the_other_half_runs(directory: Path) -> None:
    """A half runs while its doorbell hangs; what a dead process left does not count, and nobody is rung to find out."""
    with closing(Ringer(bell_path(directory, "capture"))) as ringer:
        assert not ringer.is_heard()
        async with doorbell(directory, "capture") as heard:
            assert ringer.is_heard()
            await asyncio.sleep(0)
            assert not heard.is_set()
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as left:
            left.bind(str(bell_path(directory, "capture")))
        assert not ringer.is_heard()


async def test_a_bell_that_nobody_answers_never_blocks(directory: Path) -> None:
    """A process that hangs lets its queue fill up; the ringer goes on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hung, closing(Ringer(directory / "hung.bell")) as ring:
        hung.bind(str(directory / "hung.bell"))
        for _ in range(10_000):
            ring()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
async def test_what_a_dead_process_left_is_replaced(directory: Path, kind: socket.SocketKind) -> None:
    """A stale socket file is in nobody's way, and a clean end leaves none."""
    for path in (bell_path(directory, "capture"), control_path(directory)):
        with socket.socket(socket.AF_UNIX, kind) as stale:
            stale.bind(str(path))
    with closing(Ringer(bell_path(directory, "capture"))) as ring:
        async with doorbell(directory, "capture") as bell, serve(directory, {"hello": answering(dict)}, None):
            ring()
            await heard(bell)
            assert await ask(directory, {"ask": "hello"}) == {}
    assert modes(directory) == {}


async def test_the_sockets_are_for_the_user_and_the_group(directory: Path) -> None:
    """Nobody else can even connect, whatever the umask was."""
    before = os.umask(0)
    try:
        async with doorbell(directory, "uplink"), serve(directory, {}, None):
            found = modes(directory)
    finally:
        os.umask(before)
    assert found == {"uplink.bell": 0o770, "control.sock": 0o770}


async def test_a_directory_that_is_missing_is_named(directory: Path) -> None:
    """The message says what to do."""
    with pytest.raises(StoreError, match=f"Create the directory {directory}/none"):
        async with doorbell(directory / "none", "capture"):
            pass


async def test_answers_come_one_after_the_other(directory: Path) -> None:
    """What is told meanwhile comes before the last answer; the request's words reach the handler."""

    async def greet(request: Mapping[str, Any], tell: Tell) -> Answer:
        await tell({"present": "scanner"})
        return {"hello": request["name"]}

    told: list[object] = []

    async def tell(answer: Answer) -> None:
        told.append(answer)

    async with serve(directory, {"greet": greet}, None):
        assert await ask(directory, {"ask": "greet", "name": "Zoë"}, tell) == {"hello": "Zoë"}
        assert await ask(directory, {"ask": "greet", "name": "Ben"}) == {"hello": "Ben"}
    assert told == [{"present": "scanner"}]


async def test_nobody_may_be_there(directory: Path) -> None:
    """No socket, or one that a dead process left: the command does it by itself then."""
    with pytest.raises(NobodyListensError):
        await ask(directory, {"ask": "status"})
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(control_path(directory)))
    with pytest.raises(NobodyListensError):
        await ask(directory, {"ask": "status"})


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (RequestError("that is no token"), "that is no token"),
        (StoreError("open", Path("x.db"), "wrong", "Do this"), r"cannot open x\.db: wrong\. Do this"),
        (sqlite3.OperationalError("disk I/O error"), "the store failed: disk I/O error"),
        (ValueError(SECRET), "nobody foresaw"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_request_that_fails_is_answered(
    directory: Path, caplog: pytest.LogCaptureFixture, error: Exception, answer: str
) -> None:
    """Whoever asked is told, and the next is served. What nobody foresaw is not repeated: it may hold a token."""
    with caplog.at_level(logging.DEBUG):
        async with serve(directory, {"fail": failing(error), "hello": answering(dict)}, None):
            with pytest.raises(RequestError, match=answer) as refused:
                await ask(directory, {"ask": "fail"})
            assert await ask(directory, {"ask": "hello"}) == {}
    assert SECRET not in f"{refused.value}{caplog.text}"


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"[]\n",
        b'"status"\n',
        b"{}\n",
        b'{"ask": "dance"}\n',
        b'{"ask": ["status"]}\n',
        b"\xff\n",
        b"\n",
        b"[" * 99_999 + b"\n",
    ],
    ids=range(9),
)
async def test_garbage_gets_an_answer(directory: Path, line: bytes) -> None:
    """No request, an unknown one, or nothing like JSON."""
    async with serve(directory, {"status": answering(dict)}, None), asyncio.timeout(10):
        reader, writer = await asyncio.open_unix_connection(str(control_path(directory)), limit=LINE)
        writer.write(line)
        assert UNKNOWN.encode() in await reader.readline()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        assert await ask(directory, {"ask": "status"}) == {}


async def test_a_request_that_is_too_long_is_refused_and_not_a_crash(directory: Path) -> None:
    """It says how long one may be and what to do, also to whoever does not ask in the proper way."""
    async with serve(directory, {"status": answering(dict)}, None):
        with pytest.raises(RequestError, match="too long: a running gateway takes 4 MiB at once; stop it"):
            await ask(directory, {"ask": "status", "csv": "x" * LINE})
        reader, writer = await asyncio.open_unix_connection(str(control_path(directory)))
        writer.write(b"x" * (LINE + 1) + b"\n")
        assert b"too long" in await reader.readline()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        assert await ask(directory, {"ask": "status"}) == {}


async def test_a_long_request_to_nobody_is_no_refusal(directory: Path) -> None:
    """Without a running gateway the command does it by itself, however long it is."""
    with pytest.raises(NobodyListensError):
        await ask(directory, {"ask": "status", "csv": "x" * LINE})


async def test_work_ends_when_whoever_asked_hangs_up(directory: Path) -> None:
    """Ctrl-C at the counter gives the reader back."""
    began, ended = asyncio.Event(), asyncio.Event()

    async with serve(directory, {"wait": waiting(began, ended)}, None), asyncio.timeout(10):
        asking = asyncio.ensure_future(ask(directory, {"ask": "wait"}))
        await began.wait()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await ended.wait()


async def test_a_gateway_that_stops_ends_its_work_and_says_so(directory: Path) -> None:
    """Whoever waits at the counter is told, and nothing is left running."""
    began, ended = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(10):
        async with serve(directory, {"wait": waiting(began, ended)}, None):
            asking = asyncio.ensure_future(ask(directory, {"ask": "wait"}))
            await began.wait()
        assert ended.is_set()
        with pytest.raises(RequestError, match="the gateway stopped while it was asked"):
            await asking


def waiting(began: asyncio.Event, ended: asyncio.Event) -> Callable[[Mapping[str, Any], Tell], Awaitable[Answer]]:
    """Return a handler that waits for ever."""

    async def wait(request: Mapping[str, Any], tell: Tell) -> Answer:
        del request, tell
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    return wait


@pytest.fixture
def listening(directory: Path) -> Iterator[socket.socket]:
    """A socket to which anybody may connect."""
    directory.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(directory / "socket"))
        (directory / "socket").chmod(0o777)
        made.listen()
        yield made


@contextmanager
def peer(listening: socket.socket, uid: int, gid: int) -> Iterator[socket.socket]:
    """Return the connection of a process of this user and group."""
    assert os.geteuid() == 0, "another user can only be played by root, as whom the tests run in CI"
    code = (
        "import os, socket, sys\nos.setgroups([])\nos.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[2]))\n"
        "peer = socket.socket(socket.AF_UNIX)\npeer.connect(sys.argv[1])\nsys.stdin.read()"
    )
    words = [sys.executable, "-c", code, listening.getsockname(), str(uid), str(gid)]
    with subprocess.Popen(words, stdin=subprocess.PIPE):
        connection, _ = listening.accept()
        with connection:
            yield connection


NOBODY = 65534


@pytest.mark.parametrize(
    ("uid", "gid", "group", "allowed"),
    [
        (0, 0, None, True),
        (NOBODY, NOBODY, None, False),
        (NOBODY, NOBODY, "nogroup", True),
        (NOBODY, NOBODY, "daemon", False),
        (NOBODY, NOBODY, "no-such-group", False),
        (64_999, 64_999, "daemon", False),
    ],
)
def test_only_its_own_user_root_and_the_group_may_ask(
    listening: socket.socket,
    uid: int,
    gid: int,
    group: str | None,
    allowed: bool,  # noqa: FBT001  # expected
) -> None:
    """Whoever else connects may not; the kernel says who it is."""
    with peer(listening, uid, gid) as connection:
        assert may_ask(connection, group) is allowed


def test_a_member_of_the_group_may_ask_whatever_their_own_group_is(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`adduser anna touchpoint` is enough, without a new login."""
    group = grp.struct_group(("touchpoint", "x", 64_998, ["nobody"]))
    monkeypatch.setattr("gateway.control.grp.getgrnam", lambda _: group)
    with peer(listening, NOBODY, NOBODY) as connection:
        assert may_ask(connection, "touchpoint")
    with peer(listening, 1, 1) as connection:
        assert not may_ask(connection, "touchpoint")


async def test_whoever_may_not_ask_is_in_the_security_log(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The user is named, what was asked is not."""
    monkeypatch.setattr("gateway.control.may_ask", lambda *_: False)
    async with serve(directory, {}, None):
        with pytest.raises(RequestError):
            await ask(directory, {"ask": SECRET})
    (record,) = caplog.records
    assert (record.name, record.__dict__["message_id"]) == (security.name, Message.PEER_REFUSED)
    assert record.getMessage() == f"control socket: {user_name(os.geteuid())} may not ask"


async def test_whoever_may_not_ask_is_told_how_they_could(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group is named; no handler runs."""
    monkeypatch.setattr("gateway.control.may_ask", lambda *_: False)
    async with serve(directory, {"fail": failing(AssertionError())}, "touchpoint"):
        with pytest.raises(RequestError, match="your user may not ask this gateway; add it to the group touchpoint"):
            await ask(directory, {"ask": "fail"})


async def test_a_handler_learns_who_asks(directory: Path) -> None:
    """From the kernel, for the audit log: what a request says of itself counts for nothing."""

    async def handler(request: Mapping[str, Any], tell: Tell) -> Answer:
        del tell
        return {"who": request["who"]}

    async with serve(directory, {"who": handler}, None):
        mine = pwd.getpwuid(os.geteuid()).pw_name
        assert await ask(directory, {"ask": "who"}) == {"who": mine}
        assert await ask(directory, {"ask": "who", "who": "somebody else"}) == {"who": mine}


def test_a_user_without_a_name_is_a_number() -> None:
    """A container may run as a user that no file names."""
    assert user_name((1 << 31) - 7) == "user 2147483641"
