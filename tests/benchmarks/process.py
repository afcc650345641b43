"""What the kernel says of a process (proc(5)): its children, memory, processor time, octets written."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started itself."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def resident(pid: int) -> float:
    """Return the resident memory, MiB, shared libraries included."""
    return _field(f"/proc/{pid}/status", "VmRSS") / 1024


def descriptors(pid: int) -> int:
    """Return how many files, sockets and pipes it has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def written(pid: int) -> float:
    """Return the octets that it caused to be written to storage."""
    return _field(f"/proc/{pid}/io", "write_bytes")


def _field(path: str, name: str) -> float:
    lines = Path(path).read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def cpu_seconds(pid: int) -> float:
    """Return the processor time, user and system."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS
