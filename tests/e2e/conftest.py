"""A store: a real scanner driver on a pseudo-terminal, the real processes, a real broker."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.control import NobodyListensError, RequestError, ask
from gateway.core.pseudonym import derive
from gateway.keys import quarter
from tests.e2e.centre import Subscriber, until
from tests.simulators.broker import Mosquitto
from tests.simulators.scanner import ScannerSimulator

ROOT = bytes(range(32))
REGISTRY = Path(__file__).parent.parent.parent / "config" / "registry.csv"
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "./state"

[mqtt]
host = "127.0.0.1"
port = {port}
{mqtt}

[pseudonym]
keys = "./keys.json"

[clock]
source = "trusted"

[visit]
debounce = 0

[[reader]]
name = "counter-scanner"
kind = "scanner"
device = "{scanner}"
touchpoint = "counter"

[[bearer]]
kind = "link"
prefix = "https://id.acme.example/m/"
"""


@dataclass
class Store:
    """A gateway in a directory of its own, driven by its command line."""

    directory: Path
    port: int
    scanner: ScannerSimulator
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "state"

    @property
    def log(self) -> str:
        """What the daemons said."""
        return (self.directory / "log").read_text(encoding="utf-8")

    def configure(self, mqtt: str = "") -> None:
        """Write the configuration; `mqtt` are further lines of its table."""
        text = CONFIGURATION.format(port=self.port, mqtt=mqtt, scanner=self.scanner.path)
        (self.directory / "gateway.toml").write_text(text, encoding="utf-8")

    def command(self, *words: str) -> list[str]:
        """Return the words of a command on this gateway."""
        return [sys.executable, "-m", "gateway", *words, "--config", str(self.directory / "gateway.toml")]

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*words), input=given, capture_output=True, text=True, check=False, timeout=60
        )

    def ask(self, *words: str, given: str = "") -> Any:  # noqa: ANN401  # JSON
        """Run a command that answers in JSON."""
        ran = self.run(*words, "--json", given=given)
        assert ran.stdout, ran.stderr
        return json.loads(ran.stdout)

    def start(self, *halves: str) -> list[subprocess.Popen[bytes]]:
        """Start `run`, or the halves named, and wait until the scanner can be read."""
        with (self.directory / "log").open("ab") as log:
            started = [
                subprocess.Popen(self.command(half), stdout=log, stderr=log, cwd=self.directory)
                for half in halves or ("run",)
            ]
        self.processes += started
        if "uplink" not in halves or "capture" in halves:
            until(self.is_reading, "the scanner to be read")
        return started

    def is_reading(self) -> bool:
        """Tell whether the scanner is up."""
        for process in self.processes:
            assert process.poll() is None, self.log
        try:
            readers = asyncio.run(ask(self.state, {"ask": "status"}))["readers"]
        except (NobodyListensError, RequestError):
            return False
        return bool(readers.get("counter-scanner", {}).get("up"))

    def stop(self) -> None:
        """Stop all that runs."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.terminate()
        for process in self.processes:
            process.wait(10)
        self.processes.clear()

    def appended(self) -> int:
        """Return how many events were committed, as an outsider sees it in the file."""
        with closing(sqlite3.connect(f"{(self.state / 'capture.db').as_uri()}?mode=ro", uri=True)) as outside:
            row = outside.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        return int(row[0]) if row else 0

    def scan(self, *texts: str) -> None:
        """Scan, and wait until each is committed."""
        wanted = self.appended() + len(texts)
        for text in texts:
            self.scanner.scan(text)
        until(lambda: self.appended() >= wanted, f"{len(texts)} scans to be committed")

    def files_holding(self, text: str) -> list[Path]:
        """Return the files of the gateway that hold these bytes."""
        files = [path for path in self.directory.rglob("*") if path.is_file()]
        return [path for path in files if text.encode() in path.read_bytes()]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for a Unix socket."""
    path = Path(tempfile.mkdtemp(prefix="tp-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def broker(directory: Path) -> Iterator[Mosquitto]:
    """A broker that keeps what it was given through a restart."""
    with Mosquitto(directory) as started:
        yield started


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    """The centre."""
    with Subscriber(broker.port) as listening:
        yield listening


@pytest.fixture
def store(directory: Path, broker: Mosquitto) -> Iterator[Store]:
    """A store with keys, touchpoints and a scanner; nothing runs yet."""
    (directory / "state").mkdir()
    epochs = [quarter(epoch) for epoch in ("2026Q4", "2027Q1")]
    spans = [
        (epoch, 0 if epoch == "2026Q4" else start, None if epoch == "2027Q1" else end) for epoch, start, end in epochs
    ]
    (directory / "keys.json").write_text(derive(ROOT, "acme", "zrh-1", spans).to_json(), encoding="utf-8")
    with ScannerSimulator(directory / "scanner") as scanner:
        made = Store(directory, broker.port, scanner)
        made.configure()
        assert made.run("touchpoints", "import", str(REGISTRY)).returncode == 0
        yield made
        made.stop()
    assert not list((directory / "state").glob("*.sock"))
