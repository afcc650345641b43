"""What staff ask of the capture half, over its socket and its own files."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.control import (
    NobodyListensError,
    RequestError,
    Ringer,
    ask,
    bell_path,
    control_path,
    doorbell,
    may_ask,
    serve,
)
from gateway.core.pseudonym import derive
from gateway.core.sighting import Scan, Sighting
from gateway.daemon.capture import desk, open_capture
from gateway.desk import Desk
from gateway.sources.source import SourceStatus

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
[pseudonym]
keys = "./keys.json"
[clock]
source = "trusted"
[[reader]]
name = "scanner"
kind = "scanner"
device = "/none"
touchpoint = "counter"
[[bearer]]
kind = "link"
prefix = "https://id.acme.example/m/"
"""
Runtime = AsyncIterator[Path]


async def silent(answer: Mapping[str, Any]) -> None:
    del answer


@pytest.fixture
async def runtime() -> Runtime:
    """A directory short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="tp-") as directory:
        yield Path(directory)


@pytest.fixture
async def open_desk(runtime: Path) -> AsyncIterator[Desk]:
    """The desk of a capture half with keys and one working reader; no source runs."""
    (runtime / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    (runtime / "keys.json").write_text(
        derive(bytes(32), "acme", "zrh-1", [("2026Q4", 0, None)]).to_json(), encoding="utf-8"
    )
    settings = load(runtime / "gateway.toml")
    async with open_capture(settings) as half:
        half.show(SourceStatus("scanner", up=True))
        yield desk(half, settings)


async def act(counter: Desk, name: str, **request: object) -> dict[str, Any]:
    return await counter.handlers()[name](request, silent)


async def test_a_grant_is_renewed_and_a_grant_after_a_withdrawal_is_a_new_record(open_desk: Desk) -> None:
    """The same purposes again: the next revision. After a withdrawal: another record, and the tombstone stays."""
    first = await act(open_desk, "consent-grant", token=TOKEN)
    again = await act(open_desk, "consent-grant", token=TOKEN, notice="2", language="de")
    assert (again["record_id"], again["revision"], again["state"]) == (first["record_id"], 2, "renewed")
    assert (again["notice_version"], again["language"]) == ("2", "de")
    assert await act(open_desk, "consent-withdraw", token=TOKEN) == {"withdrawn": 1, "possibly_sent": 0}
    assert await act(open_desk, "consent-withdraw", token=TOKEN) == {"withdrawn": 0, "possibly_sent": 0}
    third = await act(open_desk, "consent-grant", token=TOKEN)
    assert third["record_id"] != first["record_id"]
    shown = (await act(open_desk, "consent-show", token=TOKEN))["records"]
    assert sorted(record["state"] for record in shown) == ["given", "withdrawn"]
    assert "handles" not in shown[0]


async def test_what_is_no_token_is_refused(open_desk: Desk) -> None:
    """Neither a touchpoint nor any text is a customer; nothing of it is repeated in the message."""
    with pytest.raises(RequestError, match="not a customer's token") as refused:
        await act(open_desk, "consent-grant", token="https://elsewhere.example/secret-text")  # noqa: S106
    assert "secret-text" not in str(refused.value)


async def test_without_keys_no_consent_is_recorded(open_desk: Desk) -> None:
    """A handle cannot be made, and the message says what to do."""
    open_desk.capture.path.subjects.ring = None
    with pytest.raises(RequestError, match="touchpoint keys"):
        await act(open_desk, "consent-grant", token=TOKEN)


async def test_the_token_is_presented_at_a_reader(open_desk: Desk) -> None:
    """The next sighting of the borrowed reader is the token; the reader is then given back."""
    granting = asyncio.ensure_future(act(open_desk, "consent-grant"))
    while "scanner" not in open_desk.capture._borrowed:  # noqa: SLF001, ASYNC110  # what the source looks at
        await asyncio.sleep(0)
    with pytest.raises(RequestError, match="lent to another command"):
        await act(open_desk, "consent-show")
    assert open_desk.capture._lend(Sighting("scanner", Scan(TOKEN)))  # noqa: SLF001
    assert (await granting)["state"] == "given"
    assert not open_desk.capture._lend(Sighting("scanner", Scan(TOKEN)))  # noqa: SLF001


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"reader": "salon"}, "no reader salon; a token can be presented at: scanner"),
        ({"seconds": 0.01}, "nothing was presented at scanner"),
    ],
)
async def test_a_presentation_that_cannot_be(open_desk: Desk, request_: dict[str, object], message: str) -> None:
    """Each with what to do next."""
    with pytest.raises(RequestError, match=message):
        await act(open_desk, "consent-grant", **request_)


async def test_a_reader_that_is_down_cannot_be_borrowed(open_desk: Desk) -> None:
    """The message says why it is down."""
    open_desk.capture.show(SourceStatus("scanner", up=False, reason="unplugged"))
    with pytest.raises(RequestError, match="scanner is not working: unplugged"):
        await act(open_desk, "consent-grant")


async def test_the_doorbell_rings_and_a_lost_one_does_no_harm(runtime: Path) -> None:
    """A ring without a bell is nothing; a stale socket of a dead process is replaced."""
    ring = Ringer(bell_path(runtime, "capture"))
    ring()
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stale.bind(str(bell_path(runtime, "capture")))
    stale.close()
    async with doorbell(runtime, "capture") as heard:
        ring()
        async with asyncio.timeout(5):
            await heard.wait()
    ring.close()
    assert not bell_path(runtime, "capture").exists()


async def test_requests_and_what_is_none(runtime: Path) -> None:
    """A handler's answer and its refusal reach whoever asked; garbage gets an answer too, and no crash."""

    async def greet(request: Mapping[str, Any], tell: Any) -> dict[str, Any]:  # noqa: ANN401
        await tell({"present": "scanner"})
        if request.get("rude"):
            raise RequestError("no")
        return {"hello": request["name"]}

    told: list[object] = []

    async def tell(answer: dict[str, Any]) -> None:
        told.append(answer)

    async with serve(runtime, {"greet": greet}, None):
        assert (await ask(runtime, {"ask": "greet", "name": "Anna"}, tell))["hello"] == "Anna"
        assert told == [{"present": "scanner"}]
        with pytest.raises(RequestError, match="no"):
            await ask(runtime, {"ask": "greet", "rude": True})
        with pytest.raises(RequestError, match="does not know that request"):
            await ask(runtime, {"ask": "dance"})
        for garbage in (b"nonsense\n", b"[]\n", b"\xff\n", b"[" * 99999 + b"\n"):
            reader, writer = await asyncio.open_unix_connection(str(control_path(runtime)))
            writer.write(garbage)
            assert b"error" in await reader.readline()
            writer.close()
    with pytest.raises(NobodyListensError):
        await ask(runtime, {"ask": "greet"})


