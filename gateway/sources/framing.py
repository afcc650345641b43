"""From a stream of bytes to lines, and from a scanner's lines to scans. Pure: the time is an argument."""

import re
from collections.abc import Iterator
from enum import StrEnum

from gateway.core.decode import GS1_SYMBOLOGIES
from gateway.core.sighting import Scan

LINE_LIMIT = 2048
"""Bytes. More than twice the longest link that fits on a tag or prints well; what is longer is noise or an attack."""

GAP = 0.25
"""Seconds. A scanner sends a line in one go: after such a silence the rest is not coming."""

STX = "\x02"
SCAN_ENDINGS = b"\r\n\t\x03"
"""CR, LF, Tab and ETX; CR LF ends a line and then an empty one, which is nothing."""
SEPARATOR = "\x1d"
"""GS: between the elements of a GS1 symbol, or the suffix of a scanner that is set to it."""


class Discarded(StrEnum):
    """Why a line became no scan."""

    TORN = "torn"
    """Its end never came: the device was unplugged, or fell silent."""
    OVERSIZED = "oversized"
    UNDECODABLE = "undecodable"
    """No UTF-8; of a keyboard, a key that types nothing."""
    MISSED = "missed"
    """Of a keyboard: the kernel dropped events, so that characters are missing."""
    AMBIGUOUS = "ambiguous"
    """Of a keyboard: another code by each layout, and nothing has shown which is meant."""


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

    A line is `[STX] [AIM identifier] text ending`, with any of CR, LF, CR LF, Tab and ETX as its ending, in UTF-8. The
    GS (0x1d) that separates GS1 element strings stays in the text; as a suffix it ends a line together with the silence
    after it (see `silent_line`). When any other ending comes later than GAP, the line's beginning is given up as torn,
    and what comes then is a new line.
    """

    def __init__(self) -> None:
        self._lines = Lines(SCAN_ENDINGS, LINE_LIMIT)
        self._last = 0.0

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended: tell `silence` when nothing comes for GAP."""
        return self._lines.pending

    def feed(self, data: bytes, now: float) -> list[Scan | Discarded]:
        """Take bytes that came at `now` (seconds, monotonic) and return what they complete, in order."""
        late = self.silence() if now - self._last >= GAP else []
        self._last = now
        scans = [scan for line in self._lines.feed(data) if (scan := read_line(line)) is not None]
        return late + scans

    def silence(self) -> list[Scan | Discarded]:
        """Take note that nothing came for GAP."""
        return [silent_line(line.decode(errors="replace")) for line in self._lines.end()]

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
        return read_text(line.decode())
    except UnicodeDecodeError:
        return Discarded.UNDECODABLE


def read_text(line: str) -> Scan | None:
    """Return the scan that a line's text holds; None for an empty one."""
    symbology, text = split_aim(line)
    return Scan(text, symbology) if text else None


def split_aim(line: str) -> tuple[str | None, str]:
    """Split a line without its STX into the AIM identifier, None if it has none, and the text."""
    line = line.lstrip(STX)
    symbology = aim[0] if (aim := AIM_IDENTIFIER.match(line)) else None
    return symbology, line.removeprefix(symbology or "")


def silent_line(line: str) -> Scan | Discarded:
    """Return what a line holds that fell silent without an ending: torn, unless a GS was its suffix.

    Only an AIM identifier of a symbology without element strings tells the suffix from a separator, after which more
    was to come: a GTIN whose serial is missing would be another product.
    """
    scan = read_text(line.removesuffix(SEPARATOR)) if line.endswith(SEPARATOR) else None
    if scan is None or scan.symbology is None or scan.symbology in GS1_SYMBOLOGIES or "\ufffd" in scan.text:
        return Discarded.TORN
    return scan
