"""Disks for a test: one that forgets when its power is cut, and a small one that fills up. Both need root.

with PoweredDisk(tmp_path) as disk:
    ...                       # work in disk.path
    disk.cut()                # everything that was not synced is gone; whoever has files open must end now
    disk.restore()            # the same disk, as it comes back
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

SECONDS = 20.0
PROGRAM = Path(__file__).parent.parent / "simulators" / "forgetful_disk.py"


@dataclass
class PoweredDisk:
    """A forgetful disk, mounted at `path`; its medium and its faults lie beside."""

    directory: Path
    path: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        for made in (self.path, self.medium, self.faults):
            made.mkdir(exist_ok=True)
        self.restore()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    @property
    def medium(self) -> Path:
        """What is on the disk for good."""
        return self.directory / "medium"

    @property
    def faults(self) -> Path:
        """Where a file `syncs-fail` makes syncs fail."""
        return self.directory / "faults"

    def restore(self) -> None:
        """Give it power."""
        needs_root_and_fuse()
        log = self.directory / "disk.log"
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(self.medium), str(self.path), "--faults", str(self.faults)],
                stdout=said,
                stderr=said,
            )
        deadline = time.monotonic() + SECONDS
        while not os.path.ismount(self.path):
            assert self._process.poll() is None, f"the disk did not mount: {log.read_text('utf-8')}"
            assert time.monotonic() < deadline, "the disk did not mount in time"
            time.sleep(0.005)

    def cut(self) -> None:
        """Take its power away, at this instant, and the mount off."""
        self.kill()
        self.take_off()

    def kill(self) -> None:
        """Take its power away, at this instant; the mount stays, and answers nothing any more."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def take_off(self) -> None:
        """Take the dead mount off."""
        if self._process is not None:
            self._process.wait()
            self._process = None
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@contextmanager
def small_disk(path: Path, octets: int) -> Iterator[Path]:
    """Mount a disk of so many octets; it is taken off at the end."""
    path.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={octets}", "touchpoint-test", str(path))
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def mount(*words: str) -> None:
    """Mount, or say why that cannot be."""
    ran = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"these tests mount file systems, so they need root: {ran.stderr}"


def needs_root_and_fuse() -> None:
    """Fail when there can be no forgetful disk here: no test is passed over."""
    assert os.geteuid() == 0, "these tests mount file systems: run them as root"
    assert Path("/dev/fuse").exists(), "these tests need /dev/fuse: modprobe fuse"
