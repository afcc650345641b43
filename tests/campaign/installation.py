"""A gateway under test: its files, and its two halves as processes that can be killed and started again."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.core import salon

READERS = ("scanner-0", "scanner-1", "scanner-2", "scanner-3")
POINTS = 2_000
"""So many touchpoints: a scan's number modulo this is its touchpoint, so that order can be read off the events."""
HALVES = ("capture", "uplink")
LINK = "https://id.acme.example/t/"
PIPE_OCTETS = 4_096
"""What the kernel keeps of a pipe survives a killed reader; the less, the more is really in the gateway's hands."""
READY = "capture: session"
STOP_SECONDS = 10

CONFIGURATION = """[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"

[mqtt]
host = "127.0.0.1"
port = {port}
keepalive = 5
delivery = "{delivery}"

[pseudonym]
keys = "./keys.json"

[clock]
source = "trusted"

[visit]
debounce = 0

[[bearer]]
kind = "link"
prefix = "{members}"
"""
READER = """
[[reader]]
name = "{name}"
kind = "simulated"
plays = "scanner"
device = "{name}"
touchpoint = "counter"
"""
HEADER = "id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers\n"


def prepare(directory: Path) -> None:
    """Make what every trial starts from: keys, a registry of many touchpoints, and a customer who has consented."""
    gateway = Gateway(directory, 1)
    (directory / "state").mkdir()
    (directory / "keys.json").write_text(salon.RING.to_json(), encoding="utf-8")
    (directory / "keys.json").chmod(0o600)
    points = "".join(f"p-{n},display,Case {n},salon,,,,,,,,link:{LINK}{n}\n" for n in range(POINTS))
    counter = "counter,counter,Counter,salon,,,,,,,,\n"
    (directory / "registry.csv").write_text(HEADER + counter + points, encoding="utf-8")
    gateway.configure("receipt")
    gateway.run("touchpoints", "import", str(directory / "registry.csv"))
    gateway.run("consent", "grant", "--token-from-stdin", given=f"{salon.ANNA.value}\n")


def install(prepared: Path, directory: Path) -> None:
    """Copy what was prepared, and lay the pipes that stand in for the scanners."""
    shutil.copytree(prepared, directory)
    for name in READERS:
        os.mkfifo(directory / name)


def open_pipe(path: Path) -> int:
    """Open a scanner's pipe; it is kept while no gateway reads it, and never blocks whoever writes."""
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_OCTETS)
    return pipe


def _end(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process that was asked to stop; one that does not is killed, which shows in its status."""
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@dataclass
class Gateway:
    """The installation in a directory; `environment` is added to that of its processes."""

    directory: Path
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    _halves: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _starts: int = 0

    @property
    def state(self) -> Path:
        """The directory of the databases."""
        return self.directory / "state"

    def configure(self, delivery: str) -> None:
        """Write the configuration."""
        text = CONFIGURATION.format(port=self.port, delivery=delivery, members=salon.MEMBERS)
        text += "".join(READER.format(name=name) for name in READERS)
        (self.directory / "gateway.toml").write_text(text, encoding="utf-8")

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which must be a good one."""
        ran = subprocess.run(
            self._command(*words), input=given, capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran

    def verify(self) -> dict[str, Any]:
        """Return what `touchpoint outbox verify` finds."""
        ran = subprocess.run(
            self._command("outbox", "verify", "--json"), capture_output=True, text=True, check=False, timeout=60
        )
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    def start(self, *halves: str) -> None:
        """Start halves; each start has a log of its own."""
        self._starts += 1
        for half in halves:
            with self._log(half).open("wb") as log:
                self._halves[half] = subprocess.Popen(
                    self._command(half), stdout=log, stderr=log, env={**os.environ, **self.environment}
                )

    def kill(self, *halves: str) -> None:
        """Kill halves with SIGKILL, all before the first is waited for."""
        for half in halves:
            self._halves[half].kill()
        for half in halves:
            self._halves.pop(half).wait()

    def stop(self) -> list[str]:
        """Stop what runs as systemd does; return what was wrong with that."""
        for process in self._halves.values():
            process.send_signal(signal.SIGTERM)
        ended = {half: _end(process) for half, process in self._halves.items()}
        self._halves.clear()
        return [f"{half} ended with {status}" for half, status in ended.items() if status]

    def capture_is_open(self) -> bool:
        """Tell whether the capture half of the last start has its database open."""
        logs = sorted(self.directory.glob("capture.*.log"))
        return "capture" in self._halves and bool(logs) and READY in logs[-1].read_text(encoding="utf-8")

    def died(self) -> list[str]:
        """Return which halves ended by themselves."""
        return [f"{half} ended by itself" for half, process in self._halves.items() if process.poll() is not None]

    def tracebacks(self) -> list[str]:
        """Return the logs that hold a traceback."""
        logs = sorted(self.directory.glob("*.log"))
        return [f"{log.name} holds a traceback" for log in logs if "Traceback" in log.read_text(encoding="utf-8")]

    def processes(self) -> list[int]:
        """Return the process ids of the halves that run."""
        return [process.pid for process in self._halves.values()]

    def _log(self, half: str) -> Path:
        return self.directory / f"{half}.{self._starts:03}.log"

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "gateway", *words, "--config", str(self.directory / "gateway.toml")]
