"""A disk that takes ten milliseconds a sync, as SD cards do: a library for LD_PRELOAD, compiled when it is needed."""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "slow_sync.c"
SYNC_US = 10_000


def compiled(directory: Path) -> Path:
    """Compile the library into a directory. Fails when there is no compiler: no test is passed over."""
    compiler = shutil.which("cc")
    assert compiler, "a slow disk is made by a C library: apt-get install gcc libc6-dev"
    library = directory / "slow_sync.so"
    if not library.exists():
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def environment(library: Path) -> dict[str, str]:
    """Return what makes the disk slow for a process."""
    return {"LD_PRELOAD": str(library), "SYNC_US": str(SYNC_US)}


def is_slow(process: int, library: Path) -> bool:
    """Tell whether a process has loaded the library: else its disk is as fast as ever, and a trial proves nothing."""
    return str(library) in Path(f"/proc/{process}/maps").read_text(encoding="utf-8")
