"""From the events of a keyboard to scans. Pure: the time comes with the events.

Source: Documentation/input/event-codes.rst and include/uapi/linux/input.h of the kernel. A key goes down and up as an
event of type EV_KEY each, in a packet that ends with SYN_REPORT. SYN_DROPPED says that the kernel's buffer ran over:
events before it are missing, and those up to the next SYN_REPORT are the rest of a packet.
"""

import struct
from typing import Final

from gateway.core.sighting import Scan
from gateway.sources.framing import GAP, LINE_LIMIT, SEPARATOR, Discarded, read_text, silent_line
from gateway.sources.wedge_layout import KEYPAD, Country, LayoutName, Stroke

EVENT: Final = struct.Struct("@llHHi")
"""struct input_event: seconds, microseconds, type, code, value. Its `long` is the machine's, 32 or 64 bits."""
EV_SYN, EV_KEY = 0, 1
SYN_REPORT, SYN_DROPPED = 0, 3
UP, DOWN = 0, 1
"""Values of EV_KEY; 2 is a key that repeats, which no scanner means."""

ENTER, KEYPAD_ENTER, TAB = 28, 96, 15
CTRL_ENDINGS: Final = frozenset({36, 46, 50})
"""Ctrl+J, Ctrl+C and Ctrl+M: LF, ETX and CR of scanners that type control characters."""
SHIFTS, CTRLS, ALTS, ALT_GR = frozenset({42, 54}), frozenset({29, 97}), frozenset({56}), frozenset({100})
MODIFIERS: Final = SHIFTS | CTRLS | ALTS | ALT_GR
CAPS_LOCK: Final = 58
LOCKS: Final = frozenset({69, 70})
"""NumLock and ScrollLock: the keypad types digits in any case."""
LONGEST_NUMBER: Final = 4


