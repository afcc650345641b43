"""An MQTT 5 broker for the demo, on a free port of this machine.

The one in a Python wheel (iotcore, the extra `demo`) needs no root; without it the machine's mosquitto serves. Either
runs as a child process that a Ctrl-C at the terminal does not reach: the demo ends it when nothing needs it any more.
"""

import asyncio
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.demo import DemoError
from gateway.sentence import sentence

if TYPE_CHECKING:
    from iotcore import Broker

HOST = "127.0.0.1"
ATTEMPTS = 5
"""Another program may take the port between looking for a free one and listening on it."""
START_SECONDS = 5.0

MOSQUITTO = """listener {port} {host}
allow_anonymous true
persistence false
max_queued_messages 0
log_dest stderr
"""
MOSQUITTO_RUNS = " running"

RUMQTTD = """id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "demo"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 500
dynamic_filters = true
"""
"""Without a file of its own, iotcore drops connections at messages of 42 kB."""


class BrokerError(DemoError):
    """No broker could be started; the text says what to do."""


class PortTakenError(Exception):
    """The port was free a moment ago."""


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker that accepts connections."""

    name: str
    port: int
    stop: Callable[[], Awaitable[None]]


StartBroker = Callable[[Path, int], Awaitable[RunningBroker]]


@asynccontextmanager
async def broker(directory: Path, start: StartBroker | None = None) -> AsyncIterator[RunningBroker]:
    """Run a broker while the context is open; its files lie in the directory. Raises BrokerError."""
    running = await _started(start or available(), directory)
    try:
        yield running
    finally:
        await running.stop()


async def _started(start: StartBroker, directory: Path) -> RunningBroker:
    for _ in range(ATTEMPTS):
        try:
            return await start(directory, free_port())
        except PortTakenError:
            continue
    raise BrokerError(
        sentence("other programs took every port that was free; {count} were tried. Try again").format(count=ATTEMPTS)
    )


def available() -> StartBroker:
    """Return how to start the broker that this machine has. Raises BrokerError when it has none."""
    if find_spec("iotcore") is not None:
        return start_iotcore
    if mosquitto_program() is not None:
        return start_mosquitto
    raise BrokerError(
        sentence(
            "the demo needs an MQTT broker: pip install 'touchpoint-gateway[demo]',"
            " or as root: apt-get install mosquitto"
        )
    )


def mosquitto_program() -> str | None:
    """Find mosquitto; Debian installs it where users do not look."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def start_iotcore(directory: Path, port: int) -> RunningBroker:
    """Start rumqttd from its wheel. Raises PortTakenError, BrokerError."""
    configuration = directory / "rumqttd.toml"
    configuration.write_text(RUMQTTD.format(host=HOST, port=port), encoding="utf-8")
    started = await asyncio.to_thread(_start_iotcore, configuration)
    return RunningBroker("rumqttd (iotcore)", port, lambda: asyncio.to_thread(started.stop))


def _start_iotcore(configuration: Path) -> "Broker":
    from iotcore import Broker  # noqa: PLC0415  # an optional extra

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the child inherits it: Ctrl-C is ours
    try:
        return Broker(config_path=str(configuration)).start(START_SECONDS)
    except OSError:
        raise PortTakenError from None
    except RuntimeError as error:
        raise BrokerError(sentence("iotcore's broker did not start: {error}").format(error=error)) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def start_mosquitto(directory: Path, port: int) -> RunningBroker:
    """Start the machine's mosquitto. Raises PortTakenError, BrokerError."""
    configuration, log = directory / "mosquitto.conf", directory / "mosquitto.log"
    configuration.write_text(MOSQUITTO.format(host=HOST, port=port), encoding="utf-8")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            mosquitto_program() or "mosquitto",
            "-c",
            str(configuration),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        await _listening(process, log)
    except BaseException:
        await _stop(process)
        raise
    return RunningBroker("mosquitto", port, lambda: _stop(process))


async def _listening(process: asyncio.subprocess.Process, log: Path) -> None:
    """Wait until mosquitto says that it runs; that something listens on the port would not prove that it does."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                if MOSQUITTO_RUNS in _said(log):
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise BrokerError(
            sentence("mosquitto did not listen within {seconds:.0f} s").format(seconds=START_SECONDS)
        ) from None
    raise _why_it_ended(log)


def _why_it_ended(log: Path) -> Exception:
    said = _said(log)
    if "in use" in said:
        return PortTakenError()
    return BrokerError(sentence("mosquitto ended at once: {said}").format(said=said or sentence("it said nothing")))


def _said(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()  # it keeps nothing that would have to be saved
    await process.wait()
