"""What the gateway costs while nothing happens: memory, time to start, processor time when idle."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from tests.benchmarks.broker import mosquitto
from tests.benchmarks.installation import Installation, install, running, wait_for
from tests.benchmarks.process import children, cpu_seconds, resident
from tests.benchmarks.row import Row, Target, alone, in_turn, rotated
from tests.benchmarks.wire import born

TIMES = 5
SETTLE_SECONDS = 2.0
IDLE_SECONDS = 20.0
IMPORTS = {
    "capture": "import gateway.cli.app, gateway.config, gateway.daemon.run, gateway.daemon.capture",
    "uplink": "import gateway.cli.app, gateway.config, gateway.daemon.run, gateway.daemon.uplink",
}
WAIT = "; print(flush=True); import time; time.sleep(60)"


def rows() -> Iterator[Row]:
    """Measure all of it, on one installation."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        broker = stack.enter_context(mosquitto(directory))
        installed = install(directory, broker.port, readers=2)
        for half, imports in IMPORTS.items():
            yield _memory(installed, half, imports)
        starts, helps = zip(*rotated((partial(_start_to_ready, installed, broker.port), _help), TIMES), strict=True)
        yield alone("start to ready", "s", starts, Target(1, unit="s"))
        yield alone("touchpoint --help", "s", helps, Target(0.5, unit="s"))
        yield alone("idle, both halves, of a core", "%", [_idle(installed) for _ in range(3)], Target(0.5, unit="%"))


def _memory(installed: Installation, half: str, imports: str) -> Row:
    def ours() -> float:
        with running(installed.command(half)) as (process,):
            wait_for(installed.state / f"{half}.bell")
            sleep(SETTLE_SECONDS)
            return resident(process.pid)

    pairs = in_turn(ours, lambda: _imported(imports), TIMES)
    return pairs.row(f"memory of {half}", "bare imports of the same modules", "MiB", Target(1.25))


def _imported(imports: str) -> float:
    command = [sys.executable, "-c", imports + WAIT]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            return resident(process.pid)
        finally:
            process.kill()


def _start_to_ready(installed: Installation, port: int) -> float:
    """Start both halves, until the readers are served and the birth has reached a subscriber."""
    with born(port) as birth:
        began = monotonic()
        with running(installed.command("run")):
            wait_for(installed.state / "control.sock")
            assert birth.wait(20), "no birth message"
            return monotonic() - began


def _help() -> float:
    began = monotonic()
    subprocess.run([sys.executable, "-m", "gateway", "--help"], check=True, stdout=subprocess.DEVNULL)
    return monotonic() - began


def _idle(installed: Installation) -> float:
    with running(installed.command("run")) as (run,):
        wait_for(installed.state / "uplink.bell")
        sleep(SETTLE_SECONDS)
        pids = [run.pid, *children(run.pid)]
        before = sum(map(cpu_seconds, pids))
        sleep(IDLE_SECONDS)
        return 100 * (sum(map(cpu_seconds, pids)) - before) / IDLE_SECONDS
