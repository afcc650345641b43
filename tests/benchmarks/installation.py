"""A gateway as it is installed: configuration, keys, registry, consents, and pipes for its readers."""

import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from gateway.keys import write_secret
from tests.core import salon
from tests.simulators.centre_keys import GATEWAY

CONFIGURATION = """[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"
limit_mb = {limit_mb}

[mqtt]
host = "127.0.0.1"
port = {port}
batch = {batch}

[pseudonym]
keys = "./keys.json"

[clock]
source = "trusted"

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
STOP_SECONDS = 5
CARDS = (salon.ANNA.value, salon.BEN.value)
"""Tokens of customers who have consented."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where it lies, and the pipes that stand in for its scanners."""

    directory: Path
    pipes: tuple[Path, ...]

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.directory / "gateway.toml"

    @property
    def state(self) -> Path:
        """The directory of the databases."""
        return self.directory / "state"

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of one of our commands."""
        return [sys.executable, "-m", "gateway", *arguments, "--config", str(self.configuration)]


def install(directory: Path, port: int, readers: int, *, batch: int = 500, limit_mb: int = 512) -> Installation:
    """Install it; what a person would do, by the same commands."""
    installed = Installation(directory, tuple(directory / f"scanner-{number}" for number in range(readers)))
    installed.state.mkdir()
    write_secret(
        installed.state / "device.key", urlsafe_b64encode(GATEWAY.key.private_bytes_raw()).rstrip(b"=").decode()
    )
    for pipe in installed.pipes:
        os.mkfifo(pipe)
    scanners = "".join(READER.format(name=pipe.name) for pipe in installed.pipes)
    settings = {"port": port, "batch": batch, "limit_mb": limit_mb, "members": salon.MEMBERS}
    text = CONFIGURATION.format(**settings) + scanners
    installed.configuration.write_text(text, encoding="utf-8")
    keys = directory / "keys.json"
    keys.write_text(salon.RING.to_json(), encoding="utf-8")
    keys.chmod(0o600)
    for card in CARDS:
        grant = installed.command("consent", "grant", "--token-from-stdin")
        subprocess.run(grant, input=f"{card}\n", text=True, check=True, stdout=subprocess.DEVNULL)
    return installed


@contextmanager
def running(
    *commands: list[str], directory: Path | None = None, environment: dict[str, str] | None = None
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run processes while the context is open; what they say is not wanted."""
    silent = subprocess.DEVNULL
    processes = [
        subprocess.Popen(command, stdout=silent, stderr=silent, cwd=directory, env=environment) for command in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            _wait_or_kill(process)


def _wait_or_kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(path: Path, seconds: float = 20) -> None:
    """Wait until a file is there."""
    deadline = monotonic() + seconds
    while not path.exists():
        assert monotonic() < deadline, f"{path.name} did not appear"
        sleep(0.01)