async def test_work_ends_when_whoever_asked_hangs_up(runtime: Path) -> None:
    """Ctrl-C at the counter gives the reader back."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: Mapping[str, Any], tell: Any) -> dict[str, Any]:  # noqa: ANN401
        del request, tell
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    async with serve(runtime, {"wait": wait}, None), asyncio.timeout(10):
        asking = asyncio.ensure_future(ask(runtime, {"ask": "wait"}))
        await began.wait()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await ended.wait()


def test_only_its_own_user_root_and_the_group_may_ask(runtime: Path) -> None:
    """Whoever else connects is told to join the group."""
    assert os.geteuid() == 0, "another user can only be played by root, as the tests in CI are"
    code = (
        "import os, socket, sys\nos.setgroups([])\nos.setgid(int(sys.argv[2])); os.setuid(65534)\n"
        "peer = socket.socket(socket.AF_UNIX)\npeer.connect(sys.argv[1])\nsys.stdin.read()"
    )
    runtime.chmod(0o755)
    path = runtime / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o777)
        listening.listen()
        with socket.socket(socket.AF_UNIX) as own:
            own.connect(str(path))
            peer, _ = listening.accept()
            with peer:
                assert may_ask(peer, None)
        for gid, group, allowed in (
            (65534, None, False),
            (65534, "nogroup", True),
            (65534, "daemon", False),
            (65534, "?", False),
        ):
            with subprocess.Popen([sys.executable, "-c", code, str(path), str(gid)], stdin=subprocess.PIPE):
                peer, _ = listening.accept()
                with peer:
                    assert may_ask(peer, group) is allowed
