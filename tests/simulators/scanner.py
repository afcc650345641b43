"""A serial barcode scanner without the scanner: a pseudo-terminal behind a path that stays the same.

    with ScannerSimulator(tmp_path / "usb-Acme_Scanner-if00") as scanner:
        ...                                       # open scanner.path as any serial port
        scanner.scan("https://id.acme.example/01/09506000134352")
        scanner.unplug()                          # the port hangs up and its path is gone
        scanner.plug()                            # another port behind the same path, as under /dev/serial/by-id

It has no threads: `write` blocks while the port's buffer (some 4 KiB) is full, and raises TimeoutError when nobody
reads. Call it from a thread to send more than that to a reader in the same one.
"""

import os
import pty
import select
import tty
from pathlib import Path
from random import Random
from typing import Self


class ScannerSimulator:
    """A scanner that can be opened at `path`. With `fragments`, what it writes arrives in pieces of random length."""

    def __init__(self, path: Path, *, fragments: Random | None = None, timeout: float = 5.0) -> None:
        self.path = path
        self._fragments = fragments
        self._timeout = timeout
        self._descriptors: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    @property
    def plugged(self) -> bool:
        return bool(self._descriptors)

    def plug(self) -> None:
        """Make a port and show it at `path`; nothing if there is one."""
        if self.plugged:
            return
        self._descriptors = scanner_end, host_end = pty.openpty()
        tty.setraw(host_end)
        os.set_blocking(scanner_end, False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.symlink_to(os.ttyname(host_end))

    def unplug(self) -> None:
        """Hang the port up and take the path away; nothing if there is none. What was written before may be lost."""
        if not self.plugged:
            return
        self.path.unlink()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()

    def scan(self, text: str, symbology: str = "]Q1", ending: str = "\r") -> None:
        """Send a line as a scanner does that is set to send AIM identifiers; `symbology=""` for one that is not."""
        self.write(f"{symbology}{text}{ending}".encode())

    def write(self, data: bytes) -> None:
        """Send raw bytes. Raises TimeoutError when the port is full and nobody reads it."""
        while data:
            size = self._fragments.randint(1, len(data)) if self._fragments else len(data)
            data = data[self._write_some(data[:size]) :]

    def _write_some(self, data: bytes) -> int:
        scanner_end = self._descriptors[0]
        _, writable, _ = select.select([], [scanner_end], [], self._timeout)
        if not writable:
            raise TimeoutError(f"nobody reads {self.path}")
        return os.write(scanner_end, data)
