"""Telling systemd how the process fares: the protocol of sd_notify(3), datagrams to $NOTIFY_SOCKET.

Nothing here blocks or fails: whoever is not there, or does not listen, is not told.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


def notify(*lines: str) -> None:
    """Send a message, an assignment a line; nothing happens in a process that systemd has not started."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket (unix(7))
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to:
        to.sendto("\n".join(lines).encode(), address)


def status(text: str) -> str:
    """Return the line that `systemctl status` shows; one line, whatever the text holds."""
    return "STATUS=" + " ".join(text.split())


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """Return after how many seconds of silence systemd ends this process; None: never (sd_watchdog_enabled(3))."""
    microseconds, meant = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    if not (microseconds.isascii() and microseconds.isdigit()) or int(microseconds) == 0 or meant != str(pid):
        return None
    return int(microseconds) / 1e6
