"""Readers' devices, lent over the control socket and without it, and taken back however the command ends."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.capture import Capture
from gateway.config import Settings, load
from gateway.control import RequestError, ask, serve
from gateway.daemon.capture import handlers, open_capture, source
from gateway.lending import Lent, lend
from gateway.sources.nfc_frontend import Frontend
from gateway.store.database import only_one
from tests.shop import until
from tests.simulators.nfc_field import Ntag21x
from tests.simulators.pn532 import Pn532
from tests.sources.watch import descriptors

ROOT = Path(__file__).parent.parent
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
[clock]
source = "trusted"
[[reader]]
name = "counter-nfc"
kind = "nfc"
device = "{device}"
touchpoint = "counter"
[[reader]]
name = "salon"
kind = "ble"
zone = "salon"
"""
LOOKS = 20
"""Commands of several looks into an empty field."""
COMMAND = """
import asyncio, sys, time
from pathlib import Path
from gateway.config import load
from gateway.lending import lend
from gateway.sources.nfc_frontend import Frontend

async def main():
    async with lend(load(Path(sys.argv[1])), "counter-nfc", "tags write", float(sys.argv[2])) as lent:
        frontend = Frontend(lent.device)
        print("open", flush=True)
        await asyncio.sleep(60) if sys.argv[3] == "waits" else time.sleep(60)

asyncio.run(main())
"""
"""A command that opens the reader and then waits, or hangs with its loop."""


@pytest.fixture
def chip(directory: Path) -> Iterator[Pn532]:
    with Pn532(directory / "ttyPN532") as chip:
        yield chip


@pytest.fixture
def settings(directory: Path, chip: Pn532) -> Settings:
    (directory / "gateway.toml").write_text(CONFIGURATION.format(device=chip.device), encoding="utf-8")
    return load(directory / "gateway.toml")


@asynccontextmanager
async def daemon(settings: Settings) -> AsyncIterator[Capture]:
    """Run the capture half with its NFC reader, and its control socket."""
    async with open_capture(settings) as half, serve(settings.gateway.sockets, handlers(half, settings), None):
        running = asyncio.ensure_future(half.run([source(settings.readers[0], half)]))
        try:
            await up(half)
            yield half
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def up(half: Capture) -> None:
    await until(lambda: "counter-nfc" in half.readers and half.readers["counter-nfc"].up)


async def status(settings: Settings) -> dict[str, object]:
    answer = await ask(settings.gateway.sockets, {"ask": "status"})
    return dict(answer["readers"]["counter-nfc"])


async def test_a_command_has_the_device_until_it_is_done(settings: Settings, chip: Pn532) -> None:
    """The gateway lets go of the device, says to whom, and no fault; afterwards it reads again."""
    async with daemon(settings) as half:
        async with lend(settings, "counter-nfc", "tags write") as lent:
            assert lent == Lent("counter-nfc", "nfc", chip.device)
            me = await asyncio.to_thread(lambda: Frontend(lent.device))  # refused while another has the port
            said = await status(settings)
            assert (said["up"], said["lent"]) == (False, True)
            assert str(said["reason"]).startswith("lent to tags write by ")
            me.close()
        await up(half)
        assert (await status(settings))["lent"] is False
        seen = chip.commands  # what lies there when it is given back is nobody's tap
        await until(lambda: chip.commands > seen + LOOKS)
        chip.place(Ntag21x(213, bytes.fromhex("04a1b2c3d4e5f6")))
        await until(lambda: half.counts["dropped:unknown"] == 1)


async def test_two_commands_cannot_have_it(settings: Settings) -> None:
    """The second is told who has it; a reading for another command cannot be had meanwhile either, nor the device of a
    reader whose next reading is waited for."""
    async with daemon(settings) as half:
        async with lend(settings, "counter-nfc", "tags write"):
            with pytest.raises(RequestError, match=r"counter-nfc is lent to tags write by .* at present; try again"):
                async with lend(settings, "counter-nfc", "tags lock"):
                    pass
            with pytest.raises(RequestError, match="lent to tags write"):
                await half.borrow("counter-nfc")
        await up(half)
        waiting = asyncio.ensure_future(half.borrow("counter-nfc"))
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="lent to another command"):
            async with lend(settings, "counter-nfc", "tags write"):
                pass
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
async def test_a_command_that_is_killed_gives_it_back(settings: Settings, how: signal.Signals) -> None:
    """kill -9 closes its connection and its device; so does Ctrl-C."""
    async with daemon(settings) as half:
        command = await started(settings, 60, "waits")
        assert half.readers["counter-nfc"].lent
        command.send_signal(how)
        await up(half)
        await asyncio.to_thread(command.communicate)


