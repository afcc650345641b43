"""A disk that forgets: a FUSE file system whose unsynced writes are gone when its process is killed. Needs root.

    python -m tests.simulators.forgetful_disk MEDIUM MOUNTPOINT [--faults DIRECTORY]

A write stays in the memory of this process until `fsync` or `fdatasync` takes it to the medium, a directory. Kill the
process, and the power is cut; start it again, and there is what was synced. Names (create, rename, unlink) are on the
medium at once, as on a file system that journals in order. No write is torn and none is reordered: of a sync that the
cut interrupts there is a beginning, write by write. What real flash adds to that is not shown here.

A file `syncs-fail` in the directory of faults makes each sync fail with EIO; as on Linux, its writes can still be read,
but no later sync takes them to the medium. A file `read-only` makes it what a kernel makes of a disk with errors: no
file can be changed, not even one that is open. The page cache works, so processes share memory-mapped files (SQLite's
`-shm`) as they do on any disk.
"""

import argparse
import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfusepy import FUSE, FuseOSError, Operations

SYNCS_FAIL = "syncs-fail"
READ_ONLY = "read-only"
ATTRIBUTES = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_atime", "st_mtime", "st_ctime")


@dataclass
class Unsynced:
    """A file as processes see it, and what the medium lacks of that, in order: writes, and truncations (None)."""

    content: bytearray
    changes: list[tuple[int, bytes | None]] = field(default_factory=list)

    def write(self, data: bytes, offset: int) -> None:
        """Write; a hole before it is zeros."""
        self.content.extend(bytes(max(0, offset - len(self.content))))
        self.content[offset : offset + len(data)] = data
        self.changes.append((offset, data))

    def truncate(self, length: int) -> None:
        """Cut off, or fill up with zeros."""
        del self.content[length:]
        self.content.extend(bytes(length - len(self.content)))
        self.changes.append((length, None))

    def sync(self, path: Path) -> None:
        """Take the changes to the medium, one after the other."""
        descriptor = os.open(path, os.O_WRONLY)
        try:
            for offset, data in self.changes:
                os.ftruncate(descriptor, offset) if data is None else os.pwrite(descriptor, data, offset)
        finally:
            os.close(descriptor)
        self.changes.clear()


class ForgetfulDisk(Operations):  # type: ignore[misc]  # mfusepy has no types
    """The file system's operations, by path; FUSE calls them one at a time."""

    def __init__(self, medium: Path, faults: Path) -> None:
        self._medium, self._faults = medium, faults
        self._files: dict[str, Unsynced] = {}

    def _at(self, path: str) -> Path:
        return self._medium / path.lstrip("/")

    def _changed(self, path: str) -> Path:
        """Return where a change is made. Raises FuseOSError while the disk is read-only."""
        if (self._faults / READ_ONLY).exists():
            raise FuseOSError(errno.EROFS)
        return self._at(path)

    def _file(self, path: str) -> Unsynced:
        if path not in self._files:
            self._files[path] = Unsynced(bytearray(self._at(path).read_bytes()))
        return self._files[path]

    def getattr(self, path: str, _handle: int | None = None) -> Mapping[str, Any]:
        """Return what stat(2) says: of the medium, but for the size."""
        status = self._at(path).lstat()
        seen = {name: getattr(status, name) for name in ATTRIBUTES}
        return seen | {"st_size": len(self._files[path].content)} if path in self._files else seen

    def readdir(self, path: str, _handle: int) -> Iterator[str]:
        """List a directory."""
        yield from (".", "..", *os.listdir(self._at(path)))  # noqa: PTH208  # names, not paths

    def mknod(self, path: str, mode: int, device: int) -> int:
        """Make a socket."""
        os.mknod(self._changed(path), mode, device)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        """Make a directory."""
        self._changed(path).mkdir(mode)
        return 0

    def create(self, path: str, mode: int, _info: object = None) -> int:
        """Make a file: its name is there at once, empty."""
        os.close(os.open(self._changed(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode))
        self._files[path] = Unsynced(bytearray())
        return 0

    def open(self, path: str, flags: int) -> int:
        """Open a file."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            self._changed(path)
        if flags & os.O_TRUNC:
            self._file(path).truncate(0)
        return 0

    def read(self, path: str, size: int, offset: int, _handle: int) -> bytes:
        """Read what was written, synced or not."""
        return bytes(self._file(path).content[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, _handle: int) -> int:
        """Write, into memory."""
        self._changed(path)
        self._file(path).write(data, offset)
        return len(data)

    def truncate(self, path: str, length: int, _handle: int | None = None) -> int:
        """Set the length, in memory."""
        self._changed(path)
        self._file(path).truncate(length)
        return 0

    def fsync(self, path: str, _datasync: int, _handle: int) -> int:
        """Take a file to the medium. Raises FuseOSError, and gives its changes up, while syncs are to fail."""
        if (self._faults / SYNCS_FAIL).exists():
            self._file(path).changes.clear()
            raise FuseOSError(errno.EIO)
        self._file(path).sync(self._at(path))
        return 0

    def fsyncdir(self, _path: str, _datasync: int, _handle: int) -> int:
        """Do nothing: names are on the medium."""
        return 0

    def unlink(self, path: str) -> int:
        """Remove a file."""
        self._changed(path).unlink()
        self._files.pop(path, None)
        return 0

    def rename(self, old: str, new: str) -> int:
        """Give a file another name; what is not synced goes with it."""
        self._changed(old).rename(self._at(new))
        self._files.pop(new, None)
        if old in self._files:
            self._files[new] = self._files.pop(old)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        """Change permissions."""
        self._changed(path).chmod(mode)
        return 0

    def chown(self, path: str, user: int, group: int) -> int:
        """Change the owner."""
        os.chown(self._changed(path), user, group)
        return 0

    def utimens(self, _path: str, _times: object = None) -> int:
        """Do nothing: times do not matter here."""
        return 0

    def statfs(self, path: str) -> Mapping[str, int]:
        """Return how much room the medium has."""
        status = os.statvfs(self._at(path))
        return {name: getattr(status, name) for name in dir(status) if name.startswith("f_")}


def main() -> None:
    """Serve the mount until it is taken off, or until this process is killed."""
    parser = argparse.ArgumentParser(prog="forgetful_disk", description=__doc__.partition("\n")[0])
    parser.add_argument("medium", type=Path)
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("--faults", type=Path, default=Path("/nonexistent"))
    asked = parser.parse_args()
    disk = ForgetfulDisk(asked.medium.resolve(), asked.faults)
    FUSE(disk, str(asked.mountpoint), foreground=True, nothreads=True, kernel_cache=True, fsname="forgetful")


if __name__ == "__main__":
    main()
