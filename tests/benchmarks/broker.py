"""A mosquitto that keeps everything in memory and drops nothing: it must not be what limits either side."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from gateway.demo.broker import HOST, free_port, mosquitto_program

CONFIGURATION = """listener {port} {host}
allow_anonymous true
persistence false
max_queued_messages 0
max_inflight_messages 0
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
def mosquitto(directory: Path, more: str = "") -> Iterator[RunningBroker]:
    """Run a broker on a free port of this machine; `more` are further lines of its configuration."""
    port, file = free_port(), directory / "mosquitto.conf"
    file.write_text(CONFIGURATION.format(port=port, host=HOST) + more, encoding="utf-8")
    process = subprocess.Popen([mosquitto_program() or "mosquitto", "-c", str(file)])
    try:
        _wait_until_it_listens(port)
        yield RunningBroker(port, process.pid)
    finally:
        process.kill()
        process.wait()


def _wait_until_it_listens(port: int) -> None:
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        sleep(0.01)
    raise TimeoutError("mosquitto does not listen")