async def test_a_command_that_hangs_loses_it(settings: Settings) -> None:
    """After its time the gateway takes the device back: it is in use, and then read as soon as the command is gone."""
    async with daemon(settings) as half:
        command = await started(settings, 0.5, "hangs")
        await until(lambda: "is in use by another program" in (half.readers["counter-nfc"].reason or ""))
        assert not half.readers["counter-nfc"].lent
        command.kill()
        await up(half)
        await asyncio.to_thread(command.communicate)


async def started(settings: Settings, seconds: float, then: str) -> "subprocess.Popen[bytes]":
    """Start a command that has the reader and waits, or hangs."""
    words = [sys.executable, "-c", COMMAND, str(settings.file), str(seconds), then]
    command = await asyncio.to_thread(
        lambda: subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    )
    assert command.stdout is not None
    assert await asyncio.to_thread(command.stdout.readline) == b"open\n"
    return command


async def test_a_command_is_told_when_its_time_is_over(settings: Settings) -> None:
    """What it does within is cancelled, with the reason."""
    async with daemon(settings):
        with pytest.raises(RequestError, match=r"lent for 0\.1 seconds, as asked for; the gateway has taken it back"):
            async with lend(settings, None, "tags write", 0.1):
                await asyncio.Event().wait()


async def test_a_command_is_told_when_the_gateway_stops(settings: Settings) -> None:
    """It ends too, and the gateway leaves nothing open."""
    ended = asyncio.Event()

    async def work() -> None:
        async with lend(settings, None, "tags write"):
            ended.set()
            await asyncio.Event().wait()

    async with daemon(settings):
        working = asyncio.ensure_future(work())
        await ended.wait()
    with pytest.raises(RequestError, match="the gateway stopped"):
        await working


async def test_the_errors_of_a_command_are_its_own(settings: Settings) -> None:
    """A time-out or a fault within the context comes out as it is, and the reader is given back."""
    async with daemon(settings) as half:
        with pytest.raises(TimeoutError):
            async with lend(settings, None, "tags write"), asyncio.timeout(0):
                await asyncio.Event().wait()
        await up(half)
        with pytest.raises(ZeroDivisionError):
            async with lend(settings, None, "tags write"):
                raise ZeroDivisionError
        await up(half)


async def test_lending_again_and_again_leaves_nothing(settings: Settings) -> None:
    """Also to a command that goes before the device is closed: no task, no descriptor, and the reader reads."""
    async with daemon(settings) as half:
        async with lend(settings, None, "tags write"):
            pass
        await up(half)
        tasks, files = len(asyncio.all_tasks()), len(descriptors())
        for turns in range(12):
            asking = asyncio.ensure_future(hold_briefly(settings))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await until(lambda: not half._lent)  # noqa: SLF001 -- nothing else tells that it is over
        await up(half)
        await until(lambda: len(asyncio.all_tasks()) == tasks and len(descriptors()) == files)


async def hold_briefly(settings: Settings) -> None:
    async with lend(settings, None, "tags write"):
        await asyncio.sleep(0)


async def test_without_a_gateway_the_device_is_the_commands(settings: Settings) -> None:
    """One command at a time has it; a gateway that is started meanwhile runs, and reads it when it is free."""
    async with lend(settings, "counter-nfc", "tags write") as lent:
        frontend = await asyncio.to_thread(lambda: Frontend(lent.device))
        with pytest.raises(RequestError, match="counter-nfc is lent to another command at present"):
            async with lend(settings, "counter-nfc", "tags lock"):
                pass
        with only_one(settings.gateway.state, "capture"):
            pass
        frontend.close()
    async with daemon(settings):
        pass


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("name", ["salon", "none", "__class__"])
async def test_only_readers_with_a_device_are_lent(settings: Settings, name: str, *, running: bool) -> None:
    """A Bluetooth adapter is BlueZ's; the message has the names of what can be had."""
    async with daemon(settings) if running else nothing():
        with pytest.raises(RequestError, match=f"no reader {name} that can be lent: counter-nfc"):
            async with lend(settings, name, "tags write"):
                pass


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("seconds", [0, -1, 1e9, "x", None, float("nan")])
async def test_nobody_has_it_for_ever(settings: Settings, seconds: float) -> None:
    """The time has an upper limit."""
    async with daemon(settings) as half:
        with pytest.raises(RequestError, match="a reader is lent for up to 28800 seconds"):
            async with lend(settings, None, "tags write", seconds):
                pass
        assert half.readers["counter-nfc"].up


async def test_what_a_command_calls_itself_fits_a_line(settings: Settings) -> None:
    """Control characters and length are cut; without a name it is a command."""
    async with daemon(settings) as half:
        async with lend(settings, None, "tags\n\x1b[2Jwrite" + "x" * 100):
            assert "\n" not in (half.readers["counter-nfc"].reason or "")
            assert len(half.readers["counter-nfc"].reason or "") < 100
        await up(half)
        async with lend(settings, None, ""):
            assert (half.readers["counter-nfc"].reason or "").startswith("lent to a command by ")
