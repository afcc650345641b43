"""From a stream of bytes to lines, and from a serial scanner's lines to scans. Pure: the time is an argument."""

import re
from collections.abc import Iterator
from enum import StrEnum

from gateway.core.sighting import Scan

LINE_LIMIT = 2048
"""Bytes. More than twice the longest link that fits on a tag or prints well; what is longer is noise or an attack."""

GAP = 0.25
"""Seconds. A scanner sends a line in one go: after such a silence the rest is not coming."""

STX = b"\x02"
SCAN_ENDINGS = b"\r\n\x03"
"""CR, LF and ETX; CR LF ends a line and then an empty one, which is nothing."""


class Discarded(StrEnum):
    """Why a line became no scan."""

    TORN = "torn"
    """Its end never came: the device was unplugged, or fell silent."""
    OVERSIZED = "oversized"
    UNDECODABLE = "undecodable"
    """No UTF-8."""


class Lines:
    """Cuts a stream at any of the bytes in `endings`, however it comes in pieces; empty lines are left out.

    A line of more than `limit` bytes is passed over up to its end and comes out as one `Discarded.OVERSIZED`: never
    more than `limit` bytes are held.
    """

    def __init__(self, endings: bytes, limit: int) -> None:
        self._ending = re.compile(b"[" + re.escape(endings) + b"]")
        self._limit = limit
        self._partial = bytearray()
        self._passing_over = False

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._partial) or self._passing_over

    def feed(self, data: bytes) -> Iterator[bytes | Discarded]:
        """Take the next piece of the stream and yield the lines it ends. To be consumed before the next piece."""
        *ended, begun = self._ending.split(data)
        for piece in ended:
            yield from self._append(piece)
            yield from self.end()
        yield from self._append(begun)

    def end(self) -> list[bytes]:
        """End the line that has begun, and return it if it was neither empty nor oversized."""
        line = bytes(self._partial)
        self._partial.clear()
        self._passing_over = False
        return [line] if line else []

    def _append(self, piece: bytes) -> list[Discarded]:
        if self._passing_over:
            return []
        if len(self._partial) + len(piece) <= self._limit:
            self._partial += piece
            return []
        self._partial.clear()
        self._passing_over = True
        return [Discarded.OVERSIZED]


class Framer:
    """Makes scans of what a serial scanner sends.

    A line is `[STX] [AIM identifier] text ending`, with any of CR, LF, CR LF and ETX as its ending, in UTF-8. The
    GS (0x1d) that separates GS1 element strings stays in the text. When the end of a line comes later than GAP, its
    beginning is given up as torn, and what comes then is a new line.
    """

    def __init__(self) -> None:
        self._lines = Lines(SCAN_ENDINGS, LINE_LIMIT)
        self._last = 0.0

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended: give it up with `reset` when nothing comes for GAP."""
        return self._lines.pending

    def feed(self, data: bytes, now: float) -> list[Scan | Discarded]:
        """Take bytes that came at `now` (seconds, monotonic) and return what they complete, in order."""
        late: list[Scan | Discarded] = [*self.reset()] if now - self._last >= GAP else []
        self._last = now
        scans = [scan for line in self._lines.feed(data) if (scan := read_line(line)) is not None]
        return late + scans

    def reset(self) -> list[Discarded]:
        """Give up the line that has begun, if any: a `TORN`, unless it was already told to be oversized."""
        return [Discarded.TORN for _ in self._lines.end()]


AIM_IDENTIFIER = re.compile(r"\][A-Za-z][0-9A-Za-z]")
"""ISO/IEC 15424: `]`, the code character of the symbology and a modifier; `]Q3` is a GS1 QR code."""


def read_line(line: bytes | Discarded) -> Scan | Discarded | None:
    """Return the scan that a scanner's line holds, why it holds none, or None for an empty one."""
    if isinstance(line, Discarded):
        return line
    try:
        text = line.lstrip(STX).decode()
    except UnicodeDecodeError:
        return Discarded.UNDECODABLE
    symbology = aim[0] if (aim := AIM_IDENTIFIER.match(text)) else None
    text = text.removeprefix(symbology or "")
    return Scan(text, symbology) if text else None
