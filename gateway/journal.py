"""Log records for journald in its own protocol, with fields; and a limit for what repeats itself.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL: one datagram an entry, a field a line.
"""

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from time import monotonic

JOURNAL_SOCKET = "/run/systemd/journal/socket"
LONGEST = 16_384
"""Characters of a message; what is longer is cut, so that an entry fits into a datagram."""
BURST, WINDOW_SECONDS = 10, 60.0
"""So many alike in so long are logged, then only their number."""
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""syslog(3), from the level of a record on."""
_DEBUG = 7


def is_journal(environment: Mapping[str, str], descriptor: int) -> bool:
    """Tell whether a descriptor is the stream to journald that systemd gave us: systemd.exec(5), $JOURNAL_STREAM."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalHandler(logging.Handler):
    """Sends records to journald. One that it does not take goes to standard error, which is its stream as well."""

    def __init__(self, identifier: Callable[[logging.LogRecord], str], address: str = JOURNAL_SOCKET) -> None:
        super().__init__()
        self._identifier = identifier
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._otherwise = logging.StreamHandler(sys.stderr)

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802  # logging's own name
        """Have messages written so, here and on standard error."""
        super().setFormatter(fmt)
        self._otherwise.setFormatter(fmt)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record. `message_id` and `component` are fields if it has them."""
        fields = {
            "MESSAGE": self.format(record)[:LONGEST],
            "PRIORITY": str(_priority(record.levelno)),
            "SYSLOG_IDENTIFIER": self._identifier(record),
            "MESSAGE_ID": getattr(record, "message_id", None),
            "COMPONENT": getattr(record, "component", None),
        }
        entry = b"".join(_field(name, value) for name, value in fields.items() if value is not None)
        try:
            self._socket.sendto(entry, self._address)
        except OSError:
            self._otherwise.handle(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def _priority(level: int) -> int:
    return next((priority for least, priority in _PRIORITIES if level >= least), _DEBUG)


def _field(name: str, value: str) -> bytes:
    """Write a field: a line, or with its length if it has several."""
    text = value.encode(errors="replace")
    if b"\n" not in text:
        return f"{name}=".encode() + text + b"\n"
    return name.encode() + b"\n" + len(text).to_bytes(8, "little") + text + b"\n"


@dataclass(slots=True)
class _Window:
    """What was logged of one kind since its first record."""

    began: float
    first: logging.LogRecord
    number: int = 0


@dataclass(slots=True)
class RateLimit:
    """Lets `BURST` records of a kind through in `WINDOW_SECONDS`.

    Of a kind are the records of a component with the same text before its arguments; and all of another's library,
    whose texts nobody has counted.
    """

    ours: str
    """The name of our loggers."""
    _windows: dict[tuple[str, str, str], _Window] = field(default_factory=dict)

    def admits(self, record: logging.LogRecord, now: float) -> bool:
        """Tell whether a record is logged, and count it."""
        text = record.msg if record.name.split(".")[0] == self.ours and isinstance(record.msg, str) else ""
        kind = (record.name, text, getattr(record, "component", ""))
        window = self._windows.setdefault(kind, _Window(now, record))
        window.number += 1
        return window.number <= BURST

    def ended(self, now: float) -> Iterator[logging.LogRecord]:
        """Forget what began long ago, and yield a record that says how many were left out of each kind, if any."""
        over = [kind for kind, window in self._windows.items() if now - window.began >= WINDOW_SECONDS]
        for window in [self._windows.pop(kind) for kind in over]:
            if window.number > BURST:
                yield _left_out(window.first, window.number - BURST, now - window.began)


def _left_out(first: logging.LogRecord, number: int, seconds: float) -> logging.LogRecord:
    told = copy(first)
    told.msg, told.args = "%d more like this were left out in %.0f s: %s", (number, seconds, first.getMessage())
    told.exc_info = told.exc_text = told.stack_info = None
    return told


class Limited(logging.Handler):
    """Passes records on to a handler, as many as a limit admits."""

    def __init__(self, to: logging.Handler, limit: RateLimit, now: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._to, self._limit, self._now = to, limit, now

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, after the numbers of what was left out: they wait for the next record, and wake nobody."""
        try:
            self._tell(self._now())
            if self._limit.admits(record, self._now()):
                self._to.handle(record)
        except Exception:  # noqa: BLE001  # a record that cannot be written must not end whoever logs it
            self.handleError(record)

    def _tell(self, now: float) -> None:
        for told in self._limit.ended(now):
            self._to.handle(told)

    def close(self) -> None:
        """Tell what was left out at last."""
        self._tell(self._now() + WINDOW_SECONDS)
        super().close()
