"""A file that holds space in reserve: SQLite needs some even to delete, and on a full disk there is none."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

OCTETS = 4 * 1024 * 1024
SPARE = 8
"""The ballast is taken up again when the disk has so many times its size to spare."""


@dataclass(frozen=True, slots=True)
class Ballast:
    """`drop` it when the disk is full, `restore` it when there is room again."""

    path: Path
    octets: int = OCTETS

    @property
    def held(self) -> bool:
        """Whether it is in place."""
        return self.path.exists()

    def drop(self) -> bool:
        """Give the space back; False when there was none to give."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True

    def restore(self) -> bool:
        """Take the space up again, if there is plenty; True when the ballast is in place."""
        if self.held:
            return True
        with contextlib.suppress(OSError):
            if self._fits():
                return self._fill()
        return False

    @property
    def missed(self) -> bool:
        """Whether it is not in place because the disk is too full for it."""
        with contextlib.suppress(OSError):
            return not self.held and not self._fits()
        return False

    def _fits(self) -> bool:
        disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize >= SPARE * self.octets

    def _fill(self) -> bool:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.octets)
        except OSError:
            self.path.unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)
        return True