class Keys:
    """Makes scans of what a keyboard scanner types; the layout is `given`, or found (see `Country`).

    A line is `[AIM identifier] text ending`, with Enter, Tab, Ctrl+J, Ctrl+M or Ctrl+C as its ending; a GS (Ctrl+]) as
    suffix ends it together with the silence after it. As on a serial line, a pause of GAP tears what has begun. A pause
    also lets go of every key that is still down, and of CapsLock: scanners leave nothing locked, and what they had no
    time to let go of must not change the next code. Where events are missing, everything up to the next ending or
    pause is passed over, and counts as one MISSED. Of a line never more than LINE_LIMIT strokes are held.
    """

    def __init__(self, given: LayoutName | None = None) -> None:
        self._country = Country(given)
        self._octets = b""
        self._last = 0.0
        self._typed = list[Stroke | str]()
        self._down = set[int]()
        self._caps = False
        self._number = ""
        self._passing_over = False
        self._in_dropped_packet = False

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended: tell `silence` when nothing comes for GAP."""
        return bool(self._typed or self._number or self._passing_over)

    @property
    def joining(self) -> bool:
        """Whether what is being typed is passed over."""
        return self._passing_over

    def join(self, now: float) -> None:
        """Begin at `now` (seconds, the events' clock), maybe in the middle of a code: pass over what is left of it."""
        self._passing_over, self._last = True, now

    def feed(self, data: bytes) -> list[Scan | Discarded]:
        """Take octets of `struct input_event` in any pieces, and return what they complete, in order."""
        self._octets += data
        whole = len(self._octets) - len(self._octets) % EVENT.size
        events, self._octets = self._octets[:whole], self._octets[whole:]
        found = list[Scan | Discarded]()
        for seconds, microseconds, kind, code, value in EVENT.iter_unpack(events):
            found += self._event(seconds + microseconds / 1e6, kind, code, value)
        return found

    def silence(self) -> list[Scan | Discarded]:
        """Take note that nothing came for GAP."""
        if not self._typed or self._number:
            return [*self.reset()]
        line = self._typed
        self.reset()
        text = self._country.text(line)
        return [Discarded.TORN if isinstance(text, Discarded) else silent_line(text)]

    def reset(self) -> list[Discarded]:
        """Give up the line that has begun, if any, and let go of all keys: the keyboard is gone."""
        torn = [Discarded.TORN] if self._typed or self._number else []
        self._down.clear()
        self._typed, self._caps, self._number, self._passing_over = [], False, "", False
        return torn

    def _event(self, at: float, kind: int, code: int, value: int) -> list[Scan | Discarded]:
        if kind == EV_SYN:
            return self._synchronized(code)
        if kind != EV_KEY or value not in {UP, DOWN} or self._in_dropped_packet:
            return []
        late = self.silence() if at - self._last >= GAP else []
        self._last = at
        return late + self._key(code, down=value == DOWN)

    def _synchronized(self, code: int) -> list[Scan | Discarded]:
        if code == SYN_REPORT:
            self._in_dropped_packet = False
        if code != SYN_DROPPED:
            return []
        self._in_dropped_packet = True
        return self._pass_over(Discarded.MISSED)

    def _pass_over(self, why: Discarded) -> list[Scan | Discarded]:
        counted: list[Scan | Discarded] = [] if self._passing_over else [why]
        self._typed, self._number, self._passing_over = [], "", True
        return counted

    def _key(self, code: int, *, down: bool) -> list[Scan | Discarded]:
        if code in MODIFIERS:
            return self._modifier(code, down=down)
        if not down or code in LOCKS:
            return []
        if code == CAPS_LOCK:
            self._caps = not self._caps
            return []
        if self._ends(code):
            return self._end()
        if self._down & ALTS and not self._down & CTRLS and code in KEYPAD:
            self._number += KEYPAD[code]
            return [] if len(self._number) <= LONGEST_NUMBER else self._pass_over(Discarded.UNDECODABLE)
        return self._type(self._stroke(code))

    def _modifier(self, code: int, *, down: bool) -> list[Scan | Discarded]:
        (self._down.add if down else self._down.discard)(code)
        if code not in ALTS or down or not self._number:
            return []
        character, self._number = numbered(self._number), ""
        if character is None:
            return self._pass_over(Discarded.UNDECODABLE)
        return self._type(character)

    def _ends(self, code: int) -> bool:
        return code in {ENTER, KEYPAD_ENTER, TAB} or (code in CTRL_ENDINGS and bool(self._down & CTRLS))

    def _stroke(self, code: int) -> Stroke:
        ctrl, alt, alt_gr = bool(self._down & CTRLS), bool(self._down & ALTS), bool(self._down & ALT_GR)
        both = ctrl and alt
        return Stroke(
            code,
            shift=bool(self._down & SHIFTS),
            ctrl=ctrl and not both,
            alt=alt and not both,
            third_level=alt_gr or both,
            caps=self._caps,
        )

    def _type(self, typed: Stroke | str) -> list[Scan | Discarded]:
        if self._passing_over:
            return []
        if len(self._typed) >= LINE_LIMIT:
            return self._pass_over(Discarded.OVERSIZED)
        self._typed.append(typed)
        return []

    def _end(self) -> list[Scan | Discarded]:
        cut = self._pass_over(Discarded.UNDECODABLE) if self._number else []  # Alt is down still
        line, self._typed = self._typed, []
        if self._passing_over:
            self.reset()
        if not line:
            return cut
        text = self._country.text(line)
        scan = text if isinstance(text, Discarded) else read_text(text)
        return [] if scan is None else [scan]


def numbered(number: str) -> str | None:
    """Return the character that Windows makes of Alt and a number on the keypad; None if it may be another.

    With a leading zero it counts in Windows-1252, else in code page 437; below 128 both are ASCII. Some scanners press
    all its digits in one USB report, of which the kernel passes a digit that comes twice only once: 0103, a `g`, is 013
    then. Such a number has two digits, or is a control character. So neither is believed, but for GS.
    """
    value = int(number)
    if len(number) not in {3, LONGEST_NUMBER} or value not in range(0x20, 0x100):
        return SEPARATOR if number.lstrip("0") == "29" and len(number) > len("29") else None
    try:
        return bytes([value]).decode("cp1252" if number[0] == "0" else "cp437")
    except UnicodeDecodeError:
        return None
