"""A mosquitto that drops nothing, and by default keeps all in memory: it must not be what limits either side."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from gateway.demo.broker import HOST, free_port, mosquitto_program

CONFIGURATION = """listener {port} {host}
user root
allow_anonymous true
persistence {persistent}
persistence_location {directory}/
max_queued_messages 0
set_tcp_nodelay true
log_type error
"""
START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """Where it listens, and which process it is."""

    port: int
    pid: int


@contextmanager
def mosquitto(
    directory: Path, more: str = "", *, port: int | None = None, persistent: bool = False
) -> Iterator[RunningBroker]:
    """Run a broker on this machine; `more` are further lines of its configuration."""
    port, file = port or free_port(), directory / "mosquitto.conf"
    settings = {"port": port, "host": HOST, "directory": directory, "persistent": str(persistent).lower()}
    file.write_text(CONFIGURATION.format(**settings) + more, encoding="utf-8")
    with (directory / "mosquitto.log").open("ab") as log:
        process = subprocess.Popen([mosquitto_program() or "mosquitto", "-c", str(file)], stdout=log, stderr=log)
    try:
        _wait_until_it_listens(port)
        yield RunningBroker(port, process.pid)
    finally:
        process.terminate()  # with persistence it writes its store now
        process.wait()


def _wait_until_it_listens(port: int) -> None:
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        sleep(0.01)
    raise TimeoutError("mosquitto does not listen")
