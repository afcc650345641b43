"""MemoryMax= of the units, beside what a half takes when more comes than it ever should."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.benchmarks.installation import Installation, install, running
from tests.systemd.test_units import unit

LONGEST_SCAN = 8192
"""Characters, more than any code holds."""
SCANS = 300
TOUCHPOINTS = 2_000
SECONDS = 40.0


def peak(pid: int) -> float:
    """Return the most that a process has had resident, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def registry(path: Path) -> Path:
    """Write a registry of many touchpoints."""
    head = "id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers\n"
    rows = (
        f"t{number},product,Watch {number},salon,before,,,,,,,link:https://a.example/{number}\n"
        for number in range(TOUCHPOINTS)
    )
    path.write_text(head + "".join(rows), encoding="utf-8")
    return path


def flood(installed: Installation) -> None:
    """Scan the longest codes there are, as fast as the pipe takes them, then one that is counted last."""
    with installed.pipes[0].open("w", encoding="utf-8") as pipe:
        for number in range(SCANS):
            text = f"{number:x}".ljust(LONGEST_SCAN, "x")
            pipe.write(json.dumps({"at": 0, "reader": installed.pipes[0].name, "scan": {"text": text}}) + "\n")


@pytest.mark.timeout(180)
def test_capture_stays_far_below_its_limit(directory: Path) -> None:
    """Half of it at most, for 2,000 touchpoints given to the running half and a flood of the longest codes."""
    installed = install(directory, 9, readers=1)
    (limit,) = unit("capture")["MemoryMax"]
    with running(installed.command("capture")) as (process,):
        until = time.monotonic() + SECONDS
        while not (installed.state / "control.sock").exists():
            assert time.monotonic() < until, "it does not start"
            time.sleep(0.05)
        taken = [*installed.command("touchpoints", "import"), str(registry(directory / "registry.csv"))]
        subprocess.run(taken, check=True, stdout=subprocess.DEVNULL)
        flood(installed)
        most = peak(process.pid)
    assert most <= int(limit.removesuffix("M")) / 2
